//! Several nodes, their clients, and whatever happens to them, under virtual time.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use iceway::signaling::{
    CallStep, Client, ConnectionId, EventKind, Frame, Instant, Limits, Next, NodeName, Now, Options, Output,
    Server, Setup, UserId, Written,
};
use serde_json::Value;

use crate::{
    chance::Chance,
    grants::anybody,
    net::{Net, Packet},
    phone::Phone,
};

/// How long a silent node counts as there.
const LEASE: u64 = 15_000;
/// When a node that is cut off notices.
const NOTICED: u64 = 5_000;

/// What happens at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Happening {
    /// One node hears that another is there.
    Up(usize, usize, u64),
    /// The lease of a run of a node is over, unless it can be heard.
    LeaseOver(usize, u64),
    /// A node that is cut off notices.
    Notice(usize),
    /// A node can reach the bus again.
    Heal(usize),
    /// A node begins.
    Start(usize),
    /// A phone wants to be connected.
    Connect(usize),
    /// A node that drained ends.
    End(usize),
}

pub(crate) struct Node {
    pub(crate) server: Option<Server>,
    pub(crate) run: u64,
    sockets: BTreeMap<ConnectionId, Socket>,
    is_draining: bool,
}

#[derive(Default)]
struct Socket {
    phone: usize,
    held: VecDeque<String>,
}

pub(crate) struct Cluster {
    pub(crate) now: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) phones: Vec<Phone>,
    pub(crate) net: Net,
    pub(crate) chance: Chance,
    happenings: BTreeMap<(u64, u64), Happening>,
    planned: u64,
    opened: u64,
    /// When nodes died or were given up: what was under way then may be lost.
    pub(crate) troubles: Vec<u64>,
    /// What was told of calls: which, what, by whom, when.
    pub(crate) steps: Vec<(String, CallStep, usize, u64)>,
    /// When processes of nodes began, and when they were killed.
    processes: Vec<(usize, u64, Option<u64>)>,
}

/// How long it takes until nodes know of each other, and what each other knows.
const TELLING: u64 = 3000;

impl Cluster {
    pub(crate) fn new(seed: u64, nodes: usize, phones: usize) -> Self {
        let mut cluster = Self {
            now: 1_000_000,
            nodes: Vec::new(),
            phones: (0..phones).map(|number| Phone::new(format!("u{number}"))).collect(),
            net: Net::new(),
            chance: Chance(seed),
            happenings: BTreeMap::new(),
            planned: 0,
            opened: 0,
            troubles: Vec::new(),
            steps: Vec::new(),
            processes: Vec::new(),
        };
        for node in 0..nodes {
            cluster.nodes.push(Node { server: None, run: 0, sockets: BTreeMap::new(), is_draining: false });
            cluster.start(node);
        }
        for phone in 0..phones {
            cluster.plan(100, Happening::Connect(phone));
        }
        cluster
    }

    /// One more phone, that is not connected.
    pub(crate) fn add_phone(&mut self) {
        self.phones.push(Phone::new(format!("u{}", self.phones.len())));
    }

    pub(crate) fn plan(&mut self, after: u64, happening: Happening) {
        self.planned += 1;
        self.happenings.insert((self.now + after, self.planned), happening);
    }

    pub(crate) fn time(&self) -> Now {
        Now { monotonic: Instant::from_millis(self.now), unix_millis: 1_790_000_000_000 + self.now }
    }

    fn start(&mut self, node: usize) {
        self.opened += 1;
        let run = self.opened;
        let mut key = [node as u8; 32];
        key[0] = run as u8;
        key[1] = (run >> 8) as u8;
        let setup = Setup {
            options: options(),
            node: NodeName(name(node).into()),
            run,
            key: zeroize::Zeroizing::new(key),
        };
        let Some(slot) = self.nodes.get_mut(node) else { return };
        (slot.server, slot.run, slot.is_draining) = (Some(Server::new(setup)), run, false);
        slot.sockets.clear();
        self.processes.push((node, self.now, None));
        for other in 0..self.nodes.len() {
            if other != node && self.nodes[other].server.is_some() {
                let (here, there) = (self.chance.below(2000), self.chance.below(2000));
                self.plan(here, Happening::Up(node, other, self.nodes[other].run));
                self.plan(there, Happening::Up(other, node, run));
            }
        }
    }

