//! What nodes tell each other of their sessions, rooms and calls: every change as it happens, and all of it when one
//! knows nothing of the other, page by page as there is room.

use std::collections::BTreeSet;

use super::{
    super::{
        CallId, NodeName, Now, RoomId, Server, SessionId,
        directory::{Home, News, RoomMember, SessionEntry},
        rooms::RoomChange,
    },
    channel::Fill,
    message::{Change, Told},
};

/// What is still to be told.
#[derive(Debug)]
pub(super) struct Telling {
    sessions: std::vec::IntoIter<SessionId>,
    memberships: std::vec::IntoIter<(RoomId, SessionId)>,
    has_told_calls: bool,
}

/// What was known and is not told again yet.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    sessions: BTreeSet<SessionId>,
    memberships: BTreeSet<(RoomId, SessionId)>,
    calls: Vec<CallId>,
}

/// A page of what is told at once.
const PAGE: usize = 256;

impl Server {
    /// All there is here is to be told to a node.
    pub(super) fn begin_telling(&mut self, node: &NodeName) {
        // What changed until now is part of it; what changes from now on comes behind its beginning.
        self.tell_news();
        let telling = Telling {
            sessions: self.directory.sessions_at(&Home::Here).into_iter(),
            memberships: self.directory.memberships_at(&Home::Here).into_iter(),
            has_told_calls: false,
        };
        let Some(link) = self.links.up(node) else { return };
        link.must_tell = false;
        link.telling = Some(telling);
        link.say(Told::Begin);
    }

    /// Tells more, as long as there is room.
    pub(super) fn tell_more(&mut self, node: &NodeName) {
        loop {
            let Some(link) = self.links.by_node.get_mut(node) else { return };
            if !link.is_up || link.channel.fill() != Fill::Free {
                return;
            }
            let Some(mut telling) = link.telling.take() else {
                if !link.must_tell {
                    return;
                }
                self.begin_telling(node);
                continue;
            };
            let page = self.page(&mut telling);
            let is_end = page.last() == Some(&Told::End);
            let Some(link) = self.links.up(node) else { return };
            page.into_iter().for_each(|told| link.say(told));
            if !is_end {
                link.telling = Some(telling);
            }
        }
    }

    fn page(&self, telling: &mut Telling) -> Vec<Told> {
        let ids: Vec<SessionId> = telling.sessions.by_ref().take(PAGE).collect();
        if !ids.is_empty() {
            return ids.into_iter().filter_map(|id| self.told_up(id)).collect();
        }
        let memberships: Vec<_> = telling.memberships.by_ref().take(PAGE).collect();
        if !memberships.is_empty() {
            return memberships.into_iter().filter_map(|(room, id)| self.told_join(room, id)).collect();
        }
        if !std::mem::replace(&mut telling.has_told_calls, true) {
            let calls = self.calls_of_here().into_iter();
            return calls.map(|call| Told::Call(Box::new(call))).collect();
        }
        vec![Told::End]
    }

    fn here(&self, id: SessionId) -> Option<&SessionEntry> {
        self.directory.session(id).filter(|entry| entry.node == Home::Here)
    }

    fn told_up(&self, id: SessionId) -> Option<Told> {
        let entry = self.here(id)?.clone();
        // Where it was before, others may hear of what it did there only after this.
        let rooms = if entry.generation > 0 { self.rooms_of(id) } else { Vec::new() };
        Some(Told::Up(entry, rooms))
    }

    /// The rooms of a session of this node, and what they see of it.
    fn rooms_of(&self, id: SessionId) -> Vec<(RoomId, bytes::Bytes)> {
        let rooms = self.sessions.get(id).map_or(&[][..], |session| &session.rooms);
        let state = |room: &RoomId| {
            let members = self.directory.members(room).iter();
            members.filter(|member| member.session == id).map(|member| member.state.clone()).next()
        };
        rooms.iter().filter_map(|known| Some((known.room.clone(), state(&known.room)?))).collect()
    }

    fn told_join(&self, room: RoomId, id: SessionId) -> Option<Told> {
        self.here(id)?;
        let member = self.directory.members(&room).iter().find(|member| member.session == id)?.clone();
        Some(Told::Join(room, member))
    }

    /// Tells all other nodes what has changed since.
    pub(super) fn tell_news(&mut self) {
        for news in self.directory.take_news() {
            let told = match news {
                News::Up(id) => self.told_up(id),
                News::Changed(id) => self.here(id).map(|entry| Told::Changed(Change::of(entry))),
                News::Down(id, generation) => Some(Told::Down(id, generation)),
                News::Joined(room, id) => self.told_join(room, id),
                News::Left(room, id) => Some(Told::Leave(room, id)),
            };
            if let Some(told) = told {
                self.links.say_to_all(told, None);
            }
        }
    }

    /// Another node told something.
    pub(super) fn handle_told(&mut self, now: Now, node: &NodeName, told: Told) {
        match told {
            Told::Begin => self.begin_hearing(node),
            Told::End => self.end_hearing(now, node),
            Told::Again => self.begin_telling(node),
            Told::Up(entry, rooms) => {
                let (id, has_moved) = (entry.id, entry.generation > 0);
                self.heard_up(now, node, entry);
                if has_moved && self.directory.session(id).is_some_and(|entry| is_at(entry, node)) {
                    self.heard_rooms(now, node, id, rooms);
                }
            }
            Told::Changed(change) => self.heard_change(now, node, change),
            Told::Down(id, generation) => {
                let is_its = |entry: &SessionEntry| is_at(entry, node) && entry.generation <= generation;
                if self.directory.session(id).is_some_and(is_its) {
                    self.session_gone(now, id);
                }
            }
            Told::Join(room, member) => self.heard_join(now, node, room, member),
            Told::Leave(room, id) => {
                if self.directory.session(id).is_some_and(|entry| is_at(entry, node)) {
                    self.heard_leave(now, &room, id);
                }
            }
            Told::Call(call) => {
                self.with_hearing(node, |hearing| hearing.calls.push(call.id.clone()));
                self.call_announced(now, node, *call);
            }
        }
    }

