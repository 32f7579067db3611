//! The forms other software speaks.

use serde_json::{Value, json};

use crate::{
    client::Client,
    http::{Answer, request},
    process::{Server, key, key_id},
};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

fn form(server: &Server, path: &str, body: &str) -> Answer {
    request(server.http, "POST", path, &[FORM], Some(body))
}

fn allocate(server: &Server, answer: &Value, password: &str) -> Result<(), u16> {
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    Client::with(server.udp, &text("username"), &text(password)).allocate().map(|_| ())
}

#[test]
fn janus_gets_credentials_with_its_form() {
    let server = Server::start(&[]);
    // As janus_turnrest.c sends it: the key under both names.
    let body = format!("service=turn&api={0}&key={0}&username=janus-1", key("issue"));
    let answer = form(&server, "/turn", &body).is(200);
    let username = answer["username"].as_str().unwrap();
    assert!(username.ends_with(":janus-1") && !username.contains('~'), "{username}");
    assert_eq!(answer["ttl"], 3600);
    let port = server.udp.port();
    assert_eq!(answer["uris"][0], format!("turn:turn.example.org:{port}?transport=udp"));
    assert!(answer["uris"].as_array().unwrap().iter().all(|uri| uri.as_str().unwrap().starts_with("turn")));
    assert_eq!(allocate(&server, &answer, "password"), Ok(()));
}

#[test]
fn the_draft_is_answered_at_both_paths_by_query_form_and_header() {
    let server = Server::start(&["--api-allow-query-key"]);
    let bearer = format!("Bearer {}", key("issue"));
    for path in ["/turn", "/turn/credentials"] {
        let query = format!("{path}?service=turn&username=fred&key={}", key("issue"));
        for method in ["GET", "POST"] {
            let answer = request(server.http, method, &query, &[], None).is(200);
            assert!(answer["username"].as_str().unwrap().ends_with(":fred"));
        }
        let asked = request(server.http, "GET", path, &[("Authorization", &bearer)], None).is(200);
        assert!(asked["username"].as_str().unwrap().bytes().all(|byte| byte.is_ascii_digit()), "{asked}");
        assert_eq!(allocate(&server, &asked, "password"), Ok(()));
    }
    let log = server.log();
    assert!(!log.contains(&key("issue")), "{log}");
}

#[test]
fn the_draft_refuses_what_it_cannot_use() {
    let server = Server::start(&[]);
    let ask = |body: &str| form(&server, "/turn", &format!("{body}&key={}", key("issue")));
    ask("service=stun").is_problem(400, "service_unknown");
    ask("username=a%00b").is_problem(422, "user_invalid");
    ask("username=").is_problem(422, "user_invalid");
    ask(&format!("username={}", "x".repeat(10_000))).is_problem(422, "user_invalid");
    ask("ttl=1").is_problem(422, "ttl_out_of_range");
    ask("ttl=soon").is_problem(400, "parameter_invalid");
    ask("ttl=60&ttl=60").is_problem(400, "parameter_invalid");
    ask("api=iw_other").is_problem(400, "ambiguous_credentials");
    // What stands in the form counts; what stands beside it in the query must be right nonetheless.
    let both =
        |query: &str| form(&server, &format!("/turn?{query}"), &format!("ttl=60&key={}", key("issue")));
    assert_eq!(both("ttl=120").is(200)["ttl"], 60);
    both("ttl=1").is_problem(422, "ttl_out_of_range");
    both("username=").is_problem(422, "user_invalid");
    both("service=turn&service=stun").is_problem(400, "parameter_invalid");
    form(&server, "/turn", "service=turn").is_problem(401, "unauthenticated");
    form(&server, "/turn", &format!("key={}", key("read"))).is_problem(403, "scope_missing");
    let query = format!("/turn?key={}", key("issue"));
    request(server.http, "GET", &query, &[], None).is_problem(400, "key_in_query");
    let json = [("Content-Type", "application/json")];
    request(server.http, "POST", "/turn", &json, Some("{}")).is_problem(415, "media_type_unsupported");
    form(&server, "/turn", &"x".repeat(70_000)).is_problem(413, "body_too_large");
}

#[test]
fn a_cloudflare_client_works_with_another_host() {
    let server = Server::start(&[]);
    let base = format!("/v1/turn/keys/{}/credentials", key_id("issue,revoke"));
    let scope = "issue,revoke";
    let request = json!({ "ttl": 86400, "customIdentifier": "u-123" });
    let answer = server.post(scope, &format!("{base}/generate-ice-servers"), &request).is(201);
    assert_eq!(answer.as_object().unwrap().keys().collect::<Vec<_>>(), ["iceServers"]);
    let entries = answer["iceServers"].as_array().unwrap();
    assert!(
        entries[0]["urls"][0].as_str().unwrap().starts_with("stun:") && entries[0].get("username").is_none()
    );
    assert_eq!(allocate(&server, &entries[1], "credential"), Ok(()));

    let answer = server.post(scope, &format!("{base}/generate"), &json!({ "ttl": 600 })).is(201);
    let entry = &answer["iceServers"];
    assert!(entry.is_object() && entry["urls"].as_array().unwrap().len() == 3, "{answer}");
    assert_eq!(allocate(&server, entry, "credential"), Ok(()));

    let username = entry["username"].as_str().unwrap().replace(':', "%3A").replace('~', "%7E");
    let revoked = server.post_text(scope, &format!("{base}/{username}/revoke"), "");
    revoked.is(204);
    assert_eq!(allocate(&server, entry, "credential"), Err(401));
    assert_eq!(allocate(&server, &entries[1], "credential"), Ok(()), "the other one still works");
}

#[test]
fn a_key_speaks_for_itself_alone() {
    let server = Server::start(&[]);
    let path = |key_id: &str| format!("/v1/turn/keys/{key_id}/credentials/generate-ice-servers");
    server.post("issue", &path(key_id("admin")), &json!({})).is_problem(404, "turn_key_unknown");
    server.post("read", &path(key_id("read")), &json!({})).is_problem(403, "scope_missing");
    let own = path(key_id("issue"));
    server.post("issue", &own, &json!({ "ttl": 172_801 })).is_problem(422, "ttl_out_of_range");
    server.post("issue", &own, &json!({ "customIdentifier": "\u{7}" })).is_problem(422, "user_invalid");
    server.post("issue", &own, &json!({ "custom": "x" })).is_problem(422, "field_unknown");
}
