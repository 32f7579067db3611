//! Rooms: who is there, and what they say of themselves.

mod telling;

use bytes::Bytes;
use serde_json::value::RawValue;

pub(super) use self::telling::{RoomChange, Tellings};
use super::{
    Answer, Ask, ConnectionId, Denial, ErrorCode, EventKind, Grants, Now, Party, Role, RoomId, RoomRight,
    Server, SessionId,
    bucket::Rate,
    counters::Rule,
    deliver::{Refusal, Requester},
    directory::RoomMember,
    object::Object,
    requests::Step,
    session::{Membership, Session},
    sockets::Asked,
};

impl Server {
    pub(super) fn join(
        &mut self,
        now: Now,
        connection: ConnectionId,
        from: &Requester,
        room: RoomId,
        state: Option<&RawValue>,
    ) -> Step {
        let state = Bytes::copy_from_slice(state.map_or("{}", RawValue::get).as_bytes());
        let Some(session) = self.sessions.get(from.session) else { return Step::Done };
        if state.len() > self.setup.options.limits.state_bytes {
            let refusal = Refusal::new(ErrorCode::TooLarge, "the state is too large");
            self.refuse(now, connection, from, &refusal);
            return Step::Done;
        }
        if session.membership(&room).is_some() {
            self.set_state(now, from, &room, &state);
            return Step::Done;
        }
        let place = session.place.clone();
        let right = session.grants.room(&room);
        if let Err((rule, refusal)) = self.may_enter(now, session.role(), from.session, &room) {
            self.trip(now, rule, Some(from.session));
            self.refuse(now, connection, from, &refusal);
            return Step::Done;
        }
        match right {
            Right::Given { can_send } => self.enter(now, from, &room, state_members(&state, None), can_send),
            Right::Ask => {
                let ask = Ask::Join { from: place, room: room.clone() };
                return Step::Ask(Box::new(ask), Asked::Join(from.clone(), room, state));
            }
            Right::Denied => {
                let refusal = Refusal::new(ErrorCode::Forbidden, "this room is not granted");
                self.refuse(now, connection, from, &refusal);
            }
        }
        Step::Done
    }

    /// Whether one more member, and one more room of that session, may be.
    fn may_enter(
        &mut self,
        now: Now,
        role: Role,
        id: SessionId,
        room: &RoomId,
    ) -> Result<(), (Rule, Refusal)> {
        let limits = &self.setup.options.limits;
        let Some(session) = self.sessions.get(id) else { return Ok(()) };
        let full = |rule, message: &str| Err((rule, Refusal::new(ErrorCode::LimitExceeded, message)));
        if self.directory.members(room).len() >= limits.room_members {
            return full(Rule::RoomMembers, "the room is full");
        }
        if role != Role::User {
            return Ok(());
        }
        if session.rooms.len() >= limits.rooms_per_session {
            return full(Rule::Rooms, "too many rooms");
        }
        let rate = Rate::per_minute(limits.joins_per_minute);
        self.joins
            .take(now.monotonic, session.place.user.clone(), rate, 1)
            .map_err(|after| (Rule::Joins, Refusal::rate_limited("too many joins", after)))
    }

    /// Somebody said whether a room may be joined.
    pub(super) fn join_decided(
        &mut self,
        now: Now,
        from: &Requester,
        room: &RoomId,
        state: &Bytes,
        right: Result<Answer, Denial>,
    ) {
        match right {
            Err(denial) => self.reply_error(now, from, &Refusal::from(&denial)),
            Ok(_) if self.directory.members(room).len() >= self.setup.options.limits.room_members => {
                self.reply_error(now, from, &Refusal::new(ErrorCode::LimitExceeded, "the room is full"));
            }
            Ok(answer) => {
                let state = state_members(state, answer.attrs.as_ref());
                self.enter(now, from, room, state, true);
            }
        }
    }

