//! What is counted of calls and events, and the line of the log that each call ends with.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{CallView, SignalEvent};
use crate::cluster::derive_key;

/// Calls whose state is known for the metrics; further ones are not among those that are up.
const LIVE_MAX: usize = 200_000;
/// Of a user's name in the log: enough to tell users apart.
const PSEUDONYM_BYTES: usize = 9;

/// How a call may come out, as records and metrics name it.
pub const OUTCOMES: [&str; 6] = ["completed", "rejected", "cancelled", "missed", "failed", "glare"];

/// What is counted of calls and events, from the start of the process on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EventFigures {
    /// Calls of this node that ring.
    pub ringing: u64,
    /// Calls of this node that were answered.
    pub active: u64,
    /// Calls that were offered.
    pub created: u64,
    /// Calls that are over, by [`OUTCOMES`].
    pub ended: [u64; OUTCOMES.len()],
    /// Calls that rang somewhere, and the milliseconds from their offer to the first ringing.
    pub rung: (u64, u64),
    /// Calls that were answered, and the milliseconds from their offer to the answer.
    pub answered: (u64, u64),
    /// Milliseconds that ended calls lasted from their answer on.
    pub talk_millis: u64,
    /// Ended calls whose media went through the relay, and those whose did not, as clients said.
    pub relayed: (u64, u64),
    /// Events that happened.
    pub recorded: u64,
    /// Events that could not be kept, because more waited than may wait.
    pub dropped_busy: u64,
    /// Events, dead letters and calls that had to go for newer ones.
    pub dropped_full: u64,
    /// Events that could not be kept, because the file could not be written.
    pub dropped_store: u64,
    /// Events that wait here until Redis can be reached.
    pub spooled: u64,
}

/// Counts as events happen.
#[derive(Debug)]
pub(super) struct Figures {
    key: [u8; 32],
    live: Mutex<HashMap<Box<str>, Live>>,
    counts: Mutex<EventFigures>,
    pub(super) dropped_busy: AtomicU64,
    pub(super) dropped_full: AtomicU64,
    pub(super) dropped_store: AtomicU64,
    pub(super) spooled: AtomicU64,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Live {
    is_active: bool,
    /// When it last changed: milliseconds since the Unix epoch.
    changed: u64,
}

impl Figures {
    /// `key` makes pseudonyms.
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self {
            key,
            live: Mutex::default(),
            counts: Mutex::default(),
            dropped_busy: AtomicU64::new(0),
            dropped_full: AtomicU64::new(0),
            dropped_store: AtomicU64::new(0),
            spooled: AtomicU64::new(0),
        }
    }

    pub(super) fn get(&self) -> EventFigures {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let active = live.values().filter(|live| live.is_active).count() as u64;
        let ringing = live.len() as u64 - active;
        drop(live);
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EventFigures {
            ringing,
            active,
            dropped_busy: of(&self.dropped_busy),
            dropped_full: of(&self.dropped_full),
            dropped_store: of(&self.dropped_store),
            spooled: of(&self.spooled),
            ..*self.counts.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// Counts an event, and logs the end of a call.
    pub(super) fn happened(&self, event: &SignalEvent) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.recorded += 1;
        let Some(call) = event.call.as_deref() else { return };
        let since = |at: Option<u64>| at.map_or(0, |at| at.saturating_sub(call.created_at));
        match event.kind.as_str() {
            "call.created" => counts.created += 1,
            "call.ringing" if call.rung_at == Some(event.time) => {
                counts.rung.0 += 1;
                counts.rung.1 += since(call.rung_at);
            }
            "call.answered" => {
                counts.answered.0 += 1;
                counts.answered.1 += since(call.answered_at);
            }
            _ => {}
        }
        let is_over = call.state == "ended";
        if is_over {
            let outcome = OUTCOMES.iter().position(|outcome| call.outcome.as_deref() == Some(outcome));
            if let Some(count) = outcome.and_then(|outcome| counts.ended.get_mut(outcome)) {
                *count += 1;
            }
            counts.talk_millis += call.duration_ms.unwrap_or(0);
            match call.relayed {
                Some(true) => counts.relayed.0 += 1,
                Some(false) => counts.relayed.1 += 1,
                None => {}
            }
        }
        drop(counts);
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if is_over {
            live.remove(call.id.as_str());
        } else if live.len() < LIVE_MAX || live.contains_key(call.id.as_str()) {
            let now = Live { is_active: call.state == "active", changed: event.time };
            live.insert(call.id.as_str().into(), now);
        }
        drop(live);
        if is_over {
            self.log(call);
        }
    }

    /// Forgets calls that nothing was heard of since then (milliseconds since the Unix epoch): they went on elsewhere.
    pub(super) fn prune(&self, before: u64) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.retain(|_, live| live.changed >= before);
    }

