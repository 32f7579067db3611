//! A client behind a symmetric NAT that forgets its mapping in the middle of a call.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use stun::attributes::ATTR_XORMAPPED_ADDRESS;
use stun::message::METHOD_BINDING;

use crate::support::client::{Received, address};
use crate::support::namespace::Namespace;
use crate::support::server::time_limited_credential;
use crate::support::{Client, Server, Setup};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 2);
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(SERVER), 9_999);
const CHANNEL: u16 = 0x4000;

/// The shortest lifetime that the server can be configured to.
const LIFETIME: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_millis(500);

#[test]
fn a_call_survives_its_nat_and_the_old_allocation_is_nobodys() {
    let world = World::new();
    let created = Instant::now();
    let (mut client, old_relay) = world.client_with_channel();
    let old_mapping = mapping(&mut client);
    world.media_flows(&mut client, old_relay);

    world.forget_mappings();
    let new_mapping = mapping(&mut client);
    assert_ne!(new_mapping, old_mapping, "the NAT is symmetric, so the client has a new port");
    client.send_channel(CHANNEL, b"from an unknown five-tuple");
    assert_eq!(world.received_by_peer(SILENCE), None, "a channel belongs to its five-tuple");
    assert_eq!(client.refresh(600), Err(437), "the client learns that its allocation is not here");

    let new_relay = client.allocate().unwrap();
    assert_ne!(new_relay, old_relay);
    client.bind_channel(CHANNEL, PEER).unwrap();
    world.media_flows(&mut client, new_relay);
    world.peer.send_to(b"to the old relay", old_relay).unwrap();
    assert_eq!(client.receive(SILENCE), None, "the old allocation still answers to its old five-tuple alone");

    world.give_port_to_stranger(old_mapping);
    let mut stranger = world.stranger();
    assert_eq!(mapping(&mut stranger), old_mapping, "the stranger has the old five-tuple");
    assert_eq!(stranger.refresh(0), Err(441), "but not the credential");
    assert_eq!(stranger.permit(PEER.ip()), Err(441));
    assert!(matches!(stranger.allocate(), Err(437 | 441)));
    assert_eq!(world.server_metric("iceway_allocations"), 2.0);

    world.until_old_allocation_ends(&mut client, created);
    world.media_flows(&mut client, new_relay);
}

/// Client and stranger – NAT – server and peer, each side in a network namespace of its own.
struct World {
    peer: UdpSocket,
    server: Server,
    clients: Namespace,
    nat: Namespace,
    public: Namespace,
}

impl World {
    fn new() -> Self {
        let [clients, nat, public] = ["clients", "nat", "public"].map(Namespace::new);
        clients.link("10.77.1.2/24", &nat, "10.77.1.1/24", "inside");
        clients.run("ip address add 10.77.1.3/24 dev inside");
        nat.link("10.77.2.1/24", &public, "10.77.2.2/24", "outside");
        clients.run("ip route add default via 10.77.1.1");
        nat.run("sysctl -q -w net.ipv4.ip_forward=1");
        nat.run("nft add table ip nat");
        nat.run("nft add chain ip nat out { type nat hook postrouting priority 100 ; }");
        nat.run("nft add rule ip nat out oifname outside masquerade random,fully-random");
        let setup = Setup::default()
            .with("listen.udp", format!(r#"["{SERVER}:3478"]"#))
            .with("listen.tcp", "[]")
            .with("listen.tls", "[]")
            .with("peers.allow", format!(r#"["{SERVER}/32"]"#))
            .with("lifetimes.allocation_default", format!("\"{}s\"", LIFETIME.as_secs()));
        let server = public.enter(|| Server::start_with(public.command(env!("CARGO_BIN_EXE_iceway")), setup));
        let peer = public.enter(|| UdpSocket::bind(PEER).unwrap());
        Self { peer, server, clients, nat, public }
    }

    /// A client of the static user with an allocation and a channel to the peer.
    fn client_with_channel(&self) -> (Client, SocketAddr) {
        let socket = self.clients.enter(|| UdpSocket::bind((CLIENT, 5_000)).unwrap());
        let mut client = Client::on(socket, SocketAddr::new(SERVER.into(), 3478));
        let relay = client.allocate().unwrap();
        client.bind_channel(CHANNEL, PEER).unwrap();
        (client, relay)
    }

    /// Another user's client behind the same NAT.
    fn stranger(&self) -> Client {
        let socket = self.clients.enter(|| UdpSocket::bind(("10.77.1.3", 6_000)).unwrap());
        let (username, password) = time_limited_credential("stranger");
        Client::on(socket, SocketAddr::new(SERVER.into(), 3478)).with_credential(username, password)
    }

    /// From now on every packet through the NAT is the first of its connection, which gets a random port.
    fn forget_mappings(&self) {
        self.nat.run("conntrack -D -p udp");
    }

    /// The NAT maps the stranger's packets to this port of its own, once it has forgotten what arrived there meanwhile.
    fn give_port_to_stranger(&self, mapping: SocketAddr) {
        let port = mapping.port();
        self.nat.run(&format!("conntrack -D -p udp --orig-port-dst {port}"));
        self.nat.run(&format!(
            "nft insert rule ip nat out ip saddr 10.77.1.3 udp sport 6000 masquerade to :{port}"
        ));
    }

    /// Both directions, several times.
    fn media_flows(&self, client: &mut Client, relay: SocketAddr) {
        for round in 0..20_u8 {
            let payload = [round; 160];
            client.send_channel(CHANNEL, &payload);
            assert_eq!(self.received_by_peer(SOON), Some((payload.to_vec(), relay)));
            self.peer.send_to(&payload, relay).unwrap();
            assert_eq!(client.receive(SOON), Some(Received::Channel(CHANNEL, payload.to_vec())));
        }
    }

    fn received_by_peer(&self, limit: Duration) -> Option<(Vec<u8>, SocketAddr)> {
        let mut buffer = [0; 2000];
        self.peer.set_read_timeout(Some(limit)).unwrap();
        let (length, from) = self.peer.recv_from(&mut buffer).ok()?;
        Some((buffer[..length].to_vec(), from))
    }

    fn server_metric(&self, name: &str) -> f64 {
        self.public.enter(|| self.server.metric(name, &[]))
    }

    /// The client refreshes its allocation until the other one's lifetime is over.
    fn until_old_allocation_ends(&self, client: &mut Client, created: Instant) {
        while self.server_metric("iceway_allocations") > 1.0 {
            assert!(created.elapsed() < LIFETIME + SOON, "the old allocation outlives its lifetime");
            client.refresh(600).unwrap();
            sleep(Duration::from_secs(1));
        }
        assert!(created.elapsed() > LIFETIME - SOON, "the old allocation ended before its lifetime");
    }
}

/// The address that the server sees.
fn mapping(client: &mut Client) -> SocketAddr {
    address(&client.request(METHOD_BINDING, &[]).unwrap(), ATTR_XORMAPPED_ADDRESS.0)
}
