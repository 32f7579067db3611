//! What tokens say of a session: at first, and when a fresh one comes.

use std::time::Duration;

use super::{
    CloseCode, ConnectionId, Denial, ErrorCode, Identity, Now, Server, SessionId,
    deliver::{Refusal, Requester},
    hello::error_text,
    object::Object,
};

impl Server {
    /// What the token says, from now on.
    pub(super) fn take_identity(&mut self, now: Now, id: SessionId, identity: Identity) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let Identity { expires, token_id, grants, ice_servers, user: _, device: _ } = identity;
        *session.grants = grants;
        session.token_id = token_id;
        session.deadlines.is_token_told = false;
        session.deadlines.token = expires
            .map(|end| now.monotonic.after(Duration::from_millis(end.saturating_sub(now.unix_millis))));
        if let Some(servers) = ice_servers {
            session.deadlines.ice = Some(now.monotonic.after(refresh_in(servers.ttl)));
            session.ice_node = servers.node;
        }
        let role = session.role();
        if self.directory.session(id).is_some_and(|entry| entry.role != role) {
            self.directory.update(id, |entry| entry.role = role);
        }
        self.arm(id);
    }

    /// A fresh token came.
    pub(super) fn refreshed(
        &mut self,
        now: Now,
        connection: ConnectionId,
        from: &Requester,
        identity: Result<Box<Identity>, Denial>,
    ) {
        let identity = match identity {
            Ok(identity) => identity,
            Err(denial) => {
                let refusal = Refusal::from(&denial);
                return if denial.code == ErrorCode::Forbidden {
                    let text = error_text(from.id.as_deref(), &refusal);
                    self.close_after(now, connection, CloseCode::Forbidden, Some(text));
                } else {
                    self.reply_error(now, from, &refusal);
                };
            }
        };
        let Some(session) = self.sessions.get(from.session) else { return };
        if session.place.user != identity.user {
            let refusal = Refusal::new(ErrorCode::Forbidden, "the token is another user's");
            return self.refuse(now, connection, from, &refusal);
        }
        let mut members = Object::new();
        if let Some(end) = identity.expires {
            members = members.number("tokenExpiresIn", end.saturating_sub(now.unix_millis) / 1000);
        }
        let servers = identity.ice_servers.clone();
        self.take_identity(now, from.session, *identity);
        self.leave_forbidden_rooms(now, from.session);
        if let Some(servers) = servers {
            members = members.raw("iceServers", &servers.json).number("iceTtl", servers.ttl.as_secs());
        }
        self.reply_ok(now, from, members.members());
    }
}

/// When ICE servers are replaced: at four fifths of their life.
pub(super) fn refresh_in(ttl: Duration) -> Duration {
    ttl.saturating_mul(4) / 5
}
