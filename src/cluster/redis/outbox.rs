//! Events of all nodes: 16 streams, each of which one node delivers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use redis::Value;
use tokio::{sync::watch, time::timeout};

use super::{
    calls,
    connect::value,
    frame::Message,
    keys,
    outbox_scripts::{APPEND_EVENTS, MOVE_EVENTS},
    seal::place,
    shared::Shared,
};
use crate::cluster::{
    CallHistory, CallPage, EventNews, EventPeers, KeptEvent, OutboxBounds, PARTITIONS, PendingEvent, Place,
    RequestError,
};

/// How long keeping a batch may take.
const APPEND_MAX: Duration = Duration::from_secs(2);
/// How long anything else may take.
const READ_MAX: Duration = Duration::from_secs(2);
/// Events that are added or moved by one script.
const BATCH: usize = 64;
/// Dead letters that are looked at together.
const PAGE: usize = 256;

/// An entry of a stream: its id, and its fields with their values.
type Entry = (String, Vec<(String, Vec<u8>)>);

/// Events and calls in Redis.
pub(super) struct Events {
    pub(super) shared: Arc<Shared>,
    pub(super) bounds: OutboxBounds,
    pub(super) partitions: watch::Sender<u16>,
    /// Whether this node delivers events.
    pub(super) is_delivering: watch::Sender<bool>,
    dropped: AtomicU64,
}

impl Events {
    pub(super) fn new(shared: Arc<Shared>, bounds: OutboxBounds) -> Self {
        let (partitions, is_delivering) = (watch::Sender::new(0), watch::Sender::new(false));
        Self { shared, bounds, partitions, is_delivering, dropped: AtomicU64::new(0) }
    }

