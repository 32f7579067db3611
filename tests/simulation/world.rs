//! The world around the servers: a clock, a network that loses, repeats and reorders, sockets that fail to bind,
//! look-ups that take their time, and a driver that does what the servers say.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use iceway::turn::{
    AllocationId, BindError, DropReason, FiveTuple, Instant, ListenerId, LookUpId, NonceKey, Now, Ports,
    RelayId, Server, Setup, Shared, TotalBudget, Transport,
};

use crate::{
    chance::Chance,
    client::{Act, Client, Surroundings},
    model::{Clocks, Model},
    people::{self, Kind},
    setup,
};

/// Messages kept to be replayed by somebody else.
const CAPTURED_MAX: usize = 64;

pub(crate) enum Event {
    ClientActs(usize),
    ToServer { from: FiveTuple, bytes: Vec<u8> },
    ToClient { to: FiveTuple, bytes: Vec<u8> },
    ToRelay { to: SocketAddr, from: SocketAddr, segment_bytes: usize, payload: Vec<u8> },
    Icmp { to: SocketAddr, peer: SocketAddr },
    Bound { server: usize, socket: RelayId, address: SocketAddr, result: Result<(), BindError> },
    LookedUp { server: usize, id: LookUpId, username: Box<str> },
    Attack,
    Operation,
    Trouble,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Socket {
    pub(crate) address: SocketAddr,
    pub(crate) is_bound: bool,
}

/// What went in and came out, to be held against the servers' counters.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) inputs: u64,
    pub(crate) replies: u64,
    pub(crate) late_answers: u64,
    pub(crate) relayed: u64,
    pub(crate) pending: u64,
    pub(crate) dropped: u64,
    /// Requests that were pending first.
    pub(crate) dropped_late: u64,
    pub(crate) to_clients: u64,
}

