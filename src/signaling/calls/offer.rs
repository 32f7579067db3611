//! Offers: whom they are for, whether they may be made, and what becomes of crossed ones.

use std::time::Duration;

use bytes::Bytes;

use super::{
    super::{
        Answer, Ask, CallId, CallMode, CallRecord, CallState, CallStep, CallTo, Denial, ErrorCode,
        EventNumber, Now, Party, Place, Role, RoomId, Server, SessionId, To, UserId,
        counters::Rule,
        deliver::{Refusal, Requester},
        is_traceparent,
        object::Object,
        requests::Step,
        sockets,
    },
    Asker, Done,
    call::{Call, Crossing, Device, Kept, Stand, Target},
    call_ended, duplicate, frames,
    frames::Offer,
    registry::Owner,
    sides::{Presence, Side},
    tally::Called,
};

/// An offer whose right is asked for.
#[derive(Debug)]
pub(in crate::signaling) struct Asked {
    call: CallId,
    callee: Callee,
    media: Vec<Box<str>>,
    ttl: Option<u64>,
    data: Box<[u8]>,
}

/// Whom an offer is for.
#[derive(Clone, Debug)]
enum Callee {
    User(UserId),
    Session(SessionId, UserId),
    Room(RoomId),
}

/// Calls a user is in, or is called by, before others are told that it is busy.
const CALLS_PER_USER_MAX: usize = 16;

impl Server {
    /// Whether an offer is not one that came before.
    pub(super) fn is_new_offer(&self, id: &CallId) -> bool {
        self.calls.get(id).is_none()
    }

    /// A session calls somebody.
    pub(super) fn offer(
        &mut self,
        now: Now,
        asker: &Asker,
        call: CallId,
        offer: Offer<'_>,
    ) -> Result<Step, Refusal> {
        let callee = self.callee(asker, &offer.to)?;
        self.check(now, asker, &call, &callee)?;
        let grant = offer.grant.map(|grant| Box::from(&*grant));
        let traceparent = offer.traceparent.filter(|text| is_traceparent(text)).map(Box::from);
        let is_allowed = self.may_call(asker.place.session, &callee, grant.is_some())?;
        let asked = Asked {
            call,
            callee,
            media: offer.media,
            ttl: offer.ttl,
            data: offer.data.get().as_bytes().into(),
        };
        if is_allowed {
            self.create(now, asker, asked, None)?;
            return Ok(Step::Done);
        }
        let to = match &asked.callee {
            Callee::User(user) | Callee::Session(_, user) => CallTo::User(user.clone()),
            Callee::Room(room) => CallTo::Room(room.clone()),
        };
        let (from, media) = (asker.place.clone(), asked.media.clone());
        let ask = Ask::Call { from, to, call: asked.call.clone(), media, grant, traceparent };
        Ok(Step::Ask(Box::new(ask), sockets::Asked::Call(asker.requester.clone(), asked)))
    }

    /// The answer to an [`Ask::Call`].
    pub(in crate::signaling) fn handle_call_right(
        &mut self,
        now: Now,
        from: &Requester,
        asked: Asked,
        right: Result<Answer, Denial>,
    ) {
        let Some(asker) = self.asker(from) else { return };
        let done = match right {
            Ok(answer) if self.is_new_offer(&asked.call) => self.create(now, &asker, asked, answer.attrs),
            Ok(_) => Err(duplicate("the call's id is in use")),
            Err(denial) => Err(Refusal::from(&denial)),
        };
        if let Err(refusal) = done {
            self.reply_error(now, from, &refusal);
        }
    }

