//! API keys, scopes, failures and limits.

use crate::{
    http::Request,
    server::{Server, key_text, metric},
};

const READ: &str = "reader01 read";

#[test]
fn a_key_is_taken_from_either_header_and_does_what_its_scopes_allow() {
    let server = Server::start(&[READ, "issuer01 issue", "admin001 admin"], "");
    let nodes = "/v1/nodes";
    assert_eq!(server.get(nodes, &key_text("reader01")).status, 200);
    assert_eq!(server.send(&Request::get(nodes).header("X-Api-Key", &key_text("reader01"))).status, 200);
    assert_eq!(server.get(nodes, &key_text("admin001")).status, 200);

    let refused = server.get(nodes, &key_text("issuer01"));
    assert_eq!((refused.status, refused.code().as_str()), (403, "scope_missing"));
    assert!(refused.header("www-authenticate").contains("insufficient_scope"));
    let body = r#"{"user":"alice"}"#;
    let issue = Request::post("/v1/turn/credentials", body);
    let issued = server.send(&issue.clone().bearer(&key_text("issuer01")));
    assert_eq!(issued.status, 201, "{issued:?}");
    assert_eq!(issued.header("cache-control"), "no-store");
    assert_eq!(server.send(&issue.bearer(&key_text("reader01"))).code(), "scope_missing");
}

#[test]
fn each_way_to_be_wrong_has_its_own_code() {
    let server = Server::start(&[READ, "faraway1 read 192.0.2.0/24"], "");
    let code = |request: Request| {
        let answer = server.send(&request);
        (answer.status, answer.code())
    };
    let get = || Request::get("/v1/nodes");
    assert_eq!(code(get()), (401, "unauthenticated".into()));
    assert_eq!(code(get().header("Authorization", "Basic YTpi")), (401, "unauthenticated".into()));
    assert_eq!(code(get().bearer(&key_text("nobody01"))), (401, "key_unknown".into()));
    assert_eq!(code(get().bearer("iw_cut")), (401, "key_unknown".into()));
    let changed = key_text("reader01").replace("1re", "1rx");
    assert_ne!(changed, key_text("reader01"));
    assert_eq!(code(get().bearer(&changed)), (401, "key_unknown".into()));
    assert_eq!(code(get().bearer(&key_text("faraway1"))), (403, "network_refused".into()));
    assert_eq!(code(get().bearer("a.b.c")), (401, "tokens_not_taken".into()));
    let two = get().bearer(&key_text("reader01")).header("X-Api-Key", &key_text("faraway1"));
    assert_eq!(code(two), (400, "ambiguous_credentials".into()));
    let failures =
        |reason| metric(&server, &format!("iceway_api_authentication_failures_total{{reason=\"{reason}\"}}"));
    assert_eq!(failures("key_unknown"), 3);
    assert_eq!(failures("network_refused"), 1);
    assert_eq!(failures("unauthenticated"), 2);
    assert_eq!(metric(&server, "iceway_api_requests_total{route=\"nodes\",status=\"4xx\"}"), 8);
}

#[test]
fn whoever_fails_too_often_waits_but_a_right_key_is_taken() {
    let server = Server::start(&[READ], "[api]\nauthentication_failures = 3\n");
    for _ in 0..3 {
        assert_eq!(server.get("/v1/nodes", &key_text("nobody01")).code(), "key_unknown");
    }
    let throttled = server.get("/v1/nodes", &key_text("nobody01"));
    assert_eq!((throttled.status, throttled.code().as_str()), (429, "throttled"));
    let wait: u64 = throttled.header("retry-after").parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    assert_eq!(server.get("/v1/nodes", &key_text("reader01")).status, 200);
}

#[test]
fn a_caller_and_a_user_have_their_rates() {
    let server = Server::start(&[READ, "issuer01 issue"], "[api]\nrate_per_caller = 5\nrate_per_user = 2\n");
    let answers: Vec<_> = (0..8).map(|_| server.get("/v1/nodes", &key_text("reader01"))).collect();
    assert_eq!(answers[0].status, 200);
    assert_eq!(answers[0].header("ratelimit-policy"), "\"caller\";q=5;w=1");
    assert!(answers[0].header("ratelimit").starts_with("\"caller\";r=4;t="), "{:?}", answers[0]);
    let limited = answers.iter().find(|answer| answer.status == 429).expect("8 of 5 per second are too many");
    assert_eq!(limited.code(), "rate_limited");
    assert_eq!(limited.header("retry-after"), "1");
    assert!(limited.header("ratelimit").starts_with("\"caller\";r=0;t="));

    let issue = |user: &str| {
        let body = format!("{{\"user\":\"{user}\"}}");
        server.send(&Request::post("/v1/turn/credentials", &body).bearer(&key_text("issuer01")))
    };
    assert_eq!([issue("alice").status, issue("alice").status], [201, 201]);
    let limited = issue("alice");
    assert_eq!((limited.status, limited.code().as_str()), (429, "rate_limited"));
    assert!(limited.header("ratelimit-policy").contains("\"user\";q=2;w=60"), "{limited:?}");
    assert_eq!(issue("bob").status, 201);
}

#[test]
fn keys_are_read_again_on_sighup() {
    let server = Server::start(&[READ], "");
    assert_eq!(server.get("/v1/nodes", &key_text("reader01")).status, 200);
    server.directory.write("api-keys", "# all are gone\n");
    server.reload();
    assert_eq!(server.get("/v1/nodes", &key_text("reader01")).code(), "key_unknown");
}
