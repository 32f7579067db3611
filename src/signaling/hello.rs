//! The first frame of a socket: a new session, or an old one that goes on.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{
    Ask, Body, CloseCode, ConnectionId, Denial, ErrorCode, EventKind, Frame, FrameError, Hello, Identity,
    Instant, Next, Now, Place, Role, Server, SessionId,
    counters::Rule,
    deliver::{Refusal, Requester},
    is_traceparent,
    object::Object,
    session::{
        Attachment, Buckets, Deadlines, RequestId, Session,
        queue::{Answer, Note, Queue},
        replies::Replies,
    },
    sockets::{Asked, Delay, Stage},
};

/// A `hello`, while somebody says whose it is.
pub(super) struct Greeting {
    pub(super) id: Option<RequestId>,
    pub(super) device: Box<str>,
    pub(super) resume: Option<Resumption>,
}

/// Which session goes on, and from where.
pub(super) struct Resumption {
    pub(super) session: SessionId,
    /// SHA-256 of its token.
    pub(super) token: [u8; 32],
    pub(super) epoch: Box<str>,
    pub(super) seq: u64,
}

/// A client that is known, and whose session is fetched from another node.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) connection: ConnectionId,
    pub(super) greeting: Greeting,
    pub(super) identity: Box<Identity>,
}

/// How a session went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resumed {
    /// It is a new one, and none was asked for.
    No,
    /// With this many frames to come again.
    Whole(u64),
    /// The same session, but what was missed cannot be had.
    Reset(Loss),
    /// A new one.
    Gone(Loss),
}

/// Why a session does not go on as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Loss {
    /// More was missed than is kept.
    Gap,
    /// Nobody resumed it in time.
    Expired,
    /// It is not known, or not with that token.
    Unknown,
    /// Its numbers began anew meanwhile.
    Epoch,
}

/// Failed hellos are answered the later the more there were.
const DELAY_FIRST: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(25);

impl Server {
    pub(super) fn first_frame(
        &mut self,
        now: Now,
        connection: ConnectionId,
        frame: Result<Frame<'_>, FrameError>,
        bytes: usize,
    ) -> Next {
        if bytes > self.setup.options.limits.hello_bytes {
            self.close(now, connection, CloseCode::TooLarge);
            return Next::More;
        }
        let (id, hello) = match frame {
            Ok(Frame { id, body: Body::Hello(hello), .. }) => (id, hello),
            Ok(Frame { id, .. }) => {
                let refusal = Refusal::new(ErrorCode::HelloExpected, "the first frame is hello");
                return self.turn_away(now, connection, id.as_deref(), &refusal, CloseCode::BadProtocol);
            }
            Err(error) => {
                let refusal = Refusal::new(ErrorCode::BadRequest, error.to_string());
                return self.turn_away(now, connection, None, &refusal, CloseCode::BadProtocol);
            }
        };
        self.hello(now, connection, id.as_deref(), hello)
    }

    fn hello(&mut self, now: Now, connection: ConnectionId, id: Option<&str>, hello: Hello<'_>) -> Next {
        if hello.version != 1 {
            let refusal = Refusal::new(ErrorCode::BadRequest, "v is 1");
            return self.turn_away(now, connection, id, &refusal, CloseCode::BadProtocol);
        }
        let greeting = Greeting {
            id: id.map(Arc::from),
            device: hello.device.unwrap_or_default().into(),
            resume: hello.resume.map(|resume| Resumption {
                session: resume.session,
                token: token_hash(&resume.token),
                epoch: resume.epoch.into(),
                seq: resume.seq,
            }),
        };
        let Some(socket) = self.sockets.get_mut(connection) else { return Next::More };
        let known = match &mut socket.stage {
            Stage::New(identity) => identity.take(),
            Stage::Waiting | Stage::Attached(_) | Stage::Closing(..) | Stage::Delayed(_) => None,
        };
        if socket.asked.is_some() {
            return Next::More;
        }
        if let Some(identity) = known {
            return self.greet(now, Arrival { connection, greeting, identity });
        }
        let Some(token) = hello.token else {
            let refusal = Refusal::new(ErrorCode::Unauthorized, "token is missing");
            return self.turn_away(now, connection, id, &refusal, CloseCode::Unauthorized);
        };
        let traceparent = hello.traceparent.filter(|text| is_traceparent(text)).map(Box::from);
        let ask = Ask::Hello { token: token.into(), device: greeting.device.clone(), traceparent };
        socket.asked = Some(Box::new(Asked::Hello(Box::new(greeting))));
        Next::Ask(Box::new(ask))
    }

