//! From the opening of a socket to the end of a session.

use super::{
    Client, CloseCode, ConnectionId, EventKind, Now, Output, Party, Role, Server, SessionId, Status,
    bucket::Rate,
    counters::Rule,
    deliver::Requester,
    directory::{Home, SessionEntry},
    session::{Attachment, Session},
    sockets::{Asked, Stage},
    timers::Timer,
};

/// How a session comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// For this reason.
    Orderly(&'static str),
    /// Nobody resumed it.
    Lost,
    /// It lives on at another node.
    Moved,
}

/// How long before the end of a token its client is told.
pub(super) const TOKEN_WARNING: std::time::Duration = std::time::Duration::from_secs(60);

impl Server {
    /// Whether one more socket may be had.
    pub(super) fn admit(&mut self, now: Now, client: Client) -> Result<(), CloseCode> {
        if self.is_draining() {
            self.counters.closed(CloseCode::Draining);
            return Err(CloseCode::Draining);
        }
        let limits = &self.setup.options.limits;
        let of_address = self.sockets.unauthenticated_of(client.address) as usize;
        let rate = Rate::per_second(limits.connects_per_address, limits.connects_burst);
        let rule = if self.sockets.len() >= limits.connections {
            Rule::Connections
        } else if self.sockets.unauthenticated() >= limits.connections_unauthenticated
            || of_address >= limits.unauthenticated_per_address
        {
            Rule::Unauthenticated
        } else if self.sockets.connects.take(now.monotonic, client.address, rate, 1).is_err() {
            Rule::Connects
        } else {
            return Ok(());
        };
        self.counters.tripped(rule);
        self.counters.closed(CloseCode::ConnectionLimit);
        Err(CloseCode::ConnectionLimit)
    }

    /// Has the driver look at a socket.
    pub(super) fn wake(&mut self, connection: ConnectionId) {
        let Some(socket) = self.sockets.get_mut(connection) else { return };
        if !std::mem::replace(&mut socket.is_woken, true) {
            self.outputs.push_back(Output::Wake(connection));
        }
    }

    /// Has the driver look at a socket even if it was told before and did not yet: it may be stuck.
    pub(super) fn wake_again(&mut self, connection: ConnectionId) {
        if let Some(socket) = self.sockets.get_mut(connection) {
            socket.is_woken = true;
            self.outputs.push_back(Output::Wake(connection));
        }
    }

    /// Closes a socket. Its session waits to be resumed, or is over, as the code says.
    pub(super) fn close(&mut self, now: Now, connection: ConnectionId, code: CloseCode) {
        self.close_after(now, connection, code, None);
    }

    /// The same after one more frame.
    pub(super) fn close_after(
        &mut self,
        now: Now,
        connection: ConnectionId,
        code: CloseCode,
        last: Option<String>,
    ) {
        self.forget_asked(connection);
        let Some(socket) = self.sockets.get(connection) else { return };
        let session = match socket.stage {
            Stage::Closing(..) => return,
            Stage::Attached(session) => Some(session),
            Stage::New(_) | Stage::Waiting | Stage::Delayed(_) => None,
        };
        self.counters.closed(code);
        let mut texts = Vec::new();
        if let Some(session) = session.and_then(|session| self.sessions.get_mut(session))
            && code.is_readable()
        {
            while let Some(text) = session.queue.next() {
                texts.push(text);
            }
        }
        texts.extend(last);
        self.sockets.set_stage(connection, Stage::Closing(code, texts.into()));
        self.wake_again(connection);
        let Some(session) = session else { return };
        match code.ends_session() {
            Some(reason) => self.end_session(now, session, Ending::Orderly(reason)),
            None => self.detach(now, session),
        }
    }

    /// A frame that waits for an answer that will not come may be sent again.
    pub(super) fn forget_asked(&mut self, connection: ConnectionId) {
        let Some(asked) = self.sockets.get_mut(connection).and_then(|socket| socket.asked.take()) else {
            return;
        };
        let (Asked::Refresh(from) | Asked::Join(from, ..) | Asked::Call(from, _) | Asked::IceServers(from)) =
            *asked
        else {
            return;
        };
        self.forget_request(&from);
    }

    /// The request comes to nothing and may be sent again.
    fn forget_request(&mut self, from: &Requester) {
        let Some(session) = self.sessions.get_mut(from.session) else { return };
        if let Attachment::Carried(carrier) = session.attachment {
            return self.forget_request(&Requester { session: carrier, id: from.id.clone() });
        }
        if let Some(id) = &from.id {
            session.replies.forget(id);
        }
    }

