//! Limits on relayed bytes per second.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Datagrams, Instant};

/// The least burst: one train of datagrams as segmentation offload hands it over.
pub const BURST_BYTES_MIN: u64 = 65_536;
/// No rate, in bytes per second, is told apart from one above it.
const RATE_MAX: u64 = 1_000_000_000_000;
/// The bounds of what a shard leases at once from the budget of the process.
const LEASE_BYTES_MIN: u64 = 1_500;
const LEASE_BYTES_MAX: u64 = 1_048_576;
/// A shard leases what the rate brings in this part of a second.
const LEASES_PER_SECOND: u64 = 128;
const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;
const NANOSECONDS_PER_MILLISECOND: u64 = 1_000_000;

/// The bandwidth of one direction of one allocation.
///
/// A token bucket that starts full: over any time, at most its rate and one burst pass. The burst is what the rate
/// brings in one second, but never less than [`BURST_BYTES_MIN`].
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    /// Thousandths of bytes, so that a millisecond of a slow rate is a whole number.
    level: u64,
    /// Bytes per second; [`u64::MAX`] is unlimited.
    rate: u64,
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket; `rate` in bytes per second, `None` is unlimited.
    #[must_use]
    pub fn new(rate: Option<u64>, now: Instant) -> Self {
        let rate = rate.map_or(u64::MAX, |rate| rate.min(RATE_MAX));
        Self { level: capacity(rate), rate, filled: now }
    }

    /// Changes the rate. What was saved up stays, as far as the new burst allows.
    pub fn set_rate(&mut self, rate: Option<u64>, now: Instant) {
        let was_limited = self.rate != u64::MAX;
        self.fill(now);
        let level = self.level;
        *self = Self::new(rate, now);
        if was_limited {
            self.level = level.min(self.level);
        }
    }

    /// Whether `bytes` may pass now; takes them if so.
    #[inline]
    pub fn admit(&mut self, bytes: usize, now: Instant) -> bool {
        self.rate == u64::MAX || self.take(bytes, now)
    }

    /// How many of the first of `datagrams` may pass now; takes those.
    #[inline]
    pub fn admit_datagrams(&mut self, datagrams: Datagrams, now: Instant) -> usize {
        if self.rate == u64::MAX || self.take(datagrams.total_bytes, now) {
            return datagrams.count();
        }
        // What does not fit as a whole has at least one byte, and so has its first segment.
        let segment = (datagrams.segment_bytes as u64).saturating_mul(1000).max(1);
        let fitting = (self.level / segment).min(datagrams.count() as u64);
        self.level -= fitting * segment;
        usize::try_from(fitting).unwrap_or(0)
    }

    fn take(&mut self, bytes: usize, now: Instant) -> bool {
        self.fill(now);
        let cost = (bytes as u64).saturating_mul(1000);
        let fits = cost <= self.level;
        if fits {
            self.level -= cost;
        }
        fits
    }

    fn fill(&mut self, now: Instant) {
        if now > self.filled && self.rate != u64::MAX {
            let elapsed = now.as_millis() - self.filled.as_millis();
            self.level =
                self.level.saturating_add(elapsed.saturating_mul(self.rate)).min(capacity(self.rate));
            self.filled = now;
        }
    }
}

/// The bandwidth of the whole process, both directions together, shared by all shards.
///
/// One atomic that says until when the bandwidth is spoken for. A shard leases some milliseconds' worth at once (see
/// [`BudgetLease`]), so that most packets touch nothing that is shared. The burst is as for [`TokenBucket`]; each
/// shard may hold one lease more. All shards must count their [`Instant`] from the same origin.
#[derive(Debug)]
pub struct TotalBudget {
    /// Bytes per second; [`u64::MAX`] is unlimited.
    rate: AtomicU64,
    /// Nanoseconds since the origin of [`Instant`]: when all that was leased will have been earned.
    spoken_for_until: AtomicU64,
}

impl TotalBudget {
    /// Everything still to be spent; `rate` in bytes per second, `None` is unlimited.
    #[must_use]
    pub fn new(rate: Option<u64>) -> Self {
        let budget = Self { rate: AtomicU64::new(u64::MAX), spoken_for_until: AtomicU64::new(0) };
        budget.set_rate(rate);
        budget
    }

    /// Changes the rate for all shards.
    pub fn set_rate(&self, rate: Option<u64>) {
        let rate = rate.map_or(u64::MAX, |rate| rate.clamp(1, RATE_MAX));
        self.rate.store(rate, Ordering::Relaxed);
    }

    /// Leases `bytes`, all of them or none.
    fn lease(&self, bytes: u64, rate: u64, now: Instant) -> bool {
        let now = now.as_millis().saturating_mul(NANOSECONDS_PER_MILLISECOND);
        let burst = nanoseconds(rate.max(BURST_BYTES_MIN), rate);
        // Time starts one burst late, so that a budget is full even at the origin.
        let now = now.saturating_add(burst);
        let cost = nanoseconds(bytes, rate);
        let claim = |until: u64| {
            let until = until.max(now.saturating_sub(burst)).saturating_add(cost);
            (until <= now).then_some(until)
        };
        self.spoken_for_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim).is_ok()
    }
}

