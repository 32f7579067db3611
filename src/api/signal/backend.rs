//! Asking the backend who may do what.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::http::{Request, StatusCode, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;
use tokio::{sync::Semaphore, time::timeout};

use super::{
    breaker::Breaker,
    limits::{self, Limits},
};
use crate::{
    api::{
        authorities::{AuthoritiesError, read_authorities},
        caller::Recent,
        counters::DecisionResult,
        service::unix_seconds,
    },
    config::{Authorize, DecisionKind},
    credentials::webhook::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign_with_all},
    telemetry::Seldom,
};

/// Questions on their way at once.
const IN_FLIGHT_MAX: usize = 64;
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// Of what goes with a call or a member.
const ATTRS_BYTES_MAX: usize = 4096;
const REASON_CHARS_MAX: usize = 200;
/// Half of the answers that are remembered.
const REMEMBERED_HALF: usize = 16_384;
/// The trace of a request (W3C Trace Context).
const TRACEPARENT: &str = "traceparent";
/// Connections that are kept for the next questions.
const IDLE_CONNECTIONS_MAX: usize = 16;

/// The backend that decides.
pub(super) struct Backend {
    config: Authorize,
    url: Uri,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    places: Semaphore,
    breaker: Mutex<Breaker>,
    remembered: Mutex<Recent<Key, Remembered>>,
    /// How often everything was forgotten: what was asked before that is not remembered.
    forgotten: AtomicU64,
    failures: Seldom,
    start: Instant,
    /// Of this run: names of questions.
    run: u64,
    asked: AtomicU64,
}

/// By what answers are remembered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    kind: DecisionKind,
    from: Box<str>,
    to: Option<To>,
}

/// Whom or what a question is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum To {
    /// A user.
    User(Box<str>),
    /// A room.
    Room(Box<str>),
}

#[derive(Clone, Debug)]
struct Remembered {
    verdict: Verdict,
    until: Instant,
}

/// Who asks, beside the question.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Context<'a> {
    /// Whether the user is in a call that goes on.
    pub(super) is_in_call: bool,
    /// The trace that the question belongs to.
    pub(super) traceparent: Option<&'a str>,
}

/// A question, as it is sent.
#[derive(Debug, Serialize)]
pub(super) struct Question<'a> {
    #[serde(serialize_with = "kind_name")]
    pub(super) kind: DecisionKind,
    pub(super) from: From<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<To>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) call: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) media: &'a [Box<str>],
}

/// Who wants to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct From<'a> {
    pub(super) user: &'a str,
    pub(super) device: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ip_prefix: Option<String>,
}

#[derive(Serialize)]
struct Named<'a> {
    id: &'a str,
    #[serde(flatten)]
    question: &'a Question<'a>,
}

#[derive(Deserialize)]
struct Said {
    allow: bool,
    ttl: Option<f64>,
    reason: Option<String>,
    attrs: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "limits::read")]
    limits: Option<Limits>,
}

/// What the backend said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They may.
    Allowed(Leave),
    /// They may not, and perhaps why.
    Denied(Option<Box<str>>),
}

/// What goes with leave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leave {
    /// A JSON object for the call or the member.
    pub(super) attrs: Option<Bytes>,
    /// No more than this.
    pub(super) limits: Limits,
}