    /// The socket of a session is gone.
    pub(super) fn detach(&mut self, now: Now, id: SessionId) {
        let ttl = self.setup.options.resume_ttl;
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.attachment = Attachment::Detached;
        session.queue.detach();
        session.deadlines.resume = Some(now.monotonic.after(ttl));
        self.arm(id);
        self.set_attached(now, id, false);
    }

    /// Whether a session has a socket has changed.
    pub(super) fn set_attached(&mut self, now: Now, id: SessionId, is_attached: bool) {
        self.directory.update(id, |entry| entry.is_attached = is_attached);
        self.on_status(now, id);
        self.calls_session_attached(now, id, is_attached);
    }

    /// A session of this node begins; [`on_session_up`](Self::on_session_up) is to follow.
    pub(super) fn insert_session(&mut self, session: Session) {
        let place = session.place.clone();
        let (role, attachment) = (session.role(), session.attachment);
        self.sessions.insert(session);
        self.directory.insert(SessionEntry {
            id: place.session,
            node: Home::Here,
            generation: 0,
            user: place.user,
            device: place.device,
            role,
            status: Status::Online,
            is_attached: !matches!(attachment, Attachment::Detached),
            carrier: match attachment {
                Attachment::Carried(carrier) => Some(carrier),
                Attachment::Socket(_) | Attachment::Detached => None,
            },
            load: 0,
        });
    }

    /// A session of this node is over. Whoever calls this has closed its socket.
    pub(super) fn end_session(&mut self, now: Now, id: SessionId, ending: Ending) {
        let Some(session) = self.sessions.remove(id) else { return };
        let party = session.party();
        self.leave_all_rooms(now, &session, ending);
        self.unwatch_all(id, &session.watches);
        self.end_carried(now, &session, ending);
        if ending == Ending::Lost {
            self.sessions.expire(id);
        }
        match ending {
            Ending::Orderly(reason) => {
                self.event(now, EventKind::SessionDisconnected { party, reason });
            }
            Ending::Lost => {
                self.event(now, EventKind::SessionLost { party });
            }
            Ending::Moved => return,
        }
        if let Some(entry) = self.directory.remove(id) {
            self.on_session_down(now, &entry);
        }
    }

    fn leave_all_rooms(&mut self, now: Now, session: &Session, ending: Ending) {
        for membership in &session.rooms {
            match ending {
                // It stays a member, of another node.
                Ending::Moved => self.room_moved_away(&membership.room),
                Ending::Orderly(_) | Ending::Lost => self.leave_room(now, session.party(), &membership.room),
            }
        }
    }

    /// A session began, here or elsewhere.
    pub(super) fn on_session_up(&mut self, now: Now, id: SessionId) {
        if self.directory.session(id).is_some_and(|entry| entry.role == Role::Sfu) && !self.sfus.contains(&id)
        {
            self.sfus.push(id);
        }
        self.replace_same_device(now, id);
        self.presence_changed(now, id);
        self.calls_session_up(now, id);
    }

    /// How a session is has changed, here or elsewhere.
    pub(super) fn on_status(&mut self, now: Now, id: SessionId) {
        self.presence_changed(now, id);
    }

    /// A session is over, here or elsewhere.
    pub(super) fn on_session_down(&mut self, now: Now, entry: &SessionEntry) {
        self.sfus.retain(|sfu| *sfu != entry.id);
        self.presence_of_user_changed(now, &entry.user);
        self.calls_session_down(now, entry);
    }

    /// The first frame, or the heartbeat.
    pub(super) fn connection_due(&mut self, now: Now, connection: ConnectionId) {
        let options = &self.setup.options;
        let Some(socket) = self.sockets.get_mut(connection) else { return };
        let at = match &mut socket.stage {
            Stage::New(_) if socket.asked.is_none() => {
                return self.close(now, connection, CloseCode::HelloTimeout);
            }
            Stage::New(_) | Stage::Waiting => now.monotonic.after(options.hello_timeout),
            Stage::Closing(..) => return,
            Stage::Delayed(delay) if delay.until <= now.monotonic => {
                let (code, text) = (delay.code, std::mem::take(&mut delay.text));
                return self.close_after(now, connection, code, Some(text));
            }
            Stage::Delayed(delay) => delay.until,
            Stage::Attached(session) => {
                if socket.pinged.is_some_and(|pinged| socket.heard >= pinged) {
                    socket.pinged = None;
                }
                match socket.pinged.map(|pinged| pinged.after(options.heartbeat_timeout)) {
                    Some(end) if end <= now.monotonic => {
                        return self.close(now, connection, CloseCode::NoPong);
                    }
                    Some(end) => end,
                    None => {
                        let next = socket.heard.after(options.heartbeat_interval);
                        if next > now.monotonic {
                            next
                        } else {
                            socket.pinged = Some(now.monotonic);
                            socket.is_ping_due = true;
                            let end = now.monotonic.after(options.heartbeat_timeout);
                            if let Some(session) = self.sessions.get_mut(*session) {
                                session.queue.shrink();
                            }
                            self.wake(connection);
                            end
                        }
                    }
                }
            }
        };
        self.timer(at, Timer::Connection(connection));
    }

