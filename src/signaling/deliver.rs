//! How everything reaches a client, here or elsewhere: frames, answers, events.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    CloseCode, ErrorCode, Event, EventKind, EventNumber, Instant, Now, Output, RoomId, Server, SessionId,
    UserId,
    object::Object,
    session::{
        Attachment,
        queue::{Answer, Extra, Kept, Note, Room},
    },
    timers::Timer,
};

/// Who asked, and under which name the answer goes back. May be of another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Requester {
    /// The session.
    pub(super) session: SessionId,
    /// Without one, nobody waits for an answer.
    pub(super) id: Option<Arc<str>>,
}

/// Who wants to know that a frame arrived, and what it called the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    /// The session.
    pub(super) from: SessionId,
    /// The request.
    pub(super) id: Box<str>,
}

/// What a frame tells of, of which only the latest matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// The members of a room.
    Room(RoomId),
    /// How a user is.
    Presence(UserId),
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// For programs.
    pub(super) code: ErrorCode,
    /// For people.
    pub(super) message: Box<str>,
    /// When it may be tried again.
    pub(super) retry_after: Option<Duration>,
    /// A JSON object.
    pub(super) details: Option<Bytes>,
}

/// Something for a session of another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parcel {
    /// A frame: what follows `{"seq":1,`.
    Frame {
        /// The frame.
        tail: Bytes,
        /// Who wants to know that it arrived.
        receipt: Option<Receipt>,
    },
    /// The answer to a request, to be remembered there.
    Answer {
        /// The request.
        id: Arc<str>,
        /// What it was answered.
        answer: Answer,
    },
}

/// Events of this run, and the answers that wait for them to be kept.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    last: EventNumber,
    kept: EventNumber,
    held: VecDeque<(EventNumber, Requester, Bytes)>,
}

/// Answers that wait for their event. Beyond this, a store that keeps nothing does not hold up calls.
const HELD_MAX: usize = 100_000;

impl Recorder {
    /// An answer whose event is kept. Events are numbered as they happen, so those that wait longest come first, and
    /// those behind need not be looked at.
    fn pop_ready(&mut self) -> Option<(EventNumber, Requester, Bytes)> {
        let kept = self.kept;
        self.held.pop_front_if(|(event, ..)| *event <= kept)
    }
}

impl Refusal {
    /// With nothing but words.
    pub(super) fn new(code: ErrorCode, message: impl Into<Box<str>>) -> Self {
        Self { code, message: message.into(), retry_after: None, details: None }
    }

    /// Too often.
    pub(super) fn rate_limited(message: impl Into<Box<str>>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(ErrorCode::RateLimited, message) }
    }

    /// With a JSON object that says more.
    pub(super) fn with_details(mut self, details: Object) -> Self {
        self.details = Some(details.whole().into());
        self
    }

    /// The members of the `error` frame.
    pub(super) fn members(&self) -> Bytes {
        let mut object = Object::new()
            .text("code", self.code.as_str())
            .text("message", &self.message)
            .flag("retryable", self.code.is_retryable());
        if let Some(after) = self.retry_after {
            object =
                object.number("retryAfter", after.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX));
        }
        if let Some(details) = &self.details {
            object = object.raw("details", details);
        }
        object.members()
    }
}

impl Server {
    /// A frame for one session, here or elsewhere: kept until its client has it.
    pub(super) fn deliver(&mut self, now: Now, to: SessionId, tail: Bytes) {
        self.deliver_kept(now, to, Kept { tail, extra: None });
    }

    /// The same; once its client has it, the sender is told.
    pub(super) fn deliver_receipted(&mut self, now: Now, to: SessionId, tail: Bytes, receipt: Receipt) {
        self.deliver_kept(now, to, Kept { tail, extra: Some(Box::new(Extra::Receipt(receipt))) });
    }

    /// A frame of which only the latest matters: it takes the place of an older one that is not sent yet.
    pub(super) fn deliver_latest(&mut self, now: Now, to: SessionId, tail: Bytes, about: About) {
        if let Some(session) = self.sessions.get_mut(to)
            && session.queue.replace(&about, &tail)
        {
            return;
        }
        self.deliver_about(now, to, tail, about);
    }

    /// A frame that a later one about the same may take the place of.
    pub(super) fn deliver_about(&mut self, now: Now, to: SessionId, tail: Bytes, about: About) {
        self.deliver_kept(now, to, Kept { tail, extra: Some(Box::new(Extra::About(about))) });
    }

