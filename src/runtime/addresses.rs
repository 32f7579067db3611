//! Which addresses are listened on, and which are relayed from.

use std::net::{IpAddr, SocketAddr};

use super::public::{AddressOrigin, Found, Mapping, PublicAddress};
use crate::{config, turn::Transport};

/// A listening address, before it is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) transport: Transport,
    pub(super) address: SocketAddr,
    /// It stands for one address of many: not being able to bind it is no reason not to start.
    pub(super) expanded: bool,
}

/// The listening addresses, each once: unspecified ones are expanded to every address of this machine.
pub(super) fn wanted(listen: &config::Listen, interfaces: &[IpAddr]) -> Vec<Wanted> {
    let configured =
        [(Transport::Udp, &listen.udp), (Transport::Tcp, &listen.tcp), (Transport::Tls, &listen.tls)];
    let mut wanted: Vec<Wanted> = Vec::new();
    for (transport, addresses) in configured {
        for address in addresses {
            for (address, expanded) in expand(*address, interfaces) {
                // TCP and TLS share their listeners.
                let known = wanted.iter().any(|other| {
                    other.address == address
                        && address.port() != 0
                        && other.transport.is_stream() == transport.is_stream()
                });
                if !known {
                    wanted.push(Wanted { transport, address, expanded });
                }
            }
        }
    }
    wanted
}

fn expand(address: SocketAddr, interfaces: &[IpAddr]) -> Vec<(SocketAddr, bool)> {
    if !address.ip().is_unspecified() {
        return vec![(address, false)];
    }
    interfaces
        .iter()
        .filter(|ip| ip.is_ipv4() == address.is_ipv4() && !is_link_local(**ip))
        .map(|ip| (SocketAddr::new(*ip, address.port()), true))
        .collect()
}

/// An address that means nothing without an interface: nobody can be told it.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Where relay sockets are bound, and what clients are told.
pub(super) fn relay_addresses(
    relay: &config::Relay,
    listening: &[IpAddr],
    found: &Found,
) -> Vec<PublicAddress> {
    let locals = if relay.addresses.is_empty() { listening } else { &relay.addresses };
    let mut addresses: Vec<PublicAddress> = Vec::new();
    for address in locals.iter().filter_map(|local| public_address(*local, locals, found)) {
        if addresses.iter().all(|known| known.local != address.local) {
            addresses.push(address);
        }
    }
    addresses
}

