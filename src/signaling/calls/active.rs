//! What those who talk, or will, say to each other.

use serde_json::value::RawValue;

use super::{
    super::{
        CallId, CallStep, ErrorCode, Now, Outcome, Role, RoomId, Server, SessionId, To, deliver::Refusal,
        object::Object,
    },
    Asker, Done,
    call::{Call, Stand},
    call_ended,
    ending::End,
    frames,
    frames::Candidates,
    refusal,
    sides::Side,
};

impl Server {
    /// One side ends it.
    pub(super) fn hangup(
        &mut self,
        now: Now,
        asker: &Asker,
        id: &CallId,
        reason: Option<&str>,
        is_relayed: Option<bool>,
    ) -> Done {
        let Some(call) = self.calls.get(id) else { return Err(call_ended()) };
        let side = match call.stand(asker.place.session) {
            Stand::Party(side) => side,
            Stand::Rings(_) => return self.reject(now, asker, id, reason, false),
            Stand::Stranger => self.side(call, asker).ok_or_else(|| refusal(call, asker))?,
            Stand::Refused | Stand::Late => return Err(refusal(call, asker)),
        };
        let reason = reason.unwrap_or("user");
        let (step, outcome) = match reason {
            _ if call.is_ringing() => (CallStep::Cancelled, Outcome::Cancelled),
            "ice-failed" | "ice-timeout" | "media-failed" => (CallStep::Failed, Outcome::Failed),
            _ => (CallStep::Ended, Outcome::Completed),
        };
        let mut end = End::new(step, outcome, reason, "caller-hangup");
        end.by = Some(asker.place.user.clone());
        end.is_relayed = is_relayed;
        let told = Some(frames::hangup(id, &asker.place, reason));
        match side {
            Side::Caller => end.to_answerer = told,
            Side::Answerer => end.to_caller = told,
        }
        let event = self.end_call(now, id, end);
        self.reply_ok_recorded(now, &asker.requester, bytes::Bytes::new(), event);
        Ok(())
    }

    /// Candidates of a call follow it.
    pub(super) fn candidates(
        &mut self,
        now: Now,
        asker: &Asker,
        id: &CallId,
        candidates: &Candidates<'_>,
    ) -> Done {
        let limits = &self.setup.options.limits;
        let Some(call) = self.calls.live_mut(id) else { return Err(call_ended()) };
        let side = match call.stand(asker.place.session) {
            Stand::Party(side) => side,
            Stand::Rings(_) => return self.hold_candidates(now, asker, id, candidates),
            Stand::Refused | Stand::Late | Stand::Stranger => return Err(refusal(call, asker)),
        };
        let frame = frames::candidates(Some(id), &asker.place, candidates);
        let told = match &candidates.to {
            _ if call.is_active() => {
                call.party(side.other()).map(|party| party.session).into_iter().collect()
            }
            Some(To::Session(session)) => {
                if !call.ringing().contains(session) {
                    return Err(Refusal::new(ErrorCode::NotFound, "that session does not ring"));
                }
                vec![*session]
            }
            Some(To::User(_) | To::Room(_) | To::Sfu(_)) | None => {
                // What is too much to be kept still reaches those that ring already.
                call.candidates.push(frame.clone(), candidates.count, limits);
                call.ringing()
            }
        };
        if !told.is_empty() && !told.iter().any(|session| self.can_reach(*session)) {
            return Err(out_of_reach());
        }
        for session in told {
            self.deliver(now, session, frame.clone());
        }
        self.reply_done(now, asker);
        Ok(())
    }

    /// A description after the first two.
    pub(super) fn renegotiate(
        &mut self,
        now: Now,
        asker: &Asker,
        id: &CallId,
        restart: bool,
        data: &RawValue,
    ) -> Done {
        let (side, peer) = self.talking(asker, id)?;
        self.deliver(now, peer, frames::renegotiate(id, &asker.place, side.other(), restart, data));
        self.reply_done(now, asker);
        Ok(())
    }

    /// A side is back after its session was lost.
    pub(super) fn rejoin(&mut self, now: Now, asker: &Asker, id: &CallId) -> Done {
        let Some(call) = self.calls.get(id) else { return Err(call_ended()) };
        let side = match call.stand(asker.place.session) {
            Stand::Party(side) => Some(side),
            Stand::Rings(_) => None,
            Stand::Stranger => Some(self.side(call, asker).ok_or_else(|| refusal(call, asker))?),
            Stand::Refused | Stand::Late => return Err(refusal(call, asker)),
        };
        let Some(call) = self.calls.live_mut(id) else { return Err(call_ended()) };
        let peer = side.and_then(|side| call.take_side(side, &asker.place));
        let mut members =
            frames::named(id).text("state", if call.is_active() { "active" } else { "ringing" });
        if let Some(party) = side.and_then(|side| call.party(side.other())) {
            let peer = Object::new().text("user", party.user.as_str()).session("session", party.session);
            members = members.raw("peer", &peer.whole());
        }
        let presence = side.map(|side| *call.presence(side));
        if let Some(side) = side {
            members = members.flag("polite", side.is_polite());
        }
        if let (Some(peer), Some(presence)) = (peer, presence) {
            self.deliver(now, peer, frames::peer(id, asker.place.session, presence));
        }
        self.calls.link(&asker.place.user, id);
        self.announce(id);
        self.arm_call(id);
        self.reply_ok(now, &asker.requester, members.members());
        Ok(())
    }

