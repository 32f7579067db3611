//! The keys of an issuer, fetched from where it publishes them (RFC 7517 §5).

mod fetch;
mod schedule;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use fetch::Source;
use schedule::{Plan, Schedule};

pub(super) use fetch::SourceError;

use super::recent::Recent;
use crate::{
    api::counters::{ApiCounters, JwksRefresh},
    credentials::jwt::KeySet,
    telemetry::Seldom,
};

/// A key id that nobody knows has the keys fetched at most so often.
const UNKNOWN_PERIOD: Duration = Duration::from_secs(30);
/// For so long a key id that was not found is not looked for again.
const UNKNOWN_TIME: Duration = Duration::from_secs(300);
const UNKNOWN_HALF: usize = 512;

/// Keeps the keys of one issuer fresh. Nothing runs while nobody asks.
pub(super) struct Jwks {
    source: Source,
    schedule: Mutex<Schedule>,
    /// Held while the keys are fetched, so that nobody else does it at the same time.
    flight: tokio::sync::Mutex<()>,
    /// How often they were fetched or tried to.
    attempts: AtomicU64,
    is_renewing: AtomicBool,
    unknown: Mutex<Unknown>,
    counters: Arc<ApiCounters>,
    failures: Seldom,
    start: Instant,
    /// By how many seconds a test is ahead of the clock.
    #[cfg(test)]
    ahead: AtomicU64,
}

#[derive(Debug)]
struct Unknown {
    /// When the next fetch for one of them may be.
    next: Option<Instant>,
    ids: Recent<Box<str>, Instant>,
}

/// There are no keys, and there will be none for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unavailable(pub(super) Duration);

impl std::fmt::Debug for Jwks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jwks").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Jwks {
    /// Keys from `url`; its server is proved by the authorities in `ca_file`, or by those of the system.
    pub(super) fn new(
        url: &str,
        ca_file: Option<&PathBuf>,
        counters: Arc<ApiCounters>,
    ) -> Result<Arc<Self>, SourceError> {
        Ok(Arc::new(Self {
            source: Source::new(url, ca_file)?,
            schedule: Mutex::default(),
            flight: tokio::sync::Mutex::default(),
            attempts: AtomicU64::new(0),
            is_renewing: AtomicBool::new(false),
            unknown: Mutex::new(Unknown { next: None, ids: Recent::new(UNKNOWN_HALF) }),
            counters,
            failures: Seldom::new(Duration::from_secs(60)),
            start: Instant::now(),
            #[cfg(test)]
            ahead: AtomicU64::new(0),
        }))
    }

    /// The keys to prove a token with that names this key: if it is not among those that are there, newer ones, but
    /// not too often.
    pub(super) async fn keys(self: &Arc<Self>, id: Option<&str>) -> Result<Arc<KeySet>, Unavailable> {
        let seen = self.attempts.load(Ordering::Acquire);
        let keys = self.current().await?;
        let Some(id) = id.filter(|id| !keys.has(id)) else { return Ok(keys) };
        let was_fetched_for_this = self.attempts.load(Ordering::Acquire) != seen;
        if was_fetched_for_this || !self.may_look_for(id, self.now()) {
            return Ok(keys);
        }
        self.fetch(seen).await;
        let keys = self.schedule(|schedule| schedule.keys(self.now())).ok_or(Unavailable(UNKNOWN_PERIOD))?;
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.has(id) {
            unknown.ids.clear();
        } else {
            unknown.ids.insert(id.into(), self.now() + UNKNOWN_TIME);
        }
        Ok(keys)
    }

    /// Counts up whenever the keys may be others: what was proved by earlier ones is to be proved anew.
    pub(super) fn generation(&self) -> u64 {
        self.schedule(|schedule| schedule.generation(self.now()))
    }

    async fn current(self: &Arc<Self>) -> Result<Arc<KeySet>, Unavailable> {
        let now = self.now();
        match self.schedule(|schedule| schedule.plan(now)) {
            Plan::Use(keys) => return Ok(keys),
            Plan::Renew(keys) => {
                self.renew();
                return Ok(keys);
            }
            Plan::Wait(wait) => return Err(Unavailable(wait)),
            Plan::Fetch => {}
        }
        self.fetch(self.attempts.load(Ordering::Acquire)).await;
        let now = self.now();
        self.schedule(|schedule| schedule.keys(now).ok_or_else(|| Unavailable(schedule.wait(now))))
    }

    /// Fetches the keys while requests go on with those that are there.
    fn renew(self: &Arc<Self>) {
        if self.is_renewing.swap(true, Ordering::AcqRel) {
            return;
        }
        let jwks = Arc::clone(self);
        let seen = jwks.attempts.load(Ordering::Acquire);
        tokio::spawn(async move {
            jwks.fetch(seen).await;
            jwks.is_renewing.store(false, Ordering::Release);
        });
    }

    /// Fetches the keys, unless somebody did since `seen`; then their result counts.
    async fn fetch(&self, seen: u64) {
        let _flight = self.flight.lock().await;
        if self.attempts.load(Ordering::Acquire) != seen {
            return;
        }
        let fetched = self.source.fetch().await;
        let now = self.now();
        match fetched {
            Ok(fetched) => {
                self.counters.jwks(JwksRefresh::Success);
                tracing::debug!(keys = fetched.keys.len(), "The issuer's keys were fetched.");
                self.schedule(|schedule| schedule.fetched(Arc::new(fetched.keys), fetched.ttl, now));
            }
            Err(error) => {
                self.counters.jwks(error.result());
                if let Some(suppressed) = self.failures.permit(now - self.start) {
                    tracing::warn!(%error, suppressed, "The issuer's keys cannot be fetched from jwt.jwks_url.");
                }
                self.schedule(|schedule| schedule.failed(now));
            }
        }
        self.attempts.fetch_add(1, Ordering::AcqRel);
    }

    fn now(&self) -> Instant {
        let now = Instant::now();
        #[cfg(test)]
        let now = now + Duration::from_secs(self.ahead.load(Ordering::Relaxed));
        now
    }

    fn may_look_for(&self, id: &str, now: Instant) -> bool {
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known_to_be_unknown = unknown.ids.get(id).is_some_and(|until| *until > now);
        if is_known_to_be_unknown || unknown.next.is_some_and(|next| next > now) {
            return false;
        }
        unknown.next = Some(now + UNKNOWN_PERIOD);
        true
    }

    fn schedule<T>(&self, act: impl FnOnce(&mut Schedule) -> T) -> T {
        act(&mut self.schedule.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests;
