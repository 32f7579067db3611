//! Some relays driven without sockets and without time passing by itself, for generated scripts.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use iceway::signaling::{
    Answer, Ask, CallGrants, CallMode, Client, ConnectionId, Decision, Denial, ErrorCode, Frame, Grants,
    IceServers, Identity, Instant, Next, NodeName, Now, Options, Output, Role, RoomGrant, RoomRight, Server,
    Setup, UserId, Written,
};
use serde_json::Value;

/// Users there are.
pub(crate) const USERS: [&str; 4] = ["ann", "bob", "carol", "sfu"];

/// What one client has got.
#[derive(Default)]
pub(crate) struct Got {
    node: usize,
    pub(crate) is_open: bool,
    is_held: bool,
    /// Asked and not answered yet.
    asked: Option<Ask>,
    pub(crate) seq: u64,
    pub(crate) session: String,
    pub(crate) epoch: String,
    pub(crate) resume_token: String,
    pub(crate) frames: u64,
    /// What is written to it is lost on the way.
    pub(crate) is_deaf: bool,
    /// The welcome, if there was one.
    pub(crate) welcome: Value,
    /// Requests that were answered `ok`.
    pub(crate) oks: u64,
    /// `data` of each message.
    pub(crate) data: Vec<Value>,
}

/// Relays, their clients, and what is under way between them.
pub(crate) struct World {
    servers: Vec<Server>,
    pub(crate) clients: BTreeMap<u64, Got>,
    /// From, to, bytes; as they were sent.
    pub(crate) under_way: Vec<(usize, usize, Bytes)>,
    now: Now,
    next: u64,
    events: Vec<u64>,
}

impl World {
    pub(crate) fn new(nodes: usize) -> Self {
        let server = |at: usize| {
            Server::new(Setup {
                options: options(),
                node: name(at),
                run: 1 + at as u64,
                key: zeroize::Zeroizing::new([at as u8 + 1; 32]),
            })
        };
        let now = Now { monotonic: Instant::from_millis(1_000_000), unix_millis: 1_790_000_000_000 };
        let servers = (0..nodes).map(server).collect();
        let mut world = Self {
            servers,
            clients: BTreeMap::new(),
            under_way: Vec::new(),
            now,
            next: 1,
            events: vec![0; nodes],
        };
        for at in 0..nodes {
            world.servers[at].handle_bus(now, true);
            for other in (0..nodes).filter(|&other| other != at) {
                world.servers[at].handle_node_up(now, &name(other), 1 + other as u64);
            }
            world.drain(at);
        }
        world
    }

    /// Opens a socket, which says who it is with its token.
    pub(crate) fn open(&mut self, node: usize) -> u64 {
        let node = node % self.servers.len();
        let id = self.next;
        self.next += 1;
        let client = Client { address: [127, 0, 0, 1].into() };
        let is_open = self.servers[node].handle_open(self.now, ConnectionId(id), client, None).is_ok();
        self.clients.insert(id, Got { node, is_open, ..Got::default() });
        self.drain(node);
        id
    }

    /// A client says something; the driver's rules are kept: nothing while a question is open.
    pub(crate) fn say(&mut self, id: u64, text: &str) {
        let now = self.now;
        let Some(got) = self.clients.get_mut(&id) else { return };
        let server = &mut self.servers[got.node];
        got.is_held = got.is_held && server.is_waiting(ConnectionId(id));
        if !got.is_open || got.is_held || got.asked.is_some() {
            return;
        }
        let next = server.handle_frame(now, ConnectionId(id), Frame::read(text), text.len());
        take_next(got, next);
        let node = got.node;
        self.drain(node);
    }

    /// Answers what is asked.
    pub(crate) fn decide(&mut self, id: u64, is_allowed: bool) {
        let now = self.now;
        let Some(got) = self.clients.get_mut(&id) else { return };
        let Some(asked) = got.asked.take() else { return };
        if !got.is_open {
            return;
        }
        let decision = decision(&asked, is_allowed);
        let next = self.servers[got.node].handle_decision(now, ConnectionId(id), decision);
        take_next(got, next);
        let node = got.node;
        self.drain(node);
    }

    /// The socket is gone.
    pub(crate) fn close(&mut self, id: u64) {
        let now = self.now;
        let Some(got) = self.clients.get_mut(&id) else { return };
        if std::mem::take(&mut got.is_open) {
            let node = got.node;
            self.servers[node].handle_closed(now, ConnectionId(id));
            self.drain(node);
        }
    }