    /// Somebody said whose the token of a `hello` is.
    pub(super) fn identified(
        &mut self,
        now: Now,
        connection: ConnectionId,
        greeting: Greeting,
        identity: Result<Box<Identity>, Denial>,
    ) -> Next {
        let denial = match identity {
            Ok(identity) => return self.greet(now, Arrival { connection, greeting, identity }),
            Err(denial) => denial,
        };
        self.counters.hellos_refused += 1;
        let code = match denial.code {
            ErrorCode::Forbidden => CloseCode::Forbidden,
            ErrorCode::LimitExceeded => CloseCode::ConnectionLimit,
            // Another try may go well.
            ErrorCode::RateLimited
            | ErrorCode::Unavailable
            | ErrorCode::UpstreamTimeout
            | ErrorCode::Internal => CloseCode::Internal,
            ErrorCode::BadRequest
            | ErrorCode::UnknownType
            | ErrorCode::TooLarge
            | ErrorCode::HelloExpected
            | ErrorCode::Unauthorized
            | ErrorCode::TokenExpired
            | ErrorCode::TokenNotYetValid
            | ErrorCode::NotFound
            | ErrorCode::PeerOffline
            | ErrorCode::NoSuchCall
            | ErrorCode::CallEnded
            | ErrorCode::AnsweredElsewhere
            | ErrorCode::Busy
            | ErrorCode::Glare
            | ErrorCode::Duplicate => CloseCode::Unauthorized,
        };
        let refusal = Refusal::from(&denial);
        let text = error_text(greeting.id.as_deref(), &refusal);
        if let Some(at) = self.failure_delay(now, connection, code) {
            self.sockets.set_stage(connection, Stage::Delayed(Box::new(Delay { until: at, code, text })));
            self.timer(at, super::timers::Timer::Connection(connection));
        } else {
            self.close_after(now, connection, code, Some(text));
        }
        Next::More
    }

    /// Until when the answer to a hello that failed is held back.
    fn failure_delay(&mut self, now: Now, connection: ConnectionId, code: CloseCode) -> Option<Instant> {
        if code == CloseCode::Internal {
            return None;
        }
        let address = self.sockets.get(connection)?.address;
        let failures = self.sockets.hello_failed(now.monotonic, address);
        let free = self.setup.options.limits.hello_failures;
        let beyond = failures.checked_sub(free).filter(|beyond| *beyond > 0 && free > 0)?;
        self.counters.tripped(Rule::HelloFailures);
        let delay = DELAY_FIRST.saturating_mul(1 << (beyond - 1).min(16)).min(DELAY_MAX);
        Some(now.monotonic.after(delay))
    }

    /// A client that is known comes in.
    fn greet(&mut self, now: Now, arrival: Arrival) -> Next {
        let Some(resume) = &arrival.greeting.resume else {
            return self.welcome_new(now, arrival, Resumed::No);
        };
        let id = resume.session;
        let Some(session) = self.sessions.get(id) else {
            let loss = if self.sessions.is_expired(id) { Loss::Expired } else { Loss::Unknown };
            if self.directory.session(id).is_none() {
                return self.welcome_new(now, arrival, Resumed::Gone(loss));
            }
            let connection = arrival.connection;
            return match self.fetch_session(now, Box::new(arrival)) {
                Ok(next) => {
                    self.sockets.set_stage(connection, Stage::Waiting);
                    next
                }
                Err(arrival) => self.welcome_new(now, *arrival, Resumed::Gone(loss)),
            };
        };
        let is_theirs = bool::from(session.resume.ct_eq(&resume.token))
            && session.place.user == arrival.identity.user
            && !matches!(session.attachment, Attachment::Carried(_));
        if !is_theirs {
            return self.welcome_new(now, arrival, Resumed::Gone(Loss::Unknown));
        }
        self.go_on(now, arrival, id)
    }

