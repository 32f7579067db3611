//! Calls and the other nodes: what those tell of theirs, frames that come from there, calls that move along with their
//! caller, and who goes on when a node dies.

use std::time::Duration;

use bytes::Bytes;

use super::{
    super::{
        Body, CallId, CallRecord, ErrorCode, Instant, NodeName, Now, Server, SessionId,
        deliver::{Refusal, Requester},
        directory::Home,
        timers::Timer,
    },
    call::Call,
    frames::About,
    registry::Owner,
    sides::{Presence, Side, Whereabouts},
    tally::Called,
};

/// How much later the next node ends a call that nobody goes on with.
const ORPHAN_STEP: Duration = Duration::from_secs(2);

impl Server {
    /// A frame about a call of this node, of a session of another one. The answer goes by
    /// [`reply`](Server::reply) as for those of this node. If the call is not here (any more) it is refused.
    pub(in crate::signaling) fn handle_call_from_elsewhere(
        &mut self,
        now: Now,
        from: &Requester,
        body: Body<'_>,
    ) {
        let Some(asker) = self.asker(from) else { return };
        let About::Call(id, action) = About::of(body.clone()) else { return };
        let home = self.directory.session(from.session).map(|entry| entry.node.clone());
        let is_back = match (self.calls.owner(&id), &home) {
            (Some(Owner::Node(owner)), Some(Home::Node(home))) => owner == home,
            (Some(Owner::Here | Owner::Nobody | Owner::Node(_)) | None, _) => false,
        };
        let done = if is_back {
            // Each takes the other for the one that keeps it: one of them is about to learn better.
            Err(Refusal::new(ErrorCode::Unavailable, "the call is on its way"))
        } else {
            self.route(now, &asker, &id, &action, &body)
        };
        if let Err(refusal) = done {
            self.reply_error(now, from, &refusal);
        }
    }

    /// Another node told how a call of its own stands. May come again, and late: what is older than what is known
    /// (`sequence`), or of a node that the call has left, changes nothing.
    pub(in crate::signaling) fn call_announced(&mut self, now: Now, node: &NodeName, record: CallRecord) {
        let id = record.id.clone();
        let known = self.calls.get(&id);
        let is_old = known.is_some_and(|known| {
            known.record.sequence > record.sequence || (known.is_ended() && record.outcome.is_none())
        });
        if is_old || (self.calls.is_live_here(&id) && !self.gives_way(&id, &record)) {
            return;
        }
        let expires = known.map(|known| known.expires);
        let expires = expires.unwrap_or_else(|| now.monotonic.after(self.setup.options.ring_timeout_max));
        let is_new = known.is_none();
        let was_ended = known.is_some_and(Call::is_ended);
        // Timers of before mean nothing any more.
        let generation = known.map_or(0, |known| known.generation.wrapping_add(1));
        let mut call = Call::known(now.monotonic, record, expires);
        call.generation = generation;
        self.count_announced(now.monotonic, &call.record, is_new, was_ended);
        self.calls.put(now.monotonic, Owner::Node(node.clone()), call);
        self.end_crossed(now, &id);
    }

    /// Limits hold over all nodes.
    fn count_announced(&mut self, now: Instant, record: &CallRecord, is_new: bool, was_ended: bool) {
        let to = match (&record.room, &record.callee) {
            (Some(room), _) => Some(Called::Room(room)),
            (None, Some(user)) => Some(Called::User(user)),
            (None, None) => None,
        };
        if let (true, Some(to), None) = (is_new, to, record.outcome) {
            self.calls.tally.offered(now, &record.caller.user, to);
        }
        if let Some(answerer) = &record.answerer {
            self.calls.tally.answered(&record.caller.user, &answerer.user);
        }
        if record.outcome.is_some() && !was_ended {
            self.calls.note_end(now, record);
        }
    }

    /// Whether this node's call gives way to what another one says of it: both went on with it, and that one has seen
    /// more of it.
    fn gives_way(&self, id: &CallId, other: &CallRecord) -> bool {
        let Some(own) = self.calls.get(id).map(|call| &call.record) else { return true };
        let rank = |record: &CallRecord| {
            (record.outcome.is_some(), record.sequence, std::cmp::Reverse(record.node.clone()))
        };
        own.caller.user == other.caller.user && rank(other) > rank(own)
    }

    /// All calls of this node that are not over, to be told to a node that knows none of them.
    pub(in crate::signaling) fn calls_of_here(&self) -> Vec<CallRecord> {
        let calls = self.calls.kept_by(&Owner::Here);
        calls.iter().filter_map(|id| self.calls.get(id)).map(|call| call.record.clone()).collect()
    }

    /// A node has told all its calls anew, and these are they: what else it told of before is over. What it is only
    /// supposed to go on with stays until it does.
    pub(in crate::signaling) fn calls_confirmed(&mut self, now: Now, node: &NodeName, calls: &[CallId]) {
        let known = self.calls.kept_by(&Owner::Node(node.clone()));
        for id in known.into_iter().filter(|id| !calls.contains(id)) {
            if !self.is_inherited(&id) {
                self.calls.remove(&id);
            }
        }
        self.calls.forget_ended(now.monotonic);
    }

    /// A node is gone, and its sessions are about to be: its calls go on where one of those who talk is, or wait until
    /// somebody who has to do with them takes them over.
    pub(in crate::signaling) fn calls_node_down(&mut self, now: Now, node: &NodeName) {
        for id in self.calls.kept_by(&Owner::Node(node.clone())) {
            match self.heir(&id, node) {
                Some(Home::Here) => self.take_over(now, &id),
                Some(Home::Node(heir)) => {
                    self.calls.set_owner(&id, Owner::Node(heir));
                    self.arm_orphan(now, &id);
                }
                None => {
                    self.calls.set_owner(&id, Owner::Nobody);
                    self.arm_orphan(now, &id);
                }
            }
        }
    }

