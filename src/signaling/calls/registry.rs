//! The calls a node knows: its own, those of other nodes, and those that are over for a short while.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use super::{
    super::{CallId, CallState, Instant, NodeName, UserId, random::Random},
    call::{Call, Crossing},
    figures::CallFigures,
    tally::Tally,
};

/// The calls of this node, and what is known of those of others.
#[derive(Debug)]
pub(in crate::signaling) struct Calls {
    by_id: HashMap<CallId, Entry, ahash::RandomState>,
    /// Those that are not over, of everybody who has to do with them.
    by_user: HashMap<UserId, Vec<CallId>, ahash::RandomState>,
    /// Those that are over, in the order they ended.
    ended: VecDeque<(Instant, CallId)>,
    /// How many this node keeps that are not over.
    pub(super) owned: usize,
    pub(super) tally: Tally,
    pub(super) figures: CallFigures,
}

#[derive(Debug)]
struct Entry {
    owner: Owner,
    call: Box<Call>,
}

/// Who keeps a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// This node.
    Here,
    /// Another one.
    Node(NodeName),
    /// It is gone, and nobody went on yet.
    Nobody,
}

/// How long it is known that a call is over.
const ENDED_KEPT: Duration = Duration::from_secs(60);
/// How many of them at most.
const ENDED_MAX: usize = 1 << 16;

impl Calls {
    pub(in crate::signaling) fn new(random: &mut Random) -> Self {
        Self {
            by_id: HashMap::with_hasher(random.hasher()),
            by_user: HashMap::with_hasher(random.hasher()),
            ended: VecDeque::new(),
            owned: 0,
            tally: Tally::new(random),
            figures: CallFigures::default(),
        }
    }

    pub(super) fn get(&self, id: &CallId) -> Option<&Call> {
        self.by_id.get(id).map(|entry| &*entry.call)
    }

    pub(super) fn owner(&self, id: &CallId) -> Option<&Owner> {
        self.by_id.get(id).map(|entry| &entry.owner)
    }

    /// A call that is known, for whoever has looked whether it is this node's to change.
    pub(super) fn get_mut(&mut self, id: &CallId) -> Option<&mut Call> {
        self.by_id.get_mut(id).map(|entry| &mut *entry.call)
    }

    /// A call that this node keeps and that is not over.
    pub(super) fn live_mut(&mut self, id: &CallId) -> Option<&mut Call> {
        let entry = self.by_id.get_mut(id)?;
        (entry.owner == Owner::Here && !entry.call.is_ended()).then_some(&mut *entry.call)
    }

    pub(super) fn is_live_here(&self, id: &CallId) -> bool {
        self.by_id.get(id).is_some_and(|entry| entry.owner == Owner::Here && !entry.call.is_ended())
    }

    /// A call that is new here, or newer than what was known of it.
    pub(super) fn put(&mut self, now: Instant, owner: Owner, call: Call) {
        let id = call.id().clone();
        self.remove(&id);
        if call.is_ended() {
            self.remember_end(now, id.clone());
        } else {
            self.count(&owner, &call, true);
        }
        let users = if call.is_ended() { Vec::new() } else { users(&call) };
        self.by_id.insert(id.clone(), Entry { owner, call: Box::new(call) });
        for user in users {
            self.link(&user, &id);
        }
    }

    /// Forgets a call altogether.
    pub(super) fn remove(&mut self, id: &CallId) -> Option<Box<Call>> {
        let entry = self.by_id.remove(id)?;
        if !entry.call.is_ended() {
            self.unlink(&entry.call);
            self.count(&entry.owner, &entry.call, false);
        }
        Some(entry.call)
    }

    /// Somebody else keeps it from now on.
    pub(super) fn set_owner(&mut self, id: &CallId, owner: Owner) {
        let Some(Entry { owner: known, call }) = self.by_id.get_mut(id) else { return };
        let old = std::mem::replace(known, owner);
        let (new, state, is_ended) = (known.clone(), call.record.state, call.is_ended());
        if is_ended {
            return;
        }
        for (owner, is_entered) in [(old, false), (new, true)] {
            if owner == Owner::Here {
                self.owned = if is_entered { self.owned + 1 } else { self.owned.saturating_sub(1) };
                self.figures.count(state, is_entered);
            }
        }
    }

    /// A call of this node has just been marked as over: it is found by its id alone, and not for long.
    pub(super) fn end(&mut self, now: Instant, id: &CallId) {
        let Some(entry) = self.by_id.remove(id) else { return };
        debug_assert!(entry.call.is_ended(), "only what is over is forgotten");
        self.unlink(&entry.call);
        if entry.owner == Owner::Here {
            self.owned = self.owned.saturating_sub(1);
        }
        self.by_id.insert(id.clone(), entry);
        self.remember_end(now, id.clone());
    }

