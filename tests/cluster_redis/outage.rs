//! Redis slow, gone, empty, full, read-only, foreign: nodes go on, and all is told again afterwards.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use iceway::cluster::{Ask, NodeState, Rate, Row, Table, UsageOf, UsageQuery, Version};

use crate::{
    exercise::{record, today},
    node::{TestNode, config, revocation, run, three, together, unix_seconds, until, within},
    support_redis::{Options, Redis, free_port},
};

/// Within what a node says that something is wrong.
const NOTICED: Duration = Duration::from_secs(6);
/// Within what all is well again once Redis is.
const RECOVERED: Duration = Duration::from_secs(12);

async fn degraded(nodes: &[TestNode]) {
    for node in nodes {
        within(NOTICED, || !node.is_connected(), || "it says that all is well".to_owned()).await;
        assert!(!node.reason().is_empty());
    }
}

async fn recovered(nodes: &[TestNode]) {
    for node in nodes {
        let is_so = || node.is_connected() && node.nodes().len() == nodes.len();
        within(RECOVERED, is_so, || format!("{} {:?}", node.reason(), node.nodes())).await;
    }
}

/// Everything a caller may wait for returns in its time, whatever Redis does. A busy machine is given 200 ms more.
async fn nobody_waits(node: &TestNode) {
    let rate = Rate { count: 60, per: Duration::from_secs(60), burst: 60 };
    let hour = Duration::from_secs(3600);
    let begin = Instant::now();
    node.cluster.limit("x", rate).await;
    assert!(begin.elapsed() < Duration::from_millis(250), "limit: {:?}", begin.elapsed());
    let begin = Instant::now();
    node.cluster.remember("x", b"x".to_vec(), hour).await;
    node.cluster.replace("x", b"x".to_vec(), hour).await;
    assert!(begin.elapsed() < Duration::from_millis(1200), "remember: {:?}", begin.elapsed());
    let begin = Instant::now();
    drop(node.cluster.ask("b", Ask::SecretsInUse).await);
    drop(node.cluster.ask_all(Ask::SecretsInUse).await);
    assert!(begin.elapsed() < Duration::from_millis(2000), "ask: {:?}", begin.elapsed());
    let begin = Instant::now();
    assert_eq!(node.cluster.find_user("example.org", "alice").await, None);
    assert!(begin.elapsed() < Duration::from_millis(700), "find_user: {:?}", begin.elapsed());
    let begin = Instant::now();
    let query = UsageQuery { of: UsageOf::Everybody, from_day: today(), to_day: today() };
    drop(node.cluster.usage_records(None, 10).await);
    drop(node.cluster.usage_totals(query).await);
    assert!(begin.elapsed() < Duration::from_millis(4200), "usage: {:?}", begin.elapsed());
}

