//! Callers with a token that somebody else signed.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use ring::digest::{SHA256, digest};
use thiserror::Error;

use super::{
    Caller, TokenFacts, grants,
    jwks::{Jwks, SourceError, Unavailable},
    recent::Recent,
};
use crate::{
    api::counters::ApiCounters,
    cluster::{Scope, Scopes},
    config::{self, ReadError, ScopeRule, read_text},
    credentials::jwt::{Algorithm, Claims, KeySet, KeySetError, Rules, Token, TokenError, VerifyingKey},
};

/// Half of the verified tokens that are remembered by their hash.
const VERIFIED_HALF: usize = 8192;
/// No set of keys and no secret is larger.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Verifies tokens of one issuer.
#[derive(Debug)]
pub(super) struct Tokens {
    rules: Rules,
    algorithms: Vec<Algorithm>,
    local: KeySet,
    jwks: Option<Arc<Jwks>>,
    scopes: Vec<(Box<str>, Scope)>,
    grants_claim: String,
    verified: Mutex<Recent<[u8; 32], Verified>>,
}

/// A token that was verified lately.
#[derive(Debug)]
struct Verified {
    caller: Arc<Caller>,
    /// Without leeway, both.
    begins: u64,
    expires: u64,
    /// Of the keys it was verified with.
    generation: u64,
}