    /// Sets the timer of a session to the earliest of what is due.
    pub(super) fn arm(&mut self, id: SessionId) {
        let grace = self.setup.options.token_grace;
        let Some(session) = self.sessions.get_mut(id) else { return };
        let Some(due) = session.due(TOKEN_WARNING, grace) else { return };
        if session.deadlines.armed.is_none_or(|armed| due < armed) {
            session.deadlines.armed = Some(due);
            self.timers.put(due, Timer::Session(id));
        }
    }

    /// Something of a session is due, or was.
    pub(super) fn session_due(&mut self, now: Now, id: SessionId) {
        let grace = self.setup.options.token_grace;
        let Some(session) = self.sessions.get_mut(id) else { return };
        if session.deadlines.armed.is_some_and(|armed| armed > now.monotonic) {
            return;
        }
        session.deadlines.armed = None;
        let is_due = |at: Option<super::Instant>| at.is_some_and(|at| at <= now.monotonic);
        if is_due(session.deadlines.resume) {
            return self.end_session(now, id, Ending::Lost);
        }
        if is_due(session.deadlines.token.map(|end| end.after(grace))) {
            return self.end_expired(now, id);
        }
        let is_ice_due = is_due(session.deadlines.ice);
        if is_ice_due {
            session.deadlines.ice = None;
        }
        if is_due(session.deadlines.token.map(|end| end.before(TOKEN_WARNING))) {
            self.tell_expiry(now, id);
        }
        if is_ice_due {
            self.ask_fresh_ice_servers(now, id);
        }
        self.arm(id);
    }

    /// The token ran out and none followed.
    fn end_expired(&mut self, now: Now, id: SessionId) {
        match self.sessions.get(id).and_then(Session::socket) {
            Some(connection) => self.close(now, connection, CloseCode::TokenExpired),
            None => self.end_session(now, id, Ending::Orderly("expired")),
        }
    }

    fn tell_expiry(&mut self, now: Now, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let Some(end) = session.deadlines.token else { return };
        if std::mem::replace(&mut session.deadlines.is_token_told, true) {
            return;
        }
        let left = end.since(now.monotonic).as_secs();
        let frame = super::object::Object::frame("token-expiring", 0).number("in", left).whole();
        self.note(now, id, super::session::queue::Note::Text(frame.into()));
    }
}

impl Session {
    /// As events name it.
    pub(super) fn party(&self) -> Party {
        Party {
            user: self.place.user.clone(),
            device: self.place.device.clone(),
            session: self.place.session,
        }
    }
}

impl CloseCode {
    /// Why a session is over when its socket is closed with this code; `None` if it can be resumed.
    const fn ends_session(self) -> Option<&'static str> {
        match self {
            Self::Internal
            | Self::Draining
            | Self::NoPong
            | Self::Slow
            | Self::WriteError
            | Self::Moved
            | Self::GoingAway => None,
            Self::Normal => Some("bye"),
            Self::SessionExpired | Self::TokenExpired => Some("expired"),
            Self::EpochReset => Some("reset"),
            Self::StateInvalidated | Self::Unauthorized | Self::Forbidden => Some("revoked"),
            Self::BadProtocol | Self::UnsupportedData | Self::TooLarge | Self::HelloTimeout => {
                Some("protocol")
            }
            Self::Replaced => Some("replaced"),
            Self::Abusive | Self::ConnectionLimit => Some("abusive"),
        }
    }

    /// Whether the client can be expected to read what stands before the close.
    const fn is_readable(self) -> bool {
        !matches!(self, Self::NoPong | Self::Slow | Self::WriteError | Self::Moved)
    }
}
