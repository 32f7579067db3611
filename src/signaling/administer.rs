//! What operators and backends do to sessions and rooms from outside.

use super::{Now, RoomId, Server, SessionId};

impl Server {
    /// Has a session of this node leave a room; whether it was there.
    pub fn remove_member(&mut self, now: Now, room: &RoomId, session: SessionId) -> bool {
        let _ = (now, room, session);
        false
    }
}
