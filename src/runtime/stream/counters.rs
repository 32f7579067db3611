//! What is counted about TCP and TLS connections, each under one named reason.

use crate::turn::{Tally, label::labels};

/// Counters of one shard's TCP and TLS connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamCounters {
    /// Connections accepted, those that were then refused included.
    pub accepted: u64,
    /// Connections closed right after they were accepted, by [`StreamRefusal`].
    pub refused: Tally<StreamRefusal, { StreamRefusal::ALL.len() }>,
    /// Failed attempts to accept a connection, by [`AcceptFailure`].
    pub accept_failures: Tally<AcceptFailure, { AcceptFailure::ALL.len() }>,
    /// Connections now, by [`StreamState`].
    pub open: Tally<StreamState, { StreamState::ALL.len() }>,
    /// Connections that ended, by [`StreamClose`].
    pub closed: Tally<StreamClose, { StreamClose::ALL.len() }>,
    /// TLS handshakes completed.
    pub handshakes: u64,
    /// Messages received whole.
    pub messages: u64,
    /// Relayed datagrams dropped because a client read too slowly.
    pub queue_full_datagrams: u64,
    /// Bytes of those, with their headers.
    pub queue_full_bytes: u64,
    /// Answers to requests dropped because a client did not read them.
    pub answers_dropped: u64,
    /// Times reading from a client was paused until it read its answers.
    pub pauses: u64,
}

impl StreamCounters {
    /// Adds the counts of another shard.
    pub fn merge(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.refused.merge(&other.refused);
        self.accept_failures.merge(&other.accept_failures);
        self.open.merge(&other.open);
        self.closed.merge(&other.closed);
        self.handshakes += other.handshakes;
        self.messages += other.messages;
        self.queue_full_datagrams += other.queue_full_datagrams;
        self.queue_full_bytes += other.queue_full_bytes;
        self.answers_dropped += other.answers_dropped;
        self.pauses += other.pauses;
    }
}

/// Why an accepted connection was closed before anything was read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StreamRefusal {
    /// The process has as many connections as `streams.connections_total` allows.
    Total,
    /// The client's address (IPv6: its /64) has as many as `streams.connections_per_address` allows.
    Address,
    /// The connection was gone before it could be set up.
    Gone,
    /// The descriptors that are left are for what a full server must still do.
    Descriptors,
}

labels!(StreamRefusal {
    Total => "total",
    Address => "address",
    Gone => "gone",
    Descriptors => "descriptors",
});

/// Why no connection could be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AcceptFailure {
    /// Descriptors of the process or the system are used up.
    Descriptors,
    /// The kernel has no memory for it.
    Memory,
    /// The client was gone before it was accepted.
    Aborted,
    /// Something else.
    Other,
}

labels!(AcceptFailure {
    Descriptors => "descriptors",
    Memory => "memory",
    Aborted => "aborted",
    Other => "other",
});

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StreamState {
    /// Nothing was received yet, or the TLS handshake is under way.
    Starting,
    /// Plain TCP.
    Tcp,
    /// TLS, handshake complete.
    Tls,
    /// Nothing is read any more; what is queued is being written.
    Closing,
}

labels!(StreamState {
    Starting => "starting",
    Tcp => "tcp",
    Tls => "tls",
    Closing => "closing",
});

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StreamClose {
    /// The client closed it in order.
    Client,
    /// It broke: reset, unreachable, or no answer to keepalive.
    Broken,
    /// The first byte was neither STUN, ChannelData nor TLS.
    NotStun,
    /// TLS was asked for, but there is no certificate.
    TlsUnavailable,
    /// The TLS handshake failed.
    HandshakeFailed,
    /// A TLS record after the handshake was invalid.
    TlsInvalid,
    /// Nothing received, or the TLS handshake incomplete, after `streams.handshake_timeout`.
    HandshakeTimeout,
    /// No allocation after `streams.unauthenticated_timeout`.
    UnauthenticatedTimeout,
    /// A message begun but incomplete after `streams.frame_timeout`.
    FrameTimeout,
    /// A message whose first bytes make no sense in a stream.
    InvalidFrame,
    /// A message larger than a client without an allocation may send.
    FrameTooLarge,
    /// The core asked for it: its allocation was ended by force.
    Disconnected,
    /// The same client address and port connected again.
    Superseded,
    /// The node is shutting down.
    Shutdown,
}

labels!(StreamClose {
    Client => "client",
    Broken => "broken",
    NotStun => "not_stun",
    TlsUnavailable => "tls_unavailable",
    HandshakeFailed => "handshake_failed",
    TlsInvalid => "tls_invalid",
    HandshakeTimeout => "handshake_timeout",
    UnauthenticatedTimeout => "unauthenticated_timeout",
    FrameTimeout => "frame_timeout",
    InvalidFrame => "invalid_frame",
    FrameTooLarge => "frame_too_large",
    Disconnected => "disconnected",
    Superseded => "superseded",
    Shutdown => "shutdown",
});