/// Why the backend cannot be asked at all.
#[derive(Debug, Error)]
pub(super) enum BackendError {
    #[error("is no URL: {0}")]
    Url(#[from] axum::http::uri::InvalidUri),
    #[error("signal.authorize_ca_file = {0}")]
    Authorities(#[from] AuthoritiesError),
    #[error("the certificate authorities of this machine cannot be read: {0}; set signal.authorize_ca_file")]
    System(#[from] io::Error),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

use std::io;

impl Backend {
    /// `None` if none is configured.
    pub(super) fn new(config: &Authorize) -> Result<Option<Self>, BackendError> {
        let Some(url) = &config.url else { return Ok(None) };
        let url: Uri = url.parse()?;
        let mut run = [0; 8];
        getrandom::fill(&mut run).map_err(io::Error::other)?;
        Ok(Some(Self {
            client: client(&url, config.ca_file.as_deref())?,
            config: config.clone(),
            url,
            places: Semaphore::new(IN_FLIGHT_MAX),
            breaker: Mutex::default(),
            remembered: Mutex::new(Recent::new(REMEMBERED_HALF)),
            forgotten: AtomicU64::new(0),
            failures: Seldom::new(Duration::from_secs(10)),
            start: Instant::now(),
            run: u64::from_le_bytes(run),
            asked: AtomicU64::new(0),
        }))
    }

    /// Whether it was made from this.
    pub(super) fn is_of(&self, config: &Authorize) -> bool {
        self.config == *config
    }

    /// What the backend says, or said a short while ago. `Err`: nothing, so nothing is allowed.
    pub(super) async fn ask(
        &self,
        question: &Question<'_>,
        context: Context<'_>,
    ) -> (DecisionResult, Option<Verdict>) {
        let key = Key { kind: question.kind, from: question.from.user.into(), to: question.to.clone() };
        if let Some(verdict) = self.recall(&key) {
            return (DecisionResult::Remembered, Some(verdict));
        }
        if !self.breaker().may_ask(Instant::now()) {
            return self.stale(&key, context).map_or((DecisionResult::Open, None), stale);
        }
        let generation = self.forgotten.load(Ordering::Acquire);
        let said = timeout(self.config.timeout, self.send(question, context.traceparent))
            .await
            .unwrap_or(Err(DecisionResult::Late));
        if self.breaker().done(Instant::now(), said.is_ok()) {
            tracing::error!(
                "The backend does not answer questions: it is left alone for a while, and nothing is allowed."
            );
        }
        match said {
            Ok(said) => {
                let verdict = self.remember(key, said, generation);
                let result = match &verdict {
                    Verdict::Allowed(_) => DecisionResult::Allowed,
                    Verdict::Denied(_) => DecisionResult::Denied,
                };
                (result, Some(verdict))
            }
            Err(result) => {
                if let Some(suppressed) = self.failures.permit(self.start.elapsed()) {
                    let reason = result.as_str();
                    tracing::warn!(
                        reason,
                        suppressed,
                        "The backend did not answer a question; that was a no."
                    );
                }
                self.stale(&key, context).map_or((result, None), stale)
            }
        }
    }

    /// Forgets what was said of a user, or all of it.
    pub(super) fn forget(&self, user: Option<&str>) {
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        match user {
            None => remembered.clear(),
            Some(user) => remembered.retain(|key, _| {
                let is_callee = matches!(&key.to, Some(To::User(callee)) if **callee == *user);
                *key.from != *user && !is_callee
            }),
        }
    }

    /// Whether it is left alone at present.
    pub(super) fn is_open(&self) -> bool {
        self.breaker().is_open()
    }

    fn recall(&self, key: &Key) -> Option<Verdict> {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = remembered.get(key)?;
        (Instant::now() < entry.until).then(|| entry.verdict.clone())
    }

    /// What it last said to a user in a call, if that was a yes not too long ago: running calls outlive its outages.
    fn stale(&self, key: &Key, context: Context<'_>) -> Option<Verdict> {
        let is_of_call = matches!(key.kind, DecisionKind::Connect | DecisionKind::Turn);
        if !(context.is_in_call && is_of_call) || self.config.stale_allow.is_zero() {
            return None;
        }
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = remembered.get(key)?;
        let is_fine = matches!(entry.verdict, Verdict::Allowed(_))
            && Instant::now() < entry.until + self.config.stale_allow;
        is_fine.then(|| entry.verdict.clone())
    }

    fn remember(&self, key: Key, said: Said, generation: u64) -> Verdict {
        let ttl = said.ttl.filter(|ttl| ttl.is_finite()).map(|ttl| ttl.clamp(0.0, 3600.0));
        let (verdict, ttl) = if said.allow {
            let attrs = said.attrs.map(|attrs| Bytes::copy_from_slice(attrs.get().as_bytes()));
            (
                Verdict::Allowed(Leave { attrs, limits: said.limits.unwrap_or_default() }),
                Duration::from_secs_f64(ttl.unwrap_or(0.0)).min(self.config.allow_ttl_max),
            )
        } else {
            let max = self.config.deny_ttl_max;
            (
                Verdict::Denied(said.reason.as_deref().map(shown)),
                ttl.map_or(max, |ttl| Duration::from_secs_f64(ttl).min(max)),
            )
        };
        // What is not good any more is what users in a call may fall back on.
        if !ttl.is_zero() || !self.config.stale_allow.is_zero() {
            let entry = Remembered { verdict: verdict.clone(), until: Instant::now() + ttl };
            let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
            if self.forgotten.load(Ordering::Acquire) == generation {
                remembered.insert(key, entry);
            }
        }
        verdict
    }

    async fn send(&self, question: &Question<'_>, traceparent: Option<&str>) -> Result<Said, DecisionResult> {
        let Ok(_place) = self.places.acquire().await else { return Err(DecisionResult::Unreachable) };
        let id = format!("ask_{:016x}{:x}", self.run, self.asked.fetch_add(1, Ordering::Relaxed));
        let body = serde_json::to_vec(&Named { id: &id, question }).map_err(|_| DecisionResult::Malformed)?;
        let body = Bytes::from(body);
        let response = match self.client.request(self.request(&id, &body, traceparent)?).await {
            // Nothing has been asked yet.
            Err(error) if error.is_connect() => {
                self.client.request(self.request(&id, &body, traceparent)?).await
            }
            answered => answered,
        };
        let response = response.map_err(|_| DecisionResult::Unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(DecisionResult::Status);
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|_| DecisionResult::Malformed)?.to_bytes();
        let said: Said = serde_json::from_slice(&body).map_err(|_| DecisionResult::Malformed)?;
        let is_object =
            |attrs: &RawValue| attrs.get().starts_with('{') && attrs.get().len() <= ATTRS_BYTES_MAX;
        if said.limits.as_ref().is_some_and(|limits| !limits.are_fine()) {
            return Err(DecisionResult::Malformed);
        }
        match &said.attrs {
            Some(attrs) if attrs.get() != "null" && !is_object(attrs) => Err(DecisionResult::Malformed),
            Some(attrs) if attrs.get() == "null" => Ok(Said { attrs: None, ..said }),
            Some(_) | None => Ok(said),
        }
    }

    fn request(
        &self,
        id: &str,
        body: &Bytes,
        traceparent: Option<&str>,
    ) -> Result<Request<Full<Bytes>>, DecisionResult> {
        let now = unix_seconds();
        let mut request = Request::post(self.url.clone());
        if let Some(traceparent) = traceparent {
            request = request.header(TRACEPARENT, traceparent);
        }
        request
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("iceway/", env!("CARGO_PKG_VERSION")))
            .header(ID_HEADER, id)
            .header(TIMESTAMP_HEADER, now)
            .header(SIGNATURE_HEADER, sign_with_all(&self.config.secrets, id, now, body))
            .body(Full::new(body.clone()))
            .map_err(|_| DecisionResult::Unreachable)
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("url", &self.url).finish_non_exhaustive()
    }
}

fn client(
    url: &Uri,
    ca_file: Option<&Path>,
) -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, BackendError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let tls = match ca_file {
        Some(path) => builder.with_root_certificates(read_authorities(path)?).with_no_client_auth(),
        // Only HTTPS needs them.
        None if url.scheme_str() == Some("http") => {
            builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
        }
        None => builder.with_native_roots()?.with_no_client_auth(),
    };
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(IDLE_CONNECTIONS_MAX).build(connector))
}

const fn stale(verdict: Verdict) -> (DecisionResult, Option<Verdict>) {
    (DecisionResult::Stale, Some(verdict))
}

fn shown(reason: &str) -> Box<str> {
    let text: String = reason.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect();
    text.into()
}

fn kind_name<S: serde::Serializer>(kind: &DecisionKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.as_str())
}
