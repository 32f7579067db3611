//! One datagram at a time, in every direction.

use crate::{
    client::{Ask, Client, Incoming, channel_data},
    node::{TestNode, peer, receive},
};

#[test]
fn a_binding_request_is_answered_with_the_clients_address() {
    let node = TestNode::start(|_| ());
    for server in [node.ipv4(), node.ipv6()] {
        let mut client = Client::new(server);
        assert_eq!(client.binding(), client.address());
    }
}

#[test]
fn channel_data_is_relayed_both_ways() {
    let node = TestNode::start(|_| ());
    for (server, ip) in [(node.ipv4(), "127.0.0.1"), (node.ipv6(), "::1")] {
        let (mut client, peer) = (Client::new(server), peer(ip));
        let relayed = client.allocate_one();
        client.bind_channel(0x4001, peer.local_addr().unwrap()).unwrap();

        for bytes in [0, 1, 160, 1200, 30_000] {
            let payload = vec![5; bytes];
            client.send_channel(0x4001, &payload);
            assert_eq!(receive(&peer), (payload.clone(), relayed));
            peer.send_to(&payload, relayed).unwrap();
            assert_eq!(client.receive(), Incoming::Channel { number: 0x4001, payload });
        }
    }
}

#[test]
fn indications_are_relayed_both_ways() {
    let node = TestNode::start(|_| ());
    for (server, ip) in [(node.ipv4(), "127.0.0.1"), (node.ipv6(), "::1")] {
        let (mut client, peer) = (Client::new(server), peer(ip));
        let relayed = client.allocate_one();
        let address = peer.local_addr().unwrap();
        client.permit(address).unwrap();

        for (bytes, dont_fragment) in [(0, false), (1, true), (2, false), (3, true), (1200, true)] {
            let payload = vec![6; bytes];
            client.send_indication(address, &payload, dont_fragment);
            assert_eq!(receive(&peer), (payload.clone(), relayed));
            peer.send_to(&payload, relayed).unwrap();
            assert_eq!(client.receive(), Incoming::Data { peer: address, payload });
        }
    }
}

#[test]
fn peers_of_both_families_are_reached_from_either() {
    let node = TestNode::start(|_| ());
    for server in [node.ipv4(), node.ipv6()] {
        let mut client = Client::new(server);
        let relayed = client.allocate(Ask { family: None, also_ipv6: true }).unwrap();
        assert_eq!(relayed.len(), 2);
        for (ip, number) in [("127.0.0.1", 0x4000), ("::1", 0x4001)] {
            let peer = peer(ip);
            let address = peer.local_addr().unwrap();
            let relayed = relayed.iter().find(|relayed| relayed.is_ipv4() == address.is_ipv4()).unwrap();
            client.bind_channel(number, address).unwrap();
            client.send_channel(number, b"there");
            assert_eq!(receive(&peer), (b"there".to_vec(), *relayed));
            peer.send_to(b"back", relayed).unwrap();
            assert_eq!(client.receive(), Incoming::Channel { number, payload: b"back".to_vec() });
        }
    }
}

/// A busy flow gets a socket of its own at the relay's port; nobody may notice.
#[test]
fn a_busy_peer_and_another_port_of_its_address_are_told_apart() {
    let node = TestNode::start(|_| ());
    let mut client = Client::new(node.ipv4());
    let relayed = client.allocate_one();
    let [busy, other] = [(); 2].map(|()| peer("127.0.0.1"));
    client.bind_channel(0x4000, busy.local_addr().unwrap()).unwrap();
    for number in 0..600_u32 {
        client.send_channel(0x4000, &number.to_be_bytes());
        assert_eq!(receive(&busy), (number.to_be_bytes().to_vec(), relayed));
        busy.send_to(&number.to_be_bytes(), relayed).unwrap();
        let payload = number.to_be_bytes().to_vec();
        assert_eq!(client.receive(), Incoming::Channel { number: 0x4000, payload });
    }
    let peer = other.local_addr().unwrap();
    other.send_to(b"me too", relayed).unwrap();
    assert_eq!(client.receive(), Incoming::Data { peer, payload: b"me too".to_vec() });
    client.send_indication(peer, b"welcome", false);
    assert_eq!(receive(&other), (b"welcome".to_vec(), relayed));
    client.refresh(0).unwrap();
    assert!(std::net::UdpSocket::bind(relayed).is_ok(), "the port is free, of both sockets");
}

