//! Members of a room are told what changed in it, at most so often, each time with the next version.

use std::{collections::HashMap, time::Duration};

use super::super::{
    Instant, Now, RoomId, Server, SessionId, deliver::About, directory::RoomMember, object::Object,
    random::Random, timers::Timer,
};

/// What happened to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::signaling) enum RoomChange {
    /// It came.
    Joined,
    /// It left.
    Left,
    /// It has another state.
    Changed,
}

/// Of each room with a member on this node: what its members were told.
#[derive(Debug)]
pub(in crate::signaling) struct Tellings {
    rooms: HashMap<RoomId, Telling, ahash::RandomState>,
}

#[derive(Debug, Default)]
struct Telling {
    /// Counts what was told.
    ver: u64,
    /// Members of this node.
    locals: usize,
    /// What is not told yet: each member once.
    pending: Vec<(SessionId, RoomChange)>,
    told: Option<Instant>,
    is_armed: bool,
    /// The media server that the room was given.
    sfu: Option<SessionId>,
}

/// What happens within this time is told at once.
const TELL_EVERY: Duration = Duration::from_millis(50);

impl Tellings {
    pub(in crate::signaling) fn new(random: &mut Random) -> Self {
        Self { rooms: HashMap::with_hasher(random.hasher()) }
    }

    /// The version that members know; the next telling has the one after it.
    pub(in crate::signaling) fn ver(&self, room: &RoomId) -> u64 {
        self.rooms.get(room).map_or(0, |telling| telling.ver)
    }

    pub(in crate::signaling) fn sfu(&self, room: &RoomId) -> Option<SessionId> {
        self.rooms.get(room)?.sfu
    }

    pub(in crate::signaling) fn pin(&mut self, room: &RoomId, sfu: SessionId) {
        if let Some(telling) = self.rooms.get_mut(room) {
            telling.sfu = Some(sfu);
        }
    }
}

impl Telling {
    fn add(&mut self, session: SessionId, change: RoomChange) {
        let Some(index) = self.pending.iter().position(|(known, _)| *known == session) else {
            return self.pending.push((session, change));
        };
        let Some((_, known)) = self.pending.get_mut(index) else { return };
        match (*known, change) {
            // Nobody was told that it came.
            (RoomChange::Joined, RoomChange::Left) => {
                self.pending.remove(index);
            }
            (RoomChange::Joined, RoomChange::Joined | RoomChange::Changed) => {}
            (RoomChange::Left, RoomChange::Joined | RoomChange::Changed) => *known = RoomChange::Changed,
            (RoomChange::Left, RoomChange::Left) => {}
            (RoomChange::Changed, change) => *known = change,
        }
    }
}

impl Server {
    /// A session of this node came: it learns of itself by the answer to its request. Gives the version it knows then.
    pub(in crate::signaling) fn room_entered(&mut self, now: Now, room: &RoomId, id: SessionId) -> u64 {
        let telling = self.tellings.rooms.entry(room.clone()).or_default();
        telling.locals += 1;
        if telling.told.is_none_or(|told| told.after(TELL_EVERY) <= now.monotonic)
            && telling.pending.is_empty()
        {
            telling.add(id, RoomChange::Joined);
            self.tell(now, room, Some(id));
            return self.tellings.ver(room);
        }
        let ver = telling.ver;
        self.room_changed(now, room, id, RoomChange::Joined);
        ver
    }

    /// A session of this node left.
    pub(in crate::signaling) fn room_left(&mut self, now: Now, room: &RoomId, id: SessionId) {
        let Some(telling) = self.tellings.rooms.get_mut(room) else { return };
        telling.locals = telling.locals.saturating_sub(1);
        if telling.locals == 0 {
            self.tellings.rooms.remove(room);
            return;
        }
        self.room_changed(now, room, id, RoomChange::Left);
    }

    /// A session of this node goes to another one, and stays a member.
    pub(in crate::signaling) fn room_moved_away(&mut self, room: &RoomId) {
        let Some(telling) = self.tellings.rooms.get_mut(room) else { return };
        telling.locals = telling.locals.saturating_sub(1);
        if telling.locals == 0 {
            self.tellings.rooms.remove(room);
        }
    }

