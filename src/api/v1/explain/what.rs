//! What happened, in sentences.

use super::{
    Circumstances,
    words::{bind, dropped, refused},
};
use crate::{
    api::utc::{span, utc},
    credentials::{Directory, KeyId, Revocation},
    turn::{Cause, CloseReason, Incident, QuotaKind, Request},
};

/// What happened and why.
pub(super) fn happened(incident: &Incident, known: Circumstances<'_>) -> String {
    let asked = asked(incident.request);
    let relay = &known.config.relay;
    match &incident.cause {
        Cause::Expired { since, key_id } => expired(asked, *since, key_id.as_ref(), incident.last_unix),
        Cause::WrongPassword { key_id, is_static } => {
            wrong_password(asked, key_id.as_deref(), *is_static, known.directory)
        }
        Cause::UnknownUser => format!(
            "{asked} was refused (401): this is neither a user with a password of their own here, nor a username with \
             an expiry time."
        ),
        Cause::WrongRealm => {
            format!("{asked} was refused (401): it named another realm than {:?}.", known.directory.realm())
        }
        Cause::AlgorithmMismatch => format!(
            "{asked} was refused (400): the password algorithms in it are not those that were offered (RFC 8489 §9.2)."
        ),
        Cause::Revoked { by, issued_before } => {
            format!("{asked} was refused (401): {}", revoked(by, *issued_before, known))
        }
        Cause::StaleNonce | Cause::ForeignNonce => nonces(incident),
        Cause::OtherUser => format!(
            "{asked} was refused (441): the allocation of this address and port was made by another username."
        ),
        Cause::PeerDenied { ip, rule } => {
            format!("{asked} was refused (403): the peer {ip} is denied by the rule {rule}.")
        }
        Cause::Quota { kind, limit } => quota(asked, *kind, *limit),
        Cause::Draining => {
            format!("{asked} was refused: this node is draining and takes no new allocations.")
        }
        Cause::NoPort => format!(
            "{asked} was refused (508): no relay port from {} to {} was free.",
            relay.port_min, relay.port_max
        ),
        Cause::Bind(error) => {
            format!("{asked} was refused (508): the system gave no relay socket: {}.", bind(*error).what)
        }
        Cause::Refused(code) => {
            format!("{asked} was refused ({}): {}.", code.number(), refused(*code, incident.request).what)
        }
        Cause::Ended { reason, by } => ended(*reason, by.as_deref(), known),
        Cause::NothingFromPeers { sent } => format!(
            "The client sent {sent} datagrams through its allocation, and no packet ever came from a peer."
        ),
        Cause::NotPermitted { peer, datagrams } => format!(
            "{datagrams} datagrams from peers were dropped, the last from {peer}: the client gave no permission for that \
             address, or let it run out."
        ),
        Cause::Dropped { reason, datagrams } => {
            format!("{datagrams} datagrams were dropped: {}.", dropped(*reason).what)
        }
    }
}

fn asked(request: Option<Request>) -> &'static str {
    match request {
        Some(Request::Binding) => "Binding",
        Some(Request::Allocate) | None => "Allocate",
        Some(Request::Refresh) => "Refresh",
        Some(Request::CreatePermission) => "CreatePermission",
        Some(Request::ChannelBind) => "ChannelBind",
    }
}

fn expired(asked: &str, since: u64, key_id: Option<&KeyId>, now: u64) -> String {
    let before = span(now.saturating_sub(since));
    let made = match key_id {
        Some(id) => format!("It was made with secret {id}."),
        None => "The client did not prove it: the password is that of no secret known here.".to_owned(),
    };
    format!(
        "{asked} was refused (401): the credential is expired since {} ({before} before). {made}",
        utc(since)
    )
}

fn wrong_password(asked: &str, claimed: Option<&str>, is_static: bool, directory: &Directory) -> String {
    let ids: Vec<&str> = directory.secrets().iter().map(|secret| secret.id().as_str()).collect();
    let start = format!("{asked} was refused (401): wrong password,");
    if is_static {
        return format!("{start} not the one of this user with a password of their own.");
    }
    let there = if ids.is_empty() {
        "there is none now".to_owned()
    } else {
        format!("now there are {}", ids.join(", "))
    };
    match claimed {
        Some(id) if ids.contains(&id) => {
            format!("{start} not made with secret {id}, which the username names and which is known here.")
        }
        Some(id) => format!(
            "{start} not made with any secret known here: the username names secret {id}, which is not one of them \
             ({there})."
        ),
        None => format!("{start} not made with any secret known here ({there})."),
    }
}

fn revoked(by: &str, issued_before: u64, known: Circumstances<'_>) -> String {
    let until = utc(issued_before);
    match known.revocations.iter().find(|row| *row.id == *by) {
        Some(row) => format!("revocation {by} of {} ends what was issued up to {until}.", criteria(row)),
        None if by.is_empty() => "a revocation that is over by now had hit it.".to_owned(),
        None => format!("revocation {by} ends what was issued up to {until}."),
    }
}

/// What a revocation hits.
fn criteria(row: &Revocation) -> String {
    let parts = [
        row.username.as_ref().map(|name| format!("username {name:?}")),
        row.user.as_ref().map(|name| format!("user {name:?}")),
        row.label.as_ref().map(|label| format!("label {label:?}")),
        row.key_id.as_ref().map(|id| format!("secret {id}")),
    ];
    let all: Vec<String> = parts.into_iter().flatten().collect();
    if all.is_empty() { "everybody".to_owned() } else { all.join(" and ") }
}

fn nonces(incident: &Incident) -> String {
    let Incident { count, first_unix, last_unix, .. } = incident;
    let seconds = last_unix.saturating_sub(*first_unix);
    let which = if incident.cause == Cause::StaleNonce {
        "older than lifetimes.nonce"
    } else {
        "not issued to the address it came from"
    };
    format!(
        "{count} requests within {seconds} s used a nonce that is {which}, although each was answered with a new one (438)."
    )
}

fn quota(asked: &str, kind: QuotaKind, limit: u32) -> String {
    let (code, holder, key) = match kind {
        QuotaKind::User => (486, "the user has", "limits.allocations_per_user, or that of the quota class"),
        QuotaKind::Address => (486, "the client's address has", "limits.allocations_per_address"),
        QuotaKind::Total => (508, "this node has", "limits.allocations_total"),
        QuotaKind::Cluster => (508, "all nodes together have", "limits.allocations_cluster"),
    };
    format!("{asked} was refused ({code}): {holder} the {limit} allocations that are allowed ({key}).")
}

fn ended(reason: CloseReason, by: Option<&str>, known: Circumstances<'_>) -> String {
    let why = match (reason, by) {
        (CloseReason::Revoked, Some(by)) => {
            let issued_before =
                known.revocations.iter().find(|row| *row.id == *by).map_or(0, |row| row.issued_before);
            return format!("A live allocation was cut: {}", revoked(by, issued_before, known));
        }
        (CloseReason::Revoked, None) => "its credential was revoked",
        (CloseReason::CredentialExpired, _) => {
            "its credential expired (auth.expiry, or the credential itself, is strict)"
        }
        (CloseReason::Closed, _) => "an operator ended it",
        (
            CloseReason::Expired | CloseReason::Refreshed | CloseReason::ClientClosed | CloseReason::Shutdown,
            _,
        ) => reason.as_str(),
    };
    format!("A live allocation was cut: {why}.")
}
