//! Several nodes: what one is told counts on all.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    signal_support::{Client, Issuer, Node, Setup, Socket, until},
    support_redis::Redis,
};

const NEAR: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

struct Pair {
    a: Node,
    b: Node,
    _redis: Redis,
}

async fn pair(issuer: &Issuer) -> Pair {
    let redis = Redis::start();
    let node = |id: &str| {
        let setup = Setup::default().with("signal.drain_within", "\"1s\"");
        Node::start(issuer, setup.in_cluster(id, &redis.url()))
    };
    let (a, b) = (node("a"), node("b"));
    until("the nodes know each other", Duration::from_secs(10), || a.known_nodes() + b.known_nodes() == 4)
        .await;
    Pair { a, b, _redis: redis }
}

fn post(node: &Node, path: &str, body: &Value) -> Value {
    let (status, answer) = node.post(path, body);
    assert_eq!(status, 201, "{answer}");
    serde_json::from_str(&answer).unwrap()
}

#[tokio::test]
async fn a_revocation_ends_sessions_of_other_nodes_within_a_second_and_keeps_tokens_out() {
    let issuer = Issuer::new();
    let Pair { a, b, _redis } = pair(&issuer).await;
    let mut ann = Client::open(&b, &issuer.token("ann", "web")).await;
    let begun = Instant::now();
    let ended = post(&a, "/v1/revocations", &json!({ "sub": "ann" }));
    assert_eq!(ann.closed().await, 4403);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(ended["ended"], 1, "{ended}");
    let mut banned = Socket::open(b.http).await;
    banned.send(&json!({ "type": "hello", "v": 1, "token": issuer.token("ann", "web") })).await;
    assert_eq!(banned.closed().await, 4403);
}

#[tokio::test]
async fn a_ticket_is_good_once_on_any_node() {
    let issuer = Issuer::new();
    let Pair { a, b, _redis } = pair(&issuer).await;
    let ticket = post(&a, "/v1/signal/tickets", &json!({ "user": "ann", "grants": {} }));
    let open = |node: &Node| {
        let url = format!("ws://{}/v1/signal?ticket={}", node.http, ticket["ticket"].as_str().unwrap());
        let server = node.http;
        async move { Socket::try_open_at(&url, NEAR, server, &[]).await.is_ok() }
    };
    assert!(open(&b).await);
    assert!(!open(&a).await && !open(&b).await);
}

#[tokio::test]
async fn rooms_are_administered_from_any_node() {
    let issuer = Issuer::new();
    let Pair { a, b, _redis } = pair(&issuer).await;
    let mut ann = Client::open(&b, &issuer.token("ann", "web")).await;
    ann.request(json!({ "type": "join", "room": "r" })).await;
    until("both know the room", Duration::from_secs(5), || a.get("/v1/rooms/r").0 == 200).await;
    assert_eq!(post(&a, "/v1/rooms/r/messages", &json!({ "data": 7 }))["delivered"], 1);
    assert_eq!(ann.wait_for("message").await["data"], 7);
    let member = format!("/v1/rooms/r/members/{}", ann.session());
    assert_eq!(a.request("DELETE", &member, "").0, 204);
    while ann.wait_for("room-event").await["left"] != json!([ann.session()]) {}
    let (status, body) = a.get("/v1/sessions?user=ann");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("\"node\":\"b\""), "{body}");
}

#[tokio::test]
async fn clients_that_were_handed_the_node_that_drains_get_other_ice_servers_and_nobody_else() {
    let issuer = Issuer::new();
    let Pair { a, b, _redis } = pair(&issuer).await;
    let mut grants = Issuer::grants("web");
    grants["turn"] = json!({ "use": true });
    let [of_a, of_b] = [&a, &b].map(|node| node.logged("Listening.")["address"].as_str().unwrap().to_owned());
    let hands = |client: &Client, address: &str| client.welcome["iceServers"].to_string().contains(address);
    let mut clients: Vec<Client> = Vec::new();
    // The busier node is handed to nobody until its next heartbeat says that it is so no longer.
    let begun = Instant::now();
    while ![&of_a, &of_b].into_iter().all(|address| clients.iter().any(|client| hands(client, address))) {
        assert!(begun.elapsed() < Duration::from_secs(20), "one node was handed to nobody");
        let token = issuer.token_with(&format!("ann-{}", clients.len()), grants.clone());
        clients.push(Client::open(&b, &token).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(a.post("/v1/nodes/a/drain", &json!({})).0, 200);
    let were_handed_a: Vec<bool> = clients.iter().map(|client| hands(client, &of_a)).collect();
    let waiting = clients.iter_mut().map(|client| client.try_next(Duration::from_secs(4)));
    for (was_handed_a, pushed) in were_handed_a.into_iter().zip(join_all(waiting).await) {
        assert_eq!(was_handed_a, pushed.is_some(), "{pushed:?}");
        let Some(frame) = pushed else { continue };
        assert_eq!((&frame["type"], &frame["reason"]), (&json!("ice-servers"), &json!("drain")), "{frame}");
        let servers = frame["iceServers"].to_string();
        assert!(servers.contains(&of_b) && !servers.contains(&of_a), "{frame}");
    }
}
