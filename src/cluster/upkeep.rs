//! What is done now and then.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::{Health, handle::Inner};

/// How often rows that are over are looked for, and records are handed on.
const EVERY: Duration = Duration::from_secs(1);
/// How often it is written when API keys were last used.
const USES_EVERY: u32 = 60;
/// How often calls are forgotten.
const CALLS_EVERY: u32 = 10;
/// Records handed on at once.
const FORWARD_MAX: usize = 256;
/// Pages handed on without a pause.
const PAGES_MAX: usize = 64;

/// Begins, for as long as the cluster is held by somebody.
pub(super) fn start(inner: &Arc<Inner>) {
    let inner = Arc::downgrade(inner);
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut count = 0u32;
        loop {
            ticks.tick().await;
            count = count.wrapping_add(1);
            let Some(inner) = Weak::upgrade(&inner) else { return };
            inner.state.prune();
            if count.is_multiple_of(CALLS_EVERY) {
                inner.outbox.prune(&inner);
            }
            if count.is_multiple_of(USES_EVERY) {
                inner.state.write_uses();
            }
            forward_usage(&inner).await;
        }
    });
}

/// Hands records to the stream that all nodes share. What was handed over is not kept here any longer.
pub(super) async fn forward_usage(inner: &Inner) {
    if inner.peers.health() != Health::Connected {
        return;
    }
    for _ in 0..PAGES_MAX {
        let Ok(page) = inner.state.store.usage_records(0, FORWARD_MAX).await else { return };
        let Some(last) = page.records.last().and_then(|(place, _)| u64::from_str_radix(place, 16).ok())
        else {
            return;
        };
        let records = page.records.into_iter().map(|(_, record)| record).collect();
        if !inner.peers.append_usage(records).await {
            return;
        }
        // A record that stays here for want of a file is handed over again, and known by its id.
        if inner.state.store.acknowledge_usage(last).await.is_err() || !page.has_more {
            return;
        }
    }
}
