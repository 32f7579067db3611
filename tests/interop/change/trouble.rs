//! Drains that do not go as they should: too little time, nobody to send clients to, Redis away.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{
    client, issue, json_of,
    scene::{MEET_LIMIT, Scene, names, printed, progress, sent_to, usual},
    udp,
};
use crate::signal_support::{Node, until};

/// A node of which nothing is heard for so long is named to nobody.
const SILENT: Duration = Duration::from_millis(6500);

#[tokio::test]
async fn what_is_left_at_the_deadline_is_said_and_counted_and_goes_on_until_the_server_ends() {
    let setup = usual().with("runtime.drain_timeout", "\"3s\"");
    let mut scene = Scene::with("deadline", [setup.clone(), setup]).await;
    let mut held = client(&scene.nodes[0], &scene.nodes[0]);
    held.allocate().unwrap();
    let [draining, other] = &scene.nodes;

    let command = scene.drain(0, &["--wait"]);
    let (_, said, status) = tokio::task::spawn_blocking(|| printed(command)).await.unwrap();
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("n1 is not drained in time: 1 allocations and 0 signaling sockets are left"),
        "{said}"
    );
    let late = draining.logged(
        "The time to drain (runtime.drain_timeout) is over: what is left goes on until it ends by itself, or with the \
         server (SIGTERM).",
    );
    assert_eq!((&late["level"], &late["allocations"]), (&json!("WARN"), &json!(1)), "{late}");
    assert_eq!(draining.metric("iceway_drain_deadlines_missed_total", &[]), 1.0);
    assert_eq!(progress(other, "n1")["secondsLeft"], 0);
    let (again, _, status) = printed(scene.drain(0, &[]));
    assert_eq!(
        (&*again, status),
        ("n1 drains: 1 allocations, 0 signaling sockets; its time is over\n", Some(0))
    );
    assert_eq!(held.refresh(600), Ok(600), "no time is a reason to cut a call");

    // The end is another matter.
    draining.signal(Signal::SIGTERM);
    until("it ends", MEET_LIMIT, || progress(other, "n1")["ending"] == true).await;
    let waiting = scene.drain(1, &["--node", "n1", "--wait", "--timeout", "60s"]);
    let late = draining
        .logged("The time to drain (runtime.drain_timeout) is over: what is left ends with the server.");
    assert_eq!((&late["level"], &late["allocations"]), (&json!("WARN"), &json!(1)), "{late}");
    let (_, said, status) = tokio::task::spawn_blocking(|| printed(waiting)).await.unwrap();
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("n1 has ended; 1 allocations and 0 signaling sockets were left just before"),
        "{said}"
    );
    until("it has ended", MEET_LIMIT, || scene.nodes[0].has_ended()).await;
    // Whoever is billed for it is billed for what there was.
    let other = &scene.nodes[1];
    until("its usage is kept", MEET_LIMIT, || reasons(other) == ["shutdown"]).await;
}