    /// Whom an offer is for.
    fn callee(&self, asker: &Asker, to: &To) -> Result<Callee, Refusal> {
        match to {
            To::User(user) => Ok(Callee::User(user.clone())),
            To::Session(session) if *session == asker.place.session => {
                Err(Refusal::new(ErrorCode::BadRequest, "a session does not call itself"))
            }
            To::Session(session) => match self.directory.session(*session) {
                Some(entry) if entry.role == Role::User => Ok(Callee::Session(*session, entry.user.clone())),
                Some(_) => Err(not_rung()),
                None => Err(Refusal::new(ErrorCode::PeerOffline, "there is no such session")),
            },
            To::Room(room) => {
                let is_member =
                    |member: &super::super::directory::RoomMember| member.session == asker.place.session;
                if self.directory.members(room).iter().any(is_member) {
                    Ok(Callee::Room(room.clone()))
                } else {
                    Err(Refusal::new(ErrorCode::Forbidden, "only members call a room"))
                }
            }
            To::Sfu(_) => Err(not_rung()),
        }
    }

    /// Whether the grants allow a call by themselves; otherwise it is to be asked for.
    fn may_call(&self, from: SessionId, callee: &Callee, has_grant: bool) -> Result<bool, Refusal> {
        let Some(grants) = self.grants(from) else {
            return Err(Refusal::new(ErrorCode::Internal, "the session is gone"));
        };
        let forbidden = |message: &str| Err(Refusal::new(ErrorCode::Forbidden, message));
        let is_listed = match callee {
            Callee::User(user) | Callee::Session(_, user) => grants.call.to.contains(user),
            Callee::Room(_) => false,
        };
        match grants.call.mode {
            CallMode::Any => Ok(true),
            CallMode::List if is_listed => Ok(true),
            CallMode::Deny => forbidden("calls are not granted"),
            CallMode::List if !has_grant => forbidden("calling them is not granted"),
            CallMode::Grant if !has_grant => forbidden("each call needs a grant"),
            CallMode::List | CallMode::Grant | CallMode::Webhook => Ok(false),
        }
    }

    /// Whether nothing but a right is missing: no crossed offer that wins, and no limit.
    fn check(&mut self, now: Now, asker: &Asker, id: &CallId, callee: &Callee) -> Done {
        let crossing = Crossing {
            call: id,
            caller: &asker.place.user,
            session: asker.place.session,
            callee: callee.user(),
        };
        if let Some(winner) = self.calls.crossing(&crossing).first().filter(|other| *other < id) {
            let details = frames::named(winner);
            return Err(Refusal::new(ErrorCode::Glare, "they are calling you").with_details(details));
        }
        let (limits, from) = (&self.setup.options.limits, asker.place.session);
        let is_user = self.directory.session(from).is_some_and(|entry| entry.role == Role::User);
        let (rule, refusal) = if self.calls.owned >= limits.calls {
            (Rule::Calls, Refusal::new(ErrorCode::Unavailable, "too many calls at once"))
        } else if callee.user().is_some_and(|user| self.calls.live_of(user) >= CALLS_PER_USER_MAX) {
            return Err(Refusal::new(ErrorCode::Busy, "the callee is in too many calls"));
        } else if is_user && self.is_ringing_out(&asker.place.user) {
            (Rule::Ringing, Refusal::new(ErrorCode::LimitExceeded, "too many of your calls ring at once"))
        } else {
            let called = callee.called();
            match self.calls.tally.check(now.monotonic, limits, &asker.place.user, called) {
                Err(tripped) if is_user => {
                    (tripped.rule, Refusal::rate_limited(tripped.message, tripped.after))
                }
                Ok(()) | Err(_) => return Ok(()),
            }
        };
        self.trip(now, rule, Some(from));
        Err(refusal)
    }

    fn is_ringing_out(&self, user: &UserId) -> bool {
        let max = self.setup.options.limits.ringing_per_user as usize;
        max > 0 && self.calls.ringing_out(user) >= max
    }

