//! What this node is to others, and the credentials it hands out.

use std::time::Duration;

/// What this node is called and where clients reach it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name among the nodes: 1 to 64 of `A-Z a-z 0-9 . _ -`. `None` (the default): the name of the machine.
    pub id: Option<String>,
    /// Where it is, as clients and backends name it. Default: empty.
    pub region: String,
    /// The host name clients reach it by. Default: its addresses.
    pub host: Option<String>,
    /// The URIs clients are given. Empty (the default): made of `host` and what is listened on.
    pub uris: Vec<ServerUri>,
}

impl Node {
    /// The configured name, or the machine's, with every other character replaced.
    #[must_use]
    pub fn id_or_machine_name(&self) -> String {
        self.id.clone().unwrap_or_else(machine_name)
    }
}

/// A `stun:`, `turn:` or `turns:` URI (RFC 7064, RFC 7065).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUri(pub String);

/// How long credentials live that the API hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// When a caller says nothing. Default 1 h.
    pub ttl_default: Duration,
    /// The shortest a caller may ask for. Default 60 s.
    pub ttl_min: Duration,
    /// The longest. Default 24 h.
    pub ttl_max: Duration,
}

fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name
        .trim()
        .chars()
        .take(64)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' })
        .collect();
    if name.is_empty() { "node".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_a_name_is_called_like_its_machine() {
        let name = Node::default().id_or_machine_name();
        assert!((1..=64).contains(&name.len()), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b)), "{name}");
        let named = Node { id: Some("eu-1".to_owned()), ..Node::default() };
        assert_eq!(named.id_or_machine_name(), "eu-1");
    }
}
