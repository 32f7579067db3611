//! Real servers: what they tell, and what outlives their death.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    receiver::{Mode, PATIENCE, Receiver, SECRET},
    support_redis::Scratch,
};

const KEY: &str = "iw_testadmin_0123456789012345678901234567890123456789012";

/// A running `iceway serve`; killed when it is dropped.
struct Server {
    child: Child,
    http: SocketAddr,
}

impl Server {
    /// With its files in this directory.
    fn start(directory: &Path, url: &str, flags: &[&str]) -> Self {
        let hash: String = Sha256::digest(KEY).iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(directory.join("keys"), format!("testadmin {hash} admin\n")).unwrap();
        std::fs::write(directory.join("secret"), SECRET).unwrap();
        let flag = |name: &str, file: &str| format!("--{name}={}", directory.join(file).display());
        let mut child = Command::new(env!("CARGO_BIN_EXE_iceway"))
            .args([
                "serve",
                "--listen-udp=127.0.0.1:0",
                "--listen-tcp=127.0.0.1:0",
                "--http-listen=127.0.0.1:0",
            ])
            .args(["--runtime-shards=1", "--webhooks-events=*", "--webhooks-retries=50ms,300ms,1200ms,6s"])
            .args(["--api-rate-per-user=0", "--runtime-drain-timeout=0", &format!("--webhooks-url={url}")])
            .args([flag("api-keys-file", "keys"), flag("webhooks-secret-file", "secret")])
            .arg(flag("store-path", "store"))
            .args(flags)
            .env_clear()
            .env("ICEWAY_AUTH_SECRET", "a secret of many characters")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut http = None;
        loop {
            let line = lines.recv_timeout(PATIENCE).expect("it becomes ready");
            let line: Value = serde_json::from_str(&line).unwrap();
            match line["message"].as_str().unwrap_or_default() {
                "Listening for HTTP." => http = Some(line["address"].as_str().unwrap().parse().unwrap()),
                "Ready." => return Self { child, http: http.unwrap() },
                _ => {}
            }
        }
    }

    fn request(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.http).unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {KEY}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status, serde_json::from_str(body).unwrap_or_else(|_| json!(body)))
    }

    fn issue(&self, user: &str) {
        let (status, answer) = self.request("POST", "/v1/turn/credentials", &json!({"user": user}));
        assert_eq!(status, 201, "{answer}");
    }

    fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.request("GET", "/metrics", &Value::Null);
        let text = text.as_str().unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_killed_server_tells_everything_once_it_runs_again() {
    let directory = Scratch::new("webhooks-killed");
    let receiver = Receiver::start(Mode::Down);
    let mut server = Server::start(directory.path(), &receiver.url(), &[]);
    let mut count = 0;
    for round in 0..4 {
        for _ in 0..25 {
            server.issue("ann");
            count += 1;
        }
        // An event is kept a moment after its answer: what is killed before that was never kept.
        while server.metric("iceway_webhook_pending") < f64::from(25 * (round + 1)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        // SIGKILL.
        drop(server);
        server = Server::start(directory.path(), &receiver.url(), &[]);
    }
    receiver.set(Mode::Answer(200));
    let taken = receiver.wait_taken(count);
    assert_eq!(taken.len(), count);
    let times: Vec<u64> = taken.iter().map(|seen| seen.body["time"].as_u64().unwrap()).collect();
    assert!(times.is_sorted(), "of one user, in order");
    assert!(taken.iter().all(|seen| seen.body["credential"]["user"] == "ann"));
    while server.metric("iceway_webhook_pending") > 0.0 {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_happens_to_credentials_is_told_and_no_password_is() {
    let directory = Scratch::new("webhooks-turn");
    let receiver = Receiver::start(Mode::Answer(200));
    let server = Server::start(directory.path(), &receiver.url(), &[]);
    server.issue("ann");
    let issued = receiver.wait_for(|event| event["type"] == "turn.credential.issued");
    assert_eq!(issued["credential"]["user"], "ann");
    assert!(
        issued["credential"].get("password").is_none() && issued["credential"].get("credential").is_none()
    );
    let (status, _) = server.request("POST", "/v1/turn/revocations", &json!({"user": "ann"}));
    assert_eq!(status, 201);
    let revoked = receiver.wait_for(|event| event["type"] == "turn.credential.revoked");
    assert_eq!(revoked["revocation"]["user"], "ann");
}

#[test]
fn the_api_lists_calls_and_describes_everything() {
    let directory = Scratch::new("webhooks-api");
    let receiver = Receiver::start(Mode::Answer(200));
    let server = Server::start(directory.path(), &receiver.url(), &[]);
    let none = json!({"calls": [], "cursor": "0000000000000000", "hasMore": false});
    assert_eq!(server.request("GET", "/v1/calls", &Value::Null), (200, none));
    let since = "000651234567890a";
    let (status, answer) = server.request("GET", &format!("/v1/calls?since={since}&limit=5"), &Value::Null);
    assert_eq!((status, &answer["cursor"]), (200, &json!(since)), "an empty answer repeats the cursor");
    for (path, status, code) in [
        ("/v1/calls?since=yesterday", 400, "cursor_invalid"),
        ("/v1/calls?limit=0", 400, "parameter_invalid"),
        ("/v1/calls/c_unknown", 404, "call_unknown"),
        ("/v1/calls/c_unknown/timeline", 404, "call_unknown"),
        ("/v1/calls/%00", 404, "call_unknown"),
    ] {
        let (found, answer) = server.request("GET", path, &Value::Null);
        assert_eq!((found, &answer["code"]), (status, &json!(code)), "{path}");
    }
    let replayed = server.request("POST", "/v1/webhooks/replay", &json!({}));
    assert_eq!(replayed, (200, json!({"replayed": 0})));
    let (status, document) = server.request("GET", "/asyncapi.json", &Value::Null);
    assert_eq!((status, &document["asyncapi"]), (200, &json!("3.0.0")));
    for name in ["client-hello", "server-welcome", "event"] {
        let (status, schema) = server.request("GET", &format!("/schemas/v1/{name}.json"), &Value::Null);
        assert_eq!(status, 200, "{name}");
        assert_eq!(schema["$id"], format!("/schemas/v1/{name}.json"));
    }
    assert_eq!(server.request("GET", "/schemas/v1/nothing.json", &Value::Null).0, 404);
}
