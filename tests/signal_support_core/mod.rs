//! The signaling relay under virtual time: several clients, no sockets.

// Not everybody who drives it uses all of it.
#![allow(dead_code, clippy::unwrap_used)]

mod grants;

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use bytes::Bytes;
use iceway::signaling::{
    Answer, Ask, Client, CloseCode, ConnectionId, Decision, Denial, ErrorCode, Event, EventKind, EventNumber,
    Frame, Grants, IceServers, Identity, Instant, Next, NodeName, Now, Options, Output, PushReason, Server,
    Setup, UserId, Written,
};
use serde_json::{Value, json};

pub(crate) use self::grants::everything;

/// One node, its clients, and whoever decides for it.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) now: Now,
    sockets: HashMap<ConnectionId, Socket>,
    opened: u64,
    /// What came out of the relay besides frames.
    pub(crate) events: Vec<Event>,
    /// Questions that were asked, in order.
    pub(crate) asked: Vec<String>,
    /// What tokens may do: by user; everybody else may do everything.
    pub(crate) grants: HashMap<String, Grants>,
    /// What questions for a right are answered; unless something stands here, yes.
    pub(crate) rights: VecDeque<Result<Answer, Denial>>,
    /// Whether events are kept as soon as they happen.
    pub(crate) keeps_events: bool,
    /// Whether questions are answered at once; if not, [`World::decide`] does.
    pub(crate) decides: bool,
    waiting: VecDeque<(ConnectionId, Box<Ask>)>,
    /// How long tokens live.
    pub(crate) token_life: Option<Duration>,
    /// How long ICE servers live.
    pub(crate) ice_life: Duration,
    /// From where the next sockets come.
    pub(crate) address: IpAddr,
    /// What goes to runs of other nodes.
    pub(crate) packets: VecDeque<(NodeName, u64, Bytes)>,
}

/// One socket as its client sees it.
#[derive(Default)]
struct Socket {
    inbox: VecDeque<Value>,
    closed: Option<CloseCode>,
    pings: usize,
    /// Frames the driver holds back.
    held: VecDeque<String>,
    is_asking: bool,
    /// It reads nothing.
    is_stuck: bool,
    /// It answers no pings.
    is_silent: bool,
}

