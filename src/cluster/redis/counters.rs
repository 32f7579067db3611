//! What is counted.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) commands: AtomicU64,
    pub(super) commands_failed: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) requests_handled: AtomicU64,
    pub(super) frames_refused: AtomicU64,
    /// Frames that came faster than they were read.
    pub(super) frames_dropped: AtomicU64,
    /// Messages of nodes of another version.
    pub(super) messages_unknown: AtomicU64,
    pub(super) rows_refused: AtomicU64,
    pub(super) usage_lost: AtomicU64,
    pub(super) usage_overflowed: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}
