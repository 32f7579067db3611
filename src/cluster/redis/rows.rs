//! Rows in Redis: written as they change, compared when Redis or this node may have missed some.

use std::{
    collections::HashMap,
    sync::{MutexGuard, atomic::Ordering},
    time::Duration,
};

use redis::{RedisError, Value};
use tokio::time::{Instant, sleep_until};

use super::{
    commands::Commands,
    connect::value,
    counters::Counters,
    frame::Message,
    keys::{self, CHECK, ROWS_LEASE},
    progress::Progress,
    row::{Sealed, epoch_place, open, seal},
    scripts::{EXPIRE_ROWS, REMOVE_FORGED, WRITE_ROWS},
    seal::OpenError,
    shared::{Shared, jitter, lock},
};
use crate::{
    cluster::{Row, Table, Version},
    telemetry::settled_seconds,
};

/// Rows written with one script, and told with one message.
const BATCH: usize = 128;
/// Rows read with one command.
const PAGE: usize = 500;
/// Rows handed over at once: what follows from a table is made anew each time.
const HANDED_MAX: usize = 10_000;
/// How often what is over is removed and the lease of the rest renewed.
const EXPIRE_EVERY: Duration = Duration::from_secs(600);
/// Rows removed at once.
const EXPIRE_MAX: usize = 1000;
/// Clocks differ: what is over for one node may not be for another yet.
const EXPIRE_LATE_SECONDS: u64 = 120;
/// What is kept of a table while it is compared: names, and rows that cannot be opened, which no other node wrote.
const KEPT_BYTES_MAX: usize = 64 << 20;
/// More in Redis than on a node: there tombstones of many nodes meet.
const ROWS_FACTOR: usize = 3;

/// Why rows could not be exchanged.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowsError {
    #[error("rows cannot be exchanged: {0}")]
    Redis(#[from] RedisError),
    #[error(
        "what is in Redis was sealed with another cluster key; give all nodes the same redis.cluster_key_file, or delete \
         the key {:?}",
        keys::ROWS_STATE
    )]
    OtherKey,
    #[error("the system gives no random bytes")]
    Random,
}

/// Notes rows that another node wrote. One that wrote many at once tells their number alone: then they are read.
pub(super) fn heard(shared: &Shared, written: u64, sequence: u64) {
    let mut progress = progress(shared);
    if written > 0 {
        progress.note(sequence.saturating_sub(written), sequence);
    } else if sequence > progress.up_to {
        drop(progress);
        shared.compare_rows();
    }
}

fn progress(shared: &Shared) -> MutexGuard<'_, Progress> {
    lock(&shared.progress)
}

/// Exchanges rows for as long as the connection lasts. Answers why it can't go on.
pub(super) async fn exchange(shared: &Shared, commands: &Commands) -> String {
    shared.rows_settled.send_replace(false);
    // Nodes that found Redis empty at the same time should not all fill it at once.
    tokio::time::sleep(jitter(Duration::from_millis(50))).await;
    shared.compare.store(true, Ordering::Relaxed);
    let mut next_check = Instant::now();
    let mut next_expiry = Instant::now() + jitter(EXPIRE_EVERY);
    loop {
        let done = async {
            if shared.compare.swap(false, Ordering::Relaxed) {
                compare(shared, commands).await?;
                next_check = Instant::now() + jitter(CHECK);
            }
            flush(shared, commands).await?;
            if Instant::now() >= next_check {
                next_check = Instant::now() + jitter(CHECK);
                check(shared, commands).await?;
            }
            if Instant::now() >= next_expiry {
                next_expiry = Instant::now() + jitter(EXPIRE_EVERY);
                expire(shared, commands).await?;
            }
            Ok::<_, RowsError>(())
        };
        if let Err(error) = done.await {
            shared.compare.store(true, Ordering::Relaxed);
            shared.degraded(&error.to_string());
            *lock(&shared.rows_fault) = Some(error.to_string());
            tokio::time::sleep(jitter(Duration::from_secs(4))).await;
            continue;
        }
        *lock(&shared.rows_fault) = None;
        if shared.compare.load(Ordering::Relaxed) {
            continue;
        }
        let is_settled = shared.pending_rows().is_empty();
        shared.rows_settled.send_replace(is_settled);
        tokio::select! {
            () = shared.rows_wake.notified() => {}
            () = sleep_until(next_check) => {}
        }
    }
}

