//! Tokens: too late, too early, of others, revoked, refreshed; and signed call grants.

use std::time::Duration;

use serde_json::{Value, json};

use crate::signal_support::{Client, Issuer, Node, Setup, Socket};

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn claims(user: &str) -> Value {
    json!({ "iss": "https://auth.example/realms/m", "aud": "rtc-signal", "sub": user, "iat": now(),
            "exp": now() + 600, "rtc": Issuer::grants("web") })
}

/// What a hello with this token is answered, and the code of the close that follows.
async fn refused(node: &Node, token: &str) -> (Value, u16) {
    let mut socket = Socket::open(node.http).await;
    socket.send(&json!({ "id": "h", "type": "hello", "v": 1, "token": token })).await;
    let answer = match socket.next().await {
        crate::signal_support::Came::Frame(frame) => frame,
        crate::signal_support::Came::Closed(code) => panic!("closed with {code:?} without an answer"),
    };
    (answer, socket.closed().await)
}

#[tokio::test]
async fn each_fault_of_a_token_has_its_code() {
    let issuer = Issuer::new();
    let node = Node::start(&issuer, Setup::default().with("signal.hello_failures", 0));
    let with = |claim: &str, value: Value| {
        let mut claims = claims("ann");
        claims[claim] = value;
        issuer.sign(&claims)
    };
    let (expired, code) = refused(&node, &with("exp", json!(now() - 100))).await;
    assert_eq!((&expired["code"], code), (&json!("token-expired"), 4401), "{expired}");
    let (early, _) = refused(&node, &with("nbf", json!(now() + 200))).await;
    assert_eq!(early["code"], "token-not-yet-valid", "{early}");
    let skew = early["details"]["skew"].as_u64().unwrap();
    assert!((195..=200).contains(&skew), "{early}");
    for token in [
        with("aud", json!("other")),
        with("iss", json!("https://evil.example")),
        with("sub", Value::Null),
        with("rtc", json!({ "role": "king" })),
        Issuer::new().sign(&claims("ann")),
    ] {
        let (answer, code) = refused(&node, &token).await;
        assert_eq!((&answer["code"], code), (&json!("unauthorized"), 4401), "{answer}");
        assert!(!answer.to_string().contains(&token[..20]), "{answer}");
    }
    Client::open(&node, &with("exp", json!(now() - 30))).await;
}

#[tokio::test]
async fn scopes_stand_for_grants_where_there_is_no_claim() {
    let issuer = Issuer::new();
    let node = Node::start(&issuer, Setup::default());
    let with = |scope: &str| {
        let mut claims = claims(&format!("user-{}", scope.len()));
        claims["rtc"] = Value::Null;
        claims["scope"] = json!(scope);
        issuer.sign(&claims)
    };
    let mut caller = Client::open(&node, &with("rtc.connect rtc.call rtc.room.join turn.issue")).await;
    assert!(caller.welcome["iceServers"].is_array(), "{}", caller.welcome);
    caller.request(json!({ "type": "join", "room": "any" })).await;
    let offer = |call: &str| {
        json!({ "type": "call-offer", "call": call, "to": { "user": "x" }, "media": [],
                                     "data": { "type": "offer", "sdp": "" } })
    };
    caller.request(offer("c_1")).await;
    let mut watcher = Client::open(&node, &with("rtc.connect")).await;
    watcher.refused(json!({ "type": "join", "room": "any" }), "forbidden").await;
    watcher.refused(offer("c_2"), "forbidden").await;
    let (answer, code) = refused(&node, &with("rtc.call")).await;
    assert_eq!((&answer["code"], code), (&json!("forbidden"), 4403), "{answer}");
}

#[tokio::test]
async fn a_session_outlives_its_token_only_if_it_is_refreshed() {
    let issuer = Issuer::new();
    let setup = Setup::default().with("signal.token_grace", "\"1s\"").with("jwt.leeway", "\"0s\"");
    let node = Node::start(&issuer, setup);
    let short = |user: &str| {
        let mut claims = claims(user);
        claims["exp"] = json!(now() + 2);
        issuer.sign(&claims)
    };
    let mut ann = Client::open(&node, &short("ann")).await;
    let mut bob = Client::open(&node, &short("bob")).await;
    let answer = ann.request(json!({ "type": "auth-refresh", "token": issuer.token("ann", "web") })).await;
    assert!(answer["tokenExpiresIn"].as_u64().is_some_and(|left| left > 3000), "{answer}");
    assert_eq!(bob.closed().await, 4203);
    tokio::time::sleep(Duration::from_millis(500)).await;
    ann.refused(json!({ "type": "auth-refresh", "token": issuer.token("eve", "web") }), "forbidden").await;
}

#[tokio::test]
async fn a_signed_call_grant_needs_no_backend_and_is_good_once() {
    let issuer = Issuer::new();
    let setup = Setup::default().with("signal.errors_per_minute", 0).with("signal.offers_per_pair", 0);
    let setup = setup.with("signal.descriptions_per_second", 0).with("signal.offers_per_minute", 0);
    let node = Node::start(&issuer, setup);
    let mut grants = Issuer::grants("web");
    grants["call"] = json!({ "mode": "grant" });
    let mut ann = Client::open(&node, &issuer.token_with("ann", grants)).await;
    let offer = |call: &str, grant: Option<&str>| {
        let mut frame = json!({ "type": "call-offer", "call": call, "to": { "user": "bob" }, "media": ["audio"],
                                "data": { "type": "offer", "sdp": "v=0" } });
        if let Some(grant) = grant {
            frame["grant"] = json!(grant);
        }
        frame
    };
    let grant = |from: &str, to: &str, call: &str, life: u64| {
        issuer.sign(
            &json!({ "iss": "https://auth.example/realms/m", "aud": "rtc-signal", "from": from, "to": to,
                             "call": call, "iat": now(), "exp": now() + life }),
        )
    };
    ann.refused(offer("c_1", None), "forbidden").await;
    for (number, wrong) in [
        grant("eve", "bob", "c_1", 60),
        grant("ann", "eve", "c_1", 60),
        grant("ann", "bob", "c_9", 60),
        grant("ann", "bob", "c_1", 600),
        issuer.token("ann", "web"),
        Issuer::new().sign(&json!({ "from": "ann" })),
        "no token".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let answer = ann.answer_to(offer("c_1", Some(wrong))).await;
        assert_eq!(answer["code"], "forbidden", "{number}: {answer}");
    }
    let good = grant("ann", "bob", "c_1", 60);
    ann.request(offer("c_1", Some(&good))).await;
    ann.request(json!({ "type": "call-hangup", "call": "c_1" })).await;
    let again = ann.answer_to(offer("c_1", Some(&good))).await;
    assert_eq!(again["type"], "error", "{again}");
}

#[tokio::test]
async fn keys_of_the_issuer_can_be_rotated() {
    let (old, new) = (Issuer::new(), Issuer::new());
    let node = Node::start(&old, Setup::default());
    let mut ann = Client::open(&node, &old.token("ann", "web")).await;
    assert_eq!(refused(&node, &new.token("bob", "web")).await.0["code"], "unauthorized");
    node.replace_file("jwks.json", &new.jwks());
    node.signal(nix::sys::signal::Signal::SIGHUP);
    node.logged("Reloaded.");
    Client::open(&node, &new.token("bob", "web")).await;
    assert_eq!(refused(&node, &old.token("eve", "web")).await.0["code"], "unauthorized");
    ann.request(json!({ "type": "join", "room": "still-here" })).await;
}
