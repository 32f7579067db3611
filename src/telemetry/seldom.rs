//! Log lines that a stranger could cause without end.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

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
}