    /// A session came from another node with its membership: it is told all of the room.
    pub(in crate::signaling) fn room_moved_here(&mut self, now: Now, room: &RoomId, id: SessionId) {
        self.tell_room(now, room);
        self.tellings.rooms.entry(room.clone()).or_default().locals += 1;
        let tail = self.room_snapshot_tail(room);
        self.deliver_latest(now, id, tail, About::Room(room.clone()));
    }

    /// A member of another node came, left or changed; or one of this node changed. The directory knows already.
    pub(in crate::signaling) fn room_changed(
        &mut self,
        now: Now,
        room: &RoomId,
        session: SessionId,
        change: RoomChange,
    ) {
        let Some(telling) = self.tellings.rooms.get_mut(room) else { return };
        telling.add(session, change);
        let next = telling.told.map_or(now.monotonic, |told| told.after(TELL_EVERY));
        if next <= now.monotonic {
            self.tell(now, room, None);
        } else if !std::mem::replace(&mut telling.is_armed, true) {
            self.timer(next, Timer::Room(room.clone()));
        }
    }

    /// Tells at once what was not told yet.
    pub(in crate::signaling) fn tell_room(&mut self, now: Now, room: &RoomId) {
        self.tell(now, room, None);
    }

    pub(in crate::signaling) fn room_due(&mut self, now: Now, room: &RoomId) {
        if let Some(telling) = self.tellings.rooms.get_mut(room) {
            telling.is_armed = false;
            self.tell(now, room, None);
        }
    }

    fn tell(&mut self, now: Now, room: &RoomId, but: Option<SessionId>) {
        let Some(telling) = self.tellings.rooms.get_mut(room) else { return };
        let pending = std::mem::take(&mut telling.pending);
        if pending.is_empty() {
            return;
        }
        telling.ver += 1;
        telling.told = Some(now.monotonic);
        let tail = self.event_tail(room, &pending);
        let about = About::Room(room.clone());
        let mut snapshot = None;
        let mut index = 0;
        while let Some(member) = self.directory.members(room).get(index).map(|member| member.session) {
            index += 1;
            let Some(session) = self.sessions.get(member) else { continue };
            if but == Some(member) {
                continue;
            }
            if session.queue.has_unsent_about(&about) {
                let whole = snapshot.get_or_insert_with(|| self.room_snapshot_tail(room)).clone();
                self.deliver_latest(now, member, whole, about.clone());
            } else {
                self.deliver_about(now, member, tail.clone(), about.clone());
            }
        }
    }

    fn event_tail(&self, room: &RoomId, pending: &[(SessionId, RoomChange)]) -> bytes::Bytes {
        let members = self.directory.members(room);
        let mut object = Object::frame("room-event", 128 * pending.len())
            .text("room", room.as_str())
            .number("ver", self.tellings.ver(room));
        for (name, wanted) in [("joined", RoomChange::Joined), ("changed", RoomChange::Changed)] {
            let of_kind = |member: &&RoomMember| pending.contains(&(member.session, wanted));
            if pending.iter().any(|(_, change)| *change == wanted) {
                let found = members.iter().filter(of_kind);
                object = object.array(name, found, |out, member| self.push_member(out, member));
            }
        }
        let left = pending.iter().filter(|(_, change)| *change == RoomChange::Left);
        if left.clone().next().is_some() {
            object = object.array("left", left, |out, (session, _)| {
                out.push(b'"');
                session.push_to(out);
                out.push(b'"');
            });
        }
        object.tail()
    }

    /// The whole of a room, in the place of what was missed.
    fn room_snapshot_tail(&self, room: &RoomId) -> bytes::Bytes {
        let members = self.members_json(room);
        Object::frame("room-event", members.len())
            .text("room", room.as_str())
            .number("ver", self.tellings.ver(room))
            .flag("snapshot", true)
            .raw("members", &members)
            .tail()
    }
}
