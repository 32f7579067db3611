//! Leaving a backend alone that does not answer.

use std::time::{Duration, Instant};

/// Over how many questions failures are counted.
const WINDOW: u32 = 20;
/// How many of them are too many.
const FAILURES_MAX: u32 = 10;
/// How long nobody is asked then.
const PAUSE: Duration = Duration::from_secs(10);

/// Opens when half of the last 20 questions failed, and lets one through every 10 seconds until one is answered.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// One bit for each of the last questions: whether it failed.
    failed: u32,
    asked: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    /// Whether a question may be asked.
    pub(super) fn may_ask(&mut self, now: Instant) -> bool {
        match self.open_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                // This one shows whether it is over; the others wait for what becomes of it.
                self.open_until = Some(now + PAUSE);
                true
            }
        }
    }

    /// Notes what became of a question; answers whether the breaker opened by that.
    pub(super) fn done(&mut self, now: Instant, is_answered: bool) -> bool {
        if is_answered && self.open_until.is_some() {
            *self = Self::default();
            return false;
        }
        self.failed = (self.failed << 1 | u32::from(!is_answered)) & ((1 << WINDOW) - 1);
        self.asked = (self.asked + 1).min(WINDOW);
        let is_opened =
            self.open_until.is_none() && self.asked == WINDOW && self.failed.count_ones() >= FAILURES_MAX;
        if is_opened || (!is_answered && self.open_until.is_some()) {
            self.open_until = Some(now + PAUSE);
        }
        is_opened
    }

    /// Whether nobody is asked at present.
    pub(super) const fn is_open(&self) -> bool {
        self.open_until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_twenty_failures_open_it_and_one_answer_closes_it() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for number in 0..WINDOW {
            assert!(breaker.may_ask(now), "{number}");
            let is_opened = breaker.done(now, number % 2 == 0);
            assert_eq!(is_opened, number == WINDOW - 1, "{number}");
        }
        assert!(!breaker.may_ask(now));
        let later = now + PAUSE;
        assert!(breaker.may_ask(later));
        assert!(!breaker.may_ask(later), "only one tries");
        breaker.done(later, false);
        assert!(!breaker.may_ask(later + PAUSE / 2));
        assert!(breaker.may_ask(later + PAUSE));
        breaker.done(later + PAUSE, true);
        assert!(breaker.may_ask(later + PAUSE) && !breaker.is_open());
    }

    #[test]
    fn fewer_failures_do_not() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for number in 0..1000 {
            assert!(!breaker.done(now, number % 3 != 0));
            assert!(breaker.may_ask(now));
        }
    }
}
