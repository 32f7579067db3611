//! Secrets, API keys, nodes and allocations.

use serde_json::{Value, json};

use crate::{
    client::Client,
    http::request,
    process::{Server, key},
};

fn credential(server: &Server, user: &str) -> (String, String, String) {
    let answer = server.post("issue", "/v1/turn/credentials", &json!({ "user": user })).is(201);
    let entry = answer["iceServers"].as_array().unwrap().last().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&entry["username"]), text(&entry["credential"]), text(&answer["kid"]))
}

fn states(server: &Server) -> Vec<(String, String, u64)> {
    let listed = server.get("read", "/v1/turn/secrets").is(200);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let secrets = listed["secrets"].as_array().unwrap();
    let mut found: Vec<_> = secrets
        .iter()
        .map(|secret| (text(&secret["id"]), text(&secret["state"]), secret["allocations"].as_u64().unwrap()))
        .collect();
    found.sort();
    found
}

#[test]
fn secrets_are_added_rotated_imported_and_removed() {
    let server = Server::start(&[]);
    let (username, password, kid) = credential(&server, "a");
    assert_eq!(kid, "default");
    let mut old = Client::with(server.udp, &username, &password);
    old.allocate().unwrap();
    assert_eq!(states(&server), [("default".into(), "active".into(), 1)]);

    let secret = "north-of-everything-0123";
    let added = server.post("admin", "/v1/turn/secrets", &json!({ "id": "k2", "secret": secret }));
    assert_eq!(added.is(201)["state"], "next");
    server.post("admin", "/v1/turn/secrets", &json!({ "id": "k2" })).is_problem(409, "secret_exists");
    let rotated = server.post_text("admin", "/v1/turn/secrets/rotate", "").is(200);
    assert_eq!((&rotated["active"]["id"], &rotated["active"]["state"]), (&json!("k2"), &json!("active")));
    let (username, password, kid) = credential(&server, "a");
    assert_eq!(kid, "k2");
    assert!(Client::with(server.udp, &username, &password).allocate().is_ok());

    let text = "listening-port=3478\nstatic-auth-secret=from-coturn-0123456789\n# comment\n";
    let imported = server.post("admin", "/v1/turn/secrets/import", &json!({ "text": text })).is(201);
    let id = imported["secrets"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(states(&server).len(), 3);
    server.delete("admin", &format!("/v1/turn/secrets/{id}")).is(204);
    server.delete("admin", "/v1/turn/secrets/k2").is_problem(409, "secret_in_use");
    server.delete("admin", "/v1/turn/secrets/default").is_problem(409, "secret_configured");
    server.delete("admin", "/v1/turn/secrets/k2?force=true").is(204);
    assert_eq!(Client::with(server.udp, &username, &password).allocate(), Err(401));

    let (answers, log) = (format!("{added:?} {imported:?}"), server.log());
    for hidden in [secret, "from-coturn-0123456789"] {
        assert!(!answers.contains(hidden) && !log.contains(hidden), "{hidden}");
    }
}

#[test]
fn a_secret_that_cannot_be_is_refused_without_being_repeated() {
    let server = Server::start(&[]);
    let before = states(&server);
    for (body, code) in [
        (json!({ "id": "a b" }), "secret_invalid"),
        (json!({ "secret": "hidden" }), "secret_invalid"),
        (json!({ "secret": "hidden".repeat(200) }), "secret_invalid"),
        (json!({ "secret": "hidden-hidden\n" }), "secret_invalid"),
        (json!({ "secret": "hidden hidden" }), "secret_invalid"),
        (json!({ "secret": ["hidden"] }), "field_invalid"),
        (json!({ "state": "retiring" }), "secret_invalid"),
        (json!({ "hidden": "x" }), "field_unknown"),
    ] {
        let answer = server.post("admin", "/v1/turn/secrets", &body);
        answer.is_problem(422, code);
        assert!(code == "field_unknown" || !answer.body.contains("hidden"), "{answer:?}");
    }
    let answer = server.post("admin", "/v1/turn/secrets/import", &json!({ "text": "one two hidden four" }));
    answer.is_problem(422, "secret_invalid");
    assert!(!answer.body.contains("hidden"), "{answer:?}");
    assert_eq!(states(&server), before);
}

#[test]
fn api_keys_are_made_used_listed_and_revoked() {
    let server = Server::start(&[]);
    let wanted = json!({ "name": "backend", "scopes": ["issue", "issue", "read"], "ttl": 3600 });
    let made = server.post("admin", "/v1/api-keys", &wanted).is(201);
    let text = made["key"].as_str().unwrap().to_owned();
    let id = made["id"].as_str().unwrap().to_owned();
    assert_eq!(made["scopes"], json!(["issue", "read"]));
    let bearer = format!("Bearer {text}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let ask = || request(server.http, "POST", "/v1/turn/credentials", &headers, Some("{\"user\":\"x\"}"));
    ask().is(201);

    let listed = server.get("admin", "/v1/api-keys");
    let keys = listed.is(200)["apiKeys"].as_array().unwrap().clone();
    let found = keys.iter().find(|key| key["id"] == *id).unwrap();
    assert!(found["lastUsed"].as_u64().is_some() && found["source"] == "stored", "{found}");
    assert!(keys.iter().any(|key| key["id"] == "testadmin" && key["source"] == "configuration"));
    assert!(!listed.body.contains(&text) && !listed.body.contains("sha256"));

    server.delete("admin", &format!("/v1/api-keys/{id}")).is(204);
    assert_eq!(ask().status, 401);
    server.delete("admin", &format!("/v1/api-keys/{id}")).is_problem(404, "api_key_unknown");
    server.delete("admin", "/v1/api-keys/testread1").is_problem(409, "api_key_configured");
    assert!(!server.log().contains(&text));
}

#[test]
fn an_api_key_that_could_do_nothing_or_anything_is_refused() {
    let server = Server::start(&[]);
    for (body, code) in [
        (json!({ "name": "x" }), "field_missing"),
        (json!({ "name": "x", "scopes": ["all"] }), "field_invalid"),
        (json!({ "name": "", "scopes": ["read"] }), "api_key_invalid"),
        (json!({ "name": "a\nb", "scopes": ["read"] }), "api_key_invalid"),
        (json!({ "name": "x".repeat(10_000), "scopes": ["read"] }), "api_key_invalid"),
        (json!({ "name": "x", "scopes": [] }), "api_key_invalid"),
        (json!({ "name": "x", "scopes": ["read"], "networks": ["here"] }), "api_key_invalid"),
        (json!({ "name": "x", "scopes": ["read"], "networks": vec!["10.0.0.1"; 65] }), "api_key_invalid"),
        (json!({ "name": "x", "scopes": ["read"], "ttl": 0 }), "api_key_invalid"),
        (json!({ "name": "x", "scopes": ["read"], "ttl": -5 }), "api_key_invalid"),
    ] {
        server.post("admin", "/v1/api-keys", &body).is_problem(422, code);
    }
    let made = json!({ "name": "x", "scopes": ["read"], "networks": ["10.0.0.0/8", "192.0.2.7"] });
    let made = server.post("admin", "/v1/api-keys", &made).is(201);
    assert_eq!(made["networks"], json!(["10.0.0.0/8", "192.0.2.7/32"]));
    let bearer = format!("Bearer {}", made["key"].as_str().unwrap());
    let refused = request(server.http, "GET", "/v1/nodes", &[("Authorization", &bearer)], None);
    refused.is_problem(403, "network_refused");
}

#[test]
fn allocations_are_listed_page_by_page_and_ended() {
    let server = Server::start(&[]);
    let mut clients = Vec::new();
    for user in ["a", "b", "a"] {
        let (username, password, _) = credential(&server, user);
        let mut client = Client::with(server.udp, &username, &password);
        client.allocate().unwrap();
        clients.push(client);
    }
    let page = server.get("read", "/v1/allocations?limit=2").is(200);
    assert_eq!(page["unanswered"], json!([]));
    let first = page["allocations"].as_array().unwrap().clone();
    let next = page["next"].as_str().unwrap();
    let page = server.get("read", &format!("/v1/allocations?limit=2&after={next}")).is(200);
    let second = page["allocations"].as_array().unwrap().clone();
    assert_eq!((first.len(), second.len(), page.get("next")), (2, 1, None));
    let one = &first[0];
    assert_eq!(
        (&one["node"], &one["transport"], &one["keyId"]),
        (&json!("n1"), &json!("udp"), &json!("default"))
    );
    assert!(one["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{one}");

    let of_a = server.get("read", "/v1/allocations?user=a&node=n1").is(200)["allocations"].clone();
    assert_eq!(of_a.as_array().unwrap().len(), 2);
    let path = format!("/v1/allocations/{}", one["id"].as_str().unwrap());
    server.delete("admin", &path).is(204);
    server.delete("admin", &path).is_problem(404, "allocation_unknown");
    assert_eq!(server.get("read", "/v1/allocations").is(200)["allocations"].as_array().unwrap().len(), 2);
}

#[test]
fn nodes_are_listed_and_drained() {
    let server = Server::start(&[]);
    let listed = server.get("read", "/v1/nodes").is(200);
    assert_eq!(listed["cluster"], json!({ "status": "alone" }));
    let node = &listed["nodes"][0];
    assert_eq!(
        (&node["id"], &node["region"], &node["state"]),
        (&json!("n1"), &json!("eu"), &json!("serving"))
    );
    assert!(node["uris"].as_array().unwrap().len() == 3 && node["version"].is_string(), "{node}");
    let (username, password, _) = credential(&server, "a");
    Client::with(server.udp, &username, &password).allocate().unwrap();

    let drained = server.post("admin", "/v1/nodes/n1/drain", &json!({})).is(200);
    assert_eq!(
        (&drained["state"], &drained["drained"], &drained["allocations"]),
        (&json!("draining"), &json!(false), &json!(1))
    );
    assert!(drained["since"].is_u64() && drained["secondsLeft"].as_u64().unwrap() <= 30, "{drained}");
    assert_eq!(server.get("read", "/v1/drain").is(200)["allocations"], 1);
    server.get("read", "/v1/drain?node=n2").is_problem(404, "node_unknown");
    server.post("read", "/v1/nodes/n1/drain", &json!({})).is_problem(403, "scope_missing");
    assert_eq!(server.get("read", "/v1/nodes").is(200)["nodes"][0]["state"], "draining");
    assert!(Client::with(server.udp, &username, &password).allocate().is_err());

    let undone = server.delete("admin", "/v1/nodes/n1/drain").is(200);
    assert_eq!((&undone["state"], &undone["secondsLeft"]), (&json!("serving"), &serde_json::Value::Null));
    assert_eq!(server.get("read", "/v1/nodes").is(200)["nodes"][0]["state"], "serving");
    Client::with(server.udp, &username, &password).allocate().unwrap();
}

#[test]
fn the_keys_of_the_tests_are_what_they_seem() {
    assert!(key("admin").starts_with("iw_testadmin_") && key("admin").len() == 13 + 43);
}
