//! The relay of one node, as whoever drives it sees it.

use std::{collections::VecDeque, time::Duration};

use super::{
    Client, CloseCode, ConnectionId, Decision, Denial, EventNumber, Frame, FrameError, Grants, IceServers,
    Identity, Instant, Next, NodeName, Now, Options, Output, PushReason, Revoke, SessionId, UserId,
    bucket::Rates,
    calls::Calls,
    counters::{Counters, FrameKind},
    deliver::Recorder,
    directory::Directory,
    drain::Draining,
    link::Links,
    presence::Watching,
    random::Random,
    rooms::Tellings,
    session::Sessions,
    sockets::{Socket, Sockets, Stage},
    timers::{Timer, Timers},
};

/// What a relay is made with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What is configured.
    pub options: Options,
    /// This node.
    pub node: NodeName,
    /// This run of it, greater than those before.
    pub run: u64,
    /// 256 random bits, of this run alone: names of sessions and resume tokens are derived from it.
    pub key: zeroize::Zeroizing<[u8; 32]>,
}

/// What is to be done with a socket after its frames are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing.
    Open,
    /// Send a ping (RFC 6455 §5.5.2).
    Ping,
    /// Close it.
    Close(CloseCode),
}

/// The relay of one node.
#[derive(Debug)]
pub struct Server {
    pub(super) setup: Setup,
    pub(super) random: Random,
    pub(super) timers: Timers,
    pub(super) outputs: VecDeque<Output>,
    pub(super) sockets: Sockets,
    pub(super) sessions: Sessions,
    pub(super) directory: Directory,
    pub(super) recorder: Recorder,
    pub(super) calls: Calls,
    pub(super) links: Links,
    pub(super) tellings: Tellings,
    pub(super) watching: Watching,
    /// Media servers of all nodes.
    pub(super) sfus: Vec<SessionId>,
    pub(super) joins: Rates<UserId>,
    pub(super) draining: Option<Draining>,
    pub(super) counters: Counters,
}

/// What one call of [`Server::poll_connection`] moves at most, but for the last frame.
const POLL_BYTES: usize = 64 << 10;

