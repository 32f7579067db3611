//! Usage records in one stream and their totals per day, added once each.

use std::{sync::atomic::Ordering, time::Duration};

use redis::Value;
use tokio::time::timeout;

use super::{
    connect::value,
    counters::Counters,
    keys::{self, SEEN_LEASE},
    scripts::APPEND_USAGE,
    seal::place,
    shared::Shared,
};
use crate::cluster::{RequestError, UsageOf, UsagePage, UsageQuery, UsageRecord, UsageTotals};

/// How long all of it may take together.
const APPEND_MAX: Duration = Duration::from_secs(2);
/// How long a page or a sum may take.
const READ_MAX: Duration = Duration::from_secs(2);
/// Records added by one script.
const BATCH: usize = 100;
/// Ids of one node that are remembered: more than are ever on their way.
const SEEN_MAX: usize = 20_000;
/// Users and labels of one day that are summed by name, four numbers each; further ones are summed for everybody alone.
const NAMES_PER_DAY_MAX: u64 = 500_000;
/// Days one sum may span.
const DAYS_MAX: u32 = 4000;
const DAY: Duration = Duration::from_secs(86_400);
const PAGE_MAX: u32 = 1000;

/// Adds records; `false` if not all of them are known to be there.
pub(super) async fn append(shared: &Shared, records: &[UsageRecord]) -> bool {
    let adding = async {
        for batch in records.chunks(BATCH) {
            append_batch(shared, batch).await?;
        }
        Some(())
    };
    matches!(timeout(APPEND_MAX, adding).await, Ok(Some(())))
}

async fn append_batch(shared: &Shared, records: &[UsageRecord]) -> Option<()> {
    let commands = shared.commands()?;
    let mut days: Vec<u32> = records.iter().map(UsageRecord::day).collect();
    days.sort_unstable();
    days.dedup();
    let mut names = vec![keys::USAGE.to_owned(), keys::usage_seen(&shared.own.id)];
    names.extend(days.iter().map(|&day| keys::usage_day(day)));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut sealed = Vec::with_capacity(records.len());
    for record in records {
        let plain = serde_json::to_vec(record).ok()?;
        sealed.push(shared.seal_as_run(&record_place(&shared.own.id), &plain)?);
    }
    let lease = DAY * (shared.options.days + 1);
    let answer = commands.script(&APPEND_USAGE, &names, |command| {
        command.arg(shared.options.records_max).arg(SEEN_LEASE.as_millis() as u64).arg(SEEN_MAX);
        command.arg(lease.as_millis() as u64).arg(4 * NAMES_PER_DAY_MAX).arg(&shared.own.id);
        for (record, sealed) in records.iter().zip(&sealed) {
            let day = days.iter().position(|&day| day == record.day()).unwrap_or(0) + 3;
            let label = record.label.as_deref().map(|label| shared.keys.code("usage label", label));
            command.arg(shared.keys.code("usage record", &record.id)).arg(day);
            command.arg(shared.keys.code("usage user", &record.user)).arg(label.unwrap_or_default());
            command.arg(record.seconds).arg(record.sent_bytes).arg(record.received_bytes).arg(sealed);
        }
    });
    let (_, lost, overflowed): (u64, i64, u64) = value(answer.await.ok()?).ok()?;
    let lost = u64::try_from(lost).unwrap_or(0);
    shared.counters.usage_lost.fetch_add(lost, Ordering::Relaxed);
    shared.counters.usage_overflowed.fetch_add(overflowed, Ordering::Relaxed);
    Some(())
}

/// What an entry of the stream holds.
type Fields = Vec<(String, Vec<u8>)>;

/// A page of the stream.
pub(super) async fn records(
    shared: &Shared,
    after: Option<&str>,
    limit: u32,
) -> Result<UsagePage, RequestError> {
    let limit = limit.clamp(1, PAGE_MAX) as usize;
    let start = after.map_or_else(|| "-".to_owned(), |cursor| format!("({cursor}"));
    let mut range = redis::cmd("XRANGE");
    range.arg(keys::USAGE).arg(start).arg("+").arg("COUNT").arg(limit + 1);
    let answer = read(shared, range).await?;
    let entries: Vec<(String, Fields)> = value(answer).map_err(|error| degraded(&error.to_string()))?;
    let has_more = entries.len() > limit;
    let records = entries.into_iter().take(limit).filter_map(|(cursor, fields)| {
        let record = open(shared, &fields);
        if record.is_none() {
            Counters::add(&shared.counters.rows_refused);
        }
        Some((cursor, record?))
    });
    Ok(UsagePage { records: records.collect(), has_more })
}

