//! What reasons and codes mean, for the reference.

use crate::{
    signaling::{CloseCode, ErrorCode},
    turn::{Code, DropReason, Refusal},
};

/// What was dropped, in one sentence.
pub(super) const fn of_drop(reason: DropReason) -> &'static str {
    match reason {
        DropReason::NotStun => "Neither STUN nor ChannelData: scans, or a client that speaks something else.",
        DropReason::MalformedStun => "STUN by its first bits, but malformed.",
        DropReason::BadFingerprint => "A FINGERPRINT that does not match: damaged on the way, or not STUN.",
        DropReason::MalformedChannelData => "ChannelData whose length does not fit.",
        DropReason::NoAllocation => {
            "Data from a client without an allocation: it expired, or the client's NAT gave it another port."
        }
        DropReason::NoChannel => "Data on a channel that is not bound, or no longer.",
        DropReason::NoPermission => {
            "To or from a peer the client has no permission for; usual while a call is set up."
        }
        DropReason::MalformedIndication => {
            "A Send indication without peer or data, or with unknown attributes."
        }
        DropReason::UnexpectedMessage => "A response, or an indication that clients do not send.",
        DropReason::PeerFamily => "A peer of another address family than the allocation.",
        DropReason::OwnAddress => "A peer that is this server, but at a port that is no relay socket.",
        DropReason::AllocationBandwidth => "Above bandwidth.per_allocation.",
        DropReason::TotalBandwidth => "Above bandwidth.total.",
        DropReason::UnauthenticatedRate => "Above limits.unauthenticated_answers_per_second.",
        DropReason::TooManyPending => "Too many requests wait for a look-up or a relay socket.",
        DropReason::RetransmissionPending => "A request that is still being worked on was sent again.",
        DropReason::RelayClosed => "From a peer to a relay socket that was just being closed.",
        DropReason::IcmpIgnored => {
            "An ICMP error for a peer without permission, or of a kind clients are not told of."
        }
        DropReason::KeepAlive => {
            "A Binding indication, which keeps a NAT's mapping alive and wants no answer."
        }
        DropReason::LookUpUnanswered => "A request whose user was looked up without an answer in time.",
        DropReason::Oversized => "A payload that does not fit one message to the client.",
    }
}

/// Why credentials were refused, in one sentence.
pub(super) const fn of_refusal(reason: Refusal) -> &'static str {
    match reason {
        Refusal::Incomplete => "A signed request without username, realm or nonce.",
        Refusal::AlgorithmMismatch => "Password algorithms other than those offered: somebody meddled.",
        Refusal::StaleNonce => "An old nonce; the client gets a new one and goes on. Part of ordinary use.",
        Refusal::ForeignNonce => {
            "A nonce of another server or client address: a restart, or a NAT that changed the port."
        }
        Refusal::WrongRealm => "A realm other than auth.realm.",
        Refusal::UnknownUser => "Neither a static user nor a username with an expiry time.",
        Refusal::Expired => "A time-limited username whose time is over.",
        Refusal::Revoked => "A time-limited username that was revoked before its time was over.",
        Refusal::WrongPassword => {
            "Signed with a password that no secret and no user explains: another secret, mostly."
        }
        Refusal::OtherUser => "Another user than the one who made the allocation.",
    }
}

/// When a code is answered, in one sentence.
pub(super) const fn of_code(code: Code) -> &'static str {
    match code {
        Code::Success => "Done.",
        Code::TryAlternate => "The node drains: the client asks the one that ALTERNATE-SERVER names.",
        Code::BadRequest => "The request is malformed or contradicts itself.",
        Code::Unauthenticated => {
            "No credentials, or wrong ones; the first request of every client is answered so."
        }
        Code::Forbidden => "The peer address is denied (peers.allow, peers.deny and the built-in list).",
        Code::UnknownAttribute => "An attribute that must be understood is not.",
        Code::AllocationMismatch => "There is no allocation, or there is one already.",
        Code::StaleNonce => "The nonce is too old; a new one comes with the answer.",
        Code::AddressFamilyNotSupported => {
            "There is no relay address of the family asked for (relay.addresses)."
        }
        Code::WrongCredentials => "The allocation belongs to another user.",
        Code::UnsupportedTransport => "A relay transport other than UDP was asked for.",
        Code::PeerAddressFamilyMismatch => "The peer is of another address family than the allocation.",
        Code::AllocationQuotaReached => {
            "limits.allocations_per_user (or that of the quota class) or limits.allocations_per_address is reached."
        }
        Code::ServerError => "The server failed; its log says why.",
        Code::InsufficientCapacity => {
            "No free relay port, limits.allocations_total or limits.allocations_cluster reached, out of descriptors, or draining while no other node can be named (runtime.drain_redirect)."
        }
    }
}

