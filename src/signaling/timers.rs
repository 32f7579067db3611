//! What is due when.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use super::{CallId, ConnectionId, Instant, NodeName, RoomId, SessionId, UserId};

/// What a point in time is for. Nothing is taken out of the heap before it is due: whoever is called looks whether it
/// is still meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The first frame, or the heartbeat.
    Connection(ConnectionId),
    /// Its token, its ICE servers, or the end of its wait to be resumed.
    Session(SessionId),
    /// What changed in it is told to its members.
    Room(RoomId),
    /// Its watchers are told how it is.
    Presence(UserId),
    /// Sockets that drain are closed.
    Drain,
    /// A step of a call, of this generation of its timer.
    Call(CallId, u32),
    /// The link to a node.
    Link(NodeName),
    /// What is held back for a session that moves.
    Route(SessionId),
}

/// A heap of them; what is due at the same time comes in the order it was put in.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<Entry>>,
    put: u64,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    order: u64,
    timer: Timer,
}

impl Timers {
    pub(super) fn put(&mut self, at: Instant, timer: Timer) {
        self.put += 1;
        self.heap.push(Reverse(Entry { at, order: self.put, timer }));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// Takes what is due by now.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry.timer)
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_in_order() {
        let mut timers = Timers::default();
        let at = Instant::from_millis;
        for (time, id) in [(5, 1), (3, 2), (5, 3), (9, 4)] {
            timers.put(at(time), Timer::Connection(ConnectionId(id)));
        }
        let mut due = Vec::new();
        while let Some(Timer::Connection(ConnectionId(id))) = timers.pop(at(5)) {
            due.push(id);
        }
        assert_eq!(due, [2, 1, 3]);
        assert_eq!(timers.next(), Some(at(9)));
    }
}
