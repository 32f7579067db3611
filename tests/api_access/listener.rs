//! What a caller can hold, who is behind a proxy, and pages of other origins.

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use crate::{
    http::{Answer, Request, connect},
    server::{Server, key_text},
};

#[test]
fn every_answer_has_an_id_that_the_caller_can_choose() {
    let server = Server::start(&[], "");
    let own = server.send(&Request::get("/healthz").header("X-Request-Id", "trace-1"));
    assert_eq!(own.header("x-request-id"), "trace-1");
    let ids = [(); 2].map(|()| server.send(&Request::get("/nowhere")));
    assert_eq!(ids[0].code(), "not_found");
    assert_ne!(ids[0].header("x-request-id"), ids[1].header("x-request-id"));
}

#[test]
fn many_requests_on_one_connection_are_answered_in_order() {
    let server = Server::start(&["reader01 read"], "");
    let mut stream = connect(server.http);
    let bearer = key_text("reader01");
    let mut text = String::new();
    for number in 0..100 {
        let end = if number == 99 { "Connection: close\r\n" } else { "" };
        text.push_str(&format!(
            "GET /v1/nodes HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {bearer}\r\nX-Request-Id: n-{number}\r\n{end}\r\n"
        ));
    }
    stream.write_all(text.as_bytes()).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    let ids: Vec<&str> = answers.lines().filter_map(|line| line.strip_prefix("x-request-id: ")).collect();
    let expected: Vec<String> = (0..100).map(|number| format!("n-{number}")).collect();
    assert_eq!(ids, expected);
}

#[test]
fn headers_that_do_not_end_are_not_waited_for() {
    let server = Server::start(&[], "");
    let mut slow = connect(server.http);
    slow.write_all(b"GET /healthz HTTP/1.1\r\nX-Slow: ").unwrap();
    let began = Instant::now();
    assert_eq!(slow.read(&mut [0; 64]).unwrap_or(0), 0);
    let waited = began.elapsed();
    assert!((4..15).contains(&waited.as_secs()), "{waited:?}");

    let mut large = connect(server.http);
    // It may be closed before everything is written.
    drop(large.write_all(format!("GET /healthz HTTP/1.1\r\nX-Large: {}", "x".repeat(40_000)).as_bytes()));
    let mut answer = Vec::new();
    drop(large.read_to_end(&mut answer));
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"),
        "{:?}",
        String::from_utf8_lossy(&answer)
    );
}

#[test]
fn a_connection_between_two_requests_may_be_silent_for_longer() {
    let server = Server::start(&[], "");
    let mut stream = connect(server.http);
    let mut first = [0; 4096];
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(stream.read(&mut first).unwrap() > 0);
    stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    let error = stream.read(&mut first).unwrap_err();
    assert!(matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "{error}");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(Answer::read(stream).status, 200);
}

#[test]
fn more_connections_than_allowed_wait_for_their_turn() {
    let server = Server::start(&[], "[http]\nconnections_max = 2\n");
    let held = [(); 2].map(|()| connect(server.http));
    // Both are accepted before the third.
    for mut stream in &held {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
    }
    let mut third = connect(server.http);
    third.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    third.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(third.read(&mut [0; 1]).is_err());
    drop(held);
    third.set_read_timeout(Some(crate::server::PATIENCE)).unwrap();
    assert_eq!(Answer::read(third).status, 200);
}

#[test]
fn several_threads_answer() {
    let server = Server::start(&["reader01 read"], "[http]\nthreads = 3\n");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(server.get("/v1/nodes", &key_text("reader01")).status, 200);
                }
            });
        }
    });
}

#[test]
fn whoever_is_behind_a_trusted_proxy_is_judged_by_its_own_address() {
    let config = "[http]\ntrusted_proxies = [\"127.0.0.0/8\"]\n";
    let server = Server::start(&["nearby01 read 203.0.113.0/24"], config);
    let from = |chain: &str| {
        server.send(&Request::get("/v1/nodes").bearer(&key_text("nearby01")).header("X-Forwarded-For", chain))
    };
    assert_eq!(from("203.0.113.9").status, 200);
    assert_eq!(from("198.51.100.1, 203.0.113.9").status, 200);
    assert_eq!(from("203.0.113.9, 198.51.100.1").code(), "network_refused");
    assert_eq!(from("203.0.113.9, unknown").code(), "network_refused");
    let both = Request::get("/v1/nodes")
        .header("X-Forwarded-For", "203.0.113.9")
        .header("Forwarded", "for=127.0.0.1");
    assert_eq!(server.send(&both).code(), "forwarded_ambiguous");
}

