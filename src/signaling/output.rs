//! What the driver is to do.

use bytes::Bytes;

use super::{ConnectionId, Event, NodeName, SessionId, UserId};

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// [`Server::poll_connection`](super::Server::poll_connection) has something for this socket.
    Wake(ConnectionId),
    /// Hand these bytes to [`Server::handle_link`](super::Server::handle_link) of this run of that node. They may get
    /// lost: the core sends them again.
    ToNode {
        /// Which node.
        node: NodeName,
        /// Which run of it.
        run: u64,
        /// What.
        bytes: Bytes,
    },
    /// Keep this, and then say so with [`Server::handle_recorded`](super::Server::handle_recorded).
    Event(Event),
    /// Make fresh ICE servers for this session and hand them to
    /// [`Server::handle_ice_servers`](super::Server::handle_ice_servers).
    IceServers {
        /// Which.
        session: SessionId,
        /// Whose.
        user: UserId,
        /// What for.
        reason: PushReason,
    },
}

/// Why ICE servers are pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushReason {
    /// The old ones end soon.
    Refresh,
    /// Their node drains.
    Drain,
    /// The old ones were revoked.
    Revoked,
}

impl PushReason {
    /// As it stands in the frame.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Drain => "drain",
            Self::Revoked => "revoked",
        }
    }
}
