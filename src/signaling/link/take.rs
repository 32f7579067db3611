//! Sessions that go on where their client is.

use std::time::Duration;

use super::{
    super::{
        Next, NodeName, Now, Server, SessionId,
        directory::{Home, RoomMember},
        hello::Arrival,
        session::Session,
        timers::Timer,
    },
    POSTPONED_MAX,
    message::{Moving, Take, Taking},
    pack::{Pack, pack, unpack},
    routes::{Reason, Route, Waiting},
};

/// How long a client waits for its session to come from another node, since its hello: asking for it, fences on its
/// way and asking another node together.
const TAKE_MAX: Duration = Duration::from_secs(1);

impl Server {
    /// Asks the node where a session lives for it; gives the arrival back if there is no such node. The end is
    /// [`Server::finish_arrival`].
    pub(in crate::signaling) fn fetch_session(
        &mut self,
        now: Now,
        arrival: Box<Arrival>,
    ) -> Result<Next, Box<Arrival>> {
        self.links.now = now;
        let Some(session) = arrival.greeting.resume.as_ref().map(|resume| resume.session) else {
            return Err(arrival);
        };
        let until = now.monotonic.after(TAKE_MAX);
        let waiting = Waiting { arrival, until };
        match self.links.routes.get_mut(&session) {
            Some(route) if route.waiting.is_some() => return Err(waiting.arrival),
            // It has just moved: once its way is free it is asked for. Or it is on its way here, since its client
            // was here before and did not wait.
            Some(route) => route.waiting = Some(waiting),
            None => self.take(now, session, waiting).map_err(|waiting| waiting.arrival)?,
        }
        self.timer(until, Timer::Route(session));
        Ok(Next::Wait)
    }

    fn take(&mut self, now: Now, session: SessionId, waiting: Waiting) -> Result<(), Waiting> {
        let Some(Home::Node(node)) = self.directory.session(session).map(|entry| entry.node.clone()) else {
            return Err(waiting);
        };
        let Some(resume) = &waiting.arrival.greeting.resume else { return Err(waiting) };
        let user = waiting.arrival.identity.user.clone();
        let take = Take { session, user, token: resume.token };
        if !self.can_reach_node(&node) {
            return Err(waiting);
        }
        self.say_to(&node, Taking::Take(take));
        self.hold(now, session, Reason::Take(node), Some(waiting));
        Ok(())
    }

    /// The way to a session is free, and a client waits for it.
    pub(super) fn take_or_give_up(&mut self, now: Now, session: SessionId, waiting: Waiting) {
        if let Err(waiting) = self.take(now, session, waiting) {
            let is_here = self.sessions.get(session).is_some();
            self.release(now, session);
            self.finish_arrival(now, *waiting.arrival, is_here);
        }
    }

    /// Another node asks for a session, hands one over, or does not.
    pub(super) fn handle_taking(&mut self, now: Now, node: &NodeName, taking: Taking) {
        match taking {
            Taking::Take(take) => self.handle_take(now, node, take),
            Taking::Taken(session, bytes) => self.taken(now, node, session, &bytes),
            Taking::NotTaken(session) => {
                let is_it = |route: &Route| route.reason == Reason::Take(node.clone());
                if self.links.routes.get(&session).is_some_and(is_it) {
                    self.not_taken(now, session);
                }
            }
        }
    }

    fn handle_take(&mut self, now: Now, node: &NodeName, take: Take) {
        if self.is_held(take.session) && self.links.postponed.len() < POSTPONED_MAX {
            return self.links.postponed.push((node.clone(), take));
        }
        if !self.may_hand_over(&take) || !self.give(now, take.session, node) {
            self.say_to(node, Taking::NotTaken(take.session));
        }
    }

    /// What waited until nothing is held back for its session.
    pub(super) fn handle_postponed(&mut self, now: Now) {
        for (node, take) in std::mem::take(&mut self.links.postponed) {
            self.handle_take(now, &node, take);
        }
    }

