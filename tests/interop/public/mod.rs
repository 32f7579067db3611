//! The public address, found by a STUN server, by a host name and on an interface, and found anew while calls are up.

mod host_name;
mod interface;
mod names;
mod nat;
mod refusal;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::Value;
use stun::message::METHOD_ALLOCATE;

use crate::support::client::{Attribute, Received, address};
use crate::support::namespace::Namespace;
use crate::support::process::POLL;
use crate::support::{Client, Server, Setup};

/// A look takes a second, two if something is new; the rest is for a busy machine.
const SOON: Duration = Duration::from_secs(30);
const CHANNEL: u16 = 0x4000;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A server that looks every second and has no TCP.
fn setup(external: &str, listen: &str) -> Setup {
    Setup::default()
        .with("relay.external", external)
        .with("relay.external_refresh", "\"1s\"")
        .with("listen.udp", listen)
        .with("listen.tcp", "[]")
        .with("listen.tls", "[]")
}

/// The server within its network.
struct Inside {
    namespace: Namespace,
    server: Server,
}

impl Inside {
    fn start(namespace: Namespace, setup: Setup) -> Self {
        let program = namespace.command(env!("CARGO_BIN_EXE_iceway"));
        let server = namespace.enter(|| Server::start_with(program, setup));
        Self { namespace, server }
    }

    /// What the API says that clients are told of this local address, where that is known from, and whether it is so.
    fn told(&self, local: &str) -> Option<(String, String, bool)> {
        let nodes = self.namespace.enter(|| self.server.get("/v1/nodes")).json();
        let of = |one: &&Value| one["local"] == local;
        let one = nodes["nodes"][0]["publicAddresses"].as_array()?.iter().find(of)?.clone();
        let text = |name: &str| one[name].as_str().unwrap().to_owned();
        Some((text("address"), text("from"), one["confirmed"] == true))
    }

    fn wait_until_told(&self, local: &str, told: (&str, &str, bool)) {
        let told = Some((told.0.to_owned(), told.1.to_owned(), told.2));
        let deadline = Instant::now() + SOON;
        while self.told(local) != told {
            assert!(Instant::now() < deadline, "{:?}, not {told:?}", self.told(local));
            std::thread::sleep(POLL);
        }
    }

    fn uris(&self) -> Vec<String> {
        let nodes = self.namespace.enter(|| self.server.get("/v1/nodes")).json();
        let uris = nodes["nodes"][0]["uris"].as_array().unwrap().iter();
        uris.map(|uri| uri.as_str().unwrap().to_owned()).collect()
    }

    fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        self.namespace.enter(|| self.server.metric(name, labels))
    }

    /// How many lines of the log say so.
    fn said(&self, words: &str) -> usize {
        self.server.process.output().lines().filter(|line| line.contains(words)).count()
    }
}

/// A client and a peer of its own, outside.
struct Call {
    client: Client,
    peer: UdpSocket,
    relayed: SocketAddr,
}

impl Call {
    fn open(from: &Namespace, at: IpAddr, server: SocketAddr) -> Self {
        let [socket, peer] = from.enter(|| [(); 2].map(|()| UdpSocket::bind((at, 0)).unwrap()));
        let mut client = Client::on(socket, server);
        let relayed = if at.is_ipv4() { client.allocate() } else { allocate_ipv6(&mut client) };
        let relayed = relayed.unwrap();
        client.bind_channel(CHANNEL, peer.local_addr().unwrap()).unwrap();
        peer.set_read_timeout(Some(SOON)).unwrap();
        Self { client, peer, relayed }
    }

    /// Both directions; the peer sees the relayed address and no other.
    fn flows(&mut self) {
        let mut buffer = [0; 100];
        for round in 0..5_u8 {
            self.client.send_channel(CHANNEL, &[round; 60]);
            let (length, from) = self.peer.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from), (&[round; 60][..], self.relayed));
            self.peer.send_to(&[round; 70], self.relayed).unwrap();
            assert_eq!(self.client.receive(SOON), Some(Received::Channel(CHANNEL, vec![round; 70])));
        }
    }
}

fn allocate_ipv6(client: &mut Client) -> Result<SocketAddr, u16> {
    const REQUESTED_TRANSPORT: u16 = 0x0019;
    const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    let attribute = |name, value: u8| Attribute::Raw(name, vec![value, 0, 0, 0]);
    let wanted = [attribute(REQUESTED_TRANSPORT, 17), attribute(REQUESTED_ADDRESS_FAMILY, 2)];
    Ok(address(&client.request(METHOD_ALLOCATE, &wanted)?, XOR_RELAYED_ADDRESS))
}
