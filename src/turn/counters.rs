//! What the core counts: plain integers, read by whoever owns the [`Server`](super::Server).

use super::{
    BindError, CloseReason, DropReason, Refusal, RuleClass, Transport,
    label::{Tally, labels},
};

/// Datagrams and the payload bytes in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many datagrams.
    pub datagrams: u64,
    /// Their payload, without STUN or ChannelData headers.
    pub bytes: u64,
}

impl Traffic {
    pub(crate) fn add(&mut self, datagrams: u64, bytes: u64) {
        self.datagrams += datagrams;
        self.bytes += bytes;
    }
}

/// A request this server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Request {
    /// RFC 8489 §3.
    Binding,
    /// RFC 8656 §7.
    Allocate,
    /// RFC 8656 §8.
    Refresh,
    /// RFC 8656 §10.
    CreatePermission,
    /// RFC 8656 §12.
    ChannelBind,
}

labels!(Request {
    Binding => "binding",
    Allocate => "allocate",
    Refresh => "refresh",
    CreatePermission => "create_permission",
    ChannelBind => "channel_bind",
});

/// How a request was answered: success, or an error code of RFC 8489 §14.8 or RFC 8656 §19.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// A success response.
    Success,
    /// 300: another server is to be asked.
    TryAlternate,
    /// 400.
    BadRequest,
    /// 401.
    Unauthenticated,
    /// 403: the peer address is denied, or the request is refused for policy.
    Forbidden,
    /// 420.
    UnknownAttribute,
    /// 437.
    AllocationMismatch,
    /// 438.
    StaleNonce,
    /// 440.
    AddressFamilyNotSupported,
    /// 441.
    WrongCredentials,
    /// 442.
    UnsupportedTransport,
    /// 443.
    PeerAddressFamilyMismatch,
    /// 486.
    AllocationQuotaReached,
    /// 500.
    ServerError,
    /// 508.
    InsufficientCapacity,
}

labels!(Code {
    Success => "success",
    TryAlternate => "300",
    BadRequest => "400",
    Unauthenticated => "401",
    Forbidden => "403",
    UnknownAttribute => "420",
    AllocationMismatch => "437",
    StaleNonce => "438",
    AddressFamilyNotSupported => "440",
    WrongCredentials => "441",
    UnsupportedTransport => "442",
    PeerAddressFamilyMismatch => "443",
    AllocationQuotaReached => "486",
    ServerError => "500",
    InsufficientCapacity => "508",
});

impl Code {
    /// The number on the wire; 0 for success.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Success => 0,
            Self::TryAlternate => 300,
            Self::BadRequest => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::UnknownAttribute => 420,
            Self::AllocationMismatch => 437,
            Self::StaleNonce => 438,
            Self::AddressFamilyNotSupported => 440,
            Self::WrongCredentials => 441,
            Self::UnsupportedTransport => 442,
            Self::PeerAddressFamilyMismatch => 443,
            Self::AllocationQuotaReached => 486,
            Self::ServerError => 500,
            Self::InsufficientCapacity => 508,
        }
    }
}

/// Which quota refused an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum QuotaKind {
    /// [`Limits::allocations_per_user`](super::Limits).
    User,
    /// [`Limits::allocations_per_address`](super::Limits).
    Address,
    /// [`Limits::allocations_total`](super::Limits).
    Total,
    /// [`Limits::allocations_cluster`](super::Limits).
    Cluster,
}

labels!(QuotaKind {
    User => "user",
    Address => "address",
    Total => "total",
    Cluster => "cluster",
});

/// Counters of one [`Server`](super::Server).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Relayed from clients to peers.
    pub to_peers: Traffic,
    /// Relayed from peers to clients.
    pub to_clients: Traffic,
    /// Datagrams dropped, by reason.
    pub drops: Tally<DropReason, { DropReason::ALL.len() }>,
    /// Requests answered, by method and code.
    pub responses: Responses,
    /// Live allocations by the client's transport (a gauge).
    pub allocations: Tally<Transport, 3>,
    /// Allocations made, by the client's transport.
    pub created: Tally<Transport, 3>,
    /// Allocations ended, by reason.
    pub closed: Tally<CloseReason, { CloseReason::ALL.len() }>,
    /// Requests refused for their credentials, by reason.
    pub refusals: Tally<Refusal, { Refusal::ALL.len() }>,
    /// Permissions held (a gauge; an expired one counts until its allocation is next changed).
    pub permissions: u64,
    /// Channel bindings held (a gauge; an expired one counts until its allocation is next changed).
    pub channels: u64,
    /// Peers refused, by the rule that denies them.
    pub peers_denied: Tally<RuleClass, { RuleClass::ALL.len() }>,
    /// Allocations refused for a quota.
    pub quota_refusals: Tally<QuotaKind, { QuotaKind::ALL.len() }>,
    /// Relay sockets that could not be bound.
    pub binds_failed: Tally<BindError, { BindError::ALL.len() }>,
}

impl Counters {
    /// Adds the counters of another server, to show the sum of all shards.
    pub fn merge(&mut self, other: &Self) {
        self.to_peers.add(other.to_peers.datagrams, other.to_peers.bytes);
        self.to_clients.add(other.to_clients.datagrams, other.to_clients.bytes);
        self.drops.merge(&other.drops);
        self.responses.merge(&other.responses);
        self.allocations.merge(&other.allocations);
        self.created.merge(&other.created);
        self.closed.merge(&other.closed);
        self.refusals.merge(&other.refusals);
        self.permissions += other.permissions;
        self.channels += other.channels;
        self.peers_denied.merge(&other.peers_denied);
        self.quota_refusals.merge(&other.quota_refusals);
        self.binds_failed.merge(&other.binds_failed);
    }
}

/// Requests answered, by method and code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Responses([Tally<Code, { Code::ALL.len() }>; Request::ALL.len()]);

impl Responses {
    /// How often `request` was answered with `code`.
    #[must_use]
    pub fn get(&self, request: Request, code: Code) -> u64 {
        self.0.get(request as usize).map_or(0, |codes| codes.get(code))
    }

    /// Every method and code with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Request, Code, u64)> + '_ {
        Request::ALL
            .into_iter()
            .zip(&self.0)
            .flat_map(|(request, codes)| codes.iter().map(move |(code, count)| (request, code, count)))
    }

    fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            mine.merge(theirs);
        }
    }

    pub(crate) fn add(&mut self, request: Request, code: Code) {
        if let Some(codes) = self.0.get_mut(request as usize) {
            codes.add(code, 1);
        }
    }
}