    /// A call begins.
    fn create(&mut self, now: Now, asker: &Asker, asked: Asked, attrs: Option<Bytes>) -> Done {
        self.check(now, asker, &asked.call, &asked.callee)?;
        let devices = self.devices(&asker.party(), &asked.callee);
        if devices.is_empty() && !matches!(asked.callee, Callee::User(_)) {
            return Err(Refusal::new(ErrorCode::PeerOffline, "nobody is there"));
        }
        if !devices.is_empty() && !devices.iter().any(|device| self.can_reach(device.session)) {
            return Err(Refusal::new(ErrorCode::Unavailable, "the callee's node cannot be reached"));
        }
        let Asked { call: id, callee, media, ttl, data } = asked;
        let mut call = self.new_call(now, asker, id.clone(), &callee, ttl);
        call.record.media = media;
        call.record.attrs = attrs;
        for device in devices {
            call.add_device(device);
        }
        call.offer = frames::offer(&call, &asker.place, frames::expires_at(now, &call), &data);
        let (sessions, offer) = (call.ringing(), call.offer.clone());
        self.calls.tally.offered(now.monotonic, &asker.place.user, callee.called());
        self.calls.put(now.monotonic, Owner::Here, call);
        let mut event = self.call_event(now, &id, CallStep::Created);
        self.end_crossed(now, &id);
        for session in &sessions {
            self.deliver(now, *session, offer.clone());
        }
        let mut members = frames::named(&id).number("delivered", sessions.len() as u64);
        if let Some(pushed) = self.push_if_needed(now, &id) {
            event = pushed;
            members = members.number("pushed", 1);
        }
        self.arm_call(&id);
        self.reply_ok_recorded(now, &asker.requester, members.members(), event);
        Ok(())
    }

    fn new_call(&self, now: Now, asker: &Asker, id: CallId, callee: &Callee, ttl: Option<u64>) -> Call {
        let options = &self.setup.options;
        let ttl = ttl.map_or(options.ring_timeout, |seconds| Duration::from_secs(seconds.max(1)));
        let (target, room) = match callee {
            Callee::User(_) => (Target::User, None),
            Callee::Session(..) => (Target::Session, None),
            Callee::Room(room) => (Target::Room, Some(room.clone())),
        };
        Call {
            record: CallRecord {
                id,
                sequence: 0,
                node: self.setup.node.clone(),
                state: CallState::Ringing,
                caller: asker.party(),
                callee: callee.user().cloned(),
                room,
                answerer: None,
                media: Vec::new(),
                devices: 0,
                created: now.unix_millis,
                rung: None,
                answered: None,
                ended: None,
                outcome: None,
                reason: None,
                ended_by: None,
                is_relayed: None,
                attrs: None,
            },
            target,
            expires: now.monotonic.after(ttl.min(options.ring_timeout_max)),
            offered: now.monotonic,
            rung: None,
            offer: Bytes::new(),
            candidates: Kept::default(),
            devices: Vec::new(),
            caller: Presence::Here,
            answerer: Presence::Here,
            is_pushed: false,
            generation: 0,
        }
    }

    /// The sessions that ring.
    fn devices(&self, caller: &Party, callee: &Callee) -> Vec<Place> {
        let sessions: Vec<SessionId> = match callee {
            Callee::User(user) => self.directory.sessions_of(user).to_vec(),
            Callee::Session(session, _) => vec![*session],
            Callee::Room(room) => self.directory.members(room).iter().map(|member| member.session).collect(),
        };
        let is_own = |place: &Place| match callee {
            Callee::User(_) | Callee::Session(..) => place.session == caller.session,
            Callee::Room(_) => place.user == caller.user,
        };
        sessions
            .into_iter()
            .filter(|session| self.directory.session(*session).is_some_and(|entry| entry.role == Role::User))
            .filter_map(|session| self.place_of(session))
            .filter(|place| !is_own(place))
            .collect()
    }

    /// The sessions that could ring for a call that was offered elsewhere.
    pub(super) fn devices_of(&self, call: &Call) -> Vec<Place> {
        let callee = match (&call.record.callee, &call.record.room) {
            (Some(user), _) => Callee::User(user.clone()),
            (None, Some(room)) => Callee::Room(room.clone()),
            (None, None) => return Vec::new(),
        };
        self.devices(&call.record.caller, &callee)
    }

