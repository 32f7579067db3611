//! What outlives a restart: one file, one thread that writes it.
//!
//! Whatever is given to the [`Store`] goes to its thread by a bounded queue. The thread takes what waits, writes it as
//! one transaction, syncs it, and only then answers. Records of usage, which nobody waits for, are gathered for a
//! moment. Without a file everything is the same, in memory.

mod book;
#[cfg(test)]
mod disk;
mod events;
mod file;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::{ApiKeyId, OpenError, Row, UsagePage, UsageQuery, UsageRecord, UsageTotals};
use writer::{Command, Writer};

pub(super) use events::EventCommand;

/// What may wait to be written.
const QUEUE_MAX: usize = 65_536;

/// How long to wait before the queue is looked at again.
const PLACE_PAUSE: Duration = Duration::from_millis(5);

/// Why something could not be kept or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file system refuses.
    #[error("{} cannot be written: {problem}; free space or mend the file system, it is tried again", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What it says.
        problem: String,
    },
    /// More waits to be written than may wait.
    #[error("more waits to be written than can wait; the file system is too slow")]
    Busy,
    /// There are as many rows as there can be.
    #[error("there are {0} already, and none is over")]
    Full(usize),
    /// The node ends.
    #[error("this node ends")]
    Closed,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Records of usage; the oldest go first.
    pub(super) records_max: u64,
    /// Days of totals.
    pub(super) days: u32,
}

/// What was there when the file was opened.
pub(super) struct Contents {
    pub(super) rows: Vec<Row>,
    /// Drawn when the file was made.
    pub(super) node_key: Zeroizing<[u8; 32]>,
    pub(super) last_used: Vec<(ApiKeyId, u64)>,
}

/// The thread that keeps things, and the way to it. Dropping it writes what still waits.
pub(super) struct Store {
    queue: Option<mpsc::SyncSender<Command>>,
    counters: Arc<StoreCounters>,
    thread: Option<thread::JoinHandle<()>>,
}

/// What happened, for the metrics.
#[derive(Debug, Default)]
pub(super) struct StoreCounters {
    /// Records that are kept now.
    pub(super) usage_pending: AtomicU64,
    /// Records that were dropped.
    pub(super) usage_lost: AtomicU64,
    /// Ended allocations that were summed under nobody's name.
    pub(super) usage_overflowed: AtomicU64,
    /// Transactions that failed.
    pub(super) errors: AtomicU64,
    /// Transactions that were synced.
    pub(super) commits: AtomicU64,
}

impl Store {
    /// Opens the file, or makes it; `None` keeps everything in memory.
    pub(super) fn open(path: Option<&Path>, bounds: Bounds) -> Result<(Self, Contents), OpenError> {
        Self::on(file::Source::of(path), bounds)
    }

    fn on(source: file::Source, bounds: Bounds) -> Result<(Self, Contents), OpenError> {
        let counters = Arc::new(StoreCounters::default());
        let (writer, contents) = Writer::open(source, bounds, Arc::clone(&counters))?;
        let (queue, commands) = mpsc::sync_channel(QUEUE_MAX);
        let thread = thread::Builder::new()
            .name("iceway-store".to_owned())
            .spawn(move || writer.run(&commands))
            .map_err(|error| OpenError::System(format!("no thread for the store: {error}")))?;
        Ok((Self { queue: Some(queue), counters, thread: Some(thread) }, contents))
    }

    pub(super) fn counters(&self) -> &StoreCounters {
        &self.counters
    }

    /// Keeps rows, as far as they are newer than what is kept. When it is answered they are synced.
    pub(super) async fn write_rows(&self, rows: Vec<Row>) -> Result<(), StoreError> {
        self.ask(|reply| Command::Rows(rows, reply)).await
    }

    /// Removes rows that are over at `now` (seconds since the Unix epoch); those that are not stay.
    pub(super) fn forget(&self, rows: Vec<(super::Table, String)>, now: u64) {
        // Whatever can't be forgotten now is left out when the file is opened again.
        self.send(Command::Forget(rows, now)).unwrap_or_default();
    }

    /// Keeps when API keys were last used.
    pub(super) fn used(&self, uses: Vec<(ApiKeyId, u64)>) {
        // Whatever finds no place is written with the next use.
        self.send(Command::Used(uses)).unwrap_or_default();
    }

    /// Keeps a record and adds it to the totals. Nobody is told when.
    pub(super) fn record_usage(&self, record: UsageRecord) {
        if self.send(Command::Usage(Box::new(record))).is_err() {
            self.counters.usage_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Some records after a place.
    pub(super) async fn usage_records(&self, after: u64, limit: usize) -> Result<UsagePage, StoreError> {
        self.ask(|reply| Command::Page { after, limit, reply }).await
    }

    /// Removes the records up to a place.
    pub(super) async fn acknowledge_usage(&self, up_to: u64) -> Result<u64, StoreError> {
        self.ask(|reply| Command::Acknowledge { up_to, reply }).await
    }

    /// A sum of days.
    pub(super) async fn usage_totals(&self, query: UsageQuery) -> Result<UsageTotals, StoreError> {
        self.ask(|reply| Command::Totals(query, reply)).await
    }

    /// Has the thread do something with events, behind everything before it.
    pub(super) fn command(&self, command: EventCommand) -> Result<(), StoreError> {
        self.send(Command::Events(command))
    }

    /// Answered when everything before it is synced. Waits for a place in the queue.
    pub(super) async fn flush(&self) -> Result<(), StoreError> {
        loop {
            match self.ask(Command::Flush).await {
                Err(StoreError::Busy) => tokio::time::sleep(PLACE_PAUSE).await,
                answer => return answer,
            }
        }
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Command,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply))?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    fn send(&self, command: Command) -> Result<(), StoreError> {
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.try_send(command).map_err(|error| match error {
            mpsc::TrySendError::Full(_) => StoreError::Busy,
            mpsc::TrySendError::Disconnected(_) => StoreError::Closed,
        })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("The thread of the store panicked; what waited to be written is lost.");
        }
    }
}