/// Why tokens cannot be verified as configured.
#[derive(Debug, Error)]
pub(super) enum TokensError {
    #[error("{key} = {path} {source}", path = path.display())]
    Unreadable { key: &'static str, path: PathBuf, source: ReadError },
    #[error("{key}: {path} {source}", path = path.display())]
    Keys { key: &'static str, path: PathBuf, source: KeySetError },
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// Why a token is not taken.
#[derive(Debug)]
pub(super) enum TokenRefusal {
    Wrong(TokenError),
    Unavailable(Unavailable),
}

impl Tokens {
    /// `None` if no issuer is configured. The keys that `before` fetched from the same place are taken over.
    pub(super) fn new(
        config: &config::Jwt,
        before: Option<&(config::Jwt, Arc<Self>)>,
        counters: &Arc<ApiCounters>,
    ) -> Result<Option<Arc<Self>>, TokensError> {
        let Some(issuer) = config.issuer.clone() else { return Ok(None) };
        let jwks = match (&config.jwks_url, before) {
            (None, _) => None,
            (Some(url), Some((old, tokens)))
                if old.jwks_url.as_ref() == Some(url) && old.jwks_ca_file == config.jwks_ca_file =>
            {
                tokens.jwks.clone()
            }
            (Some(url), _) => Some(Jwks::new(url, config.jwks_ca_file.as_ref(), Arc::clone(counters))?),
        };
        let mut algorithms = config.algorithms.clone();
        if config.hs256_secret_file.is_some() || config.trial_secret.is_some() {
            algorithms.push(Algorithm::Hs256);
        }
        Ok(Some(Arc::new(Self {
            rules: Rules {
                issuer,
                audiences: config.audience.iter().map(|audience| audience.0.clone()).collect(),
                leeway: config.leeway.as_secs(),
                lifetime_max: config.lifetime_max.as_secs(),
            },
            algorithms,
            local: local_keys(config)?,
            jwks,
            scopes: config.scopes.iter().filter_map(scope_rule).collect(),
            grants_claim: config.grants_claim.clone(),
            verified: Mutex::new(Recent::new(VERIFIED_HALF)),
        })))
    }

    /// Who brings this token, if it was verified a short while ago and still is valid.
    pub(super) fn remembered(&self, text: &str, now: u64) -> Option<Arc<Caller>> {
        let generation = self.generation();
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = verified.get(&hash(text))?;
        // The clock may have gone back since.
        let is_valid = now < entry.expires.saturating_add(self.rules.leeway)
            && entry.begins <= now.saturating_add(self.rules.leeway);
        (is_valid && entry.generation == generation && generation != u64::MAX)
            .then(|| Arc::clone(&entry.caller))
    }

    /// Verifies a token at `now`, in seconds since the Unix epoch.
    pub(super) async fn verify(&self, text: &str, now: u64) -> Result<Arc<Caller>, TokenRefusal> {
        let (claims, generation) = self.claims(text, now).await?;
        let (begins, expires) = (claims.begins, claims.expires);
        let caller = Arc::new(self.caller(&claims)?);
        let entry = Verified { caller: Arc::clone(&caller), begins, expires, generation };
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).insert(hash(text), entry);
        Ok(caller)
    }

    /// What a token says that the issuer signed for us and that is valid now; and of which generation the keys are.
    pub(super) async fn claims(&self, text: &str, now: u64) -> Result<(Claims, u64), TokenRefusal> {
        let token = Token::parse(text, &self.algorithms)?;
        let payload = match self.local.candidates(token.algorithm(), token.key_id()) {
            Ok(keys) => token.verify(keys)?,
            Err(error) => {
                // A shared secret comes from our own file alone.
                let Some(jwks) = self.jwks.as_ref().filter(|_| token.algorithm() != Algorithm::Hs256) else {
                    return Err(error.into());
                };
                let keys = jwks.keys(token.key_id()).await.map_err(TokenRefusal::Unavailable)?;
                token.verify(keys.candidates(token.algorithm(), token.key_id())?)?
            }
        };
        let generation = self.generation();
        Ok((self.rules.check(&payload, now)?, generation))
    }

    fn generation(&self) -> u64 {
        self.jwks.as_ref().map_or(0, |jwks| jwks.generation())
    }

    fn caller(&self, claims: &Claims) -> Result<Caller, TokenError> {
        let subject = claims.subject.as_deref().or_else(|| claims.all.get("client_id")?.as_str());
        let scopes = Scope::ALL.into_iter().filter(|ours| {
            let stands_for =
                |theirs: &String| self.scopes.iter().any(|(name, scope)| **name == **theirs && scope == ours);
            claims.scopes.iter().any(stands_for)
        });
        Ok(Caller {
            id: format!("jwt:{}/{}", self.rules.issuer, subject.unwrap_or("-")).into(),
            scopes: Scopes(scopes.collect()),
            subject: claims.subject.as_deref().map(Into::into),
            grants: grants::read(claims.all.get(&self.grants_claim))?,
            token: Some(Arc::new(TokenFacts {
                expires: claims.expires,
                issued: claims.all.get("iat").and_then(seconds),
                id: claims.all.get("jti").and_then(|id| id.as_str()).map(Into::into),
                scopes: claims.scopes.iter().map(|scope| scope.as_str().into()).collect(),
                signal: grants::read_signal(claims.all.get(&self.grants_claim)),
            })),
        })
    }
}

impl From<TokenError> for TokenRefusal {
    fn from(error: TokenError) -> Self {
        Self::Wrong(error)
    }
}

/// Perhaps with a fraction.
fn seconds(value: &serde_json::Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().map(|seconds| seconds as u64))
}

fn hash(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

fn scope_rule(rule: &ScopeRule) -> Option<(Box<str>, Scope)> {
    let scope = Scope::ALL.into_iter().find(|scope| scope.as_str() == rule.ours)?;
    Some((rule.theirs.as_str().into(), scope))
}

/// The keys in our own files.
fn local_keys(config: &config::Jwt) -> Result<KeySet, TokensError> {
    let read = |key, path: &PathBuf| {
        read_text(path, FILE_BYTES_MAX).map_err(|source| TokensError::Unreadable {
            key,
            path: path.clone(),
            source,
        })
    };
    let mut keys = KeySet::default();
    if let Some(path) = &config.keys_file {
        let key = "jwt.keys_file";
        keys = KeySet::parse(&read(key, path)?).map_err(|source| TokensError::Keys {
            key,
            path: path.clone(),
            source,
        })?;
    }
    if let Some(path) = &config.hs256_secret_file {
        let key = "jwt.hs256_secret_file";
        let text = read(key, path)?;
        for line in text.lines().filter(|line| !line.is_empty()) {
            let shared = VerifyingKey::shared(line.as_bytes()).map_err(|source| TokensError::Keys {
                key,
                path: path.clone(),
                source,
            })?;
            keys.push(shared);
        }
    }
    if let Some(secret) = &config.trial_secret
        && let Ok(shared) = VerifyingKey::shared(secret.expose())
    {
        keys.push(shared);
    }
    Ok(keys)
}