    /// The process of a node is killed.
    pub(crate) fn crash(&mut self, node: usize) {
        let sockets = self.end_process(node);
        self.troubles.push(self.now);
        let mut processes = self.processes.iter_mut().rev();
        processes.find(|(of, ..)| *of == node).expect("a process of it").2 = Some(self.now);
        self.plan(LEASE, Happening::LeaseOver(node, self.nodes[node].run));
        for phone in sockets {
            let after = 100 + self.chance.below(3000);
            self.plan(after, Happening::Connect(phone));
        }
    }

    /// Whether a node that knows of what happened at a node at some time has lived on since.
    pub(crate) fn is_remembered(&self, node: usize, at: u64) -> bool {
        let is_at = |begin: u64, end: Option<u64>| begin <= at && end.is_none_or(|end| end >= at);
        let was_told = self.processes.iter().any(|(of, begin, end)| {
            *of == node && is_at(*begin, *end) && end.is_none_or(|end| end > at + TELLING)
        });
        self.processes.iter().any(|(of, begin, end)| {
            end.is_none() && if *of == node { *begin <= at } else { was_told && begin + TELLING <= at }
        })
    }

    fn end_process(&mut self, node: usize) -> Vec<usize> {
        let slot = &mut self.nodes[node];
        slot.server = None;
        let phones: Vec<usize> =
            std::mem::take(&mut slot.sockets).into_values().map(|socket| socket.phone).collect();
        for phone in &phones {
            self.phones[*phone].socket = None;
            self.phones[*phone].is_welcome = false;
        }
        phones
    }

    /// A node cannot reach the bus for so long; its clients go on.
    pub(crate) fn cut(&mut self, node: usize, millis: u64) {
        if !self.net.cut.insert(node) {
            return;
        }
        if millis > LEASE {
            self.troubles.extend([self.now, self.now + LEASE, self.now + millis]);
        }
        self.plan(NOTICED, Happening::Notice(node));
        self.plan(LEASE, Happening::LeaseOver(node, self.nodes[node].run));
        self.plan(millis, Happening::Heal(node));
    }

    /// A node tells its clients to go, and ends.
    pub(crate) fn drain(&mut self, node: usize) {
        let now = self.time();
        self.nodes[node].is_draining = true;
        if let Some(server) = &mut self.nodes[node].server {
            server.drain(now, Duration::from_secs(2));
        }
        self.pump(node);
        self.plan(4000, Happening::End(node));
    }

    /// The socket of a phone breaks; the phone comes back after a while.
    pub(crate) fn drop_socket(&mut self, phone: usize, back_after: u64) {
        let Some((node, connection)) = self.phones[phone].socket.take() else { return };
        self.phones[phone].is_welcome = false;
        self.nodes[node].sockets.remove(&connection);
        let now = self.time();
        if let Some(server) = &mut self.nodes[node].server {
            server.handle_closed(now, connection);
        }
        self.pump(node);
        self.plan(back_after, Happening::Connect(phone));
    }

    pub(crate) fn send(&mut self, phone: usize, frame: &Value) {
        let Some((node, connection)) = self.phones[phone].socket else { return };
        if let Some(socket) = self.nodes[node].sockets.get_mut(&connection) {
            socket.held.push_back(frame.to_string());
        }
        self.feed(node, connection);
        self.pump(node);
    }

    /// Nodes that run and take clients.
    pub(crate) fn living(&self) -> Vec<usize> {
        let is_living = |node: &usize| self.nodes[*node].server.is_some() && !self.nodes[*node].is_draining;
        (0..self.nodes.len()).filter(is_living).collect()
    }

    /// Time passes; everything happens when it is due.
    pub(crate) fn advance(&mut self, millis: u64) {
        let end = self.now + millis;
        loop {
            let deadlines = self.nodes.iter().filter_map(|node| node.server.as_ref()?.deadline());
            let next = deadlines
                .map(Instant::as_millis)
                .chain(self.net.next())
                .chain(self.happenings.keys().next().map(|(at, _)| *at))
                .min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.step();
        }
        self.now = end;
    }

