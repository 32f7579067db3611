//! Two processes that share a Redis.

use serde_json::{Value, json};

use crate::{
    api::{Caller, text, wait_for_text},
    client::{Client, SECRET},
    process::{FREE_PORTS, Server, iceway},
    scratch::{Scratch, flag},
    support_redis::Redis,
};

/// What both nodes and the commands are told.
struct Shared {
    redis: Redis,
    scratch: Scratch,
}

impl Shared {
    fn new() -> Self {
        let scratch = Scratch::new();
        scratch.write("cluster-key", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n");
        Self { redis: Redis::start(), scratch }
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let key = flag("redis-cluster-key-file", &self.scratch.path("cluster-key"));
        let mut command = iceway(&[arguments, &[&key]].concat());
        command.env("ICEWAY_REDIS_URL", self.redis.url()).env("ICEWAY_AUTH_SECRET", SECRET);
        command
    }

    fn node(&self, id: &str) -> Server {
        let store = flag("store-path", &self.scratch.path(id));
        let own = [&format!("--node-id={id}"), "--runtime-drain-timeout=1h", &store];
        let server = Server::launch(self.command(&[&["serve"], &FREE_PORTS[..], &own].concat()));
        wait_for_text(server.http, "/metrics", "\niceway_cluster_connected 1\n");
        server
    }

    fn api_keys(&self, arguments: &[&str]) -> String {
        let output = self.command(&[&["api-keys"], arguments].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn a_key_made_by_command_works_on_all_nodes_and_is_revoked_on_all() {
    let shared = Shared::new();
    let nodes = [shared.node("n1"), shared.node("n2")];
    let made = shared.api_keys(&["create", "--name=ops", "--scopes=read", "--json"]);
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(made["kept"], "redis");
    let caller = |node: &Server| Caller { server: node.http, key: made["key"].as_str().unwrap().to_owned() };
    for node in &nodes {
        caller(node).wait_until("/v1/nodes", 200);
    }
    let id = made["id"].as_str().unwrap();
    assert!(shared.api_keys(&["list"]).contains(id));
    let said = shared.api_keys(&["revoke", id]);
    assert_eq!(said, format!("Key {id} is revoked on every node.\n"));
    for node in &nodes {
        caller(node).wait_until("/v1/nodes", 401);
    }
}

#[test]
fn a_user_is_cut_on_both_nodes_and_a_drain_is_known_at_once() {
    let shared = Shared::new();
    let mut nodes = [shared.node("n1"), shared.node("n2")];
    let made = shared.api_keys(&["create", "--name=ops", "--scopes=admin", "--json"]);
    let key = serde_json::from_str::<Value>(&made).unwrap()["key"].as_str().unwrap().to_owned();
    let [one, two] = nodes.each_ref().map(|node| Caller { server: node.http, key: key.clone() });
    for caller in [&one, &two] {
        caller.wait_until("/v1/nodes", 200);
    }

    for caller in [&one, &two] {
        caller.wait_for("/v1/nodes", |seen| seen["nodes"].as_array().unwrap().len() == 2);
    }

    // A credential of one node is good on the other, and so is the nonce.
    let issued = one.client(nodes[0].udp, "bob", None);
    let mut clients = nodes.each_ref().map(|node| Client::with(node.udp, &issued.username, &issued.password));
    for client in &mut clients {
        client.allocate().unwrap();
    }
    let answer = two.post("/v1/turn/revocations", json!({ "user": "bob" }));
    assert_eq!((&answer["cut"], &answer["unanswered"]), (&json!(2), &json!([])), "{answer}");
    for client in &mut clients {
        assert_eq!(client.refresh(600), Err(401));
    }
    one.wait_for("/v1/usage/records", |page| page["records"].as_array().unwrap().len() == 2);

    let mut carol = one.client(nodes[1].udp, "carol", None);
    carol.allocate().unwrap();
    nodes[1].signal("TERM");
    nodes[1].logged("Draining");
    let seen = one.wait_for("/v1/nodes", |seen| seen["nodes"][1]["state"] == "draining");
    assert_eq!(seen["nodes"][1]["id"], "n2");
    carol.refresh(0).unwrap();
    nodes[1].logged("Ended.");
    one.wait_for("/v1/nodes", |seen| seen["nodes"].as_array().unwrap().len() == 1);
}

#[test]
fn without_its_redis_a_node_relays_on_and_says_degraded() {
    let shared = Shared::new();
    let mut node = shared.node("n1");
    let mut client = Client::new(node.udp);
    client.allocate().unwrap();
    drop(shared.redis);
    node.logged("The other nodes cannot be reached");

    let ready = text(node.http, "/readyz");
    assert!(ready.starts_with("HTTP/1.1 200 ") && ready.contains("\"status\":\"degraded\""), "{ready}");
    assert!(ready.contains("other nodes cannot be reached since "), "{ready}");
    assert!(text(node.http, "/metrics").contains("\niceway_cluster_connected 0\n"));
    assert_eq!(client.refresh(600), Ok(()));
    Client::new(node.udp).allocate().unwrap();
}
