//! The thread that writes.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering, mpsc},
    time::{Duration, Instant},
};

use redb::{Database, ReadableDatabase as _, WriteTransaction};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::{
    Bounds, Contents, QUEUE_MAX, StoreCounters, StoreError,
    book::{self, Fault, Identity},
    events::{self, EventCommand},
    file::{self, Source},
};
use crate::{
    cluster::{
        ApiKeyId, OpenError, Row, Table, UsagePage, UsageQuery, UsageRecord, UsageTotals, clock::unix_millis,
        usage::DAY_SECONDS,
    },
    telemetry::settled_seconds,
};

/// Commands written as one transaction.
const BATCH_MAX: usize = 4096;
/// How long records of usage wait for company. Nobody waits for them.
const LINGER: Duration = Duration::from_millis(100);
/// How long to wait before a file that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often old days are looked for.
const DAYS_EVERY: Duration = Duration::from_secs(600);
/// The first place of a new file is its time in milliseconds, times 2 to this power: a cursor of an earlier file names
/// nothing in a later one.
const FIRST_PLACE_SHIFT: u32 = 20;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the thread is asked to do.
pub(super) enum Command {
    Rows(Vec<Row>, Reply<()>),
    Forget(Vec<(Table, String)>, u64),
    Used(Vec<(ApiKeyId, u64)>),
    Usage(Box<UsageRecord>),
    Acknowledge { up_to: u64, reply: Reply<u64> },
    Page { after: u64, limit: usize, reply: Reply<UsagePage> },
    Totals(UsageQuery, Reply<UsageTotals>),
    Events(EventCommand),
    Flush(Reply<()>),
}

impl Command {
    /// Whether somebody waits for it.
    const fn is_awaited(&self) -> bool {
        match self {
            Self::Forget(..) | Self::Used(_) | Self::Usage(_) => false,
            Self::Events(command) => command.is_awaited(),
            Self::Rows(..)
            | Self::Acknowledge { .. }
            | Self::Page { .. }
            | Self::Totals(..)
            | Self::Flush(_) => true,
        }
    }
}

impl Command {
    /// Whether it changes nothing.
    const fn is_reading(&self) -> bool {
        match self {
            Self::Page { .. } | Self::Totals(..) => true,
            Self::Events(command) => command.is_reading(),
            Self::Rows(..)
            | Self::Forget(..)
            | Self::Used(_)
            | Self::Usage(_)
            | Self::Acknowledge { .. }
            | Self::Flush(_) => false,
        }
    }

    /// Whether applying it answers a count.
    const fn has_count(&self) -> bool {
        match self {
            Self::Acknowledge { .. } => true,
            Self::Events(command) => !command.is_reading(),
            Self::Rows(..)
            | Self::Forget(..)
            | Self::Used(_)
            | Self::Usage(_)
            | Self::Page { .. }
            | Self::Totals(..)
            | Self::Flush(_) => false,
        }
    }
}

/// The state of the thread.
pub(super) struct Writer {
    source: Source,
    bounds: Bounds,
    counters: Arc<StoreCounters>,
    /// `None` after an error, until it could be opened again.
    database: Option<Database>,
    /// The place of the last record.
    last: u64,
    /// The place of the last event or change of a call.
    last_event: u64,
    /// Records that are not in the file yet.
    waiting: Vec<UsageRecord>,
    days_looked_at: Option<Instant>,
    /// Whether the last transaction failed: the log says it once.
    is_failing: bool,
}

impl Writer {
    pub(super) fn open(
        source: Source,
        bounds: Bounds,
        counters: Arc<StoreCounters>,
    ) -> Result<(Self, Contents), OpenError> {
        let (database, node_key) = open(&source)?;
        let path = source.path();
        let fault = |fault: Fault| file::damaged(&path, &fault.to_string());
        let read = database.begin_read().map_err(|error| fault(error.into()))?;
        let (rows, unreadable) = book::rows(&read).map_err(fault)?;
        if unreadable > 0 {
            tracing::warn!(unreadable, path = %path.display(), "Rows that can't be read are left alone; a later version may have written them.");
        }
        let last_used = book::last_used(&read).map_err(fault)?;
        let (pending, last) = book::usage_extent(&read).map_err(fault)?;
        counters.usage_pending.store(pending, Ordering::Relaxed);
        let last_event = events::establish(&database).map_err(fault)?;
        let last = last.unwrap_or_else(|| unix_millis() << FIRST_PLACE_SHIFT);
        let writer = Self {
            source,
            bounds,
            counters,
            database: Some(database),
            last,
            last_event,
            waiting: Vec::new(),
            days_looked_at: None,
            is_failing: false,
        };
        Ok((writer, Contents { rows, node_key, last_used }))
    }

