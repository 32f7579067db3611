//! What is counted. Plain numbers; whoever drives the relay reads them.

use super::{
    Body, CloseCode, EventKind, Now, Server, SessionId,
    session::Attachment,
    welcome::{Loss, Resumed},
};

/// Totals since the start, and how many there are at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    frames_in: [u64; FrameKind::ALL.len()],
    frames_out: [u64; FrameKind::ALL.len()],
    closes: [u64; CloseCode::ALL.len()],
    trips: [u64; Rule::ALL.len()],
    resumes: [u64; RESUMES.len()],
    /// Sessions that began.
    pub sessions_begun: u64,
    /// Frames that were sent again after a resume.
    pub replayed: u64,
    /// Hellos that were refused.
    pub hellos_refused: u64,
}

/// How hellos that resume come out.
const RESUMES: [&str; 5] = ["replayed", "gap", "expired", "unknown", "epoch"];

/// How many there are at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Sockets.
    pub connections: usize,
    /// Those of them without a session.
    pub unauthenticated: usize,
    /// Sessions with a socket.
    pub attached: usize,
    /// Sessions that wait to be resumed.
    pub detached: usize,
    /// Sessions that a backend carries.
    pub carried: usize,
    /// Bytes kept for clients.
    pub queue_bytes: usize,
}

macro_rules! kinds {
    ($($name:ident = $text:literal),+ $(,)?) => {
        /// A type of frame.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum FrameKind {
            $(#[doc = concat!("`", $text, "`.")] $name),+
        }

        impl FrameKind {
            /// Every type.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$name),+];

            /// As it stands in frames; those that are no frames are `invalid`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            fn of(kind: &[u8]) -> Self {
                $(if kind == $text.as_bytes() { return Self::$name; })+
                Self::Invalid
            }
        }
    };
}

kinds! {
    Message = "message", IceCandidate = "ice-candidate", Ok = "ok", Receipt = "receipt", Ack = "ack",
    Ping = "ping", Pong = "pong", Hello = "hello", Welcome = "welcome", Error = "error",
    RoomEvent = "room-event", Presence = "presence", CallOffer = "call-offer", CallRinging = "call-ringing",
    CallAnswer = "call-answer", CallReject = "call-reject", CallHangup = "call-hangup",
    CallCancelled = "call-cancelled", CallPeer = "call-peer", Renegotiate = "renegotiate",
    CallRejoin = "call-rejoin", CallUpgrade = "call-upgrade", Join = "join", Leave = "leave", Load = "load",
    IceServers = "ice-servers", AuthRefresh = "auth-refresh", TokenExpiring = "token-expiring",
    Draining = "draining", Bye = "bye", Invalid = "invalid",
}

