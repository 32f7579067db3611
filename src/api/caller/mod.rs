//! Who calls the API, and what they may do.
//!
//! A [`Caller`] in the arguments of a handler means that the request was authenticated; what it may do is asked with
//! [`Caller::require`].

mod access;
pub(in crate::api) mod grants;
mod jwks;
mod presented;
mod rates;
mod recent;
mod rules;
mod throttle;
mod tokens;

use std::{borrow::Cow, sync::Arc, time::Duration};

use axum::{
    extract::{FromRef, FromRequestParts},
    http::request::Parts,
};

pub use access::Access;
pub(in crate::api) use access::TokenFault;
pub(in crate::api) use presented::X_API_KEY;
pub(in crate::api) use recent::Recent;
pub use rules::AccessError;
pub(in crate::api) use rules::Rules;

use super::{
    counters::AuthenticationFailure,
    problem::{GRANT_MISSING, Problem, SCOPE_MISSING},
};
use crate::{
    cluster::{Scope, Scopes},
    credentials::jwt::TokenError,
    signaling::{CallGrants, Role, RoomGrant},
};

/// Who calls, proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// `key:<id>`, `jwt:<issuer>/<subject>`, `cert:<name in the certificate>` or `control`; not secret.
    pub(crate) id: Box<str>,
    /// What it may do.
    pub(crate) scopes: Scopes,
    /// The subject of a token: the user it was made for.
    pub(crate) subject: Option<Box<str>>,
    /// What a token grants its subject.
    pub(crate) grants: Grants,
    /// What else a token says; callers with a key or certificate have none.
    pub(crate) token: Option<Arc<TokenFacts>>,
}

/// What a token says that matters for as long as somebody is connected with it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TokenFacts {
    /// `exp`: seconds since the Unix epoch, without leeway.
    pub(crate) expires: u64,
    /// `iat`.
    pub(crate) issued: Option<u64>,
    /// `jti`.
    pub(crate) id: Option<Box<str>>,
    /// Its scopes, as the issuer writes them.
    pub(crate) scopes: Vec<Box<str>>,
    /// What it grants of signaling. `None`: it does not speak of it.
    pub(crate) signal: Result<Option<SignalGrants>, TokenError>,
}

/// What a token grants of signaling, by the claim that `jwt.grants_claim` names. What it does not name is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SignalGrants {
    pub(crate) device: Option<Box<str>>,
    pub(crate) role: Option<Role>,
    pub(crate) rooms: Option<Vec<RoomGrant>>,
    pub(crate) call: Option<CallGrants>,
    pub(crate) presence: Option<bool>,
    pub(crate) message: Option<bool>,
    pub(crate) sessions_max: Option<u32>,
}

/// What a token grants its subject, by the claim that `jwt.grants_claim` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grants {
    /// Relaying. `None`: the token does not speak of it.
    pub(crate) turn: Option<TurnGrant>,
}

/// What a token grants its subject of the relay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TurnGrant {
    /// Whether credentials may be had for the subject.
    pub(crate) is_granted: bool,
    /// The longest they may live, in seconds.
    pub(crate) ttl: Option<u64>,
    /// Whether the subject's calls must go through the relay.
    pub(crate) relay_only: bool,
    /// The quota class of the subject.
    pub(crate) quota: Option<Box<str>>,
}

impl Caller {
    /// Whether it may do this.
    ///
    /// # Errors
    /// 403 `scope_missing`.
    pub(crate) fn require(&self, scope: Scope) -> Result<(), Problem> {
        if self.scopes.allow(scope) {
            return Ok(());
        }
        let name = scope.as_str();
        Err(SCOPE_MISSING
            .with(format!("The scope `{name}` is needed."))
            .challenge(format!("Bearer realm=\"iceway\", error=\"insufficient_scope\", scope=\"{name}\"")))
    }

    /// The user that credentials may be had for by the user itself: the subject of a token that grants the use of the
    /// relay.
    ///
    /// # Errors
    /// 403 `grant_missing`.
    pub(crate) fn require_own_turn(&self) -> Result<&str, Problem> {
        let Some(subject) = self.subject.as_deref() else {
            return Err(GRANT_MISSING.with("Only the token of an end user, with a `sub`, can be used here."));
        };
        match &self.grants.turn {
            Some(grant) if grant.is_granted => Ok(subject),
            None if self.scopes.allow(Scope::Issue) => Ok(subject),
            Some(_) | None => Err(GRANT_MISSING.with("The token does not grant `turn.use`.")),
        }
    }
}

/// Why somebody is not authenticated.
#[derive(Debug)]
pub(in crate::api) struct Refusal {
    pub(in crate::api) failure: AuthenticationFailure,
    /// For people; without anything secret.
    pub(in crate::api) detail: Cow<'static, str>,
    pub(in crate::api) retry_after: Option<Duration>,
    /// By how many seconds a token is too early.
    pub(in crate::api) skew: Option<u64>,
}

const fn refusal(failure: AuthenticationFailure, detail: &'static str) -> Refusal {
    Refusal { failure, detail: Cow::Borrowed(detail), retry_after: None, skew: None }
}

/// What both allow.
fn intersection(one: &Scopes, other: &Scopes) -> Scopes {
    let both = Scope::ALL.into_iter().filter(|scope| one.allow(*scope) && other.allow(*scope));
    Scopes(both.collect())
}

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Arc<Access>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // Whoever looked after an idempotency key knows already; the request counts once.
        match parts.extensions.remove::<Self>() {
            Some(caller) => Ok(caller),
            None => Arc::<Access>::from_ref(state).caller(parts).await,
        }
    }
}

/// Somebody who may read the metrics: from the right place, or with the right scope.
pub(in crate::api) struct MetricsReader;

impl<S> FromRequestParts<S> for MetricsReader
where
    S: Send + Sync,
    Arc<Access>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Arc::<Access>::from_ref(state).metrics_reader(parts).await.map(|()| Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(scopes: &[Scope], subject: Option<&str>, turn: Option<bool>) -> Caller {
        Caller {
            id: "key:a".into(),
            scopes: Scopes(scopes.to_vec()),
            subject: subject.map(Into::into),
            grants: Grants { turn: turn.map(|is_granted| TurnGrant { is_granted, ..TurnGrant::default() }) },
            token: None,
        }
    }

    #[test]
    fn a_scope_that_is_missing_is_named() {
        assert!(caller(&[Scope::Issue], None, None).require(Scope::Issue).is_ok());
        assert!(caller(&[Scope::Admin], None, None).require(Scope::Issue).is_ok());
        let problem = caller(&[Scope::Issue], None, None).require(Scope::Revoke).unwrap_err();
        assert_eq!(problem.kind(), SCOPE_MISSING);
        assert!(format!("{problem:?}").contains("`revoke`"));
    }

    #[test]
    fn end_users_have_credentials_for_themselves_if_granted() {
        let own = |subject, turn, scopes: &[Scope]| caller(scopes, subject, turn).require_own_turn().is_ok();
        assert!(own(Some("u"), Some(true), &[]));
        assert!(!own(Some("u"), Some(false), &[Scope::Issue]));
        assert!(own(Some("u"), None, &[Scope::Issue]));
        assert!(!own(Some("u"), None, &[]));
        assert!(!own(None, Some(true), &[Scope::Admin]));
    }

    #[test]
    fn two_proofs_allow_what_both_allow() {
        let both = intersection(&Scopes(vec![Scope::Admin]), &Scopes(vec![Scope::Issue, Scope::Read]));
        assert_eq!(both, Scopes(vec![Scope::Issue, Scope::Read]));
    }
}
