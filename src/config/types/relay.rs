//! Where relay sockets are bound and what clients are told about them.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// Where relay sockets are bound and what clients are told about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Local addresses for relay sockets. Empty (the default): the addresses that are listened on.
    pub addresses: Vec<IpAddr>,
    /// Where the addresses are known from that clients are told. Of several for one family, the first that gives one
    /// counts, and those that are written down come first. Empty (the default): clients are told the local ones.
    pub external: Vec<PublicSource>,
    /// How often the ones that are not written down are looked for again. Default 60 s.
    pub external_refresh: Duration,
    /// The lowest relay port. Default 49152.
    pub port_min: u16,
    /// The highest relay port. Default 65535.
    pub port_max: u16,
}

impl Relay {
    /// The mappings that are written down.
    pub fn configured(&self) -> impl Iterator<Item = External> + '_ {
        self.external.iter().filter_map(|source| match source {
            PublicSource::Configured(mapping) => Some(*mapping),
            PublicSource::Stun(_) | PublicSource::Name(_) | PublicSource::Interface(_) => None,
        })
    }

    /// Whether some address is to be found while the node runs.
    #[must_use]
    pub fn is_found(&self) -> bool {
        self.external.iter().any(PublicSource::is_found)
    }
}

/// Where a public address is known from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicSource {
    /// It is written down.
    Configured(External),
    /// It is what this STUN server sees a relay address as.
    Stun(StunServer),
    /// It is what this host name leads to.
    Name(String),
    /// It is the most public address of this interface; relay sockets are bound there.
    Interface(String),
}

impl PublicSource {
    /// Whether it is looked for while the node runs.
    #[must_use]
    pub const fn is_found(&self) -> bool {
        !matches!(self, Self::Configured(_))
    }
}

impl fmt::Display for PublicSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured(External { public, private: Some(private) }) => write!(f, "{public}/{private}"),
            Self::Configured(External { public, private: None }) => public.fmt(f),
            Self::Stun(server) => write!(f, "stun:{server}"),
            Self::Name(name) => write!(f, "dns:{name}"),
            Self::Interface(name) => write!(f, "interface:{name}"),
        }
    }
}

/// One mapping of a NAT in front of this machine. Both addresses have the same family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct External {
    /// What clients are told.
    pub public: IpAddr,
    /// The local address it stands for; `None`: every relay address of that family.
    pub private: Option<IpAddr>,
}

/// A STUN server, asked over UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StunServer {
    /// A name, or an address without brackets.
    pub host: String,
    /// 3478 unless it is given.
    pub port: u16,
}

impl fmt::Display for StunServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, self.port).fmt(f),
            Err(_) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}
