//! What sessions of the signaling relay cost: memory while idle, allocations for each frame.

#![allow(clippy::unwrap_used)]

mod counting_allocator;
#[path = "signal_support_core/mod.rs"]
mod support;

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use counting_allocator::{CountingAllocator, allocations_during, bytes_held};
use iceway::signaling::{
    Client, ConnectionId, Decision, Frame, Next, NodeName, Output, Server, Setup, UserId, Written,
};
use support::World;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// The core's share of the 8 KiB that an idle socket may take in the process.
const IDLE_BYTES_MAX: i64 = 1600;
/// What every other node keeps of a session: its place in the directory, its user's name and device.
const REMOTE_BYTES_MAX: i64 = 440;
/// Tail and its sharing, the text that is written: what must be kept, and little more.
const MESSAGE_ALLOCATIONS_MAX: u64 = 6;

fn drain(server: &mut Server, world_now: iceway::signaling::Now, texts: &mut Vec<String>) {
    while let Some(output) = server.poll_output() {
        match output {
            Output::Wake(connection) => {
                if server.poll_connection(world_now, connection, texts) == Written::Ping {
                    server.handle_alive(world_now, connection);
                }
            }
            Output::Event(event) => server.handle_recorded(world_now, event.number),
            Output::ToNode { .. } | Output::IceServers { .. } => {}
        }
    }
}

/// A relay with so many sessions, each of a user of its own.
fn relay_with(sessions: u64) -> (World, i64) {
    let mut world = World::new();
    let mut options = iceway::signaling::Options::default();
    options.limits.connects_per_address = 0;
    options.limits.frames_per_second = 0;
    options.limits.bytes_per_second = 0;
    world.server.set_options(options);
    let client = Client { address: IpAddr::V4(Ipv4Addr::LOCALHOST) };
    let mut texts = Vec::new();
    let before = bytes_held();
    for index in 0..sessions {
        let connection = ConnectionId(index);
        world.now.monotonic = world.now.monotonic.after(Duration::from_millis(1));
        let now = world.now;
        world.server.handle_open(now, connection, client, None).unwrap();
        let hello = r#"{"id":"1","type":"hello","v":1,"token":"t","device":"web-1234"}"#;
        let next = world.server.handle_frame(now, connection, Frame::read(hello), hello.len());
        assert!(matches!(next, Next::Ask(_)));
        let identity = world.identity_of(&format!("user-{index:06}"));
        world.server.handle_decision(now, connection, Decision::Identity(Ok(Box::new(identity))));
        drain(&mut world.server, now, &mut texts);
        texts.clear();
    }
    // A heartbeat later they are idle.
    let end = world.now.monotonic.after(Duration::from_secs(26));
    while let Some(deadline) = world.server.deadline().filter(|deadline| *deadline <= end) {
        world.now.monotonic = deadline.max(world.now.monotonic);
        world.server.handle_timeout(world.now);
        drain(&mut world.server, world.now, &mut texts);
    }
    drop(texts);
    let held = bytes_held() - before;
    (world, held)
}

#[test]
fn an_idle_session_takes_little_memory() {
    const SESSIONS: u64 = 10_000;
    let (_world, held) = relay_with(SESSIONS);
    let each = held / SESSIONS as i64;
    println!("an idle session: {each} bytes");
    assert!(each < IDLE_BYTES_MAX, "{each} bytes");
}

#[test]
fn a_session_of_another_node_takes_little_memory() {
    const SESSIONS: u64 = 10_000;
    let (mut world, _) = relay_with(SESSIONS);
    let (home, other) = (NodeName("n1".into()), NodeName("n2".into()));
    let (home_run, other_run) = (1, 1);
    let mut server = Server::new(Setup {
        options: iceway::signaling::Options::default(),
        node: other.clone(),
        run: other_run,
        key: zeroize::Zeroizing::new([2; 32]),
    });
    world.server.handle_bus(world.now, true);
    server.handle_bus(world.now, true);
    world.server.handle_node_up(world.now, &other, other_run);
    server.handle_node_up(world.now, &home, home_run);
    // Pages of what there is, and acknowledgements, until there is no more to say.
    let mut quiet = 0;
    while quiet < 20 {
        let sent = pass(&mut world.server, world.now, &mut server, &home, home_run)
            + pass(&mut server, world.now, &mut world.server, &other, other_run);
        quiet = if sent == 0 { quiet + 1 } else { 0 };
        world.now.monotonic = world.now.monotonic.after(Duration::from_millis(50));
        world.server.handle_timeout(world.now);
        server.handle_timeout(world.now);
    }
    for index in 0..SESSIONS {
        let user = UserId::parse(&format!("user-{index:06}")).unwrap();
        assert_eq!(server.sessions_of(world.now, &user).len(), 1, "{user:?} is known there");
    }
    drop(world);
    let with = bytes_held();
    drop(server);
    let each = (with - bytes_held()) / SESSIONS as i64;
    println!("a session of another node: {each} bytes");
    assert!(each < REMOTE_BYTES_MAX, "{each} bytes");
}

/// Carries what one node has for the other; says how many packets.
fn pass(from: &mut Server, now: iceway::signaling::Now, to: &mut Server, name: &NodeName, run: u64) -> usize {
    let mut sent = 0;
    while let Some(output) = from.poll_output() {
        if let Output::ToNode { bytes, .. } = output {
            sent += 1;
            to.handle_link(now, name, run, &bytes);
        }
    }
    sent
}

#[test]
fn a_message_allocates_only_what_is_kept() {
    let (mut world, _) = relay_with(2);
    let now = world.now;
    let data = "x".repeat(1000);
    let text = format!(r#"{{"type":"message","to":{{"user":"user-000001"}},"data":"{data}"}}"#);
    let mut texts = Vec::with_capacity(4);
    let mut relay = |seq: u64| {
        let next = world.server.handle_frame(now, ConnectionId(0), Frame::read(&text), text.len());
        assert!(matches!(next, Next::More));
        drain(&mut world.server, now, &mut texts);
        assert_eq!(texts.len(), 1);
        texts.clear();
        let ack = format!(r#"{{"type":"ack","seq":{seq}}}"#);
        world.server.handle_frame(now, ConnectionId(1), Frame::read(&ack), ack.len());
    };
    (1..50).for_each(&mut relay);
    let (allocations, ()) = allocations_during(|| relay(50));
    println!("a message: {allocations} allocations, one of them the test's");
    assert!(allocations <= MESSAGE_ALLOCATIONS_MAX, "{allocations}");
}
