//! Deciding who calls.

use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use axum::http::request::Parts;

use super::{
    AccessError, Caller, Grants, Refusal, Rules, intersection,
    presented::{Presented, Unclear},
    rates::Rates,
    refusal,
    throttle::Throttle,
    tokens::TokenRefusal,
};
use crate::{
    api::{
        counters::{ApiCounters, AuthenticationFailure},
        exchange::{Exchange, LimitNote},
        forwarded::is_within,
        problem::{Problem, RATE_LIMITED},
    },
    cluster::{ApiKeyRefusal, Cluster, Scope, Scopes},
    config::Config,
    credentials::jwt::{Claims, TokenError},
    telemetry::{Private, SeldomEach},
};

/// The most warnings about refused callers in a second, of all addresses.
const REFUSALS_PER_SECOND: u32 = 50;
/// Of the limit of requests per caller.
const CALLER_WINDOW: Duration = Duration::from_secs(1);
/// Of the limit of credentials per user.
const USER_WINDOW: Duration = Duration::from_secs(60);

/// What a caller on the control socket is called.
const CONTROL_CALLER: &str = "control";

/// Decides who calls, and how often.
pub struct Access {
    cluster: Cluster,
    rules: ArcSwap<Rules>,
    throttle: Throttle,
    rates: Rates,
    counters: Arc<ApiCounters>,
    refusals: SeldomEach,
    start: Instant,
}

/// Why a signed statement is not taken.
#[derive(Debug)]
pub(in crate::api) enum TokenFault {
    /// There is no issuer.
    NotTaken,
    /// It is no good.
    Wrong(TokenError),
    /// The issuer's keys cannot be had; for so long.
    Unavailable(Duration),
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

impl Access {
    /// Callers as they are configured; their keys are those of `cluster`.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub fn new(config: &Config, cluster: Cluster) -> Result<Arc<Self>, AccessError> {
        let counters = Arc::<ApiCounters>::default();
        let rules = Rules::new(config, None, &counters)?;
        Ok(Arc::new(Self {
            rates: Rates::new(cluster.clone()),
            cluster,
            rules: ArcSwap::from_pointee(rules),
            throttle: Throttle::new(),
            counters,
            refusals: SeldomEach::new(REFUSALS_PER_SECOND),
            start: Instant::now(),
        }))
    }

    /// Takes over what can change while the node runs.
    ///
    /// # Errors
    /// See [`AccessError`]; then all stays as it was.
    pub fn reload(&self, config: &Config) -> Result<(), AccessError> {
        let rules = Rules::new(config, Some(&self.rules.load_full()), &self.counters)?;
        self.rules.store(Arc::new(rules));
        Ok(())
    }

    /// Says what [`reload`](Self::reload) would, and changes nothing.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub fn check(&self, config: &Config) -> Result<(), AccessError> {
        Rules::new(config, Some(&self.rules.load_full()), &self.counters).map(drop)
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> &ApiCounters {
        &self.counters
    }

    pub(in crate::api) fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// Who sent this request, by its headers and its connection.
    ///
    /// # Errors
    /// 401, 403, 429 or 503, each with its own code.
    pub(crate) async fn caller(&self, parts: &Parts) -> Result<Caller, Problem> {
        let exchange = Exchange::of(parts);
        match Presented::read(&parts.headers) {
            Ok(presented) => self.authenticate(&exchange, presented).await,
            Err(Unclear::Problem(problem)) => Err(problem),
            Err(Unclear::Refusal(refusal)) => Err(self.refuse(&exchange, refusal)),
        }
    }

    /// Whose API key this is, for requests that bring it elsewhere than in a header.
    ///
    /// # Errors
    /// As those of [`caller`](Self::caller).
    pub(crate) async fn by_key(&self, parts: &Parts, key: &str) -> Result<Caller, Problem> {
        self.authenticate(&Exchange::of(parts), Presented::Key(key)).await
    }

