//! A session that goes on at another node, with all it has.

use std::sync::Arc;

use super::{
    CloseCode, Grants, Now, Place, Role, Server, SessionId, UserId,
    directory::Home,
    life::Ending,
    session::{
        Attachment, Deadlines, Membership, Session,
        queue::{Answer, Packed, Queue},
        replies::Replies,
    },
    sockets::Stage,
};

/// All of a session, on its way.
#[derive(Clone, Debug)]
pub(super) struct Luggage {
    pub(super) place: Place,
    pub(super) role: Role,
    /// SHA-256 of the token that resumes it.
    pub(super) resume: [u8; 32],
    pub(super) epoch: u64,
    pub(super) queue: Packed,
    /// Requests and what they were answered, oldest first.
    pub(super) replies: Vec<(Arc<str>, Option<Answer>)>,
    pub(super) rooms: Vec<Membership>,
    pub(super) watches: Vec<UserId>,
}

impl Server {
    /// Whether a session can go to another node: those that carry others, or are carried, cannot.
    pub(super) fn can_give_away(&self, id: SessionId) -> bool {
        self.sessions.get(id).is_some_and(|session| {
            let carries = session.carried.as_ref().is_some_and(|carried| !carried.is_empty());
            !carries && !matches!(session.attachment, Attachment::Carried(_))
        })
    }

    /// Gives a session of this node away, and closes its socket; it stays in the directory.
    pub(super) fn give_away(&mut self, now: Now, id: SessionId) -> Option<Luggage> {
        if !self.can_give_away(id) {
            return None;
        }
        self.leave_socket(id);
        let session = self.sessions.get_mut(id)?;
        let queue = std::mem::take(&mut session.queue).pack();
        let replies = std::mem::take(&mut session.replies).pack();
        let luggage = Luggage {
            place: session.place.clone(),
            role: session.role(),
            resume: session.resume,
            epoch: session.epoch,
            queue,
            replies,
            rooms: session.rooms.clone(),
            watches: session.watches.clone(),
        };
        self.end_session(now, id, Ending::Moved);
        Some(luggage)
    }

    /// Takes a session in that another node gave away. Until its client is welcome it waits as any other.
    pub(super) fn take_in(&mut self, now: Now, luggage: Luggage, grants: Grants) {
        let id = luggage.place.session;
        let resume_end = now.monotonic.after(self.setup.options.resume_ttl);
        let grants = Grants { role: luggage.role, ..grants };
        let session = Session {
            queue: Queue::unpack(luggage.queue),
            resume: luggage.resume,
            epoch: luggage.epoch,
            deadlines: Deadlines { resume: Some(resume_end), ..Deadlines::default() },
            replies: Replies::unpack(luggage.replies),
            rooms: luggage.rooms.clone(),
            ..Session::new(luggage.place, grants, Attachment::Detached, now.monotonic)
        };
        if self.directory.session(id).is_some() {
            self.sessions.insert(session);
            self.directory.update(id, |entry| (entry.node, entry.is_attached) = (Home::Here, false));
        } else {
            self.insert_session(session);
        }
        self.arm(id);
        self.watch(id, luggage.watches);
        for membership in luggage.rooms {
            self.room_moved_here(now, &membership.room, id);
        }
    }

    /// The socket of a session goes with 4011; the session goes on over another one.
    pub(super) fn leave_socket(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let Some(connection) = session.socket() else { return };
        session.attachment = Attachment::Detached;
        session.queue.detach();
        self.forget_asked(connection);
        self.counters.closed(CloseCode::Moved);
        self.sockets.set_stage(connection, Stage::Closing(CloseCode::Moved, Box::default()));
        self.wake_again(connection);
    }
}
