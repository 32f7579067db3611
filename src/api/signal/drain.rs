//! Ending in order: clients are told, and go elsewhere.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::{Instant, sleep};

use super::Signal;

/// How often is looked whether all are gone.
const LOOK_PERIOD: Duration = Duration::from_millis(50);

impl Signal {
    /// Tells every client to go elsewhere and gives it ICE servers of other nodes; closes the sockets spread over
    /// `within`. New ones are refused from now on.
    pub(crate) fn drain(&self, within: Duration) {
        if self.counters.draining.swap(true, Ordering::Relaxed) {
            return;
        }
        self.hub.with(|server, now| server.drain(now, within));
    }

    /// Whether clients are sent elsewhere.
    pub(crate) fn is_draining(&self) -> bool {
        self.counters.draining.load(Ordering::Relaxed)
    }

    /// Waits until no socket is left, but not for longer than this; answers how many are.
    pub(crate) async fn drained(&self, time_max: Duration) -> usize {
        let end = Instant::now() + time_max;
        loop {
            let left = self.hub.sockets();
            if left == 0 || Instant::now() >= end {
                return left;
            }
            sleep(LOOK_PERIOD).await;
        }
    }
}
