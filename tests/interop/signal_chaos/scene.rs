//! Nodes of one cluster and the people on them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::signal_support::{Client, Issuer, Node, Setup, until};
use crate::support_redis::Redis;

/// Nodes find one another with their first heartbeats.
const MEET_LIMIT: Duration = Duration::from_secs(20);

/// Some nodes with their Redis; `nodes[0]` is called `n1`.
pub(super) struct Scene {
    pub(super) nodes: Vec<Node>,
    pub(super) redis: Redis,
    pub(super) issuer: Issuer,
    setup: Setup,
}

impl Scene {
    /// So many nodes that know one another.
    pub(super) async fn start(nodes: usize, setup: Setup) -> Self {
        let (redis, issuer) = (Redis::start(), Issuer::new());
        let mut scene = Self { nodes: Vec::new(), redis, issuer, setup };
        for _ in 0..nodes {
            scene.add_node();
        }
        scene.wait_until_met(nodes).await;
        scene
    }

    /// Starts one more node.
    pub(super) fn add_node(&mut self) {
        let id = format!("n{}", self.nodes.len() + 1);
        let setup = self.setup.clone().in_cluster(&id, &self.redis.url());
        self.nodes.push(Node::start(&self.issuer, setup));
    }

    /// Waits until every node knows so many, itself among them.
    pub(super) async fn wait_until_met(&self, count: usize) {
        until("every node knows the others", MEET_LIMIT, || {
            self.nodes.iter().all(|node| node.known_nodes() == count)
        })
        .await;
    }

    /// A client of a user at a device, on a node.
    pub(super) async fn client(&self, at: usize, user: &str, device: &str) -> Client {
        Client::open(&self.nodes[at], &self.issuer.token(user, device)).await
    }

    /// Waits until a node knows of a user who is on another: that user can be sent to.
    pub(super) async fn wait_until_known(&self, at: usize, user: &str) {
        let mut asker = self.client(at, &format!("asks-for-{user}"), "probe").await;
        let deadline = tokio::time::Instant::now() + MEET_LIMIT;
        loop {
            let probe = json!({ "type": "presence", "watch": [user] });
            let answer = asker.request(probe).await;
            let is_there = |frame: &Value| frame["user"] == user && frame["status"] != "offline";
            let listed = answer["presence"].as_array().is_some_and(|all| all.iter().any(is_there));
            let frames = asker.all_until_silence(Duration::from_millis(50)).await;
            if listed || frames.iter().any(is_there) {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{user} is not known");
        }
        asker.send(json!({ "type": "bye" })).await;
    }
}

/// An offer of a call to a user.
pub(super) fn offer(call: &str, user: &str) -> Value {
    json!({
        "type": "call-offer", "call": call, "to": { "user": user }, "media": ["audio"],
        "data": { "type": "offer", "sdp": format!("v=0 {call}") },
    })
}

/// An answer to a call.
pub(super) fn answer(call: &str) -> Value {
    json!({ "type": "call-answer", "call": call, "data": { "type": "answer", "sdp": format!("v=0 {call}") } })
}

/// Candidates of a call, told apart by a number.
pub(super) fn candidates(call: &str, number: usize) -> Value {
    let candidate = format!("candidate:{number} 1 udp 2122260223 192.0.2.1 54400 typ host");
    json!({ "type": "ice-candidate", "call": call, "candidates": [{ "candidate": candidate, "sdpMid": "0" }] })
}

/// A message to a session, told apart by a number.
pub(super) fn message(session: &str, number: usize) -> Value {
    json!({ "type": "message", "to": { "session": session }, "data": { "number": number } })
}

/// Sets up a call from one to the other.
pub(super) async fn call(caller: &mut Client, callee: &mut Client, user: &str, call: &str) {
    caller.request(offer(call, user)).await;
    assert_eq!(callee.expect("call-offer").await["call"], call);
    callee.send(json!({ "type": "call-ringing", "call": call })).await;
    assert_eq!(caller.expect("call-ringing").await["call"], call);
    callee.request(answer(call)).await;
    assert_eq!(caller.expect("call-answer").await["call"], call);
}

/// Messages must come with these numbers, in order, and nothing else between them.
pub(super) async fn expect_numbers(client: &mut Client, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let frame = client.expect("message").await;
        assert_eq!(frame["data"]["number"], number, "{frame}");
    }
}

/// The same of candidates.
pub(super) async fn expect_candidates(client: &mut Client, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let frame = client.expect("ice-candidate").await;
        let text = frame["candidates"][0]["candidate"].as_str().unwrap_or_default();
        assert!(text.starts_with(&format!("candidate:{number} ")), "{number} in {frame}");
    }
}

/// A configuration whose limits a test does not meet by itself.
pub(super) fn unlimited() -> Setup {
    Setup::default().unlimited()
}

#[tokio::test]
async fn nodes_of_a_scene_know_one_another() {
    let scene = Scene::start(2, Setup::default()).await;
    assert_eq!(scene.nodes[0].known_nodes(), 2);
    assert_eq!(scene.redis.text(&["PING"]), "PONG");
}

#[tokio::test]
async fn a_client_whose_socket_is_lost_resumes() {
    let issuer = Issuer::new();
    let node = Node::start(&issuer, unlimited());
    let mut ann = Client::open(&node, &issuer.token("ann", "web")).await;
    let mut bob = Client::open(&node, &issuer.token("bob", "web")).await;
    ann.send(message(bob.session(), 0)).await;
    expect_numbers(&mut bob, 0..1).await;
    let (session, lost) = (bob.session().to_owned(), bob.lose());
    for number in 1..4 {
        ann.send(message(&session, number)).await;
    }
    let mut bob = lost.resume(&node).await;
    expect_numbers(&mut bob, 1..4).await;
}
