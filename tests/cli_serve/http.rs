//! Metrics, health, and what HTTP callers can not do.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use crate::{
    client::Client,
    process::{PATIENCE, Server, iceway},
};

/// Sends these bytes, and reads until the server closes.
fn answer(server: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may close before it has read everything.
    drop(stream.write_all(request));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    String::from_utf8(answer).unwrap()
}

fn ask(server: SocketAddr, method: &str, path: &str) -> String {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    answer(server, request.as_bytes())
}

pub(crate) fn get(server: SocketAddr, path: &str) -> String {
    ask(server, "GET", path)
}

fn metric(text: &str, series: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(&format!("{series} ")));
    line.unwrap_or_else(|| panic!("{series} in\n{text}")).rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn metrics_move_with_what_clients_do() {
    let server = Server::start(&["--relay-port-min=52000", "--relay-port-max=52099"]);
    let mut client = Client::new(server.udp);
    client.allocate().unwrap();
    assert_eq!(Client::with(server.udp, "9999999999:x", "y").allocate(), Err(401));

    let text = get(server.http, "/metrics");
    assert!(text.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4"), "{text}");
    assert_eq!(metric(&text, "iceway_allocations{transport=\"udp\"}"), 1);
    assert_eq!(metric(&text, "iceway_allocations_created_total{transport=\"udp\"}"), 1);
    assert_eq!(metric(&text, "iceway_authentication_failures_total{reason=\"wrong_password\"}"), 1);
    assert_eq!(metric(&text, "iceway_relay_ports{family=\"ipv4\",state=\"in_use\"}"), 1);
    assert_eq!(metric(&text, "iceway_relay_ports{family=\"ipv4\",state=\"free\"}"), 99);
    assert_eq!(metric(&text, "iceway_shards"), 1);
    assert_eq!(metric(&text, "iceway_shards_unresponsive"), 0);
}

#[test]
fn health_and_readiness_are_json() {
    let server = Server::start(&[]);
    for (path, status) in [("/healthz", "alive"), ("/readyz", "ready")] {
        let text = get(server.http, path);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"), "{text}");
        assert!(
            text.ends_with(&format!("{{\"status\":\"{status}\",\"shards\":1,\"allocations\":0}}")),
            "{text}"
        );
    }
    let index = get(server.http, "/");
    assert!(index.contains("\"/metrics\",\"/healthz\",\"/readyz\"]"), "{index}");
    let output = iceway(&["healthcheck", &format!("--http-listen={}", server.http)]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().contains("\"ready\""));
}

#[test]
fn errors_are_problem_documents_with_a_code() {
    let server = Server::start(&[]);
    let missing = get(server.http, "/nothing");
    assert!(
        missing.starts_with("HTTP/1.1 404 Not Found\r\ncontent-type: application/problem+json\r\n"),
        "{missing}"
    );
    assert!(missing.contains("\"status\":404,\"code\":\"not_found\""), "{missing}");
    let refused = ask(server.http, "DELETE", "/metrics");
    assert!(
        refused.starts_with("HTTP/1.1 405 ") && refused.contains("\"code\":\"method_not_allowed\""),
        "{refused}"
    );
    assert!(refused.contains("allow: GET,HEAD\r\n"), "{refused}");
    let head = ask(server.http, "HEAD", "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn requests_that_are_too_large_or_none_are_refused_and_the_next_one_is_answered() {
    let server = Server::start(&[]);
    let large = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let refused = answer(server.http, large.as_bytes());
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 431 "), "{refused}");
    let body = "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nstart";
    assert!(answer(server.http, body.as_bytes()).starts_with("HTTP/1.1 405 "));
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"\r\n\r\n\r\n\0\0", &[0xff; 4096]] {
        let refused = answer(server.http, bytes);
        assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 400 "), "{refused}");
    }
    assert!(get(server.http, "/healthz").starts_with("HTTP/1.1 200 "));
}

#[test]
fn callers_that_stall_are_closed_and_do_not_keep_others_out() {
    let server = Server::start(&[]);
    // As many as may be connected at once, each in the middle of a request.
    let mut stalled: Vec<TcpStream> = (0..64)
        .map(|_| {
            let mut stream = TcpStream::connect(server.http).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost").unwrap();
            stream
        })
        .collect();
    assert!(get(server.http, "/healthz").starts_with("HTTP/1.1 200 "));
    for stream in &mut stalled {
        let mut rest = Vec::new();
        // Closed or reset, but not open for ever.
        if let Err(error) = stream.read_to_end(&mut rest) {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "still open");
        }
    }
}
