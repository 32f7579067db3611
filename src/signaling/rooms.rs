//! Rooms: who is there, and what they say of themselves.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{
    Answer, ConnectionId, Denial, ErrorCode, Now, RoomId, Server, SessionId,
    deliver::{Refusal, Requester},
    requests::Step,
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
        let _ = (connection, room, state);
        self.reply_error(now, from, &Refusal::new(ErrorCode::Unavailable, "no rooms here"));
        Step::Done
    }

    pub(super) fn join_decided(
        &mut self,
        now: Now,
        from: &Requester,
        room: &RoomId,
        state: &Bytes,
        right: Result<Answer, Denial>,
    ) {
        let _ = (now, from, room, state, right);
    }

    pub(super) fn leave(&mut self, now: Now, from: &Requester, room: &RoomId) {
        let _ = (now, from, room);
    }

    pub(super) fn leave_room(&mut self, now: Now, session: SessionId, room: &RoomId) {
        let _ = (now, session, room);
    }

    pub(super) fn tell_room(&mut self, now: Now, room: &RoomId) {
        let _ = (now, room);
    }

    pub(super) fn room_due(&mut self, now: Now, room: &RoomId) {
        let _ = (now, room);
    }

    pub(super) fn rooms_snapshot(&self, session: SessionId) -> Vec<u8> {
        let _ = session;
        b"[]".to_vec()
    }

    pub(super) fn sfu_of(&self, room: &RoomId) -> Option<SessionId> {
        let _ = room;
        None
    }
}
