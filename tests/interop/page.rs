//! The built-in page: who gets it, and what comes with it.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::support::http::Http;
use crate::support::ports::free_port;
use crate::support::server::TestDirectory;
use crate::support::{Process, Server, Setup};

const START_LIMIT: Duration = Duration::from_secs(20);

#[test]
fn tokens_of_a_bare_start_are_for_its_own_page_alone() {
    let directory = TestDirectory::new("trial");
    let port = free_port();
    let http: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_iceway"));
    let turn = format!("127.0.0.1:{}", free_port());
    command.args(["serve", "--listen-udp", &turn, "--listen-tcp", &turn, "--http-listen", &http.to_string()]);
    command.current_dir(directory.path()).env_clear();
    let mut server = Process::start(command, directory.path(), "iceway");
    server.wait_until("ready", START_LIMIT, |_| Http::get(http, "/readyz").try_send().is_ok());

    let ask = || Http::get(http, "/v1/trial/token?user=ann");
    let token = ask().header("Sec-Fetch-Site", "same-origin").send().expect(200).json();
    let bearer = token["token"].as_str().unwrap();
    let own = Http::get(http, "/v1/ice-servers").key(bearer).send().expect(200).json();
    assert!(own["iceServers"].is_array(), "{own}");
    Http::get(http, "/v1/nodes").key(bearer).send().expect(403);
    for (name, value) in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "https://stranger.example"),
        ("X-Forwarded-For", "203.0.113.9"),
    ] {
        assert_eq!(ask().header(name, value).send().status, 403, "{name}: {value}");
    }
    // A page of a stranger whose name leads to this machine.
    let rebound = raw(http, "GET /v1/trial/token?user=ann HTTP/1.0\r\nHost: stranger.example\r\n\r\n");
    assert!(rebound.starts_with("HTTP/1.0 403"), "{rebound}");
    assert_eq!(Http::get(http, "/v1/trial/token?user=a%20b").send().status, 422);

    let page = Http::get(http, "/").header("Accept", "text/html").send().expect(200);
    let policy = page.header("content-security-policy").unwrap();
    for rule in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let tag = page.header("etag").unwrap();
    Http::get(http, "/").header("Accept", "text/html").header("If-None-Match", tag).send().expect(304);
    assert_eq!(Http::get(http, "/").send().json()["name"], "iceway", "programs get the index");
    let client = Http::get(http, "/iceway.js").send().expect(200);
    assert_eq!(client.header("access-control-allow-origin"), Some("*"));
    assert_eq!(client.header("content-type"), Some("text/javascript; charset=utf-8"));
}

#[test]
fn the_page_can_be_switched_off() {
    let off = Server::start(Setup::default().with("page.enabled", r#""off""#));
    let html =
        |server: &Server, path: &str| Http::get(server.http, path).header("Accept", "text/html").send();
    assert_eq!(html(&off, "/").json()["name"], "iceway");
    assert_eq!(html(&off, "/page/page.js").status, 404);
    assert_eq!(html(&off, "/iceway.js").status, 200, "the client is there for other pages");
    // Nobody could log in.
    let production = Server::start(Setup::default());
    assert_eq!(html(&production, "/").json()["name"], "iceway");
    assert_eq!(Http::get(production.http, "/v1/trial/token?user=ann").send().status, 404);
}

fn raw(address: SocketAddr, request: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(START_LIMIT)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
