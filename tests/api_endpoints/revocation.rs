//! `/v1/turn/revocations` and what it does to live allocations.

use serde_json::{Value, json};

use crate::{client::Client, process::Server};

const PATH: &str = "/v1/turn/revocations";

fn issue(server: &Server, request: &Value) -> (String, String) {
    let answer = server.post("issue", "/v1/turn/credentials", request).is(201);
    let entry = answer["iceServers"].as_array().unwrap().last().unwrap().clone();
    (entry["username"].as_str().unwrap().to_owned(), entry["credential"].as_str().unwrap().to_owned())
}

fn live(server: &Server) -> usize {
    server.get("read", "/v1/allocations").is(200)["allocations"].as_array().unwrap().len()
}

#[test]
fn a_revoked_user_is_cut_denied_and_can_have_new_credentials_at_once() {
    let server = Server::start(&[]);
    let (username, password) = issue(&server, &json!({ "user": "eve" }));
    let (other_name, other_password) = issue(&server, &json!({ "user": "bob" }));
    let mut eve = Client::with(server.udp, &username, &password);
    let mut bob = Client::with(server.udp, &other_name, &other_password);
    eve.allocate().unwrap();
    bob.allocate().unwrap();
    assert_eq!(live(&server), 2);

    let answer = server.post("revoke", PATH, &json!({ "user": "eve" })).is(201);
    assert_eq!(answer["cut"], 1);
    assert_eq!(answer["nodes"], json!([{ "id": "n1", "cut": 1 }]));
    assert_eq!(answer["unanswered"], json!([]));
    assert_eq!(answer["revocation"]["user"], "eve");
    assert_eq!(live(&server), 1);
    assert_eq!(Client::with(server.udp, &username, &password).allocate(), Err(401));

    let (username, password) = issue(&server, &json!({ "user": "eve" }));
    assert!(Client::with(server.udp, &username, &password).allocate().is_ok());
    let form = format!("username=eve&key={}", crate::process::key("issue"));
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let plain = crate::http::request(server.http, "POST", "/turn", &headers, Some(&form)).is(200);
    let text = |name: &str| plain[name].as_str().unwrap().to_owned();
    assert!(text("username").contains('~'), "a plain name would be hit: {plain}");
    assert!(Client::with(server.udp, &text("username"), &text("password")).allocate().is_ok());
}

#[test]
fn each_of_many_revocations_in_one_second_hits_what_came_before_it() {
    let server = Server::start(&[]);
    let issued: Vec<_> = (0..5)
        .map(|_| {
            let made = issue(&server, &json!({ "user": "eve" }));
            server.post("revoke", PATH, &json!({ "user": "eve" })).is(201);
            made
        })
        .collect();
    for (username, password) in issued {
        assert_eq!(Client::with(server.udp, &username, &password).allocate(), Err(401), "{username}");
    }
    let (username, password) = issue(&server, &json!({ "user": "eve" }));
    assert!(Client::with(server.udp, &username, &password).allocate().is_ok(), "{username}");
}

#[test]
fn every_criterion_hits_what_it_names() {
    let server = Server::start(&[]);
    let (username, password) = issue(&server, &json!({ "user": "a", "label": "call:1" }));
    let (by_label, label_password) = issue(&server, &json!({ "user": "b", "label": "call:2" }));
    let works = |name: &str, password: &str| Client::with(server.udp, name, password).allocate().is_ok();

    server.post("revoke", PATH, &json!({ "username": username })).is(201);
    assert!(!works(&username, &password) && works(&by_label, &label_password));
    server.post("revoke", PATH, &json!({ "label": "call:2", "kill": false })).is(201);
    assert!(!works(&by_label, &label_password));
    assert_eq!(live(&server), 1, "kill: false leaves what is up");
    let (next, next_password) = issue(&server, &json!({ "user": "c" }));
    assert!(works(&next, &next_password));
    let answer = server.post("revoke", PATH, &json!({ "keyId": "default" })).is(201);
    assert_eq!(answer["cut"], 2);
    assert!(!works(&next, &next_password));
    let (last, last_password) = issue(&server, &json!({ "user": "d" }));
    assert!(works(&last, &last_password), "issued afterwards with the same secret");

    let listed = server.get("read", &format!("{PATH}?limit=2")).is(200);
    assert_eq!(listed["revocations"].as_array().unwrap().len(), 2);
    let next = listed["next"].as_str().unwrap();
    let rest = server.get("read", &format!("{PATH}?limit=2&after={next}")).is(200);
    assert_eq!(rest["revocations"].as_array().unwrap().len(), 1);
    assert!(rest.get("next").is_none());
}

#[test]
fn a_revocation_that_says_nothing_or_too_much_is_refused() {
    let server = Server::start(&[]);
    for (body, code) in [
        (json!({}), "revocation_empty"),
        (json!({ "kill": true }), "revocation_empty"),
        (json!({ "username": "" }), "revocation_invalid"),
        (json!({ "username": "x".repeat(10_000) }), "revocation_invalid"),
        (json!({ "user": "\u{0}" }), "user_invalid"),
        (json!({ "label": "a b" }), "label_invalid"),
        (json!({ "keyId": "a b" }), "revocation_invalid"),
        (json!({ "user": "x", "issuedBefore": 99_999_999_999_u64 }), "revocation_invalid"),
        (json!({ "users": "x" }), "field_unknown"),
        (json!({ "issuedBefore": "now" }), "field_invalid"),
    ] {
        server.post("revoke", PATH, &body).is_problem(422, code);
    }
    assert_eq!(server.get("read", PATH).is(200)["revocations"], json!([]));
}
