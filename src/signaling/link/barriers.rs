//! What comes from a session that has moved, kept in order.
//!
//! What it sent before may still be on its way from its old node to others. So what it sends from its new node to one of
//! those is held back until that one has said that it has *seen* the end of the rest.

use std::collections::VecDeque;

use super::{
    super::{Instant, NodeName, Now, Server, SessionId, timers::Timer},
    message::Carried,
    routes::{FENCE_MAX, HELD_HARD_MAX, HELD_MAX},
};

/// A session that came here, of which something is held back.
#[derive(Debug)]
pub(super) struct Barrier {
    /// Where it lived.
    old: NodeName,
    generation: u32,
    /// Nodes that may still get something from there.
    waiting: Vec<NodeName>,
    held: VecDeque<(NodeName, Carried)>,
    /// Until when at most.
    until: Instant,
}

/// A node has seen the end of what came of a session from where it was before it moved for the so-manieth time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Early {
    pub(super) session: SessionId,
    pub(super) generation: u32,
    pub(super) node: NodeName,
}

/// What nodes have seen of sessions that are still on their way here.
const EARLY_MAX: usize = 4096;

impl Server {
    /// A session came here from another node: what it sends waits until all it sent before has arrived.
    pub(super) fn raise_barrier(&mut self, now: Now, session: SessionId, old: &NodeName, generation: u32) {
        let early = &self.links.early;
        let has_seen = |node: &NodeName| early.contains(&Early { session, generation, node: node.clone() });
        let is_waiting = |node: &NodeName| node != old && !has_seen(node);
        let waiting: Vec<NodeName> = self.links.nodes().into_iter().filter(is_waiting).collect();
        self.links.early.retain(|known| known.session != session);
        if !waiting.is_empty() {
            let until = now.monotonic.after(FENCE_MAX);
            let barrier = Barrier { old: old.clone(), generation, waiting, held: VecDeque::new(), until };
            self.links.barriers.insert(session, barrier);
            self.timer(until, Timer::Route(session));
        }
    }

    /// Keeps what must not go to a node yet, since its sender came from elsewhere; gives back what may go.
    pub(super) fn hold_behind_barrier(
        &mut self,
        node: &NodeName,
        sender: Option<SessionId>,
        carried: Carried,
    ) -> Option<Carried> {
        let barrier = sender.and_then(|sender| self.links.barriers.get_mut(&sender));
        let Some(barrier) = barrier.filter(|barrier| barrier.waiting.contains(node)) else {
            return Some(carried);
        };
        if barrier.held.len() < HELD_HARD_MAX {
            barrier.held.push_back((node.clone(), carried));
        } else {
            self.lose_on_way(node, carried.into());
        }
        None
    }

    /// Whether so much of the session whose frame is handled waits that it may ask for nothing that goes to this node.
    pub(super) fn is_barred(&self, node: &NodeName) -> bool {
        let barrier = self.links.sender.and_then(|sender| self.links.barriers.get(&sender));
        barrier.is_some_and(|barrier| barrier.waiting.contains(node) && barrier.held.len() >= HELD_MAX)
    }

    /// A node has all that came of a session before it moved here, or will move.
    pub(super) fn handle_seen(&mut self, now: Now, seen: Early) {
        if let Some(barrier) = self.links.barriers.get_mut(&seen.session)
            && barrier.generation == seen.generation
        {
            barrier.waiting.retain(|waiting| *waiting != seen.node);
            return self.lower_barrier(now, seen.session);
        }
        if self.directory.session(seen.session).is_some_and(|entry| entry.generation >= seen.generation) {
            return;
        }
        // The session itself is still on its way.
        if self.links.early.len() >= EARLY_MAX {
            self.links.early.pop_front();
        }
        self.links.early.push_back(seen);
    }

    /// What need not wait any longer goes its way.
    fn lower_barrier(&mut self, now: Now, session: SessionId) {
        let Some(barrier) = self.links.barriers.get_mut(&session) else { return };
        let held = std::mem::take(&mut barrier.held);
        let (still, free): (VecDeque<_>, VecDeque<_>) =
            held.into_iter().partition(|(node, _)| barrier.waiting.contains(node));
        barrier.held = still;
        let is_over = barrier.waiting.is_empty();
        if is_over {
            self.links.barriers.remove(&session);
        }
        for (node, carried) in free {
            self.say_to(&node, carried);
        }
        if is_over {
            self.handle_postponed(now);
        }
    }

    /// A barrier has stood long enough.
    pub(super) fn barrier_due(&mut self, now: Now, session: SessionId) {
        if let Some(barrier) = self.links.barriers.get_mut(&session)
            && barrier.until <= now.monotonic
        {
            barrier.waiting.clear();
            self.lower_barrier(now, session);
        }
    }

    /// A node is gone: nothing comes from there.
    pub(super) fn barriers_without(&mut self, now: Now, node: &NodeName) {
        let sessions: Vec<SessionId> = self.links.barriers.keys().copied().collect();
        for session in sessions {
            let Some(barrier) = self.links.barriers.get_mut(&session) else { continue };
            if barrier.old == *node {
                barrier.waiting.clear();
            } else {
                barrier.waiting.retain(|waiting| waiting != node);
            }
            self.lower_barrier(now, session);
        }
    }
}
