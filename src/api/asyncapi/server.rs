//! Frames of the server.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    kind::FrameKind,
    parts::{
        CallSide, CarriedFor, Heartbeat, IceServer, Member, Place, PresenceState, RoomState, SessionLimits,
        Snapshot,
    },
};

macro_rules! server_frames {
    ($($(#[doc = $about:literal])+ $name:ident $type:literal { $($(#[$meta:meta])* $field:ident: $of:ty,)* })+) => {
        $(
            $(#[doc = $about])+
            #[derive(Deserialize, JsonSchema)]
            #[serde(rename_all = "camelCase", deny_unknown_fields)]
            #[allow(dead_code, reason = "it is read to see whether it can be, and described")]
            pub(super) struct $name {
                /// The type of the frame.
                #[serde(rename = "type")]
                #[schemars(extend("const" = $type))]
                kind: String,
                $($(#[$meta])* $field: $of,)*
            }
        )+

        /// All of them.
        pub(super) const KINDS: &[FrameKind] =
            &[$(FrameKind::of::<$name>("server", $type, concat!($($about),+))),+];
    };
}

server_frames! {
    /// The answer to `hello`: the session, and all that a client needs to begin.
    Welcome "welcome" {
        /// The `id` of the hello.
        re: Option<String>,
        /// The version: 1.
        v: u32,
        /// The session.
        #[schemars(regex(pattern = r"^s_[A-Za-z0-9_-]{22}$"))]
        session: String,
        /// The user.
        user: String,
        /// Changes whenever frames from before cannot be played again.
        epoch: String,
        /// To resume with; good once, and another one each time.
        resume_token: String,
        /// Seconds for which the session is kept without a socket.
        resume_ttl: u64,
        /// When to say that one is there.
        heartbeat: Heartbeat,
        /// What a session may do.
        limits: SessionLimits,
        /// `resume`, `rooms`, `calls`, `receipts`, `presence`.
        features: Vec<String>,
        /// Seconds until the token ends.
        token_expires_in: Option<u64>,
        /// Milliseconds since the Unix epoch.
        server_time: u64,
        /// For `RTCPeerConnection`.
        ice_servers: Option<Vec<IceServer>>,
        /// Seconds for which they are good.
        ice_ttl: Option<u64>,
        /// Seconds until fresh ones are pushed.
        ice_refresh_in: Option<u64>,
        /// Whether the session goes on; absent if none was to.
        resumed: Option<bool>,
        /// How many frames are played again.
        replay: Option<u64>,
        /// Why it does not go on: `gap`, `expired`, `unknown`, `epoch`.
        reason: Option<String>,
        /// What to begin with instead.
        snapshot: Option<Snapshot>,
    }

    /// A request was done.
    Okay "ok" {
        /// Its `id`.
        re: Option<String>,
        /// Of a `join`: the room.
        room: Option<RoomState>,
        /// Of a `presence`: the users that are watched.
        presence: Option<Vec<PresenceState>>,
        /// The call.
        call: Option<String>,
        /// How many sessions it was handed to.
        delivered: Option<u64>,
        /// How many devices the backend is asked to wake.
        pushed: Option<u64>,
        /// Of an `auth-refresh`: seconds until the token ends.
        token_expires_in: Option<u64>,
        /// Of `ice-servers`.
        ice_servers: Option<Vec<IceServer>>,
        /// Seconds for which they are good.
        ice_ttl: Option<u64>,
        /// Of a `call-rejoin`: how the call stands.
        state: Option<String>,
        /// Of a `call-rejoin`: whether this side gives way when descriptions cross.
        polite: Option<bool>,
        /// Of a `call-rejoin`: the session on the other side.
        peer: Option<CallSide>,
    }

    /// A request was not done, or a frame could not be read.
    Failed "error" {
        /// Its `id`, if it had one.
        re: Option<String>,
        /// Why, for programs.
        #[schemars(extend("enum" = super::error_codes()))]
        code: String,
        /// Why, for people.
        message: String,
        /// Whether the same may succeed later.
        retryable: bool,
        /// Seconds until then.
        retry_after: Option<f64>,
        /// More, by the code.
        details: Option<Map<String, Value>>,
    }

    /// Somebody is here.
    Pong "pong" {
        /// The `id` of the ping.
        re: Option<String>,
        /// As it was sent.
        t: Option<Value>,
    }

    /// The token ends soon: send `auth-refresh`.
    TokenExpiring "token-expiring" {
        /// Seconds.
        #[serde(rename = "in")]
        seconds: u64,
    }

    /// This node ends: go on with another one.
    Draining "draining" {
        /// Seconds until the socket is closed.
        reconnect_within: u64,
        /// Seconds over which clients should spread.
        jitter: u64,
    }

    /// Who came to a room, left, or changed.
    RoomEvent "room-event" {
        /// Counts the frames of the session.
        seq: u64,
        /// For whom a backend gets it.
        #[serde(rename = "as")]
        carried_for: Option<CarriedFor>,
        /// Which room.
        room: String,
        /// Counts its changes.
        ver: u64,
        /// Whether `members` is all of it.
        snapshot: Option<bool>,
        /// All members.
        members: Option<Vec<Member>>,
        /// Who came.
        joined: Option<Vec<Member>>,
        /// Whose state changed.
        changed: Option<Vec<Member>>,
        /// Sessions that left.
        left: Option<Vec<String>>,
    }

    /// How a watched user is.
    PresenceChanged "presence" {
        /// Counts the frames of the session.
        seq: u64,
        /// For whom a backend gets it.
        #[serde(rename = "as")]
        carried_for: Option<CarriedFor>,
        /// The user.
        user: String,
        /// `online`, `away`, `dnd` or `offline`.
        status: String,
        /// How many devices.
        devices: u32,
    }

    /// From somebody, whatever it is.
    MessageCame "message" {
        /// Counts the frames of the session.
        seq: u64,
        /// For whom a backend gets it.
        #[serde(rename = "as")]
        carried_for: Option<CarriedFor>,
        /// Who sent it.
        from: Place,
        /// The room it was sent to.
        room: Option<String>,
        /// What; never looked into.
        data: Value,
    }

    /// A message arrived: the client there has acknowledged it.
    Receipt "receipt" {
        /// Counts the frames of the session.
        seq: u64,
        /// For whom a backend gets it.
        #[serde(rename = "as")]
        carried_for: Option<CarriedFor>,
        /// The `id` of the message.
        id: String,
        /// Where.
        session: String,
    }

    /// Fresh ICE servers.
    IceServersPushed "ice-servers" {
        /// Counts the frames of the session.
        seq: u64,
        /// For whom a backend gets it.
        #[serde(rename = "as")]
        carried_for: Option<CarriedFor>,
        /// `refresh`, `drain` or `revoked`.
        reason: String,
        /// For `setConfiguration`.
        ice_servers: Vec<IceServer>,
        /// Seconds for which they are good.
        ice_ttl: u64,
        /// Seconds until fresh ones are pushed.
        ice_refresh_in: Option<u64>,
    }

    /// Somebody calls.
    CallOffered "call-offer" {
        /// Counts the frames of the session.
        seq: u64,
        /// For whom a backend gets it.
        #[serde(rename = "as")]
        carried_for: Option<CarriedFor>,
        /// The call.
        call: String,
        /// Who calls.
        from: Place,
        /// The room that is called.
        room: Option<String>,
        /// `audio`, `video`, …
        media: Vec<String>,
        /// Until when it rings: milliseconds since the Unix epoch.
        expires_at: u64,
        /// Whether this side gives way when descriptions cross.
        polite: bool,
        /// The description.
        data: Value,
        /// What the backend says of the caller.
        attrs: Option<Value>,
    }

    /// A device of the callee rings.
    CallRings "call-ringing" {
        /// Counts the frames of the session.
        seq: u64,
        /// For whom a backend gets it.
        #[serde(rename = "as")]
        carried_for: Option<CarriedFor>,
        /// The call.
        call: String,
        /// Which device.
        from: Place,
    }

    /// The callee has answered.
    CallAnswered "call-answer" {
        /// Counts the frames of the session.
        seq: u64,
        /// For whom a backend gets it.
        #[serde(rename = "as")]
        carried_for: Option<CarriedFor>,
        /// The call.
        call: String,
        /// Which device.
        from: Place,
        /// Whether this side gives way when descriptions cross.
        polite: bool,
        /// The description.
        data: Value,
    }

    /// The callee declines.
    CallRejected "call-reject" {
        /// Counts the frames of the session.
        seq: u64,
        /// For whom a backend gets it.
        #[serde(rename = "as")]
        carried_for: Option<CarriedFor>,
        /// The call.
        call: String,
        /// Which device.
        from: Place,
        /// `busy`, `declined`, …
        reason: String,
        /// `user`: no device answers; `device`: only this one does not.
        #[schemars(regex(pattern = "^(user|device)$"))]
        scope: String,
    }

    /// The call does not concern this device any longer.
    CallCancelled "call-cancelled" {
        /// Counts the frames of the session.
        seq: u64,
        /// For whom a backend gets it.
        #[serde(rename = "as")]
        carried_for: Option<CarriedFor>,
        /// The call.
        call: String,
        /// `answered-elsewhere`, `rejected-elsewhere`, `caller-hangup`, `timeout`, `glare`.
        reason: String,
        /// Of crossed offers: the call that goes on.
        winner: Option<String>,
    }

    /// The other side has ended the call.
    CallHungUp "call-hangup" {
        /// Counts the frames of the session.
        seq: u64,
        /// For whom a backend gets it.
        #[serde(rename = "as")]
        carried_for: Option<CarriedFor>,
        /// The call.
        call: String,
        /// Which device.
        from: Place,
        /// `user`, `ice-failed`, `lost`, …
        reason: String,
    }

    /// Candidates of the other side.
    IceCandidates "ice-candidate" {
        /// Counts the frames of the session.
        seq: u64,
        /// For whom a backend gets it.
        #[serde(rename = "as")]
        carried_for: Option<CarriedFor>,
        /// The call.
        call: Option<String>,
        /// Who sent them.
        from: Place,
        /// As the browser made them.
        candidates: Vec<Value>,
        /// Whether there are no more.
        end: bool,
    }

    /// A description of the other side within a running call.
    Renegotiated "renegotiate" {
        /// Counts the frames of the session.
        seq: u64,
        /// For whom a backend gets it.
        #[serde(rename = "as")]
        carried_for: Option<CarriedFor>,
        /// The call.
        call: String,
        /// Who sent it.
        from: Place,
        /// Whether it restarts ICE.
        restart: bool,
        /// Whether this side gives way when descriptions cross.
        polite: bool,
        /// The description.
        data: Value,
    }

    /// The socket of the other side is gone, back, or lost; media may flow without it.
    CallPeer "call-peer" {
        /// Counts the frames of the session.
        seq: u64,
        /// For whom a backend gets it.
        #[serde(rename = "as")]
        carried_for: Option<CarriedFor>,
        /// The call.
        call: String,
        /// Which session it is now.
        session: String,
        /// `away`, `back` or `lost`.
        #[schemars(regex(pattern = "^(away|back|lost)$"))]
        state: String,
    }

    /// Go on in a media server.
    CallUpgraded "call-upgrade" {
        /// Counts the frames of the session.
        seq: u64,
        /// For whom a backend gets it.
        #[serde(rename = "as")]
        carried_for: Option<CarriedFor>,
        /// Who says so.
        from: Place,
        /// The call that is moved.
        call: Option<String>,
        /// The room there.
        room: String,
        /// `kind`, `url`, `token`.
        sfu: Map<String, Value>,
    }
}
