//! `GET /v1/turn/ways`: each way to the relay by itself, for who checks them one by one.

use std::net::{IpAddr, SocketAddr};

use axum::{extract::State, http::request::Parts};
use serde::Serialize;
use utoipa::ToSchema;

use super::trial::is_trial_page;
use crate::{
    api::{
        Service,
        body::Answer,
        caller::Caller,
        ice_servers::{Reached, in_uri, public_of, remoteness},
    },
    cluster::Scope,
    config::{Config, External},
    turn::Transport,
};

/// What a way is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// Learning one's own address.
    Stun,
    /// Relaying.
    Turn,
}

/// How the server is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Found {
    /// By an IPv4 address.
    Ipv4,
    /// By an IPv6 address.
    Ipv6,
    /// By its name.
    Name,
}

/// Why there is no such way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Missing {
    /// The server has no address of this family that clients could reach.
    Address,
    /// The server has no certificate.
    Certificate,
    /// The server does not listen for this transport there.
    Listener,
}

/// One way to the relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
struct Way {
    kind: Kind,
    #[schema(value_type = String, example = "udp", pattern = "^(udp|tcp|tls)$")]
    transport: &'static str,
    found: Found,
    /// What `urls` of an ICE server takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "turn:203.0.113.5:3478?transport=udp")]
    url: Option<String>,
    /// Why there is no `url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<Missing>,
}

/// Every way to the relay of this node.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct Ways {
    ways: Vec<Way>,
    /// Whether the caller may ask what the server finds itself (`GET /v1/doctor`).
    doctor: bool,
}

/// Names every way to the relay of this node, and those it does not have. Credentials are those of `/v1/ice-servers`.
#[utoipa::path(
    get,
    path = "/v1/turn/ways",
    tag = "page",
    responses((status = 200, description = "The ways.", body = Ways))
)]
pub(in crate::api) async fn list_ways(
    State(service): State<Service>,
    caller: Caller,
    parts: Parts,
) -> Answer<Ways> {
    let settings = service.settings.load();
    let doctor = caller.scopes.allow(Scope::Admin) || is_trial_page(&service, &parts);
    Answer(Ways { ways: ways(&settings.config, &service.node.public().external, service.reached()), doctor })
}

/// The transports, in the order in which clients like them.
const TRANSPORTS: [(Kind, Transport); 4] = [
    (Kind::Stun, Transport::Udp),
    (Kind::Turn, Transport::Udp),
    (Kind::Turn, Transport::Tcp),
    (Kind::Turn, Transport::Tls),
];

fn ways(config: &Config, external: &[External], reached: &Reached) -> Vec<Way> {
    if !config.node.uris.is_empty() {
        return config.node.uris.iter().filter_map(|uri| configured(&uri.0)).collect();
    }
    let families = [nearest(reached, external, true), nearest(reached, external, false)];
    let mut ways = Vec::new();
    for (kind, transport) in TRANSPORTS {
        if let Some(host) = &config.node.host {
            ways.push(by_name(kind, transport, host, reached, config));
            // Nobody's certificate names an address.
            if transport == Transport::Tls {
                continue;
            }
        }
        for (found, address) in [Found::Ipv4, Found::Ipv6].into_iter().zip(families) {
            ways.push(by_address(kind, transport, found, address, reached, config));
        }
    }
    ways
}

/// The address of a family that clients reach best, as it is bound and as they see it. IPv6 that is less public than
/// IPv4 is not offered to them either.
fn nearest(reached: &Reached, external: &[External], is_ipv4: bool) -> Option<(IpAddr, IpAddr)> {
    let best = |is_ipv4: bool| {
        let own = reached.iter().map(|(_, address)| address.ip()).filter(|ip| ip.is_ipv4() == is_ipv4);
        own.map(|ip| (ip, public_of(ip, external)))
            .min_by_key(|(local, public)| (remoteness(*public), remoteness(*local)))
    };
    let found = best(is_ipv4)?;
    let is_as_public = |other: (IpAddr, IpAddr)| remoteness(found.1) <= remoteness(other.1);
    (is_ipv4 || best(true).is_none_or(is_as_public)).then_some(found)
}

fn by_address(
    kind: Kind,
    transport: Transport,
    found: Found,
    address: Option<(IpAddr, IpAddr)>,
    reached: &Reached,
    config: &Config,
) -> Way {
    let way = |url, missing| Way { kind, transport: transport.as_str(), found, url, missing };
    let Some((local, public)) = address else { return way(None, Some(Missing::Address)) };
    match port(reached, transport, |ip| ip == local) {
        Some(port) => way(Some(uri(kind, transport, &in_uri(public), port)), None),
        None => way(None, Some(why_not(transport, config))),
    }
}

fn by_name(kind: Kind, transport: Transport, host: &str, reached: &Reached, config: &Config) -> Way {
    let url = port(reached, transport, |_| true).map(|port| uri(kind, transport, host, port));
    let missing = url.is_none().then(|| why_not(transport, config));
    Way { kind, transport: transport.as_str(), found: Found::Name, url, missing }
}