    fn deliver_kept(&mut self, now: Now, to: SessionId, kept: Kept) {
        let room = self.queue_room();
        let Some(session) = self.sessions.get_mut(to) else {
            let receipt = match kept.extra.map(|extra| *extra) {
                Some(Extra::Receipt(receipt)) => Some(receipt),
                Some(Extra::About(_)) | None => None,
            };
            return self.send_elsewhere(now, to, Parcel::Frame { tail: kept.tail, receipt });
        };
        match session.attachment {
            Attachment::Carried(carrier) => {
                let tail = super::bridge::carried_tail(&session.place, &kept.tail);
                // The carrier's queue has frames of many that tell of the same.
                let extra = kept.extra.filter(|extra| matches!(**extra, Extra::Receipt(_)));
                self.deliver_kept(now, carrier, Kept { tail, extra });
            }
            Attachment::Detached => session.queue.push(kept, false, room),
            Attachment::Socket(connection) => {
                session.queue.push(kept, true, room);
                if session.queue.is_slow(room) {
                    self.close(now, connection, CloseCode::Slow);
                } else {
                    self.wake(connection);
                }
            }
        }
    }

    /// Answers a request.
    pub(super) fn reply_ok(&mut self, now: Now, to: &Requester, members: Bytes) {
        self.reply(now, to, Answer::Ok(members));
    }

    /// Refuses a request.
    pub(super) fn reply_error(&mut self, now: Now, to: &Requester, refusal: &Refusal) {
        self.reply(now, to, Answer::Error(refusal.members()));
    }

    /// Answers a request once this event is kept.
    pub(super) fn reply_ok_recorded(&mut self, now: Now, to: &Requester, members: Bytes, event: EventNumber) {
        if event <= self.recorder.kept || self.recorder.held.len() >= HELD_MAX {
            self.reply_ok(now, to, members);
        } else if to.id.is_some() {
            self.recorder.held.push_back((event, to.clone(), members));
        }
    }

    /// Answers a request, and remembers the answer.
    pub(super) fn reply(&mut self, now: Now, to: &Requester, answer: Answer) {
        let Some(id) = &to.id else { return };
        let Some(session) = self.sessions.get_mut(to.session) else {
            return self.send_elsewhere(now, to.session, Parcel::Answer { id: Arc::clone(id), answer });
        };
        if let Attachment::Carried(carrier) = session.attachment {
            return self.reply(now, &Requester { session: carrier, id: to.id.clone() }, answer);
        }
        session.replies.end(id, &answer);
        self.note(now, to.session, Note::Reply(Arc::clone(id), answer));
    }

    /// Something without a number, for a session of this node that has a socket.
    pub(super) fn note(&mut self, now: Now, to: SessionId, note: Note) {
        let room = self.queue_room();
        let Some(session) = self.sessions.get_mut(to) else { return };
        let Some(connection) = session.socket() else { return };
        session.queue.note(note);
        if session.queue.is_slow(room) {
            self.close(now, connection, CloseCode::Slow);
        } else {
            self.wake(connection);
        }
    }

    /// What another node sent for a session of this one.
    pub(super) fn handle_parcel(&mut self, now: Now, to: SessionId, parcel: Parcel) {
        if self.sessions.get(to).is_none() {
            return;
        }
        match parcel {
            Parcel::Frame { tail, receipt: None } => self.deliver(now, to, tail),
            Parcel::Frame { tail, receipt: Some(receipt) } => self.deliver_receipted(now, to, tail, receipt),
            Parcel::Answer { id, answer } => {
                self.reply(now, &Requester { session: to, id: Some(id) }, answer)
            }
        }
    }

    /// Something happened that others are told.
    pub(super) fn event(&mut self, now: Now, kind: EventKind) -> EventNumber {
        self.recorder.last.0 += 1;
        let number = self.recorder.last;
        self.outputs.push_back(Output::Event(Event { number, at: now.unix_millis, kind }));
        number
    }

    /// Sends the answers that waited for events up to this one.
    pub(super) fn release_recorded(&mut self, now: Now, up_to: EventNumber) {
        self.recorder.kept = self.recorder.kept.max(up_to.min(self.recorder.last));
        while let Some((_, to, members)) = self.recorder.pop_ready() {
            self.reply_ok(now, &to, members);
        }
    }

    /// Calls back at that time.
    pub(super) fn timer(&mut self, at: Instant, timer: Timer) {
        self.timers.put(at, timer);
    }

    fn queue_room(&self) -> Room {
        Room { frames: self.setup.options.ring_frames, bytes: self.setup.options.ring_bytes }
    }
}