    /// Works until nobody can send any more.
    pub(super) fn run(mut self, commands: &mpsc::Receiver<Command>) {
        let mut batch = Vec::new();
        while self.gather(commands, &mut batch) {
            self.write(&mut batch);
        }
        self.write(&mut Vec::new());
        if !self.waiting.is_empty() {
            tracing::error!(
                records = self.waiting.len(),
                "Records of usage could not be written and are lost."
            );
        }
    }

    /// Fills the batch, waiting for as long as nobody waits for it. `false` when nobody can send any more.
    fn gather(&self, commands: &mpsc::Receiver<Command>, batch: &mut Vec<Command>) -> bool {
        let first = if self.waiting.is_empty() {
            commands.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected)
        } else {
            commands.recv_timeout(RETRY)
        };
        let mut is_awaited = match first {
            Ok(command) => {
                let is_awaited = command.is_awaited();
                batch.push(command);
                is_awaited
            }
            Err(mpsc::RecvTimeoutError::Timeout) => return true,
            Err(mpsc::RecvTimeoutError::Disconnected) => return false,
        };
        let until = Instant::now() + LINGER;
        while batch.len() < BATCH_MAX {
            let more = if is_awaited {
                commands.try_recv().ok()
            } else {
                commands.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
            };
            let Some(command) = more else { break };
            is_awaited |= command.is_awaited();
            batch.push(command);
        }
        true
    }

    fn write(&mut self, batch: &mut Vec<Command>) {
        let mut commands = Vec::with_capacity(batch.len());
        for command in batch.drain(..) {
            if let Command::Usage(record) = command {
                self.wait(*record);
            } else {
                commands.push(command);
            }
        }
        let is_reading_only = self.waiting.is_empty() && commands.iter().all(Command::is_reading);
        let written = self
            .reopen()
            .and_then(|()| if is_reading_only { Ok(Vec::new()) } else { self.transact(&commands) });
        match written {
            Ok(counts) => self.answer(commands, &counts),
            Err(problem) => {
                self.failed(&problem);
                let error = StoreError::Write { path: self.source.path(), problem };
                commands.into_iter().for_each(|command| refuse(command, &error));
            }
        }
    }

    fn wait(&mut self, record: UsageRecord) {
        if self.waiting.len() >= QUEUE_MAX {
            self.counters.usage_lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.waiting.push(record);
    }

    /// One transaction with everything; answers what each acknowledgement removed, in their order.
    fn transact(&mut self, commands: &[Command]) -> Result<Vec<u64>, String> {
        let Some(database) = &self.database else { return Err("it is closed".to_owned()) };
        let (bounds, mut last_event) = (self.bounds, self.last_event);
        let is_time_for_days = self.days_looked_at.is_none_or(|at| at.elapsed() >= DAYS_EVERY);
        let result = (|| -> Result<_, Fault> {
            let write = database.begin_write()?;
            let counts = apply(&write, commands, &mut last_event)?;
            let overflowed =
                if self.waiting.is_empty() { 0 } else { book::put_usage(&write, &self.waiting, self.last)? };
            let lost = book::bound_usage(&write, bounds)?;
            if is_time_for_days {
                let today = u32::try_from(settled_seconds() / DAY_SECONDS).unwrap_or(u32::MAX);
                book::forget_days(&write, today.saturating_sub(bounds.days.saturating_sub(1)))?;
            }
            write.commit()?;
            Ok((counts, overflowed, lost))
        })();
        let (counts, overflowed, lost) = result.map_err(|fault| fault.to_string())?;
        if is_time_for_days {
            self.days_looked_at = Some(Instant::now());
        }
        let added = self.waiting.len() as u64;
        self.last += added;
        self.last_event = last_event;
        self.waiting.clear();
        let counters = &self.counters;
        let acknowledged = commands.iter().filter(|command| command.has_count()).zip(&counts);
        let acknowledged = acknowledged.filter(|(command, _)| matches!(command, Command::Acknowledge { .. }));
        let removed = acknowledged.map(|(_, count)| count).sum::<u64>().saturating_add(lost);
        counters.usage_pending.fetch_add(added, Ordering::Relaxed);
        counters.usage_pending.fetch_sub(removed, Ordering::Relaxed);
        counters.usage_lost.fetch_add(lost, Ordering::Relaxed);
        counters.usage_overflowed.fetch_add(overflowed, Ordering::Relaxed);
        counters.commits.fetch_add(1, Ordering::Relaxed);
        if std::mem::take(&mut self.is_failing) {
            tracing::info!(path = %self.source.path().display(), "The store can be written again.");
        }
        Ok(counts)
    }

    /// Opens the database again if an error closed it.
    fn reopen(&mut self) -> Result<(), String> {
        if self.database.is_none() {
            self.database = Some(open(&self.source).map_err(|error| error.to_string())?.0);
        }
        Ok(())
    }

    fn failed(&mut self, problem: &str) {
        self.counters.errors.fetch_add(1, Ordering::Relaxed);
        if !std::mem::replace(&mut self.is_failing, true) {
            let path = self.source.path();
            tracing::error!(path = %path.display(), "The store cannot be written: {problem}. Nothing is kept until it can; free space or mend the file system.");
        }
        // After an error of the file the database answers nothing else: it begins anew.
        self.database = None;
    }

    fn answer(&mut self, commands: Vec<Command>, counts: &[u64]) {
        let mut counts = counts.iter();
        for command in commands {
            match command {
                Command::Rows(_, reply) | Command::Flush(reply) => send(reply, Ok(())),
                Command::Acknowledge { reply, .. } => {
                    send(reply, Ok(counts.next().copied().unwrap_or_default()));
                }
                Command::Page { after, limit, reply } => {
                    let page = self.read(|read| book::page(read, after, limit));
                    send(reply, page);
                }
                Command::Totals(query, reply) => {
                    let bounds = self.bounds;
                    send(reply, self.read(|read| book::totals(read, &query, bounds)));
                }
                Command::Events(command) => {
                    let count = if command.is_reading() { None } else { counts.next() };
                    self.answer_events(command, count.copied().unwrap_or_default());
                }
                Command::Forget(..) | Command::Used(_) | Command::Usage(_) => {}
            }
        }
    }

    fn answer_events(&self, command: EventCommand, count: u64) {
        let path = self.source.path();
        let failed = |fault: Fault| StoreError::Write { path: path.clone(), problem: fault.to_string() };
        let Some(database) = &self.database else { return command.refuse(&StoreError::Closed) };
        match database.begin_read() {
            Ok(read) => command.answer(count, &read, &failed),
            Err(error) => command.refuse(&failed(error.into())),
        }
    }

    fn read<T>(
        &self,
        look: impl FnOnce(&redb::ReadTransaction) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let failed = |problem: String| StoreError::Write { path: self.source.path(), problem };
        let database = self.database.as_ref().ok_or(StoreError::Closed)?;
        let read = database.begin_read().map_err(|error| failed(error.to_string()))?;
        look(&read).map_err(|fault| failed(fault.to_string()))
    }
}