    async fn append_all(&self, events: &[KeptEvent]) -> Option<()> {
        // Calls come first: who is told of a step finds it in the list.
        for batch in events.chunks(BATCH) {
            let dropped = calls::note(&self.shared, batch, &self.bounds).await?;
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
        let mut partitions: BTreeMap<u8, Vec<&KeptEvent>> = BTreeMap::new();
        for event in events.iter().filter(|event| event.is_delivered) {
            partitions.entry(event.partition()).or_default().push(event);
        }
        let adding = partitions.iter().map(|(partition, events)| self.append_to(*partition, events));
        join_all(adding).await.into_iter().collect::<Option<()>>()?;
        let mask = partitions.keys().fold(0, |mask, partition| mask | 1u16 << partition);
        self.shared.hear_of_events(mask);
        if mask & !*self.partitions.borrow() != 0 {
            // Whoever does not hear of it looks now and then.
            self.shared.tell_all(Message::Events(mask));
        }
        Some(())
    }

    async fn append_to(&self, partition: u8, events: &[&KeptEvent]) -> Option<()> {
        let commands = self.shared.commands()?;
        let stream = keys::events(partition);
        for batch in events.chunks(BATCH) {
            let sealed: Option<Vec<Vec<u8>>> =
                batch.iter().map(|event| self.seal(partition, event)).collect();
            let sealed = sealed?;
            let names = [stream.as_str()];
            let answer = commands.script(&APPEND_EVENTS, &names, |command| {
                command.arg(self.share(self.bounds.pending_max)).arg(keys::EVENTS_LEASE.as_millis() as u64);
                command.arg(&self.shared.own.id).arg(&sealed);
            });
            let dropped: u64 = value(answer.await.ok()?).ok()?;
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
        Some(())
    }

    fn share(&self, max: u64) -> u64 {
        max.div_ceil(u64::from(PARTITIONS))
    }

    fn seal(&self, partition: u8, event: &KeptEvent) -> Option<Vec<u8>> {
        self.shared.seal_as_run(&event_place(&self.shared.own.id, partition), &event.write())
    }

    async fn page(
        &self,
        key: &str,
        partition: u8,
        after: Place,
        limit: usize,
    ) -> Result<Vec<PendingEvent>, RequestError> {
        let range =
            redis::cmd("XRANGE").arg(key).arg(id(Place(after.0 + 1))).arg("+").arg("COUNT").arg(limit).take();
        let entries: Vec<Entry> =
            value(read(&self.shared, range).await?).map_err(|error| degraded(&error.to_string()))?;
        let mut page = Vec::with_capacity(entries.len());
        let mut refused = Vec::new();
        for (id, fields) in entries {
            match place_of(&id).zip(self.open(partition, &fields)) {
                Some((place, kept)) => page.push(kept.pending(place)),
                None => refused.push(id),
            }
        }
        if !refused.is_empty() {
            // What nobody of this cluster wrote is nobody's.
            super::counters::Counters::add(&self.shared.counters.rows_refused);
            let remove = redis::cmd("XDEL").arg(key).arg(&refused).take();
            read(&self.shared, remove).await?;
            if page.is_empty() {
                return Box::pin(self.page(key, partition, after, limit)).await;
            }
        }
        Ok(page)
    }

    fn open(&self, partition: u8, fields: &[(String, Vec<u8>)]) -> Option<KeptEvent> {
        let field =
            |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice());
        let node = std::str::from_utf8(field("n")?).ok()?;
        let plain = self.shared.open_of_run(node, &event_place(node, partition), field("d")?)?;
        KeptEvent::read(&plain)
    }

    /// Moves events; answers how many were, and how many older ones had to go.
    async fn relocate(
        &self,
        (from, to): (&str, &str),
        (partition, max): (u8, u64),
        events: &[PendingEvent],
    ) -> Result<(u64, u64), RequestError> {
        let commands = self.shared.commands().ok_or_else(|| degraded(&self.shared.health.reason()))?;
        let sealed = events.iter().map(|event| {
            let kept = KeptEvent::again(event);
            Some((id(event.place), self.seal(partition, &kept)?))
        });
        let sealed: Option<Vec<(String, Vec<u8>)>> = sealed.collect();
        let sealed = sealed.ok_or_else(|| degraded("the system gives no random bytes"))?;
        let names = [from, to];
        let answer = commands.script(&MOVE_EVENTS, &names, |command| {
            command.arg(self.share(max)).arg(keys::EVENTS_LEASE.as_millis() as u64).arg(&self.shared.own.id);
            for (id, sealed) in &sealed {
                command.arg(id).arg(sealed);
            }
        });
        let answer = answer.await.map_err(|error| degraded(&error.to_string()))?;
        let (moved, dropped) = value(answer).map_err(|error| degraded(&error.to_string()))?;
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
        Ok((moved, dropped))
    }

    async fn replay_all(&self, from: u64) -> Result<u64, RequestError> {
        let mut count = 0;
        for partition in 0..PARTITIONS {
            let (stream, dead) = (keys::events(partition), keys::events_dead(partition));
            let mut after = Place::default();
            loop {
                let page = self.page(&dead, partition, after, PAGE).await?;
                let Some(last) = page.last().map(|event| event.place) else { break };
                after = last;
                let meant: Vec<PendingEvent> = page.into_iter().filter(|event| event.time >= from).collect();
                for batch in meant.chunks(BATCH) {
                    let bounds = (partition, self.bounds.pending_max);
                    count += self.relocate((&dead, &stream), bounds, batch).await?.0;
                }
            }
        }
        self.shared.hear_of_events(u16::MAX);
        self.shared.tell_all(Message::Events(u16::MAX));
        Ok(count)
    }

    async fn count_dead(&self) -> Result<u64, RequestError> {
        let lengths = (0..PARTITIONS).map(|partition| {
            let length = redis::cmd("XLEN").arg(keys::events_dead(partition)).take();
            read(&self.shared, length)
        });
        let mut count = 0;
        for length in join_all(lengths).await {
            count += value::<u64>(length?).map_err(|error| degraded(&error.to_string()))?;
        }
        Ok(count)
    }
}

impl EventPeers for Events {
    fn append(&self, events: Vec<KeptEvent>) -> BoxFuture<'_, bool> {
        async move { matches!(timeout(APPEND_MAX, self.append_all(&events)).await, Ok(Some(()))) }.boxed()
    }