    fn step(&mut self) {
        let now = self.time();
        for node in 0..self.nodes.len() {
            let Some(server) = &mut self.nodes[node].server else { continue };
            if server.deadline().is_some_and(|deadline| deadline <= now.monotonic) {
                server.handle_timeout(now);
                self.pump(node);
            }
        }
        while let Some(packet) = self.net.arrive(self.now) {
            let Packet { from, from_run, to, to_run, bytes } = packet;
            if self.nodes[to].run == to_run
                && let Some(server) = &mut self.nodes[to].server
            {
                server.handle_link(now, &NodeName(name(from).into()), from_run, &bytes);
                self.pump(to);
            }
        }
        while let Some((&key, &happening)) = self.happenings.first_key_value() {
            if key.0 > self.now {
                return;
            }
            self.happenings.remove(&key);
            self.happen(happening);
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Up(node, of, run) => {
                if self.nodes[of].run == run && self.nodes[of].server.is_some() {
                    if self.net.cut.contains(&of) || self.net.cut.contains(&node) {
                        return self.plan(500, happening);
                    }
                    self.tell(node, |server, now| {
                        server.handle_node_up(now, &NodeName(name(of).into()), run)
                    });
                }
            }
            Happening::LeaseOver(of, run) => {
                let is_heard = self.nodes[of].server.is_some() && !self.net.cut.contains(&of);
                if self.nodes[of].run != run || is_heard {
                    return;
                }
                self.tell_others(of, |server, now| server.handle_node_down(now, &NodeName(name(of).into())));
            }
            Happening::Notice(node) => {
                if self.net.cut.contains(&node) {
                    self.tell(node, |server, now| server.handle_bus(now, false));
                }
            }
            Happening::Heal(node) => {
                self.net.cut.remove(&node);
                self.tell(node, |server, now| server.handle_bus(now, true));
                let run = self.nodes[node].run;
                for other in (0..self.nodes.len()).filter(|other| *other != node) {
                    let after = self.chance.below(2000);
                    self.plan(after, Happening::Up(other, node, run));
                    self.plan(after, Happening::Up(node, other, self.nodes[other].run));
                }
            }
            Happening::Start(node) => {
                if self.nodes[node].server.is_none() {
                    self.net.cut.remove(&node);
                    self.start(node);
                }
            }
            Happening::Connect(phone) => self.connect(phone),
            Happening::End(node) => self.end(node),
        }
    }

    /// A node that drained hands over what is left, and goes once that has arrived.
    fn end(&mut self, node: usize) {
        let now = self.time();
        let Some(server) = &mut self.nodes[node].server else { return };
        server.hand_all_over(now);
        self.pump(node);
        let Some(server) = &mut self.nodes[node].server else { return };
        if !server.is_linked_up() {
            return self.plan(200, Happening::End(node));
        }
        for phone in self.end_process(node) {
            self.plan(100, Happening::Connect(phone));
        }
        self.tell_others(node, |server, now| server.handle_node_down(now, &NodeName(name(node).into())));
        let after = 1000 + self.chance.below(5000);
        self.plan(after, Happening::Start(node));
    }

    pub(crate) fn tell(&mut self, node: usize, tell: impl Fn(&mut Server, Now)) {
        let now = self.time();
        if let Some(server) = &mut self.nodes[node].server {
            tell(server, now);
            self.pump(node);
        }
    }

    fn tell_others(&mut self, of: usize, tell: impl Fn(&mut Server, Now)) {
        for other in 0..self.nodes.len() {
            // Who is cut off itself misses nobody.
            if other != of && !self.net.cut.contains(&other) {
                self.tell(other, &tell);
            }
        }
    }

    fn connect(&mut self, phone: usize) {
        if self.phones[phone].socket.is_some() {
            return;
        }
        let living = self.living();
        let Some(node) = self.chance.pick(&living) else { return self.plan(500, Happening::Connect(phone)) };
        self.connect_to(phone, node);
    }

