//! ICE servers: on request, before they end, when their node drains, when they were revoked.

use super::{
    Ask, Denial, ErrorCode, IceServers, Now, Output, PushReason, Server, SessionId, UserId,
    deliver::{Refusal, Requester},
    object::Object,
    requests::Step,
    sockets::Asked,
    token::refresh_in,
};

impl Server {
    /// A client wants some.
    pub(super) fn ice_servers_wanted(&mut self, now: Now, from: &Requester) -> Step {
        let Some(session) = self.sessions.get(from.session) else { return Step::Done };
        if session.grants.turn.is_none() {
            self.reply_error(now, from, &Refusal::new(ErrorCode::Forbidden, "ICE servers are not granted"));
            return Step::Done;
        }
        let ask = Ask::IceServers { from: session.place.clone() };
        Step::Ask(Box::new(ask), Asked::IceServers(from.clone()))
    }

    pub(super) fn ice_servers_answered(
        &mut self,
        now: Now,
        from: &Requester,
        servers: Result<IceServers, Denial>,
    ) {
        match servers {
            Err(denial) => self.reply_error(now, from, &Refusal::from(&denial)),
            Ok(servers) => {
                let members =
                    Object::new().raw("iceServers", &servers.json).number("iceTtl", servers.ttl.as_secs());
                self.reply_ok(now, from, members.members());
                self.refresh_at(now, from.session, &servers);
            }
        }
    }

    /// Those that the core asked for are made.
    pub(super) fn ice_servers_made(
        &mut self,
        now: Now,
        id: SessionId,
        reason: PushReason,
        servers: Result<IceServers, Denial>,
    ) {
        if self.sessions.get(id).is_none() {
            return;
        }
        match servers {
            Ok(servers) => {
                let tail = Object::frame("ice-servers", servers.json.len())
                    .text("reason", reason.as_str())
                    .raw("iceServers", &servers.json)
                    .number("iceTtl", servers.ttl.as_secs())
                    .tail();
                self.deliver(now, id, tail);
                self.refresh_at(now, id, &servers);
            }
            Err(denial) => {
                let Some(session) = self.sessions.get_mut(id) else { return };
                let again = denial.retry_after.unwrap_or(RETRY);
                session.deadlines.ice = denial.code.is_retryable().then(|| now.monotonic.after(again));
                self.arm(id);
            }
        }
    }

    fn refresh_at(&mut self, now: Now, id: SessionId, servers: &IceServers) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.deadlines.ice = Some(now.monotonic.after(refresh_in(servers.ttl)));
            session.ice_node.clone_from(&servers.node);
            self.arm(id);
        }
    }

    /// The old ones of a session end soon.
    pub(super) fn ask_fresh_ice_servers(&mut self, now: Now, id: SessionId) {
        let _ = now;
        self.ask_ice_servers_for(id, PushReason::Refresh);
    }

    pub(super) fn ask_ice_servers(&mut self, now: Now, reason: PushReason, user: Option<&UserId>) {
        let _ = now;
        let sessions = match user {
            Some(user) => self.directory.sessions_of(user).to_vec(),
            None => self.sessions.ids(),
        };
        for session in sessions {
            self.ask_ice_servers_for(session, reason);
        }
    }

    /// Only sessions whose ICE servers name such a node, or one that is not known, begin ICE anew.
    pub(super) fn ask_ice_servers_instead_of(&mut self, is_gone: impl Fn(&str) -> bool) {
        for id in self.sessions.ids() {
            let session = self.sessions.get(id);
            if session.is_some_and(|session| session.ice_node.as_deref().is_none_or(&is_gone)) {
                self.ask_ice_servers_for(id, PushReason::Drain);
            }
        }
    }

    fn ask_ice_servers_for(&mut self, id: SessionId, reason: PushReason) {
        let Some(session) = self.sessions.get(id).filter(|session| session.grants.turn.is_some()) else {
            return;
        };
        let user = session.place.user.clone();
        self.outputs.push_back(Output::IceServers { session: id, user, reason });
    }
}

/// When ICE servers that could not be made are asked for again.
const RETRY: std::time::Duration = std::time::Duration::from_secs(30);
