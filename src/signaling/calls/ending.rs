//! How calls come to their end, and what is due for them.

use std::time::Duration;

use bytes::Bytes;

use super::{
    super::{CallId, CallRecord, CallState, CallStep, EventNumber, Instant, Now, Outcome, Server, UserId},
    frames,
    registry::{Calls, Owner},
    sides::Side,
};

/// How a call ends.
#[derive(Clone, Debug)]
pub(super) struct End {
    step: CallStep,
    outcome: Outcome,
    reason: Box<str>,
    /// Who ended it.
    pub(super) by: Option<UserId>,
    /// What devices that ring are told.
    told: &'static str,
    /// The call that took its place.
    pub(super) winner: Option<CallId>,
    /// The caller's frame.
    pub(super) to_caller: Option<Bytes>,
    /// The answerer's frame.
    pub(super) to_answerer: Option<Bytes>,
    /// Whether the media went through the relay.
    pub(super) is_relayed: Option<bool>,
}

impl End {
    pub(super) fn new(step: CallStep, outcome: Outcome, reason: &str, told: &'static str) -> Self {
        Self {
            step,
            outcome,
            reason: reason.into(),
            by: None,
            told,
            winner: None,
            to_caller: None,
            to_answerer: None,
            is_relayed: None,
        }
    }
}

impl Server {
    /// A call of this node is over: everybody who has to do with it is told.
    pub(super) fn end_call(&mut self, now: Now, id: &CallId, end: End) -> EventNumber {
        let Some(call) = self.calls.live_mut(id) else { return EventNumber::default() };
        let (ringing, state) = (call.ringing(), call.record.state);
        call.record.state = CallState::Ended;
        call.record.ended = Some(now.unix_millis);
        let lasted = call.record.answered.map(|at| Duration::from_millis(now.unix_millis.saturating_sub(at)));
        call.record.outcome = Some(end.outcome);
        call.record.reason = Some(end.reason);
        call.record.ended_by = end.by;
        call.record.is_relayed = end.is_relayed.or(call.record.is_relayed);
        call.forget_descriptions();
        let caller = call.record.caller.session;
        let answerer = call.record.answerer.as_ref().map(|party| party.session);
        self.calls.figures.count(state, false);
        self.calls.figures.came_out(end.outcome);
        if let Some(lasted) = lasted {
            self.calls.figures.lasted.add(lasted);
        }
        self.calls.end(now.monotonic, id);
        if let Some(call) = self.calls.get(id) {
            let record = call.record.clone();
            self.calls.note_end(now.monotonic, &record);
        }
        for session in ringing {
            self.deliver(now, session, frames::cancelled(id, end.told, end.winner.as_ref()));
        }
        if let Some(frame) = end.to_caller {
            self.deliver(now, caller, frame);
        }
        if let (Some(session), Some(frame)) = (answerer, end.to_answerer) {
            self.deliver(now, session, frame);
        }
        self.call_event(now, id, end.step)
    }

    /// A crossed offer won.
    pub(super) fn end_by_glare(&mut self, now: Now, id: &CallId, winner: &CallId) {
        let mut end = End::new(CallStep::Cancelled, Outcome::Glare, "glare", "glare");
        end.winner = Some(winner.clone());
        end.to_caller = Some(frames::cancelled(id, "glare", Some(winner)));
        self.end_call(now, id, end);
    }

    /// A timer of a call is due.
    pub(in crate::signaling) fn handle_call_timer(&mut self, now: Now, id: &CallId, generation: u32) {
        let Some(call) = self.calls.get(id).filter(|call| call.generation == generation) else { return };
        match self.calls.owner(id) {
            Some(Owner::Here) => {}
            Some(Owner::Nobody) => return self.orphan_due(now, id),
            Some(Owner::Node(_)) if self.is_inherited(id) => return self.orphan_due(now, id),
            Some(Owner::Node(_)) | None => return,
        }
        match call.record.state {
            CallState::Ringing if call.expires <= now.monotonic => self.miss(now, id),
            CallState::Ringing | CallState::Active => self.sides_due(now, id),
            CallState::Ended => return,
        }
        self.arm_call(id);
    }

    /// Nobody answered in time.
    fn miss(&mut self, now: Now, id: &CallId) {
        let mut end = End::new(CallStep::Missed, Outcome::Missed, "timeout", "timeout");
        end.to_caller = Some(frames::cancelled(id, "timeout", None));
        self.end_call(now, id, end);
    }

    /// A side did not come back.
    fn sides_due(&mut self, now: Now, id: &CallId) {
        let Some(call) = self.calls.live_mut(id) else { return };
        let lost = call.lose_sides(now.monotonic);
        if call.is_ringing() {
            if lost.contains(&Side::Caller) {
                self.end_without_caller(now, id);
            }
            return;
        }
        let is_lost = call.is_lost();
        for side in lost {
            self.tell_side(now, id, side);
        }
        if is_lost {
            self.end_lost(now, id);
        }
    }

    /// Whoever called is gone for good, and nobody has answered.
    pub(super) fn end_without_caller(&mut self, now: Now, id: &CallId) {
        let end = End::new(CallStep::Cancelled, Outcome::Cancelled, "lost", "caller-hangup");
        self.end_call(now, id, end);
    }

    /// Both sides are gone.
    pub(super) fn end_lost(&mut self, now: Now, id: &CallId) {
        let mut end = End::new(CallStep::Failed, Outcome::Failed, "lost", "lost");
        end.to_caller = Some(frames::cancelled(id, "lost", None));
        end.to_answerer = end.to_caller.clone();
        self.end_call(now, id, end);
    }

    /// Tells the other side how this one is.
    pub(super) fn tell_side(&mut self, now: Now, id: &CallId, side: Side) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let presence = *call.presence(side);
        let session = |side| call.party(side).map(|party| party.session);
        if let (Some(own), Some(other)) = (session(side), session(side.other())) {
            self.deliver(now, other, frames::peer(id, own, presence));
        }
    }
}

impl Calls {
    /// Remembers who declined whom.
    pub(super) fn note_end(&mut self, now: Instant, record: &CallRecord) {
        let is_declined =
            record.outcome == Some(Outcome::Rejected) && record.reason.as_deref() == Some("declined");
        if let (true, Some(by), true) = (is_declined, &record.ended_by, record.room.is_none()) {
            self.tally.declined(now, &record.caller.user, by);
        }
    }
}
