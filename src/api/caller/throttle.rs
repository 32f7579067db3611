//! Failed attempts per client address.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::recent::Recent;

/// Half of the addresses that are remembered.
const ADDRESSES_HALF: usize = 16_384;
const WINDOW: Duration = Duration::from_secs(60);

/// Counts failed attempts per IPv4 address and IPv6 /64. Each address may fail so often at once, and so often again
/// in each minute after that.
#[derive(Debug)]
pub(super) struct Throttle {
    /// When an address may fail as often as it likes again (GCRA).
    full_at: Mutex<Recent<IpAddr, Instant>>,
}

impl Throttle {
    pub(super) fn new() -> Self {
        Self { full_at: Mutex::new(Recent::new(ADDRESSES_HALF)) }
    }

    /// How long nothing more is taken from this address, if it failed too often.
    pub(super) fn wait(&self, client: IpAddr, per_minute: u32, now: Instant) -> Option<Duration> {
        let mut table = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = *table.get(&network(client))?;
        let next = full_at.saturating_duration_since(now) + WINDOW / per_minute.max(1);
        next.checked_sub(WINDOW).filter(|wait| !wait.is_zero())
    }

    /// Notes a failed attempt.
    pub(super) fn failed(&self, client: IpAddr, per_minute: u32, now: Instant) {
        let network = network(client);
        let mut table = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = table.get(&network).map_or(now, |full_at| *full_at).max(now);
        // Whoever goes on while throttled waits no longer for it.
        let after = (full_at + WINDOW / per_minute.max(1)).min(now + WINDOW);
        table.insert(network, after);
    }
}

fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PER_MINUTE: u32 = 20;

    #[test]
    fn an_address_that_failed_too_often_waits() {
        let (throttle, now) = (Throttle::new(), Instant::now());
        let client = "203.0.113.1".parse().unwrap();
        for _ in 0..PER_MINUTE {
            assert_eq!(throttle.wait(client, PER_MINUTE, now), None);
            throttle.failed(client, PER_MINUTE, now);
        }
        assert_eq!(throttle.wait(client, PER_MINUTE, now), Some(Duration::from_secs(3)));
        assert_eq!(throttle.wait("203.0.113.2".parse().unwrap(), PER_MINUTE, now), None);
        for _ in 0..1000 {
            throttle.failed(client, PER_MINUTE, now);
        }
        let later = now + Duration::from_secs(3);
        assert_eq!(throttle.wait(client, PER_MINUTE, later), None);
        throttle.failed(client, PER_MINUTE, later);
        assert!(throttle.wait(client, PER_MINUTE, later).is_some());
        assert_eq!(throttle.wait(client, PER_MINUTE, later + WINDOW), None);
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let (throttle, now) = (Throttle::new(), Instant::now());
        throttle.failed("2001:db8::1".parse().unwrap(), 1, now);
        assert!(throttle.wait("2001:db8::ffff".parse().unwrap(), 1, now).is_some());
        assert!(throttle.wait("2001:db8:0:1::1".parse().unwrap(), 1, now).is_none());
        throttle.failed("::ffff:203.0.113.1".parse().unwrap(), 1, now);
        assert!(throttle.wait("203.0.113.1".parse().unwrap(), 1, now).is_some());
    }

    #[test]
    fn strangers_cannot_make_the_table_grow_without_end() {
        let (throttle, now) = (Throttle::new(), Instant::now());
        for number in 0..100_000_u32 {
            throttle.failed(IpAddr::V4(number.into()), PER_MINUTE, now);
        }
        assert!(throttle.full_at.lock().unwrap().len() <= 2 * ADDRESSES_HALF);
    }
}
