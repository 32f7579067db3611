//! The end of a node, and of sessions that somebody outside ends.

use std::time::Duration;

use super::{CloseCode, Now, Revoke, Server, SessionId, hello::Resumed};

impl Server {
    pub(super) fn is_draining(&self) -> bool {
        false
    }

    pub(super) fn begin_drain(&mut self, now: Now, within: Duration) {
        let _ = (now, within);
    }

    pub(super) fn drain_due(&mut self, now: Now) {
        let _ = now;
    }

    pub(super) fn end_revoked(&mut self, now: Now, revoke: &Revoke) -> usize {
        let _ = (now, revoke);
        0
    }

    pub(super) fn replace_same_device(&mut self, now: Now, id: SessionId) {
        let _ = (now, id, CloseCode::Replaced);
    }

    pub(super) fn count_resume(&mut self, resumed: Resumed) {
        let _ = resumed;
    }
}
