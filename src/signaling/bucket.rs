//! How often something may be done.

use std::{collections::HashMap, hash::Hash, time::Duration};

use super::{Instant, random::Random};

/// So much in a time, and so much at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Nanoseconds that one unit costs; zero is unlimited.
    unit: u64,
    burst: u64,
}

const SECOND: u64 = 1_000_000_000;

impl Rate {
    pub(super) const fn new(units: u32, per: Duration, burst: u32) -> Self {
        if units == 0 {
            return Self { unit: 0, burst: 0 };
        }
        Self { unit: per.as_secs() * SECOND / units as u64, burst: if burst == 0 { 1 } else { burst as u64 } }
    }

    pub(super) const fn per_second(units: u32, burst: u32) -> Self {
        Self::new(units, Duration::from_secs(1), burst)
    }

    /// All of a minute may come at once.
    pub(super) const fn per_minute(units: u32) -> Self {
        Self::new(units, Duration::from_secs(60), units)
    }
}

/// How far somebody is from what a [`Rate`] allows: the point, in nanoseconds, when nothing is counted any more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket(u64);

impl Bucket {
    /// Counts `units`, if they may be had.
    ///
    /// # Errors
    /// They may not; says when one may.
    pub(super) fn take(&mut self, now: Instant, rate: Rate, units: u64) -> Result<(), Duration> {
        if rate.unit == 0 {
            return Ok(());
        }
        let now = now.as_millis().saturating_mul(1_000_000);
        let free = self.0.max(now).saturating_add(rate.unit.saturating_mul(units));
        let latest = now.saturating_add(rate.unit.saturating_mul(rate.burst));
        if free > latest {
            return Err(Duration::from_nanos(free - latest));
        }
        self.0 = free;
        Ok(())
    }

    /// Whether it is as if nothing had ever been counted.
    pub(super) const fn is_idle(self, now: Instant) -> bool {
        self.0 <= now.as_millis().saturating_mul(1_000_000)
    }
}

/// A bucket for each of many; those that are idle are forgotten when there are twice as many as after the last time.
#[derive(Debug)]
pub(super) struct Rates<K> {
    buckets: HashMap<K, Bucket, ahash::RandomState>,
    sweep_at: usize,
}

/// Below this nothing is swept.
const SWEEP_MIN: usize = 1024;
/// Beyond this nobody new is let in, rather than memory grows.
const BUCKETS_MAX: usize = 1 << 20;

impl<K: Hash + Eq> Rates<K> {
    pub(super) fn new(random: &mut Random) -> Self {
        Self { buckets: HashMap::with_hasher(random.hasher()), sweep_at: SWEEP_MIN }
    }

    /// As [`Bucket::take`], for one of them.
    ///
    /// # Errors
    /// See there.
    pub(super) fn take(&mut self, now: Instant, key: K, rate: Rate, units: u64) -> Result<(), Duration> {
        if self.buckets.len() >= self.sweep_at {
            self.buckets.retain(|_, bucket| !bucket.is_idle(now));
            self.sweep_at = (self.buckets.len() * 2).max(SWEEP_MIN);
        }
        if self.buckets.len() >= BUCKETS_MAX && !self.buckets.contains_key(&key) {
            return Err(Duration::from_secs(1));
        }
        self.buckets.entry(key).or_default().take(now, rate, units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_had_at_once_and_then_the_rate() {
        let rate = Rate::per_second(10, 3);
        let (mut bucket, start) = (Bucket::default(), Instant::from_millis(5000));
        for _ in 0..3 {
            assert_eq!(bucket.take(start, rate, 1), Ok(()));
        }
        assert_eq!(bucket.take(start, rate, 1), Err(Duration::from_millis(100)));
        let later = start.after(Duration::from_millis(100));
        assert_eq!(bucket.take(later, rate, 1), Ok(()));
        assert!(bucket.take(later, rate, 1).is_err());
        assert!(!bucket.is_idle(later));
        assert!(bucket.is_idle(later.after(Duration::from_secs(1))));
    }

    #[test]
    fn zero_is_unlimited() {
        let mut bucket = Bucket::default();
        for _ in 0..1000 {
            assert_eq!(bucket.take(Instant::default(), Rate::per_minute(0), 1000), Ok(()));
        }
    }

    #[test]
    fn the_idle_are_forgotten() {
        let mut rates = Rates::new(&mut Random::new(&[0; 32]));
        for key in 0..SWEEP_MIN {
            assert!(rates.take(Instant::default(), key, Rate::per_second(1, 1), 1).is_ok());
        }
        assert!(rates.take(Instant::from_millis(9000), SWEEP_MIN, Rate::per_second(1, 1), 1).is_ok());
        assert_eq!(rates.buckets.len(), 1);
    }
}
