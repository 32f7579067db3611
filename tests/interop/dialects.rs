//! Credentials in the shapes that backends already know, each used for real allocations.

use serde_json::{Value, json};

use crate::support::nodes::Issued;
use crate::support::server::{API_KEY, time_limited_password};
use crate::support::{Http, Server, Setup};
use crate::{aiortc, turn_crate};

/// Cloudflare's paths have the id of a TURN key in them; here it is that of the API key.
const CLOUDFLARE: &str = "/v1/turn/keys/interop0/credentials";

#[test]
fn the_native_form_feeds_a_peer_connection() {
    let server = Server::start(Setup::default().loopback_peers());
    let request = json!({
        "user": "u-123", "ttl": 600, "label": "call:c_01J", "transports": ["udp", "tcp", "tls"],
    });
    let answer = server.post("/v1/turn/credentials", &request).expect(201);
    assert_eq!(answer.header("Cache-Control"), Some("no-store"));
    let issued = Issued::read(&answer.json());
    for scheme in ["stun:", "turn:", "turns:"] {
        assert!(issued.urls().iter().any(|url| url.starts_with(scheme)), "{scheme} {}", issued.answer);
    }
    assert!(issued.answer["expiresAt"].is_string(), "{}", issued.answer);
    assert_eq!(issued.answer["refreshAfter"], 480, "after four fifths: {}", issued.answer);
    is_used_by_every_client(&server, &issued);
}

#[test]
fn the_form_of_draft_uberti_serves_janus_and_nextcloud() {
    let server = Server::start(Setup::default().loopback_peers().with("api.allow_query_key", true));
    let query = format!("service=turn&api={API_KEY}&key={API_KEY}&username=room-42");
    let requests = [
        // Janus repeats the query in the body of its POST.
        Http::post(server.http, format!("/turn?{query}")).form(&query),
        Http::get(server.http, format!("/turn?{query}")),
        // Nextcloud Talk's signaling server and others send one `key`.
        Http::get(server.http, format!("/turn/credentials?service=turn&username=room-42&key={API_KEY}")),
        Http::post(server.http, "/turn").form(&format!("service=turn&username=room-42&key={API_KEY}")),
        Http::get(server.http, "/turn?service=turn&username=room-42").key(API_KEY),
    ];
    for request in requests {
        let answer = request.send().expect(200).json();
        let issued = uberti(&answer);
        let (expires, user) = issued.username.split_once(':').unwrap();
        assert!(expires.parse::<u64>().is_ok() && user == "room-42", "{answer}");
        assert_eq!(issued.password, time_limited_password(&issued.username), "coturn would take it too");
        issued.allocates_at(&server);
    }
    let issued = uberti(&Http::get(server.http, format!("/turn?{query}")).send().expect(200).json());
    is_used_by_every_client(&server, &issued);
}

#[test]
fn a_key_in_a_query_is_refused_unless_that_is_allowed() {
    let server = Server::start(Setup::default());
    let query = format!("service=turn&api={API_KEY}&key={API_KEY}&username=room-42");
    let requests = [
        Http::get(server.http, format!("/turn?{query}")),
        Http::post(server.http, format!("/turn?{query}")).form(&query),
    ];
    for request in requests {
        let refused = request.send();
        assert!(matches!(refused.status, 400 | 401 | 403), "{refused:?}");
        assert_eq!(refused.json()["code"], "key_in_query");
        assert!(!refused.body.contains(API_KEY), "{refused:?}");
    }
    let form = Http::post(server.http, "/turn").form(&query).send().expect(200);
    uberti(&form.json()).allocates_at(&server);
    assert!(!server.process.output().contains(API_KEY), "the key is not in the log");
}

#[test]
fn a_client_of_cloudflare_changes_nothing_but_the_host() {
    let server = Server::start(Setup::default().loopback_peers());
    let post = |what: &str, body: Value| {
        Http::post(server.http, format!("{CLOUDFLARE}/{what}")).key(API_KEY).json(&body).send()
    };
    let answer =
        post("generate-ice-servers", json!({ "ttl": 86_400, "customIdentifier": "u-123" })).expect(201);
    let issued = Issued::read(&answer.json());
    assert!(answer.json()["iceServers"].is_array(), "{answer:?}");
    is_used_by_every_client(&server, &issued);

    let legacy = post("generate", json!({ "ttl": 600 })).expect(201);
    assert!(legacy.json()["iceServers"].is_object(), "Signal's client reads an object: {legacy:?}");
    let legacy = Issued::read(&legacy.json());
    legacy.allocates_at(&server);

    let mut held = issued.client(&server);
    held.allocate().unwrap();
    let revoke = format!("{CLOUDFLARE}/{}/revoke", issued.username);
    let revoked = Http::post(server.http, revoke).key(API_KEY).send().expect(204);
    assert_eq!(revoked.body, "");
    assert_eq!(server.metric("iceway_allocations", &[]), 0.0, "its relay is cut");
    assert_eq!(held.refresh(600), Err(401));
    assert_eq!(issued.client(&server).allocate(), Err(401));
    legacy.allocates_at(&server);
}

/// The `turn` crate relays, two aiortc peers call one another.
fn is_used_by_every_client(server: &Server, issued: &Issued) {
    turn_crate::relays_both_ways(server.address(), &issued.username, &issued.password);
    let urls: Vec<String> = issued.urls().into_iter().filter(|url| url.contains("transport=udp")).collect();
    assert!(!urls.is_empty(), "{}", issued.answer);
    let ice_server = json!({ "urls": urls[..1], "username": issued.username, "credential": issued.password });
    aiortc::call(server, &ice_server);
}

/// The credential in an answer of draft-uberti's form, which must name this server.
#[track_caller]
fn uberti(answer: &Value) -> Issued {
    let text = |field: &str| answer[field].as_str().unwrap_or_else(|| panic!("{field}: {answer}")).to_owned();
    assert!(answer["ttl"].is_u64(), "{answer}");
    let answer_of_ours = json!({ "iceServers": { "urls": answer["uris"] } });
    assert!(answer["uris"].as_array().is_some_and(|uris| !uris.is_empty()), "{answer}");
    Issued { username: text("username"), password: text("password"), answer: answer_of_ours }
}
