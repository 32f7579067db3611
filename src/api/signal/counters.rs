//! What happened on the way to and from the core.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use crate::{
    api::counters::DecisionResult,
    config::DecisionKind,
    signaling::{self, CallFigures, Gauges, Histogram},
    telemetry::{Distribution, Sheet, metric},
};

const RESULTS: usize = DecisionResult::ALL.len();
const KINDS: usize = DecisionKind::ALL.len();
/// Upper ends of what pings take, in milliseconds.
const PING_MILLIS: [u64; 11] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) draining: AtomicBool,
    opened: AtomicU64,
    refused: AtomicU64,
    decided: [[AtomicU64; RESULTS]; KINDS],
    waited_micros: [AtomicU64; KINDS],
    pongs: [AtomicU64; PING_MILLIS.len()],
    ponged: AtomicU64,
    pong_micros: AtomicU64,
}

/// The signaling relay as metrics show it.
#[derive(Clone, Debug, Default)]
pub struct SignalCounts {
    core: signaling::Counters,
    calls: CallFigures,
    gauges: Gauges,
    rtt: Distribution,
    events_lost: u64,
    is_backend_left_alone: bool,
    opened: u64,
    refused: u64,
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

    /// A client answered a ping.
    pub(super) fn ponged(&self, after: Duration) {
        let bucket =
            PING_MILLIS.iter().zip(&self.pongs).find(|(end, _)| after <= Duration::from_millis(**end));
        if let Some((_, count)) = bucket {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.ponged.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.pong_micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn rtt(&self) -> Distribution {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let buckets = PING_MILLIS.iter().zip(&self.pongs).map(|(end, count)| (seconds(*end), of(count)));
        Distribution {
            buckets: buckets.collect(),
            count: of(&self.ponged),
            sum: Duration::from_micros(of(&self.pong_micros)).as_secs_f64(),
        }
    }

    pub(super) fn counts(&self) -> SignalCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SignalCounts {
            core: signaling::Counters::default(),
            calls: CallFigures::default(),
            gauges: Gauges::default(),
            rtt: self.rtt(),
            events_lost: 0,
            is_backend_left_alone: false,
            opened: of(&self.opened),
            refused: of(&self.refused),
            decided: self.decided.each_ref().map(|counts| counts.each_ref().map(of)),
            waited_micros: self.waited_micros.each_ref().map(of),
        }
    }
}

impl SignalCounts {
    pub(in crate::api) fn fill(&self, sheet: &mut Sheet) {
        self.fill_core(sheet);
        sheet.count(&metric::SIGNAL_CONNECTS, &["opened"], self.opened);
        sheet.count(&metric::SIGNAL_CONNECTS, &["refused"], self.refused);
        for ((kind, counts), micros) in DecisionKind::ALL.iter().zip(&self.decided).zip(&self.waited_micros) {
            for (result, count) in DecisionResult::ALL.iter().zip(counts) {
                sheet.count(&metric::SIGNAL_DECISIONS, &[kind.as_str(), result.as_str()], *count);
            }
            let seconds = Duration::from_micros(*micros).as_secs_f64();
            sheet.set(&metric::SIGNAL_DECISION_SECONDS, &[kind.as_str()], seconds);
        }
        sheet.count(&metric::SIGNAL_BACKEND_LEFT_ALONE, &[], u64::from(self.is_backend_left_alone));
        sheet.count(&metric::SIGNAL_EVENTS_LOST, &[], self.events_lost);
        sheet.distribute(&metric::SIGNAL_RTT, &[], self.rtt.clone());
        let CallFigures { ringing_after, answer_after, lasted, .. } = &self.calls;
        sheet.distribute(&metric::CALLS_PROGRESS, &["ringing"], distribution(ringing_after));
        sheet.distribute(&metric::CALLS_PROGRESS, &["answer"], distribution(answer_after));
        sheet.distribute(&metric::CALLS_DURATION, &[], distribution(lasted));
    }
}

impl SignalCounts {
    fn fill_core(&self, sheet: &mut Sheet) {
        let Gauges { connections, unauthenticated, attached, detached, carried, queue_bytes } = self.gauges;
        let welcomed = connections.saturating_sub(unauthenticated);
        for (state, count) in [("unauthenticated", unauthenticated), ("welcomed", welcomed)] {
            sheet.count(&metric::SIGNAL_SOCKETS, &[state], count as u64);
        }
        for (state, count) in [("attached", attached), ("detached", detached), ("carried", carried)] {
            sheet.count(&metric::SIGNAL_SESSIONS, &[state], count as u64);
        }
        sheet.count(&metric::SIGNAL_QUEUE_BYTES, &[], queue_bytes as u64);
        sheet.count(&metric::SIGNAL_SESSIONS_BEGUN, &[], self.core.sessions_begun);
        sheet.count(&metric::SIGNAL_HELLOS_REFUSED, &[], self.core.hellos_refused);
        sheet.count(&metric::SIGNAL_REPLAYED_FRAMES, &[], self.core.replayed);
        for (kind, count) in self.core.frames_in() {
            sheet.count(&metric::SIGNAL_FRAMES, &[kind.as_str(), "in"], count);
        }
        for (kind, count) in self.core.frames_out() {
            sheet.count(&metric::SIGNAL_FRAMES, &[kind.as_str(), "out"], count);
        }
        for (result, count) in self.core.resumes() {
            sheet.count(&metric::SIGNAL_RESUMES, &[result], count);
        }
        for (code, count) in self.core.closes() {
            sheet.count(&metric::SIGNAL_CLOSES, &[&code.code().to_string()], count);
        }
        for (rule, count) in self.core.trips() {
            sheet.count(&metric::SIGNAL_LIMIT_TRIPS, &[rule.as_str()], count);
        }
    }
}

impl super::Signal {
    /// What happened so far, and what is there now.
    pub(in crate::api) fn counts(&self) -> SignalCounts {
        let backend = self.backend.load();
        let (core, calls, gauges) = self
            .hub
            .look(|server| (server.counters().clone(), server.call_figures().clone(), server.gauges()));
        SignalCounts {
            core,
            calls,
            gauges,
            events_lost: self.hub.events_lost(),
            is_backend_left_alone: backend.as_ref().is_some_and(|backend| backend.is_open()),
            ..self.counters.counts()
        }
    }
}

fn distribution(histogram: &Histogram) -> Distribution {
    let ends = histogram.bounds_millis.iter().map(|end| seconds(*end));
    Distribution {
        buckets: ends.zip(histogram.buckets).collect(),
        count: histogram.count,
        sum: seconds(histogram.sum_millis),
    }
}

fn seconds(millis: u64) -> f64 {
    Duration::from_millis(millis).as_secs_f64()
}
