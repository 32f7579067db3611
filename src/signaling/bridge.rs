//! `as`: a backend that speaks for many users over one session.

use bytes::Bytes;

use super::{
    Body, ErrorCode, Now, Place, Server, SpeaksFor,
    deliver::{Refusal, Requester},
    life::Ending,
    object::Object,
    session::Session,
};

/// A frame for a session that is carried by another, as it goes to that one.
pub(super) fn carried_tail(place: &Place, tail: &[u8]) -> Bytes {
    let mut object = Object::new().place("as", place).members().to_vec();
    object.push(b',');
    object.extend_from_slice(tail);
    object.into()
}

impl Server {
    /// The session that a backend speaks for; `None` if the request is done.
    pub(super) fn speak_for(
        &mut self,
        now: Now,
        from: &Requester,
        speaks_for: SpeaksFor<'_>,
        body: &Body<'_>,
    ) -> Result<Option<Requester>, Refusal> {
        let _ = (now, from, speaks_for, body);
        Err(Refusal::new(ErrorCode::Forbidden, "only a backend speaks for others"))
    }

    /// The sessions that a session carried are over with it.
    pub(super) fn end_carried(&mut self, now: Now, session: &Session, ending: Ending) {
        let _ = (now, session, ending);
    }
}
