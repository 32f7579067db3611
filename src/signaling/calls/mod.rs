//! Calls.
//!
//! One node keeps a call: at first that of the caller's session. It alone decides who answered first, when it is over,
//! and what is counted as the next event; the others know its record and hand frames about it on. A call outlives the
//! node: whoever is left of those who talk goes on with it.

mod active;
mod call;
mod elsewhere;
mod ending;
mod figures;
mod frames;
mod offer;
mod pack;
mod registry;
mod ring;
mod sessions;
mod sides;
mod tally;

use bytes::Bytes;

pub use self::figures::{CallFigures, Histogram};
use self::{
    call::{Call, Stand},
    frames::{About, Action},
    registry::Owner,
    sides::Whereabouts,
};
pub(super) use self::{offer::Asked, registry::Calls};
use super::{
    Body, CallId, CallStep, ErrorCode, EventKind, EventNumber, Now, Place, Server, SessionId, UserId,
    deliver::{Refusal, Requester},
    requests::Step,
    timers::Timer,
};

/// Who sent a frame about a call, from here or elsewhere.
#[derive(Clone, Debug)]
struct Asker {
    requester: Requester,
    place: Place,
}

/// Nothing, or why not.
type Done = Result<(), Refusal>;

impl Server {
    /// What is counted of the calls that this node keeps.
    #[must_use]
    pub fn call_figures(&self) -> &CallFigures {
        &self.calls.figures
    }

    /// Whether a user takes part in a call that was answered and is not over, on any node.
    #[must_use]
    pub fn is_in_call(&self, user: &UserId) -> bool {
        self.calls.is_active_of(user)
    }

    /// A frame about a call, of a session of this node.
    pub(super) fn handle_call(&mut self, now: Now, from: &Requester, body: Body<'_>) -> Step {
        let Some(asker) = self.asker(from) else { return Step::Done };
        let done = match About::of(body.clone()) {
            About::Call(id, Action::Offer(offer)) if self.is_new_offer(&id) => {
                match self.offer(now, &asker, id, offer) {
                    Ok(step) => return step,
                    Err(refusal) => Err(refusal),
                }
            }
            About::Call(id, action) => self.route(now, &asker, &id, &action, &body),
            About::Aside(candidates) => self.candidates_aside(now, &asker, &candidates),
            About::Room(room, sfu) => self.upgrade_room(now, &asker, &room, sfu),
            About::Nothing => Ok(()),
        };
        if let Err(refusal) = done {
            self.reply_error(now, from, &refusal);
        }
        Step::Done
    }

    /// Takes a frame to whoever keeps its call.
    fn route(&mut self, now: Now, asker: &Asker, id: &CallId, action: &Action<'_>, body: &Body<'_>) -> Done {
        self.calls.forget_ended(now.monotonic);
        let (Some(call), Some(owner)) = (self.calls.get(id), self.calls.owner(id)) else {
            return Err(no_such_call());
        };
        if matches!(action, Action::Offer(_)) && call.record.caller.user != asker.place.user {
            return Err(duplicate("the call's id is in use"));
        }
        if call.is_ended() {
            return Err(if call.concerns(&asker.place) { call_ended() } else { no_such_call() });
        }
        match owner.clone() {
            Owner::Here => self.act(now, asker, id, action),
            Owner::Node(node) => {
                let caller = call.record.caller.session;
                if self.send_to_call(now, &node, caller, &asker.requester, body) {
                    Ok(())
                } else {
                    Err(Refusal::new(ErrorCode::Unavailable, "the call's node cannot be reached"))
                }
            }
            Owner::Nobody if call.concerns(&asker.place) => {
                self.take_over(now, id);
                self.act(now, asker, id, action)
            }
            Owner::Nobody => Err(no_such_call()),
        }
    }

    /// A frame about a call that this node keeps.
    fn act(&mut self, now: Now, asker: &Asker, id: &CallId, action: &Action<'_>) -> Done {
        match action {
            Action::Offer(offer) => self.offer_again(now, asker, id, offer),
            Action::Ringing => self.ringing(now, asker, id),
            Action::Answer(data) => self.answer(now, asker, id, data),
            Action::Reject { reason, is_device_only } => {
                self.reject(now, asker, id, reason.as_deref(), *is_device_only)
            }
            Action::Hangup { reason, is_relayed } => {
                self.hangup(now, asker, id, reason.as_deref(), *is_relayed)
            }
            Action::Candidates(candidates) => self.candidates(now, asker, id, candidates),
            Action::Renegotiate { restart, data } => self.renegotiate(now, asker, id, *restart, data),
            Action::Rejoin => self.rejoin(now, asker, id),
            Action::Upgrade { room, sfu } => self.upgrade(now, asker, id, room, sfu),
        }
    }

    fn asker(&self, from: &Requester) -> Option<Asker> {
        let place = self.place_of(from.session)?;
        Some(Asker { requester: from.clone(), place })
    }

    /// Who has a session, wherever it lives.
    fn place_of(&self, session: SessionId) -> Option<Place> {
        let entry = self.directory.session(session)?;
        Some(Place { user: entry.user.clone(), device: entry.device.clone(), session })
    }

    fn whereabouts(&self, session: SessionId) -> Whereabouts {
        match self.directory.session(session) {
            Some(entry) if entry.is_attached => Whereabouts::Attached,
            Some(_) => Whereabouts::Detached,
            None => Whereabouts::Gone,
        }
    }

    /// A step of a call happened: the backend, and the other nodes, are told.
    fn call_event(&mut self, now: Now, id: &CallId, step: CallStep) -> EventNumber {
        let Some(call) = self.calls.get_mut(id) else { return EventNumber::default() };
        call.record.sequence = call.record.sequence.saturating_add(1);
        let record = Box::new(call.record.clone());
        self.announce_call(&record);
        self.event(now, EventKind::Call { step, call: record })
    }

    /// Sets the timer of a call to what is due next.
    fn arm_call(&mut self, id: &CallId) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.generation = call.generation.wrapping_add(1);
        let (due, generation) = (call.due(), call.generation);
        if let Some(due) = due {
            self.timer(due, Timer::Call(id.clone(), generation));
        }
    }

    /// Tells the other nodes of a call of this one as it is now.
    fn announce(&mut self, id: &CallId) {
        if self.calls.owner(id) == Some(&Owner::Here)
            && let Some(record) = self.calls.get(id).map(|call| call.record.clone())
        {
            self.announce_call(&record);
        }
    }

    fn reply_done(&mut self, now: Now, asker: &Asker) {
        self.reply_ok(now, &asker.requester, Bytes::new());
    }
}

/// Why a session that stands so to a call may not do this.
fn refusal(call: &Call, asker: &Asker) -> Refusal {
    match call.stand(asker.place.session) {
        Stand::Refused => call_ended(),
        Stand::Late => answered_elsewhere(),
        Stand::Stranger if call.is_active() && call.concerns(&asker.place) => answered_elsewhere(),
        Stand::Stranger => no_such_call(),
        Stand::Party(_) | Stand::Rings(_) => {
            Refusal::new(ErrorCode::BadRequest, "not from this side, or not at this point of the call")
        }
    }
}

fn duplicate(message: &str) -> Refusal {
    Refusal::new(ErrorCode::Duplicate, message)
}

fn no_such_call() -> Refusal {
    Refusal::new(ErrorCode::NoSuchCall, "there is no such call")
}

fn call_ended() -> Refusal {
    Refusal::new(ErrorCode::CallEnded, "the call is over")
}

fn answered_elsewhere() -> Refusal {
    Refusal::new(ErrorCode::AnsweredElsewhere, "another device was first")
}