    /// The end of [`fetch_session`](Self::fetch_session): the session has come here, or not.
    pub(super) fn finish_arrival(&mut self, now: Now, arrival: Arrival, has_come: bool) {
        let connection = arrival.connection;
        let is_waiting = self.is_waiting(connection);
        if is_waiting {
            let next = match &arrival.greeting.resume {
                Some(resume) if has_come && self.sessions.get(resume.session).is_some() => {
                    let id = resume.session;
                    self.go_on(now, arrival, id)
                }
                Some(_) | None => self.welcome_new(now, arrival, Resumed::Gone(Loss::Unknown)),
            };
            debug_assert!(matches!(next, Next::More), "nothing is left to ask");
            self.wake(connection);
        }
    }

    /// A session of this node goes on over a new socket.
    fn go_on(&mut self, now: Now, arrival: Arrival, id: SessionId) -> Next {
        let Arrival { connection, greeting, identity } = arrival;
        let Some(resume) = greeting.resume else { return Next::More };
        let was_attached = self.sessions.get(id).is_some_and(|session| session.socket().is_some());
        self.leave_socket(id);
        let epoch = self.random.number() as u64;
        let token = self.random.token();
        let Some(session) = self.sessions.get_mut(id) else { return Next::More };
        let is_same_epoch = *resume.epoch == *session.epoch_text();
        let resumed = match is_same_epoch.then(|| session.queue.resume(resume.seq)) {
            Some(Some(replay)) => Resumed::Whole(replay),
            Some(None) => Resumed::Reset(Loss::Gap),
            None => Resumed::Reset(Loss::Epoch),
        };
        if matches!(resumed, Resumed::Reset(_)) {
            session.queue.reset();
            session.epoch = epoch;
        }
        session.resume = Sha256::digest(token_text(&token)).into();
        session.attachment = Attachment::Socket(connection);
        session.deadlines.resume = None;
        self.sockets.set_stage(connection, Stage::Attached(id));
        self.heard(now, connection);
        let ice_servers = identity.ice_servers.clone();
        self.take_identity(now, id, *identity);
        let members = self.welcome(now, id, &token, ice_servers.as_ref(), resumed);
        if let Some(session) = self.sessions.get_mut(id) {
            let id = greeting.id.unwrap_or_else(|| Arc::from(""));
            session.queue.note_first(Note::Reply(id, Answer::Welcome(members)));
        }
        if matches!(resumed, Resumed::Whole(_)) {
            self.acknowledge(now, id, resume.seq);
        }
        self.wake(connection);
        self.count_resume(resumed);
        self.leave_forbidden_rooms(now, id);
        if !was_attached {
            self.set_attached(now, id, true);
        }
        if matches!(resumed, Resumed::Reset(_)) {
            self.calls_session_up(now, id);
        }
        Next::More
    }