pub(crate) struct World {
    pub(crate) chance: Chance,
    pub(crate) now: u64,
    pub(crate) unix_offset: i64,
    pub(crate) servers: Vec<Server>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) model: Model,
    pub(crate) sockets: HashMap<(usize, RelayId), Socket>,
    pub(crate) clients: Vec<Client>,
    pub(crate) captured: VecDeque<(FiveTuple, Vec<u8>)>,
    pub(crate) tally: Tally,
    /// Which request waits for which look-up.
    pub(crate) look_ups: BTreeMap<(usize, u64), (FiveTuple, [u8; 12])>,
    /// The request that the server has just put off.
    pub(crate) put_off: Option<(FiveTuple, [u8; 12])>,
    /// Every id that was given, by server.
    pub(crate) ids: BTreeSet<(usize, AllocationId)>,
    pub(crate) closed_ids: BTreeSet<(usize, AllocationId)>,
    /// Whose allocation is just being ended by its id.
    pub(crate) to_be_closed: Option<FiveTuple>,
    /// Quiet: nobody does anything any more.
    pub(crate) is_over: bool,
    pub(crate) is_shut_down: bool,
    pub(crate) is_policy_strict: bool,
    pub(crate) directory: Kind,
    /// How late the driver is in calling `handle_deadline`.
    lateness: u64,
    loss_percent: u64,
    pub(crate) bind_failure_percent: u64,
    pub(crate) queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    stream_times: HashMap<FiveTuple, u64>,
    next_port: u16,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let options = setup::options(&mut chance);
        let kind = Kind { is_reduced: false, has_md5: chance.percent(50) };
        let (port_min, port_max) = setup::port_range(&mut chance);
        let relays: Vec<IpAddr> = options.relay_addresses.iter().map(|relay| relay.local).collect();
        let budget = TotalBudget::new(options.bandwidth.total);
        let shared = Arc::new(Shared::new(Ports::new(&relays, port_min, port_max), budget));
        let mut servers = Vec::new();
        for _ in 0..=chance.below(2) {
            servers.push(Server::new(Setup {
                options: Arc::new(options.clone()),
                directory: Arc::new(people::directory(kind)),
                revocations: Arc::default(),
                policy: Arc::new(setup::policy(&options, false)),
                shared: Arc::clone(&shared),
                nonce_key: NonceKey::new(&[7; 32]),
                random: Box::new(chance.fork()),
            }));
        }
        let mut world = Self {
            now: 1_000 + chance.below(1_000_000),
            unix_offset: 1_763_829_600,
            servers,
            shared,
            model: Model::new(options),
            sockets: HashMap::new(),
            clients: Vec::new(),
            captured: VecDeque::new(),
            tally: Tally::default(),
            look_ups: BTreeMap::new(),
            put_off: None,
            ids: BTreeSet::new(),
            closed_ids: BTreeSet::new(),
            to_be_closed: None,
            is_over: false,
            is_shut_down: false,
            is_policy_strict: false,
            directory: kind,
            lateness: 0,
            loss_percent: chance.pick(&[0, 0, 5, 30]),
            bind_failure_percent: chance.pick(&[0, 0, 10, 60]),
            queue: BTreeMap::new(),
            sequence: 0,
            stream_times: HashMap::new(),
            next_port: 10_000,
            chance,
        };
        world.populate();
        world
    }

    /// Tells the servers of options that a test has changed.
    pub(crate) fn replace_options(&mut self) {
        let options = Arc::new(self.model.options.clone());
        let directory = Arc::new(people::directory(self.directory));
        let policy = Arc::new(setup::policy(&options, self.is_policy_strict));
        let now = self.time();
        for index in 0..self.servers.len() {
            self.servers[index].reload(
                now,
                Arc::clone(&options),
                Arc::clone(&directory),
                Arc::clone(&policy),
            );
            self.drain(index);
        }
    }

    fn populate(&mut self) {
        for index in 0..3 + self.chance.index(10) {
            let five_tuple = self.five_tuple();
            let unix = self.unix();
            self.clients.push(Client::new(five_tuple, &mut self.chance, unix));
            self.after(1_000, Event::ClientActs(index));
        }
        self.after(2_000, Event::Attack);
        self.after(20_000, Event::Operation);
        self.after(60_000, Event::Trouble);
    }

    /// A client address nobody had before; few hosts, so that quotas per address matter.
    pub(crate) fn five_tuple(&mut self) -> FiveTuple {
        self.next_port += 1;
        let is_v6 = self.chance.percent(25);
        let host = 1 + self.chance.below(3);
        let ip = if is_v6 { format!("[2a02::{host}]") } else { format!("81.0.0.{host}") };
        FiveTuple {
            transport: self.chance.pick(&[Transport::Udp, Transport::Udp, Transport::Tcp, Transport::Tls]),
            listener: ListenerId(u16::from(is_v6)),
            client: people::address(&format!("{ip}:{}", self.next_port)),
        }
    }

    pub(crate) fn unix(&self) -> u64 {
        (self.now / 1000).saturating_add_signed(self.unix_offset)
    }

    pub(crate) fn clocks(&self) -> Clocks {
        Clocks { now: self.now, unix: self.unix() }
    }

    pub(crate) fn time(&self) -> Now {
        Now { monotonic: Instant::from_millis(self.now), unix: self.unix() }
    }

    pub(crate) fn shard(&self, five_tuple: &FiveTuple) -> usize {
        usize::from(five_tuple.client.port()) % self.servers.len()
    }

    fn at(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((time, self.sequence), event);
    }

    /// Schedules something within the next milliseconds.
    pub(crate) fn after(&mut self, milliseconds_max: u64, event: Event) {
        let delay = self.chance.below(milliseconds_max + 1);
        self.at(self.now + delay, event);
    }

    /// Lets the next thing happen. False when nothing is left.
    pub(crate) fn step(&mut self) -> bool {
        let Some((&(time, _), _)) = self.queue.first_key_value() else { return self.expire(u64::MAX) };
        if self.expire(time) {
            return true;
        }
        self.now = self.now.max(time);
        let Some((_, event)) = self.queue.pop_first() else { return false };
        self.happen(event);
        self.model.ended = None;
        self.assert_invariants();
        true
    }

    /// Calls `handle_deadline` where it is due before `time`. False if nothing was due.
    fn expire(&mut self, time: u64) -> bool {
        let deadlines = self.servers.iter().enumerate().filter_map(|(index, server)| {
            server.poll_deadline().map(|deadline| (deadline.as_millis().saturating_add(self.lateness), index))
        });
        let Some((due, index)) = deadlines.min().filter(|(due, _)| *due <= time) else { return false };
        self.now = self.now.max(due);
        let now = self.time();
        let unanswered =
            |world: &Self| world.servers[index].counters().drops.get(DropReason::LookUpUnanswered);
        let before = unanswered(self);
        self.servers[index].handle_deadline(now);
        for _ in before..unanswered(self) {
            self.give_up_oldest_look_up(index);
        }
        let next = self.servers[index].poll_deadline();
        assert!(next.is_none_or(|next| next > now.monotonic), "the deadline {next:?} is not after {now:?}");
        self.lateness = if self.chance.percent(70) { 0 } else { self.chance.below(500) };
        self.drain(index);
        self.assert_invariants();
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ClientActs(index) => self.let_act(index),
            Event::ToServer { from, bytes } => self.deliver(from, &bytes),
            Event::ToClient { to, bytes } => {
                if let Some(client) = self.clients.iter_mut().find(|client| client.five_tuple == to) {
                    client.hears(&bytes);
                }
            }
            Event::ToRelay { to, from, segment_bytes, payload } => {
                self.deliver_to_relay(to, from, segment_bytes, &payload)
            }
            Event::Icmp { to, peer } => self.deliver_icmp(to, peer),
            Event::Bound { server, socket, address, result } => self.bound(server, socket, address, result),
            Event::LookedUp { server, id, username } => self.looked_up(server, id, &username),
            Event::Attack => self.attack(),
            Event::Operation => self.operate(),
            Event::Trouble => self.trouble(),
        }
    }

    fn let_act(&mut self, index: usize) {
        if self.is_over {
            return;
        }
        let strangers: Vec<SocketAddr> =
            self.clients.iter().flat_map(|client| client.relayed.clone()).collect();
        let around = Surroundings {
            is_limited: self.is_limited(),
            unix: self.unix(),
            strangers: &strangers,
            lifetime_max: self.model.options.lifetimes.allocation_max.as_secs() as u32,
        };
        let client = &mut self.clients[index];
        let from = client.five_tuple;
        match client.act(&mut self.chance, &around) {
            Act::Send(bytes) => self.send(from, bytes),
            Act::Burst(bytes, count) => {
                for _ in 0..count {
                    self.after(50, Event::ToServer { from, bytes: bytes.clone() });
                }
            }
            Act::Close => self.reconnect(index),
        }
        let pause = self.chance.pick(&[10, 100, 3_000, 40_000]);
        self.after(pause, Event::ClientActs(index));
    }

    /// The client's stream ends, and it comes back as somebody else (or it gives up its UDP port).
    fn reconnect(&mut self, index: usize) {
        let from = self.clients[index].five_tuple;
        self.close_stream(from);
        let (five_tuple, unix) = (self.five_tuple(), self.unix());
        self.clients[index] = Client::new(five_tuple, &mut self.chance, unix);
    }

    pub(crate) fn close_stream(&mut self, from: FiveTuple) {
        let (shard, now) = (self.shard(&from), self.time());
        self.servers[shard].handle_client_closed(now, from);
        self.drain(shard);
        self.model.closed(from);
        self.look_ups.retain(|_, (client, _)| *client != from);
        assert!(!self.servers[shard].has_allocation(&from));
    }

    /// A message leaves a client.
    pub(crate) fn send(&mut self, from: FiveTuple, bytes: Vec<u8>) {
        self.captured.push_back((from, bytes.clone()));
        if self.captured.len() > CAPTURED_MAX {
            self.captured.pop_front();
        }
        if from.is_stream() {
            let earliest = self.stream_times.get(&from).copied().unwrap_or(0).max(self.now);
            let time = earliest + self.chance.below(50);
            self.stream_times.insert(from, time);
            return self.at(time, Event::ToServer { from, bytes });
        }
        for _ in 0..self.copies() {
            self.after(300, Event::ToServer { from, bytes: bytes.clone() });
        }
    }

    /// How often the network delivers a datagram.
    fn copies(&mut self) -> u64 {
        if self.chance.percent(self.loss_percent) {
            return 0;
        }
        if self.chance.percent(self.loss_percent) { 2 } else { 1 }
    }

    pub(crate) fn answer_client(&mut self, to: FiveTuple, bytes: Vec<u8>) {
        let copies = if to.is_stream() { 1 } else { self.copies() };
        for _ in 0..copies {
            self.after(100, Event::ToClient { to, bytes: bytes.clone() });
        }
    }
}
