//! The URIs that are tried, and the addresses they lead to.

use std::net::{IpAddr, SocketAddr};

use tokio::time::{Duration, timeout};

use super::finding::{Check, Finding};
use crate::turn::Transport;

/// A resolver that needs longer fails calls too.
const RESOLVE_MAX: Duration = Duration::from_secs(4);

/// What a URI is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Stun,
    Turn,
}

/// One `stun:`, `turn:` or `turns:` URI (RFC 7064, RFC 7065).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) r#use: Use,
    pub(super) transport: Transport,
    /// A name or an address, the latter without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

/// One address of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) target: Target,
    pub(super) address: SocketAddr,
}

impl Target {
    /// # Errors
    /// A sentence that says what is wrong.
    pub(super) fn parse(uri: &str) -> Result<Self, String> {
        let form = || format!("{uri:?} is no URI such as turn:turn.example.org:3478?transport=udp");
        let (scheme, rest) = uri.split_once(':').ok_or_else(form)?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (r#use, is_secure) = match scheme {
            "stun" => (Use::Stun, false),
            "stuns" => (Use::Stun, true),
            "turn" => (Use::Turn, false),
            "turns" => (Use::Turn, true),
            _ => return Err(form()),
        };
        let transport = match (is_secure, query) {
            (true, "" | "transport=tcp") => Transport::Tls,
            (false, "transport=tcp") => Transport::Tcp,
            (false, "" | "transport=udp") => Transport::Udp,
            _ => return Err(format!("{uri:?} asks for a transport that is not offered: DTLS")),
        };
        let (host, port) = split_port(place, if is_secure { 5349 } else { 3478 }).ok_or_else(form)?;
        Ok(Self { r#use, transport, host, port })
    }

    /// A way to an address without a name.
    pub(super) fn of(transport: Transport, address: SocketAddr) -> Self {
        Self { r#use: Use::Turn, transport, host: address.ip().to_string(), port: address.port() }
    }

    /// The check that a way of it belongs to.
    pub(super) const fn check(&self) -> Check {
        match (self.r#use, self.transport) {
            (Use::Stun, _) => Check::Stun,
            (Use::Turn, Transport::Udp) => Check::Udp,
            (Use::Turn, Transport::Tcp) => Check::Tcp,
            (Use::Turn, Transport::Tls) => Check::Tls,
        }
    }

    /// The first address of each family.
    ///
    /// # Errors
    /// There is none.
    pub(super) async fn ways(&self) -> Result<Vec<Way>, Finding> {
        let addresses = resolve(&self.host, self.port)
            .await
            .map_err(|why| Check::Name.failure(why).of(&self.host).mend(NAME_MEND))?;
        Ok(addresses.into_iter().map(|address| Way { target: self.clone(), address }).collect())
    }
}

const NAME_MEND: &str = "add an A (and AAAA) record, or correct node.host or the URI";

impl Way {
    /// For the report.
    pub(super) fn shown(&self) -> String {
        let is_address = self.target.host.parse::<IpAddr>().is_ok();
        if is_address {
            return self.address.to_string();
        }
        format!("{}:{} ({})", self.target.host, self.target.port, self.address.ip())
    }
}

/// The first address of each family that a host has.
///
/// # Errors
/// Why there is none.
pub(super) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found = timeout(RESOLVE_MAX, tokio::net::lookup_host((host, port))).await;
    let found: Vec<SocketAddr> = match found {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(_)) => return Err(format!("{host} is not known to the DNS")),
        Err(_) => return Err(format!("the DNS does not answer for {host}")),
    };
    let first = |is_ipv4: bool| found.iter().find(|address| address.is_ipv4() == is_ipv4).copied();
    let ways: Vec<SocketAddr> = [first(true), first(false)].into_iter().flatten().collect();
    if ways.is_empty() { Err(format!("{host} has no address")) } else { Ok(ways) }
}

/// `host`, `host:port`, `1.2.3.4:port`, `[::1]:port`.
pub(super) fn split_port(place: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, rest.strip_prefix(':'))
        }
        None => match place.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(is_host) {
        return None;
    }
    let port = port.map_or(Some(default), |port| port.parse().ok())?;
    Some((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(uri: &str) -> Result<(Use, Transport, String, u16), String> {
        Target::parse(uri).map(|it| (it.r#use, it.transport, it.host, it.port))
    }

    #[test]
    fn uris_are_taken_apart() {
        let turn = |transport, host: &str, port| Ok((Use::Turn, transport, host.to_owned(), port));
        assert_eq!(told("turn:a.example"), turn(Transport::Udp, "a.example", 3478));
        assert_eq!(told("turn:a.example:80?transport=tcp"), turn(Transport::Tcp, "a.example", 80));
        assert_eq!(told("turns:[2001:db8::1]:443?transport=tcp"), turn(Transport::Tls, "2001:db8::1", 443));
        assert_eq!(told("turns:a.example"), turn(Transport::Tls, "a.example", 5349));
        assert_eq!(told("stun:192.0.2.1"), Ok((Use::Stun, Transport::Udp, "192.0.2.1".to_owned(), 3478)));
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for uri in [
            "",
            "turn:",
            "http://a",
            "turn:a:b",
            "turn:[::1",
            "turn:a b",
            "turn:a@b",
            "turns:a?transport=udp",
        ] {
            assert!(told(uri).is_err(), "{uri}");
        }
    }
}