    /// Hands a session of this node over to another.
    fn give(&mut self, now: Now, session: SessionId, node: &NodeName) -> bool {
        if self.links.up(node).is_none() {
            return false;
        }
        // What it did until now is known everywhere before it moves.
        self.tell_news();
        let Some(entry) = self.directory.session(session) else { return false };
        let generation = entry.generation.saturating_add(1);
        let states = self.states(session);
        let Some(grants) = self.sessions.get(session).map(|session| (*session.grants).clone()) else {
            return false;
        };
        let calls = self.pack_calls(now, session);
        let asked = self.take_awaited(session);
        let Some(luggage) = self.give_away(now, session) else { return false };
        self.directory.update(session, |entry| {
            (entry.node, entry.generation) = (Home::Node(node.clone()), generation);
            entry.is_attached = false;
        });
        let bytes = pack(Pack { luggage, grants, states, calls, asked, generation });
        self.say_to(node, Taking::Taken(session, bytes));
        self.links.say_to_all(Moving::Moved { session, to: node.clone(), generation }, Some(node));
        let own = self.setup.node.clone();
        self.calls_session_moved(now, session, &own, node);
        true
    }

    /// What the rooms of a session see of it.
    fn states(&self, session: SessionId) -> Vec<bytes::Bytes> {
        let rooms = self.sessions.get(session).map_or(&[][..], |session| &session.rooms);
        let state = |members: &[RoomMember]| {
            members.iter().find(|member| member.session == session).map(|member| member.state.clone())
        };
        rooms.iter().map(|room| state(self.directory.members(&room.room)).unwrap_or_default()).collect()
    }

    /// A session has come.
    fn taken(&mut self, now: Now, node: &NodeName, session: SessionId, bytes: &[u8]) {
        let Some(Pack { luggage, grants, states, calls, asked, generation }) = unpack(bytes) else {
            return self.not_taken(now, session);
        };
        if luggage.place.session != session || self.sessions.get(session).is_some() {
            return;
        }
        let rooms: Vec<_> = luggage.rooms.iter().map(|membership| membership.room.clone()).collect();
        let is_known = self.directory.session(session).is_some();
        self.take_in(now, luggage, grants);
        self.directory.update(session, |entry| entry.generation = generation);
        for (room, state) in rooms.into_iter().zip(states) {
            if !self.directory.members(&room).iter().any(|member| member.session == session) {
                self.directory.join(&room, RoomMember { session, state });
            }
        }
        self.raise_barrier(now, session, node, generation);
        for call in calls {
            self.unpack_call(now, session, &call);
        }
        let own = self.setup.node.clone();
        self.calls_session_moved(now, session, node, &own);
        self.await_also(now, session, asked);
        if !is_known {
            self.on_session_up(now, session);
        }
        let waiting = self.links.routes.get_mut(&session).and_then(|route| route.waiting.take());
        self.release(now, session);
        if let Some(waiting) = waiting {
            self.finish_arrival(now, *waiting.arrival, true);
        }
    }

    /// A session does not come. If it lives elsewhere by now, it is asked for there, behind what went its old way.
    pub(super) fn not_taken(&mut self, now: Now, session: SessionId) {
        let Some(route) = self.links.routes.get_mut(&session) else { return };
        let Reason::Take(old) = route.reason.clone() else { return };
        let waiting = route.waiting.take();
        let home = self.directory.session(session).map(|entry| entry.node.clone());
        match (home, waiting) {
            (Some(Home::Node(new)), Some(waiting)) if new != old && self.links.up(&old).is_some() => {
                self.send_fence(now, session, &old, Some(waiting));
            }
            (_, waiting) => {
                self.release(now, session);
                if let Some(waiting) = waiting {
                    self.finish_arrival(now, *waiting.arrival, false);
                }
            }
        }
    }

    /// Hands the sessions of this node that have no client over to other nodes, with their calls: for the end of a
    /// node. Answers how many.
    pub fn hand_all_over(&mut self, now: Now) -> usize {
        self.links.now = now;
        let nodes: Vec<NodeName> =
            self.links.nodes().into_iter().filter(|node| self.can_reach_node(node)).collect();
        let mut given = 0;
        for session in self.sessions.ids() {
            let is_waiting = self.directory.session(session).is_some_and(|entry| !entry.is_attached)
                && !self.is_held(session);
            let Some(node) = nodes.get(given % nodes.len().max(1)) else { break };
            if is_waiting && self.can_give_away(session) && self.give(now, session, node) {
                given += 1;
            }
        }
        given
    }

    /// Whether whoever shows this token may have a session.
    fn may_hand_over(&self, take: &Take) -> bool {
        use subtle::ConstantTimeEq as _;
        let is_theirs =
            |known: &Session| bool::from(known.resume.ct_eq(&take.token)) && known.place.user == take.user;
        self.sessions.get(take.session).is_some_and(is_theirs) && self.can_give_away(take.session)
    }
}