macro_rules! rules {
    ($($(#[$doc:meta])+ $name:ident = $text:literal),+ $(,)?) => {
        /// A limit that somebody reached.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Rule {
            $($(#[$doc])+ $name),+
        }

        impl Rule {
            /// Every limit.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$name),+];

            /// As it stands in metrics and events.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

rules! {
    /// Sockets on this node.
    Connections = "connections",
    /// Sockets without a session.
    Unauthenticated = "unauthenticated",
    /// New sockets of an address.
    Connects = "connects",
    /// Failed hellos of an address.
    HelloFailures = "hello-failures",
    /// Sessions of a user.
    Sessions = "sessions",
    /// Frames of a session.
    Frames = "frames",
    /// Bytes of a session.
    Bytes = "bytes",
    /// Descriptions of a session.
    Descriptions = "descriptions",
    /// Candidates of a session.
    Candidates = "candidates",
    /// Refused frames of a session.
    Errors = "errors",
    /// Users that a session watches.
    Watches = "watches",
    /// Joins of a user.
    Joins = "joins",
    /// Rooms of a session.
    Rooms = "rooms",
    /// Members of a room.
    RoomMembers = "room-members",
    /// Sessions that a backend speaks for.
    Carried = "carried",
    /// Offers of a user.
    Offers = "offers",
    /// Different callees of a user.
    Callees = "callees",
    /// Calls of a user that ring.
    Ringing = "ringing",
    /// Offers from one user to another.
    Pair = "pair",
    /// Offers that reach a user.
    Callee = "callee",
    /// Offers after a callee declined.
    Declined = "declined",
    /// Calls of a node.
    Calls = "calls",
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            frames_in: [0; FrameKind::ALL.len()],
            frames_out: [0; FrameKind::ALL.len()],
            closes: [0; CloseCode::ALL.len()],
            trips: [0; Rule::ALL.len()],
            resumes: [0; RESUMES.len()],
            sessions_begun: 0,
            replayed: 0,
            hellos_refused: 0,
        }
    }
}

impl Counters {
    /// Frames of clients, by type.
    pub fn frames_in(&self) -> impl Iterator<Item = (FrameKind, u64)> {
        FrameKind::ALL.into_iter().zip(self.frames_in)
    }

    /// Frames to clients, by type.
    pub fn frames_out(&self) -> impl Iterator<Item = (FrameKind, u64)> {
        FrameKind::ALL.into_iter().zip(self.frames_out)
    }

    /// Sockets that the relay closed or refused, by code.
    pub fn closes(&self) -> impl Iterator<Item = (CloseCode, u64)> {
        CloseCode::ALL.into_iter().zip(self.closes)
    }

    /// Limits that were reached.
    pub fn trips(&self) -> impl Iterator<Item = (Rule, u64)> {
        Rule::ALL.into_iter().zip(self.trips)
    }

    /// Hellos that resume, by result: `replayed`, `gap`, `expired`, `unknown`, `epoch`.
    pub fn resumes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        RESUMES.into_iter().zip(self.resumes)
    }

    pub(super) fn came(&mut self, kind: FrameKind) {
        count(&mut self.frames_in, kind as usize, 1);
    }

    /// A frame as it is written goes to a client.
    pub(super) fn went(&mut self, text: &str) {
        count(&mut self.frames_out, kind_of(text.as_bytes()) as usize, 1);
    }

    pub(super) fn closed(&mut self, code: CloseCode) {
        if let Some(index) = CloseCode::ALL.iter().position(|known| *known == code) {
            count(&mut self.closes, index, 1);
        }
    }

    pub(super) fn tripped(&mut self, rule: Rule) {
        count(&mut self.trips, rule as usize, 1);
    }
}

fn count(counts: &mut [u64], index: usize, by: u64) {
    if let Some(count) = counts.get_mut(index) {
        *count += by;
    }
}

/// The type of a frame that the relay wrote: it stands near the beginning, after a number or a short id.
fn kind_of(text: &[u8]) -> FrameKind {
    const NAME: &[u8] = b"\"type\":\"";
    let Some(start) = text.windows(NAME.len()).position(|window| window == NAME) else {
        return FrameKind::Invalid;
    };
    let rest = text.get(start + NAME.len()..).unwrap_or_default();
    let end = rest.iter().position(|byte| *byte == b'"').unwrap_or_default();
    FrameKind::of(rest.get(..end).unwrap_or_default())
}

impl Body<'_> {
    /// Which type of frame it is of.
    #[must_use]
    pub const fn kind(&self) -> FrameKind {
        match self {
            Self::Hello(_) => FrameKind::Hello,
            Self::Ack => FrameKind::Ack,
            Self::Ping { .. } => FrameKind::Ping,
            Self::AuthRefresh { .. } => FrameKind::AuthRefresh,
            Self::Bye => FrameKind::Bye,
            Self::Join { .. } => FrameKind::Join,
            Self::Leave { .. } => FrameKind::Leave,
            Self::Presence { .. } => FrameKind::Presence,
            Self::Message { .. } => FrameKind::Message,
            Self::IceServers => FrameKind::IceServers,
            Self::Load { .. } => FrameKind::Load,
            Self::CallOffer { .. } => FrameKind::CallOffer,
            Self::CallRinging { .. } => FrameKind::CallRinging,
            Self::CallAnswer { .. } => FrameKind::CallAnswer,
            Self::CallReject { .. } => FrameKind::CallReject,
            Self::CallHangup { .. } => FrameKind::CallHangup,
            Self::IceCandidate { .. } => FrameKind::IceCandidate,
            Self::Renegotiate { .. } => FrameKind::Renegotiate,
            Self::CallRejoin { .. } => FrameKind::CallRejoin,
            Self::CallUpgrade { .. } => FrameKind::CallUpgrade,
        }
    }
}

impl Server {
    /// Totals since the start.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many there are at present. Looks at every session: not for each frame.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        let mut gauges = Gauges {
            connections: self.sockets.len(),
            unauthenticated: self.sockets.unauthenticated(),
            ..Gauges::default()
        };
        for session in self.sessions.values() {
            gauges.queue_bytes += session.queue.bytes();
            match session.attachment {
                Attachment::Socket(_) => gauges.attached += 1,
                Attachment::Detached => gauges.detached += 1,
                Attachment::Carried(_) => gauges.carried += 1,
            }
        }
        gauges
    }

    /// A limit was reached, by a session of this node or before there was one. Others are told once a minute.
    pub(super) fn trip(&mut self, now: Now, rule: Rule, by: Option<SessionId>) {
        self.counters.tripped(rule);
        let rate = super::bucket::Rate::per_minute(1);
        let Some(session) = by.and_then(|id| self.sessions.get_mut(id)) else { return };
        if session.buckets.trips.take(now.monotonic, rate, 1).is_ok() {
            let party = session.party();
            self.event(now, EventKind::LimitTripped { limit: rule.as_str(), party });
        }
    }

    pub(super) fn count_resume(&mut self, resumed: Resumed) {
        let index = match resumed {
            Resumed::No => return,
            Resumed::Whole(replay) => {
                self.counters.replayed += replay;
                0
            }
            Resumed::Reset(loss) | Resumed::Gone(loss) => match loss {
                Loss::Gap => 1,
                Loss::Expired => 2,
                Loss::Unknown => 3,
                Loss::Epoch => 4,
            },
        };
        count(&mut self.counters.resumes, index, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_out_is_counted_by_its_type() {
        let mut counters = Counters::default();
        for text in [
            r#"{"seq":5,"type":"message","from":{}}"#,
            r#"{"re":"a","type":"ok"}"#,
            r#"{"seq":5,"as":{"user":"u"},"type":"call-offer"}"#,
            r#"{"type":"pong","t":1}"#,
        ] {
            counters.went(text);
        }
        let went: Vec<_> =
            counters.frames_out().filter(|(_, count)| *count > 0).map(|(kind, _)| kind).collect();
        assert_eq!(went, [FrameKind::Message, FrameKind::Ok, FrameKind::Pong, FrameKind::CallOffer]);
        assert!(FrameKind::ALL.into_iter().all(|kind| FrameKind::of(kind.as_str().as_bytes()) == kind));
    }
}
