//! Ways to sessions, which keep their order when a session moves from one node to another.
//!
//! What is for a session goes to the node where it is known to live, and from there on if it has moved. A node that
//! learns of a move sends a *fence* down the old way and holds back what is for the session until that has arrived:
//! then nothing can be overtaken. What comes *from* a session that has moved is held back as well (`barriers`).

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
    barriers::Early,
    body::read_body,
    channel::Fill,
    message::{Carried, Message, Moving},
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
    /// Whether more came than is held back.
    is_broken: bool,
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
    carried: Carried,
}

/// Something held back for one session, or of one: beyond that, requests are refused.
pub(super) const HELD_MAX: usize = 256;
/// Beyond that even what no request led to is lost, and the session told so.
pub(super) const HELD_HARD_MAX: usize = 4096;
/// A fence that was lost with a node on its way is given up.
pub(super) const FENCE_MAX: Duration = Duration::from_secs(60);

impl Server {
    /// Something for a session that does not live here.
    pub(in crate::signaling) fn send_elsewhere(&mut self, now: Now, to: SessionId, parcel: Parcel) {
        let sender = self.links.sender;
        self.links.now = now;
        self.send_on(now, to, sender, Carried::of_parcel(to, parcel));
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
        link.is_some_and(|link| link.is_up && link.channel.fill() == Fill::Free) && !self.is_barred(node)
    }

    /// What another node sent for sessions.
    pub(super) fn handle_carried(&mut self, now: Now, node: &NodeName, carried: Carried) {
        match carried {
            Carried::Frame { to, tail, receipt } => {
                for id in to {
                    let one = Carried::Frame { to: vec![id], tail: tail.clone(), receipt: receipt.clone() };
                    self.send_on(now, id, None, one);
                }
            }
            Carried::Answer { to, id, answer } => {
                self.forget_awaited(node, to, &id);
                self.send_on(now, to, None, Carried::Answer { to, id, answer });
            }
            Carried::ToCall { from, id, .. } if self.directory.session(from).is_none() => {
                // It was given up with its node, which has not told of it again yet.
                let Some(id) = id else { return };
                let refusal = Refusal::new(ErrorCode::Unavailable, "the nodes have just lost each other");
                let answer = Answer::Error(refusal.members());
                self.say_to(node, Carried::Answer { to: from, id, answer });
            }
            Carried::ToCall { caller: Some(caller), from, id, body } => {
                self.send_on(now, caller, None, Carried::ToCall { caller: Some(caller), from, id, body });
            }
            Carried::ToCall { caller: None, from, id, body } => {
                self.arrive(now, Carried::ToCall { caller: None, from, id, body });
            }
            Carried::Fence { session, origin, number } => {
                self.send_on(now, session, None, Carried::Fence { session, origin, number });
            }
        }
    }

    /// Sends something on to where its session is.
    pub(super) fn send_on(&mut self, now: Now, to: SessionId, sender: Option<SessionId>, carried: Carried) {
        if let Some(route) = self.links.routes.get_mut(&to) {
            if route.held.len() < HELD_HARD_MAX {
                return route.held.push_back(Held { sender, carried });
            }
            route.is_broken = true;
            return self.drop_carried(now, carried);
        }
        let home = self.directory.session(to).map(|entry| entry.node.clone());
        match home {
            Some(Home::Node(node)) => self.send_to_node(&node, sender, carried),
            Some(Home::Here) => self.arrive(now, carried),
            // The session is over.
            None => match carried {
                Carried::Frame { .. } | Carried::Answer { .. } => {}
                // A call may have stayed, and nothing is on its way to the session any more.
                Carried::ToCall { .. } | Carried::Fence { .. } => self.arrive(now, carried),
            },
        }
    }

    /// Something does not get to its session, which begins anew for that.
    fn drop_carried(&mut self, now: Now, carried: Carried) {
        match carried {
            Carried::Frame { .. } | Carried::Answer { .. } | Carried::ToCall { id: None, .. } => {}
            Carried::ToCall { from, id: Some(id), .. } => self.refuse_undelivered(now, from, id),
            Carried::Fence { .. } => self.arrive(now, carried),
        }
    }

