//! Bad input of every kind against the running binary: afterwards it still answers, what it relayed it still relays,
//! and it holds no more memory than before.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use stun::message::{
    CLASS_REQUEST, METHOD_ALLOCATE, METHOD_BINDING, METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION,
    METHOD_REFRESH, Message, MessageType,
};

use crate::support::client::{Attribute, LIFETIME, REQUESTED_TRANSPORT, Received, UDP, error_code, message};
use crate::support::random::Random;
use crate::support::{Client, Server, Setup};

const DATAGRAMS: usize = 30_000;
const CONNECTIONS: usize = 1_500;
const CHANNEL: u16 = 0x4000;
/// More than buffers and counters may take, far less than state for each of the datagrams would.
const GROWTH_BYTES_MAX: u64 = 24 << 20;
const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn mangled_datagrams_change_nothing() {
    let mut victim = Victim::new();
    let before = victim.server.process.resident_bytes();
    let mut random = Random::new();
    let templates = victim.templates();
    let attackers: Vec<UdpSocket> =
        (2..=9).map(|last| UdpSocket::bind((Ipv4Addr::new(127, 0, 1, last), 0)).unwrap()).collect();
    for _ in 0..DATAGRAMS {
        let datagram = random.mangled(&templates);
        let attacker = random.one_of(&attackers);
        // A full buffer or an answer that nobody took is no matter.
        drop(attacker.send_to(&datagram, victim.server.address()));
    }
    victim.is_unharmed(before);
}

#[test]
fn mangled_requests_from_the_clients_own_address_change_nothing() {
    let mut victim = Victim::new();
    let before = victim.server.process.resident_bytes();
    let mut random = Random::new();
    let requests: Vec<Vec<u8>> = victim.requests().into_iter().map(without_fingerprint).collect();
    for _ in 0..DATAGRAMS / 3 {
        let mut datagram = random.one_of(&requests).clone();
        // Every bit behind the header is under the message's integrity.
        let bit = random.below(8 * (datagram.len() - 20)) + 8 * 20;
        datagram[bit / 8] ^= 1 << (bit % 8);
        drop(victim.client.socket().send(&datagram));
    }
    victim.is_unharmed(before);
}

#[test]
fn a_replayed_request_does_nothing_from_another_address() {
    let mut victim = Victim::new();
    let before = victim.server.process.resident_bytes();
    let attacker = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut attacker = Client::on(attacker, victim.server.address());
    for request in victim.requests() {
        let mut replayed = Message::new();
        replayed.unmarshal_binary(&request).unwrap();
        let answer = attacker.exchange(&replayed).expect("a refusal");
        assert!(matches!(error_code(&answer), Some(401 | 438)), "{answer}");
    }
    victim.is_unharmed(before);
}

#[test]
fn requests_from_ten_thousand_addresses_leave_nothing_behind() {
    let mut victim = Victim::new();
    let before = victim.server.process.resident_bytes();
    let transport = [Attribute::Raw(REQUESTED_TRANSPORT, UDP.to_vec())];
    for number in 0..10_000_u32 {
        let [.., high, low] = number.to_be_bytes();
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 2, high, low), 0)).unwrap();
        let request = message(MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST), &transport);
        socket.send_to(&request.raw, victim.server.address()).unwrap();
    }
    victim.is_unharmed(before);
}

#[test]
fn fragments_on_streams_change_nothing() {
    let mut victim = Victim::new();
    let (before, descriptors) = (victim.server.process.resident_bytes(), victim.descriptors());
    let mut random = Random::new();
    let templates = victim.templates();
    let tls = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), victim.server.tls_port);
    let mut lingering = Vec::new();
    for number in 0..CONNECTIONS {
        let address = *random.one_of(&[victim.server.address(), tls]);
        let mut stream = TcpStream::connect(address).unwrap();
        for _ in 0..=random.below(3) {
            // The server may have hung up after what came before.
            if stream.write_all(&random.mangled(&templates)).is_err() {
                break;
            }
        }
        match number % 10 {
            // In the middle of whatever it was.
            0 => lingering.push(stream),
            1 => drop(stream.shutdown(Shutdown::Write)),
            _ => drop(stream),
        }
    }
    victim.is_unharmed(before);
    drop(lingering);
    victim.until_no_stream_is_left(descriptors);
}

