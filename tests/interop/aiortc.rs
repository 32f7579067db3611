//! A call between two aiortc peers, which may use the relay only: video, audio and a data channel.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::server::time_limited_credential;
use crate::support::{Server, Setup, Tool};

/// A call takes about 5 seconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn call_over_udp() {
    call_over("turn", "udp");
}

#[test]
fn call_over_tcp() {
    call_over("turn", "tcp");
}

#[test]
fn call_over_tls() {
    call_over("turns", "tcp");
}

fn call_over(scheme: &str, transport: &str) {
    let server = Server::start(Setup::default());
    let (username, credential) = time_limited_credential("aiortc");
    let port = if scheme == "turns" { server.tls_port } else { server.port };
    let urls = format!("{scheme}:127.0.0.1:{port}?transport={transport}");
    call(&server, &json!({ "urls": [urls], "username": username, "credential": credential }));
}

/// Has two peers call one another through this ICE server of `server`, with video, audio and a data channel.
pub(crate) fn call(server: &Server, ice_server: &Value) {
    let mut command = python("call.py");
    command.arg(ice_server.to_string());
    command.env("SSL_CERT_FILE", server.authority.path());
    let run = Tool::run(command, server.directory(), "aiortc", LIMIT);
    assert!(run.status.success(), "{}", run.output);

    let findings: Value = serde_json::from_str(run.output.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {}", run.output));
    let frames = json!([["audio", 20], ["video", 20]]);
    assert_eq!(findings["frames"], json!([frames, frames]), "{findings:#}");
    assert_eq!(findings["echoes"], json!([1, 100, 1200, 16_384, 65_536]), "{findings:#}");
    for side in findings["pairs"].as_array().expect("both sides report their pairs") {
        let pairs = side.as_array().expect("a list of pairs");
        assert!(
            !pairs.is_empty() && pairs.iter().all(|pair| *pair == json!(["relay", "relay"])),
            "{findings:#}"
        );
    }
}

/// Runs a script of `tests/aiortc/` in the virtual environment.
pub(crate) fn python(script: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join(".tools/python/bin/python"));
    command.arg(root.join("tests/aiortc").join(script));
    command
}
