//! Who calls the API, and what they may do.
//!
//! A [`Caller`] in the arguments of a handler means that the request was authenticated; what it may do is asked with
//! [`Caller::require`].

use std::sync::Arc;

use axum::{
    extract::{FromRef, FromRequestParts},
    http::request::Parts,
};

use super::problem::{GRANT_MISSING, Problem, SCOPE_MISSING, UNAUTHENTICATED};
use crate::cluster::{Scope, Scopes};

/// Who calls, proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// `key:<id>`, `jwt:<issuer>/<subject>` or `cert:<name in the certificate>`; not secret.
    pub(crate) id: Box<str>,
    /// What it may do.
    pub(crate) scopes: Scopes,
    /// The subject of a token: the user it was made for.
    pub(crate) subject: Option<Box<str>>,
    /// What a token grants its subject.
    pub(crate) grants: Grants,
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

/// Decides who calls.
#[derive(Debug)]
pub struct Access {}

impl Access {
    /// Knows nobody.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {})
    }

    /// Who sent this request.
    async fn caller(&self, _parts: &Parts) -> Result<Caller, Problem> {
        Err(UNAUTHENTICATED.into())
    }

    /// Whose API key this is, for requests that bring it elsewhere than in a header: in a form or query.
    ///
    /// # Errors
    /// See [`Caller`].
    pub(crate) async fn by_key(&self, _parts: &Parts, _key: &str) -> Result<Caller, Problem> {
        Err(UNAUTHENTICATED.into())
    }
}

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Arc<Access>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Arc::<Access>::from_ref(state).caller(parts).await
    }
}
