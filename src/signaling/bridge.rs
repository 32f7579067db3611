//! `as`: a backend that speaks for many users over one session.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;

use super::{
    Body, CallGrants, CallMode, ErrorCode, EventKind, Grants, Now, Place, Role, RoomGrant, RoomRight, Server,
    SessionId, SpeaksFor, TurnGrants,
    counters::Rule,
    deliver::{Refusal, Requester},
    life::Ending,
    object::Object,
    session::{Attachment, Session},
};

/// Sessions that one session of a backend carries.
const CARRIED_MAX: usize = 50_000;

/// A frame for a session that is carried by another, as it goes to that one.
pub(super) fn carried_tail(place: &Place, tail: &[u8]) -> Bytes {
    let named = Object::new().place("as", place).members();
    let mut whole = Vec::with_capacity(named.len() + tail.len() + 1);
    whole.extend_from_slice(&named);
    whole.push(b',');
    whole.extend_from_slice(tail);
    whole.into()
}

impl Server {
    /// The session that a backend speaks for, which begins with the first frame; `None` if the request is done.
    pub(super) fn speak_for(
        &mut self,
        now: Now,
        from: &Requester,
        speaks_for: SpeaksFor<'_>,
        body: &Body<'_>,
    ) -> Result<Option<Requester>, Refusal> {
        let SpeaksFor { user, device } = speaks_for;
        let Some(backend) = self.sessions.get_mut(from.session) else { return Ok(None) };
        if backend.role() != Role::Backend {
            return Err(Refusal::new(ErrorCode::Forbidden, "only a backend speaks for others"));
        }
        let key = (user, Box::from(device));
        let known = backend.carried.as_ref().and_then(|carried| carried.get(&key)).copied();
        if matches!(body, Body::Bye) {
            if let Some(id) = known {
                if let Some(carried) = &mut backend.carried {
                    carried.remove(&key);
                }
                self.end_session(now, id, Ending::Orderly("bye"));
            }
            self.reply_ok(now, from, Bytes::new());
            return Ok(None);
        }
        let session = match known {
            Some(session) => session,
            None => self.carry(now, from.session, key)?,
        };
        Ok(Some(Requester { session, id: from.id.as_ref().map(Arc::clone) }))
    }

    /// A session begins that is reached over one of a backend.
    fn carry(
        &mut self,
        now: Now,
        carrier: SessionId,
        key: (super::UserId, Box<str>),
    ) -> Result<SessionId, Refusal> {
        let id = SessionId(self.random.number());
        let hasher = self.random.hasher();
        let Some(backend) = self.sessions.get_mut(carrier) else {
            return Err(Refusal::new(ErrorCode::Internal, "the session is gone"));
        };
        let carried = backend.carried.get_or_insert_with(|| Box::new(HashMap::with_hasher(hasher)));
        if carried.len() >= CARRIED_MAX {
            self.trip(now, Rule::Carried, Some(carrier));
            return Err(Refusal::new(ErrorCode::LimitExceeded, "too many sessions are carried"));
        }
        carried.insert(key.clone(), id);
        let (user, device) = key;
        let place = Place { user, device, session: id };
        let session = Session::new(place, carried_grants(), Attachment::Carried(carrier), now.monotonic);
        let party = session.party();
        self.insert_session(session);
        self.event(now, EventKind::SessionConnected { party });
        self.on_session_up(now, id);
        Ok(id)
    }

    /// The sessions that a session carried are over with it.
    pub(super) fn end_carried(&mut self, now: Now, session: &Session, ending: Ending) {
        if let Attachment::Carried(carrier) = session.attachment
            && let Some(carried) = self.sessions.get_mut(carrier).and_then(|carrier| carrier.carried.as_mut())
        {
            carried.remove(&(session.place.user.clone(), session.place.device.clone()));
        }
        let Some(carried) = &session.carried else { return };
        let mut ids: Vec<SessionId> = carried.values().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.end_session(now, id, ending);
        }
    }
}

/// A backend vouches for whom it speaks.
fn carried_grants() -> Grants {
    let everywhere = RoomGrant { name: "*".into(), rights: vec![RoomRight::Join, RoomRight::Send] };
    Grants {
        role: Role::User,
        rooms: vec![everywhere],
        ask_rooms: false,
        call: CallGrants { mode: CallMode::Any, to: Vec::new() },
        presence: true,
        message: true,
        sessions_max: 0,
        turn: Some(TurnGrants::default()),
    }
}
