//! What the core answers: verdicts on packets, and work for the driver.

use std::{net::SocketAddr, ops::Range};

use super::{AllocationId, FiveTuple, Identity, Transport, label::labels};

/// Names a relay socket. The driver keeps its sockets in a table by this index.
///
/// An id is used again after its [`Output::Close`] has been polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelayId(pub u32);

/// Names an outstanding look-up of a user's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LookUpId(pub u64);

/// What to do with a datagram (or a framed message of a stream) from a client.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientOutcome<'s> {
    /// Send `datagram[payload]` from `socket` to `peer`.
    Relay {
        /// The allocation's relay socket.
        socket: RelayId,
        /// Where to.
        peer: SocketAddr,
        /// Which part of the client's datagram.
        payload: Range<usize>,
        /// Set the DF bit (RFC 8656 §11.4).
        dont_fragment: bool,
    },
    /// Send these bytes back to the client.
    Reply(&'s [u8]),
    /// The answer comes later as [`Output::Send`].
    Pending,
    /// Nothing is sent; already counted.
    Drop(DropReason),
}

/// One or more datagrams of equal size that arrived together from one peer; the last may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagrams {
    /// The size of each but the last.
    pub segment_bytes: usize,
    /// All of them together.
    pub total_bytes: usize,
}

impl Datagrams {
    /// A single datagram of `bytes`.
    #[must_use]
    pub const fn one(bytes: usize) -> Self {
        Self { segment_bytes: bytes, total_bytes: bytes }
    }

    /// How many datagrams there are; at least one (an empty datagram is one).
    #[must_use]
    pub const fn count(self) -> usize {
        if self.segment_bytes == 0 { 1 } else { self.total_bytes.div_ceil(self.segment_bytes) }
    }
}

/// What to do with datagrams from a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerOutcome {
    /// Send `prefix`, the payload and its padding to `client`, for each of the first `count` datagrams.
    Relay {
        /// Where to.
        client: FiveTuple,
        /// What goes before each payload.
        prefix: Prefix,
        /// How many of the datagrams are within the bandwidth limit; the rest is counted as dropped.
        count: usize,
    },
    /// Nothing is sent; already counted.
    Drop(DropReason),
}

/// What goes before a peer's payload on its way to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// A ChannelData header with this channel number (see `stun::channel_data_header`).
    Channel(u16),
    /// A Data indication naming this peer (see `stun::data_indication_header`).
    Indication {
        /// XOR-PEER-ADDRESS.
        peer: SocketAddr,
        /// Of the first indication; add one for each that follows.
        transaction_id: [u8; 12],
    },
}

/// Why nothing was sent for something that came in. Every drop is counted under one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DropReason {
    /// Neither STUN nor ChannelData.
    NotStun,
    /// STUN by its first bits, but malformed.
    MalformedStun,
    /// A FINGERPRINT that does not match.
    BadFingerprint,
    /// ChannelData whose length field does not fit the datagram.
    MalformedChannelData,
    /// ChannelData, or a Send indication, without an allocation on this five-tuple.
    NoAllocation,
    /// ChannelData on a channel number that is not bound (or no longer).
    NoChannel,
    /// A Send indication to a peer, or a datagram from one, without a permission.
    NoPermission,
    /// A Send indication without XOR-PEER-ADDRESS or DATA, or with unknown required attributes.
    MalformedIndication,
    /// A STUN response, or an indication that clients do not send.
    UnexpectedMessage,
    /// The peer address has another family than the allocation.
    PeerFamily,
    /// One of our own addresses, but not at the port of a relay socket.
    OwnAddress,
    /// Above the bandwidth of the allocation.
    AllocationBandwidth,
    /// Above the bandwidth of the process.
    TotalBandwidth,
    /// Too many unauthenticated requests from this address.
    UnauthenticatedRate,
    /// Too many look-ups or binds outstanding.
    TooManyPending,
    /// A retransmission of a request whose answer is still being worked on.
    RetransmissionPending,
    /// From a peer to a relay socket that is just being closed.
    RelayClosed,
    /// An ICMP error for a peer without a permission, or of a type that is not passed on (RFC 8656 §11.5).
    IcmpIgnored,
    /// A payload that does not fit one message to the client.
    Oversized,
    /// A Binding indication: it kept a NAT binding alive, and nothing is sent for it.
    KeepAlive,
    /// A request that waited for a look-up in vain.
    LookUpUnanswered,
}

