//! Looking at Redis from outside the cluster: nothing that is there is changed, and nothing is joined.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use redis::{Cmd, FromRedisValue as _, RedisError};
use tokio::time::Instant;

use super::{
    commands::Commands,
    connect::{Connector, value},
    counters::Counters,
    frame::purpose,
    heart::{ENTRIES_MAX, entry_place},
    keys,
    seal::{Keys, OpenError},
};
use crate::{
    cluster::{NodeInfo, clock::unix_millis},
    config::Config,
};

/// Names this user of Redis where a node would stand.
const NAME: &str = "doctor";
/// What commands are tried on. It holds a string, so that commands for other kinds of keys change nothing.
const KEY: &str = "iceway:{doctor}:probe";
const KEY_MILLIS: u32 = 2000;
const PINGS: usize = 5;

/// How a Redis is.
#[derive(Clone, Debug)]
pub struct RedisInspection {
    /// For people.
    pub server: String,
    /// As it says.
    pub version: String,
    /// The middle one of the times of a few PINGs.
    pub latency: Duration,
    /// By how many milliseconds its clock is ahead of ours.
    pub clock_ahead: Option<i64>,
    /// `maxmemory-policy`.
    pub memory_policy: String,
    /// The bytes it may take; 0 is unlimited.
    pub memory_max: u64,
    /// The bytes it has taken.
    pub memory_used: u64,
    /// The commands that this user may not give and that are needed.
    pub denied: Vec<String>,
    /// The nodes that keep an entry there.
    pub nodes: Vec<NodeInfo>,
    /// How many of them have sealed it with another cluster key.
    pub strangers: usize,
}

/// Why there is nothing to say.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InspectError {
    /// It cannot be reached, or refuses this user.
    #[error("{0}")]
    Unreachable(String),
    /// What the connection itself needs is denied: the commands.
    #[error("{0}")]
    Denied(String),
}

impl InspectError {
    fn of(error: impl ToString) -> Self {
        let text = error.to_string();
        if text.contains("NOPERM") || text.contains("NoPerm") {
            Self::Denied(text)
        } else {
            Self::Unreachable(text)
        }
    }
}

