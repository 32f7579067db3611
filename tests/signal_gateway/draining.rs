//! A node that ends tells its clients and closes them spread over a while; limits can be changed without that.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    signal_support::{Client, Issuer, Node, Setup, until},
    upgrade::upgrade,
};

#[tokio::test]
async fn clients_are_told_and_closed_before_the_process_ends() {
    let issuer = Issuer::new();
    let mut node = Node::start(&issuer, Setup::default().with("signal.drain_within", "\"2s\""));
    let mut clients = Vec::new();
    for number in 0..10 {
        clients.push(Client::open(&node, &issuer.token(&format!("user-{number}"), "web")).await);
    }
    let begun = Instant::now();
    node.signal(Signal::SIGTERM);
    for client in &mut clients {
        assert_eq!(client.expect("draining").await["reconnectWithin"], 2);
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "told at once: {:?}", begun.elapsed());
    assert_eq!(upgrade(node.http, "/v1/signal", &[]).0, 503);
    let mut closed = Vec::new();
    for client in &mut clients {
        assert_eq!(client.closed().await, 4001);
        closed.push(begun.elapsed());
    }
    let spread = closed.iter().max().unwrap().saturating_sub(*closed.iter().min().unwrap());
    assert!(spread > Duration::from_millis(500), "{closed:?}");
    until("the process ends", Duration::from_secs(10), || node.has_ended()).await;
}

#[tokio::test]
async fn a_drain_through_the_api_sends_clients_away_and_the_process_stays() {
    let issuer = Issuer::new();
    let mut node =
        Node::start(&issuer, Setup::default().with("signal.drain_within", "\"1s\"").with("node.id", "\"a\""));
    let mut ann = Client::open(&node, &issuer.token("ann", "web")).await;
    assert_eq!(node.post("/v1/nodes/a/drain", &json!({})).0, 200);
    ann.expect("draining").await;
    assert_eq!(ann.closed().await, 4001);
    assert!(!node.has_ended());
}

#[tokio::test]
async fn limits_are_read_again() {
    let issuer = Issuer::new();
    let node = Node::start(&issuer, Setup::default().with("signal.rooms_per_session_max", 1));
    let mut ann = Client::open(&node, &issuer.token("ann", "web")).await;
    ann.request(json!({ "type": "join", "room": "one" })).await;
    ann.refused(json!({ "type": "join", "room": "two" }), "limit-exceeded").await;
    node.reload_with("signal.rooms_per_session_max", "2");
    ann.request(json!({ "type": "join", "room": "two" })).await;
}
