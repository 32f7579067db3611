//! What codes and reasons of the relay mean, and what to do about each.

use crate::turn::{BindError, Code, DropReason, Request};

/// Of a code or a reason.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    /// What it means: the end of a sentence.
    pub(super) what: &'static str,
    /// What to do about it: sentences.
    pub(super) mend: &'static str,
}

/// Why the system gave no relay socket.
pub(super) const fn bind(error: BindError) -> Words {
    match error {
        BindError::PortInUse => Words {
            what: "other programs use the ports of the relay range",
            mend: "Keep other programs off relay.port_min to relay.port_max (net.ipv4.ip_local_reserved_ports).",
        },
        BindError::OutOfResources => Words {
            what: "descriptors or memory are used up",
            mend: "Raise the descriptor limit of the service (LimitNOFILE), or add memory.",
        },
        BindError::Refused => Words {
            what: "a relay address is not one of this machine, or the system refuses it",
            mend: "relay.addresses must name addresses of this machine; has one gone?",
        },
    }
}

/// Why a request was refused with this code, where that says it all.
pub(super) const fn refused(code: Code, request: Option<Request>) -> Words {
    match code {
        Code::BadRequest => Words {
            what: match request {
                Some(Request::ChannelBind) => {
                    "the channel number is not from 0x4000 to 0x4FFF, or number or peer are bound otherwise"
                }
                Some(Request::Binding | Request::Allocate | Request::Refresh | Request::CreatePermission)
                | None => "an attribute is missing, malformed or contradicts another",
            },
            mend: "Update the client. Old ones bind channels above 0x4FFF: protocol.legacy_channel_numbers = true \
                   allows it.",
        },
        Code::UnknownAttribute => Words {
            what: "it has an attribute that must be understood and is not",
            mend: "Update the client, or switch off what it asks for.",
        },
        Code::AllocationMismatch => Words {
            what: match request {
                Some(Request::Allocate) => "the client has an allocation from this address and port already",
                Some(
                    Request::Binding | Request::Refresh | Request::CreatePermission | Request::ChannelBind,
                )
                | None => "the client has no allocation here from this address and port, or no longer",
            },
            mend: "Ordinary after a restart of the server, a change of the client's network, or a lifetime that ran \
                   out: the client must allocate anew. Else two programs share one address and port.",
        },
        Code::AddressFamilyNotSupported => {
            Words { what: "there is no relay address of the family that was asked for", mend: ONE_FAMILY }
        }
        Code::PeerAddressFamilyMismatch => {
            Words { what: "the allocation has no address of the peer's family", mend: ONE_FAMILY }
        }
        Code::UnsupportedTransport => Words {
            what: "only UDP is relayed to peers",
            mend: "Have the client ask for UDP relaying; TCP relaying (RFC 6062) is not offered.",
        },
        Code::InsufficientCapacity => Words {
            what: "the most permissions, channels or allocations there can be",
            mend: "Raise limits.permissions_per_allocation or limits.channels_per_allocation if so many peers are \
                   meant.",
        },
        Code::Success
        | Code::TryAlternate
        | Code::Unauthenticated
        | Code::Forbidden
        | Code::StaleNonce
        | Code::WrongCredentials
        | Code::AllocationQuotaReached
        | Code::ServerError => Words { what: "no more is known", mend: "Look into the log." },
    }
}

/// Where one side has IPv6 and the other has not.
const ONE_FAMILY: &str =
    "Ordinary where only one side has IPv6. Else add an address of that family to relay.addresses.";

/// Why datagrams were dropped.
pub(super) const fn dropped(reason: DropReason) -> Words {
    let (what, mend) = match reason {
        DropReason::NoPermission => {
            ("the client sent to a peer without a permission for it, or it had run out", RENEW)
        }
        DropReason::NoChannel => ("the client sent on a channel that is not bound, or no longer", RENEW),
        DropReason::PeerFamily => ("the peer has another address family than the allocation", ASK_MAKER),
        DropReason::OwnAddress => {
            ("they were for an address of this relay, but not for the port of an allocation", ASK_MAKER)
        }
        DropReason::AllocationBandwidth => (
            "above the bandwidth of one allocation (bandwidth.per_allocation, or that of the quota class)",
            RAISE,
        ),
        DropReason::TotalBandwidth => ("above the bandwidth of this node (bandwidth.total)", RAISE),
        DropReason::Oversized => ("too large for one message to the client", ASK_MAKER),
        DropReason::NotStun
        | DropReason::MalformedStun
        | DropReason::BadFingerprint
        | DropReason::MalformedChannelData
        | DropReason::NoAllocation
        | DropReason::MalformedIndication
        | DropReason::UnexpectedMessage
        | DropReason::UnauthenticatedRate
        | DropReason::TooManyPending
        | DropReason::RetransmissionPending
        | DropReason::RelayClosed
        | DropReason::IcmpIgnored
        | DropReason::KeepAlive
        | DropReason::LookUpUnanswered => (reason.as_str(), ASK_MAKER),
    };
    Words { what, mend }
}

const RENEW: &str = "The client must renew permissions every 5 minutes and channels every 10 (RFC 8656 §9, §12): see \
                     whether its requests are refused, and update it.";
const RAISE: &str = "Raise the limit if so much is meant, or have the client send less.";
const ASK_MAKER: &str = "Have the client's maker look into it.";
