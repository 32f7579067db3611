//! Events and calls in memory: of a node without a file.

use std::collections::{BTreeMap, HashMap};

use super::{
    CallHistory, CallPage, CallStepView, CallView, OutboxBounds,
    kept::{KeptEvent, STEPS_MAX},
};

/// What is forgotten at once, so that nobody waits for it.
const PRUNED_MAX: usize = 1000;

/// Everything a node without a file keeps of what happened.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pending: BTreeMap<u64, KeptEvent>,
    dead: BTreeMap<u64, KeptEvent>,
    calls: HashMap<String, KnownCall>,
    /// Calls by the place of their last change.
    order: BTreeMap<u64, String>,
    /// The last place that was given.
    last: u64,
}

#[derive(Debug)]
struct KnownCall {
    place: u64,
    call: CallView,
    steps: Vec<CallStepView>,
}

impl Memory {
    /// Keeps events; answers how many older ones had to go for them.
    pub(super) fn append(&mut self, events: Vec<KeptEvent>, bounds: &OutboxBounds, now_micros: u64) -> u64 {
        for kept in events {
            if let Some((call, step)) = kept.call() {
                self.list(call, step, now_micros);
            }
            if kept.is_delivered {
                let place = self.next(now_micros);
                self.pending.insert(place, kept);
            }
        }
        surplus(&mut self.pending, bounds.pending_max) + self.bound_calls(bounds)
    }

    /// Keeps events until they can be handed on, in their order and whatever they are.
    pub(super) fn spool(&mut self, events: Vec<KeptEvent>, bounds: &OutboxBounds, now_micros: u64) -> u64 {
        for kept in events {
            let place = self.next(now_micros);
            self.pending.insert(place, kept);
        }
        surplus(&mut self.pending, bounds.pending_max)
    }

    pub(super) fn pending(&self, after: u64, limit: usize) -> Vec<(u64, KeptEvent)> {
        let range = self.pending.range(after.saturating_add(1)..);
        range.take(limit).map(|(place, kept)| (*place, kept.clone())).collect()
    }

    pub(super) fn remove(&mut self, places: &[u64]) {
        for place in places {
            self.pending.remove(place);
        }
    }

    /// Gives an event up; answers how many of those before it had to go.
    pub(super) fn bury(&mut self, place: u64, bounds: &OutboxBounds) -> u64 {
        if let Some(kept) = self.pending.remove(&place) {
            self.dead.insert(place, kept);
        }
        surplus(&mut self.dead, bounds.dead_max)
    }

    /// Has what was given up since `from` (milliseconds since the Unix epoch) delivered again; answers how many.
    pub(super) fn replay(&mut self, from: u64, now_micros: u64) -> u64 {
        let places: Vec<u64> =
            self.dead.iter().filter(|(_, kept)| kept.time >= from).map(|(place, _)| *place).collect();
        for place in &places {
            if let Some(kept) = self.dead.remove(place) {
                let place = self.next(now_micros);
                self.pending.insert(place, kept);
            }
        }
        places.len() as u64
    }

    pub(super) fn dead(&self) -> u64 {
        self.dead.len() as u64
    }

    pub(super) fn calls(&self, since: u64, limit: usize) -> CallPage {
        let mut found = self.order.range(since.saturating_add(1)..);
        let calls = found.by_ref().take(limit);
        let calls: Vec<(u64, CallView)> =
            calls.filter_map(|(place, id)| Some((*place, self.calls.get(id)?.call.clone()))).collect();
        CallPage { has_more: found.next().is_some(), calls }
    }

    pub(super) fn call(&self, id: &str) -> Option<CallHistory> {
        self.calls.get(id).map(|known| (known.call.clone(), known.steps.clone()))
    }

    /// Forgets calls that did not change since `before` (microseconds since the Unix epoch).
    pub(super) fn prune(&mut self, before: u64) {
        for _ in 0..PRUNED_MAX {
            let Some(oldest) = self.order.first_entry().filter(|oldest| *oldest.key() < before) else {
                return;
            };
            self.calls.remove(&oldest.remove());
        }
    }

    fn list(&mut self, call: CallView, step: CallStepView, now_micros: u64) {
        let place = self.next(now_micros);
        let id = call.id.clone();
        let known = self.calls.entry(id.clone()).or_insert_with(|| KnownCall {
            place,
            call: call.clone(),
            steps: Vec::new(),
        });
        self.order.remove(&known.place);
        known.place = place;
        self.order.insert(place, id);
        if known.call.sequence <= call.sequence {
            known.call = call;
        }
        put_step(&mut known.steps, step);
    }

    fn bound_calls(&mut self, bounds: &OutboxBounds) -> u64 {
        let mut dropped = 0;
        while self.order.len() as u64 > bounds.calls_max {
            let Some((_, id)) = self.order.pop_first() else { break };
            self.calls.remove(&id);
            dropped += 1;
        }
        dropped
    }

    fn next(&mut self, now_micros: u64) -> u64 {
        self.last = self.last.saturating_add(1).max(now_micros);
        self.last
    }
}

/// Adds a step to those of its call, each once and in their order.
pub(crate) fn put_step(steps: &mut Vec<CallStepView>, step: CallStepView) {
    let place = steps.partition_point(|known| known.call_seq < step.call_seq);
    if steps.get(place).is_some_and(|known| known.call_seq == step.call_seq) || steps.len() >= STEPS_MAX {
        return;
    }
    steps.insert(place, step);
}

fn surplus(events: &mut BTreeMap<u64, KeptEvent>, max: u64) -> u64 {
    let mut dropped = 0;
    while events.len() as u64 > max {
        events.pop_first();
        dropped += 1;
    }
    dropped
}
