//! `Idempotency-Key`.

use serde_json::Value;

use crate::{
    http::{Answer, request},
    process::{Server, key},
};

fn post(server: &Server, scope: &str, path: &str, idempotency: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {}", key(scope));
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("Idempotency-Key", idempotency),
    ];
    request(server.http, "POST", path, &headers, Some(body))
}

fn keys(server: &Server) -> usize {
    server.get("admin", "/v1/api-keys").is(200)["apiKeys"].as_array().map(Vec::len).unwrap()
}

#[test]
fn the_same_request_is_done_once_and_answered_alike() {
    let server = Server::start(&[]);
    let before = keys(&server);
    let body = "{\"name\":\"x\",\"scopes\":[\"read\"]}";
    let first = post(&server, "admin", "/v1/api-keys", "k-1", body);
    let again = post(&server, "admin", "/v1/api-keys", "k-1", body);
    assert_eq!(first.is(201), again.is(201));
    assert_eq!(
        (first.header("idempotency-replayed"), again.header("idempotency-replayed")),
        (None, Some("true"))
    );
    assert_eq!(keys(&server), before + 1);

    let other = post(&server, "admin", "/v1/api-keys", "k-1", "{\"name\":\"y\",\"scopes\":[\"read\"]}");
    other.is_problem(422, "idempotency_key_reused");
    assert_eq!(keys(&server), before + 1);
    post(&server, "admin", "/v1/api-keys", "k-2", body).is(201);
    assert_eq!(keys(&server), before + 2);
}

#[test]
fn a_key_is_free_again_when_its_request_was_refused() {
    let server = Server::start(&[]);
    let path = "/v1/turn/credentials";
    post(&server, "issue", path, "k", "{\"user\":\"\"}").is_problem(422, "user_invalid");
    post(&server, "issue", path, "k", "{\"user\":\"u\"}").is(201);
    post(&server, "issue", path, "k", "{\"user\":\"\"}").is_problem(422, "idempotency_key_reused");
    let nowhere = "{\"user\":\"u\",\"region\":\"mars\"}";
    for _ in 0..2 {
        let refused = post(&server, "issue", "/v1/turn/credentials", "k-503", nowhere);
        refused.is_problem(503, "no_capacity");
        assert_eq!(refused.header("idempotency-replayed"), None);
    }
}

#[test]
fn a_key_belongs_to_its_caller_and_its_path() {
    let server = Server::start(&[]);
    let body = "{\"user\":\"u\"}";
    let name = |answer: Value| answer["id"].as_str().unwrap().to_owned();
    let one = name(post(&server, "issue", "/v1/turn/credentials", "k", body).is(201));
    let other = name(post(&server, "admin", "/v1/turn/credentials", "k", body).is(201));
    assert_ne!(one, other);
    post(&server, "read", "/v1/turn/credentials", "k", body).is_problem(403, "scope_missing");
    let form = format!("username=u&key={}", key("issue"));
    let headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Idempotency-Key", "k")];
    let turn = |body: &str| request(server.http, "POST", "/turn", &headers, Some(body));
    assert_eq!(turn(&form).is(200), turn(&form).is(200));
    turn("username=u").is_problem(401, "unauthenticated");
}

#[test]
fn keys_that_cannot_be_are_refused() {
    let server = Server::start(&[]);
    for bad in ["", "a b", "é", &"x".repeat(256)] {
        let answer = post(&server, "issue", "/v1/turn/credentials", bad, "{\"user\":\"u\"}");
        answer.is_problem(400, "idempotency_key_invalid");
    }
    post(&server, "issue", "/v1/turn/credentials", &"x".repeat(255), "{\"user\":\"u\"}").is(201);
}
