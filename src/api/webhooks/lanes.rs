//! What is delivered when: in order where events are about the same, independent where they are not.
//!
//! Without a clock and without a network, so that hours of retries can be tested in no time.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    time::Duration,
};

use crate::{
    cluster::{PendingEvent, Place},
    config::Webhooks,
};

/// Texts of events that are held in memory; further ones are read again when their time comes.
const CACHED_BYTES_MAX: usize = 16 << 20;
/// The receiver counts as out of reach after so many failures in a row: when it answers again, nothing waits longer.
const DOWN_AFTER: u32 = 5;
/// While it is, and more than one lane waits, one of them tries so often whatever its own wait is.
const PROBE: Duration = Duration::from_secs(30);

/// A point in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Now {
    /// Since an origin that does not change, by a clock that does not jump.
    pub(super) monotonic: Duration,
    /// Milliseconds since the Unix epoch.
    pub(super) unix_millis: u64,
}

/// Names a lane.
type Key = (u8, u64);

/// Something to deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) partition: u8,
    pub(super) lane: u64,
    pub(super) place: Place,
    /// `None`: to be read first.
    pub(super) event: Option<PendingEvent>,
    /// How often it was tried before.
    pub(super) failed: u32,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The receiver has it, or it is not there any more.
    Delivered,
    /// The receiver does not have it.
    Failed,
}

/// What becomes of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// It is done with.
    Remove,
    /// It is tried again.
    Retry,
    /// It is too old to be tried again.
    GiveUp,
}

/// Everything that waits.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: HashMap<Key, Lane>,
    /// When which lane goes on; entries of an earlier generation are void.
    due: BinaryHeap<Reverse<(Duration, u64, Key)>>,
    generation: u64,
    waiting: u64,
    cached_bytes: usize,
    failures: u32,
    /// When an attempt last failed, or one was made to see whether it would.
    tried: Duration,
}

#[derive(Debug, Default)]
struct Lane {
    events: VecDeque<Waiting>,
    failed: u32,
    /// `None` while its first event is on its way.
    turn: Option<u64>,
}

#[derive(Debug)]
struct Waiting {
    place: Place,
    time: u64,
    event: Option<PendingEvent>,
}

impl Lanes {
    /// Adds an event behind those of its lane.
    pub(super) fn add(&mut self, partition: u8, event: PendingEvent, now: Now) {
        let key = (partition, event.lane);
        let (place, time, size) = (event.place, event.time, event.body.len());
        let is_cached = self.cached_bytes + size <= CACHED_BYTES_MAX;
        if is_cached {
            self.cached_bytes += size;
        }
        let waiting = Waiting { place, time, event: is_cached.then_some(event) };
        let lane = self.lanes.entry(key).or_default();
        let is_first = lane.events.is_empty();
        lane.events.push_back(waiting);
        self.waiting += 1;
        if is_first {
            self.schedule(key, now.monotonic);
        }
    }

    /// The next event whose time has come.
    pub(super) fn take(&mut self, now: Now) -> Option<Job> {
        loop {
            let Reverse((due, generation, key)) = self.due.peek().copied()?;
            if self.lanes.get(&key).is_none_or(|lane| lane.turn != Some(generation)) {
                self.due.pop();
                continue;
            }
            if due > now.monotonic {
                if self.probe().is_none_or(|probe| probe > now.monotonic) {
                    return None;
                }
                self.tried = now.monotonic;
            }
            self.due.pop();
            let lane = self.lanes.get_mut(&key)?;
            lane.turn = None;
            let first = lane.events.front()?;
            return Some(Job {
                partition: key.0,
                lane: key.1,
                place: first.place,
                event: first.event.clone(),
                failed: lane.failed,
            });
        }
    }

