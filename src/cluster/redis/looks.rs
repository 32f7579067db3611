//! What callers wait for: rates that all nodes share, and what is kept under idempotency keys.

use std::time::Duration;

use redis::Value;
use tokio::time::timeout;

use super::{
    connect::value,
    keys,
    scripts::{LIMIT, REMEMBER},
    seal::{Sealer, place},
    shared::{LOOK_MAX, Shared},
};
use crate::cluster::{LimitAnswer, Rate, Remembered};

/// A request waits no longer for a shared rate.
const LIMIT_MAX: Duration = Duration::from_millis(50);
/// The largest value that is kept: answers of the API are much smaller.
const VALUE_BYTES_MAX: usize = 256 << 10;
/// The longest time something is kept.
const KEPT_MAX: Duration = Duration::from_secs(7 * 86_400);
/// A wait longer than any rate makes.
const WAIT_MAX_MICROS: u64 = 86_400_000_000;

/// Counts one use of a name.
pub(super) async fn limit(shared: &Shared, name: &str, rate: Rate) -> Option<LimitAnswer> {
    if !shared.health.is_connected() {
        return None;
    }
    let commands = shared.commands()?;
    let interval =
        (rate.per.as_micros() / u128::from(rate.count.max(1))).clamp(1, u128::from(WAIT_MAX_MICROS));
    let key = keys::limit(&shared.keys.code("limit", name));
    let keys = [key.as_str()];
    let counting = commands.script(&LIMIT, &keys, |command| {
        command.arg(interval as u64).arg(rate.burst.max(1));
    });
    let answer = timeout(LIMIT_MAX, counting).await.ok()?.ok()?;
    let (is_admitted, remaining, wait): (u8, u32, u64) = value(answer).ok()?;
    Some(LimitAnswer { is_admitted: is_admitted == 1, remaining, retry_after: Duration::from_micros(wait) })
}

/// Keeps a value unless there is one.
pub(super) async fn remember(shared: &Shared, key: &str, kept: &[u8], ttl: Duration) -> Option<Remembered> {
    let Entry { commands, key, sealer, place, sealed } = entry(shared, key, kept)?;
    let keys = [key.as_str()];
    let keeping = commands.script(&REMEMBER, &keys, |command| {
        command.arg(&sealed).arg(millis(ttl));
    });
    let answer = timeout(LOOK_MAX, keeping).await.ok()?.ok()?;
    if answer == Value::Nil {
        return Some(Remembered::New);
    }
    let there: Vec<u8> = value(answer).ok()?;
    let plain = sealer.open(&place, &there).ok()?;
    Some(Remembered::Earlier(plain.to_vec()))
}

/// Replaces a value.
pub(super) async fn replace(shared: &Shared, key: &str, kept: &[u8], ttl: Duration) -> Option<()> {
    let Entry { commands, key, sealed, .. } = entry(shared, key, kept)?;
    let set = redis::cmd("SET").arg(key).arg(sealed).arg("PX").arg(millis(ttl)).take();
    timeout(LOOK_MAX, commands.run(set)).await.ok()?.ok()?;
    Some(())
}

struct Entry {
    commands: std::sync::Arc<super::commands::Commands>,
    key: String,
    sealer: Sealer,
    place: Vec<u8>,
    sealed: Vec<u8>,
}

fn entry(shared: &Shared, key: &str, kept: &[u8]) -> Option<Entry> {
    if kept.len() > VALUE_BYTES_MAX || !shared.health.is_connected() {
        return None;
    }
    let commands = shared.commands()?;
    let place = place(&[b"once", key.as_bytes()]);
    let code = shared.keys.code("once", key);
    // A key for each value: there may be thousands a second, for years.
    let sealer = shared.keys.sealer(&format!("once {key}"));
    let sealed = sealer.seal(&place, kept)?;
    Some(Entry { commands, key: keys::once(&code), sealer, place, sealed })
}

fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.min(KEPT_MAX).as_millis()).unwrap_or(u64::MAX).max(1)
}
