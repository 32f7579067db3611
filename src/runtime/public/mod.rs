//! By which addresses peers reach this machine: written down, or found by asking a STUN server, the DNS or an
//! interface.
//!
//! A [`Finder`] looks at the start and goes on looking; what it has [`Found`] is handed to the node, which tells it to
//! clients from then on.

mod finder;
mod gather;
mod interface;
mod look;
mod stun;

use std::net::IpAddr;

pub use finder::{Finder, NotFound};

use crate::config::{External, Relay};

/// Where an address that clients are told is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressOrigin {
    /// It is the local one: nothing says otherwise.
    Own,
    /// It is written down.
    Configured,
    /// A STUN server said so.
    Stun,
    /// A host name leads to it.
    Name,
    /// An interface has it.
    Interface,
}

impl AddressOrigin {
    /// Every one of them.
    pub const ALL: [Self; 5] = [Self::Own, Self::Configured, Self::Stun, Self::Name, Self::Interface];

    /// Its name: `own`, `configured`, `stun`, `dns`, `interface`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Configured => "configured",
            Self::Stun => "stun",
            Self::Name => "dns",
            Self::Interface => "interface",
        }
    }
}

/// What a local address is known as outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Both addresses.
    pub external: External,
    /// Where that is known from.
    pub from: AddressOrigin,
    /// Whether it was found when it was looked for last; else it is the last known one.
    pub is_confirmed: bool,
}

/// What is known of public addresses at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found(Vec<Mapping>);

impl Found {
    /// What is written down.
    #[must_use]
    pub fn configured(relay: &Relay) -> Self {
        let mapping = |external| Mapping { external, from: AddressOrigin::Configured, is_confirmed: true };
        Self(relay.configured().map(mapping).collect())
    }

    /// The mappings, those for one address before those for a family.
    #[must_use]
    pub fn mappings(&self) -> &[Mapping] {
        &self.0
    }

    /// The addresses alone.
    #[must_use]
    pub fn external(&self) -> Vec<External> {
        self.0.iter().map(|mapping| mapping.external).collect()
    }
}

impl FromIterator<Mapping> for Found {
    fn from_iter<I: IntoIterator<Item = Mapping>>(mappings: I) -> Self {
        Self(mappings.into_iter().collect())
    }
}

/// A relay address as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicAddress {
    /// What relay sockets are bound to.
    pub local: IpAddr,
    /// What clients are told.
    pub told: IpAddr,
    /// Where that is known from.
    pub from: AddressOrigin,
    /// See [`Mapping::is_confirmed`].
    pub is_confirmed: bool,
}

/// What clients are told of the relay addresses, and how that came about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublicStatus {
    /// Each relay address.
    pub addresses: Vec<PublicAddress>,
    /// What is known outside, for URIs.
    pub external: Vec<External>,
    /// What was looked for.
    pub counts: LookCounts,
}

/// How often addresses were looked for, by family, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookCounts {
    /// With an answer.
    pub found: u64,
    /// Without one.
    pub failed: u64,
    /// Times that clients were told another address afterwards.
    pub changes: u64,
}

/// 0 for addresses of the internet, more for those that fewer can reach.
pub(crate) fn remoteness(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(ip) if ip.is_loopback() => 3,
        IpAddr::V4(ip) if ip.is_link_local() => 2,
        IpAddr::V4(ip) if ip.is_private() => 1,
        IpAddr::V4(_) => 0,
        IpAddr::V6(ip) if ip.is_loopback() => 3,
        IpAddr::V6(ip) if ip.is_unicast_link_local() => 2,
        IpAddr::V6(ip) if ip.is_unique_local() => 1,
        IpAddr::V6(_) => 0,
    }
}