    /// Whether a call is supposed to go on at another node, which has not said so: that one may see it otherwise, since
    /// the session for which it should was just about to move, or end.
    pub(super) fn is_inherited(&self, id: &CallId) -> bool {
        match (self.calls.owner(id), self.calls.get(id)) {
            (Some(Owner::Node(owner)), Some(call)) => !call.is_ended() && call.record.node != *owner,
            (Some(Owner::Here | Owner::Nobody | Owner::Node(_)) | None, _) => false,
        }
    }

    /// Where a call goes on whose node is gone: every node finds the same.
    fn heir(&self, id: &CallId, gone: &NodeName) -> Option<Home> {
        let call = self.calls.get(id)?;
        let home = |side| {
            let party = call.party(side)?;
            let home = self.directory.session(party.session).map(|entry| entry.node.clone());
            home.filter(|home| *home != Home::Node(gone.clone()))
        };
        home(Side::Caller).or_else(|| home(Side::Answerer))
    }

    /// This node keeps the call from now on.
    pub(super) fn take_over(&mut self, now: Now, id: &CallId) {
        self.calls.set_owner(id, Owner::Here);
        let own = self.setup.node.clone();
        let Some(call) = self.calls.get_mut(id) else { return };
        call.record.node = own;
        (call.caller, call.answerer) = (Presence::Here, Presence::Here);
        for side in [Side::Caller, Side::Answerer] {
            let session = self.calls.get(id).and_then(|call| call.party(side)).map(|party| party.session);
            if session.is_some_and(|session| self.whereabouts(session) != Whereabouts::Attached) {
                self.side_attached(now, id, side, false);
            }
        }
        self.await_caller(now, id);
        self.find_devices(id);
        self.arm_call(id);
        self.announce(id);
    }

    /// Those who ring are not told of with a call: whoever could be among them is taken to be.
    fn find_devices(&mut self, id: &CallId) {
        let Some(call) = self.calls.get(id).filter(|call| call.is_ringing()) else { return };
        let devices = self.devices_of(call);
        for device in devices {
            let user = device.user.clone();
            if self.calls.get_mut(id).is_some_and(|call| call.add_found_device(device)) {
                self.calls.link(&user, id);
            }
        }
    }

    /// Sets the time at which a call is over that nobody goes on with: on the first node, and later on each one after
    /// it, since that one may have come too late to know of the call.
    fn arm_orphan(&mut self, now: Now, id: &CallId) {
        let at = now.monotonic.after(self.setup.options.away_grace + ORPHAN_STEP * self.rank());
        let Some(call) = self.calls.get_mut(id) else { return };
        call.generation = call.generation.wrapping_add(1);
        let generation = call.generation;
        self.timer(at, Timer::Call(id.clone(), generation));
    }

    /// Nobody came: this node ends the call for all.
    pub(super) fn orphan_due(&mut self, now: Now, id: &CallId) {
        self.take_over(now, id);
        let is_ringing = self.calls.get(id).is_some_and(Call::is_ringing);
        if is_ringing { self.end_without_caller(now, id) } else { self.end_lost(now, id) }
    }

    /// A session moved from one node to another, its calls along; called on all nodes, also on those two.
    pub(in crate::signaling) fn calls_session_moved(
        &mut self,
        now: Now,
        session: SessionId,
        from: &NodeName,
        to: &NodeName,
    ) {
        let Some(entry) = self.directory.session(session) else { return };
        let owner = |node: &NodeName| {
            if *node == self.setup.node { Owner::Here } else { Owner::Node(node.clone()) }
        };
        let (from, to) = (owner(from), owner(to));
        for id in self.calls.of_user(&entry.user.clone()) {
            let is_moved = self.calls.owner(&id) == Some(&from)
                && self.calls.get(&id).is_some_and(|call| call.record.caller.session == session);
            if !is_moved {
                continue;
            }
            match &to {
                // It did not come along: what everybody knows of it is what there is.
                Owner::Here => self.take_over(now, &id),
                Owner::Node(_) | Owner::Nobody => {
                    self.calls.set_owner(&id, to.clone());
                    if let Some(call) = self.calls.get_mut(&id) {
                        call.forget_descriptions();
                    }
                    self.arm_orphan(now, &id);
                }
            }
        }
    }

    /// The calls that this session placed, to go along to another node; they are kept there once
    /// [`calls_session_moved`](Self::calls_session_moved) was called.
    pub(in crate::signaling) fn pack_calls(&mut self, now: Now, session: SessionId) -> Vec<Bytes> {
        let Some(entry) = self.directory.session(session) else { return Vec::new() };
        let mut packed = Vec::new();
        for id in self.calls.of_user(&entry.user.clone()) {
            if let Some(call) = self.calls.live_mut(&id)
                && call.record.caller.session == session
            {
                packed.push(call.pack(now));
            }
        }
        packed
    }

    /// A call that came along with its caller's session: it is kept here from now on. What cannot be read is lost.
    pub(in crate::signaling) fn unpack_call(&mut self, now: Now, session: SessionId, packed: &[u8]) {
        let Some(mut call) = Call::unpack(now, packed) else { return };
        let id = call.id().clone();
        if call.is_ended() || call.record.caller.session != session || self.calls.is_live_here(&id) {
            return;
        }
        call.record.node = self.setup.node.clone();
        self.calls.put(now.monotonic, Owner::Here, call);
        self.arm_call(&id);
        self.announce(&id);
    }
}