/// Writes what waits, and tells the others.
async fn flush(shared: &Shared, commands: &Commands) -> Result<(), RowsError> {
    loop {
        let batch: Vec<Row> = {
            let mut pending = shared.pending_rows();
            let Some((table, _)) = pending.keys().next().cloned() else { return Ok(()) };
            let ids: Vec<(Table, String)> =
                pending.keys().take_while(|(of, _)| *of == table).take(BATCH).cloned().collect();
            ids.iter().filter_map(|id| pending.remove(id)).collect()
        };
        match write(shared, commands, &batch).await {
            Ok((written, sequence)) => {
                shared.tell_all(Message::Rows { rows: batch, written, sequence });
            }
            Err(error) => {
                // What was given meanwhile is newer.
                let mut pending = shared.pending_rows();
                for row in batch {
                    pending.entry((row.table, row.id.clone())).or_insert(row);
                }
                return Err(error);
            }
        }
    }
}

/// Writes rows of one table. Answers how many were news, and the number of writes with them.
async fn write(shared: &Shared, commands: &Commands, rows: &[Row]) -> Result<(u64, u64), RowsError> {
    let table = rows.first().map_or(Table::Secrets, |row| row.table);
    let mut sealed = Vec::with_capacity(rows.len());
    for row in rows {
        sealed.push((row.id.as_str(), seal(shared, row).ok_or(RowsError::Random)?));
    }
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| RowsError::Random)?;
    let epoch = shared.sealer.seal(&epoch_place(), &random).ok_or(RowsError::Random)?;
    let max = table.rows_max() * ROWS_FACTOR;
    let (hash, expiry) = (keys::rows(table), keys::rows_expiry(table));
    let answer = commands
        .script(&WRITE_ROWS, &[&hash, &expiry, keys::ROWS_STATE], |command| {
            command.arg(max).arg(ROWS_LEASE.as_millis() as u64).arg(&epoch);
            for (id, Sealed { version, expires, value }) in &sealed {
                command.arg(*id).arg(version).arg(expires).arg(value);
            }
        })
        .await?;
    let (written, sequence, epoch): (u64, u64, Vec<u8>) = value(answer)?;
    *lock(&shared.epoch) = Some(epoch);
    progress(shared).note(sequence.saturating_sub(written), sequence);
    Ok((written, sequence))
}

/// Takes over all rows that are in Redis, and writes there what it lacks.
async fn compare(shared: &Shared, commands: &Commands) -> Result<(), RowsError> {
    let (epoch, sequence) = state(commands).await?;
    if let Some(epoch) = epoch {
        match shared.sealer.open(&epoch_place(), &epoch) {
            Ok(_) => {}
            Err(OpenError::OtherKey) => return Err(RowsError::OtherKey),
            Err(OpenError::Forged) => {
                Counters::add(&shared.counters.rows_refused);
                commands.run(redis::cmd("HDEL").arg(keys::ROWS_STATE).arg("epoch").take()).await?;
            }
        }
    }
    progress(shared).reset(sequence);
    let Some(host) = shared.host() else { return Ok(()) };
    let mut written = 0;
    for table in Table::ALL {
        let there = pull(shared, commands, table).await?;
        let lacking: Vec<Row> = host
            .rows()
            .into_iter()
            .filter(|row| row.table == table)
            .filter(|row| there.get(&row.id).is_none_or(|found| found.is_older_than(row)))
            .collect();
        for row in
            lacking.iter().filter(|row| there.get(&row.id).is_some_and(|found| found.version.is_none()))
        {
            if let Some(found) = there.get(&row.id) {
                remove_forged(commands, table, &row.id, &found.raw).await?;
            }
        }
        for batch in lacking.chunks(BATCH) {
            written += write(shared, commands, batch).await?.0;
        }
    }
    // Makes the epoch, if there was nothing to write.
    let (_, sequence) = write(shared, commands, &[]).await?;
    if written > 0 {
        shared.tell_all(Message::Rows { rows: Vec::new(), written: 0, sequence });
    }
    expire(shared, commands).await
}

