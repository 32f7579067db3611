//! Issued by one node, used on all, revoked by another while media flows.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stun::message::{CLASS_SUCCESS_RESPONSE, METHOD_ALLOCATE};

use crate::support::client::{Attribute, REQUESTED_TRANSPORT, UDP};
use crate::support::nodes::{Cluster, Issued, until};
use crate::support::{Client, Media, Server};
use crate::{aiortc, turn_crate};

/// What is promised between the revocation and the last packet of a relay it cuts.
const CUT_LIMIT: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(10);

#[test]
fn issued_by_one_node_used_on_all_and_revoked_by_another() {
    let cluster = Cluster::start();
    let issued = cluster.issue(0, json!({ "user": "ann", "ttl": 3600 }));
    let other = cluster.issue(0, json!({ "user": "bob", "ttl": 3600 }));
    turn_crate::relays_both_ways(cluster.nodes[1].address(), &issued.username, &issued.password);

    let (media, bystander) = (flows(&cluster, &issued), flow(&cluster.nodes[1], &other));
    for flow in media.iter().chain([&bystander]) {
        flow.wait_for(20);
    }
    let revoked = Instant::now();
    let answer = revoke(&cluster.nodes[2], json!({ "user": "ann" }));
    let answered = revoked.elapsed();
    assert_eq!(answer["cut"], 3, "one relay on each node: {answer}");
    assert!(answered < CUT_LIMIT, "answered after {answered:?}");
    until("every relay is cut", SOON, || {
        media.iter().all(|flow| flow.last_passed() + CUT_LIMIT < Instant::now())
    });
    for (number, flow) in media.into_iter().enumerate() {
        let passed = flow.last_passed().saturating_duration_since(revoked);
        eprintln!("node {}: the last packet to pass was sent {passed:?} after the revocation", number + 1);
        assert!(passed < CUT_LIMIT, "node {}: packets passed for {passed:?}", number + 1);
        let (_, mut client) = flow.stop();
        assert_eq!(client.refresh(600), Err(401));
        assert_eq!(client.allocate(), Err(401));
    }
    bystander.wait_for(20);
    let (report, mut client) = bystander.stop();
    assert_eq!(report.lost, 0, "others lose nothing");
    client.refresh(600).unwrap();

    let again = cluster.issue(1, json!({ "user": "ann", "ttl": 3600 }));
    for node in &cluster.nodes {
        again.allocates_at(node);
    }
}

#[test]
fn a_revocation_that_spares_live_relays_still_refuses_their_refresh() {
    let cluster = Cluster::start();
    let issued = cluster.issue(0, json!({ "user": "ann", "ttl": 3600 }));
    let media = flow(&cluster.nodes[1], &issued);
    media.wait_for(10);
    let answer = revoke(&cluster.nodes[0], json!({ "username": issued.username, "kill": false }));
    assert_eq!(answer["cut"], 0, "{answer}");
    media.wait_for(20);
    let (report, mut client) = media.stop();
    assert_eq!(report.lost, 0);
    assert_eq!(client.refresh(600), Err(401));
    for node in &cluster.nodes {
        assert_eq!(issued.client(node).allocate(), Err(401));
    }
}

#[test]
fn a_revocation_survives_restarts_of_nodes_and_redis() {
    let mut cluster = Cluster::start();
    let issued = cluster.issue(0, json!({ "user": "ann", "ttl": 3600, "label": "call:7" }));
    let kept = cluster.issue(0, json!({ "user": "ann", "ttl": 3600, "label": "call:8" }));
    revoke(&cluster.nodes[1], json!({ "label": "call:7" }));
    let is_so = |nodes: &[Server]| {
        for node in nodes {
            assert_eq!(issued.client(node).allocate(), Err(401), "after a restart");
            kept.allocates_at(node);
        }
    };
    is_so(&cluster.nodes);

    for node in &mut cluster.nodes {
        node.kill();
        node.restart();
    }
    is_so(&cluster.nodes);
    cluster.redis.restart();
    cluster.wait_until_connected(true, Duration::from_secs(60));
    for node in &mut cluster.nodes {
        node.kill();
    }
    cluster.redis.restart();
    for node in &mut cluster.nodes {
        node.restart();
    }
    is_so(&cluster.nodes);
}

#[test]
fn a_nonce_of_one_node_is_good_on_another() {
    let cluster = Cluster::start();
    let issued = cluster.issue(0, json!({ "user": "ann", "ttl": 3600 }));
    let mut client = cluster.client(0, &issued);
    client.allocate().unwrap();
    for node in &cluster.nodes[1..] {
        client.move_to(node.address());
        let request = client.signed(METHOD_ALLOCATE, &[Attribute::Raw(REQUESTED_TRANSPORT, UDP.to_vec())]);
        let answer = client.exchange(&request).expect("the node answers");
        assert_eq!(answer.typ.class, CLASS_SUCCESS_RESPONSE, "no new challenge: {answer}");
    }
}

#[test]
fn a_browser_like_client_calls_through_another_node_than_it_was_issued_by() {
    let cluster = Cluster::start();
    let issued = cluster.issue(0, json!({ "user": "ann", "ttl": 600 }));
    let node = &cluster.nodes[1];
    let urls = format!("turn:{}?transport=udp", node.address());
    let server = json!({ "urls": [urls], "username": issued.username, "credential": issued.password });
    aiortc::call(node, &server);
}

/// Revokes and answers what the API did.
fn revoke(node: &Server, what: Value) -> Value {
    node.post("/v1/turn/revocations", &what).expect(201).json()
}

/// Media through every node with the same credential.
fn flows(cluster: &Cluster, credential: &Issued) -> Vec<Media> {
    cluster.nodes.iter().map(|node| flow(node, credential)).collect()
}

fn flow(node: &Server, credential: &Issued) -> Media {
    let mut client: Client = credential.client(node);
    let relay = client.allocate().unwrap();
    Media::start(client, relay)
}
