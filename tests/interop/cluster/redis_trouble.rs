//! Redis killed, emptied, hung and read-only while media flows: relays and credentials go on.

use std::time::Duration;

use serde_json::json;

use crate::support::nodes::{Cluster, Issued, until};
use crate::support::{Client, Media};
use crate::support_redis::Options;

/// From the loss of Redis to `degraded`.
const NOTICED: Duration = Duration::from_secs(15);
/// From its return to the end of it: reconnecting backs off, with jitter.
const RECOVERED: Duration = Duration::from_secs(60);

#[test]
fn redis_killed_and_restarted_empty_loses_no_packet() {
    let scene = Scene::start(Options::default());
    scene.cluster.redis.kill();
    scene.runs_on_degraded();
    scene.cluster.redis.restart();
    let (mut cluster, revoked) = scene.recovers();
    // A node that knows nothing learns all of it from what was asserted again.
    cluster.restart_without_file(2);
    until("it knows what was revoked", NOTICED, || revoked.client(&cluster.nodes[2]).allocate() == Err(401));
}

#[test]
fn redis_killed_and_restarted_with_its_data_loses_no_packet() {
    let lines = ["appendonly yes", "appendfsync always"].map(str::to_owned).to_vec();
    let scene = Scene::start(Options { lines, ..Options::default() });
    scene.cluster.redis.kill();
    scene.runs_on_degraded();
    scene.cluster.redis.restart();
    assert!(!scene.cluster.redis.keys().is_empty(), "it kept its data");
    scene.recovers();
}

#[test]
fn redis_hanging_for_ten_seconds_loses_no_packet() {
    let scene = Scene::start(Options::default());
    scene.cluster.redis.pause();
    let paused = std::time::Instant::now();
    scene.runs_on_degraded();
    while paused.elapsed() < Duration::from_secs(10) {
        scene.issues_everywhere();
    }
    scene.cluster.redis.resume();
    scene.recovers();
}

#[test]
fn a_read_only_redis_loses_no_packet() {
    let scene = Scene::start(Options::default());
    // A replica of a master that is not there takes no writes.
    scene.cluster.redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    scene.runs_on_degraded();
    scene.cluster.redis.command(&["REPLICAOF", "NO", "ONE"]);
    scene.recovers();
}

#[test]
fn a_node_started_without_redis_works_with_what_its_file_has() {
    let mut cluster = Cluster::start();
    let [kept, revoked] = ["ann", "bob"].map(|user| cluster.issue(0, json!({ "user": user, "ttl": 3600 })));
    // From now on credentials are made with a secret that is in no configuration.
    cluster.nodes[0].post("/v1/turn/secrets/rotate", &json!({})).expect(200);
    let rotated = cluster.issue(0, json!({ "user": "ann", "ttl": 3600 }));
    cluster.nodes[0].post("/v1/turn/revocations", &json!({ "user": "bob" })).expect(201);
    until("the third node has the secret", NOTICED, || rotated.client(&cluster.nodes[2]).allocate().is_ok());

    cluster.redis.kill();
    cluster.nodes[2].kill();
    cluster.nodes[2].restart();
    let node = &cluster.nodes[2];
    assert_eq!(node.get("/readyz").expect(200).json()["status"], "degraded");
    kept.allocates_at(node);
    rotated.allocates_at(node);
    assert_eq!(revoked.client(node).allocate(), Err(401));
    let issued = cluster.issue(2, json!({ "user": "carol", "ttl": 600 }));
    for node in &cluster.nodes {
        issued.allocates_at(node);
    }
    cluster.redis.restart();
    cluster.wait_until_connected(true, RECOVERED);
}

/// A cluster with media through every node.
struct Scene {
    cluster: Cluster,
    issued: Issued,
    /// Of a user who is revoked while Redis is away.
    revoked: Issued,
    media: Vec<Media>,
}

impl Scene {
    fn start(options: Options) -> Self {
        let cluster = Cluster::start_with(options, |setup| setup);
        let issued = cluster.issue(0, json!({ "user": "ann", "ttl": 3600 }));
        let revoked = cluster.issue(0, json!({ "user": "revoked-meanwhile", "ttl": 3600 }));
        let media: Vec<Media> = (0..3)
            .map(|at| {
                let mut client: Client = cluster.client(at, &issued);
                let relay = client.allocate().unwrap();
                Media::start(client, relay)
            })
            .collect();
        for flow in &media {
            flow.wait_for(20);
        }
        Self { cluster, issued, revoked, media }
    }

    /// Every node says that it is degraded, and does its work.
    fn runs_on_degraded(&self) {
        self.cluster.wait_until_connected(false, NOTICED);
        self.issues_everywhere();
        for node in &self.cluster.nodes {
            self.issued.allocates_at(node);
        }
        // What is revoked meanwhile is so where it is revoked, and everywhere once Redis is back.
        let node = &self.cluster.nodes[1];
        node.post("/v1/turn/revocations", &json!({ "user": "revoked-meanwhile" })).expect(201);
        assert_eq!(self.revoked.client(node).allocate(), Err(401));
        for flow in &self.media {
            flow.wait_for(20);
        }
    }

    /// A new credential of each node, used on the next.
    fn issues_everywhere(&self) {
        let nodes = &self.cluster.nodes;
        for at in 0..3 {
            let issued = self.cluster.issue(at, json!({ "user": "while-degraded", "ttl": 600 }));
            issued.allocates_at(&nodes[(at + 1) % 3]);
        }
    }

    /// Everything is asserted again, and not one packet was lost.
    fn recovers(self) -> (Cluster, Issued) {
        let Self { cluster, issued, revoked, media } = self;
        cluster.wait_until_connected(true, RECOVERED);
        until("every node lists the others", RECOVERED, || (0..3).all(|at| cluster.known_to(at).len() == 3));
        until("what was revoked meanwhile is refused everywhere", NOTICED, || refused(&cluster, &revoked));
        for flow in &media {
            flow.wait_for(20);
        }
        for (number, flow) in media.into_iter().enumerate() {
            let (report, mut client) = flow.stop();
            eprintln!("node {}: {report:?}", number + 1);
            assert_eq!(report.lost, 0, "node {}: {report:?}", number + 1);
            client.refresh(0).unwrap();
        }
        cluster.nodes[2].post("/v1/turn/revocations", &json!({ "user": "ann" })).expect(201);
        assert!(refused(&cluster, &issued), "a revocation reaches every node at once again");
        (cluster, revoked)
    }
}

/// Whether no node takes it.
fn refused(cluster: &Cluster, credential: &Issued) -> bool {
    cluster.nodes.iter().all(|node| credential.client(node).allocate() == Err(401))
}
