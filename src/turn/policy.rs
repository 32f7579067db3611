//! Which peers a client may reach.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    label::labels,
    registry::{self, Entry},
};

/// The peer policy: what is not public, or belongs to this machine, is denied unless the configuration allows it.
///
/// Every address is judged in one [canonical](canonical) form, so that no way of writing it gets around a rule. In
/// this order: an `allow` rule, a `deny` rule, the machine's own addresses, and the IANA registries of
/// special-purpose addresses with the metadata services of clouds. What none of them names is allowed.
#[derive(Clone, Debug, Default)]
pub struct PeerPolicy {
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    own_addresses: Vec<IpAddr>,
}

impl PeerPolicy {
    /// A policy with these rules on top of the defaults.
    ///
    /// A rule for IPv4-mapped IPv6 addresses (`::ffff:0:0/96` and longer) is taken as the IPv4 rule inside. Beyond
    /// that, a rule for IPv6 addresses with an IPv4 address inside can deny, but not allow.
    #[must_use]
    pub fn new(allow: &[IpNet], deny: &[IpNet], own_addresses: &[IpAddr]) -> Self {
        Self {
            allow: allow.iter().copied().map(unmapped).collect(),
            deny: deny.iter().copied().map(unmapped).collect(),
            own_addresses: own_addresses.iter().copied().map(canonical).collect(),
        }
    }

    /// Whether a client may have `ip` as its peer.
    #[must_use]
    pub fn judge(&self, ip: IpAddr) -> Verdict {
        let reduced = canonical(ip);
        if self.allow.iter().any(|network| network.contains(&reduced)) {
            return Verdict::AllowedExplicitly;
        }
        let denies = |network: &&IpNet| network.contains(&reduced) || network.contains(&ip);
        if let Some(network) = self.deny.iter().find(denies) {
            return Verdict::Denied(Rule::Configured(*network));
        }
        if self.own_addresses.contains(&reduced) {
            return Verdict::Denied(Rule::OwnAddress);
        }
        registry::find(reduced).map_or(Verdict::Allowed, |entry| Verdict::Denied(Rule::Registry(entry)))
    }
}

/// What [`PeerPolicy::judge`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No rule names the address.
    Allowed,
    /// An `allow` rule names the address.
    AllowedExplicitly,
    /// Denied, by this rule: 403.
    Denied(Rule),
}

impl Verdict {
    /// Whether the peer may be reached.
    #[must_use]
    pub const fn is_allowed(self) -> bool {
        !matches!(self, Self::Denied(_))
    }
}

/// The rule that denies a peer. `Display` explains it to an operator.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A `deny` rule of the configuration.
    Configured(IpNet),
    /// An address of this machine.
    OwnAddress,
    /// A built-in rule: see [`Rule::class`].
    Registry(&'static Entry),
}

