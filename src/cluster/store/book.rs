//! The tables of the file, and what is done to them.

use std::collections::HashMap;

use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _,
    TableDefinition, WriteTransaction,
};
use zeroize::Zeroizing;

use super::Bounds;
use crate::cluster::{ApiKeyId, Row, Table, UsageOf, UsagePage, UsageQuery, UsageRecord, UsageTotals};

/// `format`, `node_key` and `usage_last`.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// JSON of rows by their table and id.
const ROWS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("rows");
/// JSON of records by their place, which only goes up.
const USAGE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("usage");
/// JSON of sums by day, [`Kind`] and name.
const TOTALS: TableDefinition<'_, (u32, u8, &str), &[u8]> = TableDefinition::new("totals");
/// How many names a day and kind have.
const NAMES: TableDefinition<'_, (u32, u8), u64> = TableDefinition::new("names");
/// When API keys were last used: seconds since the Unix epoch.
const USED: TableDefinition<'_, &str, u64> = TableDefinition::new("used");

/// The version of all this. What only adds fields to JSON does not change it.
const FORMAT: u64 = 1;
/// Users, and labels, that a day has sums for; what is beyond is summed under nobody's name.
const NAMES_PER_DAY_MAX: u64 = 100_000;
/// The longest name that has a sum of its own, in bytes.
const NAME_BYTES_MAX: usize = 512;

/// Any error of the database. It is told to people, never matched.
pub(super) type Fault = redb::Error;

/// What a sum is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
enum Kind {
    Everybody = 0,
    User = 1,
    Label = 2,
    /// Users beyond the bound.
    UserRest = 3,
    /// Labels beyond the bound.
    LabelRest = 4,
}

/// What the file knows.
pub(super) enum Identity {
    /// It is new.
    New,
    /// It is of this program.
    Known(Zeroizing<[u8; 32]>),
    /// It was written by a later version.
    Later(u64),
    /// It is another program's.
    Foreign,
}

/// Whose file it is.
pub(super) fn identify(database: &Database) -> Result<Identity, Fault> {
    let read = database.begin_read()?;
    if read.list_tables()?.next().is_none() {
        return Ok(Identity::New);
    }
    let Ok(meta) = read.open_table(META) else { return Ok(Identity::Foreign) };
    let format =
        meta.get("format")?.and_then(|value| Some(u64::from_le_bytes(value.value().try_into().ok()?)));
    let key = meta.get("node_key")?.and_then(|value| value.value().try_into().ok());
    Ok(match (format, key) {
        (Some(FORMAT), Some(key)) => Identity::Known(Zeroizing::new(key)),
        (Some(format), _) if format > FORMAT => Identity::Later(format),
        _ => Identity::Foreign,
    })
}

/// Makes all tables of a new file.
pub(super) fn establish(database: &Database, node_key: &[u8; 32]) -> Result<(), Fault> {
    let write = database.begin_write()?;
    {
        let mut meta = write.open_table(META)?;
        meta.insert("format", FORMAT.to_le_bytes().as_slice())?;
        meta.insert("node_key", node_key.as_slice())?;
        write.open_table(ROWS)?;
        write.open_table(USAGE)?;
        write.open_table(TOTALS)?;
        write.open_table(NAMES)?;
        write.open_table(USED)?;
    }
    write.commit()?;
    Ok(())
}

/// All rows that can be read; how many can't is answered too.
pub(super) fn rows(read: &ReadTransaction) -> Result<(Vec<Row>, usize), Fault> {
    let (mut rows, mut unreadable) = (Vec::new(), 0);
    for entry in read.open_table(ROWS)?.iter()? {
        match serde_json::from_slice(entry?.1.value()) {
            Ok(row) => rows.push(row),
            Err(_) => unreadable += 1,
        }
    }
    Ok((rows, unreadable))
}

