//! What the core asks of those who can verify tokens, ask the backend or make credentials, and what they answer.

use std::time::Duration;

use bytes::Bytes;

use super::{CallId, ErrorCode, RoomId, SessionId, UserId};

/// A question about one frame of one connection.
#[derive(Clone, PartialEq, Eq)]
pub enum Ask {
    /// Whose is this token of a `hello`? Not asked if the driver gave an [`Identity`] at the open.
    Hello {
        /// The token.
        token: Box<str>,
        /// What the client calls its device; may be empty.
        device: Box<str>,
        /// The trace it belongs to.
        traceparent: Option<Box<str>>,
    },
    /// Whose is this token of an `auth-refresh`?
    Refresh {
        /// The token.
        token: Box<str>,
    },
    /// May this user join this room? Asked only if the grants do not say.
    Join {
        /// Who.
        from: Place,
        /// Where.
        room: RoomId,
    },
    /// May this user call that one? Asked unless the grants allow it by themselves.
    Call {
        /// Who.
        from: Place,
        /// Whom: a user, or the room whose members are called.
        to: CallTo,
        /// Which call.
        call: CallId,
        /// `audio`, `video`, …
        media: Vec<Box<str>>,
        /// A signed grant to verify instead of asking the backend.
        grant: Option<Box<str>>,
        /// The trace it belongs to.
        traceparent: Option<Box<str>>,
    },
    /// ICE servers for this user.
    IceServers {
        /// Who.
        from: Place,
    },
}

/// Whom a call is for, as far as the right to call is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallTo {
    /// A user, all devices.
    User(UserId),
    /// The other members of a room.
    Room(RoomId),
}

/// A user at a device in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The user.
    pub user: UserId,
    /// The device; may be empty.
    pub device: Box<str>,
    /// The session.
    pub session: SessionId,
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// To [`Ask::Hello`] and [`Ask::Refresh`].
    Identity(Result<Box<Identity>, Denial>),
    /// To [`Ask::Join`] and [`Ask::Call`].
    Right(Result<Answer, Denial>),
    /// To [`Ask::IceServers`].
    IceServers(Result<IceServers, Denial>),
}

/// What is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// A JSON object of the backend that goes with the call or the member, such as `{"displayName":"Ann"}`.
    pub attrs: Option<Bytes>,
}

/// Why something is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What the client is told.
    pub code: ErrorCode,
    /// For people; without anything secret.
    pub message: Box<str>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// For [`ErrorCode::TokenNotYetValid`]: by how many seconds the clocks differ.
    pub skew: Option<u64>,
}

/// Who a session is of, and what it may do.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// `sub`.
    pub user: UserId,
    /// Which device the token was made for; overrides what the client says.
    pub device: Option<Box<str>>,
    /// When the token ends, in milliseconds since the Unix epoch; `None` never does (a service with a key).
    pub expires: Option<u64>,
    /// `jti`, for revocation.
    pub token_id: Option<Box<str>>,
    /// What it may do.
    pub grants: Grants,
    /// ICE servers for `welcome`, if the user may have them.
    pub ice_servers: Option<IceServers>,
}

/// Fresh ICE servers.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServers {
    /// The value of `iceServers`, as JSON text: it goes into frames as it is.
    pub json: Bytes,
    /// How long they are good for.
    pub ttl: Duration,
    /// The node they name; `None` if that is not known.
    pub node: Option<Box<str>>,
}

/// What a session may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    /// As what it takes part.
    pub role: Role,
    /// Rooms it may join without a question; a name that ends in `*` stands for all that begin so.
    pub rooms: Vec<RoomGrant>,
    /// Rooms that no grant names: whether the backend is asked (otherwise they are refused).
    pub ask_rooms: bool,
    /// Whom it may call.
    pub call: CallGrants,
    /// Whether it may see and tell presence.
    pub presence: bool,
    /// Whether it may send `message` to users and sessions.
    pub message: bool,
    /// Sessions of this user at once.
    pub sessions_max: u32,
    /// Whether ICE servers are made for it, and how.
    pub turn: Option<TurnGrants>,
}

/// What ICE servers a session may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TurnGrants {
    /// The longest they may be good for.
    pub ttl: Option<Duration>,
    /// Whether all media must go through the relay.
    pub relay_only: bool,
    /// The quota class of the user.
    pub quota: Option<Box<str>>,
}

/// Rooms, and what may be done there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomGrant {
    /// A room, or the beginning of names followed by `*`.
    pub name: Box<str>,
    /// What.
    pub rights: Vec<RoomRight>,
}

/// What may be done in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomRight {
    /// Being there and seeing who is.
    Join,
    /// Sending messages to its members.
    Send,
}

/// Whom a session may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallGrants {
    /// How it is decided.
    pub mode: CallMode,
    /// Users that may be called in [`CallMode::List`].
    pub to: Vec<UserId>,
}

/// How the right to call is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallMode {
    /// Nobody.
    Deny,
    /// Those who are listed.
    List,
    /// With a signed grant for each call.
    Grant,
    /// The backend is asked; a signed grant does as well.
    Webhook,
    /// Everybody.
    Any,
}

/// As what a session takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A person's device.
    User,
    /// A media server: joins rooms, is hidden from presence, never rung, told apart by `role`.
    Sfu,
    /// The messenger's backend: may speak for users (`as`).
    Backend,
    /// Records a room; hidden from presence.
    Recorder,
    /// An operator.
    Admin,
}

impl Role {
    /// As it stands in frames and tokens.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Sfu => "sfu",
            Self::Backend => "backend",
            Self::Recorder => "recorder",
            Self::Admin => "admin",
        }
    }
}

/// Tokens stay out of logs.
impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Hello { .. } => "Hello(..)",
            Self::Refresh { .. } => "Refresh(..)",
            Self::Join { .. } => "Join(..)",
            Self::Call { .. } => "Call(..)",
            Self::IceServers { .. } => "IceServers(..)",
        })
    }
}

/// Credentials stay out of logs.
impl std::fmt::Debug for IceServers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceServers").field("ttl", &self.ttl).finish_non_exhaustive()
    }
}