#[test]
fn nobody_else_is_believed() {
    let server = Server::start(&["nearby01 read 203.0.113.0/24"], "");
    let request = Request::get("/v1/nodes").bearer(&key_text("nearby01"));
    assert_eq!(server.send(&request.header("X-Forwarded-For", "203.0.113.9")).code(), "network_refused");
}

#[test]
fn metrics_need_a_key_from_elsewhere() {
    let server = Server::start(&["reader01 read", "issuer01 issue"], "");
    assert_eq!(server.send(&Request::get("/metrics")).status, 200);
    // Forwarded by somebody nobody named: this is not the neighbour it looks like.
    let forwarded = || Request::get("/metrics").header("X-Forwarded-For", "127.0.0.1");
    assert_eq!(server.send(&forwarded()).code(), "unauthenticated");
    assert_eq!(server.send(&forwarded().bearer(&key_text("issuer01"))).code(), "scope_missing");
    assert_eq!(server.send(&forwarded().bearer(&key_text("reader01"))).status, 200);
}

#[test]
fn only_listed_pages_may_call() {
    let config = "[http]\ncors_origins = [\"https://app.example\"]\n";
    let server = Server::start(&["reader01 read"], config);
    let preflight = |origin: &str| {
        server.send(
            &Request::new("OPTIONS", "/v1/turn/credentials")
                .header("Origin", origin)
                .header("Access-Control-Request-Method", "POST")
                .header("Access-Control-Request-Headers", "authorization,content-type"),
        )
    };
    let yes = preflight("https://app.example");
    assert_eq!(yes.status, 204);
    assert_eq!(yes.header("access-control-allow-origin"), "https://app.example");
    assert!(yes.header("access-control-allow-headers").contains("authorization"));
    assert_eq!(yes.header("access-control-allow-credentials"), "");
    for origin in ["https://app.example.evil", "https://app.example:444", "null", "http://app.example"] {
        let no = preflight(origin);
        assert_eq!(no.code(), "origin_refused", "{origin}");
        assert_eq!(no.header("access-control-allow-origin"), "", "{origin}");
    }
    let request = Request::get("/v1/nodes").bearer(&key_text("reader01"));
    let answer = server.send(&request.clone().header("Origin", "https://app.example"));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example");
    assert!(answer.header("access-control-expose-headers").contains("retry-after"));
    assert_eq!(answer.header("vary"), "origin");
    let answer = server.send(&request.header("Origin", "https://other.example"));
    assert_eq!(answer.header("access-control-allow-origin"), "");
    let failed = server.send(&Request::get("/v1/nodes").header("Origin", "https://app.example"));
    assert_eq!(failed.code(), "unauthenticated");
    assert_eq!(failed.header("access-control-allow-origin"), "https://app.example", "the page may read why");
}

#[test]
fn bodies_that_are_too_large_or_do_not_end_are_refused() {
    let server = Server::start(&["issuer01 issue"], "");
    let bearer = key_text("issuer01");
    let head = |length: usize| {
        format!(
            "POST /v1/turn/credentials HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {bearer}\r\n\
             Content-Type: application/json\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let large = format!("{{\"user\":\"{}\"}}", "x".repeat(70_000));
    let request = Request::post("/v1/turn/credentials", &large).bearer(&bearer);
    assert_eq!(server.send(&request).code(), "body_too_large");

    let mut slow = connect(server.http);
    slow.write_all(format!("{}{{\"user\":", head(100)).as_bytes()).unwrap();
    let began = Instant::now();
    let answer = Answer::read(slow);
    assert_eq!((answer.status, answer.code().as_str()), (408, "body_too_slow"));
    assert!(began.elapsed() < Duration::from_secs(20));

    let mut broken = connect(server.http);
    broken.write_all(format!("{}{{\"user\":", head(100)).as_bytes()).unwrap();
    broken.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    broken.read_to_string(&mut text).unwrap();
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 400"), "{text}");
}
