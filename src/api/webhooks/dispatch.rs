//! Delivers what waits, as long as the node runs.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::{
    Handle,
    counters::Attempt,
    lanes::{Ended, Job, Lanes, Now, Then},
    post::Receiver,
};
use crate::{
    cluster::{Cluster, EventNews, PendingEvent, Place},
    config::Webhooks,
    telemetry::{Seldom, settled_millis, uptime},
};

/// Events that are looked at together.
const PAGE: usize = 256;
/// How often it is looked whether something waits that nobody told of.
const LOOK: Duration = Duration::from_secs(10);
/// How long to wait when events cannot be read or removed.
const TROUBLE: Duration = Duration::from_secs(1);
/// How often the log says that the receiver is out of reach.
const FAILURES_EVERY: Duration = Duration::from_secs(60);
/// How long the end of the node waits for what can still be delivered.
const END_MAX: Duration = Duration::from_secs(3);

pub(super) struct Dispatch {
    cluster: Cluster,
    handle: Arc<Handle>,
    webhooks: Webhooks,
    receiver: Option<Arc<Receiver>>,
    lanes: Lanes,
    /// The partitions of this node.
    partitions: HashMap<u8, Partition>,
    /// Delivered events that are still to be removed.
    done: HashMap<u8, Vec<Place>>,
    /// Events that are still to be given up.
    over: Vec<(u8, PendingEvent)>,
    /// How attempts end.
    attempts: JoinSet<(Job, Option<Attempt>)>,
    /// Until when events are not touched, after trouble.
    trouble: Option<Instant>,
    started: Instant,
    looked: Instant,
    failures: Arc<Seldom>,
}

/// How far a partition was read.
#[derive(Debug, Default)]
struct Partition {
    last: Place,
    /// What was counted of its news when it was read; `None`: it is to be read in any case.
    seen: Option<u32>,
}

impl Dispatch {
    pub(super) fn new(cluster: Cluster, handle: Arc<Handle>) -> Self {
        Self {
            cluster,
            handle,
            webhooks: Webhooks::default(),
            receiver: None,
            lanes: Lanes::default(),
            partitions: HashMap::new(),
            done: HashMap::new(),
            over: Vec::new(),
            attempts: JoinSet::new(),
            trouble: None,
            started: Instant::now(),
            looked: Instant::now(),
            failures: Arc::new(Seldom::new(FAILURES_EVERY)),
        }
    }

    /// Runs until the node ends, and then for as long as something can be delivered, but not for ever.
    pub(super) async fn run(mut self) {
        let mut settings = self.handle.settings.subscribe();
        let mut partitions = self.cluster.event_partitions();
        let mut news = self.cluster.event_news();
        let mut ending = self.handle.ending.subscribe();
        self.configure(&mut settings);
        self.adopt(*partitions.borrow_and_update());
        let mut end: Option<Instant> = None;
        loop {
            let counts = *news.borrow_and_update();
            self.read(&counts).await;
            self.begin();
            self.settle().await;
            self.count();
            let is_over = |end: Instant| self.attempts.is_empty() || end.elapsed() > END_MAX;
            if end.is_some_and(is_over) {
                return;
            }
            let wait = self.wait();
            tokio::select! {
                Some(ended) = self.attempts.join_next() => {
                    if let Ok((job, attempt)) = ended {
                        self.ended(job, attempt);
                    }
                }
                Ok(()) = news.changed() => {}
                Ok(()) = settings.changed() => self.configure(&mut settings),
                Ok(()) = partitions.changed() => self.adopt(*partitions.borrow_and_update()),
                Ok(()) = ending.changed(), if end.is_none() => end = Some(Instant::now()),
                () = sleep(wait) => self.look(),
            }
        }
    }

    fn now(&self) -> Now {
        Now { monotonic: self.started.elapsed(), unix_millis: settled_millis() }
    }

    /// Takes over how and where to deliver.
    fn configure(&mut self, settings: &mut watch::Receiver<Arc<Webhooks>>) {
        let webhooks = Arc::clone(&settings.borrow_and_update());
        match Receiver::new(&webhooks) {
            Ok(receiver) => {
                self.receiver = receiver.map(Arc::new);
                self.cluster.set_delivering_events(self.receiver.is_some());
                self.webhooks = Webhooks::clone(&webhooks);
            }
            Err(error) => tracing::error!(%error, "Webhooks are delivered as before, or not at all."),
        }
        self.handle.counters.is_disabled.store(false, Ordering::Relaxed);
        self.lanes.hurry(self.now());
    }

    /// Takes over partitions, and lets go of others.
    fn adopt(&mut self, mask: u16) {
        for partition in 0..16 {
            let is_own = mask & (1 << partition) != 0;
            if is_own {
                self.partitions.entry(partition).or_default();
            } else if self.partitions.remove(&partition).is_some() {
                self.lanes.forget(partition);
            }
        }
    }

    /// Learns of what waits.
    async fn read(&mut self, news: &EventNews) {
        if self.receiver.is_none() || self.is_in_trouble() {
            return;
        }
        let now = self.now();
        for (partition, known) in &mut self.partitions {
            let count = news.get(usize::from(*partition)).copied();
            while known.seen != count {
                let Ok(page) = self.cluster.pending_events(*partition, known.last, PAGE).await else {
                    self.trouble = Some(Instant::now());
                    return;
                };
                if page.len() < PAGE {
                    known.seen = count;
                }
                for event in page {
                    known.last = known.last.max(event.place);
                    self.lanes.add(*partition, event, now);
                }
            }
        }
    }

