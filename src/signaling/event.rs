//! What the backend's call history and monitoring are told.

use bytes::Bytes;

use super::{CallId, NodeName, RoomId, SessionId, UserId};

/// Counts the events of one run of a node, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventNumber(pub u64);

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which of this node.
    pub number: EventNumber,
    /// When, in milliseconds since the Unix epoch.
    pub at: u64,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A step of a call, with all of the call as it stands then.
    Call {
        /// `created`, `push_needed`, `ringing`, `answered`, `rejected`, `cancelled`, `missed`, `ended`, `failed`.
        step: CallStep,
        /// The call.
        call: Box<CallRecord>,
    },
    /// The first member joined a room.
    RoomStarted {
        /// Which.
        room: RoomId,
    },
    /// A member came.
    RoomJoined {
        /// Where.
        room: RoomId,
        /// Who.
        member: Party,
    },
    /// A member left.
    RoomLeft {
        /// Where.
        room: RoomId,
        /// Who.
        member: Party,
    },
    /// The last member left a room.
    RoomFinished {
        /// Which.
        room: RoomId,
    },
    /// A session began.
    SessionConnected {
        /// Whose.
        party: Party,
    },
    /// A session ended orderly.
    SessionDisconnected {
        /// Whose.
        party: Party,
        /// Why: `bye`, `replaced`, `revoked`, `expired`, …
        reason: &'static str,
    },
    /// A session was not resumed in time.
    SessionLost {
        /// Whose.
        party: Party,
    },
    /// A limit was reached.
    LimitTripped {
        /// Which, as the reference names it.
        limit: &'static str,
        /// By whom.
        party: Party,
    },
    /// This node drains.
    NodeDraining,
}

/// A step of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallStep {
    /// An offer was taken.
    Created,
    /// The callee has no device here: the backend must wake one.
    PushNeeded,
    /// A device rings.
    Ringing,
    /// A device answered.
    Answered,
    /// The callee declined.
    Rejected,
    /// The caller gave up before an answer.
    Cancelled,
    /// Nobody answered in time.
    Missed,
    /// It was answered and is over.
    Ended,
    /// It could not go on: media failed, both sides lost.
    Failed,
}

impl CallStep {
    /// As it stands in the name of the event, after `call.`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::PushNeeded => "push_needed",
            Self::Ringing => "ringing",
            Self::Answered => "answered",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Missed => "missed",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }
}

/// Somebody who takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// The user.
    pub user: UserId,
    /// The device; may be empty.
    pub device: Box<str>,
    /// The session.
    pub session: SessionId,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallState {
    /// Offered, not answered.
    Ringing,
    /// Answered.
    Active,
    /// Over.
    Ended,
}

/// How a call came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Answered, and hung up by one side.
    Completed,
    /// Declined.
    Rejected,
    /// Given up by the caller.
    Cancelled,
    /// Not answered in time.
    Missed,
    /// Could not go on.
    Failed,
    /// Lost to a crossed offer.
    Glare,
}

impl Outcome {
    /// As it stands in records and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Missed => "missed",
            Self::Failed => "failed",
            Self::Glare => "glare",
        }
    }
}

/// All that is known of a call, but what was said: never SDP, never candidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// Which call.
    pub id: CallId,
    /// Counts its events, from 1: the order for whoever reads them.
    pub sequence: u32,
    /// Where it is kept: the node of the caller's session.
    pub node: NodeName,
    /// How far it is.
    pub state: CallState,
    /// Who calls.
    pub caller: Party,
    /// The user who is called; `None` for a room.
    pub callee: Option<UserId>,
    /// The room whose members are called.
    pub room: Option<RoomId>,
    /// Who answered.
    pub answerer: Option<Party>,
    /// `audio`, `video`, …
    pub media: Vec<Box<str>>,
    /// Devices it was offered to so far.
    pub devices: u32,
    /// When it was offered, in milliseconds since the Unix epoch.
    pub created: u64,
    /// When the first device rang.
    pub rung: Option<u64>,
    /// When it was answered.
    pub answered: Option<u64>,
    /// When it was over.
    pub ended: Option<u64>,
    /// How it came out.
    pub outcome: Option<Outcome>,
    /// As the side that ended it said: `user`, `busy`, `declined`, `ice-failed`, `timeout`, …
    pub reason: Option<Box<str>>,
    /// Who ended it.
    pub ended_by: Option<UserId>,
    /// Whether the media went through the relay, as a client said.
    pub is_relayed: Option<bool>,
    /// What the backend answered to "may they?", as JSON.
    pub attrs: Option<Bytes>,
}
