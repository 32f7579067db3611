//! Two nodes that know one another through Redis, one of which is drained.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread::JoinHandle,
    time::Duration,
};

use serde_json::{Value, json};
use stun::{attributes::AttrType, message::METHOD_ALLOCATE};

use super::{json_of, setup, udp};
use crate::signal_support::{API_KEY, Issuer, Node, Setup, until};
use crate::support::{
    Client,
    client::{Attribute, REQUESTED_TRANSPORT, UDP},
};
use crate::support_redis::Redis;

/// Nodes find one another with their first heartbeats.
pub(crate) const MEET_LIMIT: Duration = Duration::from_secs(20);
pub(super) const ALTERNATE_SERVER: u16 = 0x8023;

/// Two nodes with their Redis, and what commands need to reach them.
pub(crate) struct Scene {
    pub(crate) nodes: [Node; 2],
    pub(crate) issuer: Issuer,
    pub(super) redis: Redis,
    key_file: PathBuf,
}

impl Scene {
    /// Two that differ in their names alone.
    pub(super) async fn start(name: &str) -> Self {
        Self::with(name, [usual(), usual()]).await
    }

    /// The nodes `n1` and `n2`, once they know one another.
    pub(crate) async fn with(name: &str, setups: [Setup; 2]) -> Self {
        let (redis, issuer) = (Redis::start(), Issuer::new());
        let [first, second] = setups;
        let nodes = [("n1", first), ("n2", second)]
            .map(|(id, setup)| Node::start(&issuer, setup.in_cluster(id, &redis.url())));
        let key_file = std::env::temp_dir().join(format!("iceway-drain-{}-{name}", std::process::id()));
        fs::write(&key_file, API_KEY).unwrap();
        until("the nodes know one another", MEET_LIMIT, || nodes.iter().all(|node| node.known_nodes() == 2))
            .await;
        Self { nodes, issuer, redis, key_file }
    }

    /// Of somebody who may relay.
    pub(crate) fn token(&self, user: &str) -> String {
        let mut grants = Issuer::grants("web");
        grants["turn"] = json!({ "use": true });
        self.issuer.token_with(user, grants)
    }

    /// `iceway drain`, asking one of the nodes.
    pub(super) fn drain(&self, at: usize, arguments: &[&str]) -> JoinHandle<Output> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iceway"));
        command.arg("drain").args(arguments).arg("--server").arg(format!("http://{}", self.nodes[at].http));
        command.arg("--key-file").arg(&self.key_file).stdin(Stdio::null());
        std::thread::spawn(move || command.output().unwrap())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.key_file));
    }
}

/// What both nodes have unless a test says otherwise.
pub(crate) fn usual() -> Setup {
    setup().with("signal.drain_within", "\"2s\"").with("runtime.drain_timeout", "\"40s\"")
}

/// What a command printed, its errors and its exit status.
pub(super) fn printed(command: JoinHandle<Output>) -> (String, String, Option<i32>) {
    let Output { status, stdout, stderr } = command.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(stdout), text(stderr), status.code())
}

/// How far a node is, as one of them says.
pub(super) fn progress(asked: &Node, id: &str) -> Value {
    json_of(asked.get(&format!("/v1/drain?node={id}")), 200)
}

/// Whether what is handed to clients names a node.
pub(super) fn names(servers: &Value, node: &Node) -> bool {
    servers.to_string().contains(&format!("turn:{}", udp(node)))
}

/// Where a client is sent by its Allocate.
pub(super) fn sent_to(client: &mut Client) -> SocketAddr {
    assert_eq!(client.allocate(), Err(300));
    let wanted = [Attribute::Raw(REQUESTED_TRANSPORT, UDP.to_vec())];
    let answer = client.exchange(&client.signed(METHOD_ALLOCATE, &wanted)).unwrap();
    let value = answer.get(AttrType(ALTERNATE_SERVER)).unwrap();
    assert_eq!(value[1], 1, "an IPv4 address");
    let port = u16::from_be_bytes([value[2], value[3]]);
    SocketAddr::from(([value[4], value[5], value[6], value[7]], port))
}
