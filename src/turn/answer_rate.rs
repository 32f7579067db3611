//! How often an address that has proved nothing is answered.

use std::{
    fmt,
    hash::{BuildHasher as _, Hash, Hasher},
    net::IpAddr,
};

use super::{Instant, Random};

/// How many addresses are told apart. A power of two.
const BUCKETS: usize = 4096;
/// One answer, in the unit buckets count in.
const ANSWER: u64 = 1000;

/// Limits the answers to unauthenticated requests per client address, so that forged requests cannot turn the server
/// against the address they pretend to come from.
///
/// Memory is fixed (32 KiB), whatever comes in: each address (IPv6: each /64) falls into one of 4096 buckets by a
/// keyed hash that nobody outside can predict. Addresses that share a bucket share its rate, so a collision means
/// fewer answers, never more. The burst is what the rate allows in one second, and at least one answer.
pub struct AnswerRate {
    hasher: ahash::RandomState,
    buckets: Box<[Bucket]>,
}

/// A bucket that fills when an answer is given and drains with time: all zero is unused.
#[derive(Clone, Copy, Default)]
struct Bucket {
    /// In thousandths of an answer.
    level: u32,
    /// Milliseconds, the lowest 32 bits of them: after exactly 49 days of silence a bucket may be found less empty
    /// than it is.
    drained: u32,
}

impl AnswerRate {
    /// No answer given yet; `random` keys the hash.
    #[must_use]
    pub fn new(random: &mut dyn Random) -> Self {
        let mut key = [[0; 8]; 4];
        for part in &mut key {
            random.fill(part);
        }
        let [a, b, c, d] = key.map(u64::from_le_bytes);
        let hasher = ahash::RandomState::with_seeds(a, b, c, d);
        Self { hasher, buckets: vec![Bucket::default(); BUCKETS].into() }
    }

    /// Whether a request from `ip` may be answered now at a rate of `per_second`; counts the answer if so. A rate of
    /// zero answers nobody.
    pub fn admit(&mut self, now: Instant, ip: IpAddr, per_second: u32) -> bool {
        let index = self.index(ip);
        let Some(bucket) = self.buckets.get_mut(index) else { return false };
        // Truncation is meant: see `Bucket::drained`.
        let now = now.as_millis() as u32;
        let elapsed = u64::from(now.wrapping_sub(bucket.drained));
        let level = u64::from(bucket.level).saturating_sub(elapsed * u64::from(per_second));
        let admitted = per_second > 0 && level + ANSWER <= u64::from(per_second) * ANSWER;
        let level = if admitted { level + ANSWER } else { level };
        *bucket = Bucket { level: u32::try_from(level).unwrap_or(u32::MAX), drained: now };
        admitted
    }

    fn index(&self, ip: IpAddr) -> usize {
        let mut hasher = self.hasher.build_hasher();
        match ip.to_canonical() {
            IpAddr::V4(ip) => ip.octets().hash(&mut hasher),
            IpAddr::V6(ip) => (u128::from(ip) >> 64).hash(&mut hasher),
        }
        hasher.finish() as usize % BUCKETS
    }
}

impl fmt::Debug for AnswerRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerRate")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Random for Fixed {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(0x5a);
        }
    }

    fn rate() -> AnswerRate {
        AnswerRate::new(&mut Fixed)
    }

    fn at(milliseconds: u64) -> Instant {
        Instant::from_millis(milliseconds)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn answers(rate: &mut AnswerRate, now: u64, from: IpAddr, per_second: u32) -> usize {
        (0..500).filter(|_| rate.admit(at(now), from, per_second)).count()
    }

    #[test]
    fn one_second_of_answers_at_once_and_then_the_rate() {
        let mut rate = rate();
        let client = ip("192.0.2.1");

        assert_eq!(answers(&mut rate, 0, client, 100), 100);
        assert_eq!(answers(&mut rate, 9, client, 100), 0);
        assert_eq!(answers(&mut rate, 10, client, 100), 1);
        assert_eq!(answers(&mut rate, 510, client, 100), 50);
        assert_eq!(answers(&mut rate, 60_000, client, 100), 100);
    }

    #[test]
    fn a_refused_request_does_not_make_the_wait_longer() {
        let mut rate = rate();
        let client = ip("192.0.2.1");
        assert!(rate.admit(at(0), client, 1));

        assert!((1..1000).all(|now| !rate.admit(at(now), client, 1)));
        assert!(rate.admit(at(1000), client, 1));
    }

    #[test]
    fn a_rate_of_zero_answers_nobody() {
        assert!(!rate().admit(at(99_999), ip("192.0.2.1"), 0));
    }

    #[test]
    fn the_highest_rate_does_not_overflow() {
        let mut rate = rate();

        assert!((0..1000).all(|now| rate.admit(at(now * u64::from(u32::MAX)), ip("192.0.2.1"), u32::MAX)));
    }

    #[test]
    fn another_address_is_not_affected() {
        let mut rate = rate();

        assert_eq!(answers(&mut rate, 0, ip("192.0.2.1"), 5), 5);
        assert_eq!(answers(&mut rate, 0, ip("192.0.2.2"), 5), 5);
    }

    #[test]
    fn an_ipv6_64_and_mapped_ipv4_share() {
        let mut rate = rate();

        assert_eq!(answers(&mut rate, 0, ip("2001:db8::1"), 5), 5);
        assert_eq!(answers(&mut rate, 0, ip("2001:db8::ffff:2"), 5), 0);
        assert_eq!(answers(&mut rate, 0, ip("2001:db8:0:1::1"), 5), 5);
        assert_eq!(answers(&mut rate, 0, ip("192.0.2.1"), 5), 5);
        assert_eq!(answers(&mut rate, 0, ip("::ffff:192.0.2.1"), 5), 0);
    }

    #[test]
    fn addresses_that_collide_share_one_rate_and_nothing_grows() {
        let mut rate = rate();

        let admitted = (0..100_000_u32).filter(|&n| rate.admit(at(0), IpAddr::V4(n.into()), 1)).count();

        // With 100 000 addresses all buckets are hit, and each gives one answer.
        assert_eq!(admitted, BUCKETS);
        assert_eq!(rate.buckets.len(), BUCKETS);
    }

    #[test]
    fn the_millisecond_counter_may_wrap() {
        let mut rate = rate();
        let (client, wrap) = (ip("192.0.2.1"), u64::from(u32::MAX));
        assert_eq!(answers(&mut rate, wrap, client, 10), 10);

        assert_eq!(answers(&mut rate, wrap + 99, client, 10), 0);
        assert_eq!(answers(&mut rate, wrap + 200, client, 10), 2);
    }
}