    pub(crate) fn connect_to(&mut self, phone: usize, node: usize) {
        self.opened += 1;
        let connection = ConnectionId(self.opened);
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, phone as u8));
        let now = self.time();
        let Some(server) = &mut self.nodes[node].server else { return };
        if server.handle_open(now, connection, Client { address }, None).is_err() {
            return self.plan(500, Happening::Connect(phone));
        }
        self.nodes[node].sockets.insert(connection, Socket { phone, held: VecDeque::new() });
        self.phones[phone].socket = Some((node, connection));
        self.phones[phone].is_welcome = false;
        let hello = self.phones[phone].hello();
        self.send(phone, &hello);
    }

    fn feed(&mut self, node: usize, connection: ConnectionId) {
        let now = self.time();
        loop {
            let slot = &mut self.nodes[node];
            let Some(server) = &mut slot.server else { return };
            let Some(socket) = slot.sockets.get_mut(&connection) else { return };
            if server.is_waiting(connection) {
                return;
            }
            let Some(text) = socket.held.pop_front() else { return };
            let mut next = server.handle_frame(now, connection, Frame::read(&text), text.len());
            while let Next::Ask(ask) = next {
                next = server.handle_decision(now, connection, anybody(&ask));
            }
        }
    }

    fn pump(&mut self, node: usize) {
        let now = self.time();
        loop {
            let Some(server) = &mut self.nodes[node].server else { return };
            let Some(output) = server.poll_output() else { return };
            match output {
                Output::Wake(connection) => self.read(node, connection),
                Output::Event(event) => {
                    server.handle_recorded(now, event.number);
                    if let EventKind::Call { step, call } = event.kind {
                        self.steps.push((call.id.as_str().to_owned(), step, node, self.now));
                    }
                }
                Output::IceServers { .. } => {}
                Output::ToNode { node: to, run, bytes } => {
                    let to = (0..self.nodes.len()).find(|other| name(*other) == *to.0).expect("a node");
                    let from_run = self.nodes[node].run;
                    let packet = Packet { from: node, from_run, to, to_run: run, bytes };
                    self.net.send(self.now, &mut self.chance, packet);
                }
            }
        }
    }

    fn read(&mut self, node: usize, connection: ConnectionId) {
        let now = self.time();
        loop {
            let mut texts = Vec::new();
            let Some(server) = &mut self.nodes[node].server else { return };
            let written = server.poll_connection(now, connection, &mut texts);
            let phone = self.nodes[node].sockets.get(&connection).map(|socket| socket.phone);
            let is_all = texts.is_empty();
            for text in texts {
                let frame: Value = serde_json::from_str(&text).expect(&text);
                let Some(phone) = phone else { continue };
                let replies = self.phones[phone].take(self.now, &frame);
                if let Some(socket) = self.nodes[node].sockets.get_mut(&connection) {
                    socket.held.extend(replies.iter().map(Value::to_string));
                }
            }
            match written {
                Written::Open => {}
                Written::Ping => {
                    if let Some(server) = &mut self.nodes[node].server {
                        server.handle_alive(now, connection);
                    }
                }
                Written::Close(_) => {
                    if let Some(server) = &mut self.nodes[node].server {
                        server.handle_closed(now, connection);
                    }
                    self.nodes[node].sockets.remove(&connection);
                    if let Some(phone) =
                        phone.filter(|phone| self.phones[*phone].socket == Some((node, connection)))
                    {
                        self.phones[phone].socket = None;
                        self.phones[phone].is_welcome = false;
                        let after = 100 + self.chance.below(2000);
                        self.plan(after, Happening::Connect(phone));
                    }
                    return;
                }
            }
            if is_all {
                break;
            }
        }
        self.feed(node, connection);
    }

    /// Sends the acknowledgement of a phone.
    pub(crate) fn acknowledge(&mut self, phone: usize) {
        if self.phones[phone].is_welcome {
            let ack = self.phones[phone].ack();
            self.send(phone, &ack);
        }
    }

    /// All that a node knows, in words that can be compared.
    pub(crate) fn knows(&self, node: usize) -> Vec<String> {
        let Some(server) = &self.nodes[node].server else { return Vec::new() };
        let mut all = Vec::new();
        for phone in &self.phones {
            let user = UserId::parse(&phone.user).expect("a user");
            for session in server.sessions_of(self.time(), &user) {
                all.push(format!(
                    "{} {} at {} {:?} attached {}",
                    phone.user, session.id, session.node.0, session.status, session.is_attached
                ));
            }
        }
        for room in ["r0", "r1", "r2"] {
            let room = iceway::signaling::RoomId::parse(room).expect("a room");
            let members = server.room(&room).map(|room| room.members).unwrap_or_default();
            all.extend(members.iter().map(|member| format!("{} in {}", member.session, room.as_str())));
        }
        all.sort();
        all
    }
}

pub(crate) fn name(node: usize) -> String {
    format!("n{node}")
}

fn options() -> Options {
    let unlimited = Limits {
        frames_per_second: 0,
        bytes_per_second: 0,
        connects_per_address: 0,
        errors_per_minute: 0,
        joins_per_minute: 0,
        descriptions_per_second: 0,
        candidates_per_second: 0,
        offers_per_minute: 0,
        offers_per_hour: 0,
        callees_per_hour: 0,
        offers_per_pair: 0,
        offers_per_callee: 0,
        declined_delay: Duration::ZERO,
        ..Limits::default()
    };
    Options { limits: unlimited, ..Options::default() }
}