labels!(DropReason {
    NotStun => "not_stun",
    MalformedStun => "malformed_stun",
    BadFingerprint => "bad_fingerprint",
    MalformedChannelData => "malformed_channel_data",
    NoAllocation => "no_allocation",
    NoChannel => "no_channel",
    NoPermission => "no_permission",
    MalformedIndication => "malformed_indication",
    UnexpectedMessage => "unexpected_message",
    PeerFamily => "peer_family",
    OwnAddress => "own_address",
    AllocationBandwidth => "allocation_bandwidth",
    TotalBandwidth => "total_bandwidth",
    UnauthenticatedRate => "unauthenticated_rate",
    TooManyPending => "too_many_pending",
    RetransmissionPending => "retransmission_pending",
    RelayClosed => "relay_closed",
    IcmpIgnored => "icmp_ignored",
    Oversized => "oversized",
    KeepAlive => "keep_alive",
    LookUpUnanswered => "look_up_unanswered",
});

/// Why a relay socket could not be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BindError {
    /// The port is in use by somebody else: another is tried.
    PortInUse,
    /// Descriptors or memory are used up: 508.
    OutOfResources,
    /// The address is not one of this machine, or the system refuses: 508.
    Refused,
}

labels!(BindError {
    PortInUse => "port_in_use",
    OutOfResources => "out_of_resources",
    Refused => "refused",
});

/// An ICMP error that came back for a datagram sent from a relay socket (RFC 8656 §11.5, §18.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// ICMP (or ICMPv6) type.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// The rest the ICMP attribute carries (the MTU for "packet too big").
    pub data: u32,
}

/// Why an allocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CloseReason {
    /// Its lifetime ran out.
    Expired,
    /// Refresh with a lifetime of zero.
    Refreshed,
    /// The client's stream was closed.
    ClientClosed,
    /// Its credential expired (strict expiry).
    CredentialExpired,
    /// Its credential was revoked.
    Revoked,
    /// An operator ended it.
    Closed,
    /// The server is shutting down.
    Shutdown,
}

labels!(CloseReason {
    Expired => "expired",
    Refreshed => "refreshed",
    ClientClosed => "client_closed",
    CredentialExpired => "credential_expired",
    Revoked => "revoked",
    Closed => "closed",
    Shutdown => "shutdown",
});

/// Why a request was refused for its credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// Integrity, but no username, realm or nonce: 400.
    Incomplete,
    /// PASSWORD-ALGORITHM and PASSWORD-ALGORITHMS do not match what was offered (RFC 8489 §9.2.4): 400.
    AlgorithmMismatch,
    /// A nonce that is too old: 438. Clients meet this in ordinary use.
    StaleNonce,
    /// A nonce that this server did not issue to this address: 438.
    ForeignNonce,
    /// A realm other than ours: 401.
    WrongRealm,
    /// A username that is neither a static user, nor time-limited, nor found by a look-up: 401.
    UnknownUser,
    /// A time-limited username whose time is over: 401.
    Expired,
    /// A time-limited username that was revoked: 401.
    Revoked,
    /// Integrity that no secret or password explains: 401.
    WrongPassword,
    /// Another user than the one who made the allocation: 441.
    OtherUser,
}

