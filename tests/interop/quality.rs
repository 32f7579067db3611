//! The quality of a real call as the relay sees it in passing, on a path that loses packets.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::aiortc::python;
use crate::browser;
use crate::support::{Server, Setup, Tool};

/// Of a hundred media packets of the caller.
const LOST_OF_HUNDRED: u64 = 10;
/// Each media packet of the caller is late by up to so much in one of the tests.
const LATE_MAX: Duration = Duration::from_millis(24);
const SECONDS: u64 = 13;
/// Beside those in which the call is set up and tried: an interval of each stream has to be over.
const CHROMIUM_SECONDS: u64 = 7;
const LIMIT: Duration = Duration::from_secs(100);

#[test]
fn the_relay_sees_the_loss_that_the_receiver_sees() {
    let server = Server::start(Setup::default().with("quality.sample", 1));
    let path = LossyPath::to(server.address(), Duration::ZERO);
    let plan = json!({
        "caller": ice_server(&server, path.address, "lossy"), "callee": ice_server(&server, server.address(), "clean"),
        "seconds": SECONDS,
    });
    let mut command = python("quality.py");
    command.arg(plan.to_string());
    let run = Tool::run(command, server.directory(), "aiortc", LIMIT);
    assert!(run.status.success(), "{}", run.output);
    let findings: Value = serde_json::from_str(run.output.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {}", run.output));

    let told = server.get("/v1/quality").expect(200).json();
    let heard = |label: &str, way: &str| {
        let labels = told["labels"].as_array().unwrap();
        let found =
            labels.iter().find(|one| one["label"] == label).unwrap_or_else(|| panic!("no {label}: {told}"));
        found[way].clone()
    };
    let [passed, dropped] = path.counts();
    let lossy = heard("lossy", "toPeer");
    let (packets, lost) = (lossy["packets"].as_u64().unwrap(), lossy["lost"].as_u64().unwrap());
    println!("path: {passed} passed, {dropped} dropped; relay: {lossy}; getStats: {findings}");
    // The first packets of a stream prove that it is one, and the last interval may be too short to count.
    let about = |one: u64, other: u64, off: u64| one.abs_diff(other) <= off;
    assert!(about(packets, passed + dropped, (passed + dropped) / 10), "{packets} of {}", passed + dropped);
    let truth = dropped as f64 / (passed + dropped) as f64;
    let seen = lossy["lossRatio"].as_f64().unwrap();
    assert!(lost > 20 && (seen - truth).abs() < 0.02, "{seen} is seen where {truth} is lost");

    let (mut came, mut missing) = (0.0, 0.0);
    for counts in findings["callee"].as_object().unwrap().values() {
        came += counts[0].as_f64().unwrap();
        missing += counts[1].as_f64().unwrap();
    }
    let received = missing / (came + missing);
    assert!((seen - received).abs() < 0.03, "{seen} at the relay, {received} by getStats: {findings}");

    // The same packets miss on the way to the callee; nothing else is lost on this machine.
    let clean = heard("clean", "toClient")["lossRatio"].as_f64().unwrap();
    assert!((clean - seen).abs() < 0.02, "{told}");
    let back = heard("clean", "toPeer");
    assert!(back["lossRatio"].as_f64().unwrap() < 0.01, "{told}");
    let jitter = back["jitterSeconds"].as_f64().unwrap_or_else(|| panic!("no jitter: {told}"));
    assert!(jitter < 0.1, "{jitter}");
    assert!(server.metric("iceway_call_quality_loss_ratio_count", &["direction=\"to_peer\""]) >= 4.0);
    assert!(
        server.metric("iceway_call_quality_lost_packets_total", &["direction=\"to_peer\""]) >= lost as f64
    );
}

#[test]
fn what_chromium_says_of_loss_and_jitter_is_what_the_relay_saw() {
    let server = Server::start(Setup::default().with("quality.sample", 1));
    let path = LossyPath::to(server.address(), LATE_MAX);
    let side = |at, label| {
        let server = ice_server(&server, at, label);
        json!({"iceServers": [server], "iceTransportPolicy": "relay"})
    };
    let sides = [side(path.address, "lossy"), side(server.address(), "clean")];
    let findings = browser::call_for(&server, &sides, CHROMIUM_SECONDS);
    let told = server.get("/v1/quality").expect(200).json();
    let heard = |label: &str, way: &str| {
        let found = told["labels"].as_array().unwrap().iter().find(|one| one["label"] == label);
        found.unwrap_or_else(|| panic!("no {label}: {told}"))[way].clone()
    };
    let [passed, dropped] = path.counts();
    let [caller, callee] = [&findings["received"][0], &findings["received"][1]];
    println!("path: {passed} passed, {dropped} dropped; relay: {told}; getStats: {callee}");
    let number =
        |value: &Value, name: &str| value[name].as_f64().unwrap_or_else(|| panic!("no {name}: {value}"));

    let lossy = heard("lossy", "toPeer");
    let (seen, jitter) = (number(&lossy, "lossRatio"), number(&lossy, "jitterSeconds"));
    let truth = dropped as f64 / (passed + dropped) as f64;
    assert!((seen - truth).abs() < 0.05, "{seen} is seen where {truth} is lost");
    // A voice is not sent again when it is lost, so that what Chromium counts is what the path did.
    let audio = &callee["audio"];
    let (came, missing) = (number(audio, "packetsReceived"), number(audio, "packetsLost"));
    let received = missing / (came + missing);
    assert!((seen - received).abs() < 0.05, "{seen} at the relay, {received} by getStats: {callee}");

    let mean = |of: &Value| {
        let all = ["audio", "video"].iter().flat_map(|kind| of[kind]["jitters"].as_array().unwrap());
        let all: Vec<f64> = all.filter_map(Value::as_f64).filter(|jitter| *jitter > 0.0).collect();
        all.iter().sum::<f64>() / all.len().max(1) as f64
    };
    let (told_by_callee, told_by_caller) = (mean(callee), mean(caller));
    // A busy machine delays Chromium more than the relay: it is the path's 8 ms that both must have seen.
    assert!(jitter > 0.004, "{jitter} at the relay");
    assert!((jitter - told_by_callee).abs() < 0.012, "{jitter} at the relay, {told_by_callee} by getStats");
    let back = number(&heard("clean", "toPeer"), "jitterSeconds");
    assert!(back < jitter && (back - told_by_caller).abs() < 0.012, "{back} and {told_by_caller}: {caller}");
}

#[test]
fn nothing_is_measured_unless_it_is_asked_for() {
    let server = Server::start(Setup::default());
    let told = server.get("/v1/quality").expect(200).json();
    assert_eq!(told, json!({"labels": [], "nodes": [], "unanswered": []}));
    assert_eq!(server.metric("iceway_call_quality_packets_total", &[]), 0.0);
}

/// A credential with a label, for clients that reach the server there.
fn ice_server(server: &Server, at: SocketAddr, label: &str) -> Value {
    let made =
        server.post("/v1/turn/credentials", &json!({"user": label, "label": label})).expect(201).json();
    let turn = &made["iceServers"][1];
    json!({
        "urls": [format!("turn:{at}?transport=udp")], "username": turn["username"], "credential": turn["credential"],
    })
}

/// A way to a server on which media gets lost, but nothing that comes back and no request.
struct LossyPath {
    address: SocketAddr,
    counts: Arc<[AtomicU64; 2]>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LossyPath {
    fn to(server: SocketAddr, late_max: Duration) -> Self {
        let inner = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        inner.set_nonblocking(true).unwrap();
        let address = inner.local_addr().unwrap();
        let (counts, is_over) = (Arc::<[AtomicU64; 2]>::default(), Arc::<AtomicBool>::default());
        let (counted, ended) = (Arc::clone(&counts), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || carry(&inner, server, late_max, &counted, &ended));
        Self { address, counts, is_over, thread: Some(thread) }
    }

    /// Media packets that passed, and that were dropped.
    fn counts(&self) -> [u64; 2] {
        [0, 1].map(|place| self.counts[place].load(Ordering::Relaxed))
    }
}

impl Drop for LossyPath {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of its own has been shown.
            drop(thread.join());
        }
    }
}

