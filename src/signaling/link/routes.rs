//! Ways to sessions, which keep their order when a session moves from one node to another.
//!
//! What is for a session goes to the node where it is known to live, and from there on if it has moved. A node that
//! learns of a move sends a *fence* down the old way and holds back what is for the session until that has arrived:
//! then nothing can be overtaken. And what comes *from* a session that has moved is held back from each node until that
//! has seen the end of what came from the session's old node (*seen*).

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{
    super::{
        ErrorCode, Instant, NodeName, Now, Server, SessionId,
        deliver::{Parcel, Refusal},
        directory::Home,
        hello::Arrival,
        session::queue::Answer,
        timers::Timer,
    },
    Fill, Message,
    body::read_body,
    requester,
    telling::is_at,
    wire::Reader,
};

/// A session for which something is held back.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) reason: Reason,
    /// A client that came here to resume it.
    pub(super) waiting: Option<Waiting>,
    /// When a fence is given up.
    until: Instant,
    held: VecDeque<Held>,
}

/// A client whose session is to come here.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) arrival: Box<Arrival>,
    /// Until when it waits, whatever its session has to wait for meanwhile.
    pub(super) until: Instant,
}

/// Why something is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Until this fence has passed, that was sent to that node.
    Fence(u64, NodeName),
    /// Until that node has handed the session over.
    Take(NodeName),
}

#[derive(Debug)]
struct Held {
    /// Who sent it, if that is a session of this node.
    sender: Option<SessionId>,
    message: Message,
}

/// A session that came here, of which something is held back.
#[derive(Debug)]
pub(super) struct Barrier {
    /// Where it lived.
    old: NodeName,
    generation: u32,
    /// Nodes that may still get something from there.
    waiting: Vec<NodeName>,
    held: VecDeque<(NodeName, Message)>,
    /// Until when at most.
    until: Instant,
}

/// Something held back for one session: beyond that, requests are refused.
const HELD_MAX: usize = 256;
/// What nodes have seen of sessions that are still on their way here.
const EARLY_MAX: usize = 4096;
/// A fence that was lost with a node on its way is given up.
const FENCE_MAX: Duration = Duration::from_secs(60);

impl Server {
    /// Something for a session that does not live here.
    pub(in crate::signaling) fn send_elsewhere(&mut self, now: Now, to: SessionId, parcel: Parcel) {
        let sender = self.links.sender;
        self.links.now = now;
        self.send_on(now, to, sender, Message::of_parcel(to, parcel));
    }

    /// Whether requests that send something to this session are to be taken; if not, they are `unavailable`.
    pub(in crate::signaling) fn can_reach(&self, to: SessionId) -> bool {
        let Some(entry) = self.directory.session(to) else { return true };
        if self.links.routes.get(&to).is_some_and(|route| route.held.len() >= HELD_MAX) {
            return false;
        }
        match &entry.node {
            Home::Here => true,
            Home::Node(node) => self.can_reach_node(node),
        }
    }

    pub(super) fn can_reach_node(&self, node: &NodeName) -> bool {
        let link = self.links.by_node.get(node);
        link.is_some_and(|link| link.is_up && link.channel.fill() == Fill::Free)
    }

