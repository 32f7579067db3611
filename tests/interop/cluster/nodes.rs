//! Nodes that come and go.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::nodes::{Cluster, Issued, until};

/// A node that is killed is forgotten after its lease of 15 seconds.
const LEASE_LIMIT: Duration = Duration::from_secs(20);
/// A node that drains tells the others at once.
const TOLD: Duration = Duration::from_secs(3);
/// Of credentials that name one node each.
const DRAWS: usize = 40;

#[test]
fn credentials_name_every_node_of_the_region() {
    let cluster = Cluster::start();
    for at in 0..3 {
        assert_eq!(named(&cluster, at), hosts(&cluster, &[0, 1, 2]));
    }
    let elsewhere =
        cluster.nodes[0].post("/v1/turn/credentials", &json!({ "user": "ann", "region": "elsewhere" }));
    assert_eq!(elsewhere.expect(503).json()["code"], "no_capacity");
}

#[test]
fn a_killed_node_is_never_named_again_and_forgotten_after_its_lease() {
    let mut cluster = Cluster::start();
    cluster.nodes[2].kill();
    let killed = Instant::now();
    // Silent for five seconds, it is not offered any more.
    until("the silent node is not named", Duration::from_secs(8), || {
        fit(&cluster, 0) == hosts(&cluster, &[0, 1])
    });
    until("its lease has run out", LEASE_LIMIT, || {
        (0..2).all(|at| cluster.known_to(at).iter().all(|(id, _)| id != "n3"))
    });
    eprintln!("gone from the list {:?} after kill -9", killed.elapsed());
    assert_eq!(named(&cluster, 1), hosts(&cluster, &[0, 1]));

    cluster.nodes[2].restart();
    until("it is back", LEASE_LIMIT, || fit(&cluster, 0) == hosts(&cluster, &[0, 1, 2]));
}

#[test]
fn a_draining_node_is_never_named() {
    let cluster = Cluster::start();
    let issued = cluster.issue(0, json!({ "user": "ann", "ttl": 3600 }));
    let mut held = issued.client(&cluster.nodes[2]);
    held.allocate().unwrap();
    let mut held_too = issued.client(&cluster.nodes[1]);
    held_too.allocate().unwrap();

    cluster.nodes[2].process.signal(Signal::SIGTERM);
    until("told by the node itself", TOLD, || state(&cluster, 0, "n3") == "draining");
    assert_eq!(named(&cluster, 0), hosts(&cluster, &[0, 1]));
    cluster.nodes[0].post("/v1/nodes/n2/drain", &json!({})).expect(200);
    until("told by the API", TOLD, || state(&cluster, 0, "n2") == "draining");
    assert_eq!(named(&cluster, 0), hosts(&cluster, &[0]));
    assert_eq!(held.refresh(600), Ok(600), "what lives goes on");
    assert_eq!(held_too.refresh(600), Ok(600), "what lives goes on");
    assert_eq!(issued.client(&cluster.nodes[1]).allocate(), Err(300), "nothing new begins");
}

/// The state in which a node lists another.
fn state(cluster: &Cluster, at: usize, id: &str) -> String {
    let known = cluster.known_to(at);
    known.into_iter().find(|(name, _)| name == id).map(|(_, state)| state).unwrap_or_default()
}

/// The hosts that a node names when it is asked for as many as there are.
fn fit(cluster: &Cluster, at: usize) -> BTreeSet<String> {
    hosts_of(&cluster.issue(at, json!({ "user": "chooser", "ttl": 60, "count": 3 })))
}

/// The same; one host at a time, it must name no other.
fn named(cluster: &Cluster, at: usize) -> BTreeSet<String> {
    let all = fit(cluster, at);
    for _ in 0..DRAWS {
        let one = hosts_of(&cluster.issue(at, json!({ "user": "chooser", "ttl": 60 })));
        assert!(one.len() == 1 && one.is_subset(&all), "{one:?} is none of {all:?}");
    }
    all
}

/// `127.0.0.2:port` of every `turn:` URL.
fn hosts_of(issued: &Issued) -> BTreeSet<String> {
    let host = |url: &String| Some(url.strip_prefix("turn:")?.split('?').next()?.to_owned());
    issued.urls().iter().filter_map(host).collect()
}

fn hosts(cluster: &Cluster, which: &[usize]) -> BTreeSet<String> {
    which.iter().map(|&at| cluster.nodes[at].address().to_string()).collect()
}