fn open(shared: &Shared, fields: &[(String, Vec<u8>)]) -> Option<UsageRecord> {
    let field =
        |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice());
    let node = std::str::from_utf8(field("n")?).ok()?;
    let plain = shared.open_of_run(node, &record_place(node), field("d")?)?;
    serde_json::from_slice(&plain).ok().filter(|record: &UsageRecord| record.node == node)
}

/// Removes the records up to a cursor.
pub(super) async fn acknowledge(shared: &Shared, up_to: &str) -> Result<u64, RequestError> {
    let Some(next) = after(up_to) else { return Ok(0) };
    let trim = redis::cmd("XTRIM").arg(keys::USAGE).arg("MINID").arg(next).take();
    value(read(shared, trim).await?).map_err(|error| degraded(&error.to_string()))
}

/// Whether a text names a place in the stream.
pub(super) fn is_cursor(text: &str) -> bool {
    after(text).is_some()
}

/// The id that follows one of the stream.
fn after(cursor: &str) -> Option<String> {
    let (millis, number) = cursor.split_once('-')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(millis) || !is_number(number) {
        return None;
    }
    let (millis, number): (u64, u64) = (millis.parse().ok()?, number.parse().ok()?);
    Some(match number.checked_add(1) {
        Some(number) => format!("{millis}-{number}"),
        None => format!("{}-0", millis.checked_add(1)?),
    })
}

/// The sum of days.
pub(super) async fn totals(shared: &Shared, query: &UsageQuery) -> Result<UsageTotals, RequestError> {
    let names = match &query.of {
        UsageOf::Everybody => vec![String::new()],
        UsageOf::User(user) => prefixed('u', shared.keys.codes("usage user", user)),
        UsageOf::Label(label) => prefixed('l', shared.keys.codes("usage label", label)),
    };
    let fields: Vec<String> =
        names.iter().flat_map(|name| ["a", "t", "s", "r"].map(|field| format!("{name}{field}"))).collect();
    let last = query.to_day.min(query.from_day.saturating_add(DAYS_MAX));
    let mut totals = UsageTotals::default();
    for day in query.from_day..=last {
        let get = redis::cmd("HMGET").arg(keys::usage_day(day)).arg(&fields).take();
        let numbers: Vec<Option<u64>> =
            value(read(shared, get).await?).map_err(|error| degraded(&error.to_string()))?;
        for numbers in numbers.chunks(4) {
            let number = |index: usize| numbers.get(index).copied().flatten().unwrap_or(0);
            totals.merge(&UsageTotals {
                allocations: number(0),
                seconds: number(1),
                sent_bytes: number(2),
                received_bytes: number(3),
            });
        }
    }
    Ok(totals)
}

fn prefixed(kind: char, codes: Vec<String>) -> Vec<String> {
    codes.into_iter().map(|code| format!("{kind}{code}")).collect()
}

async fn read(shared: &Shared, command: redis::Cmd) -> Result<Value, RequestError> {
    let commands = shared.commands().ok_or_else(|| degraded(&shared.health.reason()))?;
    match timeout(READ_MAX, commands.run(command)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(degraded(&error.to_string())),
        Err(_) => Err(degraded("Redis does not answer")),
    }
}

fn degraded(reason: &str) -> RequestError {
    RequestError::Degraded(reason.to_owned())
}

fn record_place(node: &str) -> Vec<u8> {
    place(&[b"usage", node.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_after_a_cursor_is_the_next_one() {
        assert_eq!(after("5-0").as_deref(), Some("5-1"));
        assert_eq!(after(&format!("5-{}", u64::MAX)).as_deref(), Some("6-0"));
        for text in ["", "5", "-", "5-", "a-1", "+5-1", "5-1 ", "(5-1", "99999999999999999999-1"] {
            assert!(!is_cursor(text), "{text}");
        }
    }
}