    /// What another node sent for sessions.
    pub(super) fn handle_carried(&mut self, now: Now, node: &NodeName, message: Message) {
        match message {
            Message::ToCall { from, id, .. } if self.directory.session(from).is_none() => {
                // It was given up with its node, which has not told of it again yet.
                let Some(id) = id else { return };
                let refusal = Refusal::new(ErrorCode::Unavailable, "the nodes have just lost each other");
                let answer = Answer::Error(refusal.members());
                self.send_to_node(node, None, Message::Answer { to: from, id, answer });
            }
            Message::Frame { to, tail, receipt } => {
                for id in to {
                    let one = Message::Frame { to: vec![id], tail: tail.clone(), receipt: receipt.clone() };
                    self.send_on(now, id, None, one);
                }
            }
            Message::Answer { to, id, answer } => {
                self.forget_awaited(node, to, &id);
                self.send_on(now, to, None, Message::Answer { to, id, answer });
            }
            message @ Message::ToCall { caller: Some(caller), .. } => {
                self.send_on(now, caller, None, message);
            }
            message @ (Message::ToCall { caller: None, .. }
            | Message::Begin
            | Message::End
            | Message::Again
            | Message::Up(..)
            | Message::Changed(_)
            | Message::Down(..)
            | Message::Join(..)
            | Message::Leave(..)
            | Message::Call(_)
            | Message::Lost(_)
            | Message::Take { .. }
            | Message::Taken(..)
            | Message::NotTaken(_)
            | Message::Moved { .. }
            | Message::Seen(..)
            | Message::Fence { .. }
            | Message::Passed(..)) => self.arrive(now, message),
        }
    }

    /// Sends something on to where its session is.
    pub(super) fn send_on(&mut self, now: Now, to: SessionId, sender: Option<SessionId>, message: Message) {
        if let Some(route) = self.links.routes.get_mut(&to) {
            return route.held.push_back(Held { sender, message });
        }
        let home = self.directory.session(to).map(|entry| entry.node.clone());
        match home {
            Some(Home::Node(node)) => self.send_to_node(&node, sender, message),
            Some(Home::Here) => self.arrive(now, message),
            // The session is over. A call may have stayed.
            None => {
                if let Message::ToCall { .. } = message {
                    self.arrive(now, message);
                }
            }
        }
    }

    /// Sends something to a node, behind all that its sender sent there before.
    pub(super) fn send_to_node(&mut self, node: &NodeName, sender: Option<SessionId>, message: Message) {
        if let Some(barrier) = sender.and_then(|sender| self.links.barriers.get_mut(&sender))
            && barrier.waiting.contains(node)
        {
            return barrier.held.push_back((node.clone(), message));
        }
        // What happened here before is known there before.
        self.tell_news();
        let Some(link) = self.links.up(node) else {
            // Should it come back, its sessions are told what they missed.
            if let Some(link) = self.links.by_node.get_mut(node) {
                link.lose(&message);
            }
            if let Message::ToCall { from, id: Some(id), .. } = message {
                self.refuse_undelivered(self.links.now, from, id);
            }
            return;
        };
        if let Message::Frame { to, tail, receipt } = message {
            to.iter().for_each(|to| link.send_frame(*to, tail.clone(), receipt.clone()));
        } else {
            link.say(&message);
        }
    }

    /// Something has come to the node of its session.
    fn arrive(&mut self, now: Now, message: Message) {
        match message {
            Message::Frame { to, tail, receipt } => {
                for id in to {
                    let parcel = Parcel::Frame { tail: tail.clone(), receipt: receipt.clone() };
                    self.handle_parcel(now, id, parcel);
                }
            }
            Message::Answer { to, id, answer } => {
                // Who waited was told already that nobody would answer.
                let is_late = self.sessions.get(to).is_some_and(|session| session.replies.is_answered(&id));
                if !is_late {
                    self.handle_parcel(now, to, Parcel::Answer { id, answer });
                }
            }
            Message::ToCall { from, id, body, .. } => {
                let from = requester(from, id.as_ref().map(Arc::clone));
                match read_body(&mut Reader::new(&body)) {
                    Some(body) => self.handle_call_from_elsewhere(now, &from, body),
                    None => {
                        let refusal =
                            Refusal::new(ErrorCode::Internal, "the nodes do not understand each other");
                        self.reply_error(now, &from, &refusal);
                    }
                }
            }
            Message::Fence { session, origin, number } => {
                self.send_to_node(&origin, None, Message::Passed(session, number));
            }
            Message::Begin
            | Message::End
            | Message::Again
            | Message::Up(..)
            | Message::Changed(_)
            | Message::Down(..)
            | Message::Join(..)
            | Message::Leave(..)
            | Message::Call(_)
            | Message::Lost(_)
            | Message::Take { .. }
            | Message::Taken(..)
            | Message::NotTaken(_)
            | Message::Moved { .. }
            | Message::Seen(..)
            | Message::Passed(..) => debug_assert!(false, "only what is for sessions arrives"),
        }
    }