    /// The backend is told to wake a device if none that rings has a socket.
    pub(super) fn push_if_needed(&mut self, now: Now, id: &CallId) -> Option<EventNumber> {
        let call = self.calls.get(id)?;
        let is_there = |device: &Device| {
            let entry = self.directory.session(device.place.session);
            device.is_asked && entry.is_some_and(|entry| entry.is_attached)
        };
        let is_needed = call.is_ringing()
            && call.target == Target::User
            && !call.is_pushed
            && !call.devices.iter().any(is_there);
        if !is_needed {
            return None;
        }
        self.calls.get_mut(id)?.is_pushed = true;
        Some(self.call_event(now, id, CallStep::PushNeeded))
    }

    /// The offers that this one wins over are withdrawn, as far as this node keeps them.
    pub(super) fn end_crossed(&mut self, now: Now, winner: &CallId) {
        let Some(call) = self.calls.get(winner).filter(|call| call.is_ringing()) else { return };
        let crossing = Crossing {
            call: winner,
            caller: &call.record.caller.user,
            session: call.record.caller.session,
            callee: call.record.callee.as_ref(),
        };
        let crossed = self.calls.crossing(&crossing);
        for loser in crossed {
            if loser > *winner && self.calls.is_live_here(&loser) {
                self.end_by_glare(now, &loser, winner);
            }
        }
    }

    /// The caller offers the same call again: its session, or the node that kept the call, was lost.
    pub(super) fn offer_again(&mut self, now: Now, asker: &Asker, id: &CallId, offer: &Offer<'_>) -> Done {
        let Some(call) = self.calls.get(id) else { return Err(call_ended()) };
        let side = call.side_of(&asker.place, |session| self.whereabouts(session));
        if side != Some(Side::Caller) {
            return Err(duplicate("the call's id is in use"));
        }
        if !call.is_ringing() {
            let details = Object::new().text("state", "active");
            return Err(duplicate("the call was answered").with_details(details));
        }
        let is_other = call.stand(asker.place.session) != Stand::Party(Side::Caller);
        let is_lost = call.offer.is_empty();
        let ttl = offer.ttl.map_or(self.setup.options.ring_timeout, Duration::from_secs);
        let Some(call) = self.calls.live_mut(id) else { return Err(call_ended()) };
        if is_other || is_lost {
            call.take_side(Side::Caller, &asker.place);
            if is_lost {
                call.expires = call.expires.min(now.monotonic.after(ttl));
            }
            let expires_at = frames::expires_at(now, call);
            call.offer = frames::offer(call, &asker.place, expires_at, offer.data.get().as_bytes());
        }
        let told = if is_lost { call.ringing() } else { Vec::new() };
        self.calls.link(&asker.place.user, id);
        self.offer_told(now, asker, id, &told)
    }

    fn offer_told(&mut self, now: Now, asker: &Asker, id: &CallId, told: &[SessionId]) -> Done {
        let Some(call) = self.calls.get(id) else { return Err(call_ended()) };
        let (offer, delivered) = (call.offer.clone(), call.ringing().len() as u64);
        // First, so that the node of whoever answers knows where the call is.
        self.announce(id);
        for session in told {
            self.deliver(now, *session, offer.clone());
        }
        self.arm_call(id);
        let members = frames::named(id).number("delivered", delivered).members();
        self.reply_ok(now, &asker.requester, members);
        Ok(())
    }
}

impl Callee {
    fn user(&self) -> Option<&UserId> {
        match self {
            Self::User(user) | Self::Session(_, user) => Some(user),
            Self::Room(_) => None,
        }
    }

    fn called(&self) -> Called<'_> {
        match self {
            Self::User(user) | Self::Session(_, user) => Called::User(user),
            Self::Room(room) => Called::Room(room),
        }
    }
}

impl Asker {
    pub(super) fn party(&self) -> Party {
        let place = self.place.clone();
        Party { user: place.user, device: place.device, session: place.session }
    }
}

fn not_rung() -> Refusal {
    Refusal::new(ErrorCode::BadRequest, "only people are rung; send services a message")
}
