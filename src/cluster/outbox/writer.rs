//! Hands events to Redis; what cannot be handed over waits here, in its order.

use std::{
    sync::{Arc, PoisonError, Weak, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{Batch, KeptEvent, Outbox, Place};
use crate::{
    cluster::{Health, handle::Inner},
    telemetry::settled_millis,
};

/// Batches that are handed over together.
const TOGETHER_MAX: usize = 64;
/// Events of the spool that are handed over at once.
const PAGE: usize = 256;
/// How often it is looked whether Redis can be reached again.
const LOOK: Duration = Duration::from_millis(250);
/// How often it is looked whether anybody still holds the cluster.
const IDLE: Duration = Duration::from_secs(5);

impl Outbox {
    /// Begins to hand events on, if there is somebody to hand them to; for as long as the cluster is held by somebody.
    pub(in crate::cluster) fn start(inner: &Arc<Inner>) {
        let outbox = &inner.outbox;
        let batches = outbox.batches.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(batches) = batches.filter(|_| inner.peers.events().is_some()) else { return };
        tokio::spawn(hand_on(Arc::downgrade(inner), batches));
    }

    /// Waits until everything recorded so far is kept somewhere.
    pub(in crate::cluster) async fn flush(&self) {
        if self.batches.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return;
        }
        let (reply, kept) = oneshot::channel();
        if self.queue.try_send(Batch { events: Vec::new(), reply }).is_ok() {
            kept.await.unwrap_or_default();
        }
    }

    /// Looks after bounds that depend on time.
    pub(in crate::cluster) fn prune(&self, inner: &Inner) {
        self.local(&inner.state.store).prune(&self.bounds);
        let retention = u64::try_from(self.bounds.retention.as_millis()).unwrap_or(u64::MAX);
        self.figures.prune(settled_millis().saturating_sub(retention));
    }
}

async fn hand_on(inner: Weak<Inner>, mut batches: mpsc::Receiver<Batch>) {
    // A run before this one may have left something.
    let mut has_spool = true;
    let mut together = Vec::new();
    loop {
        let Some(held) = inner.upgrade() else { return };
        let is_connected = held.peers.health() == Health::Connected;
        if has_spool && is_connected {
            has_spool = !hand_on_spool(&held).await;
        }
        drop(held);
        let wait = match (has_spool, is_connected) {
            (true, true) => Duration::ZERO,
            (true, false) => LOOK,
            (false, _) => IDLE,
        };
        match timeout(wait, batches.recv_many(&mut together, TOGETHER_MAX)).await {
            Ok(0) => return,
            Ok(_) => {
                let Some(held) = inner.upgrade() else { return };
                has_spool |= !keep(&held, &mut together, has_spool).await;
            }
            // After a failure Redis gets the time to breathe.
            Err(_) if has_spool && is_connected => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(_) => {}
        }
    }
}

/// Keeps batches, and tells whoever waits for them. `false`: they had to be kept here.
async fn keep(inner: &Inner, together: &mut Vec<Batch>, has_spool: bool) -> bool {
    let events: Vec<KeptEvent> = together.iter().flat_map(|batch| &batch.events).cloned().collect();
    let is_handed_over = events.is_empty() || !has_spool && append(inner, events.clone()).await;
    if !is_handed_over {
        let outbox = &inner.outbox;
        let count = events.len();
        let kept = outbox.local(&inner.state.store).append(events, true, &outbox.bounds);
        let kept = match kept {
            Ok(keeping) => keeping.kept().await,
            Err(error) => Err(error),
        };
        if kept.is_ok() {
            outbox.figures.spooled.fetch_add(count as u64, Ordering::Relaxed);
        }
        outbox.settle(count, kept);
    }
    for batch in together.drain(..) {
        // Whoever recorded may not wait.
        batch.reply.send(()).unwrap_or_default();
    }
    is_handed_over
}

/// Hands over a page of what waits here. `true`: nothing waits any longer.
async fn hand_on_spool(inner: &Inner) -> bool {
    let local = inner.outbox.local(&inner.state.store);
    let Ok(page) = local.pending(Place::default(), PAGE).await else { return false };
    if page.is_empty() {
        inner.outbox.figures.spooled.store(0, Ordering::Relaxed);
        return true;
    }
    let (places, events): (Vec<u64>, Vec<KeptEvent>) = page.into_iter().unzip();
    let count = events.len() as u64;
    if !append(inner, events).await {
        tokio::time::sleep(LOOK).await;
        return false;
    }
    let spooled = &inner.outbox.figures.spooled;
    spooled.store(spooled.load(Ordering::Relaxed).saturating_sub(count), Ordering::Relaxed);
    if local.remove(places).is_err() {
        // They are handed over once more.
        tokio::time::sleep(LOOK).await;
    }
    false
}

async fn append(inner: &Inner, events: Vec<KeptEvent>) -> bool {
    match inner.peers.events() {
        Some(peers) => peers.append(events).await,
        None => false,
    }
}
