//! What operators and backends do: sessions, rooms, revocations, tickets.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::signal_support::{API_KEY, Client, Issuer, Node, Setup, Socket};

fn parsed(answer: (u16, String), status: u16) -> Value {
    assert_eq!(answer.0, status, "{}", answer.1);
    serde_json::from_str(&answer.1).unwrap_or_default()
}

#[tokio::test]
async fn sessions_and_rooms_are_listed_and_members_removed() {
    let issuer = Issuer::new();
    let node = Node::start(&issuer, Setup::default());
    let mut ann = Client::open(&node, &issuer.token("ann", "web")).await;
    let mut bob = Client::open(&node, &issuer.token("bob", "phone")).await;
    for client in [&mut ann, &mut bob] {
        client.request(json!({ "type": "join", "room": "conv 1", "state": { "n": 1 } })).await;
    }
    let all = parsed(node.get("/v1/sessions?limit=1"), 200);
    assert_eq!(all["sessions"].as_array().unwrap().len(), 1);
    let next = all["next"].as_str().unwrap();
    let rest = parsed(node.get(&format!("/v1/sessions?after={next}")), 200);
    assert_eq!(rest["sessions"].as_array().unwrap().len(), 1);
    assert!(rest["next"].is_null());
    let of_bob = &parsed(node.get("/v1/sessions?user=bob"), 200)["sessions"][0];
    assert_eq!((&of_bob["id"], &of_bob["device"]), (&json!(bob.session()), &json!("phone")));
    assert_eq!((&of_bob["rooms"], &of_bob["connected"]), (&json!(["conv 1"]), &json!(true)));
    let room = parsed(node.get("/v1/rooms/conv%201"), 200);
    assert_eq!(room["members"][0]["user"], "ann");
    assert_eq!(room["members"][1]["state"], json!({ "n": 1 }));
    parsed(node.get("/v1/rooms/nobody"), 404);
    ann.expect("room-event").await;
    let message = json!({ "data": { "notice": "hi" } });
    assert_eq!(parsed(node.post("/v1/rooms/conv%201/messages", &message), 201)["delivered"], 2);
    let notice = ann.wait_for("message").await;
    assert_eq!((&notice["data"], &notice["from"]["role"]), (&message["data"], &json!("backend")), "{notice}");
    parsed(node.post("/v1/rooms/nobody/messages", &message), 404);
    let member = format!("/v1/rooms/conv%201/members/{}", bob.session());
    assert_eq!(node.request("DELETE", &member, "").0, 204);
    let removed = bob.session().to_owned();
    for client in [&mut bob, &mut ann] {
        while client.wait_for("room-event").await["left"] != json!([removed]) {}
    }
    parsed(node.request("DELETE", &member, ""), 404);
}

#[tokio::test]
async fn revoked_users_tokens_and_sessions_are_gone_within_a_second() {
    let issuer = Issuer::new();
    let node = Node::start(&issuer, Setup::default());
    let mut ann = Client::open(&node, &issuer.token("ann", "web")).await;
    let mut pad = Client::open(&node, &issuer.token("ann", "pad")).await;
    let begun = Instant::now();
    let ended = parsed(node.post("/v1/revocations", &json!({ "sub": "ann" })), 201);
    assert_eq!(ended["ended"], 2, "{ended}");
    assert_eq!((ann.closed().await, pad.closed().await), (4403, 4403));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let mut banned = Socket::open(node.http).await;
    banned.send(&json!({ "type": "hello", "v": 1, "token": issuer.token("ann", "web") })).await;
    assert_eq!(banned.closed().await, 4403);

    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let token = issuer.sign(&json!({
        "iss": "https://auth.example/realms/m", "aud": "rtc-signal", "sub": "bob", "jti": "t-1", "iat": now,
        "exp": now + 600, "rtc": Issuer::grants("web"),
    }));
    let mut bob = Client::open(&node, &token).await;
    let ended = parsed(node.post("/v1/revocations", &json!({ "jti": "t-1", "exp": now + 600 })), 201);
    assert_eq!(ended["ended"], 1, "{ended}");
    assert_eq!(bob.closed().await, 4204);
    let mut again = Socket::open(node.http).await;
    again.send(&json!({ "type": "hello", "v": 1, "token": token })).await;
    assert_eq!(again.closed().await, 4403);

    let mut eve = Client::open(&node, &issuer.token("eve", "web")).await;
    let ended = parsed(node.post("/v1/revocations", &json!({ "session": eve.session() })), 201);
    assert_eq!(ended["ended"], 1, "{ended}");
    assert_eq!(eve.closed().await, 4204);
    Client::open(&node, &issuer.token("eve", "web")).await;
    for wrong in [
        json!({}),
        json!({ "sub": "a", "jti": "b" }),
        json!({ "session": "s_x" }),
        json!({ "sub": "a", "exp": 1 }),
    ] {
        assert_eq!(node.post("/v1/revocations", &wrong).0, 422, "{wrong}");
    }
}

