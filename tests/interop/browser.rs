//! Calls between two headless Chromium processes with video, audio and a data channel.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::server::time_limited_credential;
use crate::support::{Server, Setup, Tool};

/// A call takes about 10 seconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(150);
const ECHOED: [u32; 6] = [1, 100, 1200, 16_384, 65_536, 262_144];

#[test]
fn relay_to_relay_over_udp() {
    relay_to_relay("turn", "udp");
}

#[test]
fn relay_to_relay_over_tcp() {
    relay_to_relay("turn", "tcp");
}

#[test]
fn relay_to_relay_over_tls() {
    relay_to_relay("turns", "tcp");
}

#[test]
fn relay_to_host() {
    let server = Server::start(Setup::default().loopback_peers());
    let host = json!({ "iceServers": [], "iceTransportPolicy": "all" });
    let findings = call(&server, &[relayed(&server, "turn", "udp"), host]);
    let [caller, callee] = sides(&findings);
    // The callee may learn the relayed address by a check before it learns it as a candidate.
    assert_eq!(text(caller, "/local/candidateType"), "relay", "{findings:#}");
    assert_eq!(text(callee, "/local/candidateType"), "host", "{findings:#}");
    assert_eq!(callee["remote"]["port"], caller["local"]["port"], "{findings:#}");
    media_flows(&findings);
}

/// Both sides may use nothing but this server, under the default peer policy.
fn relay_to_relay(scheme: &str, transport: &str) {
    let server = Server::start(Setup::default());
    let side = relayed(&server, scheme, transport);
    let findings = call(&server, &[side.clone(), side]);
    let protocol = if scheme == "turns" { "tls" } else { transport };
    for side in sides(&findings) {
        assert_eq!(text(side, "/local/candidateType"), "relay", "{findings:#}");
        assert_eq!(text(side, "/remote/candidateType"), "relay", "{findings:#}");
        assert_eq!(text(side, "/local/relayProtocol"), protocol, "{findings:#}");
        assert_eq!(side["candidateErrors"], json!([]), "{findings:#}");
    }
    media_flows(&findings);
}

fn media_flows(findings: &Value) {
    assert_eq!(findings["echoes"], json!(ECHOED), "{findings:#}");
    for side in sides(findings) {
        let frames = [0, 1].map(|index| side["frames"][index].as_u64().unwrap_or_default());
        assert!(frames[0] >= 20 && frames[1] >= frames[0] + 15, "{findings:#}");
        // Black has one colour; the fake camera's picture has thousands after coding.
        assert!(side["colours"].as_u64().unwrap_or_default() > 50, "{findings:#}");
    }
}

fn sides(findings: &Value) -> [&Value; 2] {
    [&findings["sides"][0], &findings["sides"][1]]
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A side that may use this server's relay only.
fn relayed(server: &Server, scheme: &str, transport: &str) -> Value {
    let (username, credential) = time_limited_credential("browser");
    let port = if scheme == "turns" { server.tls_port } else { server.port };
    let urls = format!("{scheme}:127.0.0.1:{port}?transport={transport}");
    let ice_server = json!({ "urls": urls, "username": username, "credential": credential });
    json!({ "iceServers": [ice_server], "iceTransportPolicy": "relay" })
}

/// Has two browsers call one another.
fn call(server: &Server, sides: &[Value]) -> Value {
    call_for(server, sides, 0)
}

/// The same, and the call goes on for so many seconds. Screenshots are left in `target/tmp/screenshots/` for who wants to look.
pub(crate) fn call_for(server: &Server, sides: &[Value], seconds: u64) -> Value {
    trust(server);
    let test = std::thread::current().name().unwrap_or("call").replace("::", "-");
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots").join(test);
    std::fs::create_dir_all(&screenshots).unwrap();
    let plan = json!({
        "executable": "/usr/bin/chromium", "home": server.directory(), "screenshots": screenshots, "sides": sides,
        "seconds": seconds,
    });
    let mut command = Command::new("node");
    command.arg("call.js").arg(plan.to_string());
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser"));
    let run = Tool::run(command, server.directory(), "browsers", LIMIT);
    assert!(run.status.success(), "{}", run.output);
    let last = run.output.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {}", run.output))
}

/// Puts the server's authority into the certificate store of the home directory that the browsers get.
pub(crate) fn trust(server: &Server) {
    let store = server.directory().join(".pki/nssdb");
    std::fs::create_dir_all(&store).unwrap();
    let store = format!("sql:{}", store.display());
    for step in ["-N --empty-password", "-A -n interop -t C,, -i"] {
        let mut command = Command::new("certutil");
        command.args(["-d", &store]).args(step.split(' '));
        if step.starts_with("-A") {
            command.arg(server.authority.path());
        }
        let run = Tool::run(command, server.directory(), "certutil", Duration::from_secs(20));
        assert!(run.status.success(), "{}", run.output);
    }
}
