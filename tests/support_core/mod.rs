//! A driver for the core under virtual time: inputs at instants, exact outputs.
#![allow(dead_code, reason = "every test program uses a part of it")]

mod client;
mod message;

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use iceway::{
    credentials::{Directory, DirectoryBuilder, KeyId, Revocation, Revocations, Secret, UserSecret},
    turn::{
        Bandwidth, BindError, ClientOutcome, Datagrams, DropReason, Event, Expiry, FiveTuple, Instant,
        Lifetimes, Limits, ListenerId, LookUpId, NonceKey, Now, Options, Output, PeerOutcome, PeerPolicy,
        Ports, Random, RelayAddress, RelayId, Server, Setup, Shared, TotalBudget, Transport,
    },
};

pub(crate) use client::Client;
pub(crate) use message::{Answer, Request};

pub(crate) const REALM: &str = "example.org";
pub(crate) const SECRET: &str = "north";
/// When every scene begins.
pub(crate) const EPOCH: u64 = 1_763_829_600;
/// Two peers out in the world.
pub(crate) const PEER: &str = "93.184.216.34:4000";
pub(crate) const PEER6: &str = "[2606:2800:220:1::1]:4000";

/// Xorshift: the same bytes in every run.
pub(crate) struct Chance(pub(crate) u64);

impl Random for Chance {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            *byte = self.0.to_le_bytes()[3];
        }
    }
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A server, its clock, and all that came out of it.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) shared: Arc<Shared>,
    pub(crate) now: Now,
    /// What was sent to clients later than at once.
    pub(crate) sent: VecDeque<(FiveTuple, Vec<u8>)>,
    pub(crate) events: Vec<Event>,
    pub(crate) look_ups: Vec<(LookUpId, String)>,
    pub(crate) disconnected: Vec<FiveTuple>,
    /// Relay sockets that are open.
    pub(crate) sockets: HashMap<RelayId, SocketAddr>,
    /// Binds that wait for [`Scene::bound`], if they do not succeed by themselves.
    pub(crate) binds: VecDeque<(RelayId, SocketAddr)>,
    pub(crate) binds_by_hand: bool,
    /// How the next binds end; after the last of them, well.
    pub(crate) failures: VecDeque<BindError>,
    pub(crate) options: Options,
    pub(crate) policy: PeerPolicy,
    pub(crate) directory: Arc<Directory>,
    /// Leave out the check of all invariants, which looks at everything.
    pub(crate) unchecked: bool,
}

/// What a scene is made from.
pub(crate) struct Stage {
    pub(crate) options: Options,
    pub(crate) policy: PeerPolicy,
    pub(crate) directory: Directory,
    pub(crate) ports: (u16, u16),
}

impl Default for Stage {
    fn default() -> Self {
        let relay = |text: &str| RelayAddress { local: ip(text), advertised: ip(text) };
        let options = Options {
            listeners: vec![addr("198.51.100.1:3478"), addr("[2001:db8:1::1]:3478"), addr("127.0.0.1:3478")],
            relay_addresses: vec![relay("198.51.100.1"), relay("2001:db8:1::1")],
            realm: REALM.into(),
            software: None,
            lifetimes: Lifetimes::default(),
            limits: Limits { unauthenticated_answers_per_second: 1_000_000, ..Limits::default() },
            bandwidth: Bandwidth::default(),
            classes: Arc::default(),
            expiry: Expiry::Allocate,
            external_users: false,
            quality: iceway::turn::QualityOptions::default(),
            legacy_channel_numbers: false,
        };
        Self { options, policy: PeerPolicy::default(), directory: directory(), ports: (50_000, 50_999) }
    }
}

/// Two secrets, and the users alice (password known) and no others.
pub(crate) fn directory() -> Directory {
    directory_builder().build().unwrap()
}

pub(crate) fn directory_builder() -> DirectoryBuilder {
    Directory::builder(REALM)
        .user("alice", UserSecret::Password("wonderland".into()))
        .user("bob", UserSecret::Password("builder".into()))
        .secret(secret("k1", SECRET))
        .secret(secret("k2", "south"))
}

