//! Token buckets of this node alone.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{LimitAnswer, Rate};

/// Names with a bucket that is not full. When there are more, the fullest are forgotten, which are those that are
/// limited least.
const BUCKETS_MAX: usize = 100_000;

/// Counts uses of names against rates.
#[derive(Debug, Default)]
pub(super) struct Limits {
    buckets: Mutex<HashMap<String, Bucket>>,
}

/// The instant at which a bucket is full again says all about it (GCRA).
#[derive(Clone, Copy, Debug)]
struct Bucket {
    full_at: Instant,
}

impl Limits {
    /// Counts one use of `name`; the rate is divided by `share`, but never below one at once.
    pub(super) fn count(&self, name: &str, rate: Rate, share: u32, now: Instant) -> LimitAnswer {
        let share = share.max(1);
        let interval = (rate.per / rate.count.max(1)).saturating_mul(share);
        let burst = (rate.burst / share).max(1);
        let capacity = interval.saturating_mul(burst);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = buckets.get(name).map_or(now, |bucket| bucket.full_at.max(now));
        let after = full_at.checked_add(interval).unwrap_or(full_at);
        let needed = after.saturating_duration_since(now);
        if rate.count == 0 || needed > capacity {
            let retry_after = if rate.count == 0 { rate.per } else { needed.saturating_sub(capacity) };
            return LimitAnswer { is_admitted: false, remaining: 0, retry_after };
        }
        if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(name) {
            forget(&mut buckets, now);
        }
        buckets.insert(name.to_owned(), Bucket { full_at: after });
        let left = capacity.saturating_sub(needed);
        let remaining =
            if interval.is_zero() { burst } else { (left.as_nanos() / interval.as_nanos()) as u32 };
        LimitAnswer { is_admitted: true, remaining, retry_after: Duration::ZERO }
    }
}

/// Makes room for a quarter, so that it is seldom done: first what is full, then what is nearly full.
fn forget(buckets: &mut HashMap<String, Bucket>, now: Instant) {
    buckets.retain(|_, bucket| bucket.full_at > now);
    if buckets.len() < BUCKETS_MAX {
        return;
    }
    let mut order: Vec<Instant> = buckets.values().map(|bucket| bucket.full_at).collect();
    let (_, &mut quarter, _) = order.select_nth_unstable(BUCKETS_MAX / 4);
    buckets.retain(|_, bucket| bucket.full_at > quarter);
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { count: 10, per: Duration::from_secs(1), burst: 5 };

    #[test]
    fn a_burst_is_admitted_and_then_one_at_a_time() {
        let (limits, start) = (Limits::default(), Instant::now());
        let left: Vec<u32> = (0..5).map(|_| limits.count("a", RATE, 1, start).remaining).collect();
        assert_eq!(left, [4, 3, 2, 1, 0]);

        let refused = limits.count("a", RATE, 1, start);
        assert_eq!((refused.is_admitted, refused.retry_after), (false, Duration::from_millis(100)));
        let too_early = start + refused.retry_after - Duration::from_millis(1);
        assert!(!limits.count("a", RATE, 1, too_early).is_admitted);
        assert!(limits.count("a", RATE, 1, start + refused.retry_after).is_admitted);
        assert!(limits.count("b", RATE, 1, start).is_admitted, "another name has a bucket of its own");
    }

    #[test]
    fn a_share_is_a_slower_rate_and_a_smaller_burst() {
        let (limits, start) = (Limits::default(), Instant::now());
        let admitted = (0..5).filter(|_| limits.count("a", RATE, 3, start).is_admitted).count();
        assert_eq!(admitted, 1);
        assert_eq!(limits.count("a", RATE, 3, start).retry_after, Duration::from_millis(300));
        assert!(limits.count("b", RATE, 1000, start).is_admitted, "never less than one");
    }

    #[test]
    fn a_rate_of_nothing_admits_nothing() {
        let none = Rate { count: 0, ..RATE };
        assert!(!Limits::default().count("a", none, 1, Instant::now()).is_admitted);
    }

    #[test]
    fn names_are_bounded_and_the_most_limited_stay() {
        let (limits, start) = (Limits::default(), Instant::now());
        for _ in 0..5 {
            limits.count("busy", RATE, 1, start);
        }
        for n in 0..BUCKETS_MAX + 10 {
            limits.count(&n.to_string(), RATE, 1, start);
        }
        assert!(limits.buckets.lock().unwrap().len() <= BUCKETS_MAX);
        assert!(!limits.count("busy", RATE, 1, start).is_admitted);
    }
}
