//! Frames of clients that have a session.

use std::sync::Arc;

use super::{
    Ask, Body, CloseCode, ConnectionId, Decision, Denial, ErrorCode, Frame, FrameError, Next, Now, Role,
    Server, SessionId, Status,
    bucket::Rate,
    counters::Rule,
    deliver::{Refusal, Requester},
    object::Object,
    session::{Session, queue::Note, replies::Known},
    sockets::{Asked, Stage},
};

/// What became of a request.
#[derive(Debug)]
pub(super) enum Step {
    /// It is answered, or will be.
    Done,
    /// Somebody else decides.
    Ask(Box<Ask>, Asked),
}

impl Server {
    pub(super) fn session_frame(
        &mut self,
        now: Now,
        connection: ConnectionId,
        id: SessionId,
        frame: Result<Frame<'_>, FrameError>,
        bytes: usize,
    ) -> Next {
        if bytes > self.setup.options.limits.frame_bytes {
            self.close(now, connection, CloseCode::TooLarge);
            return Next::More;
        }
        let Some(session) = self.sessions.get_mut(id) else { return Next::More };
        let allowed = session.count_frame(now, &self.setup.options.limits, bytes);
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                self.refuse_unread(now, connection, id, error);
                return Next::More;
            }
        };
        if let Some(seq) = frame.ack {
            self.acknowledge(now, id, seq);
        }
        let from = Requester { session: id, id: frame.id.as_deref().map(Arc::from) };
        if let Err((rule, refusal)) = allowed {
            self.trip(now, rule, Some(id));
            self.refuse(now, connection, &from, &refusal);
            return Next::More;
        }
        if !self.is_new(now, &from, &frame.body) {
            return Next::More;
        }
        let from = match frame.speaks_for {
            None => from,
            Some(speaks_for) => match self.speak_for(now, &from, speaks_for, &frame.body) {
                Ok(Some(from)) => from,
                Ok(None) => return Next::More,
                Err(refusal) => {
                    self.refuse(now, connection, &from, &refusal);
                    return Next::More;
                }
            },
        };
        match self.dispatch(now, connection, &from, frame.body) {
            Step::Done => Next::More,
            Step::Ask(ask, asked) => {
                if let Some(socket) = self.sockets.get_mut(connection) {
                    socket.asked = Some(Box::new(asked));
                }
                Next::Ask(ask)
            }
        }
    }

    /// The client has all up to `seq`.
    pub(super) fn acknowledge(&mut self, now: Now, id: SessionId, seq: u64) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let mut receipts = Vec::new();
        session.queue.acknowledge(seq, |receipt| receipts.push(receipt));
        for receipt in receipts {
            let tail = Object::frame("receipt", 0).text("id", &receipt.id).session("session", id).tail();
            self.deliver(now, receipt.from, tail);
        }
    }

    /// Whether a request was not seen before; otherwise its answer comes again.
    fn is_new(&mut self, now: Now, from: &Requester, body: &Body<'_>) -> bool {
        let Some(id) = &from.id else { return true };
        if matches!(body, Body::Ack | Body::Ping { .. } | Body::Bye | Body::Hello(_)) {
            return true;
        }
        let max = self.setup.options.replies;
        let Some(session) = self.sessions.get_mut(from.session) else { return false };
        match session.replies.begin(id, max) {
            Known::New => true,
            Known::Pending => false,
            Known::Answered(answer) => {
                self.note(now, from.session, Note::Reply(Arc::clone(id), answer));
                false
            }
        }
    }

    fn dispatch(&mut self, now: Now, connection: ConnectionId, from: &Requester, body: Body<'_>) -> Step {
        match body {
            Body::Message { to, data, receipt } => self.message(now, connection, from, to, data, receipt),
            Body::Ack => {}
            Body::Ping { t } => self.ping(now, from, t.map(|t| t.get())),
            Body::Bye => self.bye(now, connection, from),
            Body::Hello(_) => {
                let refusal = Refusal::new(ErrorCode::BadRequest, "this socket has a session already");
                self.refuse(now, connection, from, &refusal);
            }
            Body::AuthRefresh { token } => {
                let ask = Ask::Refresh { token: token.into() };
                return Step::Ask(Box::new(ask), Asked::Refresh(from.clone()));
            }
            Body::IceServers => return self.ice_servers_wanted(now, from),
            Body::Join { room, state } => return self.join(now, connection, from, room, state),
            Body::Leave { room } => self.leave(now, from, &room),
            Body::Presence { watch, set } => self.presence(now, connection, from, watch, set),
            Body::Load { load } => self.load(now, connection, from, load),
            body @ (Body::CallOffer { .. }
            | Body::CallRinging { .. }
            | Body::CallAnswer { .. }
            | Body::CallReject { .. }
            | Body::CallHangup { .. }
            | Body::IceCandidate { .. }
            | Body::Renegotiate { .. }
            | Body::CallRejoin { .. }
            | Body::CallUpgrade { .. }) => return self.call_frame(now, connection, from, body),
        }
        Step::Done
    }

    /// Descriptions and candidates have rates of their own.
    fn call_frame(&mut self, now: Now, connection: ConnectionId, from: &Requester, body: Body<'_>) -> Step {
        let limits = &self.setup.options.limits;
        let Some(session) = self.sessions.get_mut(from.session) else { return Step::Done };
        let taken = match &body {
            _ if session.role() != Role::User => Ok(()),
            Body::CallOffer { .. } | Body::CallAnswer { .. } | Body::Renegotiate { .. } => {
                let rate = Rate::per_second(limits.descriptions_per_second, limits.descriptions_per_second);
                session
                    .buckets
                    .descriptions
                    .take(now.monotonic, rate, 1)
                    .map_err(|after| (Rule::Descriptions, after))
            }
            Body::IceCandidate { count, .. } => {
                let rate = Rate::per_second(limits.candidates_per_second, limits.candidates_per_second);
                session
                    .buckets
                    .candidates
                    .take(now.monotonic, rate, *count as u64)
                    .map_err(|after| (Rule::Candidates, after))
            }
            Body::CallRinging { .. }
            | Body::CallReject { .. }
            | Body::CallHangup { .. }
            | Body::CallRejoin { .. }
            | Body::CallUpgrade { .. }
            | Body::Message { .. }
            | Body::Ack
            | Body::Ping { .. }
            | Body::Bye
            | Body::Hello(_)
            | Body::AuthRefresh { .. }
            | Body::IceServers
            | Body::Join { .. }
            | Body::Leave { .. }
            | Body::Presence { .. }
            | Body::Load { .. } => Ok(()),
        };
        if let Err((rule, after)) = taken {
            self.trip(now, rule, Some(from.session));
            self.refuse(now, connection, from, &Refusal::rate_limited("too many of these", after));
            return Step::Done;
        }
        self.handle_call(now, from, body)
    }

    fn ping(&mut self, now: Now, from: &Requester, t: Option<&str>) {
        let mut pong = Object::frame("pong", 0);
        if let Some(t) = t {
            pong = pong.raw("t", t.as_bytes());
        }
        if let Some(id) = &from.id {
            pong = pong.text("re", id);
        }
        self.note(now, from.session, Note::Text(pong.whole().into()));
    }

    fn bye(&mut self, now: Now, connection: ConnectionId, from: &Requester) {
        self.reply_ok(now, from, bytes::Bytes::new());
        self.close(now, connection, CloseCode::Normal);
    }

    /// Sets how a session says it is.
    pub(super) fn set_status(&mut self, now: Now, id: SessionId, status: Status) {
        self.directory.update(id, |entry| entry.status = status);
        self.on_status(now, id);
    }

    /// The answer to a question that a frame raised.
    pub(super) fn decided(
        &mut self,
        now: Now,
        connection: ConnectionId,
        asked: Asked,
        decision: Decision,
    ) -> Next {
        match (asked, decision) {
            (Asked::Hello(greeting), Decision::Identity(identity)) => {
                return self.identified(now, connection, *greeting, identity);
            }
            (Asked::Refresh(from), Decision::Identity(identity)) => {
                self.refreshed(now, connection, &from, identity);
            }
            (Asked::Join(from, room, state), Decision::Right(right)) => {
                self.join_decided(now, &from, &room, &state, right);
            }
            (Asked::Call(from, asked), Decision::Right(right)) => {
                self.handle_call_right(now, &from, asked, right);
            }
            (Asked::IceServers(from), Decision::IceServers(servers)) => {
                self.ice_servers_answered(now, &from, servers);
            }
            (Asked::Hello(_), _) => self.close(now, connection, CloseCode::Internal),
            (
                Asked::Refresh(from) | Asked::Join(from, ..) | Asked::Call(from, _) | Asked::IceServers(from),
                _,
            ) => self.reply_error(now, &from, &Refusal::new(ErrorCode::Internal, "answered otherwise")),
        }
        Next::More
    }

    /// Refuses a frame that should not have been sent. Not remembered: the same request may be good later.
    pub(super) fn refuse(&mut self, now: Now, connection: ConnectionId, from: &Requester, refusal: &Refusal) {
        let session = match self.sockets.get(connection).map(|socket| &socket.stage) {
            Some(Stage::Attached(session)) => *session,
            Some(Stage::New(_) | Stage::Waiting | Stage::Closing(..) | Stage::Delayed(_)) | None => return,
        };
        let rate = Rate::per_minute(self.setup.options.limits.errors_per_minute);
        let Some(known) = self.sessions.get_mut(session) else { return };
        if let Some(id) = &from.id {
            known.replies.forget(id);
        }
        // A service speaks for many: one of them does not close it.
        let is_abusive =
            known.role() == Role::User && known.buckets.errors.take(now.monotonic, rate, 1).is_err();
        let id = from.id.clone().unwrap_or_else(|| Arc::from(""));
        self.note(now, session, Note::Reply(id, super::session::queue::Answer::Error(refusal.members())));
        if is_abusive {
            self.trip(now, Rule::Errors, Some(session));
            self.close(now, connection, CloseCode::Abusive);
        }
    }

    /// A text that is no frame.
    fn refuse_unread(&mut self, now: Now, connection: ConnectionId, session: SessionId, error: FrameError) {
        let message = error.to_string();
        let (code, id) = match error {
            FrameError::NotJson(_) => return self.close(now, connection, CloseCode::BadProtocol),
            FrameError::UnknownType { id, .. } => (ErrorCode::UnknownType, id),
            FrameError::Field { id, .. } => (ErrorCode::BadRequest, id),
        };
        let from = Requester { session, id: id.map(Arc::from) };
        self.refuse(now, connection, &from, &Refusal::new(code, message));
    }
}

impl Session {
    /// Counts a frame of a person's device; services have no limit.
    fn count_frame(&mut self, now: Now, limits: &super::Limits, bytes: usize) -> Result<(), (Rule, Refusal)> {
        if self.role() != Role::User {
            return Ok(());
        }
        let frames = Rate::per_second(limits.frames_per_second, limits.frames_burst);
        let rate = Rate::per_second(limits.bytes_per_second, limits.bytes_burst);
        self.buckets
            .frames
            .take(now.monotonic, frames, 1)
            .map_err(|after| (Rule::Frames, Refusal::rate_limited("too many frames", after)))?;
        self.buckets
            .bytes
            .take(now.monotonic, rate, bytes as u64)
            .map_err(|after| (Rule::Bytes, Refusal::rate_limited("too many bytes", after)))
    }
}

impl From<&Denial> for Refusal {
    fn from(denial: &Denial) -> Self {
        let refusal =
            Self { retry_after: denial.retry_after, ..Self::new(denial.code, denial.message.clone()) };
        match denial.skew {
            Some(skew) => refusal.with_details(Object::new().number("skew", skew)),
            None => refusal,
        }
    }
}
