//! How a session begins, and how it goes on over another socket.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::{
    CloseCode, ConnectionId, ErrorCode, EventKind, IceServers, Identity, Next, Now, Place, Role, Server,
    SessionId,
    counters::Rule,
    deliver::Refusal,
    hello::Arrival,
    object::Object,
    session::{
        Attachment, Session,
        queue::{Answer, Note},
    },
    sockets::Stage,
    token::refresh_in,
};

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

impl Server {
    /// A session of this node goes on over a new socket.
    pub(super) fn go_on(&mut self, now: Now, arrival: Arrival, id: SessionId) -> Next {
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
    pub(super) fn welcome_new(&mut self, now: Now, arrival: Arrival, resumed: Resumed) -> Next {
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
        let attachment = Attachment::Socket(connection);
        let session = Session {
            resume: Sha256::digest(token_text(&token)).into(),
            epoch: self.random.number() as u64,
            ..Session::new(place, identity.grants.clone(), attachment, now.monotonic)
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
        ice_servers: Option<&IceServers>,
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
}

fn token_text(token: &[u8; 32]) -> String {
    format!("rt_{}", URL_SAFE_NO_PAD.encode(token))
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