/// Looks at the Redis of a configuration.
///
/// # Errors
/// See [`InspectError`].
pub async fn inspect_redis(config: &Config) -> Result<RedisInspection, InspectError> {
    let connector =
        Connector::new(&config.redis, NAME, Arc::new(Counters::default())).map_err(InspectError::of)?;
    let reached = connector.reach().await.map_err(InspectError::of)?;
    let commands = &reached.commands;
    let memory = info(commands, "memory").await;
    let field = |name: &str| {
        memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let mut denied = denied(commands, config.redis.coturn_users).await;
    denied.extend(connector.subscribing_denied(&reached).await);
    let (nodes, strangers) = nodes(commands, config).await;
    Ok(RedisInspection {
        latency: latency(commands).await,
        clock_ahead: clock_ahead(commands).await,
        memory_policy: field("maxmemory_policy").unwrap_or_default().to_owned(),
        memory_max: field("maxmemory").and_then(|text| text.parse().ok()).unwrap_or(0),
        memory_used: field("used_memory").and_then(|text| text.parse().ok()).unwrap_or(0),
        denied,
        nodes,
        strangers,
        server: reached.server,
        version: reached.version,
    })
}

async fn info(commands: &Commands, section: &str) -> String {
    let answer = commands.run_anywhere(redis::cmd("INFO").arg(section).take()).await;
    answer.ok().and_then(|value| String::from_redis_value(value).ok()).unwrap_or_default()
}

async fn latency(commands: &Commands) -> Duration {
    let mut times = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let begun = Instant::now();
        // What it answers does not matter, only when.
        drop(commands.run_anywhere(redis::cmd("PING")).await);
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    times.get(PINGS / 2).copied().unwrap_or_default()
}

async fn clock_ahead(commands: &Commands) -> Option<i64> {
    let before = unix_millis();
    let answer = commands.run_anywhere(redis::cmd("TIME")).await.ok()?;
    let after = unix_millis();
    let (seconds, micros): (u64, u64) = value(answer).ok()?;
    let theirs = i64::try_from(seconds * 1000 + micros / 1000).ok()?;
    Some(theirs - i64::try_from(u64::midpoint(before, after)).ok()?)
}

/// The nodes that can be read, and how many cannot.
async fn nodes(commands: &Commands, config: &Config) -> (Vec<NodeInfo>, usize) {
    let keys = Keys::new(&config.redis.cluster_keys);
    let range = redis::cmd("ZRANGE").arg(keys::NODES).arg(0).arg(ENTRIES_MAX - 1).take();
    let ids: Vec<String> =
        commands.run(range).await.ok().and_then(|answer| value(answer).ok()).unwrap_or_default();
    if ids.is_empty() {
        return (Vec::new(), 0);
    }
    let names: Vec<String> = ids.iter().map(|id| keys::node(id)).collect();
    let entries = commands.run(redis::cmd("MGET").arg(names).take()).await;
    let entries: Vec<Option<Vec<u8>>> =
        entries.ok().and_then(|answer| value(answer).ok()).unwrap_or_default();
    let (mut nodes, mut strangers) = (Vec::new(), 0);
    for (id, entry) in ids.iter().zip(entries) {
        // One without an entry is gone.
        let Some(entry) = entry else { continue };
        match open(&keys, id, &entry) {
            Ok(info) => nodes.push(info),
            Err(_) => strangers += 1,
        }
    }
    (nodes, strangers)
}

fn open(keys: &Keys, id: &str, entry: &[u8]) -> Result<NodeInfo, OpenError> {
    let (incarnation, sealed) = super::shared::run_of(entry).ok_or(OpenError::Forged)?;
    let plain = keys.sealer(&purpose(id, incarnation)).open(&entry_place(id), sealed)?;
    serde_json::from_slice(&plain).map_err(|_| OpenError::Forged)
}

/// The commands of [`ACL_RULE`](keys::ACL_RULE) that are denied. An error of any other kind means that it is allowed.
async fn denied(commands: &Commands, coturn_users: bool) -> Vec<String> {
    let begin = redis::cmd("SET").arg(KEY).arg("").arg("PX").arg(KEY_MILLIS).take();
    let mut denied: Vec<String> = try_command(commands, "set", begin).await.into_iter().collect();
    let tried = needed().filter_map(|name| Some((name, probe(name)?)));
    denied.extend(
        join_all(tried.map(|(name, probe)| try_command(commands, name, probe))).await.into_iter().flatten(),
    );
    if coturn_users {
        let members = redis::cmd("SMEMBERS").arg("turn/realm/doctor/secret").take();
        denied.extend(try_command(commands, "smembers", members).await);
    }
    for (name, command) in [
        ("pexpire", redis::cmd("PEXPIRE").arg(KEY).arg(KEY_MILLIS).take()),
        ("del", redis::cmd("DEL").arg(KEY).take()),
    ] {
        denied.extend(try_command(commands, name, command).await);
    }
    denied
}

/// The commands that the rule names.
fn needed() -> impl Iterator<Item = &'static str> {
    keys::ACL_RULE.split_ascii_whitespace().filter_map(|word| word.strip_prefix('+'))
}

async fn try_command(commands: &Commands, name: &str, command: Cmd) -> Option<String> {
    let error = commands.run(command).await.err()?;
    is_denial(&error).then(|| name.to_owned())
}

pub(super) fn is_denial(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

/// A command that has its arguments right and changes nothing; `None` for those tried elsewhere.
fn probe(name: &str) -> Option<Cmd> {
    let arguments: &[&str] = match name {
        // The connection has given them, or they come before and after the others.
        "hello" | "auth" | "select" | "ping" | "info" | "time" | "set" | "pexpire" | "del" | "subscribe"
        | "unsubscribe" => return None,
        "get" | "mget" | "hlen" | "xlen" => &[KEY],
        "eval" => &["return 1", "1", KEY],
        "evalsha" => &["0000000000000000000000000000000000000000", "1", KEY],
        "hget" | "hmget" | "hdel" | "zrem" | "zscore" => &[KEY, "a"],
        "hset" => &[KEY, "a", "1"],
        "hscan" => &[KEY, "0"],
        "hincrby" => &[KEY, "a", "0"],
        "zadd" => &[KEY, "XX", "1", "a"],
        "zrange" | "zrangebyscore" | "zremrangebyscore" | "zremrangebyrank" => &[KEY, "1", "0"],
        "xadd" => &[KEY, "NOMKSTREAM", "*", "a", "1"],
        "xdel" => &[KEY, "0-1"],
        "xrange" => &[KEY, "1-0", "0-1"],
        "xtrim" => &[KEY, "MAXLEN", "1000000"],
        "publish" => &["iceway:{doctor}", ""],
        _ => return None,
    };
    Some(redis::cmd(&name.to_ascii_uppercase()).arg(arguments).take())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_the_rule_is_tried() {
        let elsewhere = [
            "hello",
            "auth",
            "select",
            "ping",
            "info",
            "time",
            "set",
            "pexpire",
            "del",
            "subscribe",
            "unsubscribe",
        ];
        for name in needed() {
            assert!(probe(name).is_some() || elsewhere.contains(&name), "{name}");
        }
    }
}
