//! Whose session it is, and what it may do.

use std::time::Duration;

use super::{
    Guest,
    backend::{From, Question, Verdict},
};
use crate::{
    api::{
        Service,
        caller::{Caller, Refusal, SignalGrants, TokenFacts},
        counters::AuthenticationFailure,
        exchange::Exchange,
        problem::{
            BACKEND_SILENT, GRANT_MISSING, Problem, RATE_LIMITED, TOKEN_EXPIRED, TOKEN_INVALID,
            TOKEN_KEYS_UNAVAILABLE, TOKEN_NOT_YET_VALID,
        },
        service::unix_seconds,
    },
    cluster::Scope,
    config::{self, DecisionKind, SignalDefault},
    signaling::{
        CallGrants, CallMode, Denial, ErrorCode, Grants, Identity, Place, Role, RoomGrant, RoomRight,
        SessionId, TurnGrants, UserId,
    },
};

/// Everything that may be done in a room.
const ALL_RIGHTS: [RoomRight; 2] = [RoomRight::Join, RoomRight::Send];

impl Service {
    /// Whose token or key this is; `device` is what a client calls its own in `hello`, `None` in `auth-refresh`.
    pub(super) async fn identity(
        &self,
        token: &str,
        guest: &Guest,
        device: Option<&str>,
    ) -> Result<Identity, Denial> {
        let exchange = Exchange::of_socket(guest.address, guest.certificate.clone());
        let caller = self.access.by_frame(&exchange, token).await.map_err(refused)?;
        match device {
            Some(device) => self.identity_of(&caller, guest, device).await,
            None => self.bare_identity(&caller, guest, "").await,
        }
    }

    /// What an authenticated caller may do on a socket, with ICE servers.
    pub(super) async fn identity_of(
        &self,
        caller: &Caller,
        guest: &Guest,
        device: &str,
    ) -> Result<Identity, Denial> {
        let mut identity = self.bare_identity(caller, guest, device).await?;
        if let Some(turn) = &identity.grants.turn {
            let place = Place {
                user: identity.user.clone(),
                device: identity.device.clone().unwrap_or_else(|| device.into()),
                session: SessionId(0),
            };
            // Without them a client may still connect, and ask again.
            identity.ice_servers = self.user_ice_servers(&place, turn, Some(guest)).await.ok();
        }
        Ok(identity)
    }

    async fn bare_identity(&self, caller: &Caller, guest: &Guest, device: &str) -> Result<Identity, Denial> {
        let mut identity = match &caller.token {
            Some(facts) => self.of_token(caller, facts)?,
            None => of_service(caller, guest)?,
        };
        if self.signal.revoked.hits(&identity.user, caller.token.as_deref()) {
            return Err(denial(ErrorCode::Forbidden, "The token was revoked."));
        }
        if identity.grants.role == Role::User && self.asks(DecisionKind::Connect) {
            let from = From {
                user: identity.user.as_str(),
                device: identity.device.as_deref().unwrap_or(device),
                session: None,
                ip_prefix: Some(guest.prefix()),
            };
            let question = Question { kind: DecisionKind::Connect, from, to: None, call: None, media: &[] };
            match self.ask_backend(&question, guest.traceparent.as_deref()).await? {
                Verdict::Allowed(leave) => leave.limits.hold(&mut identity.grants),
                Verdict::Denied(reason) => return Err(super::decide::denied(reason)),
            }
        }
        Ok(identity)
    }

    fn of_token(&self, caller: &Caller, facts: &TokenFacts) -> Result<Identity, Denial> {
        let settings = self.settings.load();
        let signal = &settings.config.signal;
        let user = caller.subject.as_deref().and_then(UserId::parse).ok_or_else(|| {
            denial(ErrorCode::Unauthorized, "The token names no user: `sub` has 1 to 256 bytes.")
        })?;
        let granted = facts
            .signal
            .as_ref()
            .map_err(|error| denial(ErrorCode::Unauthorized, format!("The token is refused: {error}.")))?;
        let mut grants = match granted {
            Some(granted) => of_claim(granted, signal),
            None => of_scopes(facts, signal)?,
        };
        let device = granted.as_ref().and_then(|granted| granted.device.clone());
        grants.turn = turn_of(caller, grants.turn.is_some());
        Ok(Identity {
            user,
            device,
            // Within the leeway a token is still good; how much longer, the relay's own grace says.
            expires: Some(facts.expires.max(unix_seconds()).saturating_mul(1000)),
            token_id: facts.id.clone(),
            grants,
            ice_servers: None,
        })
    }
}