    /// Whose key or token this is, for requests that bring it as a bearer elsewhere than in `Authorization`.
    ///
    /// # Errors
    /// As those of [`caller`](Self::caller).
    pub(crate) async fn by_bearer(&self, parts: &Parts, text: &str) -> Result<Caller, Problem> {
        self.authenticate(&Exchange::of(parts), Presented::bearer(text)).await
    }

    /// Whose key or token this is that a socket brought in a frame. How often that may fail is the signaling relay's
    /// affair.
    pub(in crate::api) async fn by_frame(&self, exchange: &Exchange, text: &str) -> Result<Caller, Refusal> {
        let caller = self.identify(&self.rules.load_full(), exchange, Presented::bearer(text)).await;
        caller.inspect_err(|refusal| self.counters.failure(refusal.failure))
    }

    /// What a token says that somebody of the issuer signed for one purpose: whether it is a token for a caller is not
    /// looked at.
    pub(in crate::api) async fn signed_claims(&self, text: &str) -> Result<Claims, TokenFault> {
        let rules = self.rules.load_full();
        let Some((_, tokens)) = &rules.tokens else { return Err(TokenFault::NotTaken) };
        match tokens.claims(text, unix_now()).await {
            Ok((claims, _)) => Ok(claims),
            Err(TokenRefusal::Wrong(error)) => Err(TokenFault::Wrong(error)),
            Err(TokenRefusal::Unavailable(wait)) => Err(TokenFault::Unavailable(wait.0)),
        }
    }

    /// Counts one issue of credentials for a user, on behalf of whoever.
    ///
    /// # Errors
    /// 429 `rate_limited`.
    pub(crate) async fn count_user(&self, user: &str) -> Result<(), Problem> {
        let Some(quota) = self.rules.load().api.rate_per_user else { return Ok(()) };
        let (note, result) = self.count("user", &format!("user:{user}"), quota, USER_WINDOW).await;
        result.map_err(|problem| problem.limited(note))
    }

    /// Lets whoever asks read the metrics, if they ask from the right place or may read.
    ///
    /// # Errors
    /// As those of [`caller`](Self::caller), and 403 `scope_missing`.
    pub(in crate::api) async fn metrics_reader(&self, parts: &Parts) -> Result<(), Problem> {
        let exchange = Exchange::of(parts);
        let known = exchange.known();
        let is_near = is_within(&self.rules.load().http.metrics_from, known.client) && !known.is_forwarded;
        if is_near {
            return Ok(());
        }
        self.caller(parts).await?.require(Scope::Read)
    }

    async fn authenticate(&self, exchange: &Exchange, presented: Presented<'_>) -> Result<Caller, Problem> {
        if exchange.known().is_control && presented == Presented::Nothing {
            return Ok(administrator());
        }
        let rules = self.rules.load_full();
        let caller = match self.identify(&rules, exchange, presented).await {
            Ok(caller) => caller,
            Err(refusal) => return Err(self.refuse(exchange, refusal)),
        };
        if let Some(quota) = rules.api.rate_per_caller {
            let (note, result) = self.count("caller", &caller.id, quota, CALLER_WINDOW).await;
            exchange.note(note);
            result?;
        }
        Ok(caller)
    }

    async fn identify(
        &self,
        rules: &Rules,
        exchange: &Exchange,
        presented: Presented<'_>,
    ) -> Result<Caller, Refusal> {
        let certificate = exchange.known().certificate.as_deref();
        let principal = certificate.and_then(|names| rules.principal(names));
        if rules.api.require_certificate && certificate.is_none() {
            return Err(refusal(
                AuthenticationFailure::CertificateRequired,
                "`api.require_certificate` is set: connect over HTTPS with a client certificate.",
            ));
        }
        let mut caller = match presented {
            Presented::Nothing => return by_certificate(certificate, principal),
            Presented::Key(key) => self.by_api_key(rules, exchange, key)?,
            Presented::Token(token) => self.by_token(rules, exchange, token).await?,
        };
        if let Some((_, scopes)) = principal {
            caller.scopes = intersection(&caller.scopes, scopes);
        }
        Ok(caller)
    }