#[tokio::test]
async fn a_ticket_opens_one_socket() {
    let issuer = Issuer::new();
    let node = Node::start(&issuer, Setup::default());
    let grants = json!({ "device": "tv", "rooms": { "conv-1": ["join"] }, "call": { "mode": "any" } });
    let ticket = parsed(node.post("/v1/signal/tickets", &json!({ "user": "ann", "grants": grants })), 201);
    assert_eq!(ticket["expiresIn"], 30);
    let url = format!("ws://{}/v1/signal?ticket={}", node.http, ticket["ticket"].as_str().unwrap());
    let mut socket = Socket::try_open_at(&url, [127, 0, 0, 1].into(), node.http, &[]).await.unwrap();
    socket.send(&json!({ "id": "h", "type": "hello", "v": 1 })).await;
    let crate::signal_support::Came::Frame(welcome) = socket.next().await else { panic!("closed") };
    assert_eq!((&welcome["type"], &welcome["user"]), (&json!("welcome"), &json!("ann")), "{welcome}");
    assert!(Socket::try_open_at(&url, [127, 0, 0, 1].into(), node.http, &[]).await.is_err(), "it was used");
    for wrong in [
        json!({}),
        json!({ "user": "" }),
        json!({ "user": "a", "grants": { "role": 1 } }),
        json!({ "user": "a", "sessionTtl": 5 }),
    ] {
        assert_eq!(node.post("/v1/signal/tickets", &wrong).0, 422, "{wrong}");
    }
    assert!(!node.log().contains(ticket["ticket"].as_str().unwrap()));
}

#[tokio::test]
async fn services_come_with_a_key_and_a_role() {
    let issuer = Issuer::new();
    let node = Node::start(&issuer, Setup::default());
    let url = format!("ws://{}/v1/signal?role=sfu", node.http);
    let bearer = format!("Bearer {API_KEY}");
    let headers = [("authorization", bearer.as_str())];
    let mut sfu = Socket::try_open_at(&url, [127, 0, 0, 1].into(), node.http, &headers).await.unwrap();
    sfu.send(&json!({ "id": "h", "type": "hello", "v": 1, "device": "worker-1" })).await;
    let crate::signal_support::Came::Frame(welcome) = sfu.next().await else { panic!("closed") };
    assert_eq!(welcome["type"], "welcome", "{welcome}");
    sfu.send(&json!({ "id": "j", "type": "join", "room": "conv-1" })).await;
    let crate::signal_support::Came::Frame(joined) = sfu.next().await else { panic!("closed") };
    assert_eq!(joined["type"], "ok", "{joined}");
    let mut ann = Client::open(&node, &issuer.token("ann", "web")).await;
    let room = ann.request(json!({ "type": "join", "room": "conv-1" })).await;
    assert_eq!(room["room"]["members"][0]["role"], "sfu", "{room}");
    let row = &parsed(node.get("/v1/sessions?limit=10"), 200)["sessions"];
    assert!(row.as_array().unwrap().iter().any(|row| row["role"] == "sfu"), "{row}");
    let wrong = [("authorization", "Bearer iw_signal00_wrong-key-of-43-characters-for-black-box-tests")];
    assert!(Socket::try_open_at(&url, [127, 0, 0, 1].into(), node.http, &wrong).await.is_err());
}

#[tokio::test]
async fn revoked_credentials_are_replaced_at_once() {
    let issuer = Issuer::new();
    let node = Node::start(&issuer, Setup::default());
    let mut grants = Issuer::grants("web");
    grants["turn"] = json!({ "use": true });
    let mut ann = Client::open(&node, &issuer.token_with("ann", grants.clone())).await;
    let mut bob = Client::open(&node, &issuer.token_with("bob", grants)).await;
    let before = ann.welcome["iceServers"][1]["username"].clone();
    let (status, body) = node.post("/v1/turn/revocations", &json!({ "user": "ann" }));
    assert_eq!(status, 201, "{body}");
    let pushed = ann.expect("ice-servers").await;
    assert_eq!(pushed["reason"], "revoked", "{pushed}");
    assert_ne!(pushed["iceServers"][1]["username"], before);
    bob.expect_silence(Duration::from_millis(300)).await;
}