    /// A session begins.
    fn welcome_new(&mut self, now: Now, arrival: Arrival, resumed: Resumed) -> Next {
        let Arrival { connection, greeting, identity } = arrival;
        let device = identity.device.clone().unwrap_or(greeting.device);
        if let Some(refusal) = self.too_many_sessions(&identity, &device) {
            self.counters.tripped(Rule::Sessions);
            let code = CloseCode::ConnectionLimit;
            return self.turn_away(now, connection, greeting.id.as_deref(), &refusal, code);
        }
        let id = SessionId(self.random.number());
        let token = self.random.token();
        let place = Place { user: identity.user.clone(), device, session: id };
        let session = Session {
            place,
            grants: Box::new(identity.grants.clone()),
            attachment: Attachment::Socket(connection),
            queue: Queue::default(),
            resume: Sha256::digest(token_text(&token)).into(),
            epoch: self.random.number() as u64,
            token_id: None,
            created: now.monotonic,
            deadlines: Deadlines::default(),
            buckets: Buckets::default(),
            replies: Replies::default(),
            rooms: Vec::new(),
            watches: Vec::new(),
            carried: None,
        };
        let party = session.party();
        self.sockets.set_stage(connection, Stage::Attached(id));
        self.heard(now, connection);
        self.insert_session(session);
        let ice_servers = identity.ice_servers.clone();
        self.take_identity(now, id, *identity);
        let members = self.welcome(now, id, &token, ice_servers.as_ref(), resumed);
        let request = greeting.id.unwrap_or_else(|| Arc::from(""));
        self.note(now, id, Note::Reply(request, Answer::Welcome(members)));
        self.count_resume(resumed);
        self.counters.sessions_begun += 1;
        self.event(now, EventKind::SessionConnected { party });
        self.on_session_up(now, id);
        Next::More
    }

    fn heard(&mut self, now: Now, connection: ConnectionId) {
        if let Some(socket) = self.sockets.get_mut(connection) {
            socket.heard = now.monotonic;
        }
    }

