//! Whatever is sent, it has its own code and text, and changes nothing.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use serde_json::json;

use crate::{
    http::{raw, request},
    process::{Server, key},
};

const PATH: &str = "/v1/turn/credentials";

#[test]
fn what_is_not_the_json_that_is_expected_is_named() {
    let server = Server::start(&[]);
    for body in ["", "{", "{\"user\":\"x\"", "user=x", "{\"user\":\"x\"}}", "{\"user\":\"x\",\"user\":\"y\"}"]
    {
        server.post_text("issue", PATH, body).is_problem(400, "json_malformed");
    }
    let deep = "[".repeat(60_000);
    server.post_text("issue", PATH, &deep).is_problem(400, "json_malformed");
    for (body, code, pointer) in [
        ("[]", "field_invalid", ""),
        ("null", "field_invalid", ""),
        ("{}", "field_missing", "/user"),
        ("{\"user\":7}", "field_invalid", "/user"),
        ("{\"user\":[\"x\"]}", "field_invalid", "/user"),
        ("{\"user\":\"x\",\"ttl\":\"60\"}", "field_invalid", "/ttl"),
        ("{\"user\":\"x\",\"ttl\":60.5}", "field_invalid", "/ttl"),
        ("{\"user\":\"x\",\"relayOnly\":1}", "field_invalid", "/relayOnly"),
        ("{\"user\":\"x\",\"transports\":\"udp\"}", "field_invalid", "/transports"),
        ("{\"user\":\"x\",\"tttl\":60}", "field_unknown", "/tttl"),
    ] {
        let errors = server.post_text("issue", PATH, body).is_problem(422, code);
        assert_eq!(errors[0].0, pointer, "{body}");
    }
}

#[test]
fn every_field_has_a_code_of_its_own() {
    let server = Server::start(&[]);
    let long = "x".repeat(10_000);
    for (field, value, code) in [
        ("user", json!(""), "user_invalid"),
        ("user", json!(long), "user_invalid"),
        ("user", json!("é".repeat(129)), "user_invalid"),
        ("user", json!("a\u{0}b"), "user_invalid"),
        ("user", json!("a\r\nSet-Cookie: b"), "user_invalid"),
        ("user", json!("a\u{9f}"), "user_invalid"),
        ("ttl", json!(0), "ttl_out_of_range"),
        ("ttl", json!(-1), "ttl_out_of_range"),
        ("ttl", json!(59), "ttl_out_of_range"),
        ("ttl", json!(86_401), "ttl_out_of_range"),
        ("ttl", json!(i64::MAX), "ttl_out_of_range"),
        ("ttl", json!(1e99), "ttl_out_of_range"),
        ("label", json!(""), "label_invalid"),
        ("label", json!("a b"), "label_invalid"),
        ("label", json!("a~b"), "label_invalid"),
        ("label", json!(long), "label_invalid"),
        ("region", json!(""), "region_invalid"),
        ("region", json!("e\u{0}u"), "region_invalid"),
        ("clientIp", json!("203.0.113.7:80"), "client_ip_invalid"),
        ("clientIp", json!("localhost"), "client_ip_invalid"),
        ("transports", json!([]), "transports_invalid"),
        ("transports", json!(["udp", "sctp"]), "transports_invalid"),
        ("families", json!(["ipv5"]), "families_invalid"),
        ("count", json!(0), "count_out_of_range"),
        ("count", json!(9), "count_out_of_range"),
        ("count", json!(-3), "count_out_of_range"),
        ("quota", json!("Gold"), "quota_invalid"),
        ("expiry", json!("never"), "expiry_invalid"),
    ] {
        let mut body = json!({ "user": "u-1" });
        body[field] = value.clone();
        let answer = server.post("issue", PATH, &body);
        let errors = answer.is_problem(422, code);
        assert_eq!(errors[0].0, format!("/{field}"), "{value}");
        assert!(answer.body.len() < 1000, "{}", answer.body);
    }
    let two = server.post("issue", PATH, &json!({ "user": "", "ttl": 1 })).is_problem(422, "user_invalid");
    assert_eq!(two.len(), 2, "all that is wrong is said at once: {two:?}");
}

#[test]
fn bodies_and_their_types_are_bounded() {
    let server = Server::start(&[]);
    let large = json!({ "user": "x".repeat(70_000) });
    server.post("issue", PATH, &large).is_problem(413, "body_too_large");
    let bearer = format!("Bearer {}", key("issue"));
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", media_type)];
        request(server.http, "POST", PATH, &headers, Some("{\"user\":\"x\"}"))
            .is_problem(415, "media_type_unsupported");
    }
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "Application/JSON; charset=utf-8")];
    request(server.http, "POST", PATH, &headers, Some("{\"user\":\"x\"}")).is(201);
}

#[test]
fn a_caller_that_sends_slowly_is_told_so() {
    let server = Server::start(&[]);
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{\"user\"",
        key("issue")
    );
    raw(server.http, head.as_bytes()).is_problem(408, "body_too_slow");
}

