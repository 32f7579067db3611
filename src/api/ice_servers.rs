//! What is handed to a client: URIs and the `iceServers` of `RTCPeerConnection`.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use serde::Serialize;

use crate::{
    cluster::{NodeAddress, NodePlace, NodePublic},
    config::{Config, External},
    credentials::Credential,
    runtime::{Listening, PublicStatus},
    turn::Transport,
};

pub(crate) use crate::runtime::remoteness;

/// One entry of `iceServers` with a credential.
#[derive(Debug, Serialize)]
pub struct IceServer<'a> {
    urls: &'a [String],
    username: &'a str,
    credential: &'a str,
}

impl<'a> IceServer<'a> {
    /// The entry that offers these URIs to the holder of `credential`.
    #[must_use]
    pub fn new(urls: &'a [String], credential: &'a Credential) -> Self {
        Self { urls, username: &credential.username, credential: credential.password.as_str() }
    }

    /// `[{"urls":…}]`, with a line for each member.
    #[must_use]
    pub fn pretty(&self) -> String {
        serde_json::to_string_pretty(&[self]).unwrap_or_default()
    }
}

/// Where clients reach the server: each transport with its addresses.
pub type Reached = Vec<(Transport, SocketAddr)>;

/// What a running node listens on.
#[must_use]
pub fn listened_on(listening: &[Listening]) -> Reached {
    listening.iter().map(|listening| (listening.transport, listening.address)).collect()
}

/// Where clients reach this node, as other nodes and their clients are told.
#[must_use]
pub fn node_place(config: &Config, public: &PublicStatus, reached: &Reached) -> NodePlace {
    let told = public.addresses.iter().map(|address| NodePublic {
        local: address.local,
        told: address.told,
        from: address.from.as_str().to_owned(),
        is_confirmed: address.is_confirmed,
    });
    NodePlace {
        uris: node_uris(config, &public.external, reached),
        addresses: node_addresses(config, &public.external, reached),
        public: told.collect(),
    }
}

/// The URIs clients are given: those configured, else made of `node.host` or the public addresses, and of what is
/// listened on.
#[must_use]
pub fn node_uris(config: &Config, external: &[External], reached: &Reached) -> Vec<String> {
    if config.node.uris.is_empty() {
        return uris(reached, external, config.node.host.as_deref());
    }
    config.node.uris.iter().map(|uri| uri.0.clone()).collect()
}

/// Where this node's listeners are reached, for other nodes that send clients here: those of `node.uris` that are
/// addresses, else the public addresses of what is listened on.
fn node_addresses(config: &Config, external: &[External], reached: &Reached) -> Vec<NodeAddress> {
    let of =
        |transport: Transport, address| NodeAddress { transport: transport.as_str().to_owned(), address };
    if !config.node.uris.is_empty() {
        let read = config.node.uris.iter().filter_map(|uri| address_in(&uri.0));
        return read.map(|(transport, address)| of(transport, address)).collect();
    }
    let best = best_addresses(reached, external);
    let mut addresses = Vec::new();
    for (transport, address) in reached {
        if let Some((_, public)) = best.iter().find(|(local, _)| *local == address.ip()) {
            addresses.push(of(*transport, SocketAddr::new(*public, address.port())));
        }
    }
    addresses
}

/// The address in a `turn:` or `turns:` URI that has no name.
fn address_in(uri: &str) -> Option<(Transport, SocketAddr)> {
    let (scheme, rest) = uri.split_once(':')?;
    let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (transport, port) = match (scheme, query) {
        ("turn", "" | "transport=udp") => (Transport::Udp, 3478),
        ("turn", "transport=tcp") => (Transport::Tcp, 3478),
        ("turns", "" | "transport=tcp") => (Transport::Tls, 5349),
        _ => return None,
    };
    let with_port = authority.parse().ok();
    let bare = authority.trim_start_matches('[').trim_end_matches(']');
    with_port.or_else(|| Some(SocketAddr::new(bare.parse().ok()?, port))).map(|address| (transport, address))
}

/// Where the server of this configuration would be reached. Addresses that stand for all are replaced by those this
/// machine talks to the world from.
#[must_use]
pub fn configured(config: &Config) -> Reached {
    let listen = &config.listen;
    let lists = [(Transport::Udp, &listen.udp), (Transport::Tcp, &listen.tcp), (Transport::Tls, &listen.tls)];
    let mut reached = Reached::new();
    for (transport, addresses) in lists {
        for address in addresses {
            let ip = if address.ip().is_unspecified() {
                outgoing_address(address.ip())
            } else {
                Some(address.ip())
            };
            if let Some(ip) = ip {
                reached.push((transport, SocketAddr::new(ip, address.port())));
            }
        }
    }
    reached
}

