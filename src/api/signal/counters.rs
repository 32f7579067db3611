//! What happened on the way to and from the core.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use crate::{
    api::counters::DecisionResult,
    config::DecisionKind,
    signaling::CloseCode,
    telemetry::{Sheet, metric},
};

const RESULTS: usize = DecisionResult::ALL.len();
const KINDS: usize = DecisionKind::ALL.len();
const CODES: usize = CloseCode::ALL.len();

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) draining: AtomicBool,
    opened: AtomicU64,
    refused: AtomicU64,
    closed: [AtomicU64; CODES],
    decided: [[AtomicU64; RESULTS]; KINDS],
    waited_micros: [AtomicU64; KINDS],
}

/// The signaling relay as metrics show it.
#[derive(Clone, Debug, Default)]
pub struct SignalCounts {
    pub(super) sockets: u64,
    pub(super) events_lost: u64,
    pub(super) is_backend_left_alone: bool,
    opened: u64,
    refused: u64,
    closed: [u64; CODES],
    decided: [[u64; RESULTS]; KINDS],
    waited_micros: [u64; KINDS],
}

impl Counters {
    pub(super) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// A request that became no socket.
    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self, code: CloseCode) {
        let place = CloseCode::ALL.iter().position(|known| *known == code);
        if let Some(count) = place.and_then(|place| self.closed.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn decided(&self, kind: DecisionKind, result: DecisionResult, waited: Duration) {
        let Some(place) = DecisionKind::ALL.iter().position(|known| *known == kind) else { return };
        let counts = self.decided.get(place);
        if let Some(count) = counts.and_then(|counts| counts.get(result as usize)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(micros) = self.waited_micros.get(place) {
            micros.fetch_add(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    pub(super) fn counts(&self) -> SignalCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SignalCounts {
            sockets: 0,
            events_lost: 0,
            is_backend_left_alone: false,
            opened: of(&self.opened),
            refused: of(&self.refused),
            closed: self.closed.each_ref().map(of),
            decided: self.decided.each_ref().map(|counts| counts.each_ref().map(of)),
            waited_micros: self.waited_micros.each_ref().map(of),
        }
    }
}

impl SignalCounts {
    pub(in crate::api) fn fill(&self, sheet: &mut Sheet) {
        sheet.count(&metric::SIGNAL_SOCKETS, &[], self.sockets);
        sheet.count(&metric::SIGNAL_CONNECTS, &["opened"], self.opened);
        sheet.count(&metric::SIGNAL_CONNECTS, &["refused"], self.refused);
        for (code, count) in CloseCode::ALL.iter().zip(&self.closed) {
            sheet.count(&metric::SIGNAL_CLOSES, &[&code.code().to_string()], *count);
        }
        for ((kind, counts), micros) in DecisionKind::ALL.iter().zip(&self.decided).zip(&self.waited_micros) {
            for (result, count) in DecisionResult::ALL.iter().zip(counts) {
                sheet.count(&metric::SIGNAL_DECISIONS, &[kind.as_str(), result.as_str()], *count);
            }
            let seconds = Duration::from_micros(*micros).as_secs_f64();
            sheet.set(&metric::SIGNAL_DECISION_SECONDS, &[kind.as_str()], seconds);
        }
        sheet.count(&metric::SIGNAL_BACKEND_LEFT_ALONE, &[], u64::from(self.is_backend_left_alone));
        sheet.count(&metric::SIGNAL_EVENTS_LOST, &[], self.events_lost);
    }
}

impl super::Signal {
    /// What happened so far, and what is there now.
    pub(in crate::api) fn counts(&self) -> SignalCounts {
        let backend = self.backend.load();
        SignalCounts {
            sockets: self.hub.sockets() as u64,
            events_lost: self.hub.events_lost(),
            is_backend_left_alone: backend.as_ref().is_some_and(|backend| backend.is_open()),
            ..self.counters.counts()
        }
    }
}