/// What a FINGERPRINT would catch, the integrity must catch alone.
fn without_fingerprint(mut request: Vec<u8>) -> Vec<u8> {
    request.truncate(request.len() - 8);
    let length = u16::try_from(request.len() - 20).unwrap();
    request[2..4].copy_from_slice(&length.to_be_bytes());
    request
}

/// A server with one client that has a channel to a peer.
struct Victim {
    server: Server,
    client: Client,
    peer: UdpSocket,
    relay: SocketAddr,
}

impl Victim {
    fn new() -> Self {
        let server = Server::start(Setup::default().loopback_peers().with("log.level", "\"info\""));
        let mut client = Client::new(server.address());
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(LIMIT)).unwrap();
        let relay = client.allocate().unwrap();
        client.bind_channel(CHANNEL, peer.local_addr().unwrap()).unwrap();
        let mut victim = Self { server, client, peer, relay };
        victim.relays_both_ways();
        victim
    }

    /// Signed requests that would do something if they were taken.
    fn requests(&self) -> Vec<Vec<u8>> {
        let peer = || Attribute::Peer(SocketAddr::from(([127, 0, 0, 77], 7)));
        let channel = Attribute::Raw(0x000C, vec![0x40, 0x01, 0, 0]);
        [
            self.client.signed(METHOD_REFRESH, &[Attribute::Raw(LIFETIME, vec![0; 4])]),
            self.client.signed(METHOD_ALLOCATE, &[Attribute::Raw(REQUESTED_TRANSPORT, UDP.to_vec())]),
            self.client.signed(METHOD_CREATE_PERMISSION, &[peer()]),
            self.client.signed(METHOD_CHANNEL_BIND, &[channel, peer()]),
        ]
        .map(|request| request.raw)
        .to_vec()
    }

    /// What an attacker can start from: signed requests, unsigned ones, indications, ChannelData, a TLS hello.
    fn templates(&self) -> Vec<Vec<u8>> {
        let request = |method| MessageType::new(method, CLASS_REQUEST);
        let transport = [Attribute::Raw(REQUESTED_TRANSPORT, UDP.to_vec())];
        let mut templates = self.requests();
        templates.push(message(request(METHOD_BINDING), &[]).raw);
        templates.push(message(request(METHOD_ALLOCATE), &transport).raw);
        templates.push([&[0x40, 0, 0, 160][..], &[7; 160]].concat());
        templates.push([&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3][..], &[9; 506]].concat());
        templates
    }

    fn relays_both_ways(&mut self) {
        for payload in [&b"to the peer and back"[..], &[3; 1200]] {
            self.client.send_channel(CHANNEL, payload);
            let mut buffer = [0; 2000];
            let (length, from) = self.peer.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from), (payload, self.relay));
            self.peer.send_to(payload, self.relay).unwrap();
            assert_eq!(self.client.receive(LIMIT), Some(Received::Channel(CHANNEL, payload.to_vec())));
        }
        self.client.send(self.peer.local_addr().unwrap(), b"an indication");
        let mut buffer = [0; 2000];
        let (length, from) = self.peer.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from), (&b"an indication"[..], self.relay));
    }

    fn is_unharmed(&mut self, resident_before: u64) {
        assert_eq!(self.server.process.exit(), None, "the server runs");
        self.client.refresh(600).unwrap();
        self.relays_both_ways();
        assert_eq!(self.server.metric("iceway_allocations", &[]), 1.0);
        assert_eq!(self.server.metric("iceway_permissions", &[]), 1.0);
        let mut newcomer = Client::new(self.server.address());
        newcomer.allocate().unwrap();
        newcomer.refresh(0).unwrap();
        let grown = self.server.process.resident_bytes().saturating_sub(resident_before);
        assert!(grown < GROWTH_BYTES_MAX, "resident memory grew by {grown} bytes");
    }

    fn descriptors(&self) -> f64 {
        self.server.metric("process_open_fds", &[])
    }

    fn until_no_stream_is_left(&self, descriptors_before: f64) {
        let deadline = Instant::now() + LIMIT;
        while self.descriptors() > descriptors_before {
            assert!(
                Instant::now() < deadline,
                "closed connections are still held:\n{}",
                self.server.metrics()
            );
            sleep(Duration::from_millis(50));
        }
    }
}