    /// Another node told of a move, or of what it led to.
    pub(super) fn handle_moving(&mut self, now: Now, node: &NodeName, message: Message) {
        match message {
            Message::Moved { session, to, generation } => {
                let known = self.directory.session(session);
                let is_news = known.is_some_and(|entry| is_at(entry, node) && entry.generation < generation);
                if is_news {
                    self.session_moved(now, session, node, &to, generation);
                }
                self.send_to_node(&to, None, Message::Seen(session, generation));
            }
            Message::Seen(session, generation) => self.handle_seen(now, node, session, generation),
            Message::Fence { session, origin, number } => {
                let message = Message::Fence { session, origin: origin.clone(), number };
                if self.directory.session(session).is_some() || self.links.routes.contains_key(&session) {
                    self.send_on(now, session, None, message);
                } else {
                    self.send_to_node(&origin, None, Message::Passed(session, number));
                }
            }
            Message::Passed(session, number) => {
                let is_it =
                    |route: &Route| matches!(&route.reason, Reason::Fence(known, _) if *known == number);
                if self.links.routes.get(&session).is_some_and(is_it) {
                    self.fence_passed(now, session);
                }
            }
            Message::Begin
            | Message::End
            | Message::Again
            | Message::Up(..)
            | Message::Changed(_)
            | Message::Down(..)
            | Message::Join(..)
            | Message::Leave(..)
            | Message::Call(_)
            | Message::Frame { .. }
            | Message::Answer { .. }
            | Message::ToCall { .. }
            | Message::Lost(_)
            | Message::Take { .. }
            | Message::Taken(..)
            | Message::NotTaken(_) => debug_assert!(false, "that is about no move"),
        }
    }

    /// A session moved from one other node to another: what is for it is held back until all that went the old way
    /// has arrived.
    pub(super) fn session_moved(
        &mut self,
        now: Now,
        id: SessionId,
        old: &NodeName,
        new: &NodeName,
        generation: u32,
    ) {
        if self.links.up(new).is_none() {
            // Once that node is known, it will tell of the session.
            for room in self.directory.rooms_of(id) {
                self.heard_leave(now, &room, id);
            }
            return self.session_gone(now, id);
        }
        self.directory.update(id, |entry| {
            (entry.node, entry.generation) = (Home::Node(new.clone()), generation);
        });
        self.calls_session_moved(now, id, old, new);
        if !self.links.routes.contains_key(&id) && self.links.up(old).is_some() {
            self.send_fence(now, id, old, None);
        }
    }

    pub(super) fn send_fence(
        &mut self,
        now: Now,
        session: SessionId,
        via: &NodeName,
        waiting: Option<Waiting>,
    ) {
        self.links.fences += 1;
        let number = self.links.fences;
        let until = now.monotonic.after(FENCE_MAX);
        let origin = self.setup.node.clone();
        self.send_to_node(via, None, Message::Fence { session, origin, number });
        self.hold(now, session, Reason::Fence(number, via.clone()), waiting);
        self.timer(until, Timer::Route(session));
    }

    /// Holds back from now on what is for a session.
    pub(super) fn hold(&mut self, now: Now, session: SessionId, reason: Reason, waiting: Option<Waiting>) {
        let until = now.monotonic.after(FENCE_MAX);
        match self.links.routes.get_mut(&session) {
            Some(route) => (route.reason, route.waiting, route.until) = (reason, waiting, until),
            None => {
                let route = Route { reason, waiting, until, held: VecDeque::new() };
                self.links.routes.insert(session, route);
            }
        }
    }

    fn fence_passed(&mut self, now: Now, session: SessionId) {
        let waiting = self.links.routes.get_mut(&session).and_then(|route| route.waiting.take());
        match waiting {
            Some(waiting) => self.take_or_give_up(now, session, waiting),
            None => self.release(now, session),
        }
    }