/// What `local` is mapped to: by a pair that names it, else by the public address of its family. The latter leaves
/// loopback alone as long as there is another address that it can be meant for. An interface that has the public
/// address takes its place. `None`: it is not relayed from, since a STUN server sees others of its family, but not it.
fn public_address(local: IpAddr, locals: &[IpAddr], found: &Found) -> Option<PublicAddress> {
    let known =
        found.mappings().iter().filter(|mapping| mapping.external.public.is_ipv4() == local.is_ipv4());
    let told = |local: IpAddr, mapping: &Mapping| {
        let Mapping { external, from, is_confirmed } = *mapping;
        Some(PublicAddress { local, told: external.public, from, is_confirmed })
    };
    let own = PublicAddress { local, told: local, from: AddressOrigin::Own, is_confirmed: true };
    if let Some(pair) = known.clone().find(|mapping| mapping.external.private == Some(local)) {
        return told(local, pair);
    }
    let has_other = locals.iter().any(|ip| ip.is_ipv4() == local.is_ipv4() && !ip.is_loopback());
    if local.is_loopback() && has_other {
        return Some(own);
    }
    if let Some(interface) = known.clone().find(|mapping| mapping.from == AddressOrigin::Interface) {
        return told(interface.external.public, interface);
    }
    if known.clone().any(|mapping| mapping.from == AddressOrigin::Stun) {
        return None;
    }
    match known.clone().find(|mapping| mapping.external.private.is_none()) {
        Some(mapping) => told(local, mapping),
        None => Some(own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{External, Listen, PublicSource, Relay};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn told(relay: &Relay, listening: &[IpAddr]) -> Vec<(IpAddr, IpAddr)> {
        let told = relay_addresses(relay, listening, &Found::configured(relay));
        told.into_iter().map(|address| (address.local, address.told)).collect()
    }

    fn addresses(wanted: &[Wanted]) -> Vec<String> {
        wanted.iter().map(|one| format!("{} {}", one.transport.as_str(), one.address)).collect()
    }

    #[test]
    fn an_unspecified_address_is_every_address_of_its_family_but_link_local() {
        let interfaces = [ip("127.0.0.1"), ip("10.0.0.1"), ip("::1"), ip("fe80::1")];
        let listen = Listen {
            udp: vec!["0.0.0.0:1".parse().unwrap(), "[::]:1".parse().unwrap(), "10.0.0.1:1".parse().unwrap()],
            tcp: vec!["10.0.0.1:1".parse().unwrap()],
            tls: vec!["10.0.0.1:1".parse().unwrap(), "10.0.0.1:2".parse().unwrap()],
        };
        assert_eq!(
            addresses(&wanted(&listen, &interfaces)),
            ["udp 127.0.0.1:1", "udp 10.0.0.1:1", "udp [::1]:1", "tcp 10.0.0.1:1", "tls 10.0.0.1:2"]
        );
    }

    #[test]
    fn ports_the_system_chooses_are_never_the_same() {
        let any = "127.0.0.1:0".parse().unwrap();
        let listen = Listen { udp: vec![any, any], tcp: vec![any], tls: vec![any] };
        assert_eq!(wanted(&listen, &[]).len(), 4);
    }

    #[test]
    fn relay_addresses_are_the_listening_ones_unless_configured() {
        let listening = [ip("10.0.0.1"), ip("10.0.0.1"), ip("::1")];
        let locals =
            |relay: &Relay| told(relay, &listening).into_iter().map(|(local, _)| local).collect::<Vec<_>>();
        assert_eq!(locals(&Relay::default()), [ip("10.0.0.1"), ip("::1")]);
        let relay = Relay { addresses: vec![ip("10.0.0.9")], ..Relay::default() };
        assert_eq!(locals(&relay), [ip("10.0.0.9")]);
    }

    #[test]
    fn external_addresses_map_by_pair_or_by_family() {
        let listening = [ip("127.0.0.1"), ip("10.0.0.1"), ip("10.0.0.2"), ip("fd00::1")];
        let relay = Relay {
            external: vec![
                PublicSource::Configured(External { public: ip("192.0.2.1"), private: None }),
                PublicSource::Configured(External { public: ip("192.0.2.2"), private: Some(ip("10.0.0.2")) }),
            ],
            ..Relay::default()
        };
        let advertised: Vec<IpAddr> = told(&relay, &listening).into_iter().map(|(_, told)| told).collect();
        assert_eq!(advertised, [ip("127.0.0.1"), ip("192.0.2.1"), ip("192.0.2.2"), ip("fd00::1")]);
        assert_eq!(told(&relay, &[ip("127.0.0.1")]), [(ip("127.0.0.1"), ip("192.0.2.1"))]);
    }

    fn found(list: &[(&str, Option<&str>, AddressOrigin)]) -> Found {
        let mapping = |(public, private, from): &(&str, Option<&str>, AddressOrigin)| Mapping {
            external: External { public: ip(public), private: private.map(ip) },
            from: *from,
            is_confirmed: true,
        };
        list.iter().map(mapping).collect()
    }

    #[test]
    fn what_a_stun_server_does_not_see_is_not_relayed_from() {
        let listening = [ip("127.0.0.1"), ip("10.0.0.1"), ip("172.17.0.1"), ip("fd00::1")];
        let found = found(&[("192.0.2.1", Some("10.0.0.1"), AddressOrigin::Stun)]);
        let told: Vec<_> = relay_addresses(&Relay::default(), &listening, &found)
            .into_iter()
            .map(|address| (address.local, address.told, address.from))
            .collect();
        let own = |text| (ip(text), ip(text), AddressOrigin::Own);
        let seen = (ip("10.0.0.1"), ip("192.0.2.1"), AddressOrigin::Stun);
        assert_eq!(told, [own("127.0.0.1"), seen, own("fd00::1")]);
    }

    #[test]
    fn relay_sockets_are_bound_to_the_interface_that_has_the_public_address() {
        let listening = [ip("127.0.0.1"), ip("10.0.0.1"), ip("10.0.0.2"), ip("fd00::1")];
        let found = found(&[("192.0.2.1", Some("192.0.2.1"), AddressOrigin::Interface)]);
        let bound: Vec<_> = relay_addresses(&Relay::default(), &listening, &found)
            .into_iter()
            .map(|address| address.local)
            .collect();
        assert_eq!(bound, [ip("127.0.0.1"), ip("192.0.2.1"), ip("fd00::1")]);
    }
}