/// A row as it is in Redis.
struct Found {
    /// `None`: it does not open.
    version: Option<Version>,
    /// Whether it was sealed with the key that seals now.
    is_fresh: bool,
    raw: Vec<u8>,
}

impl Found {
    fn is_older_than(&self, row: &Row) -> bool {
        match &self.version {
            None => true,
            Some(version) => *version < row.version || (*version == row.version && !self.is_fresh),
        }
    }
}

/// Reads a table page by page and hands it over. Answers what there is.
async fn pull(
    shared: &Shared,
    commands: &Commands,
    table: Table,
) -> Result<HashMap<String, Found>, RowsError> {
    let key = keys::rows(table);
    let mut found = HashMap::new();
    let mut rows = Vec::new();
    let mut cursor = 0_u64;
    // What no Redis holds must not take memory either.
    let (mut kept, most) = (0, table.rows_max() * ROWS_FACTOR * 2);
    // A table that is being written to can be longer than its bound by a page, not by another table.
    for _ in 0..=(table.rows_max() * ROWS_FACTOR * 2 / PAGE + 1) {
        let command = redis::cmd("HSCAN").arg(&key).arg(cursor).arg("COUNT").arg(PAGE).take();
        let (next, pairs): (u64, Vec<(String, Vec<u8>)>) = value(commands.run(command).await?)?;
        for (id, raw) in pairs {
            let row = open(shared, table, &id, &raw);
            if row.is_none() {
                Counters::add(&shared.counters.rows_refused);
            }
            let version = row.as_ref().map(|(row, _)| row.version.clone());
            let is_fresh = row.as_ref().is_some_and(|(_, is_fresh)| *is_fresh);
            kept += id.len() + if row.is_some() { 0 } else { raw.len() };
            found.insert(id, Found { version, is_fresh, raw: if row.is_some() { Vec::new() } else { raw } });
            rows.extend(row.map(|(row, _)| row));
        }
        cursor = next;
        let is_last = cursor == 0;
        if let Some(host) = shared.host()
            && (is_last || rows.len() >= HANDED_MAX)
        {
            host.take_over(std::mem::take(&mut rows)).await;
        }
        if is_last || found.len() > most || kept > KEPT_BYTES_MAX {
            break;
        }
    }
    Ok(found)
}

/// Compares the epoch and the number of writes.
async fn check(shared: &Shared, commands: &Commands) -> Result<(), RowsError> {
    let (epoch, sequence) = state(commands).await?;
    let is_same = epoch.is_some() && *lock(&shared.epoch) == epoch;
    if !is_same || progress(shared).is_behind(sequence) {
        tracing::info!("Rows in Redis have changed unheard or were lost there; they are compared.");
        shared.compare.store(true, Ordering::Relaxed);
    }
    Ok(())
}

async fn state(commands: &Commands) -> Result<(Option<Vec<u8>>, u64), RowsError> {
    let answer =
        commands.run(redis::cmd("HMGET").arg(keys::ROWS_STATE).arg("epoch").arg("sequence").take()).await?;
    let (epoch, sequence): (Option<Vec<u8>>, Option<u64>) = value(answer)?;
    Ok((epoch, sequence.unwrap_or(0)))
}

async fn expire(shared: &Shared, commands: &Commands) -> Result<(), RowsError> {
    let now = settled_seconds().saturating_sub(EXPIRE_LATE_SECONDS);
    for table in Table::ALL {
        let (hash, expiry) = (keys::rows(table), keys::rows_expiry(table));
        let lease = ROWS_LEASE.as_millis() as u64;
        let removed: Value = commands
            .script(&EXPIRE_ROWS, &[&hash, &expiry, keys::ROWS_STATE], |command| {
                command.arg(now).arg(EXPIRE_MAX).arg(lease);
            })
            .await?;
        tracing::debug!(table = keys::table(table), ?removed, node = %shared.own.id, "Rows that are over were removed.");
    }
    Ok(())
}

async fn remove_forged(commands: &Commands, table: Table, id: &str, raw: &[u8]) -> Result<(), RowsError> {
    let key = keys::rows(table);
    commands
        .script(&REMOVE_FORGED, &[&key], |command| {
            command.arg(id).arg(raw);
        })
        .await?;
    Ok(())
}
