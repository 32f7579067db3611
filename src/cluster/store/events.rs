//! Events and calls in the file.

use redb::{
    Database, ReadTransaction, ReadableTable as _, ReadableTableMetadata as _, TableDefinition,
    WriteTransaction,
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{StoreError, book::Fault};
use crate::cluster::{
    CallHistory, CallPage, CallStepView, CallView, KeptEvent, OutboxBounds, clock::unix_millis, put_step,
};

/// Events to be delivered or handed on, by their place, which only goes up.
const PENDING: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
/// Events that were given up, by their place.
const DEAD: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events_dead");
/// JSON of [`KnownCall`] by the call's id.
const CALLS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("calls");
/// Ids of calls by the place of their last change.
const ORDER: TableDefinition<'_, u64, &str> = TableDefinition::new("calls_order");

/// Calls that are forgotten by one transaction.
const PRUNED_MAX: usize = 1000;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the thread is asked to do with events.
pub(in crate::cluster) enum EventCommand {
    /// Keep them; answers how many older ones had to go.
    Append { events: Vec<KeptEvent>, is_spool: bool, bounds: OutboxBounds, reply: Reply<u64> },
    /// They have been delivered or handed on.
    Remove(Vec<u64>),
    /// It is given up; answers how many older ones had to go.
    Bury { place: u64, bounds: OutboxBounds, reply: Reply<u64> },
    /// What was given up of this time and later is to be delivered again; answers how many.
    Replay { from: u64, reply: Reply<u64> },
    /// Forget calls that did not change since then.
    Prune { before: u64 },
    /// Some events after a place.
    Page { after: u64, limit: usize, reply: Reply<Vec<(u64, KeptEvent)>> },
    /// How many were given up.
    Dead(Reply<u64>),
    /// Some calls after a place.
    Calls { since: u64, limit: usize, reply: Reply<CallPage> },
    /// One call.
    Call { id: String, reply: Reply<Option<CallHistory>> },
}

#[derive(Serialize, Deserialize)]
struct KnownCall {
    place: u64,
    call: CallView,
    steps: Vec<CallStepView>,
}

impl EventCommand {
    /// Whether somebody waits for it.
    pub(super) const fn is_awaited(&self) -> bool {
        match self {
            Self::Remove(_) | Self::Prune { .. } => false,
            Self::Append { .. }
            | Self::Bury { .. }
            | Self::Replay { .. }
            | Self::Page { .. }
            | Self::Dead(_)
            | Self::Calls { .. }
            | Self::Call { .. } => true,
        }
    }

    /// Whether it changes nothing.
    pub(super) const fn is_reading(&self) -> bool {
        match self {
            Self::Page { .. } | Self::Dead(_) | Self::Calls { .. } | Self::Call { .. } => true,
            Self::Append { .. }
            | Self::Remove(_)
            | Self::Bury { .. }
            | Self::Replay { .. }
            | Self::Prune { .. } => false,
        }
    }

    /// Does what changes something, and answers how many events that took.
    pub(super) fn apply(&self, write: &WriteTransaction, last: &mut u64) -> Result<u64, Fault> {
        match self {
            Self::Append { events, is_spool, bounds, .. } => append(write, events, *is_spool, bounds, last),
            Self::Remove(places) => {
                let mut pending = write.open_table(PENDING)?;
                for place in places {
                    pending.remove(place)?;
                }
                Ok(0)
            }
            Self::Bury { place, bounds, .. } => bury(write, *place, bounds),
            Self::Replay { from, .. } => replay(write, *from, last),
            Self::Prune { before } => prune(write, *before),
            Self::Page { .. } | Self::Dead(_) | Self::Calls { .. } | Self::Call { .. } => Ok(0),
        }
    }

    /// Tells what came of it.
    pub(super) fn answer(self, count: u64, read: &ReadTransaction, failed: &dyn Fn(Fault) -> StoreError) {
        match self {
            Self::Append { reply, .. } | Self::Bury { reply, .. } | Self::Replay { reply, .. } => {
                send(reply, Ok(count));
            }
            Self::Remove(_) | Self::Prune { .. } => {}
            Self::Page { after, limit, reply } => send(reply, page(read, after, limit).map_err(failed)),
            Self::Dead(reply) => send(reply, dead(read).map_err(failed)),
            Self::Calls { since, limit, reply } => send(reply, calls(read, since, limit).map_err(failed)),
            Self::Call { id, reply } => send(reply, call(read, &id).map_err(failed)),
        }
    }

    /// Tells that nothing came of it.
    pub(super) fn refuse(self, error: &StoreError) {
        match self {
            Self::Append { reply, .. }
            | Self::Bury { reply, .. }
            | Self::Replay { reply, .. }
            | Self::Dead(reply) => send(reply, Err(error.clone())),
            Self::Remove(_) | Self::Prune { .. } => {}
            Self::Page { reply, .. } => send(reply, Err(error.clone())),
            Self::Calls { reply, .. } => send(reply, Err(error.clone())),
            Self::Call { reply, .. } => send(reply, Err(error.clone())),
        }
    }
}

/// Makes the tables where there are none: a file of an earlier version has none of them. Answers the last place that is
/// in use.
pub(super) fn establish(database: &Database) -> Result<u64, Fault> {
    let write = database.begin_write()?;
    let last = {
        let pending = write.open_table(PENDING)?;
        let dead = write.open_table(DEAD)?;
        write.open_table(CALLS)?;
        let order = write.open_table(ORDER)?;
        let of = |last: Option<(redb::AccessGuard<'_, u64>, _)>| last.map_or(0, |(place, _)| place.value());
        let order_last = order.last()?.map_or(0, |(place, _)| place.value());
        of(pending.last()?).max(of(dead.last()?)).max(order_last)
    };
    write.commit()?;
    Ok(last)
}

fn append(
    write: &WriteTransaction,
    events: &[KeptEvent],
    is_spool: bool,
    bounds: &OutboxBounds,
    last: &mut u64,
) -> Result<u64, Fault> {
    let mut pending = write.open_table(PENDING)?;
    for kept in events {
        if is_spool || kept.is_delivered {
            pending.insert(next(last), kept.write().as_slice())?;
        }
    }
    let mut dropped = 0;
    while pending.len()? > bounds.pending_max {
        pending.pop_first()?;
        dropped += 1;
    }
    if is_spool {
        return Ok(dropped);
    }
    let mut calls = write.open_table(CALLS)?;
    let mut order = write.open_table(ORDER)?;
    for (call, step) in events.iter().filter_map(KeptEvent::call) {
        let place = next(last);
        let known = calls.get(call.id.as_str())?.and_then(|known| read_call(known.value()));
        let mut known = match known {
            Some(known) => {
                order.remove(known.place)?;
                known
            }
            None => KnownCall { place, call: call.clone(), steps: Vec::new() },
        };
        known.place = place;
        if known.call.sequence <= call.sequence {
            known.call = call;
        }
        put_step(&mut known.steps, step);
        let Ok(json) = serde_json::to_vec(&known) else { continue };
        calls.insert(known.call.id.as_str(), json.as_slice())?;
        order.insert(place, known.call.id.as_str())?;
    }
    while order.len()? > bounds.calls_max {
        if let Some((_, id)) = order.pop_first()? {
            calls.remove(id.value())?;
        }
        dropped += 1;
    }
    Ok(dropped)
}

fn bury(write: &WriteTransaction, place: u64, bounds: &OutboxBounds) -> Result<u64, Fault> {
    let mut pending = write.open_table(PENDING)?;
    let mut dead = write.open_table(DEAD)?;
    if let Some(kept) = pending.remove(place)? {
        dead.insert(place, kept.value())?;
    }
    let mut dropped = 0;
    while dead.len()? > bounds.dead_max {
        dead.pop_first()?;
        dropped += 1;
    }
    Ok(dropped)
}

fn replay(write: &WriteTransaction, from: u64, last: &mut u64) -> Result<u64, Fault> {
    let mut pending = write.open_table(PENDING)?;
    let mut dead = write.open_table(DEAD)?;
    let is_meant = |bytes: &[u8]| KeptEvent::read(bytes).is_some_and(|kept| kept.time >= from);
    let mut count = 0;
    for entry in dead.extract_if(|_, bytes| is_meant(bytes))? {
        let (_, bytes) = entry?;
        pending.insert(next(last), bytes.value())?;
        count += 1;
    }
    Ok(count)
}

fn prune(write: &WriteTransaction, before: u64) -> Result<u64, Fault> {
    let mut calls = write.open_table(CALLS)?;
    let mut order = write.open_table(ORDER)?;
    for entry in order.extract_from_if(..before, |_, _| true)?.take(PRUNED_MAX) {
        calls.remove(entry?.1.value())?;
    }
    Ok(0)
}

fn page(read: &ReadTransaction, after: u64, limit: usize) -> Result<Vec<(u64, KeptEvent)>, Fault> {
    let mut events = Vec::new();
    for entry in read.open_table(PENDING)?.range(after.saturating_add(1)..)?.take(limit) {
        let (place, bytes) = entry?;
        if let Some(kept) = KeptEvent::read(bytes.value()) {
            events.push((place.value(), kept));
        }
    }
    Ok(events)
}

fn dead(read: &ReadTransaction) -> Result<u64, Fault> {
    Ok(read.open_table(DEAD)?.len()?)
}

fn calls(read: &ReadTransaction, since: u64, limit: usize) -> Result<CallPage, Fault> {
    let table = read.open_table(CALLS)?;
    let mut page = CallPage::default();
    for entry in read.open_table(ORDER)?.range(since.saturating_add(1)..)? {
        let (place, id) = entry?;
        if page.calls.len() >= limit {
            page.has_more = true;
            break;
        }
        if let Some(known) = table.get(id.value())?.and_then(|known| read_call(known.value())) {
            page.calls.push((place.value(), known.call));
        }
    }
    Ok(page)
}

fn call(read: &ReadTransaction, id: &str) -> Result<Option<CallHistory>, Fault> {
    let known = read.open_table(CALLS)?.get(id)?.and_then(|known| read_call(known.value()));
    Ok(known.map(|known| (known.call, known.steps)))
}

fn read_call(json: &[u8]) -> Option<KnownCall> {
    serde_json::from_slice(json).ok()
}

/// The next place: microseconds since the Unix epoch, and always greater than the last.
fn next(last: &mut u64) -> u64 {
    *last = last.saturating_add(1).max(unix_millis().saturating_mul(1000));
    *last
}

/// Whoever asked may have gone.
fn send<T>(reply: Reply<T>, answer: Result<T, StoreError>) {
    drop(reply.send(answer));
}
