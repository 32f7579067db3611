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
    /// How often it moved: what is told of it before a move does not undo what is told after.
    pub(super) generation: u32,
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

/// Something of this node that the others are to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// A session began, or came from elsewhere.
    Up(SessionId),
    /// It is otherwise than before.
    Changed(SessionId),
    /// It is over; so often had it moved.
    Down(SessionId, u32),
    /// It is in a room, or has another state there.
    Joined(RoomId, SessionId),
    /// It has left a room.
    Left(RoomId, SessionId),
}

/// All sessions, and all rooms.
#[derive(Debug)]
pub(super) struct Directory {
    sessions: HashMap<SessionId, SessionEntry, ahash::RandomState>,
    by_user: HashMap<UserId, Vec<SessionId>, ahash::RandomState>,
    /// Members in the order they came.
    pub(super) rooms: HashMap<RoomId, Vec<RoomMember>, ahash::RandomState>,
    /// What others were not told yet; `None` while there is nobody to tell.
    news: Option<Vec<News>>,
}

impl Directory {
    pub(super) fn new(random: &mut Random) -> Self {
        Self {
            sessions: HashMap::with_hasher(random.hasher()),
            by_user: HashMap::with_hasher(random.hasher()),
            rooms: HashMap::with_hasher(random.hasher()),
            news: None,
        }
    }

    /// A session, wherever it is.
    pub(super) fn session(&self, id: SessionId) -> Option<&SessionEntry> {
        self.sessions.get(&id)
    }

    /// All sessions, in no order.
    pub(super) fn ids(&self) -> impl Iterator<Item = SessionId> {
        self.sessions.keys().copied()
    }

    /// The sessions of a user on all nodes, the oldest first.
    pub(super) fn sessions_of(&self, user: &UserId) -> &[SessionId] {
        self.by_user.get(user).map_or(&[], Vec::as_slice)
    }

    /// A session began, or came from elsewhere.
    pub(super) fn insert(&mut self, mut entry: SessionEntry) {
        if entry.node == Home::Here {
            self.add(News::Up(entry.id));
        }
        match self.by_user.get_mut(&entry.user) {
            Some(sessions) => {
                if !sessions.contains(&entry.id) {
                    sessions.push(entry.id);
                }
            }
            None => {
                self.by_user.insert(entry.user.clone(), vec![entry.id]);
            }
        }
        // One text for all sessions of a user.
        if let Some((user, _)) = self.by_user.get_key_value(&entry.user) {
            entry.user = user.clone();
        }
        self.sessions.insert(entry.id, entry);
    }

    /// Something about a session changes.
    pub(super) fn update(&mut self, id: SessionId, change: impl FnOnce(&mut SessionEntry)) {
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        let was_here = entry.node == Home::Here;
        change(entry);
        match (was_here, entry.node == Home::Here) {
            (true, true) => self.add(News::Changed(id)),
            (false, true) => self.add(News::Up(id)),
            // Whoever moves it tells.
            (_, false) => {}
        }
    }

    /// A session is over.
    pub(super) fn remove(&mut self, id: SessionId) -> Option<SessionEntry> {
        let entry = self.sessions.remove(&id)?;
        if entry.node == Home::Here {
            self.add(News::Down(id, entry.generation));
        }
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

    /// A session enters a room, or has a new state there.
    pub(super) fn join(&mut self, room: &RoomId, member: RoomMember) {
        if self.is_here(member.session) {
            self.add(News::Joined(room.clone(), member.session));
        }
        let members = self.rooms.entry(room.clone()).or_default();
        match members.iter_mut().find(|known| known.session == member.session) {
            Some(known) => *known = member,
            None => members.push(member),
        }
    }

    /// A session leaves a room.
    pub(super) fn leave(&mut self, room: &RoomId, session: SessionId) {
        let is_here = self.is_here(session);
        let Some(members) = self.rooms.get_mut(room) else { return };
        members.retain(|member| member.session != session);
        if members.is_empty() {
            self.rooms.remove(room);
        }
        if is_here {
            self.add(News::Left(room.clone(), session));
        }
    }

    fn is_here(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|entry| entry.node == Home::Here)
    }

    /// Whether there is anybody to tell what changes.
    pub(super) fn set_told(&mut self, is_told: bool) {
        match is_told {
            true if self.news.is_none() => self.news = Some(Vec::new()),
            true => {}
            false => self.news = None,
        }
    }

    /// What others were not told yet.
    pub(super) fn take_news(&mut self) -> Vec<News> {
        self.news.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn add(&mut self, news: News) {
        if let Some(all) = &mut self.news
            && all.last() != Some(&news)
        {
            all.push(news);
        }
    }

    /// The sessions of this node, or of another, in order.
    pub(super) fn sessions_at(&self, node: &Home) -> Vec<SessionId> {
        let mut ids: Vec<SessionId> =
            self.sessions.values().filter(|entry| entry.node == *node).map(|entry| entry.id).collect();
        ids.sort_unstable();
        ids
    }

    /// The rooms a session is in, in order. Looks at every room: for sessions that move.
    pub(super) fn rooms_of(&self, session: SessionId) -> Vec<RoomId> {
        let is_in = |members: &Vec<RoomMember>| members.iter().any(|member| member.session == session);
        let mut rooms: Vec<RoomId> =
            self.rooms.iter().filter(|(_, members)| is_in(members)).map(|(room, _)| room.clone()).collect();
        rooms.sort_unstable();
        rooms
    }

    /// The rooms with members of this node, or of another, and those members, in order.
    pub(super) fn memberships_at(&self, node: &Home) -> Vec<(RoomId, SessionId)> {
        let is_there = |id: SessionId| self.sessions.get(&id).is_some_and(|entry| entry.node == *node);
        let mut all = Vec::new();
        for (room, members) in &self.rooms {
            let there = members.iter().map(|member| member.session).filter(|id| is_there(*id));
            all.extend(there.map(|id| (room.clone(), id)));
        }
        all.sort_unstable();
        all
    }
}