#[test]
fn a_redis_that_is_killed_and_comes_back_empty_is_told_everything_again() {
    run(async {
        let redis = Redis::start();
        let nodes = three(&config(&redis.url())).await;
        nodes[0].cluster.revoke(revocation("before", "alice")).await.unwrap();
        nodes[2].relay.quotas.set("alice", 2);
        until(|| nodes[0].relay.quotas.of("alice") == 2, || "no quota".to_owned()).await;
        redis.kill();
        degraded(&nodes).await;
        for node in &nodes {
            until(|| node.relay.quotas.share.load(Ordering::Relaxed) == 3, || "no share".to_owned()).await;
            nobody_waits(node).await;
        }
        // A node goes on telling clients of itself, with what it does now.
        *nodes[1].relay.is_draining.lock().unwrap() = true;
        nodes[1].cluster.announce();
        let own = || nodes[1].cluster.nodes().list[0].clone();
        until(|| own().state == NodeState::Draining, || format!("{:?}", own())).await;
        assert!(own().told + 5000 > unix_seconds() * 1000, "{:?}", own());
        // What happens meanwhile is in effect here at once, and everywhere afterwards.
        let revoked = nodes[1].cluster.revoke(revocation("meanwhile", "bob")).await.unwrap();
        assert!(revoked.nodes.iter().any(|(node, cut)| node == "b" && cut.is_ok()), "{:?}", revoked.nodes);
        nodes[1].cluster.record_usage(record("b:0-9", "b", "bob"));
        nodes[2].relay.quotas.set("bob", 7);
        redis.restart();
        recovered(&nodes).await;
        for node in &nodes {
            until(|| node.knows("meanwhile") && node.knows("before"), || node.reason()).await;
            until(|| node.relay.quotas.share.load(Ordering::Relaxed) == 1, || "still alone".to_owned()).await;
        }
        until(|| nodes[0].relay.quotas.of("bob") == 7, || "quota not told again".to_owned()).await;
        until(|| nodes[0].relay.quotas.of("alice") == 2, || "quota not told again".to_owned()).await;
        let rows =
            || redis::from_redis_value::<u64>(redis.command(&["HLEN", "iceway:{rows}:revocations"])).unwrap();
        until(|| rows() == 2, || format!("{} revocations in Redis", rows())).await;
        let begin = Instant::now();
        while nodes[0].cluster.usage_records(None, 10).await.unwrap().records.len() != 1 {
            assert!(begin.elapsed() < RECOVERED, "the record is not handed over");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let late = TestNode::start("d", &redis.url());
        until(|| late.knows("before") && late.knows("meanwhile"), || late.reason()).await;
    });
}

#[test]
fn a_redis_that_hangs_is_noticed_and_nobody_waits_for_it() {
    run(async {
        let redis = Redis::start();
        let nodes = three(&config(&redis.url())).await;
        redis.pause();
        nobody_waits(&nodes[0]).await;
        degraded(&nodes).await;
        for node in &nodes {
            nobody_waits(node).await;
        }
        redis.resume();
        recovered(&nodes).await;
    });
}

#[test]
fn rows_that_redis_loses_while_connected_are_asserted_again() {
    run(async {
        let redis = Redis::start();
        let nodes = three(&config(&redis.url())).await;
        nodes[0].cluster.revoke(revocation("r", "alice")).await.unwrap();
        redis.command(&["FLUSHALL"]);
        let has_all = || redis.keys().iter().any(|key| key == "iceway:{rows}:revocations");
        within(Duration::from_secs(20), has_all, || format!("{:?}", redis.keys())).await;
        recovered(&nodes).await;
    });
}

/// Rows as a node has them in its file.
fn stored(count: u64) -> Vec<Row> {
    let now = unix_seconds();
    let row = |number| {
        let (id, expires) = (format!("r{number}"), now + 3600);
        let value =
            format!(r#"{{"id":"{id}","user":"user-{number}","issued_before":{now},"expires":{expires}}}"#);
        let version = Version { millis: now * 1000, node: "a".to_owned() };
        Row { table: Table::Revocations, id, version, value: Some(value), expires: Some(expires) }
    };
    (0..count).map(row).collect()
}

#[test]
fn thousands_of_rows_of_one_node_reach_the_others_by_way_of_an_empty_redis() {
    run(async {
        const ROWS: u64 = 5000;
        let redis = Redis::start();
        let nodes = three(&config(&redis.url())).await;
        nodes[0].cluster.ask("a", Ask::Apply(stored(ROWS))).await.unwrap();
        redis.restart();
        let begin = Instant::now();
        let have_all = || nodes.iter().all(|node| node.cluster.revocations().len() as u64 == ROWS);
        let counts = || format!("{:?}", nodes.each_ref().map(|node| node.cluster.revocations().len()));
        within(Duration::from_secs(60), have_all, counts).await;
        eprintln!("{ROWS} rows of one node were on three nodes {:?} after Redis was back", begin.elapsed());
        recovered(&nodes).await;
    });
}

#[test]
fn rows_that_are_over_do_not_stay_in_redis() {
    run(async {
        let redis = Redis::start();
        let first = TestNode::start("a", &redis.url());
        until(|| first.is_connected(), || first.reason()).await;
        first.cluster.revoke(revocation("r", "alice")).await.unwrap();
        let has_row = || redis.keys().iter().any(|key| key == "iceway:{rows}:revocations");
        until(has_row, || "no row".to_owned()).await;
        first.cluster.close().await.unwrap();
        drop(first);
        // As if its hour had passed.
        redis.command(&["ZADD", "iceway:{rows}:revocations:expiry", "1", "r"]);
        let second = TestNode::start("b", &redis.url());
        until(|| second.is_connected(), || second.reason()).await;
        until(|| !has_row(), || "it is still there".to_owned()).await;
    });
}

#[test]
fn a_redis_out_of_memory_still_carries_messages() {
    run(async {
        let redis = Redis::start();
        let nodes = three(&config(&redis.url())).await;
        redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
        degraded(&nodes).await;
        until(|| nodes[0].reason().contains("memory"), || nodes[0].reason()).await;
        let revoked = nodes[0].cluster.revoke(revocation("r", "alice")).await.unwrap();
        assert!(revoked.nodes.iter().all(|(_, cut)| cut.is_ok()), "{:?}", revoked.nodes);
        nobody_waits(&nodes[0]).await;
        redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
        recovered(&nodes).await;
        let rows = || redis.keys().iter().any(|key| key == "iceway:{rows}:revocations");
        until(rows, || format!("{:?}", redis.keys())).await;
    });
}

#[test]
fn a_master_that_becomes_a_replica_is_named_as_one() {
    run(async {
        let redis = Redis::start();
        let other = Redis::start();
        let nodes = three(&config(&redis.url())).await;
        redis.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
        degraded(&nodes).await;
        until(|| nodes[0].reason().contains("replica"), || nodes[0].reason()).await;
        nobody_waits(&nodes[0]).await;
        redis.command(&["REPLICAOF", "NO", "ONE"]);
        recovered(&nodes).await;
    });
}

#[test]
fn a_wrong_password_and_a_missing_permission_are_named() {
    run(async {
        let line = "user weak on >secret ~iceway:* &iceway:* +hello +auth +info +ping".to_owned();
        let redis = Redis::start_with(Options {
            lines: vec!["requirepass right".to_owned(), line],
            ..Options::default()
        });
        let wrong = TestNode::start("a", &redis.url_as("default", "wrong"));
        until(|| wrong.reason().contains("cannot be used"), || wrong.reason()).await;
        assert!(!wrong.reason().contains("wrong"), "{}", wrong.reason());
        let weak = TestNode::start("b", &redis.url_as("weak", "secret"));
        until(|| weak.reason().to_ascii_lowercase().contains("perm"), || weak.reason()).await;
        let right = TestNode::start("c", &redis.url_as("default", "right"));
        until(|| right.is_connected(), || right.reason()).await;
    });
}

/// Listens like a Redis that is none. Ends with the last of its connections.
struct Impostor {
    port: u16,
    connections: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Impostor {
    /// `None` closes each connection at once.
    fn start(port: u16, answer: Option<fn(&str) -> Vec<u8>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let (connections, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, ends) = (Arc::clone(&connections), Arc::clone(&is_over));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                counted.fetch_add(1, Ordering::Relaxed);
                let (mut stream, Some(answer)) = (stream.unwrap(), answer) else { continue };
                std::thread::spawn(move || {
                    let mut request = [0; 4096];
                    while let Ok(length @ 1..) = stream.read(&mut request) {
                        let answer = answer(&String::from_utf8_lossy(&request[..length]));
                        if stream.write_all(&answer).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { port, connections, is_over }
    }

    fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // It looks up when somebody connects.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

#[test]
fn garbage_for_an_answer_is_an_error_and_no_more() {
    run(async {
        let port = free_port();
        let _impostor = Impostor::start(
            port,
            Some(|_| b"HTTP/1.1 400 Bad Request\r\n\r\n\0\xff\xfe*9999999\r\n$-5\r\n".to_vec()),
        );
        let node = TestNode::start("a", &format!("redis://127.0.0.1:{port}"));
        until(|| node.reason().contains("127.0.0.1"), || node.reason()).await;
        nobody_waits(&node).await;
    });
}

#[test]
fn an_outage_makes_no_storm_of_connections() {
    run(async {
        let redis = Redis::start();
        let port = redis.port();
        let nodes = three(&config(&redis.url())).await;
        redis.kill();
        let impostor = Impostor::start(port, None);
        let seconds = 12;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let count = impostor.connections();
        eprintln!("{count} connections of 3 nodes in {seconds} s of outage");
        // Waits of 0.1 to 0.2, 0.2 to 0.4, … up to 2.5 to 5 seconds: at most nine attempts of each node.
        assert!((6..=27).contains(&count), "{count} connections");
        degraded(&nodes).await;
    });
}

#[test]
fn an_old_redis_is_refused_with_the_version_that_is_needed() {
    run(async {
        let port = free_port();
        let _impostor = Impostor::start(
            port,
            Some(|request| {
                let info = "redis_version:6.0.20\r\nrole:master\r\n";
                let one = format!("${}\r\n{info}\r\n", info.len());
                let hello = if request.contains("HELLO") { "%1\r\n+proto\r\n:3\r\n" } else { "" };
                format!("{hello}{}", one.repeat(request.matches("INFO").count())).into_bytes()
            }),
        );
        let node = TestNode::start("a", &format!("redis://127.0.0.1:{port}"));
        until(|| node.reason().contains("6.2"), || node.reason()).await;
        assert!(node.reason().contains("6.0.20"), "{}", node.reason());
    });
}

#[test]
fn a_node_that_dies_without_a_word_is_gone_after_its_lease() {
    run(async {
        let redis = Redis::start();
        let [a, b, c] = three(&config(&redis.url())).await;
        c.relay.quotas.set("alice", 2);
        until(|| a.relay.quotas.of("alice") == 2, || "no quota".to_owned()).await;
        drop(c);
        let begin = Instant::now();
        let is_gone = || a.nodes() == ["a", "b"] && b.nodes() == ["b", "a"];
        within(Duration::from_secs(19), is_gone, || format!("{:?}", a.nodes())).await;
        assert!(begin.elapsed() > Duration::from_secs(10), "its lease lasts 15 s: {:?}", begin.elapsed());
        until(|| a.relay.quotas.of("alice") == 0, || "its quota is still counted".to_owned()).await;
        until(|| !redis.keys().contains(&"iceway:{nodes}:c".to_owned()), || format!("{:?}", redis.keys()))
            .await;
        together(&[a, b]).await;
    });
}