    fn enter(&mut self, now: Now, from: &Requester, room: &RoomId, state: Bytes, can_send: bool) {
        let is_first = self.directory.members(room).is_empty();
        let Some(session) = self.sessions.get_mut(from.session) else { return };
        session.rooms.push(Membership { room: room.clone(), can_send });
        let party = session.party();
        // Those who are there, without the newcomer: it is told of itself by the answer.
        let members = self.members_json(room);
        self.directory.join(room, RoomMember { session: from.session, state });
        let ver = self.room_entered(now, room, from.session);
        let answer =
            Object::new().text("id", room.as_str()).number("ver", ver).raw("members", &members).whole();
        self.reply_ok(now, from, Object::new().raw("room", &answer).members());
        if is_first {
            self.event(now, EventKind::RoomStarted { room: room.clone() });
        }
        self.event(now, EventKind::RoomJoined { room: room.clone(), member: party });
    }

    /// A member says anew what the others see of it.
    fn set_state(&mut self, now: Now, from: &Requester, room: &RoomId, state: &Bytes) {
        let old = self.directory.members(room).iter().find(|member| member.session == from.session);
        let attrs = old.and_then(|member| attrs_of(&member.state));
        let state = state_members(state, attrs.as_ref());
        self.directory.join(room, RoomMember { session: from.session, state });
        self.room_changed(now, room, from.session, RoomChange::Changed);
        let answer = Object::new()
            .text("id", room.as_str())
            .number("ver", self.tellings.ver(room))
            .raw("members", &self.members_json(room))
            .whole();
        self.reply_ok(now, from, Object::new().raw("room", &answer).members());
    }

    pub(super) fn leave(&mut self, now: Now, from: &Requester, room: &RoomId) {
        let Some(session) = self.sessions.get_mut(from.session) else { return };
        let party = session.party();
        let before = session.rooms.len();
        session.rooms.retain(|membership| membership.room != *room);
        if session.rooms.len() == before {
            return self.reply_error(
                now,
                from,
                &Refusal::new(ErrorCode::NotFound, "not a member of this room"),
            );
        }
        self.leave_room(now, party, room);
        self.reply_ok(now, from, Bytes::new());
    }

    /// A session of this node is no member any more.
    pub(super) fn leave_room(&mut self, now: Now, member: Party, room: &RoomId) {
        self.directory.leave(room, member.session);
        self.room_left(now, room, member.session);
        let is_last = self.directory.members(room).is_empty();
        self.event(now, EventKind::RoomLeft { room: room.clone(), member });
        if is_last {
            self.event(now, EventKind::RoomFinished { room: room.clone() });
        }
    }

    /// Leaves the rooms that a session may no longer be in.
    pub(super) fn leave_forbidden_rooms(&mut self, now: Now, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let party = session.party();
        let mut left = Vec::new();
        let Session { rooms, grants, .. } = session;
        rooms.retain_mut(|membership| match grants.room(&membership.room) {
            Right::Given { can_send } => {
                membership.can_send = can_send;
                true
            }
            // The backend said yes once, and was not asked to take it back.
            Right::Ask => true,
            Right::Denied => {
                left.push(membership.room.clone());
                false
            }
        });
        for room in left {
            self.leave_room(now, party.clone(), &room);
        }
    }