#[test]
fn a_peer_without_a_permission_is_dropped_and_counted() {
    let node = TestNode::start(|_| ());
    let (mut client, stranger) = (Client::new(node.ipv4()), peer("127.0.0.1"));
    let relayed = client.allocate_one();
    stranger.send_to(b"hello", relayed).unwrap();
    client.expect_silence();
    let counters = node.counters();
    assert_eq!(counters.drops.get(iceway::turn::DropReason::NoPermission), 1);
    assert_eq!(counters.to_clients.datagrams, 0);
}

#[test]
fn two_clients_reach_each_other_through_their_relayed_addresses() {
    // Loopback is denied as a peer by default, but for relayed addresses of this node.
    let node = TestNode::start(|config| config.peers.allow.clear());
    let (mut one, mut other) = (Client::new(node.ipv4()), Client::new(node.ipv4()));
    let (at_one, at_other) = (one.allocate_one(), other.allocate_one());
    one.bind_channel(0x4000, at_other).unwrap();
    other.permit(at_one).unwrap();

    one.send_channel(0x4000, b"across");
    assert_eq!(other.receive(), Incoming::Data { peer: at_one, payload: b"across".to_vec() });
    other.send_indication(at_one, b"and back", false);
    assert_eq!(one.receive(), Incoming::Channel { number: 0x4000, payload: b"and back".to_vec() });
}

#[test]
fn an_icmp_error_reaches_the_client() {
    let node = TestNode::start(|_| ());
    for (server, ip, kind, code) in [(node.ipv4(), "127.0.0.1", 3, 3), (node.ipv6(), "::1", 1, 4)] {
        let mut client = Client::new(server);
        client.allocate_one();
        let nobody = peer(ip).local_addr().unwrap();
        client.permit(nobody).unwrap();
        client.send_indication(nobody, b"anybody there?", false);
        assert_eq!(client.receive(), Incoming::Icmp { peer: nobody, kind, code });

        // An error that waits at the socket costs no datagram to somebody else.
        let peer = peer(ip);
        let address = peer.local_addr().unwrap();
        client.permit(address).unwrap();
        client.send_indication(nobody, b"still nobody?", false);
        for _ in 0..10 {
            client.send_indication(address, b"you?", false);
            assert_eq!(receive(&peer).0, b"you?");
        }
    }
}

#[test]
fn refresh_with_zero_closes_the_relay_at_once() {
    let node = TestNode::start(|_| ());
    let (mut client, peer) = (Client::new(node.ipv4()), peer("127.0.0.1"));
    let relayed = client.allocate_one();
    client.bind_channel(0x4000, peer.local_addr().unwrap()).unwrap();
    client.refresh(0).unwrap();
    client.send_raw(&channel_data(0x4000, b"too late"));
    client.expect_silence();
    assert!(std::net::UdpSocket::bind(relayed).is_ok(), "the port is free again");
    assert_eq!(node.counters().drops.get(iceway::turn::DropReason::NoAllocation), 1);
}

#[test]
fn every_shard_serves_its_share_of_clients() {
    let node = TestNode::start(|_| ());
    let peer = peer("127.0.0.1");
    let address = peer.local_addr().unwrap();
    let mut clients: Vec<_> = (0..32).map(|_| Client::new(node.ipv4())).collect();
    for client in &mut clients {
        let relayed = client.allocate_one();
        client.bind_channel(0x4000, address).unwrap();
        client.send_channel(0x4000, b"x");
        assert_eq!(receive(&peer), (b"x".to_vec(), relayed));
    }
    let shards: Vec<_> = node.snapshot().shards.into_iter().flatten().collect();
    assert_eq!(shards.iter().map(|shard| shard.allocations).sum::<usize>(), 32);
    // The kernel spreads by hash: all 32 on one side has a chance of two in four thousand million.
    assert!(shards.iter().all(|shard| shard.allocations > 0));
}
