//! What the backend is told of what happens, and how long calls are remembered.

use std::{path::PathBuf, time::Duration};

use crate::credentials::webhook::WebhookSecret;

/// Where events are delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhooks {
    /// Who is told; `None` (the default) tells nobody.
    pub url: Option<String>,
    /// Where `secrets` come from.
    pub secret_file: Option<PathBuf>,
    /// What requests are signed with: each by all of them.
    pub secrets: Vec<WebhookSecret>,
    /// Authorities for the server of `url`, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// What is told. Default: everything but credentials issued and allocations closed.
    pub events: Vec<EventFilter>,
    /// How long one attempt may take. Default 5 s.
    pub timeout: Duration,
    /// Requests at once. Default 16.
    pub parallel_max: usize,
    /// Waits before the second attempt and those after it; the last one is repeated. Default 5 s, 30 s, 2 m, 10 m, 1 h.
    pub retries: Vec<RetryWait>,
    /// How old an event may become before it is given up. Default 24 h.
    pub retry_for: Duration,
    /// Events that may wait; the oldest are dropped. Default 100 000.
    pub pending_max: u64,
    /// Events that were given up and are kept to be told again; the oldest are dropped. Default 10 000.
    pub dead_max: u64,
}

/// How long calls are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls {
    /// After the last change of a call. Default 24 h.
    pub retention: Duration,
    /// Calls that are remembered; the oldest are forgotten. Default 100 000.
    pub records_max: u64,
}

/// A type of event, or all that begin alike: `call.*`, `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFilter(pub String);

/// A wait before another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryWait(pub Duration);

impl Webhooks {
    /// Whether events of this type are delivered.
    #[must_use]
    pub fn delivers(&self, kind: &str) -> bool {
        self.url.is_some() && self.events.iter().any(|filter| filter.covers(kind))
    }

    /// The wait before the next attempt, after so many have failed.
    #[must_use]
    pub fn wait_after(&self, failed: u32) -> Duration {
        let last = self.retries.len().saturating_sub(1);
        let index = usize::try_from(failed.saturating_sub(1)).unwrap_or(usize::MAX).min(last);
        self.retries.get(index).map_or(Duration::from_secs(5), |wait| wait.0)
    }
}

impl EventFilter {
    /// Whether it means this type.
    #[must_use]
    pub fn covers(&self, kind: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => kind.starts_with(start),
            None => kind == self.0,
        }
    }
}

impl Default for Webhooks {
    fn default() -> Self {
        let events =
            ["call.*", "room.*", "session.*", "turn.credential.revoked", "limit.tripped", "node.draining"];
        Self {
            url: None,
            secret_file: None,
            secrets: Vec::new(),
            ca_file: None,
            events: events.map(|filter| EventFilter(filter.to_owned())).to_vec(),
            timeout: Duration::from_secs(5),
            parallel_max: 16,
            retries: [5, 30, 120, 600, 3600].map(|wait| RetryWait(Duration::from_secs(wait))).to_vec(),
            retry_for: Duration::from_secs(86_400),
            pending_max: 100_000,
            dead_max: 10_000,
        }
    }
}

impl Default for Calls {
    fn default() -> Self {
        Self { retention: Duration::from_secs(86_400), records_max: 100_000 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_the_last_is_repeated() {
        let webhooks = Webhooks::default();
        let waits: Vec<u64> = (1..=7).map(|failed| webhooks.wait_after(failed).as_secs()).collect();
        assert_eq!(waits, [5, 30, 120, 600, 3600, 3600, 3600]);
        assert!(!Webhooks { retries: Vec::new(), ..webhooks }.wait_after(1).is_zero());
    }

    #[test]
    fn a_filter_means_a_type_or_all_that_begin_alike() {
        let with = |url: Option<&str>| Webhooks { url: url.map(str::to_owned), ..Webhooks::default() };
        let webhooks = with(Some("https://backend.example/events"));
        assert!(webhooks.delivers("call.created") && webhooks.delivers("turn.credential.revoked"));
        assert!(!webhooks.delivers("turn.credential.issued") && !webhooks.delivers("turn.allocation.closed"));
        assert!(EventFilter("*".into()).covers("node.draining"));
        assert!(!with(None).delivers("call.created"), "nobody is told");
    }
}