impl Rule {
    /// The rule's place in a closed set, for metrics.
    #[must_use]
    pub const fn class(self) -> RuleClass {
        match self {
            Self::Configured(_) => RuleClass::Configured,
            Self::OwnAddress => RuleClass::OwnAddress,
            Self::Registry(entry) => entry.class,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured(network) => write!(f, "{network}: denied by the configuration"),
            Self::OwnAddress => {
                write!(f, "an address of this machine: allow it by a rule if clients should reach it")
            }
            Self::Registry(entry) => write!(f, "{entry}: denied by default"),
        }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why peers are denied, as a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RuleClass {
    /// A `deny` rule of the configuration.
    Configured,
    /// An address of this machine.
    OwnAddress,
    /// "This network" and the unspecified address.
    Unspecified,
    /// This machine.
    Loopback,
    /// RFC 1918 and the unique local addresses of IPv6.
    Private,
    /// Between a provider and its customers (CGNAT).
    Shared,
    /// The local link.
    LinkLocal,
    /// The metadata service of a cloud.
    Metadata,
    /// Multicast and broadcast.
    Multicast,
    /// For documents and benchmarks.
    Documentation,
    /// For protocols, translators and tunnels; never a host.
    Protocol,
    /// Not given out.
    Reserved,
}

labels!(RuleClass {
    Configured => "configured",
    OwnAddress => "own_address",
    Unspecified => "unspecified",
    Loopback => "loopback",
    Private => "private",
    Shared => "shared",
    LinkLocal => "link_local",
    Metadata => "metadata",
    Multicast => "multicast",
    Documentation => "documentation",
    Protocol => "protocol",
    Reserved => "reserved",
});

/// The address that packets sent to `ip` end up at: the IPv4 address inside IPv4-mapped (`::ffff:0:0/96`),
/// IPv4-translated (`::ffff:0:0:0/96`), IPv4-compatible (`::/96`), 6to4 (`2002::/16`) and NAT64 (`64:ff9b::/96`)
/// addresses, else `ip` itself.
///
/// The local-use NAT64 prefix `64:ff9b:1::/48` (RFC 8215) does not say where the IPv4 address stands in it. It is left
/// as it is, and denied as a whole.
#[must_use]
pub const fn canonical(ip: IpAddr) -> IpAddr {
    let ip = match ip {
        IpAddr::V4(_) => return ip,
        IpAddr::V6(ip) => ip,
    };
    let (high, low) = match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => return IpAddr::V6(ip),
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => (high, low),
        _ => return IpAddr::V6(ip),
    };
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// The IPv4 network inside a network of IPv4-mapped addresses.
fn unmapped(network: IpNet) -> IpNet {
    const MAPPED: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96);
    let IpNet::V6(v6) = network else { return network };
    let inside = v6.addr().to_ipv4_mapped().filter(|_| MAPPED.contains(&v6));
    let bits = v6.prefix_len().saturating_sub(MAPPED.prefix_len());
    inside.and_then(|ip| Ipv4Net::new(ip, bits).ok()).map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nets(all: &[&str]) -> Vec<IpNet> {
        all.iter().map(|net| net.parse().unwrap()).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn policy(allow: &[&str], deny: &[&str]) -> PeerPolicy {
        PeerPolicy::new(&nets(allow), &nets(deny), &[ip("198.41.0.4"), ip("2a00::5")])
    }

    /// The class that denies `text` by default; `None` if it is allowed.
    fn class(text: &str) -> Option<RuleClass> {
        match PeerPolicy::default().judge(ip(text)) {
            Verdict::Allowed => None,
            Verdict::AllowedExplicitly => panic!("nothing is allowed explicitly"),
            Verdict::Denied(rule) => Some(rule.class()),
        }
    }

    #[test]
    fn public_addresses_are_allowed() {
        for text in ["1.1.1.1", "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "100.63.255.255"]
        {
            assert_eq!(class(text), None, "{text}");
        }
        for text in
            ["100.128.0.0", "169.253.255.255", "192.0.1.0", "198.17.255.255", "198.20.0.0", "223.255.255.255"]
        {
            assert_eq!(class(text), None, "{text}");
        }
        for text in
            ["2001:4860:4860::8888", "2a00::1", "2001:200::", "2400::", "3ffe:ffff::1", "2620:4f:8001::"]
        {
            assert_eq!(class(text), None, "{text}");
        }
    }

    #[test]
    fn each_ipv4_range_is_denied_from_its_first_to_its_last_address() {
        use RuleClass::*;
        let ranges = [
            ("0.0.0.0", "0.255.255.255", Unspecified),
            ("10.0.0.0", "10.255.255.255", Private),
            ("100.64.0.0", "100.127.255.255", Shared),
            ("127.0.0.0", "127.255.255.255", Loopback),
            ("169.254.0.0", "169.254.255.255", LinkLocal),
            ("172.16.0.0", "172.31.255.255", Private),
            ("192.0.0.0", "192.0.0.255", Protocol),
            ("192.0.2.0", "192.0.2.255", Documentation),
            ("192.31.196.0", "192.31.196.255", Protocol),
            ("192.52.193.0", "192.52.193.255", Protocol),
            ("192.88.99.0", "192.88.99.255", Protocol),
            ("192.168.0.0", "192.168.255.255", Private),
            ("192.175.48.0", "192.175.48.255", Protocol),
            ("198.18.0.0", "198.19.255.255", Documentation),
            ("198.51.100.0", "198.51.100.255", Documentation),
            ("203.0.113.0", "203.0.113.255", Documentation),
            ("224.0.0.0", "239.255.255.255", Multicast),
            ("240.0.0.0", "255.255.255.254", Reserved),
        ];
        for (first, last, expected) in ranges {
            assert_eq!((class(first), class(last)), (Some(expected), Some(expected)), "{first}");
        }
        assert_eq!(class("255.255.255.255"), Some(Multicast));
    }

    #[test]
    fn each_ipv6_range_is_denied_from_its_first_to_its_last_address() {
        use RuleClass::*;
        let ranges = [
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", Protocol),
            ("100::", "100::ffff:ffff:ffff:ffff", Protocol),
            ("100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff", Protocol),
            // Teredo, benchmarking, ORCHID and ORCHIDv2 lie in the block for protocols.
            ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", Protocol),
            ("2001:0:4136:e378::", "2001:20::1", Protocol),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Documentation),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Documentation),
            ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Protocol),
            ("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", Protocol),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Private),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", LinkLocal),
            ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Private),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Multicast),
            ("4000::", "5eff::", Reserved),
            ("200::", "1fff:ffff::", Reserved),
            ("fe00::", "fe7f:ffff::", Reserved),
        ];
        for (first, last, expected) in ranges {
            assert_eq!((class(first), class(last)), (Some(expected), Some(expected)), "{first}");
        }
        assert_eq!(class("::"), Some(Unspecified));
        assert_eq!(class("::1"), Some(Loopback));
    }

    #[test]
    fn metadata_services_are_named_as_such() {
        for text in ["169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192"] {
            assert_eq!(class(text), Some(RuleClass::Metadata), "{text}");
        }
        for text in ["fd00:ec2::254", "fd20:ce::254", "fd00:42::42", "::ffff:169.254.169.254"] {
            assert_eq!(class(text), Some(RuleClass::Metadata), "{text}");
        }
    }

    #[test]
    fn no_way_of_writing_an_ipv4_address_gets_around_a_rule() {
        let forms = |[a, b, c, d]: [u8; 4]| {
            let (high, low) = (format!("{a:x}{b:02x}"), format!("{c:x}{d:02x}"));
            [
                format!("{a}.{b}.{c}.{d}"),
                format!("::ffff:{high}:{low}"),
                format!("::ffff:0:{high}:{low}"),
                format!("::{high}:{low}"),
                format!("64:ff9b::{high}:{low}"),
                format!("2002:{high}:{low}::1"),
                format!("2002:{high}:{low}:1234:5678:9abc:def0:1"),
            ]
        };
        for form in forms([127, 0, 0, 1]) {
            assert_eq!(class(&form), Some(RuleClass::Loopback), "{form}");
        }
        let policy = policy(&["10.0.0.0/8"], &["8.0.0.0/8"]);
        for form in forms([8, 8, 8, 8]) {
            assert_eq!(class(&form), None, "{form}");
            assert_eq!(canonical(ip(&form)), ip("8.8.8.8"), "{form}");
            assert!(!policy.judge(ip(&form)).is_allowed(), "{form}");
        }
        for form in forms([10, 0, 0, 1]) {
            assert_eq!(policy.judge(ip(&form)), Verdict::AllowedExplicitly, "{form}");
        }
        for form in forms([198, 41, 0, 4]) {
            assert_eq!(policy.judge(ip(&form)), Verdict::Denied(Rule::OwnAddress), "{form}");
        }
    }

    #[test]
    fn allow_rules_win_over_deny_rules_own_addresses_and_defaults() {
        let policy =
            policy(&["10.1.0.0/16", "198.41.0.4/32", "fd00:1::/32", "127.0.0.1/32"], &["10.0.0.0/8"]);

        for text in ["10.1.255.255", "198.41.0.4", "fd00:1::9", "127.0.0.1"] {
            assert_eq!(policy.judge(ip(text)), Verdict::AllowedExplicitly, "{text}");
        }
        let denied = Verdict::Denied(Rule::Configured("10.0.0.0/8".parse().unwrap()));
        assert_eq!(policy.judge(ip("10.2.0.0")), denied);
        assert!(!policy.judge(ip("127.0.0.2")).is_allowed());
        assert_eq!(policy.judge(ip("2a00::5")), Verdict::Denied(Rule::OwnAddress));
    }

    #[test]
    fn a_rule_for_mapped_addresses_is_one_for_ipv4() {
        let policy = policy(&["::ffff:10.0.0.0/104"], &["::ffff:0:0/96"]);

        assert_eq!(policy.judge(ip("10.9.9.9")), Verdict::AllowedExplicitly);
        let everything: IpNet = "0.0.0.0/0".parse().unwrap();
        assert_eq!(policy.judge(ip("8.8.8.8")), Verdict::Denied(Rule::Configured(everything)));
        assert_eq!(policy.judge(ip("2a00::1")), Verdict::Allowed);
    }

    #[test]
    fn a_rule_for_translated_addresses_denies_but_never_allows() {
        assert!(!policy(&[], &["64:ff9b::/96"]).judge(ip("64:ff9b::8.8.8.8")).is_allowed());
        assert!(policy(&[], &["64:ff9b::/96"]).judge(ip("8.8.8.8")).is_allowed());
        assert!(!policy(&["64:ff9b::/96", "::/0"], &[]).judge(ip("64:ff9b::127.0.0.1")).is_allowed());
        assert_eq!(policy(&["64:ff9b:1::/48"], &[]).judge(ip("64:ff9b:1::1")), Verdict::AllowedExplicitly);
    }

    #[test]
    fn a_rule_explains_itself() {
        let said = |policy: &PeerPolicy, text| match policy.judge(ip(text)) {
            Verdict::Denied(rule) => rule.to_string(),
            Verdict::Allowed | Verdict::AllowedExplicitly => panic!("{text} is allowed"),
        };
        let policy = policy(&[], &["8.8.8.0/24"]);

        assert_eq!(said(&policy, "10.0.0.1"), "10.0.0.0/8 (private use, RFC 1918): denied by default");
        assert_eq!(said(&policy, "8.8.8.8"), "8.8.8.0/24: denied by the configuration");
        assert!(said(&policy, "2a00::5").starts_with("an address of this machine"));
    }

    proptest! {
        #[test]
        fn a_canonical_address_is_its_own_canonical_form(ip: IpAddr) {
            prop_assert_eq!(canonical(canonical(ip)), canonical(ip));
        }

        #[test]
        fn what_the_standard_library_calls_private_is_denied(ip: Ipv4Addr) {
            let special = ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_multicast()
                || ip.is_broadcast() || ip.is_documentation() || ip.is_unspecified();
            prop_assert!(!special || !PeerPolicy::default().judge(ip.into()).is_allowed());
        }

        #[test]
        fn ipv6_outside_global_unicast_is_denied(ip: Ipv6Addr) {
            let is_inside = ip.segments()[0] >> 13 == 1 || canonical(ip.into()).is_ipv4();
            prop_assert!(is_inside || !PeerPolicy::default().judge(ip.into()).is_allowed());
        }
    }
}
