//! One node with a file: killed at random instants, it reopens with everything it acknowledged.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::nodes::Issued;
use crate::support::random::Random;
use crate::support::server::API_KEY;
use crate::support::{Http, Server, Setup};

const KILLS: u32 = 8;
/// The longest that a node is left alive between two kills, from when it is ready.
const LIFE_MAX_MILLIS: usize = 700;
const WRITERS: usize = 3;

/// What the API said is done.
#[derive(Default)]
struct Acknowledged {
    revoked: Vec<String>,
    api_keys: Vec<String>,
    secrets: Vec<String>,
}

#[test]
fn killed_at_random_instants_it_has_everything_it_acknowledged() {
    let mut random = Random::new();
    let file = crate::support::server::TestDirectory::new("store");
    let path = format!("{:?}", file.path().join("iceway.redb"));
    let mut server = Server::start(Setup::default().with("store.path", path));
    let acknowledged = Mutex::new(Acknowledged::default());
    for round in 0..KILLS {
        let life = Duration::from_millis(random.below(LIFE_MAX_MILLIS) as u64);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (acknowledged, stop, http) = (&acknowledged, &stop, server.http);
                scope.spawn(move || write(http, &format!("{round}-{writer}"), stop, acknowledged));
            }
            sleep(life);
            server.kill();
            stop.store(true, Ordering::Relaxed);
        });
        server.restart();
        check(&server, &acknowledged.lock().unwrap());
    }
    let acknowledged = acknowledged.lock().unwrap();
    eprintln!(
        "{} revocations, {} API keys, {} secrets outlived {KILLS} kills",
        acknowledged.revoked.len(),
        acknowledged.api_keys.len(),
        acknowledged.secrets.len()
    );
    assert!(acknowledged.revoked.len() > 20, "too little was written to prove anything");
}

/// Writes as fast as answers come until the node is gone.
fn write(http: std::net::SocketAddr, who: &str, stop: &AtomicBool, acknowledged: &Mutex<Acknowledged>) {
    for number in 0_u32.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("{who}-{number}");
        let post = |path: &str, body: &Value| Http::post(http, path).key(API_KEY).json(body).try_send();
        let Ok(reply) = post("/v1/turn/revocations", &json!({ "user": name })) else { return };
        reply.expect(201);
        acknowledged.lock().unwrap().revoked.push(name.clone());
        if number % 5 == 0 {
            let Ok(reply) = post("/v1/api-keys", &json!({ "name": name, "scopes": ["read"] })) else {
                return;
            };
            let id = reply.expect(201).json()["id"].as_str().unwrap().to_owned();
            acknowledged.lock().unwrap().api_keys.push(id);
        }
        // There may be 16 in all.
        if number == 0 && who.ends_with("-0") {
            let Ok(reply) = post("/v1/turn/secrets", &json!({ "id": who })) else { return };
            let id = reply.expect(201).json()["id"].as_str().unwrap().to_owned();
            acknowledged.lock().unwrap().secrets.push(id);
        }
    }
}

fn check(server: &Server, acknowledged: &Acknowledged) {
    let secrets = ids(&server.get("/v1/turn/secrets").expect(200).json()["secrets"]);
    for id in &acknowledged.secrets {
        assert!(secrets.contains(id), "secret {id} is gone");
    }
    let keys = ids(&server.get("/v1/api-keys").expect(200).json()["apiKeys"]);
    for id in &acknowledged.api_keys {
        assert!(keys.contains(id), "API key {id} is gone");
    }
    // A plain credential of a revoked user is refused, whoever made it; asked for the youngest and one of each age.
    for user in acknowledged.revoked.iter().rev().take(5).chain(acknowledged.revoked.iter().step_by(40)) {
        let (username, password) = crate::support::server::time_limited_credential(user);
        let issued = Issued { username, password, answer: Value::Null };
        assert_eq!(issued.client(server).allocate(), Err(401), "the revocation of {user} is gone");
    }
}

fn ids(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("not a list: {list}"));
    list.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}