impl config::Signal {
    /// Whether the backend is asked such questions.
    pub(in crate::api) fn asks(&self, kind: DecisionKind) -> bool {
        self.authorize.url.is_some() && self.authorize.kinds.contains(&kind)
    }

    fn default_call(&self) -> CallMode {
        match self.call_default {
            SignalDefault::Any => CallMode::Any,
            SignalDefault::Webhook => CallMode::Webhook,
            SignalDefault::Auto if self.asks(DecisionKind::Call) => CallMode::Webhook,
            // A grant that the backend signed is its word as well.
            SignalDefault::Auto => CallMode::Grant,
            SignalDefault::Deny => CallMode::Deny,
        }
    }

    /// Rooms that a token which names none lets its user join, and whether the backend is asked for others.
    fn default_rooms(&self) -> (Vec<RoomGrant>, bool) {
        match self.rooms_default {
            SignalDefault::Any => (all_rooms(), false),
            SignalDefault::Webhook => (Vec::new(), true),
            SignalDefault::Auto => (Vec::new(), self.asks(DecisionKind::Join)),
            SignalDefault::Deny => (Vec::new(), false),
        }
    }
}

fn all_rooms() -> Vec<RoomGrant> {
    vec![RoomGrant { name: "*".into(), rights: ALL_RIGHTS.to_vec() }]
}

fn of_claim(granted: &SignalGrants, signal: &config::Signal) -> Grants {
    let (default_rooms, ask_rooms) = signal.default_rooms();
    let is_asked_besides = signal.rooms_default == SignalDefault::Webhook;
    let (rooms, ask_rooms) = match &granted.rooms {
        Some(rooms) => (rooms.clone(), is_asked_besides),
        None => (default_rooms, ask_rooms),
    };
    let limit = signal.options.limits.sessions_per_user;
    let role = granted.role.unwrap_or(Role::User);
    Grants {
        role,
        rooms,
        ask_rooms,
        call: granted
            .call
            .clone()
            .unwrap_or_else(|| CallGrants { mode: signal.default_call(), to: Vec::new() }),
        presence: granted.presence.unwrap_or(true),
        message: granted.message.unwrap_or(true),
        sessions_max: match role {
            Role::User => granted.sessions_max.unwrap_or(limit).min(limit),
            Role::Sfu | Role::Backend | Role::Recorder | Role::Admin => {
                granted.sessions_max.unwrap_or(u32::MAX)
            }
        },
        turn: None,
    }
}

/// By the scopes of the token, or by default if it has none that count here.
fn of_scopes(facts: &TokenFacts, signal: &config::Signal) -> Result<Grants, Denial> {
    let has = |ours: &str| {
        signal
            .scopes
            .iter()
            .any(|rule| rule.ours == ours && facts.scopes.iter().any(|it| **it == *rule.theirs))
    };
    let plain = of_claim(&SignalGrants::default(), signal);
    let is_scoped = ["connect", "call", "join", "presence", "message", "admin"].into_iter().any(has);
    if !is_scoped {
        return Ok(Grants { turn: has("turn").then(TurnGrants::default), ..plain });
    }
    if !has("connect") && !has("admin") {
        return Err(denial(ErrorCode::Forbidden, "The token has no scope to connect; see signal.scopes."));
    }
    let mode = match signal.default_call() {
        // What the issuer allows by a scope needs nobody else.
        CallMode::Deny | CallMode::Grant if has("call") => CallMode::Any,
        mode if has("call") => mode,
        CallMode::Deny | CallMode::List | CallMode::Grant | CallMode::Webhook | CallMode::Any => {
            CallMode::Deny
        }
    };
    let (rooms, ask_rooms) = match (has("join"), signal.default_rooms()) {
        (true, (_, true)) => (Vec::new(), true),
        (true, (_, false)) => (all_rooms(), false),
        (false, _) => (Vec::new(), false),
    };
    Ok(Grants {
        role: if has("admin") { Role::Admin } else { Role::User },
        rooms,
        ask_rooms,
        call: CallGrants { mode, to: Vec::new() },
        presence: has("presence"),
        message: has("message"),
        turn: has("turn").then(TurnGrants::default),
        ..plain
    })
}

