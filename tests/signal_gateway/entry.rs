//! How a client says who it is.

use serde_json::json;

use crate::signal_support::{Client, Issuer, Node, Setup};

#[tokio::test]
async fn a_token_in_the_first_frame_is_welcomed_with_ice_servers() {
    let issuer = Issuer::new();
    let node = Node::start(&issuer, Setup::default());
    let mut grants = Issuer::grants("web");
    grants["turn"] = json!({ "use": true, "ttl": 600 });
    let mut ann = Client::open(&node, &issuer.token_with("ann", grants)).await;
    assert_eq!(ann.welcome["user"], "ann");
    assert_eq!(ann.welcome["iceTtl"], 600, "{}", ann.welcome);
    let turn = &ann.welcome["iceServers"][1];
    assert!(turn["username"].as_str().is_some_and(|name| name.contains(":ann~")), "{}", ann.welcome);
    let answer = ann.request(json!({ "type": "ice-servers" })).await;
    assert_eq!(answer["iceTtl"], 600, "{answer}");
    let mut bob = Client::open(&node, &issuer.token("bob", "web")).await;
    assert!(bob.welcome["iceServers"].is_null(), "{}", bob.welcome);
    bob.refused(json!({ "type": "ice-servers" }), "forbidden").await;
    ann.request(json!({ "type": "message", "to": { "user": "bob" }, "data": { "n": 1 } })).await;
    assert_eq!(bob.expect("message").await["data"]["n"], 1);
}
