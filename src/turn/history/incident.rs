//! What goes wrong for a user.

use std::net::{IpAddr, SocketAddr};

use crate::{
    credentials::KeyId,
    turn::{BindError, CloseReason, Code, DropReason, FiveTuple, QuotaKind, Request, Rule},
};

/// Stale nonces further apart than this are no loop: each client meets one now and then.
const LOOP_GAP_SECONDS: u64 = 60;

/// Something that went wrong for a user, once or again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Why.
    pub cause: Cause,
    /// What was asked for; `None` where nothing was: an allocation ended, or datagrams were dropped.
    pub request: Option<Request>,
    /// Who it was the last time.
    pub from: FiveTuple,
    /// Whether the client proved the credential. Else anybody may have named this user.
    pub is_proved: bool,
    /// How often.
    pub count: u32,
    /// When for the first time, in seconds since the Unix epoch.
    pub first_unix: u64,
    /// When for the last time, in seconds since the Unix epoch.
    pub last_unix: u64,
}

/// Why something went wrong. Nothing in it is secret: no password, no key, no payload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The time in the username is over.
    Expired {
        /// The last second at which it was valid.
        since: u64,
        /// The secret it was made with, if the client proved it.
        key_id: Option<KeyId>,
    },
    /// The message is signed with no secret or password there is for this name.
    WrongPassword {
        /// The secret that the username claims to be made with.
        key_id: Option<Box<str>>,
        /// There is a static user of this name.
        is_static: bool,
    },
    /// Neither a static user nor a username with a time in it.
    UnknownUser,
    /// A realm other than ours.
    WrongRealm,
    /// PASSWORD-ALGORITHM and PASSWORD-ALGORITHMS do not match what was offered.
    AlgorithmMismatch,
    /// Revoked.
    Revoked {
        /// The [`Revocation`](crate::credentials::Revocation) that hits it; empty if it is no longer there.
        by: Box<str>,
        /// What was issued up to this second is hit.
        issued_before: u64,
    },
    /// A nonce that is too old.
    StaleNonce,
    /// A nonce that was not issued to this address.
    ForeignNonce,
    /// The allocation of this five-tuple is another user's.
    OtherUser,
    /// A peer that clients may not have.
    PeerDenied {
        /// The peer.
        ip: IpAddr,
        /// By which rule.
        rule: Rule,
    },
    /// A quota is used up.
    Quota {
        /// Which.
        kind: QuotaKind,
        /// How many allocations it allows.
        limit: u32,
    },
    /// The node takes no new allocations any more.
    Draining,
    /// No relay port is free.
    NoPort,
    /// The system refuses a relay socket.
    Bind(BindError),
    /// Another error response.
    Refused(Code),
    /// An allocation was ended by force.
    Ended {
        /// Why.
        reason: CloseReason,
        /// The revocation that did it.
        by: Option<Box<str>>,
    },
    /// An allocation ended, or lives, that sent datagrams to peers and got none.
    NothingFromPeers {
        /// How many it sent.
        sent: u64,
    },
    /// A peer sent, but the client has no permission for its address.
    NotPermitted {
        /// The last of them.
        peer: SocketAddr,
        /// How many datagrams.
        datagrams: u64,
    },
    /// Datagrams of the client, or for it, were dropped.
    Dropped {
        /// Why.
        reason: DropReason,
        /// How many.
        datagrams: u64,
    },
}

impl Cause {
    /// Every name that [`Cause::as_str`] gives.
    pub const NAMES: [&'static str; 19] = [
        "expired",
        "wrong_password",
        "unknown_user",
        "wrong_realm",
        "algorithm_mismatch",
        "revoked",
        "stale_nonce",
        "foreign_nonce",
        "other_user",
        "peer_denied",
        "quota",
        "draining",
        "no_port",
        "no_socket",
        "refused",
        "ended",
        "nothing_from_peers",
        "not_permitted",
        "dropped",
    ];

