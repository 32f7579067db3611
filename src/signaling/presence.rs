//! Presence: users that others watch.

use super::{ConnectionId, Now, Server, SessionId, Status, UserId, deliver::Requester};

impl Server {
    pub(super) fn presence(
        &mut self,
        now: Now,
        connection: ConnectionId,
        from: &Requester,
        watch: Option<Vec<UserId>>,
        set: Option<Status>,
    ) {
        let _ = (connection, watch);
        if let Some(set) = set {
            self.set_status(now, from.session, set);
        }
        self.reply_ok(now, from, bytes::Bytes::new());
    }

    pub(super) fn presence_changed(&mut self, now: Now, id: SessionId) {
        let _ = (now, id);
    }

    pub(super) fn presence_of_user_changed(&mut self, now: Now, user: &UserId) {
        let _ = (now, user);
    }

    pub(super) fn presence_due(&mut self, now: Now, user: &UserId) {
        let _ = (now, user);
    }

    pub(super) fn unwatch_all(&mut self, id: SessionId, users: &[UserId]) {
        let _ = (id, users);
    }

    pub(super) fn presence_snapshot(&self, id: SessionId) -> Vec<u8> {
        let _ = id;
        b"[]".to_vec()
    }

    pub(super) fn load(&mut self, now: Now, connection: ConnectionId, from: &Requester, load: f64) {
        let _ = (connection, load);
        self.reply_ok(now, from, bytes::Bytes::new());
    }
}