    /// What was held back for a session goes its way.
    pub(super) fn release(&mut self, now: Now, session: SessionId) {
        let Some(route) = self.links.routes.remove(&session) else { return };
        for Held { sender, message } in route.held {
            self.send_on(now, session, sender, message);
        }
        self.handle_postponed(now);
    }

    /// Something held back waits no longer.
    pub(in crate::signaling) fn route_due(&mut self, now: Now, session: SessionId) {
        if let Some(barrier) = self.links.barriers.get_mut(&session)
            && barrier.until <= now.monotonic
        {
            barrier.waiting.clear();
            self.lower_barrier(now, session);
        }
        let Some(route) = self.links.routes.get_mut(&session) else { return };
        let is_fence_over = matches!(route.reason, Reason::Fence(..)) && route.until <= now.monotonic;
        // The session may still come; then it waits for its client. Meanwhile what is for it is held back.
        if let Some(waiting) = route.waiting.take_if(|waiting| waiting.until <= now.monotonic) {
            self.finish_arrival(now, *waiting.arrival, false);
        }
        if is_fence_over {
            self.fence_passed(now, session);
        }
    }

    /// A session came here from another node: what it sends waits until all it sent before has arrived.
    pub(super) fn raise_barrier(&mut self, now: Now, session: SessionId, old: &NodeName, generation: u32) {
        let early = &mut self.links.early;
        let has_seen = |node: &NodeName| early.contains(&(session, generation, node.clone()));
        let is_waiting = |node: &NodeName| node != old && !has_seen(node);
        let waiting: Vec<NodeName> = self
            .links
            .by_node
            .iter()
            .filter(|(_, link)| link.is_up)
            .map(|(node, _)| node.clone())
            .filter(is_waiting)
            .collect();
        self.links.early.retain(|(known, ..)| *known != session);
        if !waiting.is_empty() {
            let until = now.monotonic.after(FENCE_MAX);
            let barrier = Barrier { old: old.clone(), generation, waiting, held: VecDeque::new(), until };
            self.links.barriers.insert(session, barrier);
            self.timer(until, Timer::Route(session));
        }
    }

    fn handle_seen(&mut self, now: Now, node: &NodeName, session: SessionId, generation: u32) {
        if let Some(barrier) = self.links.barriers.get_mut(&session)
            && barrier.generation == generation
        {
            barrier.waiting.retain(|waiting| waiting != node);
            return self.lower_barrier(now, session);
        }
        if self.directory.session(session).is_some_and(|entry| entry.generation >= generation) {
            return;
        }
        // The session itself is still on its way.
        if self.links.early.len() >= EARLY_MAX {
            self.links.early.pop_front();
        }
        self.links.early.push_back((session, generation, node.clone()));
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
        for (node, message) in free {
            self.send_to_node(&node, None, message);
        }
        if is_over {
            self.handle_postponed(now);
        }
    }

    /// A node is gone: nothing comes from there, and nothing passes through it.
    pub(super) fn routes_without(&mut self, now: Now, node: &NodeName) {
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
        self.routes_anew(now, node);
    }

    /// A node knows nothing of what was sent there.
    pub(super) fn routes_anew(&mut self, now: Now, node: &NodeName) {
        self.links.postponed.retain(|(origin, _)| origin != node);
        let sessions: Vec<SessionId> = self.links.routes.keys().copied().collect();
        for session in sessions {
            match self.links.routes.get(&session).map(|route| route.reason.clone()) {
                Some(Reason::Fence(_, via)) if via == *node => self.fence_passed(now, session),
                Some(Reason::Take(from)) if from == *node => self.not_taken(now, session),
                Some(_) | None => {}
            }
        }
    }

    /// Whether something of a session, or for it, is held back.
    pub(super) fn is_held(&self, session: SessionId) -> bool {
        self.links.routes.contains_key(&session) || self.links.barriers.contains_key(&session)
    }
}
