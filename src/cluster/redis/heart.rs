//! The heartbeat: to the others and to this node itself, which proves the bus; and into the registry, which proves that
//! Redis can be written to.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use redis::RedisError;
use tokio::time::{sleep, timeout};

use super::{
    bus::forget,
    commands::Commands,
    connect::value,
    frame::Message,
    keys::{self, CHECK, HEARTBEAT, INDEX_LEASE, NODE_LEASE},
    scripts::RENEW_INDEX,
    seal::place,
    shared::{Shared, jitter, lock},
    words::said,
};
use crate::cluster::{NodeInfo, clock::unix_millis};

/// How long the node itself may take to say how it does; then the last answer counts on.
const LOAD_MAX: Duration = Duration::from_millis(500);
/// A bus that is silent for longer does not work.
const PROOF_MAX: Duration = Duration::from_secs(5);
/// Unanswered heartbeats after which the connection is made anew.
const MISSES_MAX: u32 = 2;
/// More entries are not read.
pub(super) const ENTRIES_MAX: usize = 1024;

/// Beats for as long as the connection lasts. Answers why it no longer does.
pub(super) async fn beat(shared: &Arc<Shared>, commands: &Commands) -> String {
    let mut misses = 0;
    let mut index_due = Instant::now();
    let began = Instant::now();
    *lock(&shared.proved) = None;
    if let Err(error) = read_registry(shared, commands).await {
        shared.degraded(&said(&error));
    }
    loop {
        let info = own(shared).await;
        shared.registry.set_own(info.clone());
        shared.tell_all(Message::Heartbeat(Box::new(info.clone())));
        let is_index_due = Instant::now() >= index_due;
        match renew(shared, commands, &info, is_index_due).await {
            Ok(()) => {
                misses = 0;
                if is_index_due {
                    index_due = Instant::now() + CHECK;
                }
                judge(shared, began).await;
            }
            Err(error) => {
                shared.degraded(&said(&error));
                if error.is_connection_dropped() && !error.is_timeout() {
                    return said(&error);
                }
                misses += 1;
                let must_leave =
                    error.code() == Some("READONLY") || misses >= MISSES_MAX && error.is_timeout();
                if must_leave {
                    return said(&error);
                }
            }
        }
        if began.elapsed() > 2 * PROOF_MAX && !shared.is_proved(2 * PROOF_MAX) {
            return "what this node publishes does not come back".to_owned();
        }
        for node in shared.registry.prune() {
            tracing::warn!(node, "A node is silent; its lease is over.");
            forget(shared, &node);
        }
        shared.signals.set_bus(shared.is_proved(PROOF_MAX));
        shared.review_nodes();
        tokio::select! {
            () = sleep(HEARTBEAT) => {}
            () = shared.announce.notified() => {}
        }
    }
}

/// Keeps what this node says about itself fresh while there is no connection; it goes on choosing itself. Never ends.
pub(super) async fn keep_own(shared: &Shared) {
    loop {
        tokio::select! {
            () = sleep(HEARTBEAT) => {}
            () = shared.announce_own.notified() => {}
        }
        shared.registry.set_own(own(shared).await);
    }
}

/// All is well if the bus brought back what was sent, and rows can be exchanged.
async fn judge(shared: &Shared, began: Instant) {
    if !shared.is_proved(PROOF_MAX) {
        drop(timeout(Duration::from_millis(500), shared.proved_wake.notified()).await);
    }
    if let Some(fault) = lock(&shared.rows_fault).clone() {
        shared.degraded(&fault);
    } else if shared.is_proved(PROOF_MAX) {
        shared.health.connected(shared.nodes_known());
    } else if began.elapsed() > Duration::from_secs(2) {
        shared.degraded("what this node publishes does not come back");
    }
}

async fn own(shared: &Shared) -> NodeInfo {
    let mut info = shared.registry.nodes().list.first().cloned().unwrap_or_else(|| shared.own.clone());
    if let Some(host) = shared.host() {
        if let Ok((state, load)) = timeout(LOAD_MAX, host.load()).await {
            (info.state, info.load) = (state, load);
        }
        if let Some(place) = host.place() {
            info.set_place(place);
        }
    }
    info.told = unix_millis();
    info
}

async fn renew(
    shared: &Shared,
    commands: &Commands,
    info: &NodeInfo,
    with_index: bool,
) -> Result<(), RedisError> {
    let plain = serde_json::to_vec(info).unwrap_or_default();
    let sealed = shared.seal_as_run(&entry_place(&info.id), &plain).unwrap_or_default();
    let mut set = redis::cmd("SET");
    set.arg(keys::node(&info.id)).arg(sealed).arg("PX").arg(NODE_LEASE.as_millis() as u64);
    commands.run(set).await?;
    if with_index {
        commands
            .script(&RENEW_INDEX, &[keys::NODES], |command| {
                command.arg(&info.id).arg(INDEX_LEASE.as_millis() as u64);
            })
            .await?;
    }
    Ok(())
}

/// Takes over the nodes that are there already.
async fn read_registry(shared: &Shared, commands: &Commands) -> Result<(), RedisError> {
    let range = redis::cmd("ZRANGE").arg(keys::NODES).arg(0).arg(ENTRIES_MAX - 1).take();
    let ids: Vec<String> = value(commands.run(range).await?)?;
    let ids: Vec<String> = ids.into_iter().filter(|id| *id != shared.own.id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let entries: Vec<String> = ids.iter().map(|id| keys::node(id)).collect();
    let entries: Vec<Option<Vec<u8>>> = value(commands.run(redis::cmd("MGET").arg(entries).take()).await?)?;
    for (id, entry) in ids.iter().zip(entries) {
        let Some(plain) = entry.and_then(|entry| shared.open_of_run(id, &entry_place(id), &entry)) else {
            continue;
        };
        let Ok(info) = serde_json::from_slice::<NodeInfo>(&plain) else { continue };
        if info.id == *id {
            let incarnation = info.incarnation;
            if shared.registry.read(&shared.keys, info, unix_millis()) {
                forget(shared, id);
                shared.tell(id, incarnation, Message::TellQuotas);
            }
        }
    }
    Ok(())
}

pub(super) fn entry_place(id: &str) -> Vec<u8> {
    place(&[b"node", id.as_bytes()])
}

/// With sentinels: returns when they name another master than the one that is connected to.
pub(super) async fn follow_master(shared: &Shared, master: Option<&(String, u16)>) -> String {
    let Some(current) = master else { return std::future::pending().await };
    loop {
        sleep(jitter(CHECK)).await;
        if shared.connector.has_moved(Some(current)).await {
            return "the sentinels name another master".to_owned();
        }
    }
}

/// Takes this node out of the registry.
pub(super) async fn leave(shared: &Shared, commands: &Commands) {
    let entry = redis::cmd("DEL").arg(keys::node(&shared.own.id)).take();
    let index = redis::cmd("ZREM").arg(keys::NODES).arg(&shared.own.id).take();
    for command in [entry, index] {
        if let Err(error) = commands.run(command).await {
            tracing::debug!(%error, "This node stays in the registry until its lease is over.");
        }
    }
}
