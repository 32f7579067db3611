//! What to do about it, in sentences.

use super::{
    Circumstances,
    words::{bind, dropped, refused},
};
use crate::turn::{Cause, CloseReason, QuotaKind, Rule};

/// What to do about it.
pub(super) fn mend(cause: &Cause, user: &str, known: Circumstances<'_>) -> String {
    let text = match cause {
        Cause::Expired { .. } => {
            "Have the client fetch a new credential before the old one ends (`expires` in the answer of the API); \
             credentials.ttl_default makes them live longer. If the times are wrong, compare the clocks of this machine \
             and of whoever issues."
        }
        Cause::WrongPassword { is_static: true, .. } => {
            "Give the client the password that this server has (auth.users_file, or the shared user database)."
        }
        Cause::WrongPassword { is_static: false, .. } => {
            "Give whoever issues credentials one of the secrets known here, or fetch credentials from this server's API. \
             `iceway credentials verify` recognises usual mistakes in a password."
        }
        Cause::UnknownUser => {
            "Issue the credential through the API (its username looks like 1735689600:alice), or add the user to \
             auth.users_file; `auth.username_separator` must be the issuer's."
        }
        Cause::WrongRealm => {
            "The client must take the realm from the server's first answer, or be configured with this one (auth.realm)."
        }
        Cause::AlgorithmMismatch => {
            "Update the client; if it works from another network, something on the way changes messages."
        }
        Cause::Revoked { .. } | Cause::Ended { reason: CloseReason::Revoked, .. } => {
            "Nothing if it was meant. Else have the client fetch a new credential: what is issued after that is not hit."
        }
        Cause::StaleNonce => {
            "Update the client: it must repeat the request with NONCE and REALM of the 438 answer (RFC 8489 §9.2.5)."
        }
        Cause::ForeignNonce => {
            "The client's address or port changes from one request to the next (a NAT or load balancer that does not keep \
             flows together), or the client ignores the nonce of the 438 answer: look which."
        }
        Cause::OtherUser => {
            "The client must end its allocation, or take another port, before it goes on with another credential."
        }
        Cause::PeerDenied { rule, .. } => return peer_denied(*rule),
        Cause::Quota { kind, .. } => return quota(*kind, user),
        Cause::Draining => {
            "Nothing if other nodes serve: credentials issued now name those. Clients with older ones try the next server."
        }
        Cause::NoPort => {
            "Widen relay.port_min to relay.port_max, add an address to relay.addresses, or a node; \
             `iceway_relay_ports` shows how many are free."
        }
        Cause::Bind(error) => bind(*error).mend,
        Cause::Refused(code) => refused(*code, None).mend,
        Cause::Ended { reason: CloseReason::CredentialExpired, .. } => {
            "Have the client fetch a new credential in time and restart ICE, or issue credentials that do not end calls \
             (expiry `allocate`)."
        }
        Cause::Ended { .. } => "Nothing: it was meant.",
        Cause::NothingFromPeers { .. } => return nothing(known),
        Cause::NotPermitted { .. } => {
            "The client never heard of this address: see whether the peer's candidates reach it (signaling). Ordinary for \
             somebody who scans ports."
        }
        Cause::Dropped { reason, .. } => dropped(*reason).mend,
    };
    text.to_owned()
}

fn peer_denied(rule: Rule) -> String {
    match rule {
        Rule::Configured(network) => {
            format!("If clients should reach it, take {network} out of peers.deny or add the address to peers.allow.")
        }
        Rule::OwnAddress => {
            "If clients should reach services on this machine, add the address to peers.allow; mostly they should not."
                .to_owned()
        }
        Rule::Registry(_) => {
            "Ordinary if the peer has public candidates too: clients offer their private addresses as well. If clients \
             should reach this network, add it to peers.allow."
                .to_owned()
        }
    }
}

fn quota(kind: QuotaKind, user: &str) -> String {
    match kind {
        QuotaKind::User => format!(
            "`iceway sessions --user {user}` shows who holds them, `iceway sessions close` ends one. Raise the limit if \
             they are meant: each peer connection of a tab takes one or two."
        ),
        QuotaKind::Address => {
            "Raise limits.allocations_per_address if many users share the address (an office, a mobile network).".to_owned()
        }
        QuotaKind::Total | QuotaKind::Cluster => "Add a node, or raise the limit.".to_owned(),
    }
}

fn nothing(known: Circumstances<'_>) -> String {
    let relay = &known.config.relay;
    let external = if relay.external.is_empty() {
        "that relay.external is set if a NAT is in front of this machine"
    } else {
        "that relay.external is the address that peers see"
    };
    format!(
        "See that UDP from anywhere to ports {} to {} is open in the firewalls of this machine and its cloud, {external}, \
         and that the peer is up. Ordinary for the candidate pairs that lost.",
        relay.port_min, relay.port_max
    )
}
