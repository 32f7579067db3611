//! Too little of something, and too much of everything else.

use std::{fs::File, net::UdpSocket};

use iceway::turn::{Code, Request};

use crate::{
    client::{Ask, Client, Incoming, channel_data},
    node::{TestNode, block_on, peer, receive},
};

#[test]
fn an_exhausted_port_range_is_508_and_recovers() {
    let node = TestNode::start(|config| {
        config.relay.port_min = 30_000;
        config.relay.port_max = 30_003;
    });
    let mut clients: Vec<_> = (0..5).map(|_| Client::new(node.ipv4())).collect();
    let mut answers: Vec<_> = clients.iter_mut().map(|client| client.allocate(Ask::default())).collect();
    assert_eq!(answers.pop().unwrap(), Err(508));
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");

    clients[2].refresh(0).unwrap();
    assert!(clients[4].allocate(Ask::default()).is_ok());
    assert_eq!(node.counters().responses.get(Request::Allocate, Code::InsufficientCapacity), 1);
}

#[test]
fn ports_of_other_processes_are_passed_over() {
    let _taken: Vec<_> =
        (30_010..30_013).filter_map(|port| UdpSocket::bind(("127.0.0.1", port)).ok()).collect();
    let node = TestNode::start(|config| {
        config.relay.port_min = 30_010;
        config.relay.port_max = 30_013;
    });
    let mut client = Client::new(node.ipv4());
    assert_eq!(client.allocate_one().port(), 30_013);
}

#[test]
fn a_listener_that_cannot_be_bound_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut config = iceway::config::Config::default();
    config.listen.udp = vec![address];
    config.listen.tcp.clear();
    let error = iceway::runtime::Node::start(&config, iceway::runtime::Start::alone(&config).unwrap())
        .unwrap_err()
        .to_string();
    assert!(error.contains(&format!("cannot listen on udp {address}")), "{error}");
}

#[test]
fn junk_disturbs_nobody() {
    let node = TestNode::start(|_| ());
    let (mut client, peer) = (Client::new(node.ipv4()), peer("127.0.0.1"));
    let relayed = client.allocate_one();
    let address = peer.local_addr().unwrap();
    client.bind_channel(0x4000, address).unwrap();

    // Another address than the peer's: a permission is for all ports of one.
    let stranger = UdpSocket::bind("127.0.0.2:0").unwrap();
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    for round in 0..3000_u32 {
        let junk: Vec<u8> = (0..round % 200)
            .map(|_| {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                seed as u8
            })
            .collect();
        stranger.send_to(&junk, node.ipv4()).unwrap();
        // The same to the relay socket, and as messages with a true beginning.
        stranger.send_to(&junk, relayed).unwrap();
        let mut message = channel_data(0x4000, &junk);
        message.truncate(message.len().saturating_sub(round as usize % 5));
        stranger.send_to(&message, node.ipv4()).unwrap();
    }
    client.send_channel(0x4000, b"still there?");
    assert_eq!(receive(&peer), (b"still there?".to_vec(), relayed));
    peer.send_to(b"sure", relayed).unwrap();
    assert_eq!(client.receive(), Incoming::Channel { number: 0x4000, payload: b"sure".to_vec() });
    assert_eq!(node.counters().allocations.iter().map(|(_, count)| count).sum::<u64>(), 1);
}

#[test]
fn a_draining_node_refuses_allocations_and_refreshes_the_ones_it_has() {
    let node = TestNode::start(|_| ());
    let (mut old, mut new) = (Client::new(node.ipv4()), Client::new(node.ipv4()));
    old.allocate_one();
    node.handle().drain(std::sync::Arc::default());
    assert!(node.handle().is_draining());
    // Shards answer in the order they are told: now all have heard of it.
    assert_eq!(block_on(node.handle().allocations()), 1);
    assert_eq!(new.allocate(Ask::default()), Err(508));
    old.refresh(600).unwrap();
    assert_eq!(block_on(node.handle().allocations()), 1);
    old.refresh(0).unwrap();
    assert_eq!(block_on(node.handle().drained(crate::client::PATIENCE)), 0);
}

#[test]
fn a_shard_that_ends_is_noticed_and_one_that_serves_is_not() {
    let node = TestNode::start(|_| ());
    let handle = node.handle();
    block_on(async {
        // A snapshot is answered by shards that serve: until then none has ended.
        tokio::select! {
            biased;
            () = handle.shard_ended() => panic!("every shard serves"),
            _ = handle.snapshot() => {}
        }
        handle.shutdown();
        handle.shard_ended().await;
    });
}

/// In a process of its own: the limit holds for every test of this one.
#[test]
fn exhausted_descriptors_are_508_and_recover() {
    const INNER: &str = "ICEWAY_TEST_DESCRIPTORS";
    if std::env::var_os(INNER).is_none() {
        let test = "pressure::exhausted_descriptors_are_508_and_recover";
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--test-threads=1"])
            .env(INNER, "1")
            .status();
        assert!(status.unwrap().success());
        return;
    }
    let node = TestNode::start(|_| ());
    let mut clients: Vec<_> = (0..2).map(|_| Client::new(node.ipv4())).collect();
    let held = clients[0].allocate_one();
    let mut hoard = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }
    assert_eq!(clients[1].allocate(Ask::default()), Err(508));

    // What is there goes on.
    clients[0].refresh(600).unwrap();
    hoard.truncate(hoard.len() / 2);
    assert_ne!(clients[1].allocate_one(), held);
    let failed = node.counters().binds_failed;
    assert_eq!(failed.get(iceway::turn::BindError::OutOfResources), 1);
}