    fn with_hearing(&mut self, node: &NodeName, act: impl FnOnce(&mut Hearing)) {
        if let Some(hearing) = self.links.by_node.get_mut(node).and_then(|link| link.hearing.as_mut()) {
            act(hearing);
        }
    }

    fn begin_hearing(&mut self, node: &NodeName) {
        let home = Home::Node(node.clone());
        let hearing = Hearing {
            sessions: self.directory.sessions_at(&home).into_iter().collect(),
            memberships: self.directory.memberships_at(&home).into_iter().collect(),
            calls: Vec::new(),
        };
        if let Some(link) = self.links.by_node.get_mut(node) {
            link.hearing = Some(hearing);
        }
    }

    /// What was not told again is over.
    fn end_hearing(&mut self, now: Now, node: &NodeName) {
        let Some(hearing) = self.links.by_node.get_mut(node).and_then(|link| link.hearing.take()) else {
            return;
        };
        for (room, id) in &hearing.memberships {
            if self.directory.session(*id).is_some_and(|entry| is_at(entry, node)) {
                self.heard_leave(now, room, *id);
            }
        }
        for id in hearing.sessions {
            if self.directory.session(id).is_some_and(|entry| is_at(entry, node)) {
                self.session_gone(now, id);
            }
        }
        self.calls_confirmed(now, node, &hearing.calls);
    }

    fn heard_up(&mut self, now: Now, node: &NodeName, mut entry: SessionEntry) {
        let id = entry.id;
        entry.node = Home::Node(node.clone());
        self.with_hearing(node, |hearing| {
            hearing.sessions.remove(&id);
        });
        let Some(known) = self.directory.session(id) else {
            self.directory.insert(entry);
            self.on_session_up(now, id);
            return;
        };
        if is_at(known, node) {
            let change = Change::of(&entry);
            self.directory.update(id, |known| known.generation = known.generation.max(entry.generation));
            self.heard_change(now, node, change);
        } else if entry.generation > known.generation && known.node != Home::Here {
            // Its old node has not told yet that it moved; it will.
            let Home::Node(old) = known.node.clone() else { return };
            self.session_moved(now, id, &old, node, entry.generation);
            self.heard_up(now, node, entry);
        }
    }

    fn heard_join(&mut self, now: Now, node: &NodeName, room: RoomId, member: RoomMember) {
        let id = member.session;
        self.with_hearing(node, |hearing| {
            hearing.memberships.remove(&(room.clone(), id));
        });
        if !self.directory.session(id).is_some_and(|entry| is_at(entry, node)) {
            return;
        }
        let known = self.directory.members(&room).iter().find(|known| known.session == id);
        let change = match known {
            Some(known) if known.state == member.state => return,
            Some(_) => RoomChange::Changed,
            None => RoomChange::Joined,
        };
        self.directory.join(&room, member);
        self.room_changed(now, &room, id, change);
    }

    /// A session is in these rooms, and in no others.
    fn heard_rooms(&mut self, now: Now, node: &NodeName, id: SessionId, rooms: Vec<(RoomId, bytes::Bytes)>) {
        for room in self.directory.rooms_of(id) {
            if !rooms.iter().any(|(known, _)| *known == room) {
                self.heard_leave(now, &room, id);
            }
        }
        for (room, state) in rooms {
            self.heard_join(now, node, room, RoomMember { session: id, state });
        }
    }

    fn heard_change(&mut self, now: Now, node: &NodeName, change: Change) {
        let id = change.session;
        let Some(known) = self.directory.session(id).filter(|entry| is_at(entry, node)) else { return };
        let was_attached = known.is_attached;
        let is_same = (known.role, known.status, known.is_attached, known.load)
            == (change.role, change.status, change.is_attached, change.load);
        if is_same {
            return;
        }
        self.directory.update(id, |entry| {
            (entry.role, entry.status) = (change.role, change.status);
            (entry.is_attached, entry.load) = (change.is_attached, change.load);
        });
        self.on_status(now, id);
        if was_attached != change.is_attached {
            self.calls_session_attached(now, id, change.is_attached);
        }
    }

    pub(super) fn heard_leave(&mut self, now: Now, room: &RoomId, id: SessionId) {
        if self.directory.members(room).iter().any(|member| member.session == id) {
            self.directory.leave(room, id);
            self.room_changed(now, room, id, RoomChange::Left);
        }
    }

    /// A session of another node is over.
    pub(super) fn session_gone(&mut self, now: Now, id: SessionId) {
        if let Some(entry) = self.directory.remove(id) {
            self.on_session_down(now, &entry);
        }
    }

    /// A node is gone, and all its sessions.
    pub(super) fn forget_sessions_of(&mut self, now: Now, node: &NodeName) {
        let home = Home::Node(node.clone());
        for (room, id) in self.directory.memberships_at(&home) {
            self.heard_leave(now, &room, id);
        }
        for id in self.directory.sessions_at(&home) {
            self.session_gone(now, id);
        }
    }
}

/// Whether a session lives at a node.
pub(super) fn is_at(entry: &SessionEntry, node: &NodeName) -> bool {
    matches!(&entry.node, Home::Node(home) if home == node)
}
