//! Who is there, on all nodes, and in which rooms.

use std::collections::HashMap;

use bytes::Bytes;

use super::{NodeName, Role, RoomId, SessionId, Status, UserId, random::Random};

/// Where a session lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// On this node.
    Here,
    /// On another one.
    Node(NodeName),
}

/// What every node knows of a session.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SessionEntry {
    /// Which.
    pub(super) id: SessionId,
    /// Where it lives.
    pub(super) node: Home,
    /// Whose it is.
    pub(super) user: UserId,
    /// On which device; may be empty.
    pub(super) device: Box<str>,
    /// As what it takes part.
    pub(super) role: Role,
    /// How it says it is.
    pub(super) status: Status,
    /// Whether it has a socket at present.
    pub(super) is_attached: bool,
    /// The session of the backend that speaks for it.
    pub(super) carrier: Option<SessionId>,
    /// How busy a media server is, in thousandths.
    pub(super) load: u16,
}

/// A session in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RoomMember {
    /// Which.
    pub(super) session: SessionId,
    /// What the others see of it: JSON.
    pub(super) state: Bytes,
}

/// All sessions, and all rooms.
#[derive(Debug)]
pub(super) struct Directory {
    sessions: HashMap<SessionId, SessionEntry, ahash::RandomState>,
    by_user: HashMap<UserId, Vec<SessionId>, ahash::RandomState>,
    /// Members in the order they came.
    pub(super) rooms: HashMap<RoomId, Vec<RoomMember>, ahash::RandomState>,
}

impl Directory {
    pub(super) fn new(random: &mut Random) -> Self {
        Self {
            sessions: HashMap::with_hasher(random.hasher()),
            by_user: HashMap::with_hasher(random.hasher()),
            rooms: HashMap::with_hasher(random.hasher()),
        }
    }

    /// A session, wherever it is.
    pub(super) fn session(&self, id: SessionId) -> Option<&SessionEntry> {
        self.sessions.get(&id)
    }

    /// The sessions of a user on all nodes, the oldest first.
    pub(super) fn sessions_of(&self, user: &UserId) -> &[SessionId] {
        self.by_user.get(user).map_or(&[], Vec::as_slice)
    }

    /// A session of this node began.
    pub(super) fn insert(&mut self, entry: SessionEntry) {
        self.by_user.entry(entry.user.clone()).or_default().push(entry.id);
        self.sessions.insert(entry.id, entry);
    }

    /// Something about a session of this node changes.
    pub(super) fn update(&mut self, id: SessionId, change: impl FnOnce(&mut SessionEntry)) {
        if let Some(entry) = self.sessions.get_mut(&id) {
            change(entry);
        }
    }

    /// A session of this node is over.
    pub(super) fn remove(&mut self, id: SessionId) -> Option<SessionEntry> {
        let entry = self.sessions.remove(&id)?;
        if let Some(sessions) = self.by_user.get_mut(&entry.user) {
            sessions.retain(|session| *session != id);
            if sessions.is_empty() {
                self.by_user.remove(&entry.user);
            }
        }
        Some(entry)
    }

    /// The members of a room, in the order they came.
    pub(super) fn members(&self, room: &RoomId) -> &[RoomMember] {
        self.rooms.get(room).map_or(&[], Vec::as_slice)
    }

    /// A session of this node enters a room, or has a new state there.
    pub(super) fn join(&mut self, room: &RoomId, member: RoomMember) {
        let members = self.rooms.entry(room.clone()).or_default();
        match members.iter_mut().find(|known| known.session == member.session) {
            Some(known) => *known = member,
            None => members.push(member),
        }
    }

    /// A session of this node leaves a room.
    pub(super) fn leave(&mut self, room: &RoomId, session: SessionId) {
        let Some(members) = self.rooms.get_mut(room) else { return };
        members.retain(|member| member.session != session);
        if members.is_empty() {
            self.rooms.remove(room);
        }
    }
}