/// What a shard has leased of the [`TotalBudget`] and not spent yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct BudgetLease {
    bytes: u64,
}

impl BudgetLease {
    /// Nothing leased yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: 0 }
    }

    /// Whether `bytes` may pass now; spends them if so.
    #[inline]
    pub fn admit(&mut self, budget: &TotalBudget, bytes: usize, now: Instant) -> bool {
        let rate = budget.rate.load(Ordering::Relaxed);
        rate == u64::MAX || self.spend(budget, bytes as u64, rate, now)
    }

    /// How many of the first of `datagrams` may pass now; spends those.
    #[inline]
    pub fn admit_datagrams(&mut self, budget: &TotalBudget, datagrams: Datagrams, now: Instant) -> usize {
        let rate = budget.rate.load(Ordering::Relaxed);
        if rate == u64::MAX || self.spend(budget, datagrams.total_bytes as u64, rate, now) {
            return datagrams.count();
        }
        let segment = datagrams.segment_bytes as u64;
        (0..datagrams.count()).take_while(|_| self.spend(budget, segment, rate, now)).count()
    }

    fn spend(&mut self, budget: &TotalBudget, bytes: u64, rate: u64, now: Instant) -> bool {
        if bytes > self.bytes {
            let missing = bytes - self.bytes;
            let chunk = (rate / LEASES_PER_SECOND).clamp(LEASE_BYTES_MIN, LEASE_BYTES_MAX).max(missing);
            if budget.lease(chunk, rate, now) {
                self.bytes += chunk;
            } else if budget.lease(missing, rate, now) {
                self.bytes += missing;
            } else {
                return false;
            }
        }
        self.bytes -= bytes;
        true
    }
}

/// The burst of a bucket in thousandths of bytes.
fn capacity(rate: u64) -> u64 {
    rate.max(BURST_BYTES_MIN).saturating_mul(1000)
}

