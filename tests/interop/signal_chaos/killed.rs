//! Nodes that die with sessions and calls on them.

use std::time::Duration;

use serde_json::json;

use super::scene::{Scene, answer, call, candidates, expect_candidates, offer, unlimited};
use crate::signal_support::Client;

/// A lease of 15 seconds and the grace of a peer that is away.
const LOST_LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_callee_whose_node_is_killed_while_it_rings_answers_on_another() {
    let mut scene = Scene::start(3, unlimited()).await;
    let mut ann = scene.client(0, "ann", "web").await;
    let mut bob = scene.client(1, "bob", "phone").await;
    scene.wait_until_known(0, "bob").await;
    ann.request(offer("c_ring", "bob")).await;
    bob.expect("call-offer").await;
    bob.send(json!({ "type": "call-ringing", "call": "c_ring" })).await;
    ann.expect("call-ringing").await;
    ann.send(candidates("c_ring", 0)).await;
    expect_candidates(&mut bob, 0..1).await;

    scene.nodes[1].kill();
    bob.closed().await;
    ann.send(candidates("c_ring", 1)).await;
    let mut bob = bob.lose().begin_anew(&scene.nodes[2], "unknown").await;
    let frame = bob.wait_for("call-offer").await;
    assert_eq!(frame["call"], "c_ring", "{frame}");
    assert_eq!(frame["data"]["sdp"], "v=0 c_ring", "the offer is whole");
    expect_candidates(&mut bob, 0..2).await;
    bob.send(json!({ "type": "call-ringing", "call": "c_ring" })).await;
    bob.request(answer("c_ring")).await;
    assert_eq!(ann.wait_for("call-answer").await["call"], "c_ring");
    bob.send(candidates("c_ring", 7)).await;
    expect_candidates(&mut ann, 7..8).await;
    ann.request(json!({ "type": "call-hangup", "call": "c_ring", "reason": "user" })).await;
    assert_eq!(bob.wait_for("call-hangup").await["call"], "c_ring");
}

#[tokio::test]
async fn a_caller_whose_node_is_killed_while_it_rings_goes_on_on_another() {
    let mut scene = Scene::start(3, unlimited()).await;
    let mut ann = scene.client(0, "ann", "web").await;
    let mut bob = scene.client(1, "bob", "phone").await;
    scene.wait_until_known(0, "bob").await;
    ann.request(offer("c_own", "bob")).await;
    bob.expect("call-offer").await;

    scene.nodes[0].kill();
    ann.closed().await;
    let mut ann = ann.lose().begin_anew(&scene.nodes[2], "unknown").await;
    // Until its lease is over the node may still be there; clients ask again.
    let deadline = tokio::time::Instant::now() + LOST_LIMIT;
    loop {
        let answer = ann.answer_to(offer("c_own", "bob")).await;
        if answer["type"] == "ok" {
            break;
        }
        assert_eq!(answer["retryable"], true, "{answer}");
        assert!(tokio::time::Instant::now() < deadline, "{answer}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // It is offered anew, for the node that is gone had the offer.
    assert_eq!(bob.wait_for("call-offer").await["data"]["sdp"], "v=0 c_own");
    bob.request(answer("c_own")).await;
    assert_eq!(ann.wait_for("call-answer").await["call"], "c_own");
}

#[tokio::test]
async fn peers_learn_that_a_node_is_lost_and_that_its_people_are_back() {
    let setup = unlimited().with("signal.away_grace", "\"2s\"");
    let mut scene = Scene::start(3, setup).await;
    let mut ann = scene.client(0, "ann", "web").await;
    let mut bob = scene.client(1, "bob", "phone").await;
    scene.wait_until_known(0, "bob").await;
    call(&mut ann, &mut bob, "bob", "c_lost").await;
    for client in [&mut ann, &mut bob] {
        client.request(json!({ "type": "join", "room": "r" })).await;
    }
    wait_for_join(&mut ann).await;

    scene.nodes[1].kill();
    bob.closed().await;
    let (mut is_lost, mut has_left) = (false, false);
    let wait = async {
        while !(is_lost && has_left) {
            let Some(frame) = ann.try_next(LOST_LIMIT).await else { break };
            is_lost |= frame["type"] == "call-peer" && frame["state"] == "lost";
            has_left |=
                frame["type"] == "room-event" && frame["left"].as_array().is_some_and(|l| !l.is_empty());
        }
        (is_lost, has_left)
    };
    let told = tokio::time::timeout(LOST_LIMIT, wait).await;
    assert_eq!(told, Ok((true, true)), "told that the peer is lost and that it left the room");

    let mut bob = bob.lose().begin_anew(&scene.nodes[2], "unknown").await;
    bob.request(json!({ "type": "call-rejoin", "call": "c_lost" })).await;
    let back = ann.wait_for("call-peer").await;
    assert_eq!((&back["call"], &back["state"]), (&json!("c_lost"), &json!("back")), "{back}");
    bob.send(candidates("c_lost", 3)).await;
    expect_candidates(&mut ann, 3..4).await;
    let restart = json!({
        "type": "renegotiate", "call": "c_lost", "restart": true, "data": { "type": "offer", "sdp": "v=0 again" },
    });
    ann.send(restart).await;
    assert_eq!(bob.wait_for("renegotiate").await["data"]["sdp"], "v=0 again");
}

async fn wait_for_join(client: &mut Client) {
    loop {
        let frame = client.wait_for("room-event").await;
        if frame["joined"].as_array().is_some_and(|joined| !joined.is_empty()) {
            return;
        }
    }
}