fn reasons(node: &Node) -> Vec<String> {
    let records = json_of(node.get("/v1/usage/records"), 200);
    let records = records["records"].as_array().unwrap();
    records.iter().map(|record| record["reason"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn where_no_node_is_left_clients_are_refused_until_one_serves_again() {
    let scene = Scene::start("last").await;
    let [last, first] = &scene.nodes;
    let (_, _, status) = printed(scene.drain(1, &["--wait"]));
    assert_eq!(status, Some(0), "one that has nothing is drained at once");
    let mut held = client(last, last);
    held.allocate().unwrap();
    let (said, _, status) = printed(scene.drain(0, &[]));
    assert_eq!(status, Some(0));
    assert!(said.ends_with("No other node can take clients: new ones are refused (508).\n"), "{said}");
    let warned = last.logged(
        "No other node can take clients: new allocations are refused (508) until one serves, is heard of and has room.",
    );
    assert_eq!(warned["level"], "WARN");
    let far = progress(first, "n1");
    assert_eq!((&far["takers"], &far["allocations"]), (&json!(0), &json!(1)), "{far}");
    let mut new = client_of_secret(last);
    assert_eq!(new.allocate(), Err(508));
    for node in &scene.nodes {
        let body = json!({ "user": "ann", "ttl": 3600 });
        assert_eq!(json_of(node.post("/v1/turn/credentials", &body), 503)["code"], "no_capacity");
    }
    assert_eq!(held.refresh(600), Ok(600));

    assert_eq!(printed(scene.drain(0, &["--node", "n2", "--undo"])).0, "n2 serves again.\n");
    last.logged("New clients are sent to other nodes again.");
    until("its shard knows", MEET_LIMIT, || new.allocate() == Err(300)).await;
    assert_eq!(sent_to(&mut new), udp(first));
    assert_eq!(progress(first, "n1")["takers"], 1);
    held.refresh(0).unwrap();
}

/// A client of a node with a credential that this test makes: the nodes make none just now.
fn client_of_secret(node: &Node) -> crate::support::Client {
    let end = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 3600;
    let username = format!("{end}:bob");
    let password = crate::support::server::password_by(super::SECRET, &username);
    crate::support::Client::new(udp(node)).with_realm("signal.test").with_credential(username, password)
}

#[tokio::test]
async fn a_drain_goes_on_without_redis_and_is_known_when_it_is_back() {
    let scene = Scene::start("redis").await;
    let [draining, other] = &scene.nodes;
    let mut held = client(other, draining);
    held.allocate().unwrap();
    json_of(draining.post("/v1/nodes/n1/drain", &Value::Null), 200);
    let mut new = client(other, draining);
    assert_eq!(sent_to(&mut new), udp(other));
    until("it is known", MEET_LIMIT, || progress(other, "n1")["state"] == "draining").await;

    let waiting = scene.drain(1, &["--node", "n1", "--wait", "--timeout", "60s"]);
    let own = scene.drain(0, &["--wait", "--timeout", "60s"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.redis.kill();
    tokio::time::sleep(SILENT).await;
    assert_eq!(sent_to(&mut new), udp(other), "where it went is the best that is known");
    new.move_to(udp(other));
    new.allocate().unwrap();
    assert!(!names(&issue(other), draining));
    assert_eq!(held.refresh(600), Ok(600));
    assert_eq!(held.refresh(0), Ok(0));
    let (said, _, status) = tokio::task::spawn_blocking(|| printed(own)).await.unwrap();
    assert!(status == Some(0) && said.ends_with("n1 is drained.\n"), "{said}");
    // Whoever asks another node cannot be told how far it is, and hears that after a while.
    let (_, said, status) = tokio::task::spawn_blocking(|| printed(waiting)).await.unwrap();
    assert!(status == Some(1) && said.contains("other nodes cannot be reached"), "{said}");

    scene.redis.restart();
    until("they meet again", MEET_LIMIT, || other.get("/v1/drain?node=n1").0 == 200).await;
    assert_eq!(progress(other, "n1")["drained"], true);
    assert!(!names(&issue(other), draining));
}

#[tokio::test]
async fn the_command_says_what_it_does_not_understand_and_whom_it_does_not_know() {
    let scene = Scene::start("words").await;
    for (arguments, status, said) in [
        (&["--wait", "--timeout", "soon"][..], 2, "not a duration such as 30s or 10m"),
        (&["--timeout", "10s"], 2, "--wait"),
        (&["--undo", "--wait"], 2, "cannot be used with"),
        (&["--node", "a/../b"], 2, "names of nodes are 1 to 64 of"),
        (&["--node", "n9"], 1, "404"),
    ] {
        let (_, error, code) = printed(scene.drain(0, arguments));
        assert_eq!(code, Some(status), "{arguments:?}: {error}");
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
    assert_eq!(progress(&scene.nodes[0], "n1")["state"], "serving", "nothing of that drained anything");
    // Undone what was never done is no fault.
    assert_eq!(
        printed(scene.drain(0, &["--undo"])),
        ("n1 serves again.\n".to_owned(), String::new(), Some(0))
    );
    // Whoever waits hears that somebody else undid it.
    let mut held = client(&scene.nodes[0], &scene.nodes[0]);
    held.allocate().unwrap();
    let waiting = scene.drain(0, &["--wait"]);
    until("it drains", MEET_LIMIT, || progress(&scene.nodes[1], "n1")["state"] == "draining").await;
    printed(scene.drain(1, &["--node", "n1", "--undo"]));
    let (_, error, code) = tokio::task::spawn_blocking(|| printed(waiting)).await.unwrap();
    assert!(code == Some(1) && error.contains("n1 serves again: somebody undid the drain"), "{error}");
}
