//! What signaling does when the clock jumps: nodes that are started again, tokens, sessions to be resumed, and webhooks.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::clock::Shim;
use crate::signal_support::{Client, Issuer, Node, Setup, until};
use crate::support::server::TestDirectory;
use crate::support_redis::Redis;

const HOUR: i64 = 3600;
const SECRET: &str = "a-secret-of-webhooks-for-tests";
/// A silent run is given up after 5 seconds; heartbeats come every 2.
const MEET_LIMIT: Duration = Duration::from_secs(14);

#[tokio::test]
async fn a_node_that_is_started_again_after_its_clock_went_back_is_heard() {
    let (redis, clock, issuer) = (Redis::start(), Shim::build(), Issuer::new());
    let right = Node::start(&issuer, Setup::default().unlimited().in_cluster("right", &redis.url()));
    let start = || {
        let words = clock.words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let setup = Setup::default().unlimited().in_cluster("other", &redis.url());
        Node::start(&issuer, setup.run_by(&words))
    };
    let mut ann = Client::open(&right, &issuer.token("ann", "web")).await;
    // It begins with a clock that is an hour ahead, which is set right while it runs.
    clock.set(HOUR);
    let mut other = start();
    clock.set(0);
    until("they know one another", MEET_LIMIT, || right.known_nodes() == 2 && other.known_nodes() == 2).await;
    talk(&mut ann, &other, &issuer, "bob-1").await;
    for (user, is_told_to_end) in [("bob-2", false), ("bob-3", true)] {
        if is_told_to_end {
            other.signal(Signal::SIGTERM);
            until("it has ended", MEET_LIMIT, || other.has_ended()).await;
        } else {
            other.kill();
        }
        other = start();
        talk(&mut ann, &other, &issuer, user).await;
        assert_eq!(right.known_nodes(), 2);
    }
    let told: Vec<String> = right
        .log()
        .lines()
        .filter(|line| line.contains("a clock behind the one"))
        .map(str::to_owned)
        .collect();
    let [line] = told.as_slice() else { panic!("once a minute: {told:?}") };
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["level"], &line["node"]), (&json!("WARN"), &json!("other")), "{line}");
    assert!(line["mend"].as_str().unwrap().contains("timedatectl"), "{line}");
    assert!((3500..3600).contains(&line["seconds"].as_u64().unwrap()), "{line}");
}

