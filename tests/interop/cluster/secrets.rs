//! Secrets that change while credentials are issued and used.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::Http;
use crate::support::nodes::{Cluster, until};
use crate::support::server::{API_KEY, SECRET};
use crate::support_redis::Options;

const ROTATIONS: usize = 5;
const KNOWN: Duration = Duration::from_secs(5);

#[test]
fn secrets_are_rotated_under_load_without_one_refusal() {
    // What Redis holds is looked at in the end, as it is.
    let options = Options { lines: vec!["rdbcompression no".to_owned()], ..Options::default() };
    let cluster = Cluster::start_with(options, |setup| setup);
    let (stop, used) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        // Each issues at one node and allocates at the next, at once.
        for at in 0..3_usize {
            let (cluster, stop, used) = (&cluster, &stop, &used);
            scope.spawn(move || {
                let _stop = StopOnPanic(stop);
                while !stop.load(Ordering::Relaxed) {
                    let issued = cluster.issue(at, json!({ "user": format!("user-{at}"), "ttl": 600 }));
                    issued.allocates_at(&cluster.nodes[(at + 1) % 3]);
                    used.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _stop = StopAtEnd(&stop);
        for round in 0..ROTATIONS {
            let before = used.load(Ordering::Relaxed);
            cluster.nodes[round % 3].post("/v1/turn/secrets/rotate", &json!({})).expect(200);
            until("credentials go on being used", Duration::from_secs(30), || {
                stop.load(Ordering::Relaxed) || used.load(Ordering::Relaxed) > before + 30
            });
        }
    });
    let refused: f64 = cluster
        .nodes
        .iter()
        .map(|node| {
            let failures = node.metrics();
            let lines = failures.lines().filter(|line| {
                line.starts_with("iceway_authentication_failures_total{") && !line.contains("stale_nonce")
            });
            lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum::<f64>()
        })
        .sum();
    assert_eq!(refused, 0.0, "not one 401 but challenges");
    eprintln!("{} credentials used over {ROTATIONS} rotations", used.load(Ordering::Relaxed));
    nothing_secret_shows(&cluster);
}

/// Neither in the logs, which are at `debug` here, nor in Redis, where user names are none of anybody's business either.
fn nothing_secret_shows(cluster: &Cluster) {
    let issued = cluster.issue(0, json!({ "user": "somebody-in-particular", "ttl": 600 }));
    issued.allocates_at(&cluster.nodes[1]);
    cluster.nodes[2].post("/v1/turn/revocations", &json!({ "user": "somebody-in-particular" })).expect(201);
    for node in &cluster.nodes {
        let log = node.process.output();
        for secret in [SECRET, API_KEY, &issued.password] {
            assert!(!log.contains(secret), "{secret} is in the log");
        }
    }
    let keys = cluster.redis.keys();
    assert!(!keys.is_empty());
    for key in keys {
        let value = format!("{key} {:?}", String::from_utf8_lossy(&dump(cluster, &key)));
        for secret in [SECRET, &issued.password, "somebody-in-particular"] {
            assert!(!value.contains(secret), "{secret} is in Redis: {value}");
        }
    }
}

fn dump(cluster: &Cluster, key: &str) -> Vec<u8> {
    redis::from_redis_value(cluster.redis.command(&["DUMP", key])).unwrap_or_default()
}

#[test]
fn a_secret_that_is_removed_is_good_nowhere() {
    let cluster = Cluster::start();
    let issued = cluster.issue(0, json!({ "user": "ann", "ttl": 600 }));
    let mut held = cluster.client(1, &issued);
    held.allocate().unwrap();
    // The configured secret cannot be removed by the API; one that was rotated in can.
    cluster.nodes[0].post("/v1/turn/secrets/rotate", &json!({})).expect(200);
    let issued = cluster.issue(0, json!({ "user": "ann", "ttl": 600 }));
    let id = active(&cluster, 0);
    cluster.nodes[1].post("/v1/turn/secrets/rotate", &json!({})).expect(200);
    until("all nodes mint with the next", KNOWN, || (0..3).all(|at| active(&cluster, at) != id));
    for node in &cluster.nodes {
        issued.allocates_at(node);
    }
    let path = format!("/v1/turn/secrets/{id}?force=true");
    Http::delete(cluster.nodes[2].http, path).key(API_KEY).send().expect(204);
    until("it is good nowhere", KNOWN, || {
        cluster.nodes.iter().all(|node| issued.client(node).allocate() == Err(401))
    });
    assert_eq!(held.refresh(600), Ok(600), "a relay of another secret is not touched");
}

/// The secret that mints.
fn active(cluster: &Cluster, at: usize) -> String {
    let answer = cluster.nodes[at].get("/v1/turn/secrets").expect(200).json();
    let secrets = answer["secrets"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let active = secrets.iter().find(|secret| secret["state"] == "active");
    active.unwrap_or_else(|| panic!("{answer}"))["id"].as_str().unwrap().to_owned()
}

/// Ends the load when one of its threads fails.
struct StopOnPanic<'a>(&'a AtomicBool);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// Ends the load with the scope.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
