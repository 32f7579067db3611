//! What is changed while calls run: a configuration that is read again, a node that is drained.

pub(crate) mod balancer;
mod drain;
mod reload;
pub(crate) mod scene;
mod streams;
mod traffic;
mod trouble;

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::signal_support::{Node, Setup};
use crate::support::Client;

/// The secret that nodes of these tests have (`signal_support`).
const SECRET: &str = "a secret of thirty-two characters";

/// Nodes whose clients may reach peers on this machine, with signaling without limits. coturn's client draws channel
/// numbers that only RFC 5766 allowed.
fn setup() -> Setup {
    let setup = Setup::default().unlimited().with("protocol.legacy_channel_numbers", true);
    setup.with("peers.allow", r#"["127.0.0.0/8", "5.1.0.0/24"]"#)
}

/// Where a node listens for UDP clients.
pub(crate) fn udp(node: &Node) -> SocketAddr {
    address(node, "udp")
}

/// Where a node listens for clients of a transport.
pub(crate) fn address(node: &Node, transport: &str) -> SocketAddr {
    let text = node.log();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line =
        lines.into_iter().find(|line| line["message"] == "Listening." && line["transport"] == transport);
    line.unwrap_or_else(|| panic!("{text}"))["address"].as_str().unwrap().parse().unwrap()
}

pub(crate) fn json_of((status, body): (u16, String), wanted: u16) -> Value {
    assert_eq!(status, wanted, "{body}");
    serde_json::from_str(&body).unwrap_or_else(|_| panic!("{body}"))
}

/// A credential of a node: the whole answer.
pub(crate) fn issue(node: &Node) -> Value {
    json_of(node.post("/v1/turn/credentials", &json!({ "user": "ann", "ttl": 3600, "count": 2 })), 201)
}

/// A client of a node, with a credential of the same one.
pub(crate) fn client(of: &Node, at: &Node) -> Client {
    let issued = issue(of);
    let servers = issued["iceServers"].as_array().unwrap();
    let server = servers.iter().find(|server| server["username"].is_string()).unwrap();
    let text = |field: &str| server[field].as_str().unwrap().to_owned();
    Client::new(udp(at)).with_realm("signal.test").with_credential(text("username"), text("credential"))
}
