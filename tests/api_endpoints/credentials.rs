//! `POST /v1/turn/credentials`.

use serde_json::{Value, json};

use crate::{
    client::Client,
    process::{Server, key},
};

const PATH: &str = "/v1/turn/credentials";

fn relay(answer: &Value) -> &Value {
    answer["iceServers"].as_array().unwrap().last().unwrap()
}

/// Allocates with what was issued.
fn allocate(server: &Server, entry: &Value) -> Result<(), u16> {
    let text = |name: &str| entry[name].as_str().unwrap().to_owned();
    Client::with(server.udp, &text("username"), &text("credential")).allocate().map(|_| ())
}

#[test]
fn a_backend_gets_what_a_peer_connection_takes() {
    let server = Server::start(&[]);
    let answer = server.post("issue", PATH, &json!({ "user": "u-123" })).is(201);

    let port = server.udp.port();
    assert_eq!(
        answer["iceServers"][0],
        json!({ "urls": [format!("stun:turn.example.org:{port}")] }),
        "STUN stands alone, without a query"
    );
    let entry = relay(&answer);
    let urls: Vec<&str> = entry["urls"].as_array().unwrap().iter().map(|url| url.as_str().unwrap()).collect();
    assert_eq!(urls[0], format!("turn:turn.example.org:{port}?transport=udp"));
    assert!(urls[1].starts_with("turn:turn.example.org:") && urls[1].ends_with("?transport=tcp"), "{urls:?}");
    assert_eq!(urls.len(), 2);
    assert_eq!(answer["iceTransportPolicy"], "all");
    assert_eq!((answer["ttl"].as_u64(), answer["refreshAfter"].as_u64()), (Some(3600), Some(2880)));
    assert_eq!(answer["kid"], "default");
    assert_eq!(answer["nodes"], json!([{ "id": "n1", "region": "eu" }]));
    assert!(answer["id"].as_str().unwrap().starts_with("tc_"));
    let expires = answer["expiresAt"].as_str().unwrap();
    assert!(expires.len() == 20 && expires.ends_with('Z'), "{expires}");
    assert_eq!(allocate(&server, entry), Ok(()));
}

#[test]
fn everything_that_can_be_asked_for_is_given() {
    let server = Server::start(&[]);
    let request = json!({
        "user": "Ann ~ ümlaut", "ttl": 60, "label": "call:c_01J", "region": "eu", "clientIp": "203.0.113.7",
        "transports": ["tcp"], "families": ["ipv4", "ipv6"], "count": 2, "quota": "std", "expiry": "strict",
        "relayOnly": true,
    });
    let answer = server.post("issue", PATH, &request).is(201);
    assert_eq!(answer["iceServers"].as_array().unwrap().len(), 1, "no STUN where only the relay is used");
    let urls = relay(&answer)["urls"].as_array().unwrap();
    assert!(urls.len() == 1 && urls[0].as_str().unwrap().ends_with("transport=tcp"), "{urls:?}");
    assert_eq!(answer["iceTransportPolicy"], "relay");
    assert_eq!((answer["ttl"].as_u64(), answer["refreshAfter"].as_u64()), (Some(60), Some(48)));
    assert_eq!(allocate(&server, relay(&answer)), Ok(()));
    let listed = server.get("read", "/v1/allocations?label=call:c_01J").is(200);
    let allocation = &listed["allocations"][0];
    assert_eq!((&allocation["user"], &allocation["label"]), (&json!("Ann ~ ümlaut"), &json!("call:c_01J")));
}

#[test]
fn a_wish_that_no_node_meets_is_refused_with_its_reason() {
    let server = Server::start(&[]);
    let ask = |request: Value| server.post("issue", PATH, &request);
    let refused = ask(json!({ "user": "u", "region": "mars" }));
    refused.is_problem(503, "no_capacity");
    assert_eq!(refused.header("retry-after"), Some("5"));
    ask(json!({ "user": "u", "transports": ["tls"] })).is_problem(409, "no_uri");
    server.post("admin", "/v1/nodes/n1/drain", &json!({})).is(200);
    let refused = ask(json!({ "user": "u" }));
    refused.is_problem(503, "no_capacity");
    assert_eq!(refused.header("retry-after"), Some("5"));
}

#[test]
fn configured_uris_and_bounds_are_used() {
    let server = Server::start(&[
        "--node-uris=stun:a.example.org,turns:a.example.org:443?transport=tcp",
        "--credentials-ttl-default=120",
        "--credentials-ttl-max=300",
    ]);
    let answer = server.post("issue", PATH, &json!({ "user": "u", "transports": ["tls"] })).is(201);
    assert_eq!(relay(&answer)["urls"], json!(["turns:a.example.org:443?transport=tcp"]));
    assert_eq!(answer["ttl"], 120);
    let errors =
        server.post("issue", PATH, &json!({ "user": "u", "ttl": 301 })).is_problem(422, "ttl_out_of_range");
    assert_eq!(errors, [("/ttl".to_owned(), "must be 60 to 300 seconds".to_owned())]);
}

#[test]
fn nothing_secret_is_logged() {
    let server = Server::start(&[]);
    let answer = server.post("issue", PATH, &json!({ "user": "nobody-may-read-this" })).is(201);
    server.post("issue", PATH, &json!({ "user": "nobody-may-read-this", "ttl": 1 })).is(422);
    let log = server.log();
    for hidden in
        [key("issue").as_str(), relay(&answer)["credential"].as_str().unwrap(), "nobody-may-read-this"]
    {
        assert!(!log.contains(hidden), "{hidden} in {log}");
    }
}

#[test]
fn only_the_scope_to_issue_issues() {
    let server = Server::start(&[]);
    for scope in ["read", "revoke"] {
        server.post(scope, PATH, &json!({ "user": "u" })).is_problem(403, "scope_missing");
    }
    server.post("admin", PATH, &json!({ "user": "u" })).is(201);
    server.get("issue", "/v1/ice-servers").is_problem(403, "grant_missing");
}
