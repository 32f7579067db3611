//! What operators may see.

use std::time::Duration;

use bytes::Bytes;

use super::{Now, Role, RoomId, Server, SessionId, Status, UserId, directory::Home};

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// Which.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// On which device; may be empty.
    pub device: Box<str>,
    /// As what it takes part.
    pub role: Role,
    /// How it says it is.
    pub status: Status,
    /// Whether it has a socket.
    pub is_attached: bool,
    /// The node it lives on.
    pub node: super::NodeName,
    /// What only that node knows.
    pub here: Option<SessionHere>,
}

/// What only the node of a session knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionHere {
    /// How long it has been there.
    pub age: Duration,
    /// The rooms it is in.
    pub rooms: Vec<RoomId>,
    /// Frames it was given so far.
    pub frames: u64,
    /// Bytes kept for it.
    pub queue_bytes: usize,
}

/// A room, over all nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomView {
    /// Its members, in the order they came.
    pub members: Vec<MemberView>,
}

/// A member of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Which session.
    pub session: SessionId,
    /// Whose.
    pub user: UserId,
    /// On which device; may be empty.
    pub device: Box<str>,
    /// As what it takes part.
    pub role: Role,
    /// The members of a JSON object with what others see of it: `state`, and `attrs` of the backend.
    pub says: Bytes,
}

impl Server {
    /// One session, of any node.
    #[must_use]
    pub fn session(&self, now: Now, id: SessionId) -> Option<SessionView> {
        let entry = self.directory.session(id)?;
        let here = self.sessions.get(id).map(|session| SessionHere {
            age: now.monotonic.since(session.created),
            rooms: session.rooms.iter().map(|membership| membership.room.clone()).collect(),
            frames: session.queue.seq(),
            queue_bytes: session.queue.bytes(),
        });
        Some(SessionView {
            id,
            user: entry.user.clone(),
            device: entry.device.clone(),
            role: entry.role,
            status: entry.status,
            is_attached: entry.is_attached,
            node: match &entry.node {
                Home::Here => self.setup.node.clone(),
                Home::Node(node) => node.clone(),
            },
            here,
        })
    }

    /// The sessions of a user on all nodes.
    #[must_use]
    pub fn sessions_of(&self, now: Now, user: &UserId) -> Vec<SessionView> {
        self.directory.sessions_of(user).iter().filter_map(|id| self.session(now, *id)).collect()
    }

    /// Sessions of this node in the order of their names: at most `max` after `after`.
    #[must_use]
    pub fn sessions(&self, now: Now, after: Option<SessionId>, max: usize) -> Vec<SessionView> {
        let mut first = std::collections::BinaryHeap::with_capacity(max.saturating_add(1).min(4096));
        for session in self.sessions.values() {
            let id = session.place.session;
            if after.is_none_or(|after| id > after) {
                first.push(id);
                if first.len() > max {
                    first.pop();
                }
            }
        }
        first.into_sorted_vec().into_iter().filter_map(|id| self.session(now, id)).collect()
    }

    /// A room; `None` if nobody is in it.
    #[must_use]
    pub fn room(&self, room: &RoomId) -> Option<RoomView> {
        let members = self.directory.members(room);
        let view = |member: &super::directory::RoomMember| {
            let entry = self.directory.session(member.session)?;
            Some(MemberView {
                session: member.session,
                user: entry.user.clone(),
                device: entry.device.clone(),
                role: entry.role,
                says: member.state.clone(),
            })
        };
        (!members.is_empty()).then(|| RoomView { members: members.iter().filter_map(view).collect() })
    }
}
