//! The backend that is told what happens, and is not there at first.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};

use super::scene::{Scene, call, unlimited};
use crate::signal_support::{Setup, until};
use crate::support::server::TestDirectory;

const SECRET: &str = "a-secret-of-webhooks-for-tests";
const CALLS: usize = 20;
/// Requests that are answered 503 once it is there.
const REFUSED: u32 = 10;
/// The lease of a killed node, and retries.
const DELIVERED: Duration = Duration::from_secs(60);

#[tokio::test]
async fn events_of_calls_outlast_a_receiver_that_is_down_and_a_node_that_is_killed() {
    let directory = TestDirectory::new("webhooks");
    let port = crate::support::ports::free_port();
    let mut scene = Scene::start(2, told(&directory, port)).await;
    for number in 0..CALLS {
        let (caller, callee) = (format!("ann-{number}"), format!("bob-{number}"));
        let mut ann = scene.client(0, &caller, "web").await;
        let mut bob = scene.client(1, &callee, "web").await;
        scene.wait_until_known(0, &callee).await;
        let id = format!("c_{number}");
        call(&mut ann, &mut bob, &callee, &id).await;
        ann.request(json!({ "type": "call-hangup", "call": id, "reason": "user" })).await;
        bob.expect("call-hangup").await;
        ann.send(json!({ "type": "bye" })).await;
        bob.send(json!({ "type": "bye" })).await;
    }
    scene.nodes[0].kill();

    let received = receive(port);
    until("every call is told to its end", DELIVERED, || {
        let calls = by_call(&received);
        calls.len() == CALLS
            && calls.values().all(|steps| steps.last().is_some_and(|step| step.1 == "call.ended"))
    })
    .await;
    for (id, steps) in by_call(&received) {
        let kinds: Vec<&str> = steps.iter().map(|(_, kind)| kind.as_str()).collect();
        assert_eq!(kinds, ["call.created", "call.ringing", "call.answered", "call.ended"], "{id}");
        let numbers: Vec<u64> = steps.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 2, 3, 4], "{id} in order");
    }
}

fn told(directory: &TestDirectory, port: u16) -> Setup {
    use std::os::unix::fs::PermissionsExt;
    let file = directory.path().join("webhook-secret");
    std::fs::write(&file, SECRET).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    unlimited()
        .with("webhooks.url", format!("\"http://127.0.0.1:{port}/events\""))
        .with("webhooks.secret_file", format!("{file:?}"))
        .with("webhooks.retries", r#"["1s", "1s"]"#)
        .with("webhooks.events", r#"["call.*"]"#)
}

/// Number and type of each event, by call; what came twice counts once.
fn by_call(received: &Mutex<Vec<Value>>) -> BTreeMap<String, Vec<(u64, String)>> {
    let mut calls: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    for event in received.lock().unwrap().iter() {
        let id = event["call"]["id"].as_str().unwrap_or_else(|| panic!("{event}"));
        let step = (event["callSeq"].as_u64().unwrap(), event["type"].as_str().unwrap().to_owned());
        let steps = calls.entry(id.to_owned()).or_default();
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    calls
}

/// Takes events from now on, after it refused some.
fn receive(port: u16) -> Arc<Mutex<Vec<Value>>> {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let received = Arc::new(Mutex::new(Vec::new()));
    let (kept, refused) = (Arc::clone(&received), Arc::new(AtomicU32::new(0)));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (kept, refused) = (Arc::clone(&kept), Arc::clone(&refused));
            std::thread::spawn(move || take(&stream, &kept, &refused));
        }
    });
    received
}

/// Reads requests of a connection, checks their signatures and answers.
fn take(stream: &TcpStream, kept: &Mutex<Vec<Value>>, refused: &AtomicU32) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut headers = BTreeMap::new();
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) <= 2 {
                break;
            }
            if let Some((name, value)) = line.trim_end().split_once(": ") {
                headers.insert(name.to_ascii_lowercase(), value.to_owned());
            }
        }
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let is_refused = refused.fetch_add(1, Ordering::Relaxed) < REFUSED;
        let status = if is_refused { "503 Service Unavailable" } else { "204 No Content" };
        if !is_refused {
            assert!(is_signed(&headers, &body), "{headers:?}");
            kept.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
        }
        let mut stream = stream;
        if write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

/// As the Standard Webhooks specification has it, worked out here.
fn is_signed(headers: &BTreeMap<String, String>, body: &[u8]) -> bool {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{}.{}.", headers["webhook-id"], headers["webhook-timestamp"]).as_bytes());
    mac.update(body);
    let wanted = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    headers["webhook-signature"].split(' ').any(|signature| signature == wanted)
}
