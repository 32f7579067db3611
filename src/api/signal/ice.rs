//! ICE servers for sessions, as `GET /v1/ice-servers` makes them.

use std::time::Duration;

use super::{
    Guest,
    backend::{From, Question, Verdict},
    hub::Wish,
    identity::denial,
};
use crate::{
    api::{
        Dialect, Service,
        problem::Problem,
        v1::{
            credentials::ice_servers,
            issue::{Order, Routes},
        },
    },
    config::DecisionKind,
    signaling::{Denial, ErrorCode, IceServers, Place, PushReason, TurnGrants},
};

/// When to ask again after no node was fit.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl Service {
    /// ICE servers that a client asks for.
    pub(super) async fn asked_ice_servers(&self, from: &Place, guest: &Guest) -> Result<IceServers, Denial> {
        let turn = self.signal.hub.look(|server| server.grants(from.session).and_then(|it| it.turn.clone()));
        let turn =
            turn.ok_or_else(|| denial(ErrorCode::Forbidden, "The token does not grant `turn.use`."))?;
        self.user_ice_servers(from, &turn, Some(guest)).await
    }

    /// ICE servers for a user who may have them, unless that is too often or the backend says no.
    pub(super) async fn user_ice_servers(
        &self,
        from: &Place,
        turn: &TurnGrants,
        guest: Option<&Guest>,
    ) -> Result<IceServers, Denial> {
        let user = from.user.as_str();
        self.access.count_user(user).await.map_err(|problem| of_problem(&problem))?;
        if self.asks(DecisionKind::Turn) {
            let session = Some(from.session.to_string());
            let from = From { user, device: &from.device, session, ip_prefix: guest.map(Guest::prefix) };
            let question = Question { kind: DecisionKind::Turn, from, to: None, call: None, media: &[] };
            let traceparent = guest.and_then(|guest| guest.traceparent.as_deref());
            match self.ask_backend(&question, traceparent).await? {
                Verdict::Allowed(leave) => return self.make_ice_servers(user, &leave.limits.held(turn)),
                Verdict::Denied(reason) => return Err(super::decide::denied(reason)),
            }
        }
        self.make_ice_servers(user, turn)
    }

    /// Fresh ICE servers for each session that is to have them. Never ends.
    pub(super) async fn grant_wishes(self) {
        loop {
            let Wish { session, user, reason } = self.signal.hub.wish().await;
            let granted = self
                .signal
                .hub
                .look(|server| server.grants(session).map(|grants| (grants.role, grants.turn.clone())));
            let servers = match granted {
                Some((_, Some(turn))) => self.pushed(&user, session, &turn, reason).await,
                Some((_, None)) | None => {
                    Err(denial(ErrorCode::Forbidden, "The token does not grant `turn.use`."))
                }
            };
            self.signal.hub.with(|server, now| server.handle_ice_servers(now, session, reason, servers));
            // Thousands of them leave room for others.
            tokio::task::yield_now().await;
        }
    }

    async fn pushed(
        &self,
        user: &crate::signaling::UserId,
        session: crate::signaling::SessionId,
        turn: &TurnGrants,
        reason: PushReason,
    ) -> Result<IceServers, Denial> {
        // What the server does by itself does not count against the user, but the backend is still asked at each refresh.
        if reason == PushReason::Refresh && self.asks(DecisionKind::Turn) {
            let place = Place { user: user.clone(), device: "".into(), session };
            return self.user_ice_servers(&place, turn, None).await;
        }
        self.make_ice_servers(user.as_str(), turn)
    }

    fn make_ice_servers(&self, user: &str, turn: &TurnGrants) -> Result<IceServers, Denial> {
        let settings = self.settings.load();
        let bounds = &settings.config.credentials;
        let ttl = turn.ttl.map_or(bounds.ttl_default, |ttl| ttl.min(bounds.ttl_default));
        let order = Order {
            class: turn.quota.as_deref(),
            routes: Routes { stun: !turn.relay_only, ..Routes::ALL },
            ..Order::new(Dialect::Signaling, user, ttl)
        };
        let issued = self.issue(&order, &settings).map_err(|problem| of_problem(&problem))?;
        // They are of one node (`Order::new`).
        let node = issued.nodes.first().map(|(id, _)| id.as_str().into());
        let json = serde_json::to_vec(&ice_servers(issued))
            .map_err(|_| denial(ErrorCode::Internal, "ICE servers cannot be written."))?;
        Ok(IceServers { json: json.into(), ttl, node })
    }
}

fn of_problem(problem: &Problem) -> Denial {
    let kind = problem.kind();
    let (code, retry_after) = match kind.status {
        429 => (ErrorCode::RateLimited, Some(Duration::from_secs(2))),
        _ => (ErrorCode::Unavailable, Some(RETRY_AFTER)),
    };
    Denial { retry_after, ..denial(code, kind.title) }
}
