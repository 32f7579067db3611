//! Fields that take a list.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::{
    super::{defaults::everywhere, types::ServerUri},
    Field, Raw, Rule, Shape, quoted,
};

/// One element of a list.
pub(super) trait Item: Sized {
    /// One text may stand for several elements.
    fn read_item(text: &str) -> Result<Vec<Self>, String>;
    fn show_item(&self) -> String;
    const PLACEHOLDER: &'static str;
}

impl<T: Item> Field for Vec<T> {
    fn read(&mut self, raw: &Raw, _: &Rule) -> Result<(), String> {
        let Some(items) = raw.items() else {
            return Err("is not a list; write [\"…\", \"…\"]".to_owned());
        };
        let mut list = Self::new();
        for item in &items {
            list.extend(T::read_item(item).map_err(|fault| format!("{} {fault}", quoted(item)))?);
        }
        *self = list;
        Ok(())
    }

    fn show(&self, _: &Rule) -> Option<String> {
        Some(format!(
            "[{}]",
            self.iter().map(|item| format!("\"{}\"", item.show_item())).collect::<Vec<_>>().join(", ")
        ))
    }

    fn placeholder(&self, _: &Rule) -> &'static str {
        T::PLACEHOLDER
    }

    fn shape(&self) -> Shape {
        Shape::Many
    }
}

impl Item for SocketAddr {
    const PLACEHOLDER: &'static str = "IP:PORT";

    fn read_item(text: &str) -> Result<Vec<Self>, String> {
        if let Some(port) = text.strip_prefix(':').and_then(|port| port.parse().ok()) {
            return Ok(everywhere(port));
        }
        if let Ok(address) = text.parse() {
            return Ok(vec![address]);
        }
        Err("is not an address with a port; write \"192.0.2.1:3478\", \"[2001:db8::1]:3478\", or \":3478\" for every \
             address of this machine"
            .to_owned())
    }

    fn show_item(&self) -> String {
        self.to_string()
    }
}

pub(super) fn ip(text: &str) -> Result<IpAddr, String> {
    text.trim_matches(['[', ']']).parse().map_err(|_| {
        "is not an IP address; write one such as \"192.0.2.1\" or \"2001:db8::1\" (names are not looked up)".to_owned()
    })
}

impl Item for IpAddr {
    const PLACEHOLDER: &'static str = "IP";

    fn read_item(text: &str) -> Result<Vec<Self>, String> {
        let address = ip(text)?;
        if address.is_unspecified() {
            return Err("stands for every address, which clients cannot be told; name the addresses, or leave the key \
                        out to relay from those that are listened on"
                .to_owned());
        }
        Ok(vec![address])
    }

    fn show_item(&self) -> String {
        self.to_string()
    }
}

impl Item for IpNet {
    const PLACEHOLDER: &'static str = "CIDR";

    fn read_item(text: &str) -> Result<Vec<Self>, String> {
        let network =
            text.parse::<Self>().or_else(|_| text.parse::<IpAddr>().map(Self::from)).map_err(|_| {
                "is neither a network nor an address; write one such as \"10.0.0.0/8\" or \"2001:db8::/32\""
                    .to_owned()
            })?;
        if network != network.trunc() {
            return Err(format!("has bits set after its prefix; write \"{}\"", network.trunc()));
        }
        Ok(vec![network])
    }

    fn show_item(&self) -> String {
        self.to_string()
    }
}

impl Item for ServerUri {
    const PLACEHOLDER: &'static str = "URI";

    fn read_item(text: &str) -> Result<Vec<Self>, String> {
        if is_server_uri(text) {
            return Ok(vec![Self(text.to_owned())]);
        }
        Err("is not a URI clients take; write one such as \"stun:turn.example.org:3478\", \
             \"turn:turn.example.org:3478?transport=udp\" or \"turns:turn.example.org:443?transport=tcp\""
            .to_owned())
    }

    fn show_item(&self) -> String {
        self.0.clone()
    }
}

/// RFC 7064 and RFC 7065, without what browsers refuse: a query after `stun:`, and port 53.
fn is_server_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let (authority, query) = rest.split_once('?').map_or((rest, None), |(host, query)| (host, Some(query)));
    let query_fits = match scheme {
        "stun" | "stuns" => query.is_none(),
        "turn" | "turns" => matches!(query, None | Some("transport=udp" | "transport=tcp")),
        _ => false,
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_fits = match is_literal {
        Some(literal) => literal.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let of_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
            (1..=253).contains(&host.len()) && host.bytes().all(of_name)
        }
    };
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0 && port != 53));
    query_fits && host_fits && port_fits
}
