//! `relay.external`: where public addresses are known from.

use super::{
    super::types::{External, PublicSource, StunServer},
    lists::{Item, ip},
};

const STUN_PORT: u16 = 3478;
/// As long as the kernel lets one be.
const INTERFACE_BYTES_MAX: usize = 15;

impl Item for PublicSource {
    const PLACEHOLDER: &'static str = "IP[/IP]|stun:HOST|dns:NAME|interface:NAME";

    fn read_item(text: &str) -> Result<Vec<Self>, String> {
        let source = if let Some(server) = text.strip_prefix("stun:") {
            stun(server).map(Self::Stun).ok_or_else(|| {
                "names no STUN server; write \"stun:stun.example.org\" or \"stun:192.0.2.1:3478\"".to_owned()
            })?
        } else if let Some(name) = text.strip_prefix("dns:") {
            if !is_host(name) {
                return Err("is not a host name; write one such as \"dns:relay.example.org\"".to_owned());
            }
            Self::Name(name.to_owned())
        } else if let Some(name) = text.strip_prefix("interface:") {
            if !is_interface(name) {
                return Err("names no interface; write one such as \"interface:eth0\"".to_owned());
            }
            Self::Interface(name.to_owned())
        } else {
            mapping(text).map(Self::Configured)?
        };
        Ok(vec![source])
    }

    fn show_item(&self) -> String {
        self.to_string()
    }
}

fn mapping(text: &str) -> Result<External, String> {
    let one = |text: &str| {
        ip(text).map_err(|_| {
            "is no public address; write one such as \"203.0.113.5\", a pair \"203.0.113.5/10.0.0.5\", or where it is \
             known from: \"stun:HOST\", \"dns:NAME\", \"interface:NAME\""
                .to_owned()
        })
    };
    let (public, private) = match text.split_once('/') {
        Some((public, private)) => (one(public)?, Some(one(private)?)),
        None => (one(text)?, None),
    };
    if public.is_unspecified() || private.is_some_and(|address| address.is_unspecified()) {
        return Err("stands for every address; name the one that clients reach".to_owned());
    }
    if private.is_some_and(|private| private.is_ipv4() != public.is_ipv4()) {
        return Err("maps IPv4 to IPv6 or back; both sides must be of one family".to_owned());
    }
    Ok(External { public, private })
}

/// `HOST`, `HOST:PORT`, `[IPv6]` or `[IPv6]:PORT`.
fn stun(text: &str) -> Option<StunServer> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
    } else {
        let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
        let is_ipv4 = host.parse::<std::net::Ipv4Addr>().is_ok();
        if !is_ipv4 && !is_host(host) {
            return None;
        }
        (host, port)
    };
    let port = port.map_or(Some(STUN_PORT), |port| port.parse().ok().filter(|port| *port != 0))?;
    Some(StunServer { host: host.to_owned(), port })
}

/// A name of the DNS: one that ends in digits alone is a mistyped address.
fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        let of_label = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(of_label)
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let ends_in_digits = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= 253 && !ends_in_digits && name.split('.').all(is_label)
}

fn is_interface(name: &str) -> bool {
    let of_name = |b: u8| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b',' | b'"' | b'\\');
    (1..=INTERFACE_BYTES_MAX).contains(&name.len()) && name.bytes().all(of_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, String> {
        PublicSource::read_item(text).map(|sources| sources[0].to_string())
    }

    #[test]
    fn what_can_be_written_is_shown_again() {
        for text in [
            "203.0.113.5",
            "2001:db8::5",
            "203.0.113.5/10.0.0.5",
            "stun:stun.example.org:3478",
            "stun:192.0.2.1:19302",
            "stun:[2001:db8::1]:3478",
            "dns:relay-1.example.org",
            "dns:localhost",
            "interface:eth0.100",
        ] {
            assert_eq!(shown(text).as_deref(), Ok(text));
        }
        assert_eq!(shown("stun:stun.example.org").as_deref(), Ok("stun:stun.example.org:3478"));
        assert_eq!(shown("stun:[2001:db8::1]").as_deref(), Ok("stun:[2001:db8::1]:3478"));
    }

    #[test]
    fn what_cannot_be_meant_says_what_to_write() {
        for (text, said) in [
            ("relay.example.org", "where it is known from"),
            ("203.0.113", "is no public address"),
            ("0.0.0.0", "stands for every address"),
            ("203.0.113.5/fd00::5", "one family"),
            ("stun:", "names no STUN server"),
            ("stun:2001:db8::1", "names no STUN server"),
            ("stun:stun.example.org:0", "names no STUN server"),
            ("stun:stun.example.org:70000", "names no STUN server"),
            ("stun:[stun.example.org]", "names no STUN server"),
            ("dns:203.0.113.5", "is not a host name"),
            ("dns:203.0.113.555", "is not a host name"),
            ("dns:a..b", "is not a host name"),
            ("dns:", "is not a host name"),
            ("interface:", "names no interface"),
            ("interface:a/b", "names no interface"),
            ("interface:longer-than-names-are", "names no interface"),
        ] {
            let fault = shown(text).unwrap_err();
            assert!(fault.contains(said), "{text}: {fault}");
        }
    }
}
