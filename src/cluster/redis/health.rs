//! Whether the other nodes can be reached, since when not, and why.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    cluster::{Health, clock::unix_millis},
    telemetry::{Seldom, uptime},
};

use super::words::{redis_mend, shown};

/// How often another reason is logged while the others cannot be reached.
const REASONS_EVERY: Duration = Duration::from_secs(30);

pub(super) struct HealthState {
    state: Mutex<State>,
    reasons: Seldom,
}

struct State {
    /// When it became degraded: by a clock that does not jump, and for people.
    degraded: Option<(Instant, u64)>,
    reason: String,
    /// Of the times that are over.
    total: Duration,
    /// How many nodes there were when they were last known.
    nodes: u32,
}

impl HealthState {
    pub(super) fn new() -> Self {
        let degraded = Some((Instant::now(), unix_millis()));
        let reason = "Redis has not been reached yet".to_owned();
        let state = Mutex::new(State { degraded, reason, total: Duration::ZERO, nodes: 1 });
        Self { state, reasons: Seldom::new(REASONS_EVERY) }
    }

    pub(super) fn get(&self) -> Health {
        let state = self.lock();
        match state.degraded {
            None => Health::Connected,
            Some((_, since)) => Health::Degraded { since, reason: state.reason.clone() },
        }
    }

    /// Why it is degraded; for errors.
    pub(super) fn reason(&self) -> String {
        let state = self.lock();
        if state.degraded.is_some() { state.reason.clone() } else { "Redis does not answer".to_owned() }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.lock().degraded.is_none()
    }

    /// Says that all is well; `nodes` is how many there are.
    pub(super) fn connected(&self, nodes: u32) {
        let mut state = self.lock();
        state.nodes = nodes.max(1);
        let Some((since, _)) = state.degraded.take() else { return };
        state.total += since.elapsed();
        drop(state);
        tracing::info!(nodes, "The other nodes can be reached.");
    }

    /// Says that something is wrong; `nodes` is how many are known.
    pub(super) fn degraded(&self, reason: &str, nodes: u32) {
        let reason = &shown(reason);
        let mut state = self.lock();
        let is_new = state.degraded.is_none();
        let is_other = state.reason != *reason;
        if state.degraded.is_none() {
            // One may have come since the last heartbeat.
            state.nodes = nodes.max(1);
        }
        state.degraded.get_or_insert_with(|| (Instant::now(), unix_millis()));
        reason.clone_into(&mut state.reason);
        drop(state);
        // While it lasts, each attempt may end for another reason.
        if is_new || is_other && self.reasons.permit(uptime()).is_some() {
            let mend = redis_mend(reason);
            tracing::warn!(
                reason,
                mend,
                "The other nodes cannot be reached; this one goes on with what it knows."
            );
        }
    }

    /// By how much limits are divided while this node counts alone.
    pub(super) fn share(&self) -> u32 {
        let state = self.lock();
        if state.degraded.is_some() { state.nodes } else { 1 }
    }

    pub(super) fn degraded_millis(&self) -> u64 {
        let state = self.lock();
        let now = state.degraded.map_or(Duration::ZERO, |(since, _)| since.elapsed());
        u64::try_from((state.total + now).as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
