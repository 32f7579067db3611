//! Calls.

mod elsewhere;

use super::{
    Answer, Body, CallId, Denial, ErrorCode, Now, Server, SessionId,
    deliver::{Refusal, Requester},
    directory::SessionEntry,
    requests::Step,
};

/// The calls of this node, and what is known of those of others.
#[derive(Debug, Default)]
pub(super) struct Calls {}

/// An offer whose right is asked for.
#[derive(Debug)]
pub(super) struct Asked {}

impl Server {
    /// A frame about a call, of a session of this node.
    pub(super) fn handle_call(&mut self, now: Now, from: &Requester, body: Body<'_>) -> Step {
        let _ = body;
        self.reply_error(now, from, &Refusal::new(ErrorCode::Unavailable, "no calls here"));
        Step::Done
    }

    /// The answer to an [`Ask::Call`](super::Ask::Call).
    pub(super) fn handle_call_right(
        &mut self,
        now: Now,
        from: &Requester,
        asked: Asked,
        right: Result<Answer, Denial>,
    ) {
        let _ = (now, from, asked, right);
    }

    /// A timer of a call is due.
    pub(super) fn handle_call_timer(&mut self, now: Now, call: &CallId, generation: u32) {
        let _ = (now, call, generation);
    }

    /// The calls of a session, as its snapshot has them: a JSON array.
    pub(super) fn calls_snapshot(&self, session: SessionId) -> Vec<u8> {
        let _ = session;
        b"[]".to_vec()
    }

    /// A session is there, here or elsewhere: new, or it lost what it was sent and gets what still matters again.
    pub(super) fn calls_session_up(&mut self, now: Now, session: SessionId) {
        let _ = (now, session);
    }

    /// A session has a socket, or has none.
    pub(super) fn calls_session_attached(&mut self, now: Now, session: SessionId, is_attached: bool) {
        let _ = (now, session, is_attached);
    }

    /// A session is over.
    pub(super) fn calls_session_down(&mut self, now: Now, entry: &SessionEntry) {
        let _ = (now, entry);
    }
}
