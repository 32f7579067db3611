//! Sessions that come, go, lose their sockets and get them back, as far as calls are concerned.

use std::time::Duration;

use super::{
    super::{CallId, Now, Role, Server, SessionId, directory::SessionEntry},
    call::{Call, Stand},
    frames,
    sides::{Side, Whereabouts},
};

/// How long a call rings on after its caller's session is over: it may be there again with another one.
const CALLER_GRACE: Duration = Duration::from_secs(5);

impl Server {
    /// The calls of a session's user, as its snapshot has them: a JSON array.
    pub(in crate::signaling) fn calls_snapshot(&self, session: SessionId) -> Vec<u8> {
        let Some(entry) = self.directory.session(session) else { return b"[]".to_vec() };
        let mut json = vec![b'['];
        for call in self.calls.of_user(&entry.user).iter().filter_map(|id| self.calls.get(id)) {
            if json.len() > 1 {
                json.push(b',');
            }
            let is_caller = call.record.caller.user == entry.user;
            let side = if is_caller { Side::Caller } else { Side::Answerer };
            json.extend_from_slice(&frames::snapshot(call, side));
        }
        json.push(b']');
        json
    }

    /// A session is there, here or elsewhere: new, or it lost what it was sent and gets what still matters again.
    pub(in crate::signaling) fn calls_session_up(&mut self, now: Now, session: SessionId) {
        let Some(entry) = self.directory.session(session) else { return };
        if entry.role != Role::User {
            return;
        }
        for id in self.calls.of_user(&entry.user.clone()) {
            self.offer_late(now, &id, session);
        }
    }

    /// A device that comes late gets the offer and what followed it.
    fn offer_late(&mut self, now: Now, id: &CallId, session: SessionId) {
        let Some(place) = self.place_of(session) else { return };
        let Some(call) = self.calls.live_mut(id) else { return };
        let is_new = call.is_for(&place) && call.add_device(place);
        let rings = matches!(call.stand(session), Stand::Rings(_));
        if !rings || call.offer.is_empty() {
            return;
        }
        let frames: Vec<_> = [&call.offer].into_iter().chain(&call.candidates.frames).cloned().collect();
        for frame in frames {
            self.deliver(now, session, frame);
        }
        if is_new {
            self.announce(id);
        }
    }

    /// A session has a socket, or has none, here or elsewhere.
    pub(in crate::signaling) fn calls_session_attached(
        &mut self,
        now: Now,
        session: SessionId,
        is_attached: bool,
    ) {
        let Some(entry) = self.directory.session(session) else { return };
        for id in self.calls.of_user(&entry.user.clone()) {
            let Some(call) = self.calls.live_mut(&id) else { continue };
            match call.stand(session) {
                Stand::Party(side) if call.is_active() => self.side_attached(now, &id, side, is_attached),
                Stand::Rings(_) if !is_attached => {
                    self.push_if_needed(now, &id);
                }
                Stand::Party(_) | Stand::Rings(_) | Stand::Refused | Stand::Late | Stand::Stranger => {}
            }
        }
    }

    /// A session is over, here or elsewhere.
    pub(in crate::signaling) fn calls_session_down(&mut self, now: Now, entry: &SessionEntry) {
        for id in self.calls.of_user(&entry.user) {
            let Some(call) = self.calls.live_mut(&id) else { continue };
            match call.stand(entry.id) {
                Stand::Party(Side::Caller) if call.is_ringing() => self.await_caller(now, &id),
                Stand::Party(side) => self.side_attached(now, &id, side, false),
                Stand::Rings(_) => {
                    call.lose_device(entry.id);
                    self.push_if_needed(now, &id);
                    self.announce(&id);
                }
                Stand::Refused | Stand::Late | Stand::Stranger => {}
            }
        }
    }

    /// The caller's session is over, and nobody has answered.
    pub(super) fn await_caller(&mut self, now: Now, id: &CallId) {
        let Some(call) = self.calls.get(id).filter(|call| call.is_ringing()) else { return };
        if self.whereabouts(call.record.caller.session) != Whereabouts::Gone {
            return;
        }
        if let Some(call) = self.calls.live_mut(id) {
            call.set_presence(Side::Caller, false, now.monotonic.after(CALLER_GRACE));
            self.arm_call(id);
        }
    }

    /// One of those who talk has a socket, or has none.
    pub(super) fn side_attached(&mut self, now: Now, id: &CallId, side: Side, is_attached: bool) {
        let lost_at = now.monotonic.after(self.setup.options.away_grace);
        let is_news = |call: &mut Call| call.is_active() && call.set_presence(side, is_attached, lost_at);
        if self.calls.live_mut(id).is_some_and(is_news) {
            self.tell_side(now, id, side);
            self.arm_call(id);
        }
    }
}
