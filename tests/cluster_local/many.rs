//! Several nodes, and what they do when one of them, or all, cannot be reached.

use std::{sync::atomic::Ordering, time::Duration};

use iceway::cluster::Rate;
use iceway::{
    cluster::{RequestError, SecretState, SecretsError, UsageError},
    credentials::Revocation,
};

use crate::{
    conformance::{TestNode, config, eventually, now, relay::record, suite},
    mesh::Mesh,
};

fn three(mesh: &Mesh) -> Vec<TestNode> {
    let start = |id: &&str| TestNode::start_with(&config(), id, |own| Ok(mesh.peers(own)));
    ["a", "b", "c"].iter().map(start).collect()
}

#[tokio::test]
async fn three_nodes_are_one_cluster() {
    let nodes = three(&Mesh::default());
    suite::everything(&nodes).await;
    suite::a_node_that_closes_is_gone(&nodes).await;
}

#[tokio::test]
async fn a_secret_that_one_node_does_not_know_does_not_mint() {
    let mesh = Mesh::default();
    let nodes = three(&mesh);
    mesh.silence("c", true);
    let cluster = &nodes[0].cluster;

    assert_eq!(cluster.rotate_secrets().await, Err(SecretsError::NotEverywhere(vec!["c".to_owned()])));
    let secrets = cluster.secrets().await;
    assert_eq!(secrets.iter().filter(|secret| secret.state == SecretState::Next).count(), 1);
    let minting = cluster.directory().secrets()[0].id().to_string();
    assert_eq!(minting, "configured", "credentials are made as before");

    mesh.silence("c", false);
    let rotation = cluster.rotate_secrets().await.unwrap();
    let next = secrets.iter().find(|secret| secret.state == SecretState::Next).unwrap();
    assert_eq!(rotation.active.id, next.id, "the one that waited, not another");
}

#[tokio::test]
async fn a_revocation_says_which_node_did_not_answer() {
    let mesh = Mesh::default();
    let nodes = three(&mesh);
    mesh.silence("b", true);
    nodes[2].relay.cut.store(4, Ordering::SeqCst);
    let revocation = Revocation {
        id: "r".into(),
        username: None,
        user: None,
        label: Some("call:1".into()),
        key_id: None,
        issued_before: now(),
        expires: now() + 60,
        cut: true,
    };

    let revoked = nodes[0].cluster.revoke(revocation).await.unwrap();
    assert_eq!(revoked.nodes[1], ("b".to_owned(), Err(RequestError::Silent("b".to_owned()))));
    assert_eq!(revoked.nodes[2].0, "c");
    eventually("it takes the row over by the other way", async || nodes[1].cluster.revocations().len() == 1)
        .await;
}

#[tokio::test]
async fn without_the_others_each_node_counts_its_share_by_itself() {
    let mesh = Mesh::default();
    let nodes = three(&mesh);
    mesh.degrade(true);
    let rate = Rate { count: 9, per: Duration::from_secs(600), burst: 9 };
    let mut admitted = 0;
    for _ in 0..9 {
        admitted += u32::from(nodes[0].cluster.limit("alice", rate).await.is_admitted);
    }
    assert_eq!(admitted, 3);
    let ttl = Duration::from_secs(60);
    let first = nodes[0].cluster.remember("once", b"1".to_vec(), ttl).await;
    let second = nodes[0].cluster.remember("once", b"2".to_vec(), ttl).await;
    assert_ne!(first, second, "this node remembers by itself");
    let error = nodes[0].cluster.usage_records(None, 1).await.unwrap_err();
    assert!(matches!(error, UsageError::Peers(RequestError::Degraded(_))), "{error}");
}

#[tokio::test]
async fn usage_waits_here_while_nobody_is_reached_and_is_handed_on_once() {
    let mesh = Mesh::default();
    let nodes = three(&mesh);
    let cluster = &nodes[0].cluster;
    mesh.degrade(true);
    for n in 0..600 {
        cluster.record_usage(record(&format!("a-{n}"), "a", "bob", now()));
    }
    eventually("they wait here", async || cluster.counters().usage_pending == 600).await;

    // The stream takes them, but the answer is lost.
    mesh.forget_appends(true);
    mesh.degrade(false);
    eventually("the stream has some", async || {
        nodes[1].cluster.usage_records(None, 1000).await.is_ok_and(|page| !page.records.is_empty())
    })
    .await;
    assert_eq!(cluster.counters().usage_pending, 600);
    mesh.forget_appends(false);
    eventually("nothing waits any more", async || cluster.counters().usage_pending == 0).await;
    let page = nodes[1].cluster.usage_records(None, 1000).await.unwrap();
    assert_eq!(page.records.len(), 600);
}