/// Both ways, between a client and one that comes to another node.
async fn talk(ann: &mut Client, other: &Node, issuer: &Issuer, user: &str) {
    let mut bob = Client::open(other, &issuer.token(user, "web")).await;
    let deadline = Instant::now() + MEET_LIMIT;
    loop {
        let answer = ann.answer_to(message(user, 1)).await;
        if answer["type"] == "ok" {
            break;
        }
        assert!(Instant::now() < deadline, "{answer}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(bob.expect("message").await["data"], 1);
    bob.request(message("ann", 2)).await;
    assert_eq!(ann.expect("message").await["data"], 2);
}

#[tokio::test]
async fn sessions_outlast_a_jump_and_tokens_are_judged_by_the_clock_of_now() {
    let (clock, issuer) = (Shim::build(), Issuer::new());
    let words = clock.words();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let node = Node::start(&issuer, Setup::default().unlimited().run_by(&words));
    let token = |user: &str, offset: i64| token_at(&issuer, user, offset);
    let mut ann = Client::open(&node, &token("ann", 0)).await;
    let mut bob = Client::open(&node, &token("bob", 0)).await;
    let mut eve = Client::open(&node, &token("eve", 0)).await;
    for (offset, before) in [(5 * HOUR, 0), (-5 * HOUR, 5 * HOUR), (0, -5 * HOUR)] {
        let (session, mut bob_lost, eve_lost) = (bob.session().to_owned(), bob.lose(), eve.lose());
        clock.set(offset);
        // Whoever is connected notices nothing.
        ann.request(json!({ "type": "message", "to": { "session": session }, "data": offset })).await;
        ann.expect_silence(Duration::from_millis(300)).await;
        // The token of before is over, or not good yet.
        let refused = bob_lost.try_resume(&node).await.err().unwrap();
        let code = if offset > before { "token-expired" } else { "token-not-yet-valid" };
        assert_eq!(refused["code"], code, "{before} to {offset}: {refused}");
        let stale = ann.answer_to(json!({ "type": "auth-refresh", "token": token("ann", before) })).await;
        assert_eq!(stale["type"], "error", "{stale}");
        // A new one resumes the session that lost its socket just now, whole; and renews those that go on.
        bob_lost.token = token("bob", offset);
        bob = bob_lost.resume(&node).await;
        assert_eq!(bob.session(), session);
        assert_eq!(bob.expect("message").await["data"], offset);
        let renewed = ann.request(json!({ "type": "auth-refresh", "token": token("ann", offset) })).await;
        assert!((3500..=3600).contains(&renewed["tokenExpiresIn"].as_i64().unwrap()), "{renewed}");
        // Whoever comes back a little later too.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut eve_lost = eve_lost;
        eve_lost.token = token("eve", offset);
        eve = eve_lost.resume(&node).await;
        // Calls are set up as before.
        ann.request(offer(&format!("c_{}", offset + 6 * HOUR), "bob")).await;
        let call = bob.expect("call-offer").await["call"].clone();
        ann.request(json!({ "type": "call-hangup", "call": call, "reason": "user" })).await;
        bob.expect("call-cancelled").await;
    }
    let named = |words: &str| node.log().lines().filter(|line| line.contains(words)).count();
    assert_eq!([named("jumped forwards"), named("jumped backwards"), named("ERROR")], [2, 1, 0]);
}

#[tokio::test]
async fn webhooks_are_neither_poured_out_nor_held_up_by_a_jump() {
    let (clock, issuer, directory) = (Shim::build(), Issuer::new(), TestDirectory::new("clock-webhooks"));
    let receiver = Receiver::start();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let words = clock.words();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let setup = Setup::default()
        .unlimited()
        .with("webhooks.url", format!("\"http://127.0.0.1:{}/events\"", receiver.port))
        .with("webhooks.secret_file", format!("{secret:?}"))
        .with("webhooks.retries", r#"["1s"]"#)
        .with("webhooks.events", r#"["call.created"]"#);
    let node = Node::start(&issuer, setup.run_by(&words));
    let mut ann = Client::open(&node, &issuer.token("ann", "web")).await;
    let _bob = Client::open(&node, &issuer.token("bob", "web")).await;
    ann.request(offer("c_0", "bob")).await;
    until("it is tried", MEET_LIMIT, || !receiver.taken().is_empty()).await;
    for (number, offset) in [5 * HOUR, -5 * HOUR, 0].into_iter().enumerate() {
        clock.set(offset);
        // What was on its way has come.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let before = receiver.taken().len();
        tokio::time::sleep(Duration::from_millis(3000)).await;
        let taken = receiver.taken();
        // A wait of a second is drawn out by chance, by a quarter at most.
        let tries = taken.len() - before;
        let events = number + 1;
        assert!((2 * events..=4 * events).contains(&tries), "{tries} tries of {events} at {offset}");
        let now = unix_seconds() + offset;
        for attempt in &taken[before..] {
            assert!((now - 6..=now + 1).contains(&attempt.timestamp), "{} at {now}", attempt.timestamp);
        }
        ann.request(offer(&format!("c_{}", number + 1), "bob")).await;
    }
    receiver.takes.store(true, Ordering::Relaxed);
    let calls = |taken: &[Attempt]| {
        let mut calls: Vec<String> =
            taken.iter().filter(|it| it.is_taken).map(|it| it.call.clone()).collect();
        calls.sort_unstable();
        calls
    };
    until("all of them arrive", MEET_LIMIT, || calls(&receiver.taken()).len() >= 4).await;
    assert_eq!(calls(&receiver.taken()), ["c_0", "c_1", "c_2", "c_3"], "each once");
    assert_eq!(node.metric("iceway_webhook_given_up_total", &[]), 0.0);
}

fn unix_seconds() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// A token of an hour, issued by a clock that is so many seconds ahead.
fn token_at(issuer: &Issuer, user: &str, offset: i64) -> String {
    let now = unix_seconds() + offset;
    issuer.sign(&json!({
        "iss": "https://auth.example/realms/m", "aud": "rtc-signal", "sub": user, "iat": now, "exp": now + HOUR,
        "rtc": Issuer::grants("web"),
    }))
}

fn message(user: &str, number: u32) -> Value {
    json!({ "type": "message", "to": { "user": user }, "data": number })
}

fn offer(call: &str, user: &str) -> Value {
    json!({
        "type": "call-offer", "call": call, "to": { "user": user }, "media": ["audio"],
        "data": { "type": "offer", "sdp": "v=0" },
    })
}

/// A request to a backend, whose signature was right.
#[derive(Clone)]
struct Attempt {
    call: String,
    timestamp: i64,
    is_taken: bool,
}

/// A backend that answers 503 until it takes what comes.
struct Receiver {
    port: u16,
    takes: Arc<AtomicBool>,
    attempts: Arc<Mutex<Vec<Attempt>>>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (takes, attempts) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let shared = (Arc::clone(&takes), Arc::clone(&attempts));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (takes, attempts) = shared.clone();
                std::thread::spawn(move || while answer(&stream, &takes, &attempts).is_some() {});
            }
        });
        Self { port, takes, attempts }
    }

    fn taken(&self) -> Vec<Attempt> {
        self.attempts.lock().unwrap().clone()
    }
}

/// Answers one request; `None` at the end of the connection.
fn answer(mut stream: &TcpStream, takes: &AtomicBool, attempts: &Mutex<Vec<Attempt>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut headers = BTreeMap::new();
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 2 {
        if let Some((name, value)) = line.trim_end().split_once(": ") {
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        line.clear();
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    let timestamp = headers["webhook-timestamp"].parse().unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{}.{timestamp}.", headers["webhook-id"]).as_bytes());
    mac.update(&body);
    assert_eq!(headers["webhook-signature"], format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())));
    let event: Value = serde_json::from_slice(&body).unwrap();
    let is_taken = takes.load(Ordering::Relaxed);
    let call = event["call"]["id"].as_str().unwrap().to_owned();
    attempts.lock().unwrap().push(Attempt { call, timestamp, is_taken });
    let status = if is_taken { "204 No Content" } else { "503 Service Unavailable" };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").ok()
}
