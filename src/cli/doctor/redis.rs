//! The Redis that nodes share.

use std::time::Duration;

use super::{
    clock,
    finding::{Check, Finding, shown},
};
use crate::{
    cluster::{InspectError, NodeState, RedisInspection, inspect_redis, redis_mend},
    config::Config,
};

/// Above this share of `redis.command_timeout` a busy moment is taken for an outage.
const LATENCY_SHARE: u32 = 4;
const MEMORY_FULL_PERCENT: u64 = 90;
const NODES_SHOWN_MAX: usize = 5;

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    if config.redis.url.is_none() {
        return Vec::new();
    }
    match inspect_redis(config).await {
        Ok(found) => judge(config, &found),
        Err(InspectError::Denied(text)) => {
            vec![Check::RedisAcl.failure(text).mend("give the user the ACL rule of the README")]
        }
        Err(InspectError::Unreachable(text)) => {
            vec![Check::RedisReach.failure(text.clone()).mend(redis_mend(&text))]
        }
    }
}

fn judge(config: &Config, found: &RedisInspection) -> Vec<Finding> {
    let mut findings = vec![
        Check::RedisReach.ok(format!("{}, version {}", found.server, found.version)),
        latency(found.latency, config.redis.command_timeout),
        acl(&found.denied),
        memory(found),
    ];
    findings.extend(found.clock_ahead.map(|millis| clock::judge(Check::ClockRedis, millis / 1000)));
    findings.extend(nodes(found));
    findings
}

fn latency(time: Duration, most: Duration) -> Finding {
    let fact = format!("answers in {}", shown(time));
    if time * LATENCY_SHARE <= most {
        return Check::RedisLatency.ok(fact);
    }
    let mend = format!("nearer, or less busy; redis.command_timeout is {}", shown(most));
    Check::RedisLatency.warning(fact).mend(mend)
}

fn acl(denied: &[String]) -> Finding {
    if denied.is_empty() {
        return Check::RedisAcl.ok("every command that is needed is allowed");
    }
    let rule: Vec<String> = denied.iter().map(|name| format!("+{name}")).collect();
    Check::RedisAcl
        .failure(format!("the user may not give {}", denied.join(", ")))
        .mend(format!("ACL SETUSER … {}", rule.join(" ")))
}

fn memory(found: &RedisInspection) -> Finding {
    let check = Check::RedisMemory;
    let RedisInspection { memory_max: max, memory_used: used, memory_policy: policy, .. } = found;
    if *max == 0 {
        return check.ok("no limit");
    }
    let share = used.saturating_mul(100) / max;
    if policy != "noeviction" {
        let fact = format!("maxmemory-policy is {policy}: it may forget nodes, rows and calls");
        return check.warning(fact).mend("maxmemory-policy noeviction, or a Redis of its own");
    }
    if share >= MEMORY_FULL_PERCENT {
        return check.warning(format!("{share} % of maxmemory is taken")).mend("raise maxmemory");
    }
    check.ok(format!("{share} % of maxmemory is taken"))
}

fn nodes(found: &RedisInspection) -> Vec<Finding> {
    let mut findings = Vec::new();
    match (found.nodes.len(), found.strangers) {
        (_, 0) => findings.push(Check::RedisKey.ok("all nodes there share it")),
        (known, strangers) => {
            let fact = format!("{strangers} of {} nodes there have another cluster key", known + strangers);
            findings
                .push(Check::RedisKey.failure(fact).mend("the same redis.cluster_key_file on every node"));
        }
    }
    let names: Vec<String> = found
        .nodes
        .iter()
        .take(NODES_SHOWN_MAX)
        .map(|node| {
            let state = if node.state == NodeState::Draining { ", draining" } else { "" };
            format!("{} ({} allocations{state})", node.id, node.load.allocations)
        })
        .collect();
    let more = found.nodes.len().saturating_sub(names.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    findings.push(match names.as_slice() {
        [] => Check::RedisNodes.hint("no node is there now"),
        names => Check::RedisNodes.ok(format!("{}{more}", names.join(", "))),
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Level;

    fn healthy() -> RedisInspection {
        RedisInspection {
            server: "Redis at r:6379".to_owned(),
            version: "7.2.0".to_owned(),
            latency: Duration::from_millis(1),
            clock_ahead: Some(20),
            memory_policy: "noeviction".to_owned(),
            memory_max: 1000,
            memory_used: 10,
            denied: Vec::new(),
            nodes: Vec::new(),
            strangers: 0,
        }
    }

    fn wrong(found: &RedisInspection) -> Vec<(&'static str, Level)> {
        let found = judge(&Config::default(), found).into_iter().filter(|it| it.level >= Level::Warning);
        found.map(|it| (it.check.id(), it.level)).collect()
    }

    #[test]
    fn each_fault_is_found_alone() {
        assert_eq!(wrong(&healthy()), []);
        let evicts = RedisInspection { memory_policy: "allkeys-lru".to_owned(), ..healthy() };
        assert_eq!(wrong(&evicts), [("redis.memory", Level::Warning)]);
        let full = RedisInspection { memory_used: 950, ..healthy() };
        assert_eq!(wrong(&full), [("redis.memory", Level::Warning)]);
        let denied = RedisInspection { denied: vec!["xadd".to_owned()], ..healthy() };
        assert_eq!(wrong(&denied), [("redis.acl", Level::Failure)]);
        let slow = RedisInspection { latency: Duration::from_millis(400), ..healthy() };
        assert_eq!(wrong(&slow), [("redis.latency", Level::Warning)]);
        let off = RedisInspection { clock_ahead: Some(-90_000), ..healthy() };
        assert_eq!(wrong(&off), [("clock.redis", Level::Failure)]);
        let strangers = RedisInspection { strangers: 1, ..healthy() };
        assert_eq!(wrong(&strangers), [("redis.cluster_key", Level::Failure)]);
    }
}
