//! Descriptors: how many this process may open, and who goes without first when they run short.
//!
//! The system gives the lowest free number to what is opened, so that the number says how many are taken. Relay sockets
//! and clients' connections leave the last ones free, HTTP leaves half of those, but no signaling socket stays there: a
//! server that is full still tells how it is, obeys its operator, reaches Redis and reads its files.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::sys;
use crate::{config::Config, telemetry::Seldom};

/// Connections, Redis, files and listeners need some beside relay sockets.
const BESIDE: u64 = 64;
/// What relay sockets and clients' connections leave free: an eighth, within these bounds.
const LEFT_FREE: (u64, u64) = (8, 64);
/// How often it is said that they run short.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// What lets a process open more.
pub(crate) const MEND: &str =
    "set LimitNOFILE=1048576 in the systemd unit, or nofile in the container's ulimits, and restart";

/// How many this process may open; 0 while nobody has asked.
static LIMIT: AtomicU64 = AtomicU64::new(0);
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
static SHORT: Seldom = Seldom::new(SAID_EVERY);

/// What a descriptor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A relay socket.
    Relay,
    /// A TCP or TLS connection of a client of the relay.
    Stream,
    /// A connection to the HTTP listener.
    Http,
    /// The same that is to stay, as a socket for signaling.
    Signal,
}

impl Purpose {
    const fn what(self) -> &'static str {
        match self {
            Self::Relay => "new allocations get 508",
            Self::Stream => "new TCP and TLS connections are closed",
            Self::Http => "new HTTP connections are closed",
            Self::Signal => "new signaling sockets get 503",
        }
    }
}

/// Raises the limit as far as the system lets it, and says what it is too low for.
pub(super) fn raise(config: &Config) {
    let limit = match sys::raise_descriptor_limit() {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "The descriptor limit could not be raised.");
            return;
        }
    };
    LIMIT.store(limit, Ordering::Relaxed);
    let (allocations, needed) = needed(config);
    if limit < needed {
        tracing::warn!(
            limit,
            needed,
            mend = MEND,
            "The system lets this process open too few descriptors for {allocations} allocations; who comes when they \
             are used up is refused."
        );
    } else {
        tracing::debug!(limit, "Descriptor limit raised.");
    }
}

/// The most allocations of a configuration, and the descriptors that these need with all else.
pub(crate) fn needed(config: &Config) -> (u64, u64) {
    let ports = u64::from(config.relay.port_max.saturating_sub(config.relay.port_min)) + 1;
    let allocations = config.limits.allocations_total.map_or(ports, u64::from).min(ports);
    (allocations, allocations + BESIDE)
}

/// Whether a descriptor that was just opened is one of those that must stay free; then that is said, and it is to be
/// closed.
pub(crate) fn must_stay_free(descriptor: BorrowedFd<'_>, purpose: Purpose) -> bool {
    let is_short = is_left_free(descriptor, purpose);
    if is_short {
        say_short(purpose);
    }
    is_short
}

/// The same, where it may serve another purpose and nothing is to be said yet.
pub(crate) fn is_left_free(descriptor: BorrowedFd<'_>, purpose: Purpose) -> bool {
    let number = u64::try_from(descriptor.as_raw_fd()).unwrap_or(0);
    number >= allowed(LIMIT.load(Ordering::Relaxed), purpose)
}

/// Whether the system refused because descriptors are used up; then that is said.
pub(crate) fn is_shortage(error: &io::Error, purpose: Purpose) -> bool {
    let is_shortage = are_used_up(error);
    if is_shortage {
        say_short(purpose);
    }
    is_shortage
}

/// Whether the process or the system has no descriptor left.
pub(crate) fn are_used_up(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// The descriptors from this number on are not for this purpose.
fn allowed(limit: u64, purpose: Purpose) -> u64 {
    if limit == 0 {
        return u64::MAX;
    }
    let free = (limit / 8).clamp(LEFT_FREE.0, LEFT_FREE.1);
    match purpose {
        Purpose::Relay | Purpose::Stream | Purpose::Signal => limit.saturating_sub(free),
        Purpose::Http => limit.saturating_sub(free / 2),
    }
}

/// Says that who comes for this purpose is refused, now and then.
pub(crate) fn say_short(purpose: Purpose) {
    if let Some(suppressed) = SHORT.permit(ORIGIN.elapsed()) {
        let limit = LIMIT.load(Ordering::Relaxed);
        tracing::warn!(
            limit,
            suppressed,
            mend = MEND,
            "Descriptors are used up: {}; what is up goes on.",
            purpose.what()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_for_what_a_full_server_must_still_do() {
        let all = [Purpose::Relay, Purpose::Stream, Purpose::Signal, Purpose::Http];
        let of = |limit| all.map(|it| allowed(limit, it));
        assert_eq!(of(64), [56, 56, 56, 60]);
        assert_eq!(of(1024), [960, 960, 960, 992]);
        let most = 1 << 20;
        assert_eq!(of(most), [most - 64, most - 64, most - 64, most - 32]);
        assert_eq!(of(0), [u64::MAX; 4], "nobody has asked for the limit");
    }

    #[test]
    fn each_allocation_needs_one() {
        let mut config = Config::default();
        (config.relay.port_min, config.relay.port_max) = (50_000, 50_999);
        assert_eq!(needed(&config), (1000, 1064));
        config.limits.allocations_total = Some(100);
        assert_eq!(needed(&config), (100, 164));
    }
}