pub(crate) fn secret(id: &str, bytes: &str) -> Secret {
    Secret::new(KeyId::new(id).unwrap(), bytes.as_bytes())
}

impl Stage {
    pub(crate) fn with(change: impl FnOnce(&mut Self)) -> Scene {
        let mut stage = Self::default();
        change(&mut stage);
        stage.set()
    }

    pub(crate) fn set(self) -> Scene {
        let shared = self.shared();
        self.set_with(shared)
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        let addresses: Vec<IpAddr> = self.options.relay_addresses.iter().map(|a| a.local).collect();
        let ports = Ports::new(&addresses, self.ports.0, self.ports.1);
        Arc::new(Shared::new(ports, TotalBudget::new(self.options.bandwidth.total)))
    }

    /// One shard of several.
    pub(crate) fn set_with(self, shared: Arc<Shared>) -> Scene {
        let directory = Arc::new(self.directory);
        let server = Server::new(Setup {
            options: Arc::new(self.options.clone()),
            directory: Arc::clone(&directory),
            revocations: Arc::default(),
            policy: Arc::new(self.policy.clone()),
            shared: Arc::clone(&shared),
            nonce_key: NonceKey::new(&[9; 32]),
            random: Box::new(Chance(0x5eed)),
        });
        Scene {
            server,
            shared,
            now: Now { monotonic: Instant::from_millis(1_000_000), unix: EPOCH },
            sent: VecDeque::new(),
            events: Vec::new(),
            look_ups: Vec::new(),
            disconnected: Vec::new(),
            sockets: HashMap::new(),
            binds: VecDeque::new(),
            binds_by_hand: false,
            failures: VecDeque::new(),
            options: self.options,
            policy: self.policy,
            directory,
            unchecked: false,
        }
    }
}

impl Scene {
    pub(crate) fn new() -> Self {
        Stage::default().set()
    }

    /// Hands a datagram to the server and does what it says.
    pub(crate) fn input(&mut self, from: FiveTuple, datagram: &[u8]) -> Outcome {
        let outcome = match self.server.handle_client_datagram(self.now, from, datagram) {
            ClientOutcome::Reply(bytes) => Outcome::Reply(bytes.to_vec()),
            ClientOutcome::Pending => Outcome::Pending,
            ClientOutcome::Drop(reason) => Outcome::Drop(reason),
            ClientOutcome::Relay { socket, peer, payload, dont_fragment } => Outcome::Relay(Relayed {
                from: self.sockets[&socket],
                socket,
                peer,
                payload: datagram[payload].to_vec(),
                dont_fragment,
            }),
        };
        self.drain();
        outcome
    }

    /// Hands a datagram of a peer to the server, at the relay socket with this address.
    pub(crate) fn peer_input(&mut self, at: SocketAddr, peer: &str, bytes: usize) -> PeerOutcome {
        self.peer_train(at, peer, Datagrams::one(bytes))
    }

    pub(crate) fn peer_train(&mut self, at: SocketAddr, peer: &str, datagrams: Datagrams) -> PeerOutcome {
        let socket = self.socket(at);
        let outcome = self.server.handle_peer_datagrams(self.now, socket, addr(peer), datagrams);
        self.drain();
        outcome
    }

    /// The relay socket with this local address.
    pub(crate) fn socket(&self, at: SocketAddr) -> RelayId {
        *self.sockets.iter().find(|(_, local)| **local == at).expect("a relay socket is open there").0
    }

    pub(crate) fn bound(&mut self, socket: RelayId, result: Result<(), BindError>) {
        let place = self.binds.iter().position(|(id, _)| *id == socket).expect("a bind is outstanding");
        let (_, address) = self.binds.remove(place).unwrap();
        if result.is_ok() {
            assert_eq!(self.sockets.insert(socket, address), None);
        }
        self.server.relay_bound(self.now, socket, result);
        self.drain();
    }

