//! Which addresses are listened on, and which are relayed from.

use std::net::{IpAddr, SocketAddr};

use crate::{
    config,
    turn::{RelayAddress, Transport},
};

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
pub(super) fn relay_addresses(relay: &config::Relay, listening: &[IpAddr]) -> Vec<RelayAddress> {
    let mut locals: Vec<IpAddr> = Vec::new();
    for ip in if relay.addresses.is_empty() { listening } else { &relay.addresses } {
        if !locals.contains(ip) {
            locals.push(*ip);
        }
    }
    locals
        .iter()
        .map(|local| RelayAddress { local: *local, advertised: advertised(relay, *local, &locals) })
        .collect()
}

/// What `local` is mapped to: by a pair that names it, else by the public address of its family. The latter leaves
/// loopback alone as long as there is another address that it can be meant for.
fn advertised(relay: &config::Relay, local: IpAddr, locals: &[IpAddr]) -> IpAddr {
    let same_family = |ip: &IpAddr| ip.is_ipv4() == local.is_ipv4();
    if let Some(pair) = relay.external.iter().find(|external| external.private == Some(local)) {
        return pair.public;
    }
    let has_other = locals.iter().any(|ip| same_family(ip) && !ip.is_loopback());
    if local.is_loopback() && has_other {
        return local;
    }
    relay
        .external
        .iter()
        .find(|external| external.private.is_none() && same_family(&external.public))
        .map_or(local, |external| external.public)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{External, Listen, Relay};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
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
        let locals = |relay: &Relay| {
            relay_addresses(relay, &listening).into_iter().map(|address| address.local).collect::<Vec<_>>()
        };
        assert_eq!(locals(&Relay::default()), [ip("10.0.0.1"), ip("::1")]);
        let relay = Relay { addresses: vec![ip("10.0.0.9")], ..Relay::default() };
        assert_eq!(locals(&relay), [ip("10.0.0.9")]);
    }

    #[test]
    fn external_addresses_map_by_pair_or_by_family() {
        let listening = [ip("127.0.0.1"), ip("10.0.0.1"), ip("10.0.0.2"), ip("fd00::1")];
        let relay = Relay {
            external: vec![
                External { public: ip("192.0.2.1"), private: None },
                External { public: ip("192.0.2.2"), private: Some(ip("10.0.0.2")) },
            ],
            ..Relay::default()
        };
        let advertised: Vec<IpAddr> =
            relay_addresses(&relay, &listening).into_iter().map(|address| address.advertised).collect();
        assert_eq!(advertised, [ip("127.0.0.1"), ip("192.0.2.1"), ip("192.0.2.2"), ip("fd00::1")]);
        let only_loopback = relay_addresses(&relay, &[ip("127.0.0.1")]);
        assert_eq!(only_loopback.first().map(|address| address.advertised), Some(ip("192.0.2.1")));
    }
}
