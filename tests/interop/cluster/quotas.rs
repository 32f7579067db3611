//! Limits of a user, and of the cluster, over three nodes.

use std::time::Duration;

use serde_json::json;

use crate::support::nodes::{Cluster, Issued, until};
use crate::support::{Client, Setup};
use crate::support_redis::Options;

/// How soon a node knows what the others hold.
const KNOWN: Duration = Duration::from_secs(5);
const DEGRADED: Duration = Duration::from_secs(15);

#[test]
fn a_user_has_one_quota_on_all_nodes() {
    let cluster = limited("limits.allocations_per_user", 6);
    let issued = cluster.issue(0, json!({ "user": "ann", "ttl": 3600 }));
    let mut held = Vec::new();
    for at in [0, 1, 2, 0, 1, 2] {
        held.push(allocated(&cluster, at, &issued));
    }
    for at in 0..3 {
        until("a seventh is refused everywhere", KNOWN, || refused(&cluster, at, &issued, 486));
    }
    let other = cluster.issue(0, json!({ "user": "bob", "ttl": 3600 }));
    other.allocates_at(&cluster.nodes[0]);
    held[0].refresh(0).unwrap();
    until("one that ended elsewhere makes room", KNOWN, || {
        let mut client = issued.client(&cluster.nodes[1]);
        client.allocate().map(|_| held.push(client)).is_ok()
    });
}

#[test]
fn without_redis_each_node_gives_its_share_of_a_quota() {
    let cluster = limited("limits.allocations_per_user", 6);
    let issued = cluster.issue(0, json!({ "user": "ann", "ttl": 3600 }));
    cluster.redis.kill();
    cluster.wait_until_connected(false, DEGRADED);
    let mut held = Vec::new();
    for at in 0..3 {
        for _ in 0..2 {
            held.push(allocated(&cluster, at, &issued));
        }
        assert_eq!(issued.client(&cluster.nodes[at]).allocate(), Err(486), "a third of six on n{}", at + 1);
    }
}

#[test]
fn the_cluster_has_one_limit_of_allocations() {
    let cluster = limited("limits.allocations_cluster", 4);
    let issued = cluster.issue(0, json!({ "user": "ann", "ttl": 3600 }));
    let held: Vec<Client> = [0, 1, 2, 1].map(|at| allocated(&cluster, at, &issued)).into();
    for at in 0..3 {
        until("a fifth is refused everywhere", KNOWN, || refused(&cluster, at, &issued, 508));
    }
    drop(held);
}

fn limited(key: &str, limit: u32) -> Cluster {
    Cluster::start_with(Options::default(), |setup: Setup| setup.with(key, limit))
}

fn allocated(cluster: &Cluster, at: usize, credential: &Issued) -> Client {
    let mut client = cluster.client(at, credential);
    client.allocate().unwrap_or_else(|code| panic!("{code} on n{}", at + 1));
    client
}

/// Whether a new allocation is refused with this code; one that is not is ended again.
fn refused(cluster: &Cluster, at: usize, credential: &Issued, code: u16) -> bool {
    let mut client = cluster.client(at, credential);
    match client.allocate() {
        Ok(_) => {
            client.refresh(0).unwrap();
            false
        }
        Err(found) => {
            assert_eq!(found, code, "n{}", at + 1);
            true
        }
    }
}
