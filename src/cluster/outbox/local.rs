//! What a node keeps of events by itself: in memory, or in the store's file.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::{
    CallHistory, CallPage, OutboxBounds, PendingEvent,
    kept::{KeptEvent, Place},
    memory::Memory,
};
use crate::{
    cluster::{
        StoreError,
        clock::unix_millis,
        store::{EventCommand, Store},
    },
    telemetry::settled_millis,
};

/// Where events are.
pub(super) enum Local<'a> {
    Memory(&'a Mutex<Memory>),
    File(&'a Store),
}

/// An answer that is there already, or will be.
pub(super) enum Keeping {
    Done(u64),
    Waiting(oneshot::Receiver<Result<u64, StoreError>>),
}

impl Keeping {
    /// How many older events had to go.
    pub(super) async fn kept(self) -> Result<u64, StoreError> {
        match self {
            Self::Done(dropped) => Ok(dropped),
            Self::Waiting(answer) => answer.await.unwrap_or(Err(StoreError::Closed)),
        }
    }
}

impl Local<'_> {
    /// Keeps events: to be delivered from here, or (`is_spool`) to be handed on. They have their place when this
    /// returns.
    pub(super) fn append(
        &self,
        events: Vec<KeptEvent>,
        is_spool: bool,
        bounds: &OutboxBounds,
    ) -> Result<Keeping, StoreError> {
        match self {
            Self::Memory(memory) => {
                let mut memory = lock(memory);
                let dropped = if is_spool {
                    memory.spool(events, bounds, now_micros())
                } else {
                    memory.append(events, bounds, now_micros())
                };
                Ok(Keeping::Done(dropped))
            }
            Self::File(store) => {
                let (reply, answer) = oneshot::channel();
                store.command(EventCommand::Append { events, is_spool, bounds: *bounds, reply })?;
                Ok(Keeping::Waiting(answer))
            }
        }
    }

    /// Some events after a place.
    pub(super) async fn pending(
        &self,
        after: Place,
        limit: usize,
    ) -> Result<Vec<(u64, KeptEvent)>, StoreError> {
        let after = u64::try_from(after.0).unwrap_or(u64::MAX);
        match self {
            Self::Memory(memory) => Ok(lock(memory).pending(after, limit)),
            Self::File(store) => ask(store, |reply| EventCommand::Page { after, limit, reply }).await,
        }
    }

    /// Removes events. Nobody is told when.
    pub(super) fn remove(&self, places: Vec<u64>) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => lock(memory).remove(&places),
            Self::File(store) => store.command(EventCommand::Remove(places))?,
        }
        Ok(())
    }

    /// Gives an event up; answers how many of those before it had to go.
    pub(super) async fn bury(&self, place: u64, bounds: &OutboxBounds) -> Result<u64, StoreError> {
        match self {
            Self::Memory(memory) => Ok(lock(memory).bury(place, bounds)),
            Self::File(store) => {
                ask(store, |reply| EventCommand::Bury { place, bounds: *bounds, reply }).await
            }
        }
    }

    /// Has what was given up since then delivered again.
    pub(super) async fn replay(&self, from: u64) -> Result<u64, StoreError> {
        match self {
            Self::Memory(memory) => Ok(lock(memory).replay(from, now_micros())),
            Self::File(store) => ask(store, |reply| EventCommand::Replay { from, reply }).await,
        }
    }

    /// How many events were given up.
    pub(super) async fn dead(&self) -> Result<u64, StoreError> {
        match self {
            Self::Memory(memory) => Ok(lock(memory).dead()),
            Self::File(store) => ask(store, EventCommand::Dead).await,
        }
    }

    /// Calls that changed after a place.
    pub(super) async fn calls(&self, since: u64, limit: usize) -> Result<CallPage, StoreError> {
        match self {
            Self::Memory(memory) => Ok(lock(memory).calls(since, limit)),
            Self::File(store) => ask(store, |reply| EventCommand::Calls { since, limit, reply }).await,
        }
    }

    /// A call with its steps.
    pub(super) async fn call(&self, id: &str) -> Result<Option<CallHistory>, StoreError> {
        match self {
            Self::Memory(memory) => Ok(lock(memory).call(id)),
            Self::File(store) => {
                let id = id.to_owned();
                ask(store, |reply| EventCommand::Call { id, reply }).await
            }
        }
    }

    /// Forgets calls that have not changed for `calls.retention`.
    pub(super) fn prune(&self, bounds: &OutboxBounds) {
        let retention = u64::try_from(bounds.retention.as_micros()).unwrap_or(u64::MAX);
        let before = settled_millis().saturating_mul(1000).saturating_sub(retention);
        match self {
            Self::Memory(memory) => lock(memory).prune(before),
            // What finds no place now is forgotten the next time.
            Self::File(store) => store.command(EventCommand::Prune { before }).unwrap_or_default(),
        }
    }
}

impl PendingEvent {
    pub(super) fn local((place, kept): (u64, KeptEvent)) -> Self {
        kept.pending(Place(u128::from(place)))
    }
}

async fn ask<T>(
    store: &Store,
    command: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> EventCommand,
) -> Result<T, StoreError> {
    let (reply, answer) = oneshot::channel();
    store.command(command(reply))?;
    answer.await.unwrap_or(Err(StoreError::Closed))
}

fn now_micros() -> u64 {
    unix_millis().saturating_mul(1000)
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}
