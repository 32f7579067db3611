//! What several frames have in common.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// One value for whom: a user, a session, a room, or the media server of a room.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "it is read to see whether it can be, and described")]
pub(super) enum To {
    /// All devices of a user.
    User(ToUser),
    /// One session.
    Session(ToSession),
    /// The media server of a room, the one it is pinned to or the least busy.
    Sfu(ToSfu),
    /// The other members of a room.
    Room(ToRoom),
}

macro_rules! part {
    ($(#[$about:meta])* $name:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        #[allow(dead_code, reason = "it is read to see whether it can be, and described")]
        pub(super) struct $name { $($(#[$meta])* pub(super) $field: $type,)* }
    };
}
pub(super) use part;

part! {
    /// All devices of a user.
    ToUser {
        /// The user, as `sub` of tokens names it.
        #[schemars(length(min = 1, max = 256))]
        user: String,
    }
}

part! {
    /// One session.
    ToSession {
        /// The session.
        #[schemars(regex(pattern = r"^s_[A-Za-z0-9_-]{22}$"))]
        session: String,
    }
}

part! {
    /// The other members of a room.
    ToRoom {
        /// The room.
        #[schemars(length(min = 1, max = 128))]
        room: String,
    }
}

part! {
    /// The media server of a room.
    ToSfu {
        /// `sfu`.
        #[schemars(extend("const" = "sfu"))]
        role: String,
        /// The room.
        #[schemars(length(min = 1, max = 128))]
        room: String,
    }
}

part! {
    /// For whom a backend speaks.
    SpeaksFor {
        /// The user.
        #[schemars(length(min = 1, max = 256))]
        user: String,
        /// The device; may be empty.
        #[schemars(length(max = 64))]
        device: Option<String>,
    }
}

part! {
    /// The session to go on with.
    Resume {
        /// Which.
        #[schemars(regex(pattern = r"^s_[A-Za-z0-9_-]{22}$"))]
        session: String,
        /// `resumeToken` of the last welcome; good once.
        token: String,
        /// `epoch` of the last welcome.
        epoch: String,
        /// Up to which frame the client has seen all.
        seq: u64,
    }
}

part! {
    /// Somebody who sent something.
    Place {
        /// The user.
        user: String,
        /// The session.
        session: String,
        /// The device, if the client named one.
        device: Option<String>,
    }
}

part! {
    /// For whom of those it carries a backend gets a frame.
    CarriedFor {
        /// The user.
        user: String,
        /// The session.
        session: Option<String>,
        /// The device.
        device: Option<String>,
    }
}

part! {
    /// A member of a room.
    Member {
        /// Its session.
        session: String,
        /// Its user.
        user: String,
        /// As what it takes part: `user`, `sfu`, `backend`, `recorder`.
        role: String,
        /// Its device, if it named one.
        device: Option<String>,
        /// What it says of itself.
        state: Value,
        /// What the backend says of it.
        attrs: Option<Value>,
    }
}

part! {
    /// A room as it stands.
    RoomState {
        /// Which.
        id: String,
        /// Counts its changes.
        ver: u64,
        /// Who is in it.
        members: Vec<Member>,
    }
}

part! {
    /// How a user is.
    PresenceState {
        /// The user.
        user: String,
        /// `online`, `away`, `dnd` or `offline`.
        status: String,
        /// How many devices.
        devices: u32,
    }
}

part! {
    /// An ICE server, as `RTCConfiguration` takes it.
    IceServer {
        /// `stun:`, `turn:` and `turns:` URLs.
        urls: Vec<String>,
        /// For `turn:` and `turns:`.
        username: Option<String>,
        /// For `turn:` and `turns:`.
        credential: Option<String>,
    }
}

part! {
    /// When to say that one is there.
    Heartbeat {
        /// Seconds between two signs of life.
        interval: u64,
        /// Seconds to wait for an answer.
        timeout: u64,
    }
}

part! {
    /// What a session may do.
    SessionLimits {
        /// The largest frame in bytes.
        max_frame: u64,
        /// Descriptions a second.
        sdp_per_sec: u64,
        /// Frames a second.
        msg_per_sec: u64,
    }
}

part! {
    /// A call that a session takes part in.
    SnapshotCall {
        /// Which.
        call: String,
        /// `ringing` or `active`.
        state: String,
        /// `outgoing` or `incoming`.
        direction: String,
        /// `audio`, `video`, …
        media: Vec<String>,
        /// When it was offered: milliseconds since the Unix epoch.
        created_at: u64,
        /// The session on this side.
        session: Option<String>,
        /// The other side.
        peer: CallSide,
        /// The room that was called.
        room: Option<String>,
    }
}

part! {
    /// A side of a call.
    CallSide {
        /// The user.
        user: Option<String>,
        /// The session, once there is one.
        session: Option<String>,
    }
}

part! {
    /// All that a session that could not be resumed has to know.
    Snapshot {
        /// Rooms it is in.
        rooms: Vec<RoomState>,
        /// Calls it takes part in.
        calls: Vec<SnapshotCall>,
        /// Users it watches.
        presence: Vec<PresenceState>,
    }
}