/// Why a socket of the signaling relay is closed, and what its client does, in one sentence.
pub(super) const fn of_close(code: CloseCode) -> &'static str {
    match code {
        CloseCode::Normal => "The client said bye.",
        CloseCode::GoingAway => "The process ends without draining; connect again.",
        CloseCode::Internal => "The server failed, or could not judge the token; resume.",
        CloseCode::Draining => "The node ends; resume, another one takes over.",
        CloseCode::NoPong => "Nothing was heard within signal.heartbeat_timeout; resume.",
        CloseCode::Slow => "More waited to be read than is kept; resume.",
        CloseCode::WriteError => "The socket could not be written; resume.",
        CloseCode::Moved => "The session was resumed on another socket or node.",
        CloseCode::SessionExpired => "The session is over; begin a new one.",
        CloseCode::EpochReset => "What was missed cannot be replayed; begin a new session.",
        CloseCode::TokenExpired => {
            "The token ran out and none followed; begin a new session with a fresh one."
        }
        CloseCode::StateInvalidated => {
            "The session or its token was revoked; begin a new one with a fresh token."
        }
        CloseCode::BadProtocol => "What came is no frame of the protocol; stop.",
        CloseCode::Unauthorized => "The token is not taken; stop, unless there is a newer one.",
        CloseCode::UnsupportedData => "A binary frame; stop.",
        CloseCode::Forbidden => "The user may not connect, or was revoked; stop.",
        CloseCode::HelloTimeout => "No hello within signal.hello_timeout; stop.",
        CloseCode::Replaced => "The same device of the user has a newer session; stop.",
        CloseCode::TooLarge => "A frame above signal.frame_bytes_max or signal.hello_bytes_max; stop.",
        CloseCode::Abusive => "Limits were broken again and again; stop.",
        CloseCode::ConnectionLimit => "Too many sockets or sessions; stop.",
    }
}

/// When a request on the signaling relay is refused like this, in one sentence.
pub(super) const fn of_error(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::BadRequest => "A field is missing or wrong; the message says which.",
        ErrorCode::UnknownType => "No frame of this type is known here.",
        ErrorCode::TooLarge => "The frame is above a limit.",
        ErrorCode::HelloExpected => "The first frame must be hello.",
        ErrorCode::Unauthorized => "The token is not taken.",
        ErrorCode::TokenExpired => "The token has run out; get a new one.",
        ErrorCode::TokenNotYetValid => "The token begins later: clocks differ by details.skew seconds.",
        ErrorCode::Forbidden => "Neither the token nor the backend allows it.",
        ErrorCode::NotFound => "There is no such room, session or user.",
        ErrorCode::PeerOffline => "The other side has no session.",
        ErrorCode::NoSuchCall => "There is no such call, or it is another's.",
        ErrorCode::CallEnded => "The call is over.",
        ErrorCode::AnsweredElsewhere => "Another device was first.",
        ErrorCode::Busy => "The callee is in too many calls.",
        ErrorCode::Glare => "An offer the other way won; details.call names it.",
        ErrorCode::Duplicate => "The name is in use.",
        ErrorCode::RateLimited => "Too often; retryAfter says when again.",
        ErrorCode::LimitExceeded => "Too many at once.",
        ErrorCode::Unavailable => "Another node, the store or the issuer cannot be reached; try again.",
        ErrorCode::UpstreamTimeout => "The backend did not answer in time, so it is not allowed; try again.",
        ErrorCode::Internal => "The server failed; its log says why.",
    }
}