    /// Says how an attempt ended; `None`: the event is no longer this node's.
    pub(super) fn ended(&mut self, job: &Job, ended: Ended, now: Now, webhooks: &Webhooks) -> Option<Then> {
        let key = (job.partition, job.lane);
        let was_down = self.failures >= DOWN_AFTER;
        self.failures = match ended {
            Ended::Delivered => 0,
            Ended::Failed => self.failures.saturating_add(1),
        };
        if ended == Ended::Failed {
            self.tried = now.monotonic;
        }
        let lane = self.lanes.get_mut(&key).filter(|lane| lane.turn.is_none())?;
        let first = lane.events.front().filter(|first| first.place == job.place)?;
        let then = match ended {
            Ended::Delivered => Then::Remove,
            Ended::Failed if is_too_old(first.time, now, webhooks) => Then::GiveUp,
            Ended::Failed => Then::Retry,
        };
        let mut due = now.monotonic;
        match then {
            Then::Retry => {
                lane.failed = lane.failed.saturating_add(1);
                due += webhooks.wait_after(lane.failed);
            }
            Then::Remove | Then::GiveUp => {
                lane.failed = 0;
                let gone = lane.events.pop_front();
                self.waiting -= 1;
                self.cached_bytes -= gone.and_then(|gone| gone.event).map_or(0, |event| event.body.len());
            }
        }
        if self.lanes.get(&key).is_some_and(|lane| lane.events.is_empty()) {
            self.lanes.remove(&key);
        } else {
            self.schedule(key, due);
        }
        if ended == Ended::Delivered && was_down {
            self.hurry(now);
        }
        Some(then)
    }

    /// Gives a taken event back, to be taken again then.
    pub(super) fn postpone(&mut self, job: &Job, until: Duration) {
        let key = (job.partition, job.lane);
        if self.lanes.get(&key).is_some_and(|lane| lane.turn.is_none()) {
            self.schedule(key, until);
        }
    }

    /// Forgets a partition: another node delivers it.
    pub(super) fn forget(&mut self, partition: u8) {
        self.lanes.retain(|(of, _), _| *of != partition);
        let events = self.lanes.values().flat_map(|lane| &lane.events);
        self.waiting = events.clone().count() as u64;
        self.cached_bytes = events.filter_map(|waiting| Some(waiting.event.as_ref()?.body.len())).sum();
    }

    /// Has everything tried now that waits for its next attempt.
    pub(super) fn hurry(&mut self, now: Now) {
        let waiting = |lane: &Lane| lane.turn.is_some() && lane.failed > 0;
        let keys: Vec<Key> =
            self.lanes.iter().filter(|(_, lane)| waiting(lane)).map(|(key, _)| *key).collect();
        for key in keys {
            self.schedule(key, now.monotonic);
        }
    }

    /// When something is due.
    pub(super) fn next_due(&mut self) -> Option<Duration> {
        loop {
            let Reverse((due, generation, key)) = self.due.peek().copied()?;
            if self.lanes.get(&key).is_some_and(|lane| lane.turn == Some(generation)) {
                return Some(self.probe().map_or(due, |probe| probe.min(due)));
            }
            self.due.pop();
        }
    }

    /// How many events wait or are on their way.
    pub(super) const fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Whether the receiver failed to answer the last times.
    pub(super) const fn is_down(&self) -> bool {
        self.failures >= DOWN_AFTER
    }

    /// When the oldest event happened: milliseconds since the Unix epoch.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.lanes.values().filter_map(|lane| Some(lane.events.front()?.time)).min()
    }

    /// When it is next looked whether the receiver is there again.
    fn probe(&self) -> Option<Duration> {
        (self.is_down() && self.lanes.len() > 1).then(|| self.tried + PROBE)
    }

    fn schedule(&mut self, key: Key, due: Duration) {
        self.generation += 1;
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.turn = Some(self.generation);
            self.due.push(Reverse((due, self.generation, key)));
        }
    }
}

fn is_too_old(time: u64, now: Now, webhooks: &Webhooks) -> bool {
    u128::from(now.unix_millis.saturating_sub(time)) >= webhooks.retry_for.as_millis()
}

#[cfg(test)]
mod tests;