#[test]
fn a_body_that_breaks_off_harms_nobody() {
    let server = Server::start(&[]);
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: 100\r\n\r\n{{\"user\"",
        key("issue")
    );
    let mut stream = TcpStream::connect(server.http).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    drop(stream.read_to_end(&mut rest));
    server.post("issue", PATH, &json!({ "user": "x" })).is(201);
}

#[test]
fn queries_and_paths_that_lead_nowhere_are_named() {
    let server = Server::start(&[]);
    let get = |path: &str| server.get("admin", path);
    for (path, code) in [
        ("/v1/allocations?limit=0", "parameter_invalid"),
        ("/v1/allocations?limit=1001", "parameter_invalid"),
        ("/v1/allocations?limit=x", "parameter_invalid"),
        ("/v1/allocations?limit=1&limit=1", "parameter_invalid"),
        ("/v1/allocations?users=x", "parameter_unknown"),
        ("/v1/allocations?after=x", "cursor_invalid"),
        ("/v1/usage?from=2026-02-30", "parameter_invalid"),
        ("/v1/usage?from=2026-02-02&to=2026-02-01", "parameter_invalid"),
        ("/v1/usage?user=a&label=b", "parameter_invalid"),
        ("/v1/usage/records?after=%00", "cursor_invalid"),
        ("/v1/ice-servers?user=x", "parameter_unknown"),
    ] {
        let answer = get(path);
        if path.starts_with("/v1/ice-servers") {
            // Who asks comes before what is asked.
            assert!([400, 403].contains(&answer.status), "{answer:?}");
            continue;
        }
        answer.is_problem(400, code);
    }
    get("/v1/allocations?node=none").is_problem(404, "node_unknown");
    for path in
        ["/v1", "/v1/turn", "/v2/turn/credentials", "/v1/turn/credentials/", "/v1/nodes/%ff/drain", "/%00"]
    {
        let answer = get(path);
        assert!([404, 405].contains(&answer.status), "{path}: {answer:?}");
        answer.is(answer.status);
    }
    server.post("admin", "/v1/nodes/none/drain", &json!({})).is_problem(404, "node_unknown");
    server.post("admin", "/v1/nodes/%ff/drain", &json!({})).is_problem(404, "not_found");
    server.delete("admin", "/v1/allocations/none:0-1").is_problem(404, "allocation_unknown");
    server.delete("admin", "/v1/allocations/n1:0-1").is_problem(404, "allocation_unknown");
    server.delete("admin", "/v1/allocations/x").is_problem(404, "allocation_unknown");
    server.delete("admin", "/v1/turn/secrets/none").is_problem(404, "secret_unknown");
    server.delete("admin", "/v1/turn/secrets/%20").is_problem(404, "secret_unknown");
    server.delete("admin", "/v1/api-keys/none").is_problem(404, "api_key_unknown");
}

#[test]
fn nobody_does_what_is_not_theirs_to_do_and_nothing_changes() {
    let server = Server::start(&[]);
    let before = server.get("admin", "/v1/turn/secrets").is(200);
    for (scope, method, path) in [
        ("issue", "POST", "/v1/turn/revocations"),
        ("read", "POST", "/v1/turn/revocations"),
        ("issue", "GET", "/v1/turn/revocations"),
        ("revoke", "GET", "/v1/turn/secrets"),
        ("read", "POST", "/v1/turn/secrets"),
        ("read", "POST", "/v1/turn/secrets/import"),
        ("read", "POST", "/v1/turn/secrets/rotate"),
        ("read", "DELETE", "/v1/turn/secrets/default?force=true"),
        ("read", "POST", "/v1/api-keys"),
        ("read", "GET", "/v1/api-keys"),
        ("revoke", "DELETE", "/v1/api-keys/testadmin"),
        ("issue", "GET", "/v1/allocations"),
        ("read", "DELETE", "/v1/allocations/n1:0-1"),
        ("issue", "GET", "/v1/nodes"),
        ("read", "POST", "/v1/nodes/n1/drain"),
        ("issue", "GET", "/v1/usage"),
        ("issue", "GET", "/v1/usage/records"),
        ("read", "POST", "/v1/usage/records/acknowledge"),
    ] {
        // Bodies that would do something.
        let body = match path {
            "/v1/turn/revocations" => json!({ "issuedBefore": 1 }),
            "/v1/turn/secrets" => json!({ "id": "new" }),
            "/v1/turn/secrets/import" => json!({ "text": "static-auth-secret=0123456789abcdef" }),
            "/v1/api-keys" => json!({ "name": "x", "scopes": ["admin"] }),
            "/v1/usage/records/acknowledge" => json!({ "upTo": "0" }),
            _ => json!({}),
        };
        let answer = match method {
            "GET" => server.get(scope, path),
            "DELETE" => server.delete(scope, path),
            _ => server.post(scope, path, &body),
        };
        answer.is_problem(403, "scope_missing");
        let without = request(server.http, method, path, &[("Content-Type", "application/json")], Some("{}"));
        without.is_problem(401, "unauthenticated");
    }
    assert_eq!(server.get("admin", "/v1/turn/secrets").is(200), before);
    assert_eq!(server.get("admin", "/v1/turn/revocations").is(200)["revocations"], json!([]));
    let nodes = server.get("admin", "/v1/nodes").is(200);
    assert_eq!(nodes["nodes"][0]["state"], "serving");
}