fn carry(
    inner: &UdpSocket,
    server: SocketAddr,
    late_max: Duration,
    counts: &[AtomicU64; 2],
    is_over: &AtomicBool,
) {
    let mut outer: HashMap<SocketAddr, UdpSocket> = HashMap::new();
    // In the order they came: none overtakes another.
    let mut late: VecDeque<(Instant, SocketAddr, Vec<u8>)> = VecDeque::new();
    let mut buffer = [0; 65_536];
    let mut drawn: u64 = 7;
    let mut draw = || {
        drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        drawn >> 33
    };
    while !is_over.load(Ordering::Relaxed) {
        let mut is_idle = true;
        while let Ok((length, client)) = inner.recv_from(&mut buffer) {
            is_idle = false;
            let packet = &buffer[..length];
            if is_media(packet) {
                let is_lost = draw() % 100 < LOST_OF_HUNDRED;
                counts[usize::from(is_lost)].fetch_add(1, Ordering::Relaxed);
                if is_lost {
                    continue;
                }
            }
            let socket = outer.entry(client).or_insert_with(|| {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                socket.connect(server).unwrap();
                socket.set_nonblocking(true).unwrap();
                socket
            });
            if is_media(packet) && !late_max.is_zero() {
                let by = late_max.mul_f64((draw() % 1000) as f64 / 1000.0);
                late.push_back((Instant::now() + by, client, packet.to_vec()));
                continue;
            }
            // A full buffer would lose it as well, and be seen as a difference.
            drop(socket.send(packet));
        }
        while let Some((_, client, packet)) = late.pop_front_if(|(at, ..)| *at <= Instant::now()) {
            if let Some(socket) = outer.get(&client) {
                drop(socket.send(&packet));
            }
        }
        for (client, socket) in &outer {
            while let Ok(length) = socket.recv(&mut buffer) {
                is_idle = false;
                drop(inner.send_to(&buffer[..length], client));
            }
        }
        if is_idle {
            std::thread::sleep(Duration::from_micros(500));
        }
    }
}

/// RTP in ChannelData.
fn is_media(packet: &[u8]) -> bool {
    matches!(packet, [0x40..=0x4f, _, _, _, 128..=191, kind, ..] if !(192..=223).contains(kind))
}