    fn by_api_key(&self, rules: &Rules, exchange: &Exchange, key: &str) -> Result<Caller, Refusal> {
        let now = unix_now();
        let keys = self.cluster.api_keys();
        let error = match keys.authenticate(key, exchange.client(), now) {
            Ok(key) => {
                self.cluster.api_key_used(&key.id, now);
                return Ok(Caller {
                    id: format!("key:{}", key.id).into(),
                    scopes: key.scopes.clone(),
                    subject: None,
                    grants: Grants::default(),
                    token: None,
                });
            }
            Err(error) => error,
        };
        self.check_throttle(rules, exchange)?;
        Err(match error {
            ApiKeyRefusal::Malformed => refusal(
                AuthenticationFailure::KeyUnknown,
                "This is no API key: one is `iw_`, its id, `_` and 43 characters. Was it cut?",
            ),
            ApiKeyRefusal::Unknown => refusal(
                AuthenticationFailure::KeyUnknown,
                "There is no such key here: it was revoked, or is one of another server.",
            ),
            ApiKeyRefusal::Expired => {
                refusal(AuthenticationFailure::KeyExpired, "Make a new key; this one has reached its end.")
            }
            ApiKeyRefusal::Network => refusal(
                AuthenticationFailure::NetworkRefused,
                "The key is limited to other networks than the one this request comes from.",
            ),
        })
    }

    async fn by_token(&self, rules: &Rules, exchange: &Exchange, text: &str) -> Result<Caller, Refusal> {
        let Some((_, tokens)) = &rules.tokens else {
            return Err(refusal(
                AuthenticationFailure::TokensNotTaken,
                "No issuer is configured: bring an API key, or set `jwt.issuer`.",
            ));
        };
        let now = unix_now();
        if let Some(caller) = tokens.remembered(text, now) {
            return Ok((*caller).clone());
        }
        self.check_throttle(rules, exchange)?;
        match tokens.verify(text, now).await {
            Ok(caller) => Ok((*caller).clone()),
            Err(TokenRefusal::Wrong(error)) => Err(Refusal {
                failure: failure_of(&error),
                detail: Cow::Owned(format!("The token is refused: {error}.")),
                retry_after: None,
                skew: if let TokenError::NotYetValid { seconds } = error { Some(seconds) } else { None },
            }),
            Err(TokenRefusal::Unavailable(wait)) => Err(Refusal {
                failure: AuthenticationFailure::TokenKeysUnavailable,
                detail: "The issuer does not answer; the server's log says why.".into(),
                retry_after: Some(wait.0),
                skew: None,
            }),
        }
    }

    fn check_throttle(&self, rules: &Rules, exchange: &Exchange) -> Result<(), Refusal> {
        let wait = rules
            .api
            .authentication_failures
            .and_then(|most| self.throttle.wait(exchange.client(), most, Instant::now()));
        let Some(wait) = wait else { return Ok(()) };
        Err(Refusal {
            failure: AuthenticationFailure::Throttled,
            detail: "Mend what fails, then wait.".into(),
            retry_after: Some(wait),
            skew: None,
        })
    }

    /// Counts, logs and answers.
    fn refuse(&self, exchange: &Exchange, refusal: Refusal) -> Problem {
        let Refusal { failure, detail, retry_after, skew: _ } = refusal;
        self.counters.failure(failure);
        let most = self.rules.load().api.authentication_failures;
        if let Some(most) = most.filter(|_| is_attempt(failure)) {
            self.throttle.failed(exchange.client(), most, Instant::now());
        }
        let client = exchange.client().to_canonical();
        // The order of the fields is relied upon: see `config/REFERENCE.md`.
        let (address, reason) = (Private(client), failure.as_str());
        if failure == AuthenticationFailure::Unauthenticated {
            tracing::debug!(%address, reason, request = exchange.id(), "An API caller was refused.");
        } else if self.refusals.permit(self.start.elapsed(), client) {
            tracing::warn!(%address, reason, request = exchange.id(), "An API caller was refused.");
        }
        let kind = failure.kind();
        let mut problem = kind.with(detail);
        if let Some(after) = retry_after {
            problem = problem.retry_after(after);
        }
        if kind.status == 401 && failure != AuthenticationFailure::Unauthenticated {
            let challenge = format!(
                "Bearer realm=\"iceway\", error=\"invalid_token\", error_description=\"{}\"",
                kind.title
            );
            problem = problem.challenge(challenge);
        }
        problem
    }

