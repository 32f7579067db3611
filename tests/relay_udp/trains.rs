//! Many datagrams at once.

use std::net::SocketAddr;

use crate::{
    client::{Client, Incoming},
    node::{TestNode, peer, receive},
};

/// Payloads that say which they are.
fn numbered(count: usize, bytes: usize) -> Vec<Vec<u8>> {
    let fill = |number: usize| {
        (0..bytes).map(move |at| if at % 2 == 0 { number as u8 } else { (number >> 8) as u8 })
    };
    (0..count).map(|number| fill(number).collect()).collect()
}

#[test]
fn a_burst_from_the_client_arrives_whole_and_in_order() {
    let node = TestNode::start(|_| ());
    let (mut client, peer) = (Client::new(node.ipv4()), peer("127.0.0.1"));
    let relayed = client.allocate_one();
    client.bind_channel(0x4000, peer.local_addr().unwrap()).unwrap();
    let payloads = numbered(300, 1200);
    for payload in &payloads {
        client.send_channel(0x4000, payload);
    }
    for payload in payloads {
        assert_eq!(receive(&peer), (payload, relayed));
    }
}

#[test]
fn a_burst_from_a_peer_arrives_whole_and_in_order() {
    let node = TestNode::start(|_| ());
    let (mut client, peer) = (Client::new(node.ipv6()), peer("::1"));
    let relayed = client.allocate_one();
    let address = peer.local_addr().unwrap();
    client.permit(address).unwrap();
    let payloads = numbered(60, 1199);
    for payload in &payloads {
        peer.send_to(payload, relayed).unwrap();
    }
    for payload in payloads {
        assert_eq!(client.receive(), Incoming::Data { peer: address, payload });
    }
}

#[test]
fn a_burst_between_two_clients_travels_as_trains() {
    let node = TestNode::start(|_| ());
    let (mut one, mut other) = (Client::new(node.ipv4()), Client::new(node.ipv4()));
    let (at_one, at_other) = (one.allocate_one(), other.allocate_one());
    one.bind_channel(0x4000, at_other).unwrap();
    other.bind_channel(0x4001, at_one).unwrap();

    // How much of a burst is in one batch is up to the scheduler: several make it certain that something is.
    for _ in 0..50 {
        let mut payloads = numbered(60, 1000);
        payloads.push(vec![9; 10]);
        for payload in &payloads {
            one.send_channel(0x4000, payload);
        }
        for payload in payloads {
            assert_eq!(other.receive(), Incoming::Channel { number: 0x4001, payload });
        }
        let shards = node.snapshot().shards;
        if shards.iter().flatten().any(|shard| shard.runtime.segments_sent > 20) {
            return;
        }
    }
    panic!("no burst was sent in one piece: {:?}", node.snapshot());
}

#[test]
fn a_burst_of_indications_between_two_clients_arrives_whole() {
    let node = TestNode::start(|_| ());
    let (mut one, mut other) = (Client::new(node.ipv4()), Client::new(node.ipv4()));
    let (at_one, at_other) = (one.allocate_one(), other.allocate_one());
    one.bind_channel(0x4000, at_other).unwrap();
    other.permit(at_one).unwrap();

    for (bytes, last) in [(1000, 16), (1000, 17), (999, 40), (40, 40)] {
        for _ in 0..10 {
            let mut payloads = numbered(60, bytes);
            payloads.push(vec![9; last]);
            for payload in &payloads {
                one.send_channel(0x4000, payload);
            }
            for payload in payloads {
                assert_eq!(other.receive(), Incoming::Data { peer: at_one, payload });
            }
        }
    }
}

#[test]
fn interleaved_flows_keep_their_order() {
    let node = TestNode::start(|_| ());
    let peer = peer("127.0.0.1");
    let address = peer.local_addr().unwrap();
    let mut clients: Vec<_> = (0..8).map(|_| Client::new(node.ipv4())).collect();
    let relayed: Vec<SocketAddr> = clients
        .iter_mut()
        .map(|client| {
            let relayed = client.allocate_one();
            client.bind_channel(0x4000, address).unwrap();
            relayed
        })
        .collect();
    let payloads = numbered(40, 160);
    for payload in &payloads {
        for client in &clients {
            client.send_channel(0x4000, payload);
        }
    }
    let mut seen = vec![0; clients.len()];
    for _ in 0..payloads.len() * clients.len() {
        let (payload, from) = receive(&peer);
        let flow = relayed.iter().position(|relayed| *relayed == from).unwrap();
        assert_eq!(payload, payloads[seen[flow]]);
        seen[flow] += 1;
    }
    for payload in &payloads {
        for relayed in &relayed {
            peer.send_to(payload, relayed).unwrap();
        }
    }
    for client in &mut clients {
        for payload in &payloads {
            assert_eq!(client.receive(), Incoming::Channel { number: 0x4000, payload: payload.clone() });
        }
    }
}
