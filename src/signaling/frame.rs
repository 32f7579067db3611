//! Frames of clients, read without copying what is only passed on.

mod members;
mod read;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{CallId, RoomId, SessionId, UserId};

/// A frame of a client.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    /// Names the request; then it is answered. 1 to 64 bytes.
    pub id: Option<Cow<'a, str>>,
    /// Up to which frame the client has seen all.
    pub ack: Option<u64>,
    /// For whom a backend speaks.
    pub speaks_for: Option<SpeaksFor<'a>>,
    /// What it says.
    pub body: Body<'a>,
}

/// `as`: a user of a backend that speaks for many.
#[derive(Clone, Debug)]
pub struct SpeaksFor<'a> {
    /// The user.
    pub user: UserId,
    /// The device; may be empty.
    pub device: Cow<'a, str>,
}

/// What a frame says.
#[derive(Clone)]
pub enum Body<'a> {
    /// The first one.
    Hello(Hello<'a>),
    /// `ack`: only the acknowledgement.
    Ack,
    /// Is anybody there?
    Ping {
        /// Comes back as it is.
        t: Option<&'a RawValue>,
    },
    /// A fresh token.
    AuthRefresh {
        /// The token.
        token: Cow<'a, str>,
    },
    /// The client goes for good.
    Bye,
    /// Enter a room, or say again what this member's state is.
    Join {
        /// Which.
        room: RoomId,
        /// What other members see.
        state: Option<&'a RawValue>,
    },
    /// Leave it.
    Leave {
        /// Which.
        room: RoomId,
    },
    /// Watch users, and say how this one is.
    Presence {
        /// All users to watch from now on; `None` leaves them as they are.
        watch: Option<Vec<UserId>>,
        /// How this session is.
        set: Option<Status>,
    },
    /// For others, whatever it is.
    Message {
        /// Whom.
        to: To,
        /// What.
        data: &'a RawValue,
        /// Whether the sender wants to know that it arrived.
        receipt: bool,
    },
    /// Fresh ICE servers, please.
    IceServers,
    /// How busy a media server is, from 0 to 1.
    Load {
        /// So busy.
        load: f64,
    },
    /// Calls somebody.
    CallOffer {
        /// Named by the caller.
        call: CallId,
        /// Whom.
        to: To,
        /// `audio`, `video`, …: at most 8 of at most 32 bytes.
        media: Vec<Box<str>>,
        /// Seconds it may ring.
        ttl: Option<u64>,
        /// A signed right to call.
        grant: Option<Cow<'a, str>>,
        /// The trace it belongs to (W3C Trace Context).
        traceparent: Option<Cow<'a, str>>,
        /// The description.
        data: &'a RawValue,
    },
    /// The device rings.
    CallRinging {
        /// Which.
        call: CallId,
    },
    /// The device answers.
    CallAnswer {
        /// Which.
        call: CallId,
        /// The description.
        data: &'a RawValue,
    },
    /// The user or the device does not.
    CallReject {
        /// Which.
        call: CallId,
        /// `busy`, `declined`, `media-failed`, …: 1 to 64 of `a-z 0-9 -`.
        reason: Option<Cow<'a, str>>,
        /// `device`: only this one.
        is_device_only: bool,
    },
    /// One side ends it.
    CallHangup {
        /// Which.
        call: CallId,
        /// `user`, `ice-failed`, `ice-timeout`, `media-failed`, …
        reason: Option<Cow<'a, str>>,
        /// Whether the media went through the relay.
        is_relayed: Option<bool>,
    },
    /// Trickled candidates.
    IceCandidate {
        /// Of which call; without one, `to` says whom.
        call: Option<CallId>,
        /// Whom; without it they follow the call.
        to: Option<To>,
        /// As the browser made them: an array.
        candidates: &'a RawValue,
        /// How many.
        count: usize,
        /// Whether there are no more.
        is_end: bool,
    },
    /// A description within a running call.
    Renegotiate {
        /// Which.
        call: CallId,
        /// Whether it restarts ICE.
        restart: bool,
        /// The description.
        data: &'a RawValue,
    },
    /// Back in a call after the session was lost.
    CallRejoin {
        /// Which.
        call: CallId,
    },
    /// Go on in a media server.
    CallUpgrade {
        /// The room there.
        room: RoomId,
        /// The call that is moved, if there is one.
        call: Option<CallId>,
        /// `kind`, `url`, `token`: passed on as it is.
        sfu: &'a RawValue,
    },
}

/// The first frame of a socket.
#[derive(Clone)]
pub struct Hello<'a> {
    /// The version: 1.
    pub version: u32,
    /// The token; needed unless the socket was authenticated when it was opened.
    pub token: Option<Cow<'a, str>>,
    /// What the client calls its device: at most 64 bytes.
    pub device: Option<Cow<'a, str>>,
    /// The session to go on with.
    pub resume: Option<Resume<'a>>,
    /// The W3C trace context of the client.
    pub traceparent: Option<Cow<'a, str>>,
}

/// Whether a text is a `traceparent` of W3C Trace Context, of whichever version: what is not is not passed on.
#[must_use]
pub fn is_traceparent(text: &str) -> bool {
    const LENGTHS: [usize; 4] = [2, 32, 16, 2];
    let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = text.split('-');
    let are_fine =
        LENGTHS.iter().all(|length| parts.next().is_some_and(|it| it.len() == *length && is_hex(it)));
    are_fine && parts.next().is_none() && !text.starts_with("ff")
}

/// A session to go on with.
#[derive(Clone)]
pub struct Resume<'a> {
    /// Which.
    pub session: SessionId,
    /// Proves that it is the client's.
    pub token: Cow<'a, str>,
    /// The epoch it knows.
    pub epoch: Cow<'a, str>,
    /// Up to which frame it has seen all.
    pub seq: u64,
}

/// Whom something is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// All devices of a user.
    User(UserId),
    /// One session.
    Session(SessionId),
    /// The other members of a room.
    Room(RoomId),
    /// The media server of a room, the one it is pinned to or the least busy.
    Sfu(RoomId),
}

/// How a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// There.
    Online,
    /// Not looking.
    Away,
    /// Not to be disturbed.
    Dnd,
}

impl Status {
    /// As it stands in frames.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Away => "away",
            Self::Dnd => "dnd",
        }
    }
}

/// What is said stays out of logs: tokens, descriptions, candidates.
impl std::fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Body").field(&self.kind()).finish_non_exhaustive()
    }
}

/// Tokens stay out of logs.
impl std::fmt::Debug for Hello<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello").field("resume", &self.resume).finish_non_exhaustive()
    }
}

/// Tokens stay out of logs.
impl std::fmt::Debug for Resume<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resume")
            .field("session", &self.session)
            .field("seq", &self.seq)
            .finish_non_exhaustive()
    }
}