    /// Takes in all outputs.
    pub(crate) fn drain(&mut self) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Bind { socket, address } => {
                    self.binds.push_back((socket, address));
                    if !self.binds_by_hand {
                        let result = self.failures.pop_front().map_or(Ok(()), Err);
                        self.bound(socket, result);
                    }
                }
                Output::Close { socket } => {
                    assert!(self.sockets.remove(&socket).is_some(), "closed, but not open")
                }
                Output::Send { to, message } => self.sent.push_back((to, message.into())),
                Output::LookUp { id, username } => self.look_ups.push((id, username.into())),
                Output::Disconnect { client } => self.disconnected.push(client),
                Output::Event(event) => self.events.push(event),
            }
        }
        if !self.unchecked {
            self.server.check_invariants();
        }
    }

    /// Time goes by; what falls due in between happens at its instant.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now.monotonic.after(duration);
        while let Some(at) = self.server.poll_deadline().filter(|at| *at <= end) {
            self.set_clock(at.max(self.now.monotonic));
            self.server.handle_deadline(self.now);
            self.drain();
        }
        self.set_clock(end);
    }

    pub(crate) fn pass_seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    /// Lets time go by; true if nothing ended.
    pub(crate) fn pass_and_keep(&mut self, duration: Duration) -> bool {
        let before = self.server.allocations();
        self.pass(duration);
        self.server.allocations() == before
    }

    /// Time goes by, and nobody tells the server.
    pub(crate) fn skip_seconds(&mut self, seconds: u64) {
        self.set_clock(self.now.monotonic.after(Duration::from_secs(seconds)));
    }

    fn set_clock(&mut self, to: Instant) {
        let start = Instant::from_millis(1_000_000);
        self.now = Now { monotonic: to, unix: EPOCH + to.since(start).as_secs() };
    }

    pub(crate) fn reload(&mut self) {
        let (options, policy) = (Arc::new(self.options.clone()), Arc::new(self.policy.clone()));
        self.server.reload(self.now, options, Arc::clone(&self.directory), policy);
        self.drain();
    }

    /// Sets revocations and lets the server judge all allocations by them; says how many it ended.
    pub(crate) fn revoke(&mut self, rows: impl IntoIterator<Item = Revocation>) -> usize {
        let mut cut = self.server.set_revocations(self.now, Arc::new(Revocations::new(rows)));
        let mut ended = cut.ended;
        self.drain();
        while !cut.is_done {
            cut = self.server.go_on_revoking(self.now);
            ended += cut.ended;
            self.drain();
        }
        ended
    }

    pub(crate) fn drops(&self, reason: DropReason) -> u64 {
        self.server.counters().drops.get(reason)
    }

    /// The answer that came later.
    pub(crate) fn late_answer(&mut self) -> Answer {
        let (_, message) = self.sent.pop_front().expect("something was sent");
        Answer::of(&message)
    }

    pub(crate) fn taken_ports(&self) -> usize {
        self.shared.ports.addresses().map(|ip| self.shared.ports.in_use(ip)).sum()
    }
}

/// A [`ClientOutcome`] that outlives the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Relay(Relayed),
    Reply(Vec<u8>),
    Pending,
    Drop(DropReason),
}

impl Outcome {
    pub(crate) fn answer(self) -> Answer {
        match self {
            Self::Reply(bytes) => Answer::of(&bytes),
            other => panic!("a reply was expected, not {other:?}"),
        }
    }

    pub(crate) fn relayed(self) -> Relayed {
        match self {
            Self::Relay(relayed) => relayed,
            other => panic!("something relayed was expected, not {other:?}"),
        }
    }
}

/// What goes to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relayed {
    /// The relay socket's local address.
    pub(crate) from: SocketAddr,
    pub(crate) socket: RelayId,
    pub(crate) peer: SocketAddr,
    pub(crate) payload: Vec<u8>,
    pub(crate) dont_fragment: bool,
}

pub(crate) fn udp(client: &str) -> FiveTuple {
    let client = addr(client);
    FiveTuple::udp(ListenerId(u16::from(client.is_ipv6())), client)
}

pub(crate) fn tcp(client: &str) -> FiveTuple {
    FiveTuple { transport: Transport::Tcp, ..udp(client) }
}