/// Applies everything that writes, and answers the count of each that has one.
fn apply(write: &WriteTransaction, commands: &[Command], last_event: &mut u64) -> Result<Vec<u64>, Fault> {
    let mut counts = Vec::new();
    for command in commands {
        match command {
            Command::Rows(rows, _) => book::put_rows(write, rows)?,
            Command::Forget(rows, now) => book::forget_rows(write, rows, *now)?,
            Command::Used(uses) => book::put_uses(write, uses)?,
            Command::Acknowledge { up_to, .. } => counts.push(book::acknowledge(write, *up_to)?),
            Command::Events(command) if !command.is_reading() => {
                counts.push(command.apply(write, last_event)?)
            }
            Command::Events(_)
            | Command::Usage(_)
            | Command::Page { .. }
            | Command::Totals(..)
            | Command::Flush(_) => {}
        }
    }
    Ok(counts)
}

/// Opens the database and sees to it that it is one of ours.
fn open(source: &Source) -> Result<(Database, Zeroizing<[u8; 32]>), OpenError> {
    let path = source.path();
    if let Source::File(path) = source {
        file::make(path, |database| establish(database, path).map(drop))?;
    }
    let database = source.open()?;
    let fault = |fault: Fault| file::damaged(&path, &fault.to_string());
    match book::identify(&database).map_err(fault)? {
        Identity::Known(key) => Ok((database, key)),
        Identity::New => {
            let key = establish(&database, &path)?;
            Ok((database, key))
        }
        Identity::Later(format) => Err(file::refused(
            &path,
            format!("was written by a later iceway (format {format}); use that one, or move the file away"),
        )),
        Identity::Foreign => Err(file::refused(
            &path,
            "is another program's; give store.path another name, or move that file away",
        )),
    }
}

/// Writes what a new file begins with, and answers its key.
fn establish(database: &Database, path: &Path) -> Result<Zeroizing<[u8; 32]>, OpenError> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(&mut key[..]).map_err(|error| OpenError::Random(error.to_string()))?;
    book::establish(database, &key)
        .map_err(|error| file::refused(path, format!("cannot be written: {error}; free some space")))?;
    Ok(key)
}

fn refuse(command: Command, error: &StoreError) {
    match command {
        Command::Rows(_, reply) | Command::Flush(reply) => send(reply, Err(error.clone())),
        Command::Acknowledge { reply, .. } => send(reply, Err(error.clone())),
        Command::Page { reply, .. } => send(reply, Err(error.clone())),
        Command::Totals(_, reply) => send(reply, Err(error.clone())),
        Command::Events(command) => command.refuse(error),
        Command::Forget(..) | Command::Used(_) | Command::Usage(_) => {}
    }
}

/// Whoever asked may have gone.
fn send<T>(reply: Reply<T>, answer: Result<T, StoreError>) {
    drop(reply.send(answer));
}
