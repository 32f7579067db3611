//! Log lines that a stranger could cause without end.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// How many addresses are told apart.
const ADDRESSES: usize = 4096;

/// Lets one line through per period and counts the rest. Shared by any number of threads.
///
/// ```
/// # use std::time::Duration;
/// static FAILURES: iceway::telemetry::Seldom = iceway::telemetry::Seldom::new(Duration::from_secs(10));
/// if let Some(suppressed) = FAILURES.permit(Duration::from_secs(3)) {
///     // Log, and say how many were `suppressed` since the last line.
/// }
/// ```
#[derive(Debug)]
pub struct Seldom {
    period_ms: u64,
    /// When the next line may appear, on the caller's clock.
    next_ms: AtomicU64,
    suppressed: AtomicU64,
}

impl Seldom {
    /// One line per `period`.
    #[must_use]
    pub const fn new(period: Duration) -> Self {
        Self { period_ms: milliseconds(period), next_ms: AtomicU64::new(0), suppressed: AtomicU64::new(0) }
    }

    /// Whether to log at `now`, a time since any fixed point: the number of lines held back since the last one, or
    /// `None` to hold this one back too.
    pub fn permit(&self, now: Duration) -> Option<u64> {
        let now = milliseconds(now);
        let next = self.next_ms.load(Ordering::Relaxed);
        let won = now >= next
            && self
                .next_ms
                .compare_exchange(
                    next,
                    now.saturating_add(self.period_ms),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        if won {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// Lets one line a second through for each address, and so many in all. Shared by any number of threads; memory is
/// fixed (32 KiB): addresses that fall together by a keyed hash share their line, so that there are fewer, never more.
#[derive(Debug)]
pub struct SeldomEach {
    hasher: RandomState,
    /// When an address may have its next line, on the caller's clock.
    next_ms: Box<[AtomicU64]>,
    per_second: u64,
    /// The second that is counted, in the upper half, and the lines in it.
    second: AtomicU64,
}

impl SeldomEach {
    /// At most `per_second` lines a second in all.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        let next_ms = (0..ADDRESSES).map(|_| AtomicU64::new(0)).collect();
        let (hasher, second) = (RandomState::new(), AtomicU64::new(0));
        Self { hasher, next_ms, per_second: per_second.into(), second }
    }

    /// Whether to log something about `address` at `now`, a time since any fixed point.
    pub fn permit(&self, now: Duration, address: IpAddr) -> bool {
        let place = self.hasher.hash_one(address.to_canonical()) as usize % ADDRESSES;
        let Some(next_ms) = self.next_ms.get(place) else { return false };
        let now_ms = milliseconds(now);
        let next = next_ms.load(Ordering::Relaxed);
        let then = now_ms.saturating_add(1000);
        now_ms >= next
            && next_ms.compare_exchange(next, then, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            && self.count(now.as_secs())
    }

    /// Counts a line, unless there were enough in this second.
    fn count(&self, second: u64) -> bool {
        // Truncation is meant: after 136 years of silence one line may be lost.
        let begun = second << 32;
        let counted = self.second.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |seen| {
            let lines = if seen >> 32 == begun >> 32 { seen & u64::from(u32::MAX) } else { 0 };
            (lines < self.per_second).then_some(begun | (lines + 1))
        });
        counted.is_ok()
    }
}

const fn milliseconds(duration: Duration) -> u64 {
    let value = duration.as_millis();
    if value > u64::MAX as u128 { u64::MAX } else { value as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_period_says_how_many_were_held_back() {
        let seldom = Seldom::new(Duration::from_secs(10));
        assert_eq!(seldom.permit(Duration::from_secs(1)), Some(0));
        assert_eq!(seldom.permit(Duration::from_secs(2)), None);
        assert_eq!(seldom.permit(Duration::from_secs(10)), None);
        assert_eq!(seldom.permit(Duration::from_secs(11)), Some(2));
        assert_eq!(seldom.permit(Duration::from_secs(40)), Some(0));
    }

    #[test]
    fn each_address_has_one_line_a_second() {
        let each = SeldomEach::new(100);
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let at = Duration::from_millis;
        assert_eq!([each.permit(at(5000), one), each.permit(at(5999), one)], [true, false]);
        assert!(each.permit(at(6000), one));
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        assert!(!each.permit(at(6500), mapped), "the same address, written otherwise");
        let shared = each.hasher.hash_one(one) as usize % ADDRESSES
            == each.hasher.hash_one(other) as usize % ADDRESSES;
        assert!(shared || each.permit(at(6500), other));
    }

    #[test]
    fn all_addresses_together_have_so_many_lines_a_second() {
        let each = SeldomEach::new(3);
        let lines = |second| {
            let permitted = |n: &u32| each.permit(Duration::from_secs(second), IpAddr::V4((*n).into()));
            (0..1000).filter(permitted).count()
        };
        assert_eq!([lines(7), lines(8)], [3, 3]);
    }
}