    fn log(&self, call: &CallView) {
        let answerer = call.answerer.as_ref().map(|party| self.pseudonym(&party.user));
        let since = |at: Option<u64>| at.map(|at| at.saturating_sub(call.created_at));
        tracing::info!(
            call = call.id,
            caller = self.pseudonym(&call.caller.user),
            callee = call.callee.as_deref().map(|user| self.pseudonym(user)),
            answerer,
            is_room = call.room.is_some(),
            media = call.media.join(","),
            devices = call.devices,
            ringing_ms = since(call.rung_at),
            answer_ms = since(call.answered_at),
            duration_ms = call.duration_ms,
            outcome = call.outcome,
            reason = call.reason,
            relayed = call.relayed,
            events = call.sequence,
            "A call is over."
        );
    }

    /// What stands for a user in the log: the same each time, and nobody's name.
    fn pseudonym(&self, user: &str) -> String {
        let code = derive_key(&self.key, b"iceway pseudonym", user);
        URL_SAFE_NO_PAD.encode(code.get(..PSEUDONYM_BYTES).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::PartyView;

    fn event(kind: &str, time: u64, state: &str, change: impl FnOnce(&mut CallView)) -> SignalEvent {
        let mut call = CallView {
            id: "c_1".to_owned(),
            sequence: 1,
            node: "n1".to_owned(),
            state: state.to_owned(),
            caller: PartyView { user: "ann".to_owned(), device: String::new(), session: "s".to_owned() },
            callee: Some("bob".to_owned()),
            room: None,
            answerer: None,
            media: vec!["audio".to_owned()],
            devices: 1,
            created_at: 1000,
            rung_at: None,
            answered_at: None,
            ended_at: None,
            duration_ms: None,
            outcome: None,
            reason: None,
            ended_by: None,
            relayed: None,
            attrs: None,
        };
        change(&mut call);
        SignalEvent { call: Some(Box::new(call)), ..SignalEvent::new(kind, time, "n1", (1, time)) }
    }

    #[test]
    fn a_call_is_counted_from_its_offer_to_its_end() {
        let figures = Figures::new([7; 32]);
        figures.happened(&event("call.created", 1000, "ringing", |_| {}));
        figures.happened(&event("call.ringing", 1200, "ringing", |call| call.rung_at = Some(1200)));
        figures.happened(&event("call.ringing", 1300, "ringing", |call| call.rung_at = Some(1200)));
        assert_eq!((figures.get().ringing, figures.get().active), (1, 0));
        figures.happened(&event("call.answered", 3000, "active", |call| call.answered_at = Some(3000)));
        assert_eq!((figures.get().ringing, figures.get().active), (0, 1));
        figures.happened(&event("call.ended", 9000, "ended", |call| {
            call.duration_ms = Some(6000);
            call.outcome = Some("completed".to_owned());
            call.relayed = Some(true);
        }));
        let counts = figures.get();
        assert_eq!((counts.ringing, counts.active, counts.created, counts.recorded), (0, 0, 1, 5));
        assert_eq!((counts.rung, counts.answered), ((1, 200), (1, 2000)));
        assert_eq!((counts.ended, counts.talk_millis, counts.relayed), ([1, 0, 0, 0, 0, 0], 6000, (1, 0)));
    }

    #[test]
    fn pseudonyms_tell_users_apart_and_name_nobody() {
        let figures = Figures::new([7; 32]);
        assert_eq!(figures.pseudonym("ann"), figures.pseudonym("ann"));
        assert_ne!(figures.pseudonym("ann"), figures.pseudonym("bob"));
        assert_ne!(figures.pseudonym("ann"), Figures::new([8; 32]).pseudonym("ann"));
        assert_eq!(figures.pseudonym("ann").len(), 12);
    }
}