    /// Has everything read again now and then, in case nobody told.
    fn look(&mut self) {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            self.partitions.values_mut().for_each(|partition| partition.seen = None);
        }
    }

    /// Sends what is due.
    fn begin(&mut self) {
        let Some(receiver) = &self.receiver else { return };
        if self.handle.counters.is_disabled.load(Ordering::Relaxed) {
            return;
        }
        while self.attempts.len() < self.webhooks.parallel_max {
            let now = Now { monotonic: self.started.elapsed(), unix_millis: settled_millis() };
            let Some(job) = self.lanes.take(now) else { return };
            let (cluster, receiver) = (self.cluster.clone(), Arc::clone(receiver));
            let failures = Arc::clone(&self.failures);
            self.attempts.spawn(attempt(cluster, receiver, job, failures));
        }
    }

    fn ended(&mut self, mut job: Job, attempt: Option<Attempt>) {
        let now = self.now();
        let Some(attempt) = attempt else {
            // It could not be read: nobody's fault, and no attempt.
            return self.lanes.postpone(&job, now.monotonic + TROUBLE);
        };
        let counters = &self.handle.counters;
        let Some(event) = job.event.take() else {
            // It is not there any more: it had to go for newer ones.
            self.lanes.ended(&job, Ended::Delivered, now, &self.webhooks);
            return;
        };
        counters.attempt(attempt);
        if attempt == Attempt::Gone {
            if !counters.is_disabled.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    "The receiver of webhooks.url answered 410: nothing more is sent to it until the configuration is \
                     read again or POST /v1/webhooks/replay is called. Events wait, up to webhooks.pending_max."
                );
            }
            return self.lanes.postpone(&job, now.monotonic);
        }
        let was_down = self.lanes.is_down();
        let ended = if attempt == Attempt::Delivered { Ended::Delivered } else { Ended::Failed };
        match self.lanes.ended(&job, ended, now, &self.webhooks) {
            Some(Then::Remove) => self.done.entry(job.partition).or_default().push(job.place),
            Some(Then::GiveUp) => {
                counters.given_up.fetch_add(1, Ordering::Relaxed);
                self.over.push((job.partition, event));
            }
            // Another node delivers it too; that it has arrived is good to know there.
            None if ended == Ended::Delivered => {
                self.done.entry(job.partition).or_default().push(job.place);
            }
            Some(Then::Retry) | None => {}
        }
        if was_down && !self.lanes.is_down() {
            tracing::info!(pending = self.lanes.waiting(), "The receiver of webhooks.url answers again.");
        }
    }

    /// Removes what was delivered, and puts aside what was given up.
    async fn settle(&mut self) {
        if self.is_in_trouble() {
            return;
        }
        for (partition, places) in std::mem::take(&mut self.done) {
            if self.cluster.remove_events(partition, places.clone()).await.is_err() {
                self.done.entry(partition).or_default().extend(places);
                self.trouble = Some(Instant::now());
            }
        }
        while let Some((partition, event)) = self.over.pop() {
            if let Err(error) = self.cluster.bury_event(partition, event.clone()).await {
                tracing::warn!(%error, "An event that was given up cannot be put aside yet.");
                self.over.push((partition, event));
                self.trouble = Some(Instant::now());
                return;
            }
        }
    }

    fn count(&self) {
        let counters = &self.handle.counters;
        counters.pending.store(self.lanes.waiting(), Ordering::Relaxed);
        // Looking at every lane for each event would be too much.
        if self.lanes.waiting() == 0 {
            counters.oldest.store(0, Ordering::Relaxed);
        } else if self.attempts.is_empty() || counters.oldest.load(Ordering::Relaxed) == 0 {
            counters.oldest.store(self.lanes.oldest().unwrap_or(0), Ordering::Relaxed);
        }
    }

    fn is_in_trouble(&self) -> bool {
        self.trouble.is_some_and(|since| since.elapsed() < TROUBLE)
    }

    fn wait(&mut self) -> Duration {
        let is_stopped = self.receiver.is_none() || self.handle.counters.is_disabled.load(Ordering::Relaxed);
        let due = self.lanes.next_due().filter(|_| !is_stopped);
        let is_full = self.attempts.len() >= self.webhooks.parallel_max;
        let until_due =
            due.filter(|_| !is_full).map_or(LOOK, |due| due.saturating_sub(self.started.elapsed()));
        let until_calm = self.trouble.map_or(LOOK, |since| TROUBLE.saturating_sub(since.elapsed()));
        let until_calm = if until_calm.is_zero() { LOOK } else { until_calm };
        until_due.min(until_calm).min(LOOK)
    }
}

/// One attempt; `None`: the event could not be read. A job that comes back without its event has none any more.
async fn attempt(
    cluster: Cluster,
    receiver: Arc<Receiver>,
    mut job: Job,
    failures: Arc<Seldom>,
) -> (Job, Option<Attempt>) {
    if job.event.is_none() {
        let before = Place::before(job.place);
        match cluster.pending_events(job.partition, before, 1).await {
            Ok(page) => job.event = page.into_iter().next().filter(|event| event.place == job.place),
            Err(_) => return (job, None),
        }
    }
    let Some(event) = &job.event else { return (job, Some(Attempt::Delivered)) };
    let (attempt, problem) = receiver.post(&event.id, event.body.clone()).await;
    if attempt != Attempt::Delivered
        && let Some(suppressed) = failures.permit(uptime())
    {
        tracing::warn!(
            event = &*event.id,
            attempts = job.failed + 1,
            suppressed,
            "A webhook is not delivered: {problem}. It is tried again."
        );
    }
    (job, Some(attempt))
}
