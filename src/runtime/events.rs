//! What the core reports, as log lines.

use std::{sync::LazyLock, time::Duration};

use crate::{
    telemetry::{Private, Seldom, SeldomEach},
    turn::{Event, FiveTuple, Now, Refusal},
};

/// The most warnings about failed authentication in a second, of all addresses.
const FAILURES_PER_SECOND: u32 = 50;

/// Anybody can fail to authenticate as often as they like.
static FAILURES: LazyLock<SeldomEach> = LazyLock::new(|| SeldomEach::new(FAILURES_PER_SECOND));
/// And in the name of any address.
static FORGERIES: Seldom = Seldom::new(Duration::from_secs(10));

/// Logs one event: the life of allocations at debug; failed authentication as a warning, once a second for each
/// address that is not forged, so that it can be banned.
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
        Event::AuthenticationFailed { five_tuple, username, reason, is_reachable } => {
            // Every client meets a stale nonce now and then.
            if *reason == Refusal::StaleNonce {
                return;
            }
            let (username, since_start) =
                (username.as_deref().unwrap_or("?"), Duration::from_millis(now.monotonic.as_millis()));
            if *is_reachable {
                log_failure(since_start, five_tuple, username, *reason);
            } else {
                log_forgery(since_start, five_tuple, username, *reason);
            }
        }
    }
}

/// The order of the fields is relied upon: `address` and `reason` stand before all that a client can choose.
fn log_failure(since_start: Duration, five_tuple: &FiveTuple, username: &str, reason: Refusal) {
    let client = five_tuple.client.ip().to_canonical();
    let (address, port) = (Private(client), Private(five_tuple.client.port()));
    let (reason, transport) = (reason.as_str(), five_tuple.transport.as_str());
    let username = Private(username.escape_debug());
    if FAILURES.permit(since_start, client) {
        tracing::warn!(%address, reason, transport, %port, %username, "Authentication failed.");
    } else {
        tracing::debug!(%address, reason, transport, %port, %username, "Authentication failed.");
    }
}

/// Nothing here may get an address banned that somebody only pretends to have.
fn log_forgery(since_start: Duration, five_tuple: &FiveTuple, username: &str, reason: Refusal) {
    const MESSAGE: &str = "Authentication failed, perhaps from a forged address.";
    let (five_tuple, username) = (Private(five_tuple), Private(username.escape_debug()));
    let reason = reason.as_str();
    match FORGERIES.permit(since_start) {
        Some(suppressed) => tracing::warn!(reason, suppressed, %five_tuple, %username, "{MESSAGE}"),
        None => tracing::debug!(reason, %five_tuple, %username, "{MESSAGE}"),
    }
}