/// When API keys were last used.
pub(super) fn last_used(read: &ReadTransaction) -> Result<Vec<(ApiKeyId, u64)>, Fault> {
    let mut uses = Vec::new();
    for entry in read.open_table(USED)?.iter()? {
        let (id, at) = entry?;
        uses.push((id.value().to_owned(), at.value()));
    }
    Ok(uses)
}

/// How many records there are, and the place of the last one there ever was.
pub(super) fn usage_extent(read: &ReadTransaction) -> Result<(u64, Option<u64>), Fault> {
    let last = read.open_table(META)?.get("usage_last")?;
    let last = last.and_then(|value| Some(u64::from_le_bytes(value.value().try_into().ok()?)));
    Ok((read.open_table(USAGE)?.len()?, last))
}

/// Keeps rows that are newer than what is kept.
pub(super) fn put_rows(write: &WriteTransaction, rows: &[Row]) -> Result<(), Fault> {
    let mut table = write.open_table(ROWS)?;
    for row in rows {
        let key = (name(row.table), row.id.as_str());
        let known = table.get(key)?.and_then(|known| serde_json::from_slice::<Row>(known.value()).ok());
        if known.is_some_and(|known| known.version > row.version) {
            continue;
        }
        let Ok(json) = serde_json::to_vec(row) else { continue };
        let json = Zeroizing::new(json);
        table.insert(key, json.as_slice())?;
        if row.table == Table::ApiKeys && row.value.is_none() {
            write.open_table(USED)?.remove(row.id.as_str())?;
        }
    }
    Ok(())
}

/// Removes rows that are over at `now`.
pub(super) fn forget_rows(write: &WriteTransaction, rows: &[(Table, String)], now: u64) -> Result<(), Fault> {
    let mut table = write.open_table(ROWS)?;
    for (of, id) in rows {
        let key = (name(*of), id.as_str());
        let known = table.get(key)?.and_then(|known| serde_json::from_slice::<Row>(known.value()).ok());
        if known.is_some_and(|known| known.is_over(now)) {
            table.remove(key)?;
            if *of == Table::ApiKeys {
                write.open_table(USED)?.remove(id.as_str())?;
            }
        }
    }
    Ok(())
}

/// Keeps when API keys were last used.
pub(super) fn put_uses(write: &WriteTransaction, uses: &[(ApiKeyId, u64)]) -> Result<(), Fault> {
    let mut table = write.open_table(USED)?;
    for (id, at) in uses {
        table.insert(id.as_str(), at)?;
    }
    Ok(())
}

/// Keeps records at the places after `last`, and adds them to the totals. Answers how many were summed under nobody's
/// name.
pub(super) fn put_usage(write: &WriteTransaction, records: &[UsageRecord], last: u64) -> Result<u64, Fault> {
    let mut usage = write.open_table(USAGE)?;
    for (place, record) in (last + 1..).zip(records) {
        let Ok(json) = serde_json::to_vec(record) else { continue };
        usage.insert(place, json.as_slice())?;
    }
    drop(usage);
    let last = last.saturating_add(records.len() as u64);
    write.open_table(META)?.insert("usage_last", last.to_le_bytes().as_slice())?;
    let mut sums: HashMap<(u32, Kind, &str), UsageTotals> = HashMap::new();
    for record in records {
        let mut add = |kind, name| sums.entry((record.day(), kind, name)).or_default().add(record);
        add(Kind::Everybody, "");
        add(Kind::User, &record.user);
        if let Some(label) = &record.label {
            add(Kind::Label, label);
        }
    }
    add_totals(write, sums)
}

