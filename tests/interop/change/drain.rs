//! A node that is drained under load: what is up goes on to its end, everybody else goes to the other node.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use stun::{attributes::AttrType, message::METHOD_ALLOCATE};

use super::{client, issue, json_of, setup, traffic::Talk, udp};
use crate::signal_support::{API_KEY, Came, Client as Caller, Issuer, Node, soon, until};
use crate::support::{
    Client, Process, Tool,
    client::{Attribute, REQUESTED_TRANSPORT, UDP},
};
use crate::support_redis::Redis;

/// Nodes find one another with their first heartbeats.
const MEET_LIMIT: Duration = Duration::from_secs(20);
/// By then no node names one that drains.
const TOLD: Duration = Duration::from_secs(1);
const ALTERNATE_SERVER: u16 = 0x8023;
/// What nodes of these tests have (`signal_support`).
const SECRET: &str = "a secret of thirty-two characters";

/// Two nodes with their Redis, and what commands need to reach them.
struct Scene {
    nodes: [Node; 2],
    issuer: Issuer,
    _redis: Redis,
    key_file: PathBuf,
}

impl Scene {
    async fn start(name: &str) -> Self {
        let (redis, issuer) = (Redis::start(), Issuer::new());
        let setup = setup().with("signal.drain_within", "\"2s\"").with("runtime.drain_timeout", "\"40s\"");
        let nodes = ["n1", "n2"].map(|id| Node::start(&issuer, setup.clone().in_cluster(id, &redis.url())));
        let key_file = std::env::temp_dir().join(format!("iceway-drain-{}-{name}", std::process::id()));
        fs::write(&key_file, API_KEY).unwrap();
        until("the nodes know one another", MEET_LIMIT, || nodes.iter().all(|node| node.known_nodes() == 2))
            .await;
        Self { nodes, issuer, _redis: redis, key_file }
    }

    /// Of somebody who may relay.
    fn token(&self, user: &str) -> String {
        let mut grants = Issuer::grants("web");
        grants["turn"] = json!({ "use": true });
        self.issuer.token_with(user, grants)
    }

