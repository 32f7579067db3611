//! Frames of clients.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    kind::FrameKind,
    parts::{Resume, SpeaksFor, To},
};

macro_rules! client_frames {
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
                /// Names the request; then it is answered, and a request that is sent again has no second effect.
                #[schemars(length(min = 1, max = 64))]
                id: Option<String>,
                /// Up to which frame the client has seen all.
                ack: Option<u64>,
                /// For whom a backend speaks.
                #[serde(rename = "as")]
                speaks_for: Option<SpeaksFor>,
                $($(#[$meta])* $field: $of,)*
            }
        )+

        /// All of them.
        pub(super) const KINDS: &[FrameKind] =
            &[$(FrameKind::of::<$name>("client", $type, concat!($($about),+))),+];
    };
}

client_frames! {
    /// The first frame of a socket: who the client is, and the session to go on with.
    Hello "hello" {
        /// The version: 1.
        v: Option<u32>,
        /// The JWT; needed unless the socket was authenticated when it was opened.
        token: Option<String>,
        /// What the client calls its device: the session before it on the same device is replaced.
        #[schemars(length(max = 64))]
        device: Option<String>,
        /// What the client can do.
        caps: Option<Vec<String>>,
        /// What the client is.
        ua: Option<String>,
        /// The session to go on with.
        resume: Option<Resume>,
        /// The W3C trace context.
        traceparent: Option<String>,
    }

    /// Only an acknowledgement.
    Ack "ack" {
        /// Up to which frame the client has seen all.
        seq: Option<u64>,
    }

    /// Is anybody there?
    Ping "ping" {
        /// Comes back as it is.
        t: Option<Value>,
    }

    /// A fresh token, before the old one ends.
    AuthRefresh "auth-refresh" {
        /// The JWT, of the same user.
        token: String,
    }

    /// The client goes for good: nothing is kept.
    Bye "bye" {}

    /// Enter a room, or change what its members see.
    Join "join" {
        /// Which.
        #[schemars(length(min = 1, max = 128))]
        room: String,
        /// What other members see.
        state: Option<Value>,
    }

    /// Leave a room.
    Leave "leave" {
        /// Which.
        #[schemars(length(min = 1, max = 128))]
        room: String,
    }

    /// Watch users, and say how this one is.
    Presence "presence" {
        /// All users to watch from now on.
        watch: Option<Vec<String>>,
        /// `online`, `away` or `dnd`.
        #[schemars(regex(pattern = "^(online|away|dnd)$"))]
        set: Option<String>,
    }

    /// For others, whatever it is.
    Message "message" {
        /// Whom.
        to: To,
        /// What; never looked into.
        data: Value,
        /// Whether the sender wants to know that it arrived; needs an id.
        receipt: Option<bool>,
    }

    /// Fresh ICE servers, please.
    IceServers "ice-servers" {}

    /// How busy a media server is.
    Load "load" {
        /// From 0 to 1.
        #[schemars(range(min = 0.0, max = 1.0))]
        load: f64,
    }

    /// Calls somebody.
    CallOffer "call-offer" {
        /// The W3C trace context: it goes on to the backend that is asked.
        traceparent: Option<String>,
        /// Named by the caller, and never again used by anybody.
        #[schemars(regex(pattern = "^[A-Za-z0-9._:-]{1,64}$"))]
        call: String,
        /// Whom.
        to: To,
        /// `audio`, `video`, …
        #[schemars(length(max = 8))]
        media: Option<Vec<String>>,
        /// Seconds it may ring.
        ttl: Option<u64>,
        /// A right to call that the backend signed.
        grant: Option<String>,
        /// The description; never looked into.
        data: Value,
    }

    /// The device rings.
    CallRinging "call-ringing" {
        /// Which call.
        call: String,
    }

    /// The device answers; the first one wins.
    CallAnswer "call-answer" {
        /// Which call.
        call: String,
        /// The description; never looked into.
        data: Value,
    }

    /// The user or the device does not answer.
    CallReject "call-reject" {
        /// Which call.
        call: String,
        /// `busy`, `declined`, `media-failed`, …
        #[schemars(regex(pattern = "^[a-z0-9-]{1,64}$"))]
        reason: Option<String>,
        /// `user` stops all devices, `device` only this one.
        #[schemars(regex(pattern = "^(user|device)$"))]
        scope: Option<String>,
    }

    /// One side ends the call.
    CallHangup "call-hangup" {
        /// Which call.
        call: String,
        /// `user`, `ice-failed`, `ice-timeout`, `media-failed`, …
        #[schemars(regex(pattern = "^[a-z0-9-]{1,64}$"))]
        reason: Option<String>,
        /// Whether the media went through the relay.
        relayed: Option<bool>,
    }

    /// Trickled candidates.
    IceCandidate "ice-candidate" {
        /// Of which call.
        call: Option<String>,
        /// Whom; without it they follow the call.
        to: Option<To>,
        /// As the browser made them; needed unless there are no more.
        candidates: Option<Vec<Value>>,
        /// Whether there are no more.
        end: Option<bool>,
    }

    /// A description within a running call: ICE restart, hold, more media.
    Renegotiate "renegotiate" {
        /// Which call.
        call: String,
        /// Whether it restarts ICE.
        restart: Option<bool>,
        /// The description; never looked into.
        data: Value,
    }

    /// Back in a call after the session was lost.
    CallRejoin "call-rejoin" {
        /// Which call.
        call: String,
    }

    /// Go on in a media server.
    CallUpgrade "call-upgrade" {
        /// The room there.
        #[schemars(length(min = 1, max = 128))]
        room: String,
        /// The call that is moved.
        call: Option<String>,
        /// `kind`, `url`, `token`: passed on as it is.
        sfu: Map<String, Value>,
    }
}
