//! Messages: whatever clients have to say to each other.

use serde_json::value::RawValue;

use super::{
    ConnectionId, ErrorCode, Now, Role, RoomId, Server, SessionId, To, UserId,
    deliver::{Receipt, Refusal, Requester},
    object::Object,
    session::Session,
};

/// Whom a message reached, or why nobody.
type Sent = Result<u64, Refusal>;

impl Server {
    pub(super) fn message(
        &mut self,
        now: Now,
        connection: ConnectionId,
        from: &Requester,
        to: To,
        data: &RawValue,
        receipt: bool,
    ) {
        let receipt = receipt.then_some(from.id.as_deref()).flatten();
        let receipt = receipt.map(|id| Receipt { from: from.session, id: id.into() });
        let Some(sender) = self.sessions.get(from.session) else { return };
        let sent = match to {
            To::User(user) => {
                let tail = message_tail(sender, None, data);
                self.message_user(now, from.session, &user, tail, receipt)
            }
            To::Session(session) => {
                let tail = message_tail(sender, None, data);
                self.message_session(now, from.session, session, tail, receipt)
            }
            To::Room(room) => {
                let tail = message_tail(sender, Some(&room), data);
                self.message_room(now, from.session, &room, tail, receipt)
            }
            To::Sfu(room) => {
                let tail = message_tail(sender, Some(&room), data);
                self.message_sfu(now, from.session, &room, tail, receipt)
            }
        };
        match sent {
            Ok(delivered) if from.id.is_some() => {
                self.reply_ok(now, from, Object::new().number("delivered", delivered).members());
            }
            Ok(_) => {}
            Err(refusal) if refusal.code == ErrorCode::Forbidden => {
                self.refuse(now, connection, from, &refusal)
            }
            Err(refusal) => self.reply_error(now, from, &refusal),
        }
    }

    fn message_user(
        &mut self,
        now: Now,
        from: SessionId,
        to: &UserId,
        tail: bytes::Bytes,
        receipt: Option<Receipt>,
    ) -> Sent {
        self.may_message(from, None)?;
        let is_device = |id: &SessionId| {
            *id != from && self.directory.session(*id).is_some_and(|entry| entry.role == Role::User)
        };
        let devices: Vec<SessionId> =
            self.directory.sessions_of(to).iter().copied().filter(is_device).collect();
        self.are_reachable(&devices)?;
        let delivered = devices.len() as u64;
        for session in devices {
            self.message_one(now, session, tail.clone(), receipt.as_ref());
        }
        if delivered == 0 {
            return Err(Refusal::new(ErrorCode::PeerOffline, "the user has no session"));
        }
        Ok(delivered)
    }

    fn message_session(
        &mut self,
        now: Now,
        from: SessionId,
        to: SessionId,
        tail: bytes::Bytes,
        receipt: Option<Receipt>,
    ) -> Sent {
        self.may_message(from, Some(to))?;
        if self.directory.session(to).is_none() {
            return Err(Refusal::new(ErrorCode::PeerOffline, "there is no such session"));
        }
        self.are_reachable(&[to])?;
        self.message_one(now, to, tail, receipt.as_ref());
        Ok(1)
    }

    /// Nothing is taken for sessions that it may not reach.
    fn are_reachable(&self, sessions: &[SessionId]) -> Result<(), Refusal> {
        if sessions.iter().all(|session| self.can_reach(*session)) {
            return Ok(());
        }
        Err(Refusal::new(ErrorCode::Unavailable, "another node cannot be reached at present"))
    }

    fn message_room(
        &mut self,
        now: Now,
        from: SessionId,
        room: &RoomId,
        tail: bytes::Bytes,
        receipt: Option<Receipt>,
    ) -> Sent {
        self.may_send(from, room)?;
        // A change that is not told yet comes before what is said after it.
        self.tell_room(now, room);
        let others = self.directory.members(room).iter().map(|member| member.session);
        let others: Vec<SessionId> = others.filter(|member| *member != from).collect();
        self.are_reachable(&others)?;
        let delivered = others.len() as u64;
        for member in others {
            self.message_one(now, member, tail.clone(), receipt.as_ref());
        }
        Ok(delivered)
    }

    fn message_sfu(
        &mut self,
        now: Now,
        from: SessionId,
        room: &RoomId,
        tail: bytes::Bytes,
        receipt: Option<Receipt>,
    ) -> Sent {
        self.may_send(from, room)?;
        let Some(sfu) = self.sfu_of(room) else {
            return Err(Refusal::new(ErrorCode::PeerOffline, "no media server is there"));
        };
        self.message_one(now, sfu, tail, receipt.as_ref());
        Ok(1)
    }

    fn message_one(&mut self, now: Now, to: SessionId, tail: bytes::Bytes, receipt: Option<&Receipt>) {
        match receipt {
            None => self.deliver(now, to, tail),
            Some(receipt) => self.deliver_receipted(now, to, tail, receipt.clone()),
        }
    }

    /// Whether a session may send messages to users, or to this session.
    fn may_message(&self, from: SessionId, to: Option<SessionId>) -> Result<(), Refusal> {
        let Some(sender) = self.sessions.get(from) else {
            return Err(Refusal::new(ErrorCode::Internal, "the session is gone"));
        };
        let shares = |to: SessionId| {
            let is_there =
                |room: &RoomId| self.directory.members(room).iter().any(|member| member.session == to);
            sender.rooms.iter().any(|membership| membership.can_send && is_there(&membership.room))
        };
        if sender.grants.message || sender.role() != Role::User || to.is_some_and(shares) {
            return Ok(());
        }
        Err(Refusal::new(ErrorCode::Forbidden, "messages are not granted"))
    }

    /// Whether a session may send to a room.
    fn may_send(&self, from: SessionId, room: &RoomId) -> Result<(), Refusal> {
        let membership = self.sessions.get(from).and_then(|session| session.membership(room));
        match membership {
            Some(membership) if membership.can_send => Ok(()),
            Some(_) => Err(Refusal::new(ErrorCode::Forbidden, "sending to this room is not granted")),
            None => Err(Refusal::new(ErrorCode::Forbidden, "only members send to a room")),
        }
    }
}

fn message_tail(from: &Session, room: Option<&RoomId>, data: &RawValue) -> bytes::Bytes {
    let data = data.get().as_bytes();
    let mut object = Object::frame("message", data.len()).place("from", &from.place);
    if let Some(room) = room {
        object = object.text("room", room.as_str());
    }
    object.raw("data", data).tail()
}