/// How long `bytes` take at `rate`, rounded up.
fn nanoseconds(bytes: u64, rate: u64) -> u64 {
    let exact = (u128::from(bytes) * u128::from(NANOSECONDS_PER_SECOND)).div_ceil(u128::from(rate.max(1)));
    u64::try_from(exact).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(milliseconds: u64) -> Instant {
        Instant::from_millis(milliseconds)
    }

    fn train(segment_bytes: usize, total_bytes: usize) -> Datagrams {
        Datagrams { segment_bytes, total_bytes }
    }

    #[test]
    fn a_bucket_is_24_bytes() {
        assert_eq!(size_of::<TokenBucket>(), 24);
    }

    #[test]
    fn a_bucket_lets_one_burst_pass_and_then_its_rate() {
        let mut bucket = TokenBucket::new(Some(100_000), at(5));

        assert!(bucket.admit(100_000, at(5)));
        assert!(!bucket.admit(1, at(5)));
        assert!(!bucket.admit(101, at(6)));
        assert!(bucket.admit(100, at(6)));
        assert!(!bucket.admit(100_001, at(60_000)));
        assert!(bucket.admit(100_000, at(60_000)));
    }

    #[test]
    fn a_slow_bucket_still_takes_one_full_train() {
        let mut bucket = TokenBucket::new(Some(10), at(0));

        assert!(bucket.admit(65_536, at(0)));
        assert!(!bucket.admit(1, at(99)));
        assert!(bucket.admit(1, at(100)));
    }

    #[test]
    fn a_rate_of_zero_ends_after_the_first_burst() {
        let mut bucket = TokenBucket::new(Some(0), at(0));

        assert!(bucket.admit(65_536, at(0)));
        assert!(!bucket.admit(1, at(u64::MAX)));
        assert!(bucket.admit(0, at(u64::MAX)));
    }

    #[test]
    fn an_unlimited_bucket_takes_everything() {
        let mut bucket = TokenBucket::new(None, at(0));

        assert!((0..100).all(|_| bucket.admit(usize::MAX, at(0))));
        assert_eq!(bucket.admit_datagrams(train(1200, 60_000), at(0)), 50);
    }

    #[test]
    fn time_going_back_gives_nothing() {
        let mut bucket = TokenBucket::new(Some(65_536), at(1000));

        assert!(bucket.admit(65_536, at(1000)));
        assert!(!bucket.admit(1, at(0)));
        assert!(!bucket.admit(1, at(1000)));
    }

    #[test]
    fn of_a_train_what_fits_passes() {
        let mut bucket = TokenBucket::new(Some(65_536), at(0));

        assert_eq!(bucket.admit_datagrams(train(1000, 60_500), at(0)), 61);
        assert_eq!(bucket.admit_datagrams(train(1000, 60_500), at(0)), 5);
        assert_eq!(bucket.admit_datagrams(train(1000, 60_500), at(0)), 0);
        assert_eq!(bucket.admit_datagrams(train(36, 72), at(0)), 1);
        assert_eq!(bucket.admit_datagrams(train(0, 0), at(0)), 1);
    }

    #[test]
    fn a_new_rate_keeps_what_was_spent() {
        let mut bucket = TokenBucket::new(Some(100_000), at(0));
        assert!(bucket.admit(100_000, at(0)));

        bucket.set_rate(Some(200_000), at(0));
        assert!(!bucket.admit(1, at(0)));
        assert!(bucket.admit(200, at(1)));
        bucket.set_rate(None, at(1));
        assert!(bucket.admit(1_000_000, at(1)));
        bucket.set_rate(Some(100_000), at(1));
        assert!(bucket.admit(100_000, at(1)) && !bucket.admit(1, at(1)));
    }

    #[test]
    fn the_total_lets_one_burst_pass_even_at_the_origin() {
        let (budget, mut lease) = (TotalBudget::new(Some(1_000_000)), BudgetLease::new());

        let passed = (0..2_000).filter(|_| lease.admit(&budget, 1_000, at(0))).count();

        assert_eq!(passed, 1_000);
        assert!(!lease.admit(&budget, 1_000, at(0)));
        assert!(lease.admit(&budget, 1_000, at(1)));
    }

    #[test]
    fn the_total_is_shared_by_all_shards() {
        let budget = TotalBudget::new(Some(1_000_000));
        let mut leases = [BudgetLease::new(); 4];
        let mut passed = 0_u64;
        for millisecond in 0..10_000 {
            for lease in &mut leases {
                passed +=
                    (0..5).filter(|_| lease.admit(&budget, 1_000, at(millisecond))).count() as u64 * 1_000;
            }
        }
        // Ten seconds and the burst; what is leased and unspent at the end is at most four leases.
        assert!((10_960_000..=11_000_000).contains(&passed), "{passed}");
    }

    #[test]
    fn a_datagram_larger_than_a_lease_passes_too() {
        let (budget, mut lease) = (TotalBudget::new(Some(100_000)), BudgetLease::new());

        assert!(lease.admit(&budget, 65_535, at(0)));
        assert!(!lease.admit(&budget, 65_535, at(0)));
        assert!(lease.admit(&budget, 34_000, at(0)));
    }

    #[test]
    fn of_a_train_what_the_total_allows_passes() {
        let (budget, mut lease) = (TotalBudget::new(Some(1)), BudgetLease::new());

        assert_eq!(lease.admit_datagrams(&budget, train(1_200, 60_000), at(0)), 50);
        assert_eq!(lease.admit_datagrams(&budget, train(1_200, 60_000), at(0)), 4);
    }

    #[test]
    fn without_a_total_nothing_is_counted() {
        let (budget, mut lease) = (TotalBudget::new(None), BudgetLease::new());
        assert!((0..100).all(|_| lease.admit(&budget, usize::MAX, at(0))));

        budget.set_rate(Some(65_536));
        assert!(lease.admit(&budget, 65_536, at(0)));
        assert!(!lease.admit(&budget, 1, at(0)));
    }

    proptest! {
        #[test]
        fn never_more_than_rate_and_burst(
            rate in 0_u64..10_000_000, steps in prop::collection::vec((0_u64..2_000, 0_usize..70_000), 1..200)
        ) {
            let (mut bucket, budget, mut lease) =
                (TokenBucket::new(Some(rate), at(0)), TotalBudget::new(Some(rate)), BudgetLease::new());
            let (mut now, mut passed, mut leased) = (0, 0_u128, 0_u128);
            for (wait, bytes) in steps {
                now += wait;
                passed += if bucket.admit(bytes, at(now)) { bytes as u128 } else { 0 };
                leased += if lease.admit(&budget, bytes, at(now)) { bytes as u128 } else { 0 };
                let allowed = u128::from(rate.max(BURST_BYTES_MIN)) + u128::from(rate) * u128::from(now) / 1000;
                prop_assert!(passed <= allowed);
                prop_assert!(leased <= allowed.max(BURST_BYTES_MIN.into()) + u128::from(now / 1000) + 1);
            }
        }

        #[test]
        fn no_input_overflows(rate: Option<u64>, times: [u64; 6], segment: usize, total: usize) {
            let mut bucket = TokenBucket::new(rate, at(times[0]));
            let (budget, mut lease) = (TotalBudget::new(rate), BudgetLease::new());
            for time in times {
                bucket.set_rate(rate, at(time));
                let count = train(segment, total).count();
                let single = bucket.admit(segment, at(time)) && lease.admit(&budget, total, at(time));
                prop_assert!(bucket.admit_datagrams(train(segment, total), at(time)) <= count || single);
            }
        }
    }
}
