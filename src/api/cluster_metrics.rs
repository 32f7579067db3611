//! What nodes share and keep, as metrics.

use std::sync::Arc;

use crate::{
    cluster::{Cluster, ClusterCounters, Health, NodeState, Nodes},
    runtime::Snapshot,
    telemetry::{Sheet, metric},
};

/// What nodes share and keep, at one moment. The default is a node that has nothing and nobody.
#[derive(Clone, Debug)]
pub struct ClusterFigures {
    /// How well other nodes can be reached.
    pub health: Health,
    /// This node and the others.
    pub nodes: Arc<Nodes>,
    /// What the cluster counts.
    pub counters: ClusterCounters,
    /// Secrets that are accepted.
    pub secrets: usize,
    /// API keys.
    pub api_keys: usize,
    /// Revocations that may still hit a credential.
    pub revocations: usize,
}

impl Default for ClusterFigures {
    fn default() -> Self {
        Self {
            health: Health::Alone,
            nodes: Arc::new(Nodes { list: Vec::new() }),
            counters: ClusterCounters::default(),
            secrets: 0,
            api_keys: 0,
            revocations: 0,
        }
    }
}

impl ClusterFigures {
    /// The figures now; nobody is asked and nothing waited for.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Self {
        Self {
            health: cluster.health(),
            nodes: cluster.nodes(),
            counters: cluster.counters(),
            secrets: cluster.directory().secrets().len(),
            api_keys: cluster.api_keys().len(),
            revocations: cluster.revocations().len(),
        }
    }
}

pub(super) fn fill(sheet: &mut Sheet, figures: &ClusterFigures, snapshot: &Snapshot) {
    sheet.count(&metric::SECRETS, &[], figures.secrets as u64);
    sheet.count(&metric::API_KEYS, &[], figures.api_keys as u64);
    sheet.count(&metric::REVOCATIONS, &[], figures.revocations as u64);
    others(sheet, figures);
    usage(sheet, &figures.counters, snapshot);
    sheet.count(&metric::STORE_COMMITS, &[], figures.counters.store_commits);
    sheet.count(&metric::STORE_ERRORS, &[], figures.counters.store_errors);
}

fn others(sheet: &mut Sheet, figures: &ClusterFigures) {
    for (state, label) in [(NodeState::Serving, "serving"), (NodeState::Draining, "draining")] {
        let nodes = figures.nodes.list.iter().filter(|node| node.state == state).count();
        sheet.count(&metric::CLUSTER_NODES, &[label], nodes as u64);
    }
    let is_connected = match figures.health {
        Health::Alone => return,
        Health::Connected => true,
        Health::Degraded { .. } => false,
    };
    let peers = &figures.counters.peers;
    sheet.count(&metric::CLUSTER_CONNECTED, &[], u64::from(is_connected));
    sheet.set(&metric::CLUSTER_DEGRADED, &[], peers.degraded_millis as f64 / 1000.0);
    sheet.count(&metric::CLUSTER_REQUESTS, &[], peers.requests_handled);
    sheet.count(&metric::CLUSTER_FRAMES_REFUSED, &[], peers.frames_refused);
    sheet.count(&metric::CLUSTER_MESSAGES_UNKNOWN, &[], peers.messages_unknown);
    sheet.count(&metric::CLUSTER_ROWS_REFUSED, &[], peers.rows_refused);
    sheet.count(&metric::REDIS_COMMANDS, &[], peers.commands);
    sheet.count(&metric::REDIS_COMMANDS_FAILED, &[], peers.commands_failed);
    sheet.count(&metric::REDIS_CONNECTIONS, &[], peers.connections);
}

fn usage(sheet: &mut Sheet, counters: &ClusterCounters, snapshot: &Snapshot) {
    let not_booked: u64 = snapshot.shards.iter().flatten().map(|shard| shard.runtime.usage_lost).sum();
    sheet.count(&metric::USAGE_PENDING, &[], counters.usage_pending);
    sheet.count(&metric::USAGE_LOST, &[], counters.usage_lost + not_booked);
    sheet.count(&metric::USAGE_UNNAMED, &[], counters.usage_overflowed);
}