fn add_totals(write: &WriteTransaction, sums: HashMap<(u32, Kind, &str), UsageTotals>) -> Result<u64, Fault> {
    let mut totals = write.open_table(TOTALS)?;
    let mut names = write.open_table(NAMES)?;
    let mut overflowed = 0;
    for ((day, kind, name), sum) in sums {
        let (mut kind, mut name) = (kind, name);
        let mut known = totals.get((day, kind as u8, name))?.map(|value| read_totals(value.value()));
        if known.is_none() {
            let count = names.get((day, kind as u8))?.map_or(0, |count| count.value());
            if count >= NAMES_PER_DAY_MAX || name.len() > NAME_BYTES_MAX {
                overflowed += sum.allocations;
                (kind, name) = (if kind == Kind::Label { Kind::LabelRest } else { Kind::UserRest }, "");
                known = totals.get((day, kind as u8, name))?.map(|value| read_totals(value.value()));
            } else {
                names.insert((day, kind as u8), count + 1)?;
            }
        }
        let mut total = known.unwrap_or_default();
        total.merge(&sum);
        let Ok(json) = serde_json::to_vec(&total) else { continue };
        totals.insert((day, kind as u8, name), json.as_slice())?;
    }
    Ok(overflowed)
}

fn read_totals(json: &[u8]) -> UsageTotals {
    serde_json::from_slice(json).unwrap_or_default()
}

/// Drops the oldest records until `records_max` are left, and answers how many were dropped.
pub(super) fn bound_usage(write: &WriteTransaction, bounds: Bounds) -> Result<u64, Fault> {
    let mut usage = write.open_table(USAGE)?;
    let surplus = usage.len()?.saturating_sub(bounds.records_max);
    for _ in 0..surplus {
        usage.pop_first()?;
    }
    Ok(surplus)
}

/// Drops the totals of days before `first_day`.
pub(super) fn forget_days(write: &WriteTransaction, first_day: u32) -> Result<(), Fault> {
    write.open_table(TOTALS)?.retain_in(..(first_day, 0, ""), |_, _| false)?;
    write.open_table(NAMES)?.retain_in(..(first_day, 0), |_, _| false)?;
    Ok(())
}

/// Removes the records up to and including a place, and answers how many.
pub(super) fn acknowledge(write: &WriteTransaction, up_to: u64) -> Result<u64, Fault> {
    let mut usage = write.open_table(USAGE)?;
    let before = usage.len()?;
    usage.retain_in(..=up_to, |_, _| false)?;
    Ok(before - usage.len()?)
}

/// Some records after a place.
pub(super) fn page(read: &ReadTransaction, after: u64, limit: usize) -> Result<UsagePage, Fault> {
    let usage = read.open_table(USAGE)?;
    let mut page = UsagePage::default();
    for entry in usage.range(after.saturating_add(1)..)? {
        let (place, json) = entry?;
        if page.records.len() >= limit {
            page.has_more = true;
            break;
        }
        if let Ok(record) = serde_json::from_slice(json.value()) {
            page.records.push((format!("{:016x}", place.value()), record));
        }
    }
    Ok(page)
}

/// The sum of some days.
pub(super) fn totals(
    read: &ReadTransaction,
    query: &UsageQuery,
    bounds: Bounds,
) -> Result<UsageTotals, Fault> {
    let table = read.open_table(TOTALS)?;
    let (kind, name) = match &query.of {
        UsageOf::Everybody => (Kind::Everybody, ""),
        UsageOf::User(user) => (Kind::User, user.as_str()),
        UsageOf::Label(label) => (Kind::Label, label.as_str()),
    };
    let mut sum = UsageTotals::default();
    // No more days are kept, however many are asked for.
    let last = table.last()?.map_or(0, |(key, _)| key.value().0).min(query.to_day);
    let first = query.from_day.max(last.saturating_sub(bounds.days.saturating_mul(2)));
    for day in first..=last {
        if let Some(json) = table.get((day, kind as u8, name))? {
            sum.merge(&read_totals(json.value()));
        }
    }
    Ok(sum)
}

/// The name of a table in the file.
const fn name(table: Table) -> &'static str {
    match table {
        Table::Secrets => "secrets",
        Table::ApiKeys => "api_keys",
        Table::Revocations => "revocations",
        Table::SessionRevocations => "session_revocations",
    }
}
