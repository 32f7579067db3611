//! A caller of the API.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    client::Client,
    process::{PATIENCE, Server, iceway},
    scratch::{Scratch, flag},
};

/// How often something is asked for that takes its time.
const POLL: Duration = Duration::from_millis(10);

/// A caller with a key.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) server: SocketAddr,
    pub(crate) key: String,
}

/// A new key of these scopes, kept nowhere, and its line for `api.keys_file`.
pub(crate) fn new_key(scopes: &str) -> (String, String) {
    let output =
        iceway(&["api-keys", "create", "--name=test", "--scopes", scopes, "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(made["kept"], "nowhere");
    (made["key"].as_str().unwrap().to_owned(), made["line"].as_str().unwrap().to_owned())
}

/// A server with a secret of its own, and a caller who may do everything.
pub(crate) fn start(scratch: &Scratch, flags: &[&str]) -> (Server, Caller) {
    let (key, line) = new_key("admin");
    let keys = flag("api-keys-file", &scratch.write("keys", &line));
    let server = Server::start(&[&[keys.as_str(), "--node-id=n1"], flags].concat());
    let caller = Caller { server: server.http, key };
    (server, caller)
}

impl Caller {
    /// Status and body of an answer; a body that is none is null.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let body = body.map(Value::to_string).unwrap_or_default();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n{kind}\
             Content-Length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        );
        let mut stream = TcpStream::connect(self.server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, None);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask("POST", path, Some(&body));
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// Asks until the answer is as wanted.
    pub(crate) fn wait_for(&self, path: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path);
            if is_wanted(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path} stays {answer}");
            std::thread::sleep(POLL);
        }
    }

    /// Asks until the status is this one.
    pub(crate) fn wait_until(&self, path: &str, status: u16) {
        let deadline = Instant::now() + PATIENCE;
        while self.ask("GET", path, None).0 != status {
            assert!(Instant::now() < deadline, "{path} is not answered {status}");
            std::thread::sleep(POLL);
        }
    }

    /// A client with a credential that the API made.
    pub(crate) fn client(&self, udp: SocketAddr, user: &str, label: Option<&str>) -> Client {
        let mut wish = json!({ "user": user });
        if let Some(label) = label {
            wish["label"] = label.into();
        }
        let issued = self.post("/v1/turn/credentials", wish);
        let servers = issued["iceServers"].as_array().unwrap();
        let entry = servers.iter().find(|entry| entry["username"].is_string()).unwrap();
        let (username, password) = (entry["username"].as_str(), entry["credential"].as_str());
        Client::with(udp, username.unwrap(), password.unwrap())
    }
}

/// The whole answer to a GET without a key.
pub(crate) fn text(server: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Waits until a GET without a key is answered with this in it.
pub(crate) fn wait_for_text(server: SocketAddr, path: &str, wanted: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !text(server, path).contains(wanted) {
        assert!(Instant::now() < deadline, "{wanted} does not come");
        std::thread::sleep(POLL);
    }
}
