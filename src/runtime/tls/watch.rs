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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::runtime::tls::fixture::{Directory, Issued};

    struct Fixture {
        directory: Directory,
        store: Arc<TlsStore>,
        watcher: Watcher,
        now: Instant,
    }

    impl Fixture {
        fn new() -> Self {
            let directory = Directory::new();
            directory.write(&Issued::new());
            let store = TlsStore::load(&directory.files()).unwrap().unwrap();
            Self { watcher: Watcher::new(Arc::clone(&store)), directory, store, now: Instant::now() }
        }

        /// Lets periods pass; says how often the certificate was replaced so far, and how often in vain.
        fn pass(&mut self, periods: u32) -> (u64, u64) {
            for _ in 0..periods {
                self.now += PERIOD;
                self.watcher.look(self.now);
            }
            let status = self.store.status();
            (status.reloads, status.reload_failures)
        }
    }

    #[test]
    fn unchanged_files_are_not_read_again() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.pass(100), (0, 0));
    }

    #[test]
    fn changed_files_are_read_once_they_have_settled() {
        let mut fixture = Fixture::new();
        fixture.directory.write(&Issued::new());
        assert_eq!(fixture.pass(1), (0, 0));
        assert_eq!(fixture.pass(1), (1, 0));
        assert_eq!(fixture.pass(100), (1, 0));
    }

    #[test]
    fn a_pair_written_one_after_the_other_is_not_taken_for_a_broken_one() {
        let mut fixture = Fixture::new();
        let next = Issued::new();
        let half = next.certificate.pem();
        fs::write(fixture.directory.certificate(), &half[..half.len() / 2]).unwrap();
        fixture.pass(1);
        fs::write(fixture.directory.certificate(), &half).unwrap();
        fixture.pass(1);
        fs::write(fixture.directory.key(), next.key.serialize_pem()).unwrap();
        assert_eq!(fixture.pass(1), (0, 0));
        assert_eq!(fixture.pass(1), (1, 0));
    }

    #[test]
    fn a_rename_and_a_turned_link_are_noticed() {
        let mut fixture = Fixture::new();
        let next = Directory::new();
        next.write(&Issued::new());
        fs::rename(next.certificate(), fixture.directory.certificate()).unwrap();
        fs::rename(next.key(), fixture.directory.key()).unwrap();
        assert_eq!(fixture.pass(2), (1, 0));
        next.write(&Issued::new());
        for (link, target) in
            [(fixture.directory.certificate(), next.certificate()), (fixture.directory.key(), next.key())]
        {
            fs::remove_file(&link).unwrap();
            std::os::unix::fs::symlink(target, link).unwrap();
        }
        assert_eq!(fixture.pass(2), (2, 0));
    }

    #[test]
    fn a_broken_file_is_tried_again_after_a_minute_or_when_it_changes() {
        let mut fixture = Fixture::new();
        fs::write(fixture.directory.key(), "broken").unwrap();
        assert_eq!(fixture.pass(2), (0, 1));
        assert_eq!(fixture.pass(29), (0, 1));
        assert_eq!(fixture.pass(2), (0, 2));
        fixture.directory.write(&Issued::new());
        assert_eq!(fixture.pass(2), (1, 2));
        assert_eq!(fixture.pass(100), (1, 2));
    }

    #[test]
    fn missing_files_are_waited_for() {
        let mut fixture = Fixture::new();
        fs::remove_file(fixture.directory.certificate()).unwrap();
        assert_eq!(fixture.pass(3), (0, 1));
        fixture.directory.write(&Issued::new());
        assert_eq!(fixture.pass(2), (1, 1));
    }
}