/// The address this machine would use to reach the world. Nothing is sent.
fn outgoing_address(family: IpAddr) -> Option<IpAddr> {
    let (local, documentation) = match family {
        IpAddr::V4(_) => ("0.0.0.0:0", "192.0.2.1:9"),
        IpAddr::V6(_) => ("[::]:0", "[2001:db8::1]:9"),
    };
    let socket = UdpSocket::bind(local).ok()?;
    socket.connect(documentation).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The URIs of the best address of each family, or of `host` if one is given.
#[must_use]
pub fn uris(reached: &Reached, external: &[External], host: Option<&str>) -> Vec<String> {
    let hosts: Vec<(IpAddr, String)> = best_addresses(reached, external)
        .into_iter()
        .map(|(local, public)| (local, host.map_or_else(|| in_uri(public), str::to_owned)))
        .collect();
    let mut uris = Vec::new();
    for (scheme, wanted, query) in [
        ("stun", Transport::Udp, ""),
        ("turn", Transport::Udp, "?transport=udp"),
        ("turn", Transport::Tcp, "?transport=tcp"),
        ("turns", Transport::Tls, "?transport=tcp"),
    ] {
        for (local, host) in &hosts {
            let matching =
                reached.iter().filter(|(transport, address)| *transport == wanted && address.ip() == *local);
            for (_, address) in matching {
                let uri = format!("{scheme}:{host}:{}{query}", address.port());
                if !uris.contains(&uri) {
                    uris.push(uri);
                }
            }
        }
    }
    uris
}

/// The most public address of each family as it is bound and as clients see it; IPv6 only if it is public, since a
/// client that cannot reach an address loses time trying.
#[must_use]
pub fn best_addresses(reached: &Reached, external: &[External]) -> Vec<(IpAddr, IpAddr)> {
    let mut seen: Vec<(IpAddr, IpAddr)> =
        reached.iter().map(|(_, address)| (address.ip(), public_of(address.ip(), external))).collect();
    seen.sort_by_key(|(local, public)| (remoteness(*public), remoteness(*local)));
    let first = |is_ipv4: bool| seen.iter().find(|(local, _)| local.is_ipv4() == is_ipv4).copied();
    let (v4, v6) = (first(true), first(false));
    let v6 = v6.filter(|(_, public)| v4.is_none() || remoteness(*public) == 0);
    v4.into_iter().chain(v6).collect()
}

pub(super) fn public_of(local: IpAddr, external: &[External]) -> IpAddr {
    let mapping = external.iter().find(|mapping| mapping.private == Some(local)).or_else(|| {
        external
            .iter()
            .find(|mapping| mapping.private.is_none() && mapping.public.is_ipv4() == local.is_ipv4())
    });
    mapping.map_or(local, |mapping| mapping.public)
}

pub(super) fn in_uri(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(list: &[(Transport, &str)]) -> Reached {
        list.iter().map(|(transport, address)| (*transport, address.parse().unwrap())).collect()
    }

    #[test]
    fn the_most_public_address_is_named_and_private_ipv6_is_not() {
        let reached = reached(&[
            (Transport::Udp, "127.0.0.1:3478"),
            (Transport::Udp, "10.0.0.5:3478"),
            (Transport::Udp, "[::1]:3478"),
            (Transport::Tcp, "10.0.0.5:3478"),
        ]);
        assert_eq!(
            uris(&reached, &[], None),
            ["stun:10.0.0.5:3478", "turn:10.0.0.5:3478?transport=udp", "turn:10.0.0.5:3478?transport=tcp"]
        );
    }

    #[test]
    fn listeners_are_named_as_other_nodes_name_them_to_clients() {
        let external = [External { public: "203.0.113.5".parse().unwrap(), private: None }];
        let shown = |config: &Config, external: &[External], list: &[(Transport, &str)]| -> Vec<String> {
            let addresses = node_addresses(config, external, &reached(list)).into_iter();
            addresses.map(|one| format!("{} {}", one.transport, one.address)).collect()
        };
        let listening = [
            (Transport::Udp, "127.0.0.1:3478"),
            (Transport::Udp, "10.0.0.5:3478"),
            (Transport::Tls, "10.0.0.5:5349"),
        ];
        let mut config = Config::default();
        assert_eq!(shown(&config, &[], &listening), ["udp 10.0.0.5:3478", "tls 10.0.0.5:5349"]);
        assert_eq!(shown(&config, &external, &listening), ["udp 203.0.113.5:3478", "tls 203.0.113.5:5349"]);
        let uris = [
            "turn:turn.example.org:3478",
            "turn:203.0.113.9?transport=udp",
            "turns:[2001:db8::1]:443",
            "stun:1.2.3.4",
        ];
        config.node.uris = uris.map(|uri| crate::config::ServerUri(uri.to_owned())).to_vec();
        assert_eq!(shown(&config, &external, &listening), ["udp 203.0.113.9:3478", "tls [2001:db8::1]:443"]);
    }

    #[test]
    fn loopback_does_not_stand_for_the_public_address() {
        let reached = reached(&[(Transport::Udp, "127.0.0.1:3478"), (Transport::Udp, "10.0.0.5:3478")]);
        let public = "203.0.113.5".parse().unwrap();
        let best = best_addresses(&reached, &[External { public, private: None }]);
        assert_eq!(best, [("10.0.0.5".parse().unwrap(), public)]);
    }

    #[test]
    fn a_mapped_address_is_named_as_clients_reach_it() {
        let reached = reached(&[(Transport::Tls, "10.0.0.5:5349"), (Transport::Udp, "[2001:db8:1::1]:3478")]);
        let external = [External { public: "203.0.113.5".parse().unwrap(), private: None }];
        assert_eq!(
            uris(&reached, &external, None),
            [
                "stun:[2001:db8:1::1]:3478",
                "turn:[2001:db8:1::1]:3478?transport=udp",
                "turns:203.0.113.5:5349?transport=tcp",
            ]
        );
        assert_eq!(
            uris(&reached, &external, Some("turn.example.org"))[2],
            "turns:turn.example.org:5349?transport=tcp"
        );
    }
}
