//! Events and calls as the rest of a node uses them.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::watch;

use super::{CallHistory, CallPage, EventFigures, EventNews, PendingEvent, Place, SignalEvent};
use crate::{
    cluster::{Cluster, RequestError, StoreError},
    signaling,
};

/// Why events and calls cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// Those of all nodes cannot be reached.
    #[error(transparent)]
    Peers(#[from] RequestError),
    /// The file cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Cluster {
    /// What the signaling relay told, as it is recorded.
    #[must_use]
    pub fn signal_event(&self, event: &signaling::Event) -> SignalEvent {
        SignalEvent::of(event, self.id(), self.run())
    }

    /// A new event of something else that happened now.
    #[must_use]
    pub fn own_event(&self, kind: &str) -> SignalEvent {
        let number = self.inner.outbox.next_number();
        SignalEvent::new(kind, crate::cluster::clock::unix_millis(), self.id(), (self.run(), number))
    }

    /// Whether the backend wants to know of this type of event. Where it does not, only calls need to be recorded.
    #[must_use]
    pub fn is_told(&self, kind: &str) -> bool {
        self.inner.state.config().webhooks.delivers(kind)
    }

    /// Keeps events for the backend and for the history of calls, in the order of the calls of this function. What is
    /// answered resolves when they are kept: in the file, in Redis, or, without both, in memory. What cannot be kept is
    /// counted and logged, and then it resolves too.
    pub fn record_events(&self, events: Vec<SignalEvent>) -> BoxFuture<'static, ()> {
        let inner = Arc::clone(&self.inner);
        let is_shared = inner.peers.events().is_some();
        let keeping = inner.outbox.record(&events, &inner.state.config(), &inner.state.store, is_shared);
        let count = events.len();
        async move { inner.outbox.settle(count, keeping.await) }.boxed()
    }

    /// The partitions whose events this node is to deliver: a bit for each of 16.
    #[must_use]
    pub fn event_partitions(&self) -> watch::Receiver<u16> {
        self.inner
            .peers
            .events()
            .map_or_else(|| self.inner.outbox.partitions.subscribe(), |peers| peers.partitions())
    }

    /// Counts up for a partition when there may be new events to deliver in it.
    #[must_use]
    pub fn event_news(&self) -> watch::Receiver<EventNews> {
        self.inner.peers.events().map_or_else(|| self.inner.outbox.news.subscribe(), |peers| peers.news())
    }

    /// Says whether this node delivers events; before that it is given none that other nodes could deliver.
    pub fn set_delivering_events(&self, is_delivering: bool) {
        if let Some(peers) = self.inner.peers.events() {
            peers.set_delivering(is_delivering);
        }
    }

    /// At most `limit` events of a partition that wait after a place, in their order.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub async fn pending_events(
        &self,
        partition: u8,
        after: Place,
        limit: usize,
    ) -> Result<Vec<PendingEvent>, OutboxError> {
        if let Some(peers) = self.inner.peers.events() {
            return Ok(peers.pending(partition, after, limit).await?);
        }
        let page = self.inner.outbox.local(&self.inner.state.store).pending(after, limit).await?;
        // What once waited for Redis, and needs telling to nobody, is told to nobody.
        let (told, rest): (Vec<_>, Vec<_>) = page.into_iter().partition(|(_, kept)| kept.is_delivered);
        if !rest.is_empty() {
            let places = rest.into_iter().map(|(place, _)| place).collect();
            self.inner.outbox.local(&self.inner.state.store).remove(places)?;
        }
        Ok(told.into_iter().map(PendingEvent::local).collect())
    }

    /// Removes events that have been delivered.
    ///
    /// # Errors
    /// [`OutboxError`]: they will be delivered again.
    pub async fn remove_events(&self, partition: u8, places: Vec<Place>) -> Result<(), OutboxError> {
        if let Some(peers) = self.inner.peers.events() {
            return Ok(peers.remove(partition, places).await?);
        }
        let places = places.iter().filter_map(|place| u64::try_from(place.0).ok()).collect();
        Ok(self.inner.outbox.local(&self.inner.state.store).remove(places)?)
    }

    /// Gives an event up: it is kept among the dead letters.
    ///
    /// # Errors
    /// [`OutboxError`]: it still waits.
    pub async fn bury_event(&self, partition: u8, event: PendingEvent) -> Result<(), OutboxError> {
        let outbox = &self.inner.outbox;
        if let Some(peers) = self.inner.peers.events() {
            peers.bury(partition, event).await?;
            return Ok(());
        }
        let place = u64::try_from(event.place.0).unwrap_or_default();
        let dropped = outbox.local(&self.inner.state.store).bury(place, &outbox.bounds).await?;
        outbox.settle(0, Ok(dropped));
        Ok(())
    }

    /// Has the dead letters of `from` (milliseconds since the Unix epoch) and later delivered again; answers how many.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub async fn replay_events(&self, from: u64) -> Result<u64, OutboxError> {
        if let Some(peers) = self.inner.peers.events() {
            return Ok(peers.replay(from).await?);
        }
        let count = self.inner.outbox.local(&self.inner.state.store).replay(from).await?;
        self.inner.outbox.tell_news();
        Ok(count)
    }

    /// How many dead letters there are.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub async fn dead_events(&self) -> Result<u64, OutboxError> {
        if let Some(peers) = self.inner.peers.events() {
            return Ok(peers.dead().await?);
        }
        Ok(self.inner.outbox.local(&self.inner.state.store).dead().await?)
    }

    /// At most `limit` calls, of all nodes, that changed after a place; each as it is now.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub async fn calls(&self, since: u64, limit: usize) -> Result<CallPage, OutboxError> {
        if let Some(peers) = self.inner.peers.events() {
            return Ok(peers.calls(since, limit).await?);
        }
        Ok(self.inner.outbox.local(&self.inner.state.store).calls(since, limit).await?)
    }

    /// A call with its steps; `None` if it is not, or no longer, known.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub async fn call(&self, id: &str) -> Result<Option<CallHistory>, OutboxError> {
        if let Some(peers) = self.inner.peers.events() {
            return Ok(peers.call(id.to_owned()).await?);
        }
        Ok(self.inner.outbox.local(&self.inner.state.store).call(id).await?)
    }

    /// What happened to calls and events so far.
    #[must_use]
    pub fn event_figures(&self) -> EventFigures {
        let mut figures = self.inner.outbox.figures.get();
        figures.dropped_full += self.inner.peers.events().map_or(0, |peers| peers.dropped());
        figures
    }
}