fn port(reached: &Reached, transport: Transport, is_there: impl Fn(IpAddr) -> bool) -> Option<u16> {
    let here = |(known, address): &&(Transport, SocketAddr)| *known == transport && is_there(address.ip());
    reached.iter().find(here).map(|(_, address)| address.port())
}

fn why_not(transport: Transport, config: &Config) -> Missing {
    let has_certificate = config.tls.certificate.is_some();
    if transport == Transport::Tls && !has_certificate { Missing::Certificate } else { Missing::Listener }
}

fn uri(kind: Kind, transport: Transport, host: &str, port: u16) -> String {
    match (kind, transport) {
        (Kind::Stun, Transport::Udp | Transport::Tcp | Transport::Tls) => format!("stun:{host}:{port}"),
        (Kind::Turn, Transport::Udp) => format!("turn:{host}:{port}?transport=udp"),
        (Kind::Turn, Transport::Tcp) => format!("turn:{host}:{port}?transport=tcp"),
        (Kind::Turn, Transport::Tls) => format!("turns:{host}:{port}?transport=tcp"),
    }
}

/// The way that a configured URI leads.
fn configured(uri: &str) -> Option<Way> {
    let (scheme, rest) = uri.split_once(':')?;
    let kind = if scheme.starts_with("stun") { Kind::Stun } else { Kind::Turn };
    let transport = match (scheme, rest.ends_with("transport=tcp")) {
        ("turns", _) => Transport::Tls,
        (_, true) => Transport::Tcp,
        (_, false) => Transport::Udp,
    };
    let host = rest.split('?').next().unwrap_or(rest);
    let found = if host.starts_with('[') {
        Found::Ipv6
    } else if host.split(':').next().is_some_and(|host| host.parse::<std::net::Ipv4Addr>().is_ok()) {
        Found::Ipv4
    } else {
        Found::Name
    };
    Some(Way { kind, transport: transport.as_str(), found, url: Some(uri.to_owned()), missing: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerUri;

    fn reached(list: &[(Transport, &str)]) -> Reached {
        list.iter().map(|(transport, address)| (*transport, address.parse().unwrap())).collect()
    }

    fn told(config: &Config, external: &[External], reached: &Reached) -> Vec<String> {
        let ways = ways(config, external, reached).into_iter();
        ways.map(|way| way.url.unwrap_or_else(|| format!("{} {:?}", way.transport, way.missing.unwrap())))
            .collect()
    }

    const BARE: [(Transport, &str); 4] = [
        (Transport::Udp, "127.0.0.1:3478"),
        (Transport::Udp, "10.0.0.5:3478"),
        (Transport::Udp, "[::1]:3478"),
        (Transport::Tcp, "10.0.0.5:3478"),
    ];

    #[test]
    fn ways_that_are_not_there_say_why() {
        assert_eq!(
            told(&Config::default(), &[], &reached(&BARE)),
            [
                "stun:10.0.0.5:3478",
                "udp Address",
                "turn:10.0.0.5:3478?transport=udp",
                "udp Address",
                "turn:10.0.0.5:3478?transport=tcp",
                "tcp Address",
                "tls Certificate",
                "tls Address",
            ]
        );
    }

    #[test]
    fn addresses_are_those_that_clients_see() {
        let external = [External { public: "203.0.113.5".parse().unwrap(), private: None }];
        assert_eq!(
            told(&Config::default(), &external, &reached(&BARE))[2],
            "turn:203.0.113.5:3478?transport=udp"
        );
    }

    #[test]
    fn a_name_is_tried_beside_the_addresses_and_alone_for_tls() {
        let mut config = Config::default();
        config.node.host = Some("turn.example.org".to_owned());
        config.tls.certificate = Some("certificate.pem".into());
        let list = [
            (Transport::Udp, "192.0.2.1:3478"),
            (Transport::Udp, "[2001:db8::1]:3478"),
            (Transport::Tls, "192.0.2.1:5349"),
        ];
        assert_eq!(
            told(&config, &[], &reached(&list)),
            [
                "stun:turn.example.org:3478",
                "stun:192.0.2.1:3478",
                "stun:[2001:db8::1]:3478",
                "turn:turn.example.org:3478?transport=udp",
                "turn:192.0.2.1:3478?transport=udp",
                "turn:[2001:db8::1]:3478?transport=udp",
                "tcp Listener",
                "tcp Listener",
                "tcp Listener",
                "turns:turn.example.org:5349?transport=tcp",
            ]
        );
    }

    #[test]
    fn configured_uris_are_all_there_is() {
        let mut config = Config::default();
        let uris = [
            "stun:turn.example:3478",
            "turns:turn.example:443?transport=tcp",
            "turn:[2001:db8::1]:80?transport=tcp",
        ];
        config.node.uris = uris.iter().map(|uri| ServerUri((*uri).to_owned())).collect();
        let ways = ways(&config, &[], &reached(&BARE));
        let told: Vec<_> = ways.iter().map(|way| (way.kind, way.transport, way.found)).collect();
        assert_eq!(
            told,
            [
                (Kind::Stun, "udp", Found::Name),
                (Kind::Turn, "tls", Found::Name),
                (Kind::Turn, "tcp", Found::Ipv6)
            ]
        );
    }
}