    /// What the token says, from now on.
    pub(super) fn take_identity(&mut self, now: Now, id: SessionId, identity: Identity) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let Identity { expires, token_id, grants, ice_servers, user: _, device: _ } = identity;
        *session.grants = grants;
        session.token_id = token_id;
        session.deadlines.is_token_told = false;
        session.deadlines.token = expires
            .map(|end| now.monotonic.after(Duration::from_millis(end.saturating_sub(now.unix_millis))));
        if let Some(servers) = ice_servers {
            session.deadlines.ice = Some(now.monotonic.after(refresh_in(servers.ttl)));
        }
        let role = session.role();
        if self.directory.session(id).is_some_and(|entry| entry.role != role) {
            self.directory.update(id, |entry| entry.role = role);
        }
        self.arm(id);
    }

    /// Why a user can have no more sessions.
    fn too_many_sessions(&self, identity: &Identity, device: &str) -> Option<Refusal> {
        let of_user = self.directory.sessions_of(&identity.user);
        let is_other = |id: &&SessionId| {
            self.directory.session(**id).is_some_and(|entry| device.is_empty() || *entry.device != *device)
        };
        let count = of_user.iter().filter(is_other).count();
        let own =
            if identity.grants.role == Role::User { self.setup.options.limits.sessions_per_user } else { 0 };
        let granted = identity.grants.sessions_max;
        let max = [own, granted].into_iter().filter(|max| *max > 0).min()?;
        (count >= max as usize)
            .then(|| Refusal::new(ErrorCode::LimitExceeded, "too many sessions of this user"))
    }

    fn welcome(
        &self,
        now: Now,
        id: SessionId,
        token: &[u8; 32],
        ice_servers: Option<&super::IceServers>,
        resumed: Resumed,
    ) -> bytes::Bytes {
        let Some(session) = self.sessions.get(id) else { return bytes::Bytes::new() };
        let options = &self.setup.options;
        let limits = Object::new()
            .number("maxFrame", options.limits.frame_bytes as u64)
            .number("sdpPerSec", options.limits.descriptions_per_second.into())
            .number("msgPerSec", options.limits.frames_per_second.into())
            .whole();
        let heartbeat = Object::new()
            .number("interval", options.heartbeat_interval.as_secs())
            .number("timeout", options.heartbeat_timeout.as_secs())
            .whole();
        let mut object = Object::new()
            .number("v", 1)
            .session("session", id)
            .text("user", session.place.user.as_str())
            .text("epoch", &session.epoch_text())
            .text("resumeToken", &token_text(token))
            .number("resumeTtl", options.resume_ttl.as_secs())
            .raw("heartbeat", &heartbeat)
            .raw("limits", &limits)
            .raw("features", br#"["resume","rooms","calls","receipts","presence"]"#)
            .number("serverTime", now.unix_millis);
        if let Some(end) = session.deadlines.token {
            object = object.number("tokenExpiresIn", end.since(now.monotonic).as_secs());
        }
        if let Some(servers) = ice_servers {
            object = object
                .raw("iceServers", &servers.json)
                .number("iceTtl", servers.ttl.as_secs())
                .number("iceRefreshIn", refresh_in(servers.ttl).as_secs());
        }
        match resumed {
            Resumed::No => object,
            Resumed::Whole(replay) => object.flag("resumed", true).number("replay", replay),
            Resumed::Reset(loss) | Resumed::Gone(loss) => object
                .flag("resumed", false)
                .text("reason", loss.as_str())
                .raw("snapshot", &self.snapshot(id)),
        }
        .members()
    }

    /// All that a session must know when it lost what it was told.
    fn snapshot(&self, id: SessionId) -> Vec<u8> {
        Object::new()
            .raw("rooms", &self.rooms_snapshot(id))
            .raw("calls", &self.calls_snapshot(id))
            .raw("presence", &self.presence_snapshot(id))
            .whole()
    }

    /// Refuses a socket that has no session.
    fn turn_away(
        &mut self,
        now: Now,
        connection: ConnectionId,
        id: Option<&str>,
        refusal: &Refusal,
        code: CloseCode,
    ) -> Next {
        self.close_after(now, connection, code, Some(error_text(id, refusal)));
        Next::More
    }

    /// A fresh token came.
    pub(super) fn refreshed(
        &mut self,
        now: Now,
        connection: ConnectionId,
        from: &Requester,
        identity: Result<Box<Identity>, Denial>,
    ) {
        let identity = match identity {
            Ok(identity) => identity,
            Err(denial) => {
                let refusal = Refusal::from(&denial);
                return if denial.code == ErrorCode::Forbidden {
                    let text = error_text(from.id.as_deref(), &refusal);
                    self.close_after(now, connection, CloseCode::Forbidden, Some(text));
                } else {
                    self.reply_error(now, from, &refusal);
                };
            }
        };
        let Some(session) = self.sessions.get(from.session) else { return };
        if session.place.user != identity.user {
            let refusal = Refusal::new(ErrorCode::Forbidden, "the token is another user's");
            return self.refuse(now, connection, from, &refusal);
        }
        let mut members = Object::new();
        if let Some(end) = identity.expires {
            members = members.number("tokenExpiresIn", end.saturating_sub(now.unix_millis) / 1000);
        }
        let servers = identity.ice_servers.clone();
        self.take_identity(now, from.session, *identity);
        self.leave_forbidden_rooms(now, from.session);
        if let Some(servers) = servers {
            members = members.raw("iceServers", &servers.json).number("iceTtl", servers.ttl.as_secs());
        }
        self.reply_ok(now, from, members.members());
    }
}

/// When ICE servers are replaced: at four fifths of their life.
pub(super) fn refresh_in(ttl: Duration) -> Duration {
    ttl.saturating_mul(4) / 5
}

/// SHA-256 of a resume token as clients have it.
fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn token_text(token: &[u8; 32]) -> String {
    format!("rt_{}", URL_SAFE_NO_PAD.encode(token))
}

fn error_text(id: Option<&str>, refusal: &Refusal) -> String {
    Note::Reply(Arc::from(id.unwrap_or_default()), Answer::Error(refusal.members())).text()
}

impl Loss {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
            Self::Epoch => "epoch",
        }
    }
}

/// Tokens stay out of logs.
impl std::fmt::Debug for Greeting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Greeting").field("id", &self.id).finish_non_exhaustive()
    }
}
