//! What operators and backends do to sessions and rooms from outside.

use serde_json::value::RawValue;

use super::{Now, Role, RoomId, Server, SessionId, SessionView, object::Object};

impl Server {
    /// Has a session of this node leave a room, and tells it so; whether it was there.
    pub fn remove_member(&mut self, now: Now, room: &RoomId, id: SessionId) -> bool {
        let Some(session) = self.sessions.get_mut(id) else { return false };
        let party = session.party();
        let before = session.rooms.len();
        session.rooms.retain(|membership| membership.room != *room);
        if session.rooms.len() == before {
            return false;
        }
        self.leave_room(now, party, room);
        let tail = Object::frame("room-event", 0)
            .text("room", room.as_str())
            .number("ver", self.tellings.ver(room))
            .raw("left", format!("[\"{id}\"]").as_bytes())
            .text("reason", "removed")
            .tail();
        self.deliver(now, id, tail);
        true
    }

    /// Sends a message to all members of a room, on all nodes, from somebody who has no session; how many there are.
    pub fn message_from_outside(
        &mut self,
        now: Now,
        room: &RoomId,
        (user, role): (&str, Role),
        data: &RawValue,
    ) -> usize {
        // A change that is not told yet comes before what is said after it.
        self.tell_room(now, room);
        let from = Object::new().text("user", user).text("role", role.as_str()).whole();
        let data = data.get().as_bytes();
        let tail = Object::frame("message", data.len())
            .raw("from", &from)
            .text("room", room.as_str())
            .raw("data", data)
            .tail();
        let members: Vec<SessionId> =
            self.directory.members(room).iter().map(|member| member.session).collect();
        for member in &members {
            self.deliver(now, *member, tail.clone());
        }
        members.len()
    }

    /// Sessions of all nodes in the order of their names: at most `max` after `after`.
    #[must_use]
    pub fn sessions_everywhere(&self, now: Now, after: Option<SessionId>, max: usize) -> Vec<SessionView> {
        let mut ids: Vec<SessionId> =
            self.directory.ids().filter(|id| after.is_none_or(|after| *id > after)).collect();
        if ids.len() > max && max > 0 {
            ids.select_nth_unstable(max - 1);
            ids.truncate(max);
        }
        ids.sort_unstable();
        ids.into_iter().filter_map(|id| self.session(now, id)).collect()
    }
}