    /// The calls of a user that are not over.
    pub(super) fn of_user(&self, user: &UserId) -> Vec<CallId> {
        self.by_user.get(user).cloned().unwrap_or_default()
    }

    /// How many calls of a user ring that they made themselves.
    pub(super) fn ringing_out(&self, user: &UserId) -> usize {
        self.count_of(user, |call| call.is_ringing() && call.record.caller.user == *user)
    }

    /// How many calls a user is in, or is called by.
    pub(super) fn live_of(&self, user: &UserId) -> usize {
        self.by_user.get(user).map_or(0, Vec::len)
    }

    /// Whether a user takes part in a call that goes on.
    pub(super) fn is_active_of(&self, user: &UserId) -> bool {
        let is_party = |call: &Call| {
            let answerer = call.record.answerer.as_ref().map(|party| &party.user);
            call.record.caller.user == *user || answerer == Some(user)
        };
        self.count_of(user, |call| call.record.state == CallState::Active && is_party(call)) > 0
    }

    fn count_of(&self, user: &UserId, is_counted: impl Fn(&Call) -> bool) -> usize {
        let calls = self.by_user.get(user).map_or(&[][..], Vec::as_slice);
        calls.iter().filter_map(|id| self.get(id)).filter(|call| is_counted(call)).count()
    }

    /// Offers of the callee to the caller that somebody keeps, in the order of their ids.
    pub(super) fn crossing(&self, offer: &Crossing<'_>) -> Vec<CallId> {
        let calls = self.by_user.get(offer.caller).map_or(&[][..], Vec::as_slice);
        let is_crossed = |id: &&CallId| {
            self.by_id.get(*id).is_some_and(|entry| entry.owner != Owner::Nobody && entry.call.crosses(offer))
        };
        let mut crossing: Vec<CallId> = calls.iter().filter(is_crossed).cloned().collect();
        crossing.sort_unstable();
        crossing
    }

    /// The calls somebody keeps that are not over, in the order of their ids.
    pub(super) fn kept_by(&self, owner: &Owner) -> Vec<CallId> {
        let mut calls: Vec<CallId> = self
            .by_id
            .iter()
            .filter(|(_, entry)| entry.owner == *owner && !entry.call.is_ended())
            .map(|(id, _)| id.clone())
            .collect();
        calls.sort_unstable();
        calls
    }

    /// A user has to do with a call from now on.
    pub(super) fn link(&mut self, user: &UserId, id: &CallId) {
        let calls = self.by_user.entry(user.clone()).or_default();
        if !calls.contains(id) {
            calls.push(id.clone());
        }
    }

    fn unlink(&mut self, call: &Call) {
        for user in users(call) {
            let Some(calls) = self.by_user.get_mut(&user) else { continue };
            calls.retain(|known| known != call.id());
            if calls.is_empty() {
                self.by_user.remove(&user);
            }
        }
    }

    fn count(&mut self, owner: &Owner, call: &Call, is_entered: bool) {
        if *owner == Owner::Here {
            self.owned = if is_entered { self.owned + 1 } else { self.owned.saturating_sub(1) };
            self.figures.count(call.record.state, is_entered);
        }
    }

    fn remember_end(&mut self, now: Instant, id: CallId) {
        self.ended.push_back((now, id));
        self.forget_ended(now);
    }

    /// Forgets those that are over for long enough.
    pub(super) fn forget_ended(&mut self, now: Instant) {
        while let Some((at, _)) = self.ended.front()
            && (now.since(*at) >= ENDED_KEPT || self.ended.len() > ENDED_MAX)
        {
            let Some((_, id)) = self.ended.pop_front() else { return };
            if self.by_id.get(&id).is_some_and(|entry| entry.call.is_ended()) {
                self.by_id.remove(&id);
            }
        }
    }
}

/// Everybody who has to do with a call. Those whose devices are no longer among those that ring are left out only when
/// they are the callee anyway.
fn users(call: &Call) -> Vec<UserId> {
    let record = &call.record;
    let mut users: Vec<UserId> = Vec::with_capacity(2);
    let devices = call.devices.iter().map(|device| &device.place.user);
    let parties =
        [Some(&record.caller.user), record.callee.as_ref(), record.answerer.as_ref().map(|a| &a.user)];
    for user in parties.into_iter().flatten().chain(devices) {
        if !users.contains(user) {
            users.push(user.clone());
        }
    }
    users
}