labels!(Refusal {
    Incomplete => "incomplete",
    AlgorithmMismatch => "algorithm_mismatch",
    StaleNonce => "stale_nonce",
    ForeignNonce => "foreign_nonce",
    WrongRealm => "wrong_realm",
    UnknownUser => "unknown_user",
    Expired => "expired",
    Revoked => "revoked",
    WrongPassword => "wrong_password",
    OtherUser => "other_user",
});

/// What an allocation did in its life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllocationSummary {
    /// Payload bytes from the client to peers.
    pub to_peer_bytes: u64,
    /// Payload bytes from peers to the client.
    pub to_client_bytes: u64,
    /// Datagrams from the client to peers.
    pub to_peer_datagrams: u64,
    /// Datagrams from peers to the client.
    pub to_client_datagrams: u64,
    /// How long it lived.
    pub seconds: u64,
}

/// Something an operator or another layer may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An allocation was made.
    Created {
        /// Names it.
        id: AllocationId,
        /// Whose.
        five_tuple: FiveTuple,
        /// The username it was made with.
        username: Box<str>,
        /// Who that is.
        identity: Identity,
        /// What the client was told.
        relayed: Vec<SocketAddr>,
        /// In seconds.
        lifetime: u32,
    },
    /// An allocation's lifetime was renewed.
    Refreshed {
        /// Whose.
        five_tuple: FiveTuple,
        /// In seconds.
        lifetime: u32,
    },
    /// An allocation ended, and with it all its channels, of which nothing more is told.
    Closed {
        /// Names it.
        id: AllocationId,
        /// Whose.
        five_tuple: FiveTuple,
        /// The username it was made with.
        username: Box<str>,
        /// Who that is.
        identity: Identity,
        /// When it was made, in seconds since the Unix epoch.
        started_unix: u64,
        /// Why.
        reason: CloseReason,
        /// What it did.
        summary: AllocationSummary,
    },
    /// A channel was bound or its binding renewed: a faster tier may relay it until `expires`.
    ChannelBound {
        /// Whose.
        five_tuple: FiveTuple,
        /// From which relay socket.
        socket: RelayId,
        /// The channel number.
        number: u16,
        /// The peer.
        peer: SocketAddr,
        /// In seconds from now.
        lifetime: u32,
    },
    /// A channel binding ended.
    ChannelUnbound {
        /// Whose.
        five_tuple: FiveTuple,
        /// The channel number.
        number: u16,
    },
    /// A request was refused for its credentials.
    AuthenticationFailed {
        /// Whose.
        five_tuple: FiveTuple,
        /// The username as sent, if it was readable.
        username: Option<Box<str>>,
        /// Why.
        reason: Refusal,
        /// The client is where it says it is: it has a nonce that was sent there, or a connection. Else anybody may
        /// have sent this in the name of that address.
        is_reachable: bool,
    },
}

/// Work for the driver, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Bind a relay socket to this address, then call `relay_bound`.
    Bind {
        /// Where the socket goes in the driver's table.
        socket: RelayId,
        /// The local address.
        address: SocketAddr,
    },
    /// Close a relay socket.
    Close {
        /// Which.
        socket: RelayId,
    },
    /// Send a message to a client.
    Send {
        /// To whom.
        to: FiveTuple,
        /// The whole message.
        message: Box<[u8]>,
    },
    /// Find the key of a user, then call `key_found`.
    LookUp {
        /// Names the question.
        id: LookUpId,
        /// Whose.
        username: Box<str>,
    },
    /// Close a client's stream: its allocation ended by force.
    Disconnect {
        /// Whose.
        client: FiveTuple,
    },
    /// Tell whom it concerns.
    Event(Event),
}

impl FiveTuple {
    /// Whether this five-tuple is a byte stream.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        self.transport.is_stream()
    }

    /// A UDP five-tuple.
    #[must_use]
    pub const fn udp(listener: super::ListenerId, client: SocketAddr) -> Self {
        Self { transport: Transport::Udp, listener, client }
    }
}
