//! The end of a node, and of sessions that somebody outside ends.

use std::{collections::VecDeque, time::Duration};

use super::{
    CloseCode, ConnectionId, EventKind, Instant, Now, PushReason, Revoke, Server, SessionId,
    life::Ending,
    object::Object,
    session::{Session, queue::Note},
    sockets::Stage,
    timers::Timer,
};

/// Sockets that are still to be closed, the next one first.
#[derive(Debug)]
pub(super) struct Draining {
    since: Instant,
    within: Duration,
    total: usize,
    left: VecDeque<ConnectionId>,
}

/// How often some of them are closed.
const STEP: Duration = Duration::from_millis(100);
/// A device that came so shortly before on another node was not replaced by the one that comes now: of two that come
/// at once, one stays.
const AT_ONCE: Duration = Duration::from_secs(2);

impl Server {
    /// Whether clients are told to go elsewhere.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    pub(super) fn begin_drain(&mut self, now: Now, within: Duration) {
        if self.draining.is_none() {
            self.event(now, EventKind::NodeDraining);
        }
        let seconds = within.as_secs();
        let text = Object::frame("draining", 0)
            .number("reconnectWithin", seconds)
            .number("jitter", seconds * 3 / 4)
            .whole();
        let text = bytes::Bytes::from(text);
        let mut left = VecDeque::new();
        for connection in self.sockets.ids() {
            match self.sockets.get(connection).map(|socket| &socket.stage) {
                Some(Stage::Attached(session)) => {
                    let session = *session;
                    self.note(now, session, Note::Text(text.clone()));
                    left.push_back(connection);
                }
                Some(Stage::New(_) | Stage::Waiting | Stage::Delayed(_)) => {
                    self.close(now, connection, CloseCode::Draining);
                }
                Some(Stage::Closing(..)) | None => {}
            }
        }
        self.ask_ice_servers(now, PushReason::Drain, None);
        self.draining = Some(Draining { since: now.monotonic, within, total: left.len(), left });
        self.timer(now.monotonic.after(STEP.min(within)), Timer::Drain);
    }

    /// Closes as many as the time that went by asks for.
    pub(super) fn drain_due(&mut self, now: Now) {
        let Some(draining) = &mut self.draining else { return };
        let gone = now.monotonic.since(draining.since).as_millis();
        let share = draining.total as u128 * gone / draining.within.as_millis().max(1);
        let keep = draining.total.saturating_sub(usize::try_from(share).unwrap_or(usize::MAX));
        let keep = if gone >= draining.within.as_millis() { 0 } else { keep };
        let closing: Vec<ConnectionId> =
            draining.left.drain(..draining.left.len().saturating_sub(keep)).collect();
        let is_over = draining.left.is_empty();
        for connection in closing {
            self.close(now, connection, CloseCode::Draining);
        }
        if !is_over {
            self.timer(now.monotonic.after(STEP), Timer::Drain);
        }
    }

    pub(super) fn end_revoked(&mut self, now: Now, revoke: &Revoke) -> usize {
        let (ids, code) = match revoke {
            Revoke::User(user) => (self.directory.sessions_of(user).to_vec(), CloseCode::Forbidden),
            Revoke::Token(token) => {
                let is_of = |session: &&Session| session.token_id.as_deref() == Some(&**token);
                let mut ids: Vec<SessionId> =
                    self.sessions.values().filter(is_of).map(|session| session.place.session).collect();
                ids.sort_unstable();
                (ids, CloseCode::StateInvalidated)
            }
            Revoke::Session(id) => (vec![*id], CloseCode::StateInvalidated),
        };
        ids.into_iter().filter(|id| self.end_from_outside(now, *id, code, "revoked")).count()
    }

    /// Ends a session of this node, with its socket; `false` if there is none.
    fn end_from_outside(&mut self, now: Now, id: SessionId, code: CloseCode, reason: &'static str) -> bool {
        let Some(session) = self.sessions.get(id) else { return false };
        match session.socket() {
            Some(connection) => self.close(now, connection, code),
            None => self.end_session(now, id, Ending::Orderly(reason)),
        }
        true
    }

    /// The same device has one session: the newest. Called for sessions of all nodes; ends those of this one.
    pub(super) fn replace_same_device(&mut self, now: Now, id: SessionId) {
        let Some(new) = self.directory.session(id) else { return };
        if new.device.is_empty() {
            return;
        }
        let is_here = self.sessions.get(id).is_some();
        let is_same = |other: &&SessionId| {
            **other != id
                && self.directory.session(**other).is_some_and(|entry| entry.device == new.device)
                && self.sessions.get(**other).is_some_and(|session| {
                    is_here || now.monotonic.since(session.created) > AT_ONCE || **other < id
                })
        };
        let old: Vec<SessionId> =
            self.directory.sessions_of(&new.user).iter().filter(is_same).copied().collect();
        for id in old {
            self.end_from_outside(now, id, CloseCode::Replaced, "replaced");
        }
    }
}
