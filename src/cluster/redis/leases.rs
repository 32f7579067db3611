//! Which node delivers the events of which partition.
//!
//! All nodes reckon alike who should, so that each takes about as many and nobody contends; a lease says who does.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::{connect::value, keys, outbox::Events, outbox_scripts::HOLD_PARTITIONS};
use crate::cluster::{Health, NodeState, Nodes, PARTITIONS};

/// How long a partition stays with a node that says nothing.
const LEASE: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(4);
/// How often it is looked whether it should be, while it is not.
const LOOK: Duration = Duration::from_millis(500);
/// A node that could not renew for so long lets go: another one may have it soon.
const LET_GO: Duration = Duration::from_secs(12);

/// Holds the partitions that are this node's, until the node ends.
pub(super) async fn keep(events: Arc<Events>) {
    let mut is_delivering = events.is_delivering.subscribe();
    let mut renewed = Instant::now();
    let mut wanted = 0;
    loop {
        let want = if *is_delivering.borrow_and_update() { wanted_of(&events) } else { 0 };
        let is_due = renewed.elapsed() >= RENEW || want != wanted;
        if (want != 0 || wanted != 0)
            && is_due
            && events.shared.health.get() == Health::Connected
            && let Some(held) = hold(&events, want).await
        {
            (renewed, wanted) = (Instant::now(), want);
            set(&events, held);
        }
        if renewed.elapsed() > LET_GO {
            set(&events, 0);
        }
        // An error of the channel would mean that nobody could change it any more.
        drop(timeout(LOOK, is_delivering.changed()).await);
    }
}

/// Lets other nodes take over at once.
pub(super) async fn give_back(events: &Events) {
    set(events, 0);
    if *events.is_delivering.borrow() {
        // If it does not come through, the lease ends.
        hold(events, 0).await.unwrap_or_default();
    }
}

fn set(events: &Events, held: u16) {
    events.partitions.send_if_modified(|partitions| std::mem::replace(partitions, held) != held);
}

async fn hold(events: &Events, wanted: u16) -> Option<u16> {
    let own = &events.shared.own;
    let name = format!("{}@{:x}", own.id, own.incarnation);
    let bits: String = (0..PARTITIONS).map(|p| if wanted & (1 << p) != 0 { '1' } else { '0' }).collect();
    let commands = events.shared.commands()?;
    let answer = commands.script(&HOLD_PARTITIONS, &[keys::EVENT_LEASES], |command| {
        command.arg(&name).arg(LEASE.as_millis() as u64).arg(&bits);
    });
    let held: Vec<u8> = value(answer.await.ok()?).ok()?;
    Some(held.into_iter().filter(|&p| p < PARTITIONS).fold(0, |mask, p| mask | 1u16 << p))
}

/// The partitions this node should have.
fn wanted_of(events: &Events) -> u16 {
    let nodes = events.shared.registry.nodes();
    (0..PARTITIONS)
        .filter(|&p| preferred(&nodes, p) == Some(&events.shared.own.id))
        .fold(0, |mask, p| mask | 1u16 << p)
}

/// The node that should have a partition: one that serves, as long as there is one.
fn preferred(nodes: &Nodes, partition: u8) -> Option<&str> {
    let weight = |node: &str| Sha256::new().chain_update([partition]).chain_update(node).finalize();
    let is_any_serving = nodes.list.iter().any(|node| node.state == NodeState::Serving);
    let candidates = nodes.list.iter().filter(|node| !is_any_serving || node.state == NodeState::Serving);
    candidates.map(|node| node.id.as_str()).max_by_key(|node| (weight(node), *node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::NodeInfo;

    fn node(id: &str, state: NodeState) -> NodeInfo {
        NodeInfo { state, ..NodeInfo::new(id, 1, 0) }
    }

    fn owners(nodes: &[(&str, NodeState)]) -> Vec<String> {
        let nodes = Nodes { list: nodes.iter().map(|(id, state)| node(id, *state)).collect() };
        (0..PARTITIONS).map(|p| preferred(&nodes, p).unwrap().to_owned()).collect()
    }

    #[test]
    fn every_node_reckons_alike_and_only_what_must_moves() {
        use NodeState::{Draining, Serving};
        let three = owners(&[("a", Serving), ("b", Serving), ("c", Serving)]);
        assert_eq!(three, owners(&[("c", Serving), ("a", Serving), ("b", Serving)]));
        for id in ["a", "b", "c"] {
            assert!((2..=9).contains(&three.iter().filter(|owner| *owner == id).count()), "{three:?}");
        }
        let two = owners(&[("a", Serving), ("b", Serving), ("c", Draining)]);
        for (before, after) in three.iter().zip(&two) {
            assert!(before == after || before == "c");
        }
        assert!(owners(&[("a", Draining)]).iter().all(|owner| owner == "a"), "the last one goes on");
    }
}
