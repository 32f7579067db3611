//! A node is drained under a call of two pages: they move to the other node by themselves, and nobody sees it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::calls_support::{Browser, Pages};
use crate::change::balancer::Balancer;
use crate::change::scene::{Scene, usual};
use crate::change::{client, issue, json_of, udp};
use crate::signal_support::{Node, until};
use crate::support::namespace::Namespace;

/// Of the nodes, in a network of their own.
const ADDRESSES: [&str; 2] = ["5.1.0.1", "5.1.0.2"];
/// The video has 15 frames a second. Moving a call shall be no more than a stumble.
const GAP_MAX_MILLIS: f64 = 700.0;
const MOVE_LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_call_moves_to_another_node_while_the_old_one_still_carries_it() {
    // Chromium follows to no loopback address.
    let network = Namespace::new("moving");
    for address in ADDRESSES {
        network.run(&format!("ip address add {address}/32 dev lo"));
    }
    network.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(move_a_call());
    });
}

async fn move_a_call() {
    let setups = ADDRESSES.map(|address| {
        let listen = format!(r#"["{address}:0"]"#);
        let setup = usual().with("listen.udp", &listen).with("listen.tcp", &listen);
        setup.with("runtime.drain_timeout", "\"3s\"")
    });
    let [setup, small] = setups;
    let small = small.with("limits.allocations_total", 1);
    let mut scene = Scene::with("calls", [setup, small]).await;
    let [draining, other] = &scene.nodes;
    // As long as the second node is full, everybody relays through the first one.
    let mut filler = client(draining, other);
    filler.allocate().unwrap();
    takes(&scene.nodes, "n2", 1, 1).await;
    // Ann comes to whichever node is ready, as through a load balancer; Bob's signaling is at the node that stays.
    let balancer = Balancer::start(scene.nodes.iter().map(|node| (node.http, node.http)).collect());
    let mut pages = Pages::new();
    for (name, at) in [("ann", balancer.address), ("bob", other.http)] {
        let servers = start(&mut pages, &scene, name, at, &json!(null))["iceServers"].to_string();
        assert!(servers.contains(&udp(draining).to_string()), "{servers}");
    }
    pages.connect("ann", "bob");
    assert!(allocations(draining) >= 2.0, "both relay through the node that is to be drained");
    assert_eq!(allocations(other), 1.0);
    filler.refresh(0).unwrap();
    other.reload_with("limits.allocations_total", "0");
    takes(&scene.nodes, "n2", 0, 2).await;
    let before = ["ann", "bob"].map(|page| pages.state(page));
    pages.call_all(&["ann", "bob"], "begin", &json!([]));
    tokio::time::sleep(Duration::from_secs(2)).await;

    let begun = Instant::now();
    json_of(draining.post("/v1/nodes/n1/drain", &Value::Null), 200);
    pages.call_all(&["ann", "bob"], "logged", &json!(["ice drain"]));
    let told = begun.elapsed();
    until("both relay through the other node", MOVE_LIMIT, || allocations(other) >= 2.0).await;
    pages.call("ann", "logged", json!(["resumed true"]));
    for (page, before) in ["ann", "bob"].into_iter().zip(&before) {
        until_moved(&mut pages, page, before).await;
    }
    eprintln!("both were told after {told:?} and had moved after {:?}", begun.elapsed());

    // Whoever comes now and knows only the node that drains is led on.
    for name in ["carol", "dave"] {
        let servers = only(&issue(other), udp(draining));
        start(&mut pages, &scene, name, other.http, &servers);
    }
    let led = other.metric("iceway_allocations_created_total", &[]);
    pages.connect("carol", "dave");
    assert!(other.metric("iceway_allocations_created_total", &[]) >= led + 2.0);
    assert!(draining.metric("iceway_drain_redirected_total", &[]) >= 2.0);
    for page in ["carol", "dave"] {
        let state = pages.state(page);
        assert_eq!(state["local"]["candidateType"], "relay", "{state:#}");
    }
    pages.call("carol", "hangup", json!([]));

    // The node ends, and nobody notices.
    draining.signal(Signal::SIGTERM);
    until("it has ended", MOVE_LIMIT, || scene.nodes[0].has_ended()).await;
    pages.call_all(&["ann", "bob"], "flows", &json!([30]));
    for (page, before) in ["ann", "bob"].into_iter().zip(&before) {
        let gap = pages.call(page, "gap", json!([]));
        eprintln!("{page}: {gap}");
        let longest = gap["longest"].as_f64().unwrap();
        assert!(longest > 0.0 && longest < GAP_MAX_MILLIS, "{page}: {gap}");
        assert_eq!(pages.state(page)["id"], before["id"]);
        let log = pages.call(page, "client", json!([]))["log"].to_string();
        assert!(!log.contains("call reconnecting") && !log.contains("error"), "{page}: {log}");
    }
    pages.take_screenshots();
}

fn start(pages: &mut Pages, scene: &Scene, name: &str, at: SocketAddr, fixed: &Value) -> Value {
    pages.open_at(name, Browser::Chromium, at, None);
    let options =
        json!({ "tokens": [scene.token(name)], "rtc": { "iceTransportPolicy": "relay" }, "fixed": fixed });
    pages.call(name, "start", json!([options]))
}

/// Waits until both nodes know how much one of them takes.
async fn takes(nodes: &[Node], id: &str, allocations: u64, limit: u64) {
    let knows = |node: &Node| {
        let known = json_of(node.get("/v1/nodes"), 200);
        let known = known["nodes"].as_array().unwrap();
        let told = known.iter().find(|known| known["id"] == id);
        told.is_some_and(|told| {
            told["allocations"] == allocations && told["allocationsMax"].as_u64() >= Some(limit)
        })
    };
    until("its load is known", MOVE_LIMIT, || nodes.iter().all(knows)).await;
}

/// The candidates in use are others, and media goes on.
async fn until_moved(pages: &mut Pages, page: &str, before: &Value) {
    let deadline = Instant::now() + MOVE_LIMIT;
    loop {
        let state = pages.state(page);
        let is_new = state["ufrag"] != before["ufrag"] && state["local"]["port"] != before["local"]["port"];
        if is_new && state["state"] == "connected" {
            return;
        }
        assert!(Instant::now() < deadline, "{state:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The ICE servers of a credential, as if it named this address alone.
fn only(issued: &Value, at: SocketAddr) -> Value {
    let servers = issued["iceServers"].as_array().unwrap();
    let mut server = servers.iter().find(|server| server["username"].is_string()).unwrap().clone();
    server["urls"] = json!([format!("turn:{at}?transport=udp")]);
    json!([server])
}

fn allocations(node: &Node) -> f64 {
    node.metric("iceway_allocations", &[])
}
