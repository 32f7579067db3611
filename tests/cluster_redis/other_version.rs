//! A node of another version, as in the middle of an upgrade: nobody waits for what it does not know, and nobody is alarmed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use iceway::cluster::{Answer, Ask, NodeInfo, RequestError, derive_key};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde_json::{Value, json};

use crate::{
    forgery::refused,
    node::{KEY, TestNode, run, together, unix_seconds, until},
    support_redis::Redis,
};

const NAME: &str = "other";
const VERSION: &str = "9.9.0-rc.1";
const SALT: &[u8] = b"iceway cluster";
const RUN: u64 = 1 << 60;

#[test]
fn a_node_of_another_version_says_at_once_that_it_does_not_know_a_question() {
    run(async {
        let redis = Redis::start();
        let nodes = ["a", "b"].map(|name| TestNode::start(name, &redis.url()));
        together(&nodes).await;
        let [a, b] = nodes;
        let other = Other::start(&redis.url(), a.cluster.run());
        until(|| a.nodes().len() == 3, || format!("{:?}", a.nodes())).await;
        let before = refused(&a);

        // It does not know the question, or answers in words of its own.
        for ask in [Ask::Quality, Ask::SecretsInUse] {
            let begin = Instant::now();
            let answers = a.cluster.ask_all(ask).await;
            assert!(begin.elapsed() < Duration::from_millis(800), "{:?}: it was waited for", begin.elapsed());
            let of = |name: &str| {
                answers.iter().find(|(node, _)| node == name).map(|(_, answer)| answer.clone()).unwrap()
            };
            let unknown = RequestError::NotUnderstood { node: NAME.to_owned(), version: VERSION.to_owned() };
            assert_eq!(of(NAME), Err(unknown));
            assert!(of("a").is_ok() && of("b").is_ok(), "{answers:?}");
        }
        assert_eq!(a.cluster.ask(NAME, Ask::Drain).await, Ok(Answer::Draining(3)));

        // What it asks and tells that is not known here.
        until(|| other.was_told.load(Ordering::Relaxed), || "no answer to its question".to_owned()).await;
        let unknown = || a.cluster.counters().peers.messages_unknown;
        until(|| unknown() >= 3, || unknown().to_string()).await;
        assert_eq!(refused(&a), before, "it is no forger");
        assert!(b.cluster.counters().peers.messages_unknown >= 1, "what is told to all");
    });
}

/// It knows how frames are sealed, and little else.
struct Other {
    /// Whether `a` answered that it does not know the question.
    was_told: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Other {
    fn start(url: &str, run_of_a: u64) -> Self {
        let (was_told, is_over) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (told, over) = (Arc::clone(&was_told), Arc::clone(&is_over));
        let client = redis::Client::open(url).unwrap();
        let thread = std::thread::spawn(move || converse(&client, run_of_a, &told, &over));
        Self { was_told, is_over, thread: Some(thread) }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of its own has been shown.
            drop(thread.join());
        }
    }
}

fn converse(client: &redis::Client, run_of_a: u64, was_told: &AtomicBool, is_over: &AtomicBool) {
    let mut listening = client.get_connection().unwrap();
    let mut listening = listening.as_pubsub();
    listening.subscribe(format!("iceway:{{bus-{NAME}}}")).unwrap();
    listening.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut speaking = client.get_connection().unwrap();
    let (mut sequence, mut broadcast) = (0, 0);
    let mut say = |to: Option<(&str, u64)>, message: &Value| {
        sequence += 1;
        broadcast += u64::from(to.is_none());
        let numbers = [RUN, sequence, if to.is_none() { broadcast } else { 0 }, unix_seconds() * 1000];
        let channel =
            to.map_or_else(|| "iceway:{bus}".to_owned(), |(node, _)| format!("iceway:{{bus-{node}}}"));
        let frame = seal(to, numbers, message);
        redis::cmd("PUBLISH").arg(channel).arg(frame).query::<u64>(&mut speaking).unwrap();
    };
    while !is_over.load(Ordering::Relaxed) {
        say(None, &json!({"heartbeat": info()}));
        say(None, &json!({"weather": {"sky": "blue"}}));
        say(Some(("a", run_of_a)), &json!({"request": {"id": 77, "ask": {"weigh": {"by": ["stone"]}}}}));
        let Ok(heard) = listening.get_message() else { continue };
        let message = open(heard.get_payload_bytes());
        was_told.fetch_or(message == json!({"not_understood": {"id": 77}}), Ordering::Relaxed);
        let Some(id) = message["request"]["id"].as_u64() else { continue };
        let answer = match message["request"]["ask"].as_str() {
            Some("quality") => json!({"not_understood": {"id": id}}),
            Some("drain") => json!({"reply": {"id": id, "answer": {"draining": 3}}}),
            _ => json!({"reply": {"id": id, "answer": {"in_other_words": true}}}),
        };
        say(Some(("a", run_of_a)), &answer);
    }
}

fn info() -> NodeInfo {
    NodeInfo { version: VERSION.to_owned(), ..NodeInfo::new(NAME, RUN, unix_seconds() * 1000) }
}

/// Names joined as frames are bound to them.
fn place(names: &[&[u8]]) -> Vec<u8> {
    let name = |name: &&[u8]| [&(name.len() as u64).to_be_bytes()[..], name].concat();
    names.iter().flat_map(name).collect()
}

fn key(source: &str, run: u64) -> LessSafeKey {
    let secret = derive_key(&KEY, SALT, &format!("bus {run:016x} {source}"));
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &secret[..]).unwrap())
}

fn seal(to: Option<(&str, u64)>, numbers: [u64; 4], message: &Value) -> Vec<u8> {
    let mut frame = vec![1, NAME.len() as u8];
    frame.extend_from_slice(NAME.as_bytes());
    numbers.iter().for_each(|number| frame.extend_from_slice(&number.to_be_bytes()));
    let to = to.map_or_else(|| b"*".to_vec(), |(node, run)| place(&[node.as_bytes(), &run.to_be_bytes()]));
    let mut nonce = [0; NONCE_LEN];
    nonce[4..].copy_from_slice(&numbers[1].to_be_bytes());
    let mut text = serde_json::to_vec(message).unwrap();
    let bound = Aad::from(place(&[&to, &frame]));
    key(NAME, RUN).seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound, &mut text).unwrap();
    frame.extend_from_slice(&derive_key(&KEY, SALT, "key id")[..4]);
    frame.extend_from_slice(&nonce);
    frame.extend_from_slice(&text);
    frame
}

/// What is said to this node; null if it is not JSON, as what signaling relays say is not.
fn open(frame: &[u8]) -> Value {
    let source_end = 2 + usize::from(frame[1]);
    let (header, sealed) = frame.split_at(source_end + 32);
    let source = std::str::from_utf8(&frame[2..source_end]).unwrap();
    let run = u64::from_be_bytes(frame[source_end..source_end + 8].try_into().unwrap());
    let to = place(&[NAME.as_bytes(), &RUN.to_be_bytes()]);
    let nonce = Nonce::try_assume_unique_for_key(&sealed[4..4 + NONCE_LEN]).unwrap();
    let mut text = sealed[4 + NONCE_LEN..].to_vec();
    let opened = key(source, run).open_in_place(nonce, Aad::from(place(&[&to, header])), &mut text);
    opened.ok().and_then(|plain| serde_json::from_slice(plain).ok()).unwrap_or_default()
}
