//! Devices that ring, answer, or do not.

use serde_json::value::RawValue;

use super::{
    super::{CallId, CallState, CallStep, ErrorCode, Now, Outcome, Server, deliver::Refusal},
    Asker, Done,
    call::Stand,
    call_ended,
    ending::End,
    frames, refusal,
    sides::{Presence, Side, Whereabouts},
};

impl Server {
    /// A device says that it rings.
    pub(super) fn ringing(&mut self, now: Now, asker: &Asker, id: &CallId) -> Done {
        let Some(call) = self.calls.live_mut(id) else { return Err(call_ended()) };
        let Stand::Rings(index) = call.stand(asker.place.session) else { return Err(refusal(call, asker)) };
        if !call.ring(index) {
            self.reply_done(now, asker);
            return Ok(());
        }
        let is_first = call.record.rung.is_none();
        if is_first {
            call.record.rung = Some(now.unix_millis);
            call.rung = Some(now.monotonic);
        }
        let (caller, took) = (call.record.caller.session, now.monotonic.since(call.offered));
        self.deliver(now, caller, frames::ringing(id, &asker.place));
        if is_first {
            self.calls.figures.ringing_after.add(took);
            self.call_event(now, id, CallStep::Ringing);
        }
        self.reply_done(now, asker);
        Ok(())
    }

    /// A device answers; the first one wins.
    pub(super) fn answer(&mut self, now: Now, asker: &Asker, id: &CallId, data: &RawValue) -> Done {
        let Some(call) = self.calls.live_mut(id) else { return Err(call_ended()) };
        let index = match call.stand(asker.place.session) {
            Stand::Rings(index) => index,
            Stand::Party(Side::Answerer) => {
                self.reply_done(now, asker);
                return Ok(());
            }
            Stand::Party(Side::Caller) | Stand::Refused | Stand::Late | Stand::Stranger => {
                return Err(refusal(call, asker));
            }
        };
        let Some(won) = call.answer(index) else { return Err(call_ended()) };
        call.record.answered = Some(now.unix_millis);
        (call.caller, call.answerer) = (Presence::Here, Presence::Here);
        let took = now.monotonic.since(call.rung.unwrap_or(call.offered));
        let caller = call.record.caller.clone();
        self.deliver(now, caller.session, frames::answer(id, &asker.place, data));
        for candidates in won.candidates {
            self.deliver(now, caller.session, candidates);
        }
        for loser in won.losers {
            self.deliver(now, loser, frames::cancelled(id, "answered-elsewhere", None));
        }
        self.calls.figures.count(CallState::Ringing, false);
        self.calls.figures.count(CallState::Active, true);
        self.calls.figures.answer_after.add(took);
        self.calls.tally.answered(&caller.user, &asker.place.user);
        let event = self.call_event(now, id, CallStep::Answered);
        for (side, session) in [(Side::Caller, caller.session), (Side::Answerer, asker.place.session)] {
            if self.whereabouts(session) != Whereabouts::Attached {
                self.side_attached(now, id, side, false);
            }
        }
        self.arm_call(id);
        self.reply_ok_recorded(now, &asker.requester, bytes::Bytes::new(), event);
        Ok(())
    }

    /// A device, or all of its user's, will not answer.
    pub(super) fn reject(
        &mut self,
        now: Now,
        asker: &Asker,
        id: &CallId,
        reason: Option<&str>,
        is_device_only: bool,
    ) -> Done {
        let Some(call) = self.calls.live_mut(id) else { return Err(call_ended()) };
        let index = match call.stand(asker.place.session) {
            Stand::Rings(index) => index,
            // Said no when it should have hung up: the meaning is clear.
            Stand::Party(_) => return self.hangup(now, asker, id, reason, None),
            Stand::Refused | Stand::Late | Stand::Stranger => return Err(refusal(call, asker)),
        };
        let refused = call.refuse(index, is_device_only);
        for other in refused.others {
            self.deliver(now, other, frames::cancelled(id, "rejected-elsewhere", None));
        }
        if !refused.is_last {
            self.announce(id);
            self.reply_done(now, asker);
            return Ok(());
        }
        let reason = reason.unwrap_or("declined");
        let mut end = End::new(CallStep::Rejected, Outcome::Rejected, reason, "rejected-elsewhere");
        end.by = Some(asker.place.user.clone());
        end.to_caller = Some(frames::reject(id, &asker.place, reason, is_device_only));
        let event = self.end_call(now, id, end);
        self.reply_ok_recorded(now, &asker.requester, bytes::Bytes::new(), event);
        Ok(())
    }

    /// The device's candidates wait until it has answered.
    pub(super) fn hold_candidates(
        &mut self,
        now: Now,
        asker: &Asker,
        id: &CallId,
        candidates: &frames::Candidates<'_>,
    ) -> Done {
        let limits = &self.setup.options.limits;
        let Some(call) = self.calls.live_mut(id) else { return Err(call_ended()) };
        let Stand::Rings(index) = call.stand(asker.place.session) else { return Err(refusal(call, asker)) };
        let Some(device) = call.devices.get_mut(index) else { return Err(call_ended()) };
        let frame = frames::candidates(Some(id), &asker.place, candidates);
        if !device.candidates.get_or_insert_default().push(frame, candidates.count, limits) {
            return Err(Refusal::new(ErrorCode::LimitExceeded, "too many candidates before the answer"));
        }
        self.reply_done(now, asker);
        Ok(())
    }
}
