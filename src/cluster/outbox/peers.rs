//! Events that nodes share.

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{CallHistory, CallPage, EventNews, KeptEvent, PendingEvent, Place};
use crate::cluster::RequestError;

/// Where nodes keep events together, so that another one delivers what a dead one told.
pub trait EventPeers: Send + Sync + 'static {
    /// Keeps events in their order; `false`: they are not known to be kept.
    fn append(&self, events: Vec<KeptEvent>) -> BoxFuture<'_, bool>;

    /// The partitions whose events this node delivers: a bit for each.
    fn partitions(&self) -> watch::Receiver<u16>;

    /// Whether this node delivers events, so that it is given partitions.
    fn set_delivering(&self, is_delivering: bool);

    /// Counts up for a partition when there may be new events in it.
    fn news(&self) -> watch::Receiver<EventNews>;

    /// Some events of a partition after a place.
    fn pending(
        &self,
        partition: u8,
        after: Place,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<PendingEvent>, RequestError>>;

    /// Removes events.
    fn remove(&self, partition: u8, places: Vec<Place>) -> BoxFuture<'_, Result<(), RequestError>>;

    /// Gives an event up; answers how many older ones had to go.
    fn bury(&self, partition: u8, event: PendingEvent) -> BoxFuture<'_, Result<u64, RequestError>>;

    /// Has what was given up since `from` delivered again; answers how many.
    fn replay(&self, from: u64) -> BoxFuture<'_, Result<u64, RequestError>>;

    /// How many events were given up.
    fn dead(&self) -> BoxFuture<'_, Result<u64, RequestError>>;

    /// Calls that changed after a place.
    fn calls(&self, since: u64, limit: usize) -> BoxFuture<'_, Result<CallPage, RequestError>>;

    /// A call with its steps.
    fn call(&self, id: String) -> BoxFuture<'_, Result<Option<CallHistory>, RequestError>>;

    /// How many events and calls had to go for newer ones.
    fn dropped(&self) -> u64;
}
