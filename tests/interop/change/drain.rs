//! A node that is drained under load: what is up goes on to its end, everybody else goes to the other node.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{
    SECRET, address, client, issue, json_of,
    scene::{MEET_LIMIT, Scene, names, progress, sent_to, usual},
    traffic::Talk,
    udp,
};
use crate::signal_support::{Came, Client as Caller, Node, soon, until};
use crate::support::{Process, Tool};

/// By then no node names one that drains.
const TOLD: Duration = Duration::from_secs(1);

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

    let command = scene.drain(1, &["--node", "n1", "--wait", "--timeout", "60s"]);
    // From then on the server has been told.
    until("it drains", MEET_LIMIT, || progress(draining, "n1")["state"] == "draining").await;
    let begun = Instant::now();
    until("no credential names it", TOLD, || scene.nodes.iter().all(|node| !names(&issue(node), draining)))
        .await;
    eprintln!("no node names it {:?} after it was told to drain", begun.elapsed());
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
    let far = progress(other, "n1");
    assert_eq!((&far["state"], &far["allocations"]), (&"draining".into(), &3.into()), "{far}");
    assert_eq!(far["takers"], 1, "{far}");
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
    until("it is named again", MEET_LIMIT, || scene.nodes.iter().all(|node| names(&issue(node), draining)))
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
    until("it ends", MEET_LIMIT, || progress(other, "n1")["ending"] == true).await;
    assert_eq!(draining.request("DELETE", "/v1/nodes/n1/drain", "").0, 409);
    held.refresh(0).unwrap();
    until("it has ended", MEET_LIMIT, || scene.nodes[0].has_ended()).await;
}

#[tokio::test]
async fn the_client_of_coturn_follows_to_the_other_node() {
    let setup = usual().with("listen.tcp", r#"["127.0.0.1:0"]"#);
    let scene = Scene::with("uclient", [setup.clone(), setup]).await;
    let [draining, other] = &scene.nodes;
    json_of(draining.post("/v1/nodes/n1/drain", &Value::Null), 200);
    // Over UDP and TCP side by side.
    let tcp = address(draining, "tcp");
    let runs = [("udp", vec![], udp(draining)), ("tcp", vec!["-t"], tcp)].map(|(name, flags, at)| {
        let mut command = Command::new("turnutils_uclient");
        command.args(flags).args(["-y", "-c", "-u", "bob", "-W", SECRET, "-p"]);
        command.args([&at.port().to_string(), "127.0.0.1"]);
        let directory = std::env::temp_dir();
        let process = Process::start(command, &directory, &format!("uclient-drain-{name}"));
        std::thread::spawn(move || Tool::of(process, Duration::from_secs(40)).output)
    });
    for run in runs {
        let output = run.join().unwrap();
        let line = output.lines().rfind(|line| line.contains("tot_send_msgs="));
        let line = line.unwrap_or_else(|| panic!("{output}"));
        assert!(line.contains("tot_send_msgs=10, tot_recv_msgs=10"), "{output}");
    }
    assert!(other.metric("iceway_allocations_created_total", &[]) >= 4.0);
    assert_eq!(draining.metric("iceway_allocations_created_total", &[]), 0.0);
}
