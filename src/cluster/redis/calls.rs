//! Calls of all nodes: their records in the order of their last change, and their steps.

use super::{
    connect::value,
    keys,
    outbox::{degraded, read},
    outbox_scripts::NOTE_CALLS,
    seal::place,
    shared::Shared,
};
use crate::cluster::{
    CallHistory, CallPage, CallView, KeptEvent, OutboxBounds, RequestError, STEPS_MAX, put_step,
};

/// The purpose of the codes that stand for calls.
const CODES: &str = "call";

/// Notes what events tell of calls; answers how many others had to go.
pub(super) async fn note(shared: &Shared, events: &[KeptEvent], bounds: &OutboxBounds) -> Option<u64> {
    let own = &shared.own.id;
    let mut rows = Vec::new();
    for (call, step) in events.iter().filter_map(KeptEvent::call) {
        let code = shared.keys.code(CODES, &call.id);
        let record = seal(shared, &record_place(own, &code), &call)?;
        let step = seal(shared, &step_place(own, &code, step.call_seq), &step)?;
        rows.push((code, call.sequence, record, step));
    }
    if rows.is_empty() {
        return Some(0);
    }
    let mut names = vec![keys::CALLS.to_owned(), keys::calls_order(), keys::calls_state()];
    names.extend(rows.iter().map(|(code, ..)| keys::call_steps(code)));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let retention = u64::try_from(bounds.retention.as_micros()).unwrap_or(u64::MAX);
    let commands = shared.commands()?;
    let answer = commands.script(&NOTE_CALLS, &names, |command| {
        command.arg(bounds.calls_max).arg(retention).arg(keys::CALLS_LEASE.as_millis() as u64).arg(STEPS_MAX);
        for (code, sequence, record, step) in &rows {
            command.arg(code).arg(sequence).arg(record).arg(step);
        }
    });
    value(answer.await.ok()?).ok()
}

/// Calls that changed after a place.
pub(super) async fn page(shared: &Shared, since: u64, limit: usize) -> Result<CallPage, RequestError> {
    let order = keys::calls_order();
    let range = redis::cmd("ZRANGEBYSCORE")
        .arg(order)
        .arg(format!("({since}"))
        .arg("+inf")
        .arg("WITHSCORES")
        .arg("LIMIT")
        .arg(0)
        .arg(limit + 1)
        .take();
    let fault = |error: redis::RedisError| degraded(&error.to_string());
    let mut found: Vec<(String, f64)> = value(read(shared, range).await?).map_err(fault)?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    if found.is_empty() {
        return Ok(CallPage::default());
    }
    let codes: Vec<&str> = found.iter().map(|(code, _)| code.as_str()).collect();
    let get = redis::cmd("HMGET").arg(keys::CALLS).arg(codes).take();
    let records: Vec<Option<Vec<u8>>> = value(read(shared, get).await?).map_err(fault)?;
    let mut calls = Vec::with_capacity(found.len());
    for ((code, place), record) in found.iter().zip(records) {
        if let Some(call) = record.and_then(|record| open_record(shared, code, &record)) {
            // Microseconds since the Unix epoch are whole numbers that a double holds.
            calls.push((*place as u64, call));
        }
    }
    Ok(CallPage { calls, has_more })
}

/// A call with its steps.
pub(super) async fn one(shared: &Shared, id: &str) -> Result<Option<CallHistory>, RequestError> {
    let fault = |error: redis::RedisError| degraded(&error.to_string());
    // A key that was rotated away had another code for it.
    for code in shared.keys.codes(CODES, id) {
        let get = redis::cmd("HGET").arg(keys::CALLS).arg(&code).take();
        let record: Option<Vec<u8>> = value(read(shared, get).await?).map_err(fault)?;
        let Some(call) = record.and_then(|record| open_record(shared, &code, &record)) else { continue };
        let numbers: Vec<usize> = (1..=STEPS_MAX).collect();
        let get = redis::cmd("HMGET").arg(keys::call_steps(&code)).arg(&numbers).take();
        let sealed: Vec<Option<Vec<u8>>> = value(read(shared, get).await?).map_err(fault)?;
        let mut steps = Vec::new();
        for (number, sealed) in numbers.into_iter().zip(sealed) {
            let number = u32::try_from(number).unwrap_or_default();
            let place = |node: &str| step_place(node, &code, number);
            if let Some(step) = sealed.and_then(|sealed| open(shared, place, &sealed)) {
                put_step(&mut steps, step);
            }
        }
        return Ok(Some((call, steps)));
    }
    Ok(None)
}

fn open_record(shared: &Shared, code: &str, record: &[u8]) -> Option<CallView> {
    let bar = record.iter().position(|&byte| byte == b'|')?;
    open(shared, |node| record_place(node, code), record.get(bar + 1..)?)
}

/// Node, bar, and what it sealed.
fn seal(shared: &Shared, place: &[u8], what: &impl serde::Serialize) -> Option<Vec<u8>> {
    let plain = serde_json::to_vec(what).ok()?;
    let mut bytes = shared.own.id.as_bytes().to_vec();
    bytes.push(b'|');
    bytes.extend_from_slice(&shared.seal_as_run(place, &plain)?);
    Some(bytes)
}

fn open<T: serde::de::DeserializeOwned>(
    shared: &Shared,
    place: impl Fn(&str) -> Vec<u8>,
    sealed: &[u8],
) -> Option<T> {
    let bar = sealed.iter().position(|&byte| byte == b'|')?;
    let node = std::str::from_utf8(sealed.get(..bar)?).ok()?;
    let plain = shared.open_of_run(node, &place(node), sealed.get(bar + 1..)?)?;
    serde_json::from_slice(&plain).ok()
}

fn record_place(node: &str, code: &str) -> Vec<u8> {
    place(&[b"call", node.as_bytes(), code.as_bytes()])
}

fn step_place(node: &str, code: &str, number: u32) -> Vec<u8> {
    place(&[b"step", node.as_bytes(), code.as_bytes(), &number.to_be_bytes()])
}
