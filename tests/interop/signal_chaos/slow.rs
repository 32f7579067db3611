//! A client that does not read.

use std::time::Duration;

use serde_json::{Value, json};

use super::scene::{expect_numbers, message, unlimited};
use crate::signal_support::{Client, Issuer, Node};

/// Of a message that fills buffers.
const LARGE: usize = 30_000;
/// More than the system's buffers of a connection and what a session keeps hold together.
const MESSAGES: usize = 600;
/// A session keeps 256 KiB; tests' binaries and the system's allocator add their own.
const GROWTH_MAX: u64 = 24 << 20;

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_costs_bounded_memory() {
    let issuer = Issuer::new();
    let node = Node::start(&issuer, unlimited());
    let mut ann = Client::open(&node, &issuer.token("ann", "web")).await;
    let mut carol = Client::open(&node, &issuer.token("carol", "web")).await;
    let mut bob = Client::open(&node, &issuer.token("bob", "phone")).await.without_acks();
    let before = node.resident_bytes();
    bob.socket.stop_reading();
    let (mut most, padding) = (before, "x".repeat(LARGE));
    for number in 0..MESSAGES {
        let data = json!({ "number": number, "padding": padding });
        ann.send(json!({ "type": "message", "to": { "session": bob.session() }, "data": data })).await;
        most = most.max(node.resident_bytes());
    }
    // Whoever talks to others is not held up by the one who does not read.
    for number in 0..20 {
        ann.send(message(carol.session(), number)).await;
    }
    expect_numbers(&mut carol, 0..20).await;
    assert!(most - before < GROWTH_MAX, "{} KiB more while a client did not read", (most - before) >> 10);

    bob.socket.read_on();
    let mut taken = 0;
    let code = loop {
        match bob.came().await {
            crate::signal_support::Came::Frame(frame) => {
                assert_eq!(frame["data"]["number"], taken, "in order up to the end");
                taken += 1;
            }
            crate::signal_support::Came::Closed(code) => break code,
        }
    };
    assert_eq!(code, Some(4009));
    assert!(taken < MESSAGES);
    // All that is missing, or a gap and a new beginning: never a part of it.
    let bob = bob.lose().try_resume(&node).await.unwrap_or_else(|answer| panic!("{answer}"));
    if bob.welcome["resumed"] == true {
        all_the_rest(bob, taken).await;
    } else {
        assert_eq!(bob.welcome["reason"], "gap", "{}", bob.welcome);
        let mut bob = bob;
        ann.send(message(bob.session(), 0)).await;
        expect_numbers(&mut bob, 0..1).await;
    }
    let closed = node.metric("iceway_signal_closes_total", &["code=\"4009\""]);
    assert_eq!(closed, 1.0);
}

async fn all_the_rest(mut bob: Client, taken: usize) {
    let rest: Vec<Value> = bob.all_until_silence(Duration::from_secs(1)).await;
    let numbers: Vec<u64> = rest.iter().filter_map(|frame| frame["data"]["number"].as_u64()).collect();
    let expected: Vec<u64> = (taken as u64..MESSAGES as u64).collect();
    assert_eq!(numbers, expected);
}
