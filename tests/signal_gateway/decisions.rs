//! The backend decides: yes, no, late, wrong, down.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    backend::{Backend, Manner, asking, no, yes},
    signal_support::{Came, Client, Issuer, Node, Setup},
};

/// A token that leaves calls and rooms to the backend.
fn token(issuer: &Issuer, user: &str) -> String {
    issuer.token_with(user, json!({ "device": "web" }))
}

fn offer(call: &str, to: &str) -> Value {
    json!({ "type": "call-offer", "call": call, "to": { "user": to }, "media": ["audio"],
            "data": { "type": "offer", "sdp": "v=0" } })
}

fn generous(setup: Setup) -> Setup {
    let setup = setup.with("signal.offers_per_minute", 0).with("signal.offers_per_pair", 0);
    setup
        .with("signal.errors_per_minute", 0)
        .with("signal.descriptions_per_second", 0)
        .with("signal.frames_burst", 1000)
        .with("signal.ringing_per_user", 0)
        .with("signal.offers_per_callee", 0)
        .with("signal.callees_per_hour", 0)
        .with("signal.offers_per_hour", 0)
}

#[tokio::test]
async fn a_call_that_is_allowed_rings_and_the_answer_is_remembered() {
    let issuer = Issuer::new();
    let backend = Backend::start(yes(30));
    let node = Node::start(&issuer, generous(backend.setup()));
    let mut ann = Client::open(&node, &token(&issuer, "ann")).await;
    let mut bob = Client::open(&node, &token(&issuer, "bob")).await;
    ann.request(offer("c_1", "bob")).await;
    let rung = bob.expect("call-offer").await;
    assert_eq!(rung["call"], "c_1");
    ann.request(offer("c_2", "bob")).await;
    let questions = backend.questions();
    assert_eq!(questions.len(), 1, "{questions:?}");
    let question = &questions[0];
    assert_eq!((&question["kind"], &question["call"]), (&json!("call"), &json!("c_1")));
    assert_eq!(question["from"]["user"], "ann");
    assert_eq!(question["from"]["device"], "web");
    assert_eq!(question["from"]["session"], ann.session());
    assert_eq!(question["from"]["ipPrefix"], "127.0.0.0/24");
    assert_eq!((&question["to"], &question["media"]), (&json!({ "user": "bob" }), &json!(["audio"])));
    let (status, body) = node.request("DELETE", "/v1/signal/decisions?user=bob", "");
    assert_eq!(status, 200, "{body}");
    backend.becomes(no());
    let refused = ann.refused(offer("c_3", "bob"), "forbidden").await;
    assert_eq!(refused["message"], "not-contacts");
    ann.refused(offer("c_4", "bob"), "forbidden").await;
    assert_eq!(backend.questions().len(), 2, "a no is remembered for a short while");
}