/// As `GET /v1/ice-servers` judges it; `is_scoped`: a scope of the token says so.
fn turn_of(caller: &Caller, is_scoped: bool) -> Option<TurnGrants> {
    match &caller.grants.turn {
        Some(grant) if grant.is_granted => Some(TurnGrants {
            ttl: grant.ttl.map(Duration::from_secs),
            relay_only: grant.relay_only,
            quota: grant.quota.clone(),
        }),
        Some(_) => None,
        None => (is_scoped || caller.scopes.allow(Scope::Issue)).then(TurnGrants::default),
    }
}

/// A service with a key or certificate of its own.
fn of_service(caller: &Caller, guest: &Guest) -> Result<Identity, Denial> {
    let role = guest.role.unwrap_or(Role::Backend);
    let scope = match role {
        Role::Admin => Scope::Admin,
        Role::User | Role::Sfu | Role::Backend | Role::Recorder => Scope::Signal,
    };
    if !caller.scopes.allow(scope) {
        let name = scope.as_str();
        return Err(denial(ErrorCode::Forbidden, format!("The scope `{name}` is needed.")));
    }
    let user = UserId::parse(&caller.id)
        .ok_or_else(|| denial(ErrorCode::Unauthorized, "The name of the caller cannot be used."))?;
    let grants = Grants {
        role,
        rooms: all_rooms(),
        ask_rooms: false,
        call: CallGrants { mode: CallMode::Any, to: Vec::new() },
        presence: true,
        message: true,
        sessions_max: u32::MAX,
        turn: Some(TurnGrants::default()),
    };
    Ok(Identity { user, device: None, expires: None, token_id: None, grants, ice_servers: None })
}

/// A denial with nothing but words.
pub(super) fn denial(code: ErrorCode, message: impl Into<Box<str>>) -> Denial {
    Denial { code, message: message.into(), retry_after: None, skew: None }
}

/// Why a token or key is not taken, as a client is told in a frame.
fn refused(refusal: Refusal) -> Denial {
    let code = match refusal.failure {
        AuthenticationFailure::TokenExpired | AuthenticationFailure::KeyExpired => ErrorCode::TokenExpired,
        AuthenticationFailure::TokenNotYetValid => ErrorCode::TokenNotYetValid,
        AuthenticationFailure::TokenKeysUnavailable => ErrorCode::Unavailable,
        AuthenticationFailure::Throttled => ErrorCode::RateLimited,
        AuthenticationFailure::NetworkRefused => ErrorCode::Forbidden,
        AuthenticationFailure::Unauthenticated
        | AuthenticationFailure::KeyUnknown
        | AuthenticationFailure::CertificateRequired
        | AuthenticationFailure::CertificateUnknown
        | AuthenticationFailure::TokenInvalid
        | AuthenticationFailure::TokenKeyUnknown
        | AuthenticationFailure::TokensNotTaken
        | AuthenticationFailure::AlgorithmRefused
        | AuthenticationFailure::AudienceWrong
        | AuthenticationFailure::IssuerWrong => ErrorCode::Unauthorized,
    };
    Denial { code, message: refusal.detail.into(), retry_after: refusal.retry_after, skew: refusal.skew }
}

/// The same before there is a socket.
pub(super) fn problem(denial: &Denial) -> Problem {
    let kinds = [
        (ErrorCode::Forbidden, GRANT_MISSING),
        (ErrorCode::RateLimited, RATE_LIMITED),
        (ErrorCode::Unavailable, TOKEN_KEYS_UNAVAILABLE),
        (ErrorCode::UpstreamTimeout, BACKEND_SILENT),
        (ErrorCode::TokenExpired, TOKEN_EXPIRED),
        (ErrorCode::TokenNotYetValid, TOKEN_NOT_YET_VALID),
    ];
    let kind = kinds.into_iter().find(|(code, _)| *code == denial.code);
    let problem = kind.map_or(TOKEN_INVALID, |(_, kind)| kind).with(denial.message.to_string());
    match denial.retry_after {
        Some(after) => problem.retry_after(after),
        None => problem,
    }
}
