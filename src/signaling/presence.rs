//! Presence: how users are, told to those who watch them.

use std::{collections::HashMap, time::Duration};

use super::{
    ConnectionId, ErrorCode, Instant, Now, Role, Server, SessionId, Status, UserId,
    counters::Rule,
    deliver::{About, Refusal, Requester},
    object::Object,
    random::Random,
    timers::Timer,
};

/// Users that somebody of this node watches.
#[derive(Debug)]
pub(super) struct Watching {
    users: HashMap<UserId, Watched, ahash::RandomState>,
}

#[derive(Debug, Default)]
struct Watched {
    watchers: Vec<SessionId>,
    /// What they were told.
    told: Presence,
    told_at: Option<Instant>,
    /// When they are told next, if it is still another then.
    due: Option<Instant>,
}

/// How a user is; without a status they are not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Presence {
    status: Option<Status>,
    devices: u32,
}

/// A user's changes are told at most so often.
const TELL_EVERY: Duration = Duration::from_millis(250);

impl Watching {
    pub(super) fn new(random: &mut Random) -> Self {
        Self { users: HashMap::with_hasher(random.hasher()) }
    }
}

impl Server {
    pub(super) fn presence(
        &mut self,
        now: Now,
        connection: ConnectionId,
        from: &Requester,
        watch: Option<Vec<UserId>>,
        set: Option<Status>,
    ) {
        let Some(session) = self.sessions.get(from.session) else { return };
        if !session.grants.presence {
            let refusal = Refusal::new(ErrorCode::Forbidden, "presence is not granted");
            return self.refuse(now, connection, from, &refusal);
        }
        if watch.as_ref().is_some_and(|users| users.len() > self.setup.options.limits.watches_per_session) {
            let refusal = Refusal::new(ErrorCode::LimitExceeded, "too many users to watch");
            self.trip(now, Rule::Watches, Some(from.session));
            return self.refuse(now, connection, from, &refusal);
        }
        if let Some(set) = set {
            self.set_status(now, from.session, set);
        }
        if let Some(users) = watch {
            self.watch(from.session, users);
        }
        let members = Object::new().raw("presence", &self.presence_snapshot(from.session)).members();
        self.reply_ok(now, from, members);
    }

    pub(super) fn watch(&mut self, id: SessionId, mut users: Vec<UserId>) {
        users.sort_unstable();
        users.dedup();
        let Some(session) = self.sessions.get_mut(id) else { return };
        let old = std::mem::replace(&mut session.watches, users.clone());
        self.unwatch_all(id, &old);
        for user in users {
            let now_is = self.presence_of(&user);
            let watched = self.watching.users.entry(user).or_default();
            if watched.watchers.is_empty() {
                watched.told = now_is;
            }
            watched.watchers.push(id);
        }
    }

    pub(super) fn unwatch_all(&mut self, id: SessionId, users: &[UserId]) {
        for user in users {
            let Some(watched) = self.watching.users.get_mut(user) else { continue };
            watched.watchers.retain(|watcher| *watcher != id);
            if watched.watchers.is_empty() {
                self.watching.users.remove(user);
            }
        }
    }

    /// Something about a session may have changed how its user is.
    pub(super) fn presence_changed(&mut self, now: Now, id: SessionId) {
        if let Some(entry) = self.directory.session(id) {
            let user = entry.user.clone();
            self.presence_of_user_changed(now, &user);
        }
    }

    /// A user may be otherwise than before. Fewer devices are told late: most come back at once.
    pub(super) fn presence_of_user_changed(&mut self, now: Now, user: &UserId) {
        let grace = self.setup.options.presence_grace;
        if !self.watching.users.contains_key(user) {
            return;
        }
        let now_is = self.presence_of(user);
        let Some(watched) = self.watching.users.get_mut(user) else { return };
        if now_is == watched.told {
            watched.due = None;
            return;
        }
        let due = if now_is.devices < watched.told.devices {
            watched.due.unwrap_or_else(|| now.monotonic.after(grace))
        } else {
            watched.told_at.map_or(now.monotonic, |told| told.after(TELL_EVERY).max(now.monotonic))
        };
        if due <= now.monotonic {
            self.tell_presence(now, user);
        } else if watched.due != Some(due) {
            watched.due = Some(due);
            self.timer(due, Timer::Presence(user.clone()));
        }
    }

    pub(super) fn presence_due(&mut self, now: Now, user: &UserId) {
        let Some(watched) = self.watching.users.get(user) else { return };
        if watched.due.is_some_and(|due| due <= now.monotonic) {
            self.tell_presence(now, user);
        }
    }

    fn tell_presence(&mut self, now: Now, user: &UserId) {
        let now_is = self.presence_of(user);
        let Some(watched) = self.watching.users.get_mut(user) else { return };
        watched.due = None;
        if now_is == watched.told {
            return;
        }
        (watched.told, watched.told_at) = (now_is, Some(now.monotonic));
        let tail = now_is.members(Object::frame("presence", 0), user).tail();
        let mut index = 0;
        while let Some(watcher) =
            self.watching.users.get(user).and_then(|watched| watched.watchers.get(index)).copied()
        {
            index += 1;
            self.deliver_latest(now, watcher, tail.clone(), About::Presence(user.clone()));
        }
    }

    /// How the users that a session watches are.
    pub(super) fn presence_snapshot(&self, id: SessionId) -> Vec<u8> {
        let watches = self.sessions.get(id).map_or(&[][..], |session| &session.watches);
        let mut out = Vec::with_capacity(watches.len() * 48 + 2);
        out.push(b'[');
        for user in watches {
            if out.len() > 1 {
                out.push(b',');
            }
            let known =
                self.watching.users.get(user).map_or_else(|| self.presence_of(user), |known| known.told);
            out.extend_from_slice(&known.members(Object::new(), user).whole());
        }
        out.push(b']');
        out
    }

    /// How a user is, as all nodes together know. Services are never there.
    fn presence_of(&self, user: &UserId) -> Presence {
        let mut presence = Presence::default();
        for id in self.directory.sessions_of(user) {
            let Some(entry) = self.directory.session(*id) else { continue };
            if entry.role != Role::User || !entry.is_attached {
                continue;
            }
            presence.devices += 1;
            presence.status = Some(presence.status.map_or(entry.status, |status| status.and(entry.status)));
        }
        presence
    }
}

impl Presence {
    fn members(self, object: Object, user: &UserId) -> Object {
        object
            .text("user", user.as_str())
            .text("status", self.status.map_or("offline", Status::as_str))
            .number("devices", self.devices.into())
    }
}

impl Status {
    /// How a user is who is so at one device and so at another: a wish not to be disturbed holds for all.
    const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Dnd, _) | (_, Self::Dnd) => Self::Dnd,
            (Self::Online, _) | (_, Self::Online) => Self::Online,
            (Self::Away, Self::Away) => Self::Away,
        }
    }
}
