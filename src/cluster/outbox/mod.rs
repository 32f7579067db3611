//! What happened: kept until the backend has been told, and for whoever asks about calls.
//!
//! Events are kept in memory, in the store's file, or in Redis for all nodes; there they wait in partitions, each of which
//! one node delivers at a time. While Redis cannot be reached they wait in the file or in memory, and are handed on in
//! their order. Whatever is kept has a bound, and what had to go for it is counted.

mod access;
mod event;
mod figures;
mod kept;
mod local;
mod memory;
mod peers;
#[cfg(test)]
mod tests;
mod views;
mod writer;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use tokio::sync::{mpsc, oneshot, watch};

pub use access::OutboxError;
pub use event::{EVENT_TYPES, SignalEvent};
pub use figures::{EventFigures, OUTCOMES};
pub use kept::{EventNews, KeptEvent, PendingEvent, Place};
pub use peers::EventPeers;
pub use views::{CallStepView, CallView, CredentialView, PartyView, RevocationView};

pub(super) use kept::{PARTITIONS, STEPS_MAX};
pub(super) use memory::put_step;

use self::{figures::Figures, local::Local, memory::Memory};
use super::{StoreError, store::Store};
use crate::{
    config::Config,
    telemetry::{Seldom, uptime},
};

/// Events that wait in memory when there is no file.
const MEMORY_PENDING_MAX: u64 = 50_000;
/// Calls that are remembered in memory when there is no file.
const MEMORY_CALLS_MAX: u64 = 20_000;
/// Batches of events on their way to Redis.
const QUEUE_MAX: usize = 16_384;
/// Where the numbers of events begin that are not the signaling relay's.
const OWN_NUMBERS: u64 = 1 << 48;
/// How often the log says that events are lost.
const LOST_EVERY: Duration = Duration::from_secs(60);

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutboxBounds {
    pub(super) pending_max: u64,
    pub(super) dead_max: u64,
    pub(super) calls_max: u64,
    pub(super) retention: Duration,
}

impl OutboxBounds {
    /// Of all nodes together, or of a node with a file.
    pub(super) fn of_all(config: &Config) -> Self {
        Self {
            pending_max: config.webhooks.pending_max,
            dead_max: config.webhooks.dead_max,
            calls_max: config.calls.records_max,
            retention: config.calls.retention,
        }
    }
}

/// Some calls in the order of their last change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallPage {
    /// Each with the place of its last change: microseconds since the Unix epoch, and no other's.
    pub calls: Vec<(u64, CallView)>,
    /// Whether there are more after the last one.
    pub has_more: bool,
}

/// A call with its steps.
pub type CallHistory = (CallView, Vec<CallStepView>);

/// The events of one node.
pub(super) struct Outbox {
    pub(super) bounds: OutboxBounds,
    /// `None` has them in the store's file.
    memory: Option<Mutex<Memory>>,
    figures: Figures,
    numbers: AtomicU64,
    news: watch::Sender<EventNews>,
    /// Of a node alone: all of them.
    partitions: watch::Sender<u16>,
    queue: mpsc::Sender<Batch>,
    /// Until somebody takes it to hand events on.
    batches: Mutex<Option<mpsc::Receiver<Batch>>>,
    lost: Seldom,
}

/// Events on their way to Redis, and who waits for them.
struct Batch {
    events: Vec<KeptEvent>,
    reply: oneshot::Sender<()>,
}

impl Outbox {
    pub(super) fn new(config: &Config, pseudonym_key: [u8; 32]) -> Self {
        let has_file = config.store.path.is_some();
        let mut bounds = OutboxBounds::of_all(config);
        if !has_file {
            bounds.pending_max = bounds.pending_max.min(MEMORY_PENDING_MAX);
            bounds.dead_max = bounds.dead_max.min(MEMORY_PENDING_MAX);
            bounds.calls_max = bounds.calls_max.min(MEMORY_CALLS_MAX);
        }
        let (queue, batches) = mpsc::channel(QUEUE_MAX);
        Self {
            bounds,
            memory: (!has_file).then(Mutex::default),
            figures: Figures::new(pseudonym_key),
            numbers: AtomicU64::new(OWN_NUMBERS),
            news: watch::Sender::new([0; PARTITIONS as usize]),
            partitions: watch::Sender::new(1),
            queue,
            batches: Mutex::new(Some(batches)),
            lost: Seldom::new(LOST_EVERY),
        }
    }

    fn local<'a>(&'a self, store: &'a Store) -> Local<'a> {
        self.memory.as_ref().map_or(Local::File(store), Local::Memory)
    }

    fn tell_news(&self) {
        self.news.send_modify(|news| {
            let [first, ..] = news;
            *first = first.wrapping_add(1);
        });
    }

    /// A number for an event that is not the signaling relay's.
    pub(super) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Keeps events; what is answered resolves when they are kept, or known to be lost. They have their place among the
    /// others when this returns.
    fn record(
        &self,
        events: &[SignalEvent],
        config: &Config,
        store: &Store,
        is_shared: bool,
    ) -> BoxFuture<'static, Result<u64, StoreError>> {
        let kept: Vec<KeptEvent> = events
            .iter()
            .inspect(|event| self.figures.happened(event))
            .filter_map(|event| KeptEvent::of(event, config.webhooks.delivers(&event.kind)))
            .filter(|kept| kept.is_delivered || kept.is_listed)
            .collect();
        if kept.is_empty() {
            return ready(Ok(0)).boxed();
        }
        if is_shared {
            return self.queue(kept);
        }
        let kept = self.local(store).append(kept, false, &self.bounds);
        self.tell_news();
        match kept {
            Ok(keeping) => keeping.kept().boxed(),
            Err(error) => ready(Err(error)).boxed(),
        }
    }

    fn queue(&self, events: Vec<KeptEvent>) -> BoxFuture<'static, Result<u64, StoreError>> {
        let (reply, kept) = oneshot::channel();
        match self.queue.try_send(Batch { events, reply }) {
            Ok(()) => async move { kept.await.map(|()| 0).map_err(|_| StoreError::Closed) }.boxed(),
            Err(_) => ready(Err(StoreError::Busy)).boxed(),
        }
    }

    /// Counts what was lost, and says so now and then.
    fn settle(&self, count: usize, kept: Result<u64, StoreError>) {
        match kept {
            Ok(0) => return,
            Ok(dropped) => {
                self.figures.dropped_full.fetch_add(dropped, Ordering::Relaxed);
                return;
            }
            Err(StoreError::Busy | StoreError::Full(_)) => &self.figures.dropped_busy,
            Err(StoreError::Write { .. } | StoreError::Closed) => &self.figures.dropped_store,
        }
        .fetch_add(count as u64, Ordering::Relaxed);
        if let Some(suppressed) = self.lost.permit(uptime()) {
            tracing::error!(
                suppressed,
                "Events cannot be kept and are lost: the backend is not told of them. Calls go on."
            );
        }
    }
}
