//! What the core costs: memory per allocation, none per packet, none for strangers; and how much it answers them.

// What a helper does not expect fails the test that called it.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, clippy::print_stdout)]

mod counting_allocator;
mod support_core;

use counting_allocator::{CountingAllocator, allocations_during, bytes_held};
use iceway::{
    stun::{Method, attribute},
    turn::{ClientOutcome, Datagrams, PeerOutcome},
};
use support_core::{Client, PEER, PEER6, Request, Scene, Stage, addr, udp};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const HERE: &str = "203.0.113.5:40000";

/// An allocation with permissions and channels for both families, and datagrams to relay through it.
fn call(channels: u16) -> (Scene, Client, Vec<Vec<u8>>) {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    assert_eq!(client.ask(&mut scene, &Request::allocate().also_ipv6()).code(), 0);
    assert_eq!(client.permit(&mut scene, &[PEER, PEER6]), 0);
    assert_eq!(client.bind(&mut scene, 0x4000, PEER), 0);
    for step in 1..channels {
        assert_eq!(client.bind(&mut scene, 0x4000 + step, &format!("9.9.9.9:{step}")), 0);
    }
    let mut datagrams = vec![[&[0x40, 0, 0, 160][..], &[7; 160]].concat()];
    datagrams.extend([PEER, PEER6].map(|peer| Request::send(peer, &[7; 160]).bytes()));
    datagrams.push(Request::send(PEER, &[7; 160]).with(attribute::DONT_FRAGMENT, b"").fingerprint().bytes());
    (scene, client, datagrams)
}

#[test]
fn relaying_allocates_no_memory() {
    for channels in [1, 40] {
        let (mut scene, client, datagrams) = call(channels);
        let from_peers: Vec<_> = [PEER, PEER6, "93.184.216.34:9", "9.9.9.9:9", "8.8.8.8:1"]
            .into_iter()
            .flat_map(|peer| scene.sockets.iter().map(move |(socket, local)| (*socket, *local, addr(peer))))
            .filter(|(_, local, peer)| local.is_ipv4() == peer.is_ipv4())
            .collect();
        let now = scene.now;
        // The first datagram without a permission makes room to count such ones.
        for &(socket, _, peer) in &from_peers {
            scene.server.handle_peer_datagrams(now, socket, peer, Datagrams::one(160));
        }
        let (allocations, relayed) = allocations_during(|| {
            let mut relayed = 0;
            for _ in 0..100 {
                for datagram in &datagrams {
                    let outcome = scene.server.handle_client_datagram(now, client.from, datagram);
                    relayed += u64::from(matches!(outcome, ClientOutcome::Relay { .. }));
                }
                for &(socket, _, peer) in &from_peers {
                    let train = Datagrams { segment_bytes: 160, total_bytes: 1600 };
                    let outcome = scene.server.handle_peer_datagrams(now, socket, peer, train);
                    relayed += u64::from(matches!(outcome, PeerOutcome::Relay { .. }));
                }
            }
            relayed
        });
        assert_eq!(allocations, 0);
        let peers_permitted = if channels == 1 { 3 } else { 4 };
        assert_eq!(relayed, 100 * (4 + peers_permitted), "everything but what has no permission is relayed");
    }
}

#[test]
fn dropping_allocates_no_memory() {
    let (mut scene, client, mut datagrams) = call(1);
    let mut malformed: Vec<Vec<u8>> =
        datagrams.iter().map(|datagram| datagram[..datagram.len() - 8].to_vec()).collect();
    malformed.extend([b"".to_vec(), b"\xff".to_vec(), vec![0; 20], vec![0x40; 3], vec![0x7f; 1400]]);
    malformed.append(&mut datagrams);
    let stranger = udp("203.0.113.5:40001");
    let now = scene.now;
    let (allocations, ()) = allocations_during(|| {
        for datagram in &malformed {
            let outcome = scene.server.handle_client_datagram(now, stranger, datagram);
            assert!(matches!(outcome, ClientOutcome::Drop(_)), "{outcome:?}");
        }
    });
    assert_eq!(allocations, 0);
    drop(client);
}

