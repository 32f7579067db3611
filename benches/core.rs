//! What the relay core costs without sockets: nanoseconds and memory allocations per relayed packet, per answered
//! request, and the heap that an idle allocation holds.
//!
//! `cargo bench --bench core`; about ten seconds. A packet is counted from the bytes that came in to the header that
//! goes out, through codec and core. Each number is the best of many short repeats, so that a busy machine disturbs it
//! little. Packets go round all allocations, so with 10 000 of them each one finds its allocation out of the cache.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[path = "../tests/counting_allocator/mod.rs"]
mod counting_allocator;
#[path = "core/revoking.rs"]
mod revoking;
#[path = "core/watching.rs"]
mod watching;

use std::{
    hint::black_box,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Instant as Stopwatch,
};

use counting_allocator::{CountingAllocator, allocations_during, bytes_held};
use iceway::{
    credentials::{Directory, UserSecret},
    stun::{
        Class, IntegrityKey, Message, Method, Writer, attribute, channel_data_header, data_indication_header,
        long_term_key_md5,
    },
    turn::{
        Bandwidth, ClientOutcome, Datagrams, Expiry, FiveTuple, Instant, Lifetimes, Limits, ListenerId,
        NonceKey, Now, Options, Output, PeerOutcome, PeerPolicy, Ports, Prefix, QualityOptions, Random,
        RelayAddress, RelayId, Server, Setup, Shared, TotalBudget,
    },
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const NOW: Now = Now { monotonic: Instant::from_millis(1_000_000), unix: 1_763_829_600 };
const PAYLOAD: [u8; 160] = [0x55; 160];
const REALM: &str = "iceway";
/// Relay addresses: one has too few ports for 10 000 pairs of everything.
const RELAY: Ipv4Addr = Ipv4Addr::new(80, 1, 1, 1);

fn main() {
    // Run by `cargo test`, it only shows that it works.
    let is_thorough = std::env::args().any(|argument| argument == "--bench");
    let sizes: &[usize] = if is_thorough { &[1, 64, 10_000] } else { &[1, 64] };
    println!("{:<38}{:>12}{:>10}{:>14}", "ns per packet of 160 bytes", "allocations", "ns", "memory asked");
    for &size in sizes {
        let mut scene = Scene::new(size);
        // Once round all flows, and short enough to be left alone by the scheduler now and then.
        let packets = size.max(1_000);
        let repeats = if is_thorough { 400_000 / packets } else { 1 };
        for (name, relay) in Scene::WAYS {
            scene.measure(name, relay, packets, repeats);
        }
    }
    watching::measure(if is_thorough { 100 } else { 1 });
    let clients = if is_thorough { 10_000 } else { 10 };
    requests(clients);
    revoking::measure(if is_thorough { 100_000 } else { 100 });
}

/// One client with an allocation, a permission and a channel.
struct Flow {
    from: FiveTuple,
    socket: RelayId,
    on_channel: SocketAddr,
    on_indication: SocketAddr,
    channel_data: Vec<u8>,
    send: Vec<u8>,
}

struct Scene {
    server: Server,
    flows: Vec<Flow>,
    next: usize,
}

type Way = (&'static str, fn(&mut Scene) -> usize);

impl Scene {
    const WAYS: [Way; 4] = [
        ("ChannelData to peer", Self::channel_data_up),
        ("Send indication to peer", Self::send_up),
        ("peer to ChannelData", Self::channel_data_down),
        ("peer to Data indication", Self::indication_down),
    ];

    fn new(size: usize) -> Self {
        let mut server = server();
        let flows = (0..size).map(|index| flow(&mut server, index)).collect();
        Self { server, flows, next: 0 }
    }

    fn measure(&mut self, name: &str, relay: fn(&mut Self) -> usize, packets: usize, repeats: usize) {
        let mut best = f64::MAX;
        let mut asked = 0;
        for _ in 0..repeats {
            let start = Stopwatch::now();
            let (allocations, ()) = allocations_during(|| {
                for _ in 0..packets {
                    black_box(relay(self));
                }
            });
            best = best.min(start.elapsed().as_nanos() as f64 / packets as f64);
            asked += allocations;
        }
        println!("{name:<38}{:>12}{best:>10.1}{asked:>14}", self.flows.len());
        assert_eq!(asked, 0, "relaying asked for memory");
    }

    fn turn(&mut self) -> usize {
        self.next = if self.next + 1 < self.flows.len() { self.next + 1 } else { 0 };
        self.next
    }

    fn channel_data_up(&mut self) -> usize {
        let turn = self.turn();
        let flow = &self.flows[turn];
        relayed(self.server.handle_client_datagram(NOW, flow.from, black_box(&flow.channel_data)))
    }

    fn send_up(&mut self) -> usize {
        let turn = self.turn();
        let flow = &self.flows[turn];
        relayed(self.server.handle_client_datagram(NOW, flow.from, black_box(&flow.send)))
    }

    fn channel_data_down(&mut self) -> usize {
        let turn = self.turn();
        let Flow { socket, on_channel, .. } = self.flows[turn];
        self.down(socket, on_channel)
    }

    fn indication_down(&mut self) -> usize {
        let turn = self.turn();
        let Flow { socket, on_indication, .. } = self.flows[turn];
        self.down(socket, on_indication)
    }

    fn down(&mut self, socket: RelayId, peer: SocketAddr) -> usize {
        let datagrams = Datagrams::one(PAYLOAD.len());
        let outcome = self.server.handle_peer_datagrams(NOW, socket, black_box(peer), datagrams);
        let PeerOutcome::Relay { prefix, .. } = outcome else { panic!("{outcome:?}") };
        let mut header = [0; 48];
        let bytes = match prefix {
            Prefix::Channel(number) => {
                header[..4].copy_from_slice(&channel_data_header(number, PAYLOAD.len() as u16));
                4
            }
            Prefix::Indication { peer, transaction_id } => {
                data_indication_header(&mut header, peer, &transaction_id, PAYLOAD.len() as u16)
            }
        };
        black_box(&header);
        bytes
    }
}

/// What setting up costs, and what an allocation holds.
fn requests(clients: usize) {
    let mut server = server();
    let mut costs = [const { Vec::new() }; 4];
    // The second half is measured, when tables have grown.
    let measured = clients - clients / 2;
    costs.iter_mut().for_each(|costs: &mut Vec<u64>| costs.reserve_exact(measured));
    let mut held = 0;
    for index in 0..clients {
        if index == clients / 2 {
            held = bytes_held();
            costs.iter_mut().for_each(Vec::clear);
        }
        let from = client(index);
        let challenge = timed(|| black_box(reply(&mut server, from, &unsigned())).len());
        let signer = Signer::new(&mut server, from);
        let [first, second, third] = signer.requests(peer(index, 1));
        let allocate = timed(|| made(&mut server, from, &first));
        let permission = timed(|| succeeded(&mut server, from, &second));
        let channel = timed(|| succeeded(&mut server, from, &third));
        for (costs, cost) in costs.iter_mut().zip([challenge, allocate, permission, channel]) {
            costs.push(cost);
        }
    }
    let each = (bytes_held() - held) as f64 / measured as f64;
    println!("\n{:<50}{:>10}", "per request, HMAC-SHA1, median", "ns");
    for (name, costs) in
        ["Allocate unsigned, 401", "Allocate", "CreatePermission", "ChannelBind"].iter().zip(costs)
    {
        println!("{name:<50}{:>10}", median(costs));
    }
    println!("\n{:<50}{each:>10.0}", "heap bytes per idle allocation with a channel");
}

fn timed<T>(work: impl FnOnce() -> T) -> u64 {
    let start = Stopwatch::now();
    black_box(work());
    start.elapsed().as_nanos() as u64
}

fn median(mut costs: Vec<u64>) -> u64 {
    costs.sort_unstable();
    costs[costs.len() / 2]
}

fn relayed(outcome: ClientOutcome<'_>) -> usize {
    let ClientOutcome::Relay { payload, .. } = outcome else { panic!("{outcome:?}") };
    payload.len()
}

fn server() -> Server {
    server_with(QualityOptions::default())
}

fn server_with(quality: QualityOptions) -> Server {
    let options = Options {
        listeners: vec!["80.1.1.1:3478".parse().unwrap()],
        relay_addresses: vec![RelayAddress { local: RELAY.into(), advertised: RELAY.into() }],
        realm: REALM.into(),
        software: None,
        lifetimes: Lifetimes::default(),
        limits: Limits { unauthenticated_answers_per_second: u32::MAX, ..Limits::default() },
        bandwidth: Bandwidth::default(),
        classes: Arc::default(),
        expiry: Expiry::Allocate,
        external_users: false,
        quality,
        legacy_channel_numbers: false,
    };
    let directory = Directory::builder(REALM).user("user", UserSecret::Password("password".into()));
    Server::new(Setup {
        options: Arc::new(options),
        directory: Arc::new(directory.build().unwrap()),
        revocations: Arc::default(),
        policy: Arc::new(PeerPolicy::default()),
        shared: Arc::new(Shared::new(Ports::new(&[RELAY.into()], 49_152, 65_535), TotalBudget::new(None))),
        nonce_key: NonceKey::new(&[7; 32]),
        random: Box::new(Xorshift(0x9e37_79b9_7f4a_7c15)),
    })
}

/// Makes an allocation with a channel to one peer and a permission for another.
fn flow(server: &mut Server, index: usize) -> Flow {
    let from = client(index);
    let (on_channel, on_indication) = (peer(index, 1), peer(index, 2));
    let signer = Signer::new(server, from);
    let [allocate, permission, channel] = signer.requests(on_channel);
    let socket = made(server, from, &allocate);
    succeeded(server, from, &permission);
    succeeded(server, from, &channel);
    let other = signer.signed(Method::CREATE_PERMISSION, |w| {
        w.xor_address(attribute::XOR_PEER_ADDRESS, on_indication).unwrap();
    });
    succeeded(server, from, &other);
    let channel_data = [&channel_data_header(0x4000, PAYLOAD.len() as u16)[..], &PAYLOAD].concat();
    let send = message(Class::Indication, Method::SEND, |w| {
        w.xor_address(attribute::XOR_PEER_ADDRESS, on_channel).unwrap();
        w.attribute(attribute::DATA, &PAYLOAD).unwrap();
    });
    Flow { from, socket, on_channel, on_indication, channel_data, send }
}

fn client(index: usize) -> FiveTuple {
    let ip = Ipv4Addr::from(0x5100_0000 + (index / 50_000) as u32);
    FiveTuple::udp(ListenerId(0), (ip, 10_000 + (index % 50_000) as u16).into())
}

fn peer(index: usize, which: u32) -> SocketAddr {
    (Ipv4Addr::from(0x5a00_0000 + index as u32 * 4 + which), 5000).into()
}

/// A client's key and the nonce it was given.
struct Signer {
    key: IntegrityKey,
    nonce: Vec<u8>,
}

impl Signer {
    fn new(server: &mut Server, from: FiveTuple) -> Self {
        let challenge = reply(server, from, &unsigned());
        let nonce = Message::parse(&challenge).unwrap().find(attribute::NONCE).unwrap().to_vec();
        Self { key: IntegrityKey::new(&long_term_key_md5("user", REALM, "password")), nonce }
    }

    fn signed(&self, method: Method, fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        message(Class::Request, method, |w| {
            fill(w);
            w.attribute(attribute::USERNAME, b"user").unwrap();
            w.attribute(attribute::REALM, REALM.as_bytes()).unwrap();
            w.attribute(attribute::NONCE, &self.nonce).unwrap();
            w.integrity_sha1(&self.key).unwrap();
        })
    }

    fn requests(&self, peer: SocketAddr) -> [Vec<u8>; 3] {
        let allocate = self.signed(Method::ALLOCATE, |w| w.requested_transport(17).unwrap());
        let permission = self
            .signed(Method::CREATE_PERMISSION, |w| w.xor_address(attribute::XOR_PEER_ADDRESS, peer).unwrap());
        let channel = self.signed(Method::CHANNEL_BIND, |w| {
            w.channel_number(0x4000).unwrap();
            w.xor_address(attribute::XOR_PEER_ADDRESS, peer).unwrap();
        });
        [allocate, permission, channel]
    }
}

fn unsigned() -> Vec<u8> {
    message(Class::Request, Method::ALLOCATE, |w| w.requested_transport(17).unwrap())
}

fn message(class: Class, method: Method, fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = [0; 1024];
    let mut writer = Writer::new(&mut buffer, class, method, *b"transaction!").unwrap();
    fill(&mut writer);
    let bytes = writer.finish();
    buffer[..bytes].to_vec()
}

fn reply(server: &mut Server, from: FiveTuple, request: &[u8]) -> Vec<u8> {
    let ClientOutcome::Reply(reply) = server.handle_client_datagram(NOW, from, request) else {
        panic!("no reply")
    };
    reply.to_vec()
}

fn succeeded(server: &mut Server, from: FiveTuple, request: &[u8]) {
    let ClientOutcome::Reply(reply) = server.handle_client_datagram(NOW, from, request) else {
        panic!("no reply")
    };
    assert_eq!(Message::parse(reply).unwrap().class(), Class::Success);
    while server.poll_output().is_some() {}
}

/// An Allocate, with the bind that it asks for.
fn made(server: &mut Server, from: FiveTuple, request: &[u8]) -> RelayId {
    let outcome = server.handle_client_datagram(NOW, from, request);
    assert_eq!(outcome, ClientOutcome::Pending);
    let mut made = None;
    while let Some(output) = server.poll_output() {
        if let Output::Bind { socket, .. } = output {
            server.relay_bound(NOW, socket, Ok(()));
            made = Some(socket);
        }
    }
    assert!(server.has_allocation(&from));
    made.unwrap()
}

struct Xorshift(u64);

impl Random for Xorshift {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            *byte = (self.0 >> 32) as u8;
        }
    }
}
