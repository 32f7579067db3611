//! Nodes to test, and peers to relay to.

use std::net::{SocketAddr, UdpSocket};

use iceway::{
    config::{Auth, Config, Http, Listen, Peers, Relay, Runtime, SecretBytes, StaticUser, StaticUserSecret},
    runtime::{Node, Snapshot, Start},
    turn::{Counters, Transport},
};

use crate::client::PATIENCE;

pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "wonderland";
pub(crate) const REALM: &str = "iceway.test";

/// A node on loopback that ends with the test.
pub(crate) struct TestNode {
    node: Option<Node>,
}

/// What tests change about a node.
pub(crate) type Change = fn(&mut Config);

impl TestNode {
    /// A node that listens on IPv4 and IPv6 loopback, with two shards, and lets loopback be a peer.
    pub(crate) fn start(change: Change) -> Self {
        Self::start_with(change, |_| ())
    }

    /// The same, started with something beside its configuration.
    pub(crate) fn start_with(change: Change, with: impl FnOnce(&mut Start)) -> Self {
        let mut config = Config {
            listen: Listen {
                udp: vec!["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()],
                tcp: Vec::new(),
                tls: Vec::new(),
            },
            auth: Auth {
                realm: REALM.to_owned(),
                users: vec![StaticUser {
                    name: USER.to_owned(),
                    secret: StaticUserSecret::Password(SecretBytes::new(PASSWORD.as_bytes())),
                }],
                ..Auth::default()
            },
            peers: Peers {
                allow: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
                deny: Vec::new(),
            },
            relay: Relay { port_min: 20_000, port_max: 29_999, ..Relay::default() },
            runtime: Runtime { shards: 2, ..Runtime::default() },
            http: Http { listen: None, ..Http::default() },
            ..Config::default()
        };
        change(&mut config);
        let mut start = Start::alone(&config).unwrap();
        with(&mut start);
        Self { node: Some(Node::start(&config, start).unwrap()) }
    }

    fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    /// Where it listens with IPv4.
    pub(crate) fn ipv4(&self) -> SocketAddr {
        self.address(SocketAddr::is_ipv4)
    }

    /// Where it listens with IPv6.
    pub(crate) fn ipv6(&self) -> SocketAddr {
        self.address(SocketAddr::is_ipv6)
    }

    fn address(&self, is_wanted: fn(&SocketAddr) -> bool) -> SocketAddr {
        let udp = self.node().listening().iter().filter(|one| one.transport == Transport::Udp);
        udp.map(|one| one.address).find(is_wanted).unwrap()
    }

    /// Its counters, shard by shard.
    pub(crate) fn snapshot(&self) -> Snapshot {
        block_on(self.node().handle().snapshot())
    }

    /// The core's counters of all shards.
    pub(crate) fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for shard in self.snapshot().shards {
            sum.merge(&shard.expect("every shard answers").core);
        }
        sum
    }

    /// A handle to it.
    pub(crate) fn handle(&self) -> iceway::runtime::NodeHandle {
        self.node().handle()
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            node.handle().shutdown();
            node.join();
        }
    }
}

/// Runs a future of the node's handle.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A peer's socket.
pub(crate) fn peer(ip: &str) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20).unwrap();
    socket
}

/// The next datagram at a peer, and who sent it.
pub(crate) fn receive(peer: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let (bytes, from) = peer.recv_from(&mut buffer).expect("something arrives in time");
    buffer.truncate(bytes);
    (buffer, from)
}