#[tokio::test]
async fn rooms_and_connects_are_asked_about_where_that_is_wanted() {
    let issuer = Issuer::new();
    let backend = Backend::start(yes(0));
    let setup = backend.setup().with("signal.authorize_kinds", r#"["connect", "join", "call", "turn"]"#);
    let node = Node::start(&issuer, generous(setup));
    let mut ann = Client::open(&node, &token(&issuer, "ann")).await;
    ann.request(json!({ "type": "join", "room": "conv-1" })).await;
    let kinds: Vec<Value> = backend.questions().iter().map(|question| question["kind"].clone()).collect();
    assert_eq!(kinds, ["connect", "join"]);
    assert_eq!(backend.questions()[1]["to"], json!({ "room": "conv-1" }));
    backend.becomes(no());
    ann.refused(json!({ "type": "join", "room": "conv-2" }), "forbidden").await;
    let mut socket = crate::signal_support::Socket::open(node.http).await;
    socket.send(&json!({ "type": "hello", "v": 1, "token": token(&issuer, "eve") })).await;
    assert_eq!(socket.closed().await, 4403);
}

#[tokio::test]
async fn a_backend_that_fails_allows_nothing() {
    let issuer = Issuer::new();
    let backend = Backend::start(Manner::Late(json!({ "allow": true }), Duration::from_secs(3)));
    let node = Node::start(&issuer, generous(backend.setup()));
    let mut ann = Client::open(&node, &token(&issuer, "ann")).await;
    let begun = Instant::now();
    let late = ann.refused(offer("c_1", "bob"), "upstream-timeout").await;
    assert_eq!(late["retryable"], true);
    assert!((Duration::from_millis(750)..Duration::from_millis(2500)).contains(&begun.elapsed()));
    for manner in [
        Manner::Status(500),
        Manner::Status(204),
        Manner::Nonsense,
        Manner::Says(json!({})),
        Manner::Says(json!({ "allow": "yes" })),
        Manner::Says(json!({ "allow": true, "attrs": [1] })),
        Manner::Says(json!({ "allow": true, "padding": "x".repeat(20_000) })),
    ] {
        backend.becomes(manner.clone());
        let answer = ann.answer_to(offer("c_2", "bob")).await;
        assert_eq!(answer["code"], "upstream-timeout", "{manner:?}: {answer}");
    }
    backend.becomes(yes(0));
    ann.request(offer("c_3", "bob")).await;
}

#[tokio::test]
async fn a_backend_that_is_down_is_left_alone_after_half_of_twenty_failures() {
    let issuer = Issuer::new();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let node = Node::start(&issuer, generous(asking(nobody)));
    let mut ann = Client::open(&node, &token(&issuer, "ann")).await;
    for number in 0..25 {
        ann.refused(offer(&format!("c_{number}"), "bob"), "upstream-timeout").await;
    }
    let of = |result: &str| {
        node.metric("iceway_signal_decisions_total", &["kind=\"call\"", &format!("result=\"{result}\"")])
    };
    assert_eq!((of("unreachable"), of("open")), (20.0, 5.0));
    assert_eq!(node.metric("iceway_signal_backend_left_alone", &[]), 1.0);
    ann.request(json!({ "type": "presence", "watch": ["bob"] })).await;
}

#[tokio::test]
async fn frames_keep_their_order_while_the_backend_thinks() {
    let issuer = Issuer::new();
    let backend = Backend::start(Manner::Late(json!({ "allow": true }), Duration::from_millis(300)));
    let node = Node::start(&issuer, generous(backend.setup()));
    let mut ann = Client::open(&node, &token(&issuer, "ann")).await;
    let mut bob = Client::open(&node, &token(&issuer, "bob")).await;
    let call = ann.ask(offer("c_1", "bob")).await;
    ann.send(json!({ "type": "ice-candidate", "call": "c_1", "candidates": [{ "candidate": "x" }] })).await;
    ann.send(json!({ "type": "message", "to": { "user": "bob" }, "data": 1 })).await;
    assert_eq!(ann.answer(&call).await["type"], "ok");
    bob.expect("call-offer").await;
    bob.expect("ice-candidate").await;
    bob.expect("message").await;
}

#[tokio::test]
async fn a_call_goes_on_while_the_backend_is_away() {
    let issuer = Issuer::new();
    let backend = Backend::start(yes(0));
    let setup = backend
        .setup()
        .with("signal.authorize_kinds", r#"["connect", "call"]"#)
        .with("signal.authorize_stale_allow", "\"60s\"");
    let node = Node::start(&issuer, generous(setup));
    let mut ann = Client::open(&node, &token(&issuer, "ann")).await;
    let mut bob = Client::open(&node, &token(&issuer, "bob")).await;
    let eve = Client::open(&node, &token(&issuer, "eve")).await;
    ann.request(offer("c_1", "bob")).await;
    bob.expect("call-offer").await;
    let answer = json!({ "type": "call-answer", "call": "c_1", "data": { "type": "answer", "sdp": "v=0" } });
    bob.request(answer).await;
    backend.becomes(Manner::Status(500));
    let mut bob = bob.lose().resume(&node).await;
    bob.request(json!({ "type": "call-rejoin", "call": "c_1" })).await;
    // Who is in no call, and what is new, is not helped by what was said before.
    eve.lose().try_resume(&node).await.map(|_| ()).unwrap_err();
    ann.refused(offer("c_2", "eve"), "upstream-timeout").await;
    let stale = ["kind=\"connect\"", "result=\"stale\""];
    assert_eq!(node.metric("iceway_signal_decisions_total", &stale), 1.0);
    // A no is a no.
    backend.becomes(no());
    bob.lose().try_resume(&node).await.map(|_| ()).unwrap_err();
    backend.becomes(Manner::Status(500));
    ann.lose().resume(&node).await;
}

#[tokio::test]
async fn a_question_belongs_to_the_trace_of_the_frame() {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let issuer = Issuer::new();
    let backend = Backend::start(yes(0));
    let setup = backend.setup().with("signal.authorize_kinds", r#"["connect", "call"]"#);
    let node = Node::start(&issuer, generous(setup));
    let mut ann = Client::open(&node, &token(&issuer, "ann")).await;
    let mut traced = offer("c_1", "bob");
    traced["traceparent"] = json!(TRACE);
    ann.request(traced).await;
    let mut broken = offer("c_2", "bob");
    broken["traceparent"] = json!("x\r\nAuthorization: none");
    ann.request(broken).await;
    let mut socket = crate::signal_support::Socket::open(node.http).await;
    let hello = json!({ "type": "hello", "v": 1, "token": token(&issuer, "bob"), "traceparent": TRACE });
    socket.send(&hello).await;
    let Came::Frame(welcome) = socket.next().await else { panic!("it is closed") };
    assert_eq!(welcome["type"], "welcome");
    assert_eq!(backend.traces(), ["", TRACE, "", TRACE]);
}

#[tokio::test]
async fn limits_of_the_backend_lower_what_a_token_grants() {
    let issuer = Issuer::new();
    let limited = json!({ "allow": true, "limits": { "maxSessions": 1, "ttl": 120 } });
    let backend = Backend::start(Manner::Says(limited));
    let setup = backend.setup().with("signal.authorize_kinds", r#"["connect", "turn"]"#);
    let node = Node::start(&issuer, generous(setup));
    let granted = |device| issuer.token_with("ann", json!({ "device": device, "turn": { "use": true } }));
    let mut ann = Client::open(&node, &granted("web")).await;
    assert_eq!(ann.request(json!({ "type": "ice-servers" })).await["iceTtl"], 120);
    let mut socket = crate::signal_support::Socket::open(node.http).await;
    socket.send(&json!({ "type": "hello", "v": 1, "token": granted("phone") })).await;
    assert_eq!(socket.closed().await, 4490, "one session is the most");
    backend.becomes(Manner::Says(json!({ "allow": true, "limits": { "ttl": 0 } })));
    ann.refused(json!({ "type": "ice-servers" }), "upstream-timeout").await;
}
