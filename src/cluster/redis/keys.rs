//! What things are called in Redis, how long they live there, and what an ACL user must be allowed.

use std::time::Duration;

use crate::cluster::Table;

/// What Redis must allow: one server or sentinels. The user reads and writes `iceway:*` alone.
pub const ACL_RULE: &str = "resetkeys ~iceway:* resetchannels &iceway:* -@all +hello +auth +ping +select +info +time +eval \
                            +evalsha +get +mget +set +del +pexpire +hget +hmget +hset +hdel +hlen +hscan +hincrby +zadd \
                            +zrange +zrangebyscore +zrem +zremrangebyscore +zremrangebyrank +zscore +xadd +xdel +xlen \
                            +xrange +xtrim +publish +subscribe +unsubscribe";

/// What a Cluster must allow beside [`ACL_RULE`]: Redis 7.2 or newer, Valkey. CLIENT SETINFO, by which the client
/// library names itself there, may fail; where it is denied it fills ACL LOG.
pub const ACL_RULE_CLUSTER: &str =
    "+client|setinfo +cluster|slots +asking +readonly +spublish +ssubscribe +sunsubscribe";

/// The same in Redis 7.0, which refuses a rule with CLIENT SETINFO.
pub const ACL_RULE_CLUSTER_7_0: &str = "+cluster|slots +asking +readonly +spublish +ssubscribe +sunsubscribe";

/// The same in Redis 6.2, which has no sharded channels.
pub const ACL_RULE_CLUSTER_6_2: &str = "+client|setinfo +cluster|slots +asking +readonly";

/// What `redis.coturn_users` needs beside [`ACL_RULE`], from Redis 7.0 on.
pub const ACL_RULE_COTURN: &str = "%R~turn/realm/* +smembers";

/// The same in Redis 6.2, where keys cannot be allowed for reading alone.
pub const ACL_RULE_COTURN_6_2: &str = "~turn/realm/* +smembers";

/// A node whose entry is older is gone.
pub(super) const NODE_LEASE: Duration = Duration::from_secs(15);
/// How often a node renews it.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(2);
/// Of the index of nodes, which only says which entries to look for.
pub(super) const INDEX_LEASE: Duration = Duration::from_secs(30);
/// How often the index is renewed and rows are compared.
pub(super) const CHECK: Duration = Duration::from_secs(10);
/// Rows live on nodes; what no node has renewed for so long in Redis is nobody's any more.
pub(super) const ROWS_LEASE: Duration = Duration::from_secs(30 * 86_400);
/// How long an id is remembered so that its record is not added twice.
pub(super) const SEEN_LEASE: Duration = Duration::from_secs(7 * 86_400);

/// The sorted set of node names.
pub(super) const NODES: &str = "iceway:{nodes}";
/// Events wait longer than anybody tries to deliver them.
pub(super) const EVENTS_LEASE: Duration = Duration::from_secs(16 * 86_400);
/// Calls are remembered for `calls.retention`, which is no longer.
pub(super) const CALLS_LEASE: Duration = Duration::from_secs(31 * 86_400);

/// The hash of calls.
pub(super) const CALLS: &str = "iceway:{calls}";
/// The hash of leases of partitions.
pub(super) const EVENT_LEASES: &str = "iceway:{events}:leases";
/// The stream of usage records.
pub(super) const USAGE: &str = "iceway:{usage}";
/// The epoch and the number of writes of all rows.
pub(super) const ROWS_STATE: &str = "iceway:{rows}:state";
/// The channel all nodes listen to.
pub(super) const BUS: &str = "iceway:{bus}";

/// The sealed entry of a node.
pub(super) fn node(id: &str) -> String {
    format!("{NODES}:{id}")
}

/// The channel of one node.
pub(super) fn channel(id: &str) -> String {
    format!("iceway:{{bus-{id}}}")
}

/// The name of a table in keys and where its rows are sealed for.
pub(super) const fn table(table: Table) -> &'static str {
    match table {
        Table::Secrets => "secrets",
        Table::ApiKeys => "api-keys",
        Table::Revocations => "revocations",
        Table::SessionRevocations => "session-revocations",
    }
}

/// The hash of a table's rows.
pub(super) fn rows(of: Table) -> String {
    format!("iceway:{{rows}}:{}", table(of))
}

/// When which row of a table is over.
pub(super) fn rows_expiry(of: Table) -> String {
    format!("iceway:{{rows}}:{}:expiry", table(of))
}

/// The state of one limited name.
pub(super) fn limit(code: &str) -> String {
    format!("iceway:{{rl:{code}}}")
}

/// What is kept under one idempotency key.
pub(super) fn once(code: &str) -> String {
    format!("iceway:{{once:{code}}}")
}

/// The stream of a partition.
pub(super) fn events(partition: u8) -> String {
    format!("iceway:{{events:{partition}}}")
}

/// What was given up of it.
pub(super) fn events_dead(partition: u8) -> String {
    format!("iceway:{{events:{partition}}}:dead")
}

/// Calls by their last change.
pub(super) fn calls_order() -> String {
    format!("{CALLS}:order")
}

/// When a call last changed.
pub(super) fn calls_state() -> String {
    format!("{CALLS}:state")
}

/// The steps of a call.
pub(super) fn call_steps(code: &str) -> String {
    format!("{CALLS}:steps:{code}")
}

/// Ids of records that a node added lately.
pub(super) fn usage_seen(node: &str) -> String {
    format!("{USAGE}:seen:{node}")
}

/// The totals of a day.
pub(super) fn usage_day(day: u32) -> String {
    format!("{USAGE}:day:{day}")
}