    /// Both go on in a media server.
    pub(super) fn upgrade(
        &mut self,
        now: Now,
        asker: &Asker,
        id: &CallId,
        room: &RoomId,
        sfu: &RawValue,
    ) -> Done {
        let (_, peer) = self.talking(asker, id)?;
        self.deliver(now, peer, frames::upgrade(Some(id), room, &asker.place, sfu));
        self.reply_ok(now, &asker.requester, frames::named(id).number("delivered", 1).members());
        Ok(())
    }

    /// All members of a room go on in a media server.
    pub(super) fn upgrade_room(&mut self, now: Now, asker: &Asker, room: &RoomId, sfu: &RawValue) -> Done {
        let own = asker.place.session;
        let may_send = self.sessions.get(own).and_then(|session| session.membership(room));
        if !may_send.is_some_and(|membership| membership.can_send) {
            return Err(Refusal::new(ErrorCode::Forbidden, "only members who may send upgrade a room"));
        }
        let frame = frames::upgrade(None, room, &asker.place, sfu);
        let members: Vec<SessionId> =
            self.directory.members(room).iter().map(|member| member.session).collect();
        let mut delivered = 0;
        for member in members.into_iter().filter(|member| *member != own) {
            delivered += 1;
            self.deliver(now, member, frame.clone());
        }
        self.reply_ok(now, &asker.requester, Object::new().number("delivered", delivered).members());
        Ok(())
    }

    /// Candidates that belong to no call: for a session, or the media server of a room.
    pub(super) fn candidates_aside(&mut self, now: Now, asker: &Asker, candidates: &Candidates<'_>) -> Done {
        let session = match &candidates.to {
            Some(To::Session(session)) => Some(*session),
            Some(To::Sfu(room)) => self.sfu_of(room),
            Some(To::User(_) | To::Room(_)) | None => {
                return Err(Refusal::new(ErrorCode::BadRequest, "call is missing"));
            }
        };
        let is_there = |session: &SessionId| self.directory.session(*session).is_some();
        let Some(session) = session.filter(is_there) else {
            return Err(Refusal::new(ErrorCode::PeerOffline, "there is no such session"));
        };
        if !self.may_send_aside(asker.place.session, session) {
            return Err(Refusal::new(ErrorCode::Forbidden, "no call and no room in common"));
        }
        self.deliver(now, session, frames::candidates(None, &asker.place, candidates));
        self.reply_done(now, asker);
        Ok(())
    }

    /// Whether two sessions share a room, or one is a service.
    fn may_send_aside(&self, from: SessionId, to: SessionId) -> bool {
        let Some(sender) = self.sessions.get(from) else { return false };
        let is_member =
            |room: &RoomId| self.directory.members(room).iter().any(|member| member.session == to);
        sender.role() != Role::User || sender.rooms.iter().any(|membership| is_member(&membership.room))
    }

    /// The side a session takes over, or has.
    fn side(&self, call: &Call, asker: &Asker) -> Option<Side> {
        call.side_of(&asker.place, |session| self.whereabouts(session))
    }

    /// The side of somebody who talks, and the session of the other.
    fn talking(&self, asker: &Asker, id: &CallId) -> Result<(Side, SessionId), Refusal> {
        let Some(call) = self.calls.get(id) else { return Err(call_ended()) };
        match call.stand(asker.place.session) {
            Stand::Party(side) => match call.party(side.other()) {
                Some(peer) if call.is_active() && !self.can_reach(peer.session) => Err(out_of_reach()),
                Some(peer) if call.is_active() => Ok((side, peer.session)),
                Some(_) | None => Err(Refusal::new(ErrorCode::BadRequest, "the call is not answered")),
            },
            Stand::Rings(_) => Err(Refusal::new(ErrorCode::BadRequest, "the call is not answered")),
            Stand::Refused | Stand::Late | Stand::Stranger => Err(refusal(call, asker)),
        }
    }
}

fn out_of_reach() -> Refusal {
    Refusal::new(ErrorCode::Unavailable, "the other side's node cannot be reached")
}