impl Server {
    /// A relay without sockets.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let mut random = Random::new(&setup.key);
        Self {
            setup,
            timers: Timers::default(),
            outputs: VecDeque::new(),
            sockets: Sockets::new(&mut random),
            sessions: Sessions::new(&mut random),
            directory: Directory::new(&mut random),
            recorder: Recorder::default(),
            calls: Calls::new(&mut random),
            links: Links::default(),
            tellings: Tellings::new(&mut random),
            watching: Watching::new(&mut random),
            sfus: Vec::new(),
            joins: Rates::new(&mut random),
            draining: None,
            counters: Counters::default(),
            random,
        }
    }

    /// Takes over what can change while it runs.
    pub fn set_options(&mut self, options: Options) {
        self.setup.options = options;
    }

    /// A socket was opened, by somebody whom the driver has authenticated already (header, ticket) or not.
    ///
    /// # Errors
    /// There are too many, of this address or in all: close it with the code. Refused ones leave nothing behind.
    pub fn handle_open(
        &mut self,
        now: Now,
        connection: ConnectionId,
        client: Client,
        identity: Option<Box<Identity>>,
    ) -> Result<(), CloseCode> {
        self.admit(now, client)?;
        self.sockets.insert(now.monotonic, connection, client.address, Stage::New(identity));
        let at = now.monotonic.after(self.setup.options.hello_timeout);
        self.timer(at, Timer::Connection(connection));
        Ok(())
    }

    /// A text frame of `bytes` bytes came, read by [`Frame::read`].
    pub fn handle_frame(
        &mut self,
        now: Now,
        connection: ConnectionId,
        frame: Result<Frame<'_>, FrameError>,
        bytes: usize,
    ) -> Next {
        let Some(socket) = self.sockets.get_mut(connection) else { return Next::More };
        self.counters.came(frame.as_ref().map_or(FrameKind::Invalid, |frame| frame.body.kind()));
        match socket.stage {
            Stage::New(_) => self.first_frame(now, connection, frame, bytes),
            Stage::Attached(session) => {
                socket.heard = now.monotonic;
                self.set_sender(now, Some(session));
                let next = self.session_frame(now, connection, session, frame, bytes);
                self.set_sender(now, None);
                next
            }
            Stage::Waiting | Stage::Closing(..) | Stage::Delayed(_) => Next::More,
        }
    }

    /// The answer to what [`handle_frame`](Self::handle_frame) asked.
    pub fn handle_decision(&mut self, now: Now, connection: ConnectionId, decision: Decision) -> Next {
        let Some(asked) = self.sockets.get_mut(connection).and_then(|socket| socket.asked.take()) else {
            return Next::More;
        };
        let sender = self.sockets.get(connection).and_then(Socket::session);
        self.set_sender(now, sender);
        let next = self.decided(now, connection, *asked, decision);
        self.set_sender(now, None);
        next
    }

    /// Whether no frame is to be handed in yet, after [`Next::Wait`].
    #[must_use]
    pub fn is_waiting(&self, connection: ConnectionId) -> bool {
        self.sockets.get(connection).is_some_and(|socket| matches!(socket.stage, Stage::Waiting))
    }

    /// A frame came that breaks the rules before it can be read: binary (4402) or too large (4413).
    pub fn handle_violation(&mut self, now: Now, connection: ConnectionId, code: CloseCode) {
        self.close(now, connection, code);
    }

    /// Something was heard that is no frame: a ping or a pong.
    pub fn handle_alive(&mut self, now: Now, connection: ConnectionId) {
        if let Some(socket) = self.sockets.get_mut(connection) {
            socket.heard = now.monotonic;
        }
    }

    /// The socket is gone, whoever closed it. Its session waits to be resumed.
    pub fn handle_closed(&mut self, now: Now, connection: ConnectionId) {
        self.set_sender(now, None);
        self.forget_asked(connection);
        let Some(socket) = self.sockets.remove(connection) else { return };
        if let Stage::Attached(session) = socket.stage {
            self.detach(now, session);
        }
    }

    /// Moves what is to be written to `frames`, at most about 64 KiB at once. To be called when it was woken, and again
    /// while [`has_frames`](Self::has_frames) says so.
    pub fn poll_connection(
        &mut self,
        now: Now,
        connection: ConnectionId,
        frames: &mut Vec<String>,
    ) -> Written {
        let _ = now;
        let Some(socket) = self.sockets.get_mut(connection) else { return Written::Open };
        socket.is_woken = false;
        match &mut socket.stage {
            Stage::Closing(code, last) => {
                last.iter().for_each(|text| self.counters.went(text));
                frames.extend(std::mem::take(last));
                return Written::Close(*code);
            }
            Stage::Attached(session) => {
                let mut bytes = 0;
                let Some(session) = self.sessions.get_mut(*session) else { return Written::Open };
                while bytes < POLL_BYTES
                    && let Some(text) = session.queue.next()
                {
                    bytes += text.len();
                    self.counters.went(&text);
                    frames.push(text);
                }
            }
            Stage::New(_) | Stage::Waiting | Stage::Delayed(_) => {}
        }
        if std::mem::take(&mut socket.is_ping_due) { Written::Ping } else { Written::Open }
    }

    /// Whether [`poll_connection`](Self::poll_connection) has more, after what it moved last.
    #[must_use]
    pub fn has_frames(&self, connection: ConnectionId) -> bool {
        let session = self.sockets.get(connection).and_then(Socket::session);
        session.and_then(|session| self.sessions.get(session)).is_some_and(|session| session.queue.has_next())
    }

    /// Whether a socket is to be closed, for a driver that cannot write what it took before.
    #[must_use]
    pub fn closing(&self, connection: ConnectionId) -> Option<CloseCode> {
        match self.sockets.get(connection)?.stage {
            Stage::Closing(code, _) => Some(code),
            Stage::New(_) | Stage::Waiting | Stage::Attached(_) | Stage::Delayed(_) => None,
        }
    }

    /// What a session of this node may do.
    #[must_use]
    pub fn grants(&self, session: SessionId) -> Option<&Grants> {
        self.sessions.get(session).map(|session| &*session.grants)
    }

    /// What else is to be done; to be drained after every call of `handle_*`.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() {
            self.flush_links();
        }
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop(now.monotonic) {
            match timer {
                Timer::Connection(connection) => self.connection_due(now, connection),
                Timer::Session(session) => self.session_due(now, session),
                Timer::Room(room) => self.room_due(now, &room),
                Timer::Presence(user) => self.presence_due(now, &user),
                Timer::Drain => self.drain_due(now),
                Timer::Call(call, generation) => self.handle_call_timer(now, &call, generation),
                Timer::Link(node) => self.link_due(now, &node),
                Timer::Route(session) => self.route_due(now, session),
            }
        }
    }

    /// The ICE servers that [`Output::IceServers`] asked for.
    pub fn handle_ice_servers(
        &mut self,
        now: Now,
        session: SessionId,
        reason: PushReason,
        servers: Result<IceServers, Denial>,
    ) {
        self.ice_servers_made(now, session, reason, servers);
    }

    /// All events up to this one are kept: answers that waited for that go out.
    pub fn handle_recorded(&mut self, now: Now, up_to: EventNumber) {
        self.set_sender(now, None);
        self.release_recorded(now, up_to);
    }

    /// Tells every client to go elsewhere, and closes them spread over `within`.
    pub fn drain(&mut self, now: Now, within: Duration) {
        self.begin_drain(now, within);
    }

    /// Closes nobody any more for that reason.
    pub fn stop_drain(&mut self) {
        self.draining = None;
    }

    /// Ends the sessions that are hit, here; answers how many. Their sockets are closed with 4403 or 4204.
    pub fn revoke(&mut self, now: Now, revoke: &Revoke) -> usize {
        self.end_revoked(now, revoke)
    }

    /// Asks for fresh ICE servers for the sessions of one user, or all.
    pub fn push_ice_servers(&mut self, now: Now, reason: PushReason, user: Option<&UserId>) {
        self.ask_ice_servers(now, reason, user);
    }

    /// Asks for fresh ICE servers for the sessions that have some of such nodes: these drain.
    pub fn replace_ice_servers_of(&mut self, is_draining: impl Fn(&str) -> bool) {
        self.ask_ice_servers_instead_of(is_draining);
    }
}