    /// The rooms of a session, with all members.
    pub(super) fn rooms_snapshot(&self, session: SessionId) -> Vec<u8> {
        let mut out = b"[".to_vec();
        let rooms = self.sessions.get(session).map_or(&[][..], |session| &session.rooms);
        for (index, membership) in rooms.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let room = Object::new()
                .text("id", membership.room.as_str())
                .number("ver", self.tellings.ver(&membership.room))
                .raw("members", &self.members_json(&membership.room));
            out.extend_from_slice(&room.whole());
        }
        out.push(b']');
        out
    }

    fn members_json(&self, room: &RoomId) -> Vec<u8> {
        let members = self.directory.members(room);
        let mut out = Vec::with_capacity(members.len() * 128 + 2);
        out.push(b'[');
        for member in members {
            if out.len() > 1 {
                out.push(b',');
            }
            self.push_member(&mut out, member);
        }
        out.push(b']');
        out
    }

    fn push_member(&self, out: &mut Vec<u8>, member: &RoomMember) {
        let mut object = Object::new().session("session", member.session);
        if let Some(entry) = self.directory.session(member.session) {
            object = object.text("user", entry.user.as_str()).text("role", entry.role.as_str());
            if !entry.device.is_empty() {
                object = object.text("device", &entry.device);
            }
        }
        out.extend_from_slice(&object.joined(&member.state).whole());
    }

    /// The media server of a room: the one that is in it, or the one it was given, or the least busy.
    pub(super) fn sfu_of(&mut self, room: &RoomId) -> Option<SessionId> {
        let is_sfu =
            |id: &SessionId| self.directory.session(*id).is_some_and(|entry| entry.role == Role::Sfu);
        let members = self.directory.members(room).iter().map(|member| member.session);
        if let Some(sfu) = members.filter(is_sfu).min() {
            return Some(sfu);
        }
        let pinned = self.tellings.sfu(room).filter(is_sfu);
        if pinned.is_some() {
            return pinned;
        }
        // What a media server of another node may join is known there; here, what it says of its load.
        let may_join = |id: &SessionId| match self.sessions.get(*id) {
            Some(session) => matches!(session.grants.room(room), Right::Given { .. }),
            None => true,
        };
        let load = |id: &SessionId| (self.directory.session(*id).map_or(u16::MAX, |entry| entry.load), *id);
        let sfu = self.sfus.iter().copied().filter(may_join).min_by_key(load)?;
        self.tellings.pin(room, sfu);
        Some(sfu)
    }

    /// How busy a media server is.
    pub(super) fn load(&mut self, now: Now, connection: ConnectionId, from: &Requester, load: f64) {
        if self.sessions.get(from.session).is_none_or(|session| session.role() != Role::Sfu) {
            let refusal = Refusal::new(ErrorCode::Forbidden, "only a media server has a load");
            return self.refuse(now, connection, from, &refusal);
        }
        let thousandths = (load * 1000.0) as u16;
        if self.directory.session(from.session).is_some_and(|entry| entry.load != thousandths) {
            self.directory.update(from.session, |entry| entry.load = thousandths);
        }
        self.reply_ok(now, from, Bytes::new());
    }
}

/// What grants say about a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// It may be joined.
    Given {
        /// And sent to.
        can_send: bool,
    },
    /// Somebody else decides.
    Ask,
    /// It may not.
    Denied,
}

impl Grants {
    /// What they say about a room.
    pub(super) fn room(&self, room: &RoomId) -> Right {
        let is_named = |name: &str| match name.strip_suffix('*') {
            Some(prefix) => room.as_str().starts_with(prefix),
            None => name == room.as_str(),
        };
        let mut rights = self.rooms.iter().filter(|grant| is_named(&grant.name)).peekable();
        if rights.peek().is_none() {
            return if self.ask_rooms { Right::Ask } else { Right::Denied };
        }
        let (mut can_join, mut can_send) = (false, false);
        for right in rights.flat_map(|grant| &grant.rights) {
            match right {
                RoomRight::Join => can_join = true,
                RoomRight::Send => can_send = true,
            }
        }
        if can_join { Right::Given { can_send } } else { Right::Denied }
    }
}

/// The members of a room's member that say more than who it is.
fn state_members(state: &[u8], attrs: Option<&Bytes>) -> Bytes {
    let mut out = Vec::with_capacity(state.len() + attrs.map_or(0, Bytes::len) + 24);
    // What the backend said stands first: where it ends, no client has a say.
    if let Some(attrs) = attrs {
        out.extend_from_slice(b"\"attrs\":");
        out.extend_from_slice(attrs);
        out.push(b',');
    }
    out.extend_from_slice(b"\"state\":");
    out.extend_from_slice(state);
    out.into()
}

/// What the backend said of a member.
fn attrs_of(members: &Bytes) -> Option<Bytes> {
    #[derive(serde::Deserialize)]
    struct Attrs<'a> {
        #[serde(borrow)]
        attrs: Option<&'a RawValue>,
    }
    let mut whole = b"{".to_vec();
    whole.extend_from_slice(members);
    whole.push(b'}');
    let read: Attrs<'_> = serde_json::from_slice(&whole).ok()?;
    read.attrs.map(|attrs| Bytes::copy_from_slice(attrs.get().as_bytes()))
}