/// What a client keeps of its session.
#[derive(Clone, Debug)]
pub(crate) struct Phone {
    pub(crate) connection: ConnectionId,
    pub(crate) user: String,
    pub(crate) session: String,
    pub(crate) epoch: String,
    pub(crate) resume_token: String,
    /// The last frame it has seen.
    pub(crate) seq: u64,
    /// The whole of its welcome.
    pub(crate) welcome: Value,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Options::default())
    }

    pub(crate) fn with(options: Options) -> Self {
        Self::node(options, 1)
    }

    /// The node `n` and this number, of several.
    pub(crate) fn node(options: Options, number: u8) -> Self {
        let node = NodeName(format!("n{number}").into());
        let setup = Setup { options, node, run: 1, key: zeroize::Zeroizing::new([number; 32]) };
        Self {
            server: Server::new(setup),
            now: Now { monotonic: Instant::from_millis(1_000_000), unix_millis: 1_790_000_000_000 },
            sockets: HashMap::new(),
            opened: 0,
            events: Vec::new(),
            asked: Vec::new(),
            grants: HashMap::new(),
            rights: VecDeque::new(),
            keeps_events: true,
            decides: true,
            waiting: VecDeque::new(),
            token_life: None,
            ice_life: Duration::from_secs(3600),
            address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            packets: VecDeque::new(),
        }
    }

    /// Opens a socket; its code if it is refused.
    pub(crate) fn open(&mut self) -> Result<ConnectionId, CloseCode> {
        self.open_as(None)
    }

    /// Opens a socket of somebody the driver knows.
    pub(crate) fn open_as(&mut self, identity: Option<Identity>) -> Result<ConnectionId, CloseCode> {
        self.opened += 1;
        let id = ConnectionId(self.opened);
        let client = Client { address: self.address };
        self.server.handle_open(self.now, id, client, identity.map(Box::new))?;
        self.sockets.insert(id, Socket::default());
        self.pump();
        Ok(id)
    }

    /// A user comes, at a device without a name.
    pub(crate) fn phone(&mut self, user: &str) -> Phone {
        self.phone_at(user, "")
    }

    pub(crate) fn phone_at(&mut self, user: &str, device: &str) -> Phone {
        let connection = self.open().unwrap();
        self.send(
            connection,
            json!({"id": "hello", "type": "hello", "v": 1, "token": user, "device": device}),
        );
        self.welcomed(connection, user)
    }

    fn welcomed(&mut self, connection: ConnectionId, user: &str) -> Phone {
        let welcome =
            self.next(connection).unwrap_or_else(|| panic!("a welcome: {:?}", self.closed(connection)));
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        let text = |name: &str| welcome[name].as_str().unwrap().to_owned();
        Phone {
            connection,
            user: user.to_owned(),
            session: text("session"),
            epoch: text("epoch"),
            resume_token: text("resumeToken"),
            seq: 0,
            welcome,
        }
    }

    /// The phone comes back over a new socket and goes on where it was, or as the welcome says.
    pub(crate) fn resume(&mut self, phone: &mut Phone) -> Value {
        let connection = self.open().unwrap();
        let hello = json!({"id": "again", "type": "hello", "v": 1, "token": phone.user, "resume": {
            "session": phone.session, "token": phone.resume_token, "epoch": phone.epoch, "seq": phone.seq}});
        self.send(connection, hello);
        let seq = phone.seq;
        *phone = self.welcomed(connection, &phone.user.clone());
        phone.seq = if phone.welcome["resumed"] == true { seq } else { 0 };
        phone.welcome.clone()
    }

    /// A frame of a client comes in.
    pub(crate) fn send(&mut self, to: impl Into<ConnectionId>, frame: Value) {
        self.send_text(to, &frame.to_string());
    }

    pub(crate) fn send_text(&mut self, to: impl Into<ConnectionId>, text: &str) {
        let connection = to.into();
        if let Some(socket) = self.sockets.get_mut(&connection) {
            socket.held.push_back(text.to_owned());
        }
        self.feed(connection);
        self.pump();
    }

    /// Sends a request and takes the next answer to it, over whatever else there is.
    pub(crate) fn ask(&mut self, phone: &Phone, frame: Value) -> Value {
        let id = frame["id"].clone();
        self.send(phone, frame);
        let inbox = &mut self.sockets.get_mut(&phone.connection).unwrap().inbox;
        let index = inbox.iter().position(|frame| frame["re"] == id).expect("an answer");
        inbox.remove(index).unwrap()
    }

    /// The next frame a socket got.
    pub(crate) fn next(&mut self, of: impl Into<ConnectionId>) -> Option<Value> {
        self.sockets.get_mut(&of.into())?.inbox.pop_front()
    }

    /// All frames a phone got; remembers the last one's number, and that there is no gap.
    pub(crate) fn frames(&mut self, phone: &mut Phone) -> Vec<Value> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next(phone.connection) {
            if let Some(seq) = frame["seq"].as_u64() {
                assert_eq!(seq, phone.seq + 1, "no gap: {frame}");
                phone.seq = seq;
            }
            frames.push(frame);
        }
        frames
    }

    /// The same, which must be of these types.
    pub(crate) fn frames_are(&mut self, phone: &mut Phone, types: &[&str]) -> Vec<Value> {
        let frames = self.frames(phone);
        let found: Vec<&str> = frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
        assert_eq!(found, types, "{frames:?}");
        frames
    }

    /// Frames that were taken too early come first again.
    pub(crate) fn put_back(&mut self, of: impl Into<ConnectionId>, frames: Vec<Value>) {
        let Some(socket) = self.sockets.get_mut(&of.into()) else { return };
        for frame in frames.into_iter().rev() {
            socket.inbox.push_front(frame);
        }
    }

    /// How a socket was closed.
    pub(crate) fn closed(&self, of: impl Into<ConnectionId>) -> Option<CloseCode> {
        self.sockets.get(&of.into()).and_then(|socket| socket.closed)
    }

    pub(crate) fn pings(&self, of: impl Into<ConnectionId>) -> usize {
        self.sockets.get(&of.into()).map_or(0, |socket| socket.pings)
    }

    /// The socket breaks; what was not read is lost.
    pub(crate) fn drop_socket(&mut self, of: impl Into<ConnectionId>) {
        let connection = of.into();
        self.sockets.remove(&connection);
        self.server.handle_closed(self.now, connection);
        self.pump();
    }

    /// The client answers no pings from now on.
    pub(crate) fn fall_silent(&mut self, of: impl Into<ConnectionId>) {
        self.sockets.get_mut(&of.into()).unwrap().is_silent = true;
    }

    /// The client reads nothing from now on.
    pub(crate) fn stop_reading(&mut self, of: impl Into<ConnectionId>) {
        self.sockets.get_mut(&of.into()).unwrap().is_stuck = true;
    }

    /// Time passes; everything due happens when it is due.
    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.now.monotonic.after(by);
        self.pump();
        while let Some(deadline) = self.server.deadline().filter(|deadline| *deadline <= end) {
            self.set_time(deadline);
            self.server.handle_timeout(self.now);
            self.pump();
        }
        self.set_time(end);
    }

    fn set_time(&mut self, to: Instant) {
        let to = to.max(self.now.monotonic);
        self.now.unix_millis += to.as_millis() - self.now.monotonic.as_millis();
        self.now.monotonic = to;
    }

    /// Answers the oldest question that waits.
    pub(crate) fn decide(&mut self, decision: Decision) {
        let (connection, _) = self.waiting.pop_front().expect("a question");
        self.decided(connection, decision);
        self.pump();
    }

    /// Answers the oldest question that waits, as it would have been at once.
    pub(crate) fn decide_as_usual(&mut self) {
        let (connection, ask) = self.waiting.pop_front().expect("a question");
        let decision = self.answer(&ask);
        self.decided(connection, decision);
        self.pump();
    }

    /// What happened, by name.
    pub(crate) fn event_kinds(&self) -> Vec<String> {
        self.events.iter().map(|event| event_name(&event.kind)).collect()
    }

    /// Hands in what the driver held back.
    fn feed(&mut self, connection: ConnectionId) {
        loop {
            let Some(socket) = self.sockets.get_mut(&connection) else { return };
            if socket.is_asking || socket.closed.is_some() || self.server.is_waiting(connection) {
                return;
            }
            let Some(text) = socket.held.pop_front() else { return };
            let next = self.server.handle_frame(self.now, connection, Frame::read(&text), text.len());
            self.follow(connection, next);
        }
    }

    fn follow(&mut self, connection: ConnectionId, next: Next) {
        let Next::Ask(ask) = next else { return };
        self.asked.push(format!("{ask:?}"));
        if self.decides {
            let decision = self.answer(&ask);
            self.decided(connection, decision);
        } else {
            self.sockets.get_mut(&connection).unwrap().is_asking = true;
            self.waiting.push_back((connection, ask));
        }
    }

    fn decided(&mut self, connection: ConnectionId, decision: Decision) {
        if let Some(socket) = self.sockets.get_mut(&connection) {
            socket.is_asking = false;
        }
        let next = self.server.handle_decision(self.now, connection, decision);
        self.follow(connection, next);
        self.feed(connection);
    }

    fn answer(&mut self, ask: &Ask) -> Decision {
        match ask {
            Ask::Hello { token, .. } | Ask::Refresh { token } => Decision::Identity(self.identity(token)),
            Ask::Join { .. } | Ask::Call { .. } => {
                Decision::Right(self.rights.pop_front().unwrap_or_else(|| Ok(Answer::default())))
            }
            Ask::IceServers { .. } => Decision::IceServers(Ok(self.ice_servers())),
        }
    }

    /// Tokens are names of users; `!` and an error's name is one that is not taken.
    fn identity(&self, token: &str) -> Result<Box<Identity>, Denial> {
        if let Some(code) = token.strip_prefix('!') {
            let code = ErrorCode::ALL.into_iter().find(|known| known.as_str() == code).unwrap();
            return Err(denial(code));
        }
        Ok(Box::new(self.identity_of(token)))
    }

    /// What the token of a user says.
    pub(crate) fn identity_of(&self, user: &str) -> Identity {
        let grants = self.grants.get(user).cloned().unwrap_or_else(everything);
        Identity {
            user: UserId::parse(user).unwrap(),
            device: None,
            expires: self.token_life.map(|life| self.now.unix_millis + life.as_millis() as u64),
            token_id: Some(format!("jti-{user}").into()),
            ice_servers: grants.turn.is_some().then(|| self.ice_servers()),
            grants,
        }
    }

    fn ice_servers(&self) -> IceServers {
        let json = json!([{"urls": ["turn:t1.example.org"], "username": self.now.unix_millis.to_string()}]);
        IceServers { json: Bytes::from(json.to_string()), ttl: self.ice_life, node: None }
    }

    /// Does what the relay says.
    pub(crate) fn pump(&mut self) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Wake(connection) => self.read(connection),
                Output::Event(event) => {
                    let number: EventNumber = event.number;
                    self.events.push(event);
                    if self.keeps_events {
                        self.server.handle_recorded(self.now, number);
                    }
                }
                Output::IceServers { session, reason, .. } => {
                    let _: PushReason = reason;
                    let servers = Ok(self.ice_servers());
                    self.server.handle_ice_servers(self.now, session, reason, servers);
                }
                Output::ToNode { node, run, bytes } => self.packets.push_back((node, run, bytes)),
            }
        }
    }

    fn read(&mut self, connection: ConnectionId) {
        let Some(socket) = self.sockets.get_mut(&connection) else { return };
        if socket.is_stuck {
            socket.closed = self.server.closing(connection);
            return;
        }
        loop {
            let mut texts = Vec::new();
            let written = self.server.poll_connection(self.now, connection, &mut texts);
            let is_all = texts.is_empty();
            for text in &texts {
                // Whatever is written is what /asyncapi.json says.
                iceway::api::check_frame("server", text).unwrap();
            }
            let socket = self.sockets.get_mut(&connection).unwrap();
            socket.inbox.extend(texts.iter().map(|text| serde_json::from_str::<Value>(text).expect(text)));
            match written {
                Written::Open => {}
                Written::Ping => {
                    socket.pings += 1;
                    if !socket.is_silent {
                        self.server.handle_alive(self.now, connection);
                    }
                }
                Written::Close(code) => {
                    socket.closed = Some(code);
                    return self.server.handle_closed(self.now, connection);
                }
            }
            if is_all {
                break;
            }
        }
        self.feed(connection);
    }
}

