//! What three nodes count and keep together: usage, rates, answers that may be repeated, and coturn's own users.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::nodes::{Cluster, Issued, until};
use crate::support::server::{API_KEY, REALM};
use crate::support::{Client, Http, Media, Server};
use crate::support_redis::Options;

const KNOWN: Duration = Duration::from_secs(10);
const PACKET_BYTES: u64 = 160;
/// Credentials per user and minute.
const RATE: usize = 30;

#[test]
fn usage_is_exact_to_the_byte_whichever_node_is_asked() {
    let cluster = Cluster::start();
    let mut sent = 0;
    for at in 0..3 {
        let issued = cluster.issue(at, json!({ "user": "ann", "ttl": 600, "label": "call:7" }));
        let mut client = cluster.client(at, &issued);
        let relay = client.allocate().unwrap();
        let media = Media::start(client, relay);
        media.wait_for(30);
        let (report, mut client) = media.stop();
        assert_eq!(report.lost, 0);
        sent += u64::from(report.sent);
        client.refresh(0).unwrap();
    }
    let bytes = sent * PACKET_BYTES;
    for (node, what) in cluster.nodes.iter().zip(["user=ann", "label=call:7", "user=ann"]) {
        until("three allocations are counted", KNOWN, || usage(node, what)["ended"]["allocations"] == 3);
        let ended = usage(node, what)["ended"].clone();
        let both = ended["sentBytes"].as_u64().zip(ended["receivedBytes"].as_u64());
        assert_eq!(both.map(|(sent, received)| sent + received), Some(bytes), "{what}: {ended}");
    }
    let records = |node: &Server| node.get("/v1/usage/records").expect(200).json()["records"].clone();
    let first = records(&cluster.nodes[0]);
    let first = first.as_array().unwrap();
    assert_eq!(first.len(), 3, "{first:?}");
    let billed: u64 = first
        .iter()
        .map(|record| {
            assert_eq!((&record["user"], &record["label"]), (&json!("ann"), &json!("call:7")), "{record}");
            record["sentBytes"].as_u64().unwrap() + record["receivedBytes"].as_u64().unwrap()
        })
        .sum();
    assert_eq!(billed, bytes);
    let taken = json!({ "upTo": first[2]["cursor"] });
    let answer = cluster.nodes[1].post("/v1/usage/records/acknowledge", &taken).expect(200).json();
    assert_eq!(answer["acknowledged"], 3, "{answer}");
    assert_eq!(records(&cluster.nodes[2]), json!([]), "each is billed once");
}

#[test]
fn a_users_credentials_are_counted_over_all_nodes() {
    let cluster = Cluster::start_with(Options::default(), |setup| setup.with("api.rate_per_user", RATE));
    let ask = |at: usize, user: &str| {
        cluster.nodes[at % 3].post("/v1/turn/credentials", &json!({ "user": user, "ttl": 600 }))
    };
    let begin = Instant::now();
    let answers: Vec<_> = (0..3 * RATE).map(|at| ask(at, "ann")).collect();
    let issued = answers.iter().filter(|answer| answer.status == 201).count();
    // Each node may be two tenths ahead of the others; and on a slow machine a part of the minute is over.
    let most = RATE + 3 * RATE / 5 + RATE * begin.elapsed().as_secs() as usize / 60 + 1;
    assert!((RATE..=most).contains(&issued), "{issued} of {RATE} a minute, within {:?}", begin.elapsed());
    let refused = answers.last().unwrap();
    assert_eq!(refused.status, 429, "{refused:?}");
    let seconds: Option<u64> = refused.header("Retry-After").and_then(|seconds| seconds.parse().ok());
    assert!(seconds.is_some_and(|seconds| (1..=60).contains(&seconds)), "{refused:?}");
    ask(0, "bob").expect(201);
}

#[test]
fn a_repeated_request_has_one_answer_on_all_nodes() {
    let cluster = Cluster::start();
    let ask = |at: usize, body: &Value| {
        let post = Http::post(cluster.nodes[at].http, "/v1/turn/credentials").key(API_KEY).json(body);
        post.header("Idempotency-Key", "0b7c2d9e-order-77").send()
    };
    let body = json!({ "user": "ann", "ttl": 600 });
    let first = ask(0, &body).expect(201);
    for at in [1, 2, 0] {
        assert_eq!(ask(at, &body).expect(201).json(), first.json(), "n{}", at + 1);
    }
    let other = ask(1, &json!({ "user": "bob", "ttl": 600 }));
    assert!(matches!(other.status, 409 | 422), "another request under the same key: {other:?}");
    let keys = cluster.redis.keys().join(" ");
    assert!(!keys.contains("order-77"), "Redis sees no key of a caller: {keys}");
    Issued::read(&first.json()).allocates_at(&cluster.nodes[2]);
}

#[test]
fn users_and_secrets_of_coturn_in_the_same_redis_are_good() {
    let cluster = Cluster::start_with(Options::default(), |setup| setup.with("redis.coturn_users", true));
    let key = format!("turn/realm/{REALM}/user/carol/key");
    cluster.redis.command(&["SET", &key, &md5_key("carol", "carols-password")]);
    cluster.redis.command(&[
        "SADD",
        &format!("turn/realm/{REALM}/secret"),
        "a-secret-of-coturn's-own-database",
    ]);
    let client = |at: usize, password: &str| {
        let node: &Server = &cluster.nodes[at];
        Client::new(node.address()).with_credential("carol".to_owned(), password.to_owned())
    };
    for at in 0..3 {
        client(at, "carols-password").allocate().unwrap();
        assert_eq!(client(at, "wrong").allocate(), Err(401));
    }
    let username = format!("{}:dave", u32::MAX);
    let password = crate::support::server::password_by("a-secret-of-coturn's-own-database", &username);
    for node in &cluster.nodes {
        until("coturn's secret is read", KNOWN, || {
            Client::new(node.address()).with_credential(username.clone(), password.clone()).allocate().is_ok()
        });
    }
}

fn usage(node: &Server, what: &str) -> Value {
    node.get(&format!("/v1/usage?{what}")).expect(200).json()
}

/// What coturn keeps of a user.
fn md5_key(name: &str, password: &str) -> String {
    use md5::Digest;
    let digest = md5::Md5::digest(format!("{name}:{REALM}:{password}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