    /// Its name: lower case, words joined by `_`; the same in every version.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "expired",
            Self::WrongPassword { .. } => "wrong_password",
            Self::UnknownUser => "unknown_user",
            Self::WrongRealm => "wrong_realm",
            Self::AlgorithmMismatch => "algorithm_mismatch",
            Self::Revoked { .. } => "revoked",
            Self::StaleNonce => "stale_nonce",
            Self::ForeignNonce => "foreign_nonce",
            Self::OtherUser => "other_user",
            Self::PeerDenied { .. } => "peer_denied",
            Self::Quota { .. } => "quota",
            Self::Draining => "draining",
            Self::NoPort => "no_port",
            Self::Bind(_) => "no_socket",
            Self::Refused(_) => "refused",
            Self::Ended { .. } => "ended",
            Self::NothingFromPeers { .. } => "nothing_from_peers",
            Self::NotPermitted { .. } => "not_permitted",
            Self::Dropped { .. } => "dropped",
        }
    }

    /// Whether it is about a nonce. Such a message may be one that somebody else has seen and sends again from
    /// wherever they like.
    pub(super) const fn is_nonce(&self) -> bool {
        matches!(self, Self::StaleNonce | Self::ForeignNonce)
    }

    /// Whether another one of these is the same thing again.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::PeerDenied { rule, .. }, Self::PeerDenied { rule: other, .. }) => rule == other,
            (Self::Quota { kind, .. }, Self::Quota { kind: other, .. }) => kind == other,
            (Self::Bind(error), Self::Bind(other)) => error == other,
            (Self::Refused(code), Self::Refused(other)) => code == other,
            (Self::Ended { reason, .. }, Self::Ended { reason: other, .. }) => reason == other,
            (Self::NotPermitted { peer, .. }, Self::NotPermitted { peer: other, .. }) => {
                peer.ip() == other.ip()
            }
            (Self::Dropped { reason, .. }, Self::Dropped { reason: other, .. }) => reason == other,
            (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
        }
    }

    /// What it takes beside its own size.
    fn heap_bytes(&self) -> usize {
        match self {
            // The id is shared with the directory, as long as that has it.
            Self::Expired { key_id, .. } => key_id.as_ref().map_or(0, |id| id.as_str().len()),
            Self::WrongPassword { key_id: text, .. } | Self::Ended { by: text, .. } => {
                text.as_deref().map_or(0, str::len)
            }
            Self::Revoked { by, .. } => by.len(),
            Self::UnknownUser
            | Self::WrongRealm
            | Self::AlgorithmMismatch
            | Self::StaleNonce
            | Self::ForeignNonce
            | Self::OtherUser
            | Self::PeerDenied { .. }
            | Self::Quota { .. }
            | Self::Draining
            | Self::NoPort
            | Self::Bind(_)
            | Self::Refused(_)
            | Self::NothingFromPeers { .. }
            | Self::NotPermitted { .. }
            | Self::Dropped { .. } => 0,
        }
    }
}

impl Incident {
    /// Something that happened now, for the first time.
    #[must_use]
    pub const fn new(
        now_unix: u64,
        from: FiveTuple,
        request: Option<Request>,
        is_proved: bool,
        cause: Cause,
    ) -> Self {
        Self { cause, request, from, is_proved, count: 1, first_unix: now_unix, last_unix: now_unix }
    }

    /// Whether `later` is the same thing again.
    pub(super) fn is_like(&self, later: &Self) -> bool {
        self.request == later.request
            && self.cause.is_like(&later.cause)
            && (self.cause.is_nonce() || self.from.client.ip() == later.from.client.ip())
    }

    /// This and all that went before it.
    pub(super) fn after(mut self, before: &Self) -> Self {
        let gap = self.first_unix.saturating_sub(before.last_unix);
        if !self.cause.is_nonce() || gap <= LOOP_GAP_SECONDS {
            self.count = before.count.saturating_add(self.count);
            self.first_unix = before.first_unix;
        }
        self
    }

    /// What it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.cause.heap_bytes()
    }
}