impl From<&Phone> for ConnectionId {
    fn from(phone: &Phone) -> Self {
        phone.connection
    }
}

impl From<&mut Phone> for ConnectionId {
    fn from(phone: &mut Phone) -> Self {
        phone.connection
    }
}

/// No, for this reason.
pub(crate) fn denial(code: ErrorCode) -> Denial {
    Denial { code, message: "no".into(), retry_after: None, skew: None }
}

/// The name of an event as webhooks have it.
pub(crate) fn event_name(kind: &EventKind) -> String {
    match kind {
        EventKind::Call { step, .. } => format!("call.{}", step.as_str()),
        EventKind::RoomStarted { .. } => "room.started".to_owned(),
        EventKind::RoomJoined { .. } => "room.joined".to_owned(),
        EventKind::RoomLeft { .. } => "room.left".to_owned(),
        EventKind::RoomFinished { .. } => "room.finished".to_owned(),
        EventKind::SessionConnected { .. } => "session.connected".to_owned(),
        EventKind::SessionDisconnected { reason, .. } => format!("session.disconnected {reason}"),
        EventKind::SessionLost { .. } => "session.lost".to_owned(),
        EventKind::LimitTripped { limit, .. } => format!("limit.tripped {limit}"),
        EventKind::NodeDraining => "node.draining".to_owned(),
    }
}