    /// Time passes, everywhere the same.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now.monotonic = self.now.monotonic.after(time);
        self.now.unix_millis += time.as_millis() as u64;
        for at in 0..self.servers.len() {
            if self.servers[at].deadline().is_some_and(|deadline| deadline <= self.now.monotonic) {
                self.servers[at].handle_timeout(self.now);
            }
            self.drain(at);
        }
    }

    /// Bytes reach a node, whatever they are.
    pub(crate) fn deliver(&mut self, from: usize, to: usize, bytes: &[u8]) {
        let now = self.now;
        self.servers[to].handle_link(now, &name(from), 1 + from as u64, bytes);
        self.drain(to);
    }

    /// Everything that is under way arrives, in order.
    pub(crate) fn settle(&mut self) {
        for _ in 0..100 {
            let under_way = std::mem::take(&mut self.under_way);
            if under_way.is_empty() {
                return;
            }
            for (from, to, bytes) in under_way {
                self.deliver(from, to, &bytes);
            }
        }
    }

    fn drain(&mut self, at: usize) {
        let mut woken = Vec::new();
        while let Some(output) = self.servers[at].poll_output() {
            match output {
                Output::Wake(connection) => woken.push(connection),
                Output::ToNode { node, bytes, .. } => {
                    let to = (0..self.servers.len()).find(|&to| name(to) == node);
                    self.under_way.extend(to.map(|to| (at, to, bytes)));
                }
                Output::Event(event) => {
                    assert!(event.number.0 > self.events[at], "events are numbered in order");
                    self.events[at] = event.number.0;
                    self.servers[at].handle_recorded(self.now, event.number);
                }
                Output::IceServers { session, reason, .. } => {
                    self.servers[at].handle_ice_servers(self.now, session, reason, Ok(ice_servers()));
                }
            }
        }
        for connection in woken {
            self.take(at, connection);
        }
    }

    /// Writes what is to be written, and checks it.
    fn take(&mut self, at: usize, connection: ConnectionId) {
        for _ in 0..1000 {
            let mut frames = Vec::new();
            let written = self.servers[at].poll_connection(self.now, connection, &mut frames);
            let Some(got) = self.clients.get_mut(&connection.0) else { return };
            if !got.is_deaf {
                frames.iter().for_each(|frame| got.check(frame));
            }
            if matches!(written, Written::Close(_)) {
                if std::mem::take(&mut got.is_open) {
                    self.servers[at].handle_closed(self.now, connection);
                    self.drain(at);
                }
                return;
            }
            if frames.is_empty() {
                return;
            }
        }
        panic!("there is no end to what {connection:?} is to be told");
    }
}

impl Got {
    fn check(&mut self, text: &str) {
        let frame: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert!(self.is_open, "written after the end: {text}");
        self.frames += 1;
        if frame["type"] == "welcome" {
            let word =
                |name: &str| frame[name].as_str().unwrap_or_else(|| panic!("{name} in {text}")).to_owned();
            if frame["resumed"] != true {
                self.seq = 0;
            }
            self.session = word("session");
            self.epoch = word("epoch");
            self.resume_token = word("resumeToken");
            self.welcome = frame.clone();
        }
        if let Some(seq) = frame["seq"].as_u64() {
            assert_eq!(seq, self.seq + 1, "frames are numbered without a gap: {text}");
            self.seq = seq;
        }
        self.oks += u64::from(frame["type"] == "ok");
        if frame["type"] == "message" {
            self.data.push(frame["data"].clone());
        }
        assert!(frame["type"].is_string(), "{text}");
    }
}

fn take_next(got: &mut Got, next: Next) {
    match next {
        Next::More => {}
        Next::Ask(ask) => got.asked = Some(*ask),
        Next::Wait => got.is_held = true,
    }
}

fn decision(ask: &Ask, is_allowed: bool) -> Decision {
    let denied =
        || Denial { code: ErrorCode::Forbidden, message: "no".into(), retry_after: None, skew: None };
    match ask {
        Ask::Hello { token, .. } | Ask::Refresh { token } => {
            let user = USERS.iter().find(|user| **user == &**token).filter(|_| is_allowed);
            Decision::Identity(user.map(|user| Box::new(identity(user))).ok_or_else(denied))
        }
        Ask::Join { .. } | Ask::Call { .. } => {
            Decision::Right(if is_allowed { Ok(Answer::default()) } else { Err(denied()) })
        }
        Ask::IceServers { .. } => {
            Decision::IceServers(if is_allowed { Ok(ice_servers()) } else { Err(denied()) })
        }
    }
}

fn identity(user: &str) -> Identity {
    let rights = vec![RoomRight::Join, RoomRight::Send];
    Identity {
        user: UserId::parse(user).unwrap(),
        device: None,
        expires: None,
        token_id: None,
        grants: Grants {
            role: if user == "sfu" { Role::Sfu } else { Role::User },
            rooms: vec![RoomGrant { name: "r*".into(), rights }],
            ask_rooms: true,
            call: CallGrants { mode: CallMode::Webhook, to: Vec::new() },
            presence: true,
            message: true,
            sessions_max: 10,
            turn: None,
        },
        ice_servers: Some(ice_servers()),
    }
}

fn ice_servers() -> IceServers {
    IceServers { json: Bytes::from_static(b"[]"), ttl: Duration::from_secs(600), node: None }
}

/// Small bounds, so that scripts meet them.
fn options() -> Options {
    let mut options = Options { ring_frames: 8, ring_bytes: 4 << 10, replies: 4, ..Options::default() };
    options.limits.errors_per_minute = 1000;
    options.limits.unauthenticated_per_address = 1000;
    options.limits.connects_burst = 1000;
    options.limits.frames_burst = 1000;
    options
}

fn name(at: usize) -> NodeName {
    NodeName(format!("n{at}").into())
}