#[test]
fn an_idle_allocation_takes_less_than_900_bytes() {
    const ALLOCATIONS: u16 = 10_000;
    let mut scene = Stage::with(|stage| stage.ports = (10_000, 65_535));
    scene.unchecked = true;
    let shared_before = bytes_held();
    for step in 0..ALLOCATIONS {
        let mut client =
            Client::limited(&format!("203.0.{}.{}:{}", step >> 8, step & 0xff, 1024 + step), "carol", 5000);
        client.allocate(&mut scene);
        assert_eq!(client.bind(&mut scene, 0x4000, PEER), 0);
        scene.events = Vec::new();
    }
    assert_eq!(scene.server.allocations(), usize::from(ALLOCATIONS));
    assert_eq!((scene.server.counters().permissions, scene.server.counters().channels), (10_000, 10_000));
    // What the server and its share of the quotas hold, without what this test itself remembers.
    drop((
        std::mem::take(&mut scene.sockets),
        std::mem::take(&mut scene.binds),
        std::mem::take(&mut scene.sent),
    ));
    let held = bytes_held() - shared_before;
    let each = held / i64::from(ALLOCATIONS);
    println!("{each} bytes for each of {ALLOCATIONS} allocations with a permission and a channel");
    assert!(each < 900, "{each} bytes for each allocation");
}

#[test]
fn nothing_is_kept_for_strangers() {
    let mut scene = Scene::new();
    let mut wrong = Client { password: "wrong".into(), ..Client::alice(HERE) };
    wrong.challenge(&mut scene);
    let mut unknown = Client::user(udp(HERE), "mallory", "x");
    unknown.nonce.clone_from(&wrong.nonce);
    let mut messages = vec![
        Request::allocate().bytes(),
        Request::refresh(600).fingerprint().bytes(),
        Request::new(Method::BINDING).bytes(),
        wrong.sign(&Request::allocate()),
        wrong.sign(&Request::channel_bind(0x4000, PEER)),
        unknown.sign(&Request::allocate().even_port(true)),
        Request::send(PEER, b"x").bytes(),
        vec![0x40, 0, 0, 0],
    ];
    messages.push(Request::allocate().with(0x8f01, &[0; 60_000]).bytes());
    let flood = |scene: &mut Scene, addresses: u16| {
        for step in 0..addresses {
            let from = udp(&format!("10.{}.{}.1:{}", step >> 8, step & 0xff, step | 1));
            for message in &messages {
                scene.server.handle_client_datagram(scene.now, from, message);
                while scene.server.poll_output().is_some() {}
            }
        }
        bytes_held()
    };
    let before = flood(&mut scene, 10);
    let after = flood(&mut scene, 2000);
    assert_eq!(after - before, 0, "memory grew for clients that proved nothing");
    assert_eq!(scene.server.allocations(), 0);
    scene.server.check_invariants();
}

/// On the wire each datagram has 28 bytes of IPv4 and UDP headers more.
const HEADERS: usize = 28;

#[test]
fn answers_to_strangers_are_at_most_two_and_a_half_times_as_large_on_the_wire() {
    let mut scene = Stage::with(|stage| stage.options.software = Some("iceway".into()));
    let mut client = Client { password: "wrong".into(), ..Client::alice(HERE) };
    client.challenge(&mut scene);
    let bare =
        [Method::ALLOCATE, Method::REFRESH, Method::CREATE_PERMISSION, Method::CHANNEL_BIND, Method::BINDING];
    let mut messages: Vec<Vec<u8>> = bare.into_iter().map(|method| Request::new(method).bytes()).collect();
    messages.extend(bare.into_iter().map(|method| Request::new(method).fingerprint().bytes()));
    messages.push(Request::allocate().bytes());
    messages.push(client.sign(&Request::new(Method::REFRESH)));
    messages.push(client.sign_as_it_is(&Request::new(Method::REFRESH)));
    messages.push(
        Request {
            attributes: (0..16).map(|n| (0x7f00 + n, Vec::new())).collect(),
            ..Request::new(Method::BINDING)
        }
        .bytes(),
    );
    let mut worst: f64 = 0.0;
    for message in &messages {
        let answer = scene.input(client.from, message).answer();
        let ratio = (answer.bytes.len() + HEADERS) as f64 / (message.len() + HEADERS) as f64;
        let code = if answer.is_success() { 0 } else { answer.code() };
        println!(
            "{} bytes answered with {} ({code}): {ratio:.2} on the wire",
            message.len(),
            answer.bytes.len()
        );
        worst = worst.max(ratio);
    }
    assert!(worst <= 2.5, "{worst}");
    let first = Request::allocate().bytes();
    let answer = scene.input(client.from, &first).answer();
    assert!(answer.bytes.len() <= 3 * first.len(), "the Allocate that every client begins with");
}
