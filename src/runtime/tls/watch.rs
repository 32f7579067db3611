//! Notices that the certificate was renewed.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

use super::store::{Stamp, TlsStore, unix_now};

/// How often the files are looked at: two `stat` calls.
const PERIOD: Duration = Duration::from_secs(2);

/// How long to wait before files that could not be used, and did not change, are tried again: a certificate may have
/// become valid, or a disk be back.
const RETRY: Duration = Duration::from_secs(60);

/// Rereads the certificate when its files change, for as long as it is polled.
///
/// Files are read only after they have stayed the same for one period, so one that is half written, or a pair of which
/// only one is new, is not taken for a broken one.
pub(crate) async fn watch(store: Arc<TlsStore>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watcher = Watcher::new(store);
    loop {
        ticks.tick().await;
        watcher.look(Instant::now());
    }
}

#[derive(Debug)]
struct Watcher {
    store: Arc<TlsStore>,
    /// Changed files, as they were at the last look.
    changed: Option<Stamp>,
    /// When to try again what could not be used, and what was said about it.
    failure: Option<(Instant, String)>,
    expiry_told: Option<u64>,
}

impl Watcher {
    fn new(store: Arc<TlsStore>) -> Self {
        Self { store, changed: None, failure: None, expiry_told: None }
    }

    fn look(&mut self, now: Instant) {
        self.tell_expiry();
        let stamp = self.store.stamp();
        if stamp == self.store.read_stamp() {
            self.changed = None;
            if self.failure.as_ref().is_some_and(|(retry, _)| *retry <= now) {
                self.reload(now);
            }
        } else if self.changed.replace(stamp) == Some(stamp) {
            self.changed = None;
            self.reload(now);
        }
    }

    fn reload(&mut self, now: Instant) {
        self.failure = match self.store.reload() {
            Ok(()) => None,
            Err(error) => {
                let error = error.to_string();
                if self.failure.as_ref().is_none_or(|(_, told)| *told != error) {
                    warn!(%error, "The new certificate cannot be used; the old one stays.");
                }
                Some((now + RETRY, error))
            }
        };
    }

    /// Says once that the certificate in use has expired.
    fn tell_expiry(&mut self) {
        let not_after = self.store.status().not_after;
        if not_after < unix_now() && self.expiry_told != Some(not_after) {
            self.expiry_told = Some(not_after);
            warn!(certificate = %self.store.path().display(), not_after, "The certificate in use has expired. Renew it.");
        }
    }
}
