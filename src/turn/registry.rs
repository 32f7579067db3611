//! The addresses that are no public hosts: the IANA special-purpose registries, and metadata services of clouds.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{Ipv4Net, Ipv6Net};

use super::policy::RuleClass;

/// A built-in rule: a network and what it is for.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    network: Network,
    /// Its place in a closed set, for metrics.
    pub(super) class: RuleClass,
    purpose: &'static str,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.network {
            Network::V4(network) => write!(f, "{network} ({})", self.purpose),
            Network::V6(network) => write!(f, "{network} ({})", self.purpose),
        }
    }
}

/// The first rule that names `ip`, which must be in canonical form: the more special rules come first.
pub(super) fn find(ip: IpAddr) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| match (entry.network, ip) {
        (Network::V4(network), IpAddr::V4(ip)) => network.contains(&ip),
        (Network::V6(network), IpAddr::V6(ip)) => network.contains(&ip),
        (Network::V4(_), IpAddr::V6(_)) | (Network::V6(_), IpAddr::V4(_)) => false,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    V4(Ipv4Net),
    V6(Ipv6Net),
}

const fn v4(ip: [u8; 4], bits: u8, class: RuleClass, purpose: &'static str) -> Entry {
    let [a, b, c, d] = ip;
    Entry { network: Network::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits)), class, purpose }
}

const fn v6(ip: [u16; 8], bits: u8, class: RuleClass, purpose: &'static str) -> Entry {
    let [a, b, c, d, e, f, g, h] = ip;
    let ip = Ipv6Addr::new(a, b, c, d, e, f, g, h);
    Entry { network: Network::V6(Ipv6Net::new_assert(ip, bits)), class, purpose }
}

/// <https://www.iana.org/assignments/iana-ipv4-special-registry>, <https://www.iana.org/assignments/iana-ipv6-special-registry>,
/// the multicast ranges, and everything of IPv6 that is not global unicast (2000::/3).
static ENTRIES: [Entry; 50] = [
    // Metadata services hand out the machine's own credentials to whoever asks from it.
    v4(
        [169, 254, 169, 254],
        32,
        RuleClass::Metadata,
        "metadata service of AWS, Google Cloud, Azure and others",
    ),
    v4([169, 254, 170, 2], 32, RuleClass::Metadata, "credentials service of AWS ECS"),
    v4([169, 254, 170, 23], 32, RuleClass::Metadata, "credentials service of AWS EKS"),
    v4([169, 254, 42, 42], 32, RuleClass::Metadata, "metadata service of Scaleway"),
    v4([168, 63, 129, 16], 32, RuleClass::Metadata, "host service of Azure"),
    v4([100, 100, 100, 200], 32, RuleClass::Metadata, "metadata service of Alibaba Cloud"),
    v4([192, 0, 0, 192], 32, RuleClass::Metadata, "metadata service of Oracle Cloud"),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32, RuleClass::Metadata, "local services of AWS"),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, RuleClass::Metadata, "metadata service of Google Cloud"),
    v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128, RuleClass::Metadata, "metadata service of Scaleway"),
    // IPv4.
    v4([0, 0, 0, 0], 8, RuleClass::Unspecified, "this network, RFC 791"),
    v4([10, 0, 0, 0], 8, RuleClass::Private, "private use, RFC 1918"),
    v4([100, 64, 0, 0], 10, RuleClass::Shared, "shared address space, RFC 6598"),
    v4([127, 0, 0, 0], 8, RuleClass::Loopback, "loopback, RFC 1122"),
    v4([169, 254, 0, 0], 16, RuleClass::LinkLocal, "link local, RFC 3927"),
    v4([172, 16, 0, 0], 12, RuleClass::Private, "private use, RFC 1918"),
    v4([192, 0, 0, 0], 24, RuleClass::Protocol, "protocol assignments, RFC 6890"),
    v4([192, 0, 2, 0], 24, RuleClass::Documentation, "documentation, RFC 5737"),
    v4([192, 31, 196, 0], 24, RuleClass::Protocol, "AS112, RFC 7535"),
    v4([192, 52, 193, 0], 24, RuleClass::Protocol, "AMT, RFC 7450"),
    v4([192, 88, 99, 0], 24, RuleClass::Protocol, "6to4 relay anycast, RFC 7526"),
    v4([192, 168, 0, 0], 16, RuleClass::Private, "private use, RFC 1918"),
    v4([192, 175, 48, 0], 24, RuleClass::Protocol, "AS112, RFC 7534"),
    v4([198, 18, 0, 0], 15, RuleClass::Documentation, "benchmarking, RFC 2544"),
    v4([198, 51, 100, 0], 24, RuleClass::Documentation, "documentation, RFC 5737"),
    v4([203, 0, 113, 0], 24, RuleClass::Documentation, "documentation, RFC 5737"),
    v4([224, 0, 0, 0], 4, RuleClass::Multicast, "multicast, RFC 5771"),
    v4([255, 255, 255, 255], 32, RuleClass::Multicast, "limited broadcast, RFC 919"),
    v4([240, 0, 0, 0], 4, RuleClass::Reserved, "reserved, RFC 1112"),
    // IPv6.
    v6([0; 8], 128, RuleClass::Unspecified, "unspecified, RFC 4291"),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, RuleClass::Loopback, "loopback, RFC 4291"),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, RuleClass::Protocol, "local-use NAT64, RFC 8215"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, RuleClass::Protocol, "discard only, RFC 6666"),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, RuleClass::Protocol, "dummy prefix, RFC 9780"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, RuleClass::Protocol, "Teredo, RFC 4380"),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, RuleClass::Protocol, "benchmarking, RFC 5180"),
    v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, RuleClass::Protocol, "ORCHID, RFC 4843"),
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, RuleClass::Protocol, "ORCHIDv2, RFC 7343"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, RuleClass::Protocol, "protocol assignments, RFC 2928"),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, RuleClass::Documentation, "documentation, RFC 3849"),
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, RuleClass::Protocol, "AS112, RFC 7534"),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, RuleClass::Documentation, "documentation, RFC 9637"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, RuleClass::Protocol, "segment routing, RFC 9602"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, RuleClass::Private, "unique local, RFC 4193"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, RuleClass::LinkLocal, "link local, RFC 4291"),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, RuleClass::Private, "site local, RFC 3879"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, RuleClass::Multicast, "multicast, RFC 4291"),
    // Whatever is left of IPv6 outside of 2000::/3.
    v6([0, 0, 0, 0, 0, 0, 0, 0], 3, RuleClass::Reserved, "reserved by the IETF, RFC 4291"),
    v6([0x4000, 0, 0, 0, 0, 0, 0, 0], 2, RuleClass::Reserved, "reserved by the IETF, RFC 4291"),
    v6([0x8000, 0, 0, 0, 0, 0, 0, 0], 1, RuleClass::Reserved, "reserved by the IETF, RFC 4291"),
];
