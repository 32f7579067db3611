//! Ending in order: clients are told, and go elsewhere.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::{Instant, sleep};

use super::Signal;
use crate::signaling::Server;

/// How often is looked whether all are gone.
const LOOK_PERIOD: Duration = Duration::from_millis(50);
/// How long handing sessions over may take.
const HAND_OVER_MAX: Duration = Duration::from_secs(1);

impl Signal {
    /// Tells every client to go elsewhere and gives it ICE servers of other nodes; closes the sockets spread over
    /// `within`. New ones are refused from now on.
    pub(crate) fn drain(&self, within: Duration) {
        if self.counters.draining.swap(true, Ordering::Relaxed) {
            return;
        }
        self.hub.with(|server, now| server.drain(now, within));
    }

    /// Takes new clients again. Those that were told to go still do.
    pub(crate) fn stop_drain(&self) {
        if self.counters.draining.swap(false, Ordering::Relaxed) {
            self.hub.with(|server, _| server.stop_drain());
        }
    }

    /// Whether clients are sent elsewhere.
    pub(crate) fn is_draining(&self) -> bool {
        self.counters.draining.load(Ordering::Relaxed)
    }

    /// Waits until no socket is left, but not for longer than this; answers how many are. Sessions whose clients have
    /// not come back yet, and their calls, go to other nodes: nothing is left here that ends with this one.
    pub(crate) async fn drained(&self, time_max: Duration) -> usize {
        let end = Instant::now() + time_max;
        loop {
            let left = self.hub.sockets();
            if left == 0 || Instant::now() >= end {
                self.hand_over().await;
                return left;
            }
            sleep(LOOK_PERIOD).await;
        }
    }

    /// Hands the sessions over that wait for their clients, and waits until other nodes have them.
    async fn hand_over(&self) {
        let sessions = self.hub.with(Server::hand_all_over);
        let end = Instant::now() + HAND_OVER_MAX;
        while !self.hub.look(Server::is_linked_up) && Instant::now() < end {
            sleep(LOOK_PERIOD).await;
        }
        if sessions > 0 {
            tracing::info!(sessions, "Sessions whose clients are not back yet were handed to other nodes.");
        }
    }
}
