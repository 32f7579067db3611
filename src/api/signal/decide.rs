//! The answers to what the core asks.

use super::{
    Guest,
    backend::{Context, From, Question, To, Verdict},
    identity::denial,
};
use crate::{
    api::Service,
    config::DecisionKind,
    signaling::{Answer, Ask, CallId, CallMode, CallTo, Decision, Denial, ErrorCode, Place, UserId},
};

impl Service {
    /// Answers a question about a frame of this client.
    pub(super) async fn decide(&self, ask: Ask, guest: &Guest) -> Decision {
        match ask {
            Ask::Hello { token, device, traceparent: Some(trace) } => {
                let guest = Guest { traceparent: Some(trace), ..guest.clone() };
                Decision::Identity(self.identity(&token, &guest, Some(&device)).await.map(Box::new))
            }
            Ask::Hello { token, device, traceparent: None } => {
                Decision::Identity(self.identity(&token, guest, Some(&device)).await.map(Box::new))
            }
            Ask::Refresh { token } => {
                Decision::Identity(self.identity(&token, guest, None).await.map(Box::new))
            }
            Ask::Join { from, room } => {
                let to = To::Room(room.as_str().into());
                let question = (DecisionKind::Join, to, None, &[][..]);
                Decision::Right(self.right(&from, guest, question, None).await)
            }
            Ask::Call { from, to, call, media, grant, traceparent } => {
                let right = match grant {
                    Some(grant) => self.call_grant(&grant, (&from, &to, &call)).await,
                    None => {
                        let trace = traceparent.as_deref();
                        self.right_to_call(&from, guest, (&to, &call, &media), trace).await
                    }
                };
                Decision::Right(right)
            }
            Ask::IceServers { from } => Decision::IceServers(self.asked_ice_servers(&from, guest).await),
        }
    }

    /// Whether the backend is asked such questions.
    pub(super) fn asks(&self, kind: DecisionKind) -> bool {
        self.settings.load().config.signal.asks(kind)
    }

    /// What the backend says.
    ///
    /// # Errors
    /// `upstream-timeout`: nothing in time, which is a no.
    pub(super) async fn ask_backend(
        &self,
        question: &Question<'_>,
        traceparent: Option<&str>,
    ) -> Result<Verdict, Denial> {
        let Some(backend) = self.signal.backend.load_full() else {
            return Err(denial(ErrorCode::Forbidden, "There is no backend that could allow it."));
        };
        let begun = std::time::Instant::now();
        let user = UserId::parse(question.from.user);
        let is_in_call = user.is_some_and(|user| self.signal.hub.look(|server| server.is_in_call(&user)));
        let (result, verdict) = backend.ask(question, Context { is_in_call, traceparent }).await;
        self.signal.counters.decided(question.kind, result, begun.elapsed());
        verdict.ok_or_else(|| {
            denial(
                ErrorCode::UpstreamTimeout,
                "The backend did not answer; what it does not allow is not allowed.",
            )
        })
    }

    async fn right_to_call(
        &self,
        from: &Place,
        guest: &Guest,
        (to, call, media): (&CallTo, &CallId, &[Box<str>]),
        traceparent: Option<&str>,
    ) -> Result<Answer, Denial> {
        let mode = self.signal.hub.look(|server| server.grants(from.session).map(|it| it.call.mode));
        match mode {
            Some(CallMode::Grant) => {
                return Err(denial(ErrorCode::Forbidden, "A signed call grant is needed: `grant`."));
            }
            Some(CallMode::Deny | CallMode::List) => {
                return Err(denial(ErrorCode::Forbidden, "The token does not allow this call."));
            }
            Some(CallMode::Webhook | CallMode::Any) | None => {}
        }
        let to = match to {
            CallTo::User(user) => To::User(user.as_str().into()),
            CallTo::Room(room) => To::Room(room.as_str().into()),
        };
        self.right(from, guest, (DecisionKind::Call, to, Some(call.as_str()), media), traceparent).await
    }

    async fn right(
        &self,
        from: &Place,
        guest: &Guest,
        (kind, to, call, media): (DecisionKind, To, Option<&str>, &[Box<str>]),
        traceparent: Option<&str>,
    ) -> Result<Answer, Denial> {
        if !self.asks(kind) {
            return Err(denial(ErrorCode::Forbidden, "The token does not allow it."));
        }
        let from = From {
            user: from.user.as_str(),
            device: &from.device,
            session: Some(from.session.to_string()),
            ip_prefix: Some(guest.prefix()),
        };
        let question = Question { kind, from, to: Some(to), call, media };
        match self.ask_backend(&question, traceparent.or(guest.traceparent.as_deref())).await? {
            Verdict::Allowed(leave) => Ok(Answer { attrs: leave.attrs }),
            Verdict::Denied(reason) => Err(denied(reason)),
        }
    }
}

/// As the backend said it.
pub(super) fn denied(reason: Option<Box<str>>) -> Denial {
    denial(ErrorCode::Forbidden, reason.unwrap_or_else(|| "The backend does not allow it.".into()))
}
