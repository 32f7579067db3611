//! One client, with or without a socket.

pub(super) mod queue;
pub(super) mod replies;

use std::{collections::HashMap, sync::Arc};

use self::{queue::Queue, replies::Replies};
use super::{
    ConnectionId, Grants, Instant, Place, Role, RoomId, SessionId, UserId, bucket::Bucket, random::Random,
};

/// A session of this node.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) place: Place,
    pub(super) grants: Box<Grants>,
    pub(super) attachment: Attachment,
    pub(super) queue: Queue,
    /// SHA-256 of the token that resumes it.
    pub(super) resume: [u8; 32],
    pub(super) epoch: u64,
    /// The token it came with, for revocation.
    pub(super) token_id: Option<Box<str>>,
    /// When it began.
    pub(super) created: Instant,
    pub(super) deadlines: Deadlines,
    /// The node that its ICE servers name, if that is known.
    pub(super) ice_node: Option<Box<str>>,
    pub(super) buckets: Buckets,
    pub(super) replies: Replies,
    /// Rooms it is in.
    pub(super) rooms: Vec<Membership>,
    /// Users whose presence it is told.
    pub(super) watches: Vec<UserId>,
    /// Sessions it speaks for, by user and device.
    pub(super) carried: Option<Box<Carried>>,
}

/// Sessions by the user and the device that a backend speaks for.
type Carried = HashMap<(UserId, Box<str>), SessionId, ahash::RandomState>;

/// How a session reaches its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attachment {
    /// Over this socket.
    Socket(ConnectionId),
    /// Not at present.
    Detached,
    /// Over the session of a backend that speaks for it.
    Carried(SessionId),
}

/// A room a session is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Membership {
    pub(super) room: RoomId,
    /// Whether it may send messages there.
    pub(super) can_send: bool,
}

/// What is due for a session; the timer stands at the earliest, or earlier.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deadlines {
    /// When its timer is called next; zero if it is not.
    pub(super) armed: Option<Instant>,
    /// When it is over unless resumed.
    pub(super) resume: Option<Instant>,
    /// When its token ends.
    pub(super) token: Option<Instant>,
    /// Whether the client was told that the token is about to end.
    pub(super) is_token_told: bool,
    /// When fresh ICE servers are made.
    pub(super) ice: Option<Instant>,
}

/// How often it does what.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Buckets {
    pub(super) frames: Bucket,
    pub(super) bytes: Bucket,
    pub(super) descriptions: Bucket,
    pub(super) candidates: Bucket,
    pub(super) errors: Bucket,
    pub(super) trips: Bucket,
}

/// The sessions of this node.
#[derive(Debug)]
pub(super) struct Sessions {
    by_id: HashMap<SessionId, Box<Session>, ahash::RandomState>,
    /// Those that were over because nobody resumed them, the last ones.
    expired: std::collections::VecDeque<SessionId>,
}

/// Sessions of which it is known that they expired.
const EXPIRED_MAX: usize = 4096;

impl Sessions {
    pub(super) fn new(random: &mut Random) -> Self {
        Self { by_id: HashMap::with_hasher(random.hasher()), expired: std::collections::VecDeque::new() }
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&Session> {
        self.by_id.get(&id).map(|session| &**session)
    }

    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.by_id.get_mut(&id).map(|session| &mut **session)
    }

    pub(super) fn insert(&mut self, session: Session) {
        self.by_id.insert(session.place.session, Box::new(session));
    }

    pub(super) fn remove(&mut self, id: SessionId) -> Option<Box<Session>> {
        self.by_id.remove(&id)
    }

    /// All of them, in order.
    pub(super) fn ids(&self) -> Vec<SessionId> {
        let mut ids: Vec<SessionId> = self.by_id.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// All of them, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = &Session> {
        self.by_id.values().map(|session| &**session)
    }

    /// Remembers that it was not resumed in time.
    pub(super) fn expire(&mut self, id: SessionId) {
        if self.expired.len() == EXPIRED_MAX {
            self.expired.pop_front();
        }
        self.expired.push_back(id);
    }

    pub(super) fn is_expired(&self, id: SessionId) -> bool {
        self.expired.contains(&id)
    }
}

impl Session {
    /// One that has nothing yet.
    pub(super) fn new(place: Place, grants: Grants, attachment: Attachment, created: Instant) -> Self {
        Self {
            place,
            grants: Box::new(grants),
            attachment,
            queue: Queue::default(),
            resume: [0; 32],
            epoch: 0,
            token_id: None,
            created,
            deadlines: Deadlines::default(),
            ice_node: None,
            buckets: Buckets::default(),
            replies: Replies::default(),
            rooms: Vec::new(),
            watches: Vec::new(),
            carried: None,
        }
    }

    pub(super) fn role(&self) -> Role {
        self.grants.role
    }

    /// The socket it has.
    pub(super) fn socket(&self) -> Option<ConnectionId> {
        match self.attachment {
            Attachment::Socket(connection) => Some(connection),
            Attachment::Detached | Attachment::Carried(_) => None,
        }
    }

    /// The earliest of what is due.
    pub(super) fn due(
        &self,
        token_warning: std::time::Duration,
        grace: std::time::Duration,
    ) -> Option<Instant> {
        let token = self.deadlines.token.map(|end| {
            if self.deadlines.is_token_told { end.after(grace) } else { end.before(token_warning) }
        });
        [self.deadlines.resume, token, self.deadlines.ice].into_iter().flatten().min()
    }

    pub(super) fn membership(&self, room: &RoomId) -> Option<&Membership> {
        self.rooms.iter().find(|membership| membership.room == *room)
    }

    /// As it is written: `e_` and its number.
    pub(super) fn epoch_text(&self) -> String {
        epoch_text(self.epoch)
    }
}

pub(super) fn epoch_text(epoch: u64) -> String {
    format!("e_{epoch:016x}")
}

/// A request's id, shared by all that keep it.
pub(super) type RequestId = Arc<str>;