    /// `iceway drain`, asking one of the nodes.
    fn drain(&self, at: usize, arguments: &[&str]) -> JoinHandle<Output> {
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

/// Whether what is handed to clients names a node.
fn names(servers: &Value, node: &Node) -> bool {
    servers.to_string().contains(&format!("turn:{}", udp(node)))
}

/// Where a client is sent by its Allocate.
fn sent_to(client: &mut Client) -> SocketAddr {
    assert_eq!(client.allocate(), Err(300));
    let wanted = [Attribute::Raw(REQUESTED_TRANSPORT, UDP.to_vec())];
    let answer = client.exchange(&client.signed(METHOD_ALLOCATE, &wanted)).unwrap();
    let value = answer.get(AttrType(ALTERNATE_SERVER)).unwrap();
    assert_eq!(value[1], 1, "an IPv4 address");
    let port = u16::from_be_bytes([value[2], value[3]]);
    SocketAddr::from(([value[4], value[5], value[6], value[7]], port))
}

/// The client is told to go, handed ICE servers that do not name its node, and goes on at another.
async fn moves(mut caller: Caller, from: &Node, to: &Node) -> Caller {
    let (mut fresh, mut is_told) = (None, false);
    loop {
        match soon("the end of the socket", caller.came()).await {
            Came::Frame(frame) if frame["type"] == "draining" => is_told = true,
            Came::Frame(frame) if frame["type"] == "ice-servers" => fresh = Some(frame["iceServers"].clone()),
            Came::Frame(frame) => panic!("{frame}"),
            Came::Closed(code) => {
                assert_eq!((code, is_told), (Some(4001), true));
                break;
            }
        }
    }
    let fresh = fresh.expect("fresh ICE servers before the end");
    assert!(names(&fresh, to) && !names(&fresh, from), "{fresh}");
    caller.lose().resume(to).await
}

#[tokio::test]
async fn a_drain_under_traffic_costs_no_datagram_and_no_session() {
    let scene = Scene::start("traffic").await;
    let [draining, other] = &scene.nodes;
    // Both ends at the node that drains, and one end at each.
    let talks = [
        Talk::begin([client(other, draining), client(other, draining)]),
        Talk::begin([client(other, draining), client(other, other)]),
    ];
    let ann = Caller::open(draining, &scene.token("ann")).await;
    assert!(ann.welcome["iceServers"].is_array(), "{}", ann.welcome);
    let bob = Caller::open(other, &scene.token("bob")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;

    let begun = Instant::now();
    let command = scene.drain(1, &["--node", "n1", "--wait", "--timeout", "60s"]);
    until("no credential names it", TOLD * 3, || {
        scene.nodes.iter().all(|node| !names(&issue(node), draining))
    })
    .await;
    eprintln!("no node names it {:?} after the command was started", begun.elapsed());
    for node in &scene.nodes {
        assert!(names(&issue(node), other));
    }
    assert_eq!(draining.get("/readyz").0, 503);
    let mut new = client(other, draining);
    assert_eq!(sent_to(&mut new), udp(other));
    new.move_to(udp(other));
    new.allocate().unwrap();
    new.refresh(0).unwrap();
    let ann = moves(ann, draining, other).await;
    assert_eq!(draining.metric("iceway_signal_sockets", &[]), 0.0);

    // While all that happens, and some time after, nothing of what is up is lost.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let progress = json_of(other.get("/v1/drain?node=n1"), 200);
    assert_eq!((&progress["state"], &progress["allocations"]), (&"draining".into(), &3.into()), "{progress}");
    assert!(draining.metric("iceway_drain_deadline_timestamp_seconds", &[]) > 0.0);
    assert!(draining.metric("iceway_drain_redirected_total", &[]) >= 2.0);
    let mut left = Vec::new();
    for talk in talks {
        let mut told = talk.end();
        told.is_whole();
        left.extend(told.clients.iter_mut().map(|client| client.refresh(600)));
        for client in &mut told.clients {
            client.refresh(0).unwrap();
        }
    }
    assert!(left.iter().all(|refreshed| *refreshed == Ok(600)), "Refresh goes on: {left:?}");

    let output = tokio::task::spawn_blocking(|| command.join().unwrap()).await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.starts_with("n1 drains: 3 allocations, 1 signaling sockets, "), "{printed}");
    assert!(printed.ends_with("n1 is drained.\n"), "{printed}");
    draining.logged("Drained: nothing is left here.");
    drop((ann, bob));
}

#[tokio::test]
async fn a_signal_drains_without_an_end_and_it_can_be_taken_back() {
    let mut scene = Scene::start("undone").await;
    scene.nodes[0].signal(Signal::SIGUSR1);
    scene.nodes[0].logged("Drained: nothing is left here.");
    let [draining, other] = &scene.nodes;
    assert_eq!(sent_to(&mut client(other, draining)), udp(other));
    let undone = scene.drain(1, &["--node", "n1", "--undo"]).join().unwrap();
    assert_eq!(String::from_utf8_lossy(&undone.stdout), "n1 serves again.\n");
    assert_eq!(draining.get("/readyz").0, 200);
    until("it is named again", TOLD * 3, || scene.nodes.iter().all(|node| names(&issue(node), draining)))
        .await;
    let mut held = client(other, draining);
    held.allocate().unwrap();
    drop(Caller::open(draining, &scene.token("ann")).await);

    let late = scene.drain(0, &["--wait", "--timeout", "1s"]).join().unwrap();
    let said = String::from_utf8_lossy(&late.stderr).into_owned();
    assert_eq!(late.status.code(), Some(1), "{said}");
    assert!(said.contains("n1 is not drained in time: 1 allocations"), "{said}");
    // Told to end, it waits for what is left, and nobody takes that back.
    draining.signal(Signal::SIGTERM);
    until("it ends", MEET_LIMIT, || json_of(other.get("/v1/drain?node=n1"), 200)["ending"] == true).await;
    assert_eq!(draining.request("DELETE", "/v1/nodes/n1/drain", "").0, 409);
    held.refresh(0).unwrap();
    until("it has ended", MEET_LIMIT, || scene.nodes[0].has_ended()).await;
}

#[tokio::test]
async fn the_client_of_coturn_follows_to_the_other_node() {
    let scene = Scene::start("uclient").await;
    let [draining, other] = &scene.nodes;
    json_of(draining.post("/v1/nodes/n1/drain", &Value::Null), 200);
    let mut command = Command::new("turnutils_uclient");
    command.args([
        "-y",
        "-c",
        "-u",
        "bob",
        "-W",
        SECRET,
        "-p",
        &udp(draining).port().to_string(),
        "127.0.0.1",
    ]);
    let directory = std::env::temp_dir();
    let run = Tool::of(Process::start(command, &directory, "uclient-drain"), Duration::from_secs(40));
    let line = run.output.lines().rfind(|line| line.contains("tot_send_msgs="));
    let line = line.unwrap_or_else(|| panic!("{}", run.output));
    assert!(line.contains("tot_send_msgs=10, tot_recv_msgs=10"), "{}", run.output);
    assert!(other.metric("iceway_allocations_created_total", &[]) >= 2.0);
    assert_eq!(draining.metric("iceway_allocations_created_total", &[]), 0.0);
}
