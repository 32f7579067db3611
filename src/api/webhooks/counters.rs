//! What is counted of deliveries.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::telemetry::{Sheet, metric};

/// How an attempt to deliver an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The receiver answered 2xx.
    Delivered,
    /// It answered 410: nothing more is sent to it.
    Gone,
    /// It answered something else.
    Refused,
    /// It could not be reached.
    Unreachable,
    /// It did not answer in time.
    Late,
}

impl Attempt {
    const ALL: [Self; 5] = [Self::Delivered, Self::Gone, Self::Refused, Self::Unreachable, Self::Late];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Gone => "gone",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Late => "late",
        }
    }
}

/// Counters of deliveries.
#[derive(Debug, Default)]
pub(super) struct Counters {
    attempts: [AtomicU64; Attempt::ALL.len()],
    pub(super) given_up: AtomicU64,
    pub(super) pending: AtomicU64,
    /// When the oldest event that waits happened: milliseconds since the Unix epoch; 0 if none waits.
    pub(super) oldest: AtomicU64,
    pub(super) dead: AtomicU64,
    pub(super) is_disabled: AtomicBool,
}

/// What was counted at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WebhookFigures {
    attempts: [u64; Attempt::ALL.len()],
    given_up: u64,
    pending: u64,
    oldest_seconds: f64,
    dead: u64,
    is_disabled: bool,
}

impl Counters {
    pub(super) fn attempt(&self, attempt: Attempt) {
        if let Some(count) = self.attempts.get(attempt as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn figures(&self, now_millis: u64) -> WebhookFigures {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let oldest = of(&self.oldest);
        let age = if oldest == 0 { 0 } else { now_millis.saturating_sub(oldest) };
        WebhookFigures {
            attempts: self.attempts.each_ref().map(of),
            given_up: of(&self.given_up),
            pending: of(&self.pending),
            oldest_seconds: age as f64 / 1000.0,
            dead: of(&self.dead),
            is_disabled: self.is_disabled.load(Ordering::Relaxed),
        }
    }
}

impl WebhookFigures {
    /// Whether nothing is sent because the receiver answered 410.
    #[must_use]
    pub const fn is_disabled(&self) -> bool {
        self.is_disabled
    }

    pub(in crate::api) fn fill(&self, sheet: &mut Sheet) {
        for (attempt, count) in Attempt::ALL.into_iter().zip(self.attempts) {
            sheet.count(&metric::WEBHOOK_DELIVERIES, &[attempt.as_str()], count);
        }
        sheet.count(&metric::WEBHOOK_GIVEN_UP, &[], self.given_up);
        sheet.count(&metric::WEBHOOK_PENDING, &[], self.pending);
        sheet.set(&metric::WEBHOOK_OLDEST, &[], self.oldest_seconds);
        sheet.count(&metric::WEBHOOK_DEAD, &[], self.dead);
        sheet.count(&metric::WEBHOOK_DISABLED, &[], u64::from(self.is_disabled));
    }
}
