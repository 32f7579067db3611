//! Bad input: each gets its code, and touches nobody else.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    signal_support::{Came, Client, Issuer, Node, Setup, Socket, until},
    upgrade::{close_code, upgrade},
};

/// Closed with this code after these messages on a socket that said nothing else.
async fn closes(node: &Node, messages: &[Message], code: u16) {
    let mut socket = Socket::open(node.http).await;
    for message in messages {
        socket.send_message(message.clone()).await;
    }
    assert_eq!(socket.closed().await, code, "{:?}", messages.first().map(Message::len));
}

#[tokio::test]
async fn what_comes_before_hello_ends_the_socket() {
    let issuer = Issuer::new();
    let node = Node::start(&issuer, Setup::default().with("signal.hello_timeout", "\"1s\""));
    closes(&node, &[Message::binary(vec![1, 2, 3])], 4402).await;
    closes(&node, &[Message::text("x".repeat(20 << 10))], 4413).await;
    closes(&node, &[Message::text("not json")], 4400).await;
    closes(&node, &[Message::text(r#"{"type":"ping"}"#)], 4400).await;
    closes(&node, &[], 4408).await;
    let hello = |token: &str| Message::text(json!({ "type": "hello", "v": 1, "token": token }).to_string());
    closes(&node, &[hello("no token")], 4401).await;
    closes(&node, &[hello("a.b.c")], 4401).await;
    closes(&node, &[Message::text(r#"{"type":"hello","v":1}"#)], 4401).await;
}

#[tokio::test]
async fn a_bad_frame_of_a_session_is_answered_and_another_session_does_not_notice() {
    let issuer = Issuer::new();
    let node = Node::start(&issuer, Setup::default());
    let mut ann = Client::open(&node, &issuer.token("ann", "web")).await;
    let mut bob = Client::open(&node, &issuer.token("bob", "web")).await;
    ann.refused(json!({ "type": "dance" }), "unknown-type").await;
    ann.refused(json!({ "type": "join" }), "bad-request").await;
    ann.refused(json!({ "type": "call-answer", "call": "c_1", "data": {} }), "no-such-call").await;
    ann.refused(json!({ "type": "call-hangup", "call": "c_1" }), "no-such-call").await;
    ann.refused(json!({ "type": "hello", "v": 1, "token": "x" }), "bad-request").await;
    bob.request(json!({ "type": "call-offer", "call": "c_2", "to": { "user": "ann" }, "media": ["audio"],
                        "data": { "type": "offer", "sdp": "v=0" } }))
        .await;
    let mut eve = Client::open(&node, &issuer.token("eve", "web")).await;
    eve.refused(json!({ "type": "call-answer", "call": "c_2", "data": {} }), "no-such-call").await;
    eve.refused(json!({ "type": "call-hangup", "call": "c_2" }), "no-such-call").await;
    ann.expect("call-offer").await;
    ann.send_message(Message::binary(vec![0; 10])).await;
    assert_eq!(ann.closed().await, 4402);
    bob.request(json!({ "type": "join", "room": "still-served" })).await;
}

#[tokio::test]
async fn a_frame_beyond_the_limit_is_refused_at_its_header() {
    let issuer = Issuer::new();
    let node = Node::start(&issuer, Setup::default());
    let mut ann = Client::open(&node, &issuer.token("ann", "web")).await;
    ann.send_message(Message::text("x".repeat((64 << 10) + 1))).await;
    assert_eq!(ann.closed().await, 4413);
    let before = node.resident_bytes();
    let mut bob = Client::open(&node, &issuer.token("bob", "web")).await;
    bob.send_message(Message::text("x".repeat(2 << 20))).await;
    assert_eq!(bob.closed().await, 4413);
    // One that only announces a gibibyte.
    let (_, _, mut stream) = upgrade(node.http, "/v1/signal", &[]);
    stream.write_all(&[0x81, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4]).unwrap();
    assert_eq!(close_code(&mut stream), Some(4413));
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes");
}

#[tokio::test]
async fn too_many_frames_are_refused_and_then_the_socket_is_closed() {
    let issuer = Issuer::new();
    let setup = Setup::default().with("signal.frames_burst", 5).with("signal.frames_per_second", 1);
    let node = Node::start(&issuer, setup);
    let mut ann = Client::open(&node, &issuer.token("ann", "web")).await;
    let mut socket_codes = Vec::new();
    for number in 0..60 {
        ann.send(json!({ "id": format!("p{number}"), "type": "ping", "t": number })).await;
    }
    loop {
        match ann.socket.next().await {
            Came::Frame(frame) => socket_codes.extend(frame["code"].as_str().map(str::to_owned)),
            Came::Closed(code) => {
                assert_eq!(code, Some(4429));
                break;
            }
        }
    }
    assert!(socket_codes.iter().all(|code| code == "rate-limited"), "{socket_codes:?}");
    until("the limit is counted", Duration::from_secs(5), || {
        node.metric("iceway_signal_trips_total", &["limit=\"frames\""]) >= 1.0
    })
    .await;
}

#[tokio::test]
async fn a_stale_resume_token_begins_anew() {
    let issuer = Issuer::new();
    let node = Node::start(&issuer, Setup::default());
    let lost = Client::open(&node, &issuer.token("ann", "")).await.lose();
    let again = lost.resume(&node).await;
    drop(again);
    lost.begin_anew(&node, "unknown").await;
}

#[tokio::test]
async fn sockets_that_say_nothing_are_few_per_address() {
    let issuer = Issuer::new();
    let node = Node::start(&issuer, Setup::default().with("signal.unauthenticated_per_address_max", 3));
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(Socket::open(node.http).await);
    }
    assert_eq!(Socket::open(node.http).await.closed().await, 4490);
    let mut other = Socket::open_from([127, 0, 0, 2].into(), node.http, &[]).await;
    assert!(other.next_within(Duration::from_millis(200)).await.is_none());
}

#[tokio::test]
async fn hellos_that_fail_again_and_again_wait() {
    let issuer = Issuer::new();
    let setup = Setup::default().with("signal.hello_failures", 2).with("signal.connects_per_second", 0);
    let node = Node::start(&issuer, setup);
    let mut longest = Duration::ZERO;
    for _ in 0..7 {
        let begun = Instant::now();
        closes(&node, &[Message::text(r#"{"type":"hello","v":1,"token":"a.b.c"}"#)], 4401).await;
        longest = longest.max(begun.elapsed());
    }
    assert!(longest >= Duration::from_millis(700), "{longest:?}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_can_resume() {
    let issuer = Issuer::new();
    let setup = Setup::default()
        .with("signal.frames_per_second", 0)
        .with("signal.bytes_per_second", 0)
        .with("signal.ring_bytes", "\"64KiB\"");
    let node = Node::start(&issuer, setup);
    let mut ann = Client::open(&node, &issuer.token("ann", "web")).await;
    let bob = Client::open(&node, &issuer.token("bob", "web")).await.without_acks();
    bob.socket.stop_reading();
    let before = node.resident_bytes();
    let data = "x".repeat(32 << 10);
    let mut sent = 0;
    while node.metric("iceway_signal_closes_total", &["code=\"4009\""]) < 1.0 {
        assert!(sent < 2000, "never closed");
        for _ in 0..20 {
            ann.send(json!({ "type": "message", "to": { "user": "bob" }, "data": data })).await;
            sent += 1;
        }
    }
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes");
    ann.request(json!({ "type": "join", "room": "still-served" })).await;
}