    /// Sends something to the node of its session, behind all that its sender sent there before.
    pub(super) fn send_to_node(&mut self, node: &NodeName, sender: Option<SessionId>, carried: Carried) {
        if let Some(carried) = self.hold_behind_barrier(node, sender, carried) {
            self.say_to(node, carried);
        }
    }

    /// Says something to a node, behind all that happened here before.
    pub(super) fn say_to(&mut self, node: &NodeName, message: impl Into<Message>) {
        self.tell_news();
        match self.links.up(node) {
            Some(link) => link.say(message),
            None => self.lose_on_way(node, message.into()),
        }
    }

    /// Something cannot be sent to a node. Its sessions are told what they missed, should it come back.
    pub(super) fn lose_on_way(&mut self, node: &NodeName, message: Message) {
        if let Some(link) = self.links.by_node.get_mut(node) {
            link.lose(&message);
        }
        if let Message::Carried(Carried::ToCall { from, id: Some(id), .. }) = message {
            self.refuse_undelivered(self.links.now, from, id);
        }
    }

    /// Something has come to the node of its session.
    fn arrive(&mut self, now: Now, carried: Carried) {
        match carried {
            Carried::Frame { to, tail, receipt } => {
                for id in to {
                    let parcel = Parcel::Frame { tail: tail.clone(), receipt: receipt.clone() };
                    self.handle_parcel(now, id, parcel);
                }
            }
            Carried::Answer { to, id, answer } => {
                // Who waited was told already that nobody would answer.
                let is_late = self.sessions.get(to).is_some_and(|session| session.replies.is_answered(&id));
                if !is_late {
                    self.handle_parcel(now, to, Parcel::Answer { id, answer });
                }
            }
            Carried::ToCall { from, id, body, .. } => {
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
            Carried::Fence { session, origin, number } => {
                self.say_to(&origin, Moving::Passed(session, number));
            }
        }
    }

    /// Another node told of a move, or of what it led to.
    pub(super) fn handle_moving(&mut self, now: Now, node: &NodeName, moving: Moving) {
        match moving {
            Moving::Moved { session, to, generation } => {
                let known = self.directory.session(session);
                let is_news = known.is_some_and(|entry| is_at(entry, node) && entry.generation < generation);
                if is_news {
                    self.session_moved(now, session, node, &to, generation);
                }
                self.say_to(&to, Moving::Seen(session, generation));
            }
            Moving::Seen(session, generation) => {
                self.handle_seen(now, Early { session, generation, node: node.clone() });
            }
            Moving::Passed(session, number) => {
                let is_it =
                    |route: &Route| matches!(&route.reason, Reason::Fence(known, _) if *known == number);
                if self.links.routes.get(&session).is_some_and(is_it) {
                    self.fence_passed(now, session);
                }
            }
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
        self.say_to(via, Carried::Fence { session, origin, number });
        self.hold(now, session, Reason::Fence(number, via.clone()), waiting);
        self.timer(until, Timer::Route(session));
    }

    /// Holds back from now on what is for a session.
    pub(super) fn hold(&mut self, now: Now, session: SessionId, reason: Reason, waiting: Option<Waiting>) {
        let until = now.monotonic.after(FENCE_MAX);
        match self.links.routes.get_mut(&session) {
            Some(route) => (route.reason, route.waiting, route.until) = (reason, waiting, until),
            None => {
                let route = Route { reason, waiting, until, held: VecDeque::new(), is_broken: false };
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
        for Held { sender, carried } in route.held {
            self.send_on(now, session, sender, carried);
        }
        if route.is_broken {
            self.handle_lost(now, &[session]);
        }
        self.handle_postponed(now);
    }

    /// Something held back waits no longer.
    pub(in crate::signaling) fn route_due(&mut self, now: Now, session: SessionId) {
        self.barrier_due(now, session);
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