    /// Counts one use of a name, and says how much is left.
    async fn count(
        &self,
        limit: &'static str,
        name: &str,
        quota: u32,
        window: Duration,
    ) -> (LimitNote, Result<(), Problem>) {
        let verdict = self.rates.count(name, quota, window).await;
        let (remaining, reset) = (verdict.remaining, verdict.reset);
        let note = LimitNote { name: limit, quota, window, remaining, reset };
        if verdict.is_admitted {
            return (note, Ok(()));
        }
        let per = if window == CALLER_WINDOW { "second" } else { "minute" };
        let detail = format!("At most {quota} per {limit} and {per}.");
        (note, Err(RATE_LIMITED.with(detail).retry_after(reset)))
    }
}

/// Who calls over the control socket and brings nothing else.
fn administrator() -> Caller {
    Caller {
        id: CONTROL_CALLER.into(),
        scopes: Scopes(vec![Scope::Admin]),
        subject: None,
        grants: Grants::default(),
        token: None,
    }
}

/// Who calls with a certificate and nothing else.
fn by_certificate(
    certificate: Option<&[Box<str>]>,
    principal: Option<(&str, &Scopes)>,
) -> Result<Caller, Refusal> {
    if let Some((name, scopes)) = principal {
        return Ok(Caller {
            id: format!("cert:{name}").into(),
            scopes: scopes.clone(),
            subject: None,
            grants: Grants::default(),
            token: None,
        });
    }
    Err(match certificate {
        Some(_) => refusal(
            AuthenticationFailure::CertificateUnknown,
            "None of the alternative names of the certificate is in `api.certificates`.",
        ),
        None => refusal(
            AuthenticationFailure::Unauthenticated,
            "Send `Authorization: Bearer` and an API key or token.",
        ),
    })
}

/// Whether this failure may be part of guessing: what counts for the throttle.
const fn is_attempt(failure: AuthenticationFailure) -> bool {
    match failure {
        AuthenticationFailure::KeyUnknown
        | AuthenticationFailure::KeyExpired
        | AuthenticationFailure::NetworkRefused
        | AuthenticationFailure::CertificateUnknown
        | AuthenticationFailure::TokenInvalid
        | AuthenticationFailure::TokenExpired
        | AuthenticationFailure::TokenNotYetValid
        | AuthenticationFailure::TokenKeyUnknown
        | AuthenticationFailure::AlgorithmRefused
        | AuthenticationFailure::AudienceWrong
        | AuthenticationFailure::IssuerWrong => true,
        AuthenticationFailure::Unauthenticated
        | AuthenticationFailure::CertificateRequired
        | AuthenticationFailure::TokensNotTaken
        | AuthenticationFailure::TokenKeysUnavailable
        | AuthenticationFailure::Throttled => false,
    }
}

const fn failure_of(error: &TokenError) -> AuthenticationFailure {
    match error {
        TokenError::Malformed(_)
        | TokenError::SignatureWrong
        | TokenError::Claim { .. }
        | TokenError::LifetimeTooLong { .. } => AuthenticationFailure::TokenInvalid,
        TokenError::AlgorithmRefused(_) => AuthenticationFailure::AlgorithmRefused,
        TokenError::KeyUnknown(_) => AuthenticationFailure::TokenKeyUnknown,
        TokenError::Expired { .. } => AuthenticationFailure::TokenExpired,
        TokenError::NotYetValid { .. } => AuthenticationFailure::TokenNotYetValid,
        TokenError::IssuerWrong => AuthenticationFailure::IssuerWrong,
        TokenError::AudienceWrong => AuthenticationFailure::AudienceWrong,
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
