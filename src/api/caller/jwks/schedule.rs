//! When the keys of an issuer are fetched, and for how long they are used.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::credentials::jwt::KeySet;

/// Keys are used for at most so long, whatever their server says; and for so long at least, so that it is not asked
/// with every request.
pub(super) const TTL_MAX: Duration = Duration::from_secs(3600);
const TTL_MIN: Duration = Duration::from_secs(60);
/// For so long after that while they cannot be fetched anew.
const STALE_TIME: Duration = Duration::from_secs(24 * 3600);
/// How long after a failure the next attempt is made: doubled with each.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What there is, and when to fetch again.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    kept: Option<Kept>,
    failures: u32,
    retry_at: Option<Instant>,
    generation: u64,
}

#[derive(Debug)]
struct Kept {
    keys: Arc<KeySet>,
    renew_at: Instant,
    fresh_until: Instant,
    stale_until: Instant,
}

/// What a request does for its keys.
#[derive(Debug)]
pub(super) enum Plan {
    /// Uses these.
    Use(Arc<KeySet>),
    /// Uses these while they are fetched anew.
    Renew(Arc<KeySet>),
    /// Waits until they are fetched; if that fails, what [`Schedule::keys`] says is used.
    Fetch,
    /// Fails: there are none, and an attempt failed a moment ago.
    Wait(Duration),
}

impl Schedule {
    pub(super) fn plan(&self, now: Instant) -> Plan {
        let may_try = self.retry_at.is_none_or(|at| at <= now);
        let Some(kept) = self.kept.as_ref().filter(|kept| now < kept.stale_until) else {
            return if may_try { Plan::Fetch } else { Plan::Wait(self.wait(now)) };
        };
        if now < kept.renew_at || !may_try {
            Plan::Use(Arc::clone(&kept.keys))
        } else if now < kept.fresh_until {
            Plan::Renew(Arc::clone(&kept.keys))
        } else {
            Plan::Fetch
        }
    }

    /// The keys that can be used, fresh or stale.
    pub(super) fn keys(&self, now: Instant) -> Option<Arc<KeySet>> {
        self.kept.as_ref().filter(|kept| now < kept.stale_until).map(|kept| Arc::clone(&kept.keys))
    }

    /// Until the next attempt.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.retry_at.map_or(RETRY_MIN, |at| at.saturating_duration_since(now)).max(RETRY_MIN)
    }

    /// Another number whenever other keys count: after a fetch, and when the last ones are too old.
    pub(super) fn generation(&self, now: Instant) -> u64 {
        let Some(kept) = self.kept.as_ref().filter(|kept| now < kept.stale_until) else { return u64::MAX };
        // While a renewal is due every request has to come by, or nobody would begin it.
        let is_due = now >= kept.renew_at && self.retry_at.is_none_or(|at| at <= now);
        if is_due { u64::MAX } else { self.generation }
    }

    pub(super) fn fetched(&mut self, keys: Arc<KeySet>, ttl: Option<Duration>, now: Instant) {
        let ttl = ttl.unwrap_or(TTL_MAX).clamp(TTL_MIN, TTL_MAX);
        self.kept = Some(Kept {
            keys,
            renew_at: now + ttl * 4 / 5,
            fresh_until: now + ttl,
            stale_until: now + ttl + STALE_TIME,
        });
        self.failures = 0;
        self.retry_at = None;
        self.generation += 1;
    }

    pub(super) fn failed(&mut self, now: Instant) {
        let wait = RETRY_MIN * 2_u32.saturating_pow(self.failures.min(5));
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + wait.min(RETRY_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn fetched(ttl: Option<u64>) -> (Schedule, Instant) {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.fetched(Arc::default(), ttl.map(Duration::from_secs), now);
        (schedule, now)
    }

    #[test]
    fn keys_are_renewed_at_four_fifths_of_their_time() {
        for (ttl, minutes) in [(None, 60), (Some(u64::MAX), 60), (Some(600), 10), (Some(0), 1)] {
            let (schedule, now) = fetched(ttl);
            let at = |share: u32| schedule.plan(now + MINUTE * minutes * share / 100);
            assert!(matches!(at(79), Plan::Use(_)), "{ttl:?}");
            assert!(matches!(at(80), Plan::Renew(_)), "{ttl:?}");
            assert!(matches!(at(99), Plan::Renew(_)), "{ttl:?}");
            assert!(matches!(at(100), Plan::Fetch), "{ttl:?}");
        }
    }

    #[test]
    fn old_keys_are_used_for_a_day_while_there_are_no_new_ones() {
        let (mut schedule, now) = fetched(None);
        let later = now + TTL_MAX;
        assert!(matches!(schedule.plan(later), Plan::Fetch));
        schedule.failed(later);
        assert!(matches!(schedule.plan(later), Plan::Use(_)));
        assert!(matches!(schedule.plan(later + RETRY_MIN), Plan::Fetch));
        assert!(schedule.keys(later + STALE_TIME - MINUTE).is_some());
        assert!(schedule.keys(later + STALE_TIME).is_none());
        assert!(matches!(schedule.plan(later + STALE_TIME), Plan::Fetch));
    }

    #[test]
    fn attempts_that_fail_come_ever_more_seldom() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        assert!(matches!(schedule.plan(now), Plan::Fetch));
        let waits: Vec<u64> = (0..7)
            .map(|_| {
                schedule.failed(now);
                let Plan::Wait(wait) = schedule.plan(now) else { panic!() };
                wait.as_secs()
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn what_was_proved_is_proved_anew_by_other_keys() {
        let (mut schedule, now) = fetched(None);
        let first = schedule.generation(now);
        assert_eq!(schedule.generation(now + MINUTE), first);
        assert_eq!(schedule.generation(now + MINUTE * 48), u64::MAX);
        schedule.fetched(Arc::default(), None, now + MINUTE);
        assert_ne!(schedule.generation(now + MINUTE), first);
    }
}