    fn partitions(&self) -> watch::Receiver<u16> {
        self.partitions.subscribe()
    }

    fn set_delivering(&self, is_delivering: bool) {
        self.is_delivering.send_if_modified(|is| std::mem::replace(is, is_delivering) != is_delivering);
    }

    fn news(&self) -> watch::Receiver<EventNews> {
        self.shared.event_news.subscribe()
    }

    fn pending(
        &self,
        partition: u8,
        after: Place,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<PendingEvent>, RequestError>> {
        async move { self.page(&keys::events(partition), partition, after, limit).await }.boxed()
    }

    fn remove(&self, partition: u8, places: Vec<Place>) -> BoxFuture<'_, Result<(), RequestError>> {
        async move {
            for places in places.chunks(PAGE) {
                let ids: Vec<String> = places.iter().copied().map(id).collect();
                read(&self.shared, redis::cmd("XDEL").arg(keys::events(partition)).arg(ids).take()).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn bury(&self, partition: u8, event: PendingEvent) -> BoxFuture<'_, Result<u64, RequestError>> {
        async move {
            let (stream, dead) = (keys::events(partition), keys::events_dead(partition));
            let bounds = (partition, self.bounds.dead_max);
            Ok(self.relocate((&stream, &dead), bounds, &[event]).await?.1)
        }
        .boxed()
    }

    fn replay(&self, from: u64) -> BoxFuture<'_, Result<u64, RequestError>> {
        self.replay_all(from).boxed()
    }

    fn dead(&self) -> BoxFuture<'_, Result<u64, RequestError>> {
        self.count_dead().boxed()
    }

    fn calls(&self, since: u64, limit: usize) -> BoxFuture<'_, Result<CallPage, RequestError>> {
        calls::page(&self.shared, since, limit).boxed()
    }

    fn call(&self, id: String) -> BoxFuture<'_, Result<Option<CallHistory>, RequestError>> {
        async move { calls::one(&self.shared, &id).await }.boxed()
    }

    fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Gives a command and waits for its answer.
pub(super) async fn read(shared: &Shared, command: redis::Cmd) -> Result<Value, RequestError> {
    let commands = shared.commands().ok_or_else(|| degraded(&shared.health.reason()))?;
    match timeout(READ_MAX, commands.run(command)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(degraded(&error.to_string())),
        Err(_) => Err(degraded("Redis does not answer")),
    }
}

pub(super) fn degraded(reason: &str) -> RequestError {
    RequestError::Degraded(reason.to_owned())
}

fn event_place(node: &str, partition: u8) -> Vec<u8> {
    place(&[b"event", node.as_bytes(), &[partition]])
}

/// The id of a stream's entry.
fn id(place: Place) -> String {
    format!("{}-{}", place.0 >> 64, place.0 & u128::from(u64::MAX))
}

fn place_of(id: &str) -> Option<Place> {
    let (millis, number) = id.split_once('-')?;
    let (millis, number): (u64, u64) = (millis.parse().ok()?, number.parse().ok()?);
    Some(Place(u128::from(millis) << 64 | u128::from(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_the_ids_of_the_stream_in_their_order() {
        for text in ["0-1", "1790000000123-0", "1790000000123-18446744073709551615"] {
            assert_eq!(id(place_of(text).unwrap()), text);
        }
        assert!(place_of("5-18446744073709551615") < place_of("6-0"));
        assert_eq!(id(place_of("6-0").unwrap().before()), "5-18446744073709551615");
        assert_eq!(place_of("5"), None);
    }
}
