//! What the core reports, as log lines.

use std::time::Duration;

use crate::{
    telemetry::{Private, Seldom},
    turn::{Event, FiveTuple, Now, Refusal},
};

/// Anybody can fail to authenticate as often as they like.
static FAILURES: Seldom = Seldom::new(Duration::from_secs(10));

/// Logs one event: the life of allocations at debug, failed authentication at most every ten seconds as a warning.
pub(super) fn log(now: Now, event: &Event) {
    match event {
        Event::Created { id, five_tuple, username, identity: _, relayed, lifetime } => {
            tracing::debug!(
                allocation = id.0, five_tuple = %Private(five_tuple),
                username = %Private(username.escape_debug()), ?relayed, lifetime,
                "Allocation created."
            );
        }
        Event::Refreshed { five_tuple, lifetime } => {
            tracing::debug!(five_tuple = %Private(five_tuple), lifetime, "Allocation refreshed.");
        }
        Event::Closed { id, five_tuple, username, identity: _, started_unix: _, reason, summary } => {
            tracing::debug!(
                allocation = id.0, five_tuple = %Private(five_tuple),
                username = %Private(username.escape_debug()), reason = reason.as_str(), seconds = summary.seconds,
                to_peer_datagrams = summary.to_peer_datagrams, to_peer_bytes = summary.to_peer_bytes,
                to_client_datagrams = summary.to_client_datagrams, to_client_bytes = summary.to_client_bytes,
                "Allocation closed."
            );
        }
        Event::ChannelBound { five_tuple, socket: _, number, peer, lifetime } => {
            tracing::debug!(five_tuple = %Private(five_tuple), number, peer = %Private(peer), lifetime, "Channel bound.");
        }
        Event::ChannelUnbound { five_tuple, number } => {
            tracing::debug!(five_tuple = %Private(five_tuple), number, "Channel unbound.");
        }
        Event::AuthenticationFailed { five_tuple, username, reason, is_reachable: _ } => {
            log_failure(now, five_tuple, username.as_deref(), *reason);
        }
    }
}

fn log_failure(now: Now, five_tuple: &FiveTuple, username: Option<&str>, reason: Refusal) {
    let (five_tuple, username) = (Private(five_tuple), Private(username.unwrap_or("?").escape_debug()));
    let reason_label = reason.as_str();
    // Every client meets a stale nonce now and then.
    let is_ordinary = matches!(reason, Refusal::StaleNonce);
    let since_start = Duration::from_millis(now.monotonic.as_millis());
    let permitted = if is_ordinary { None } else { FAILURES.permit(since_start) };
    match permitted {
        Some(suppressed) => {
            tracing::warn!(%five_tuple, %username, reason = reason_label, suppressed, "Authentication failed.");
        }
        None => tracing::debug!(%five_tuple, %username, reason = reason_label, "Authentication failed."),
    }
}
