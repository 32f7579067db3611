//! Allocating and relaying over TCP and TLS.

use std::net::SocketAddr;

use iceway::{
    runtime::{StreamClose, StreamState},
    stun::{AddressFamily, Frame},
};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    client::{Client, binding_request, channel_data, connect, connect_tls, data},
    node::{TestNode, peer, receive, run},
};

/// Relays channels and indications both ways, with payloads of every padding.
async fn relay_both_ways<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>, peer_ip: &str) {
    let peer = peer(peer_ip).await;
    let peer_address = peer.local_addr().unwrap();
    let family = if peer_address.is_ipv4() { AddressFamily::Ipv4 } else { AddressFamily::Ipv6 };
    let relayed = client.allocate_family(family).await;
    client.permit(peer_address).await;
    for bytes in [0, 1, 2, 3, 4, 1200] {
        let payload = vec![bytes as u8; bytes];
        client.send_indication(peer_address, &payload).await;
        assert_eq!(receive(&peer).await, (payload.clone(), relayed));
        peer.send_to(&payload, relayed).await.unwrap();
        assert_eq!(data(&client.receive().await), (peer_address, payload));
    }
    client.bind_channel(0x4001, peer_address).await;
    for bytes in [0, 1, 2, 3, 4, 1201] {
        let payload = vec![bytes as u8; bytes];
        client.write(&channel_data(0x4001, &payload)).await;
        assert_eq!(receive(&peer).await, (payload.clone(), relayed));
        peer.send_to(&payload, relayed).await.unwrap();
        assert_eq!(client.receive().await, channel_data(0x4001, &payload), "padded to four bytes");
    }
}

#[test]
fn tcp_and_tls_clients_relay_both_ways_over_ipv4_and_ipv6() {
    run(async {
        let node = TestNode::start(|_| {});
        for (address, peer_ip) in [(node.ipv4(), "127.0.0.1"), (node.ipv6(), "::1")] {
            let mut plain = Client::new(connect(address).await);
            let mut tls = Client::new(connect_tls(&node, address).await);
            relay_both_ways(&mut plain, peer_ip).await;
            relay_both_ways(&mut tls, peer_ip).await;
        }
        let counters = node.streams().await;
        assert_eq!(counters.accepted, 4);
        assert_eq!(counters.handshakes, 2);
        assert_eq!(counters.answers_dropped + counters.queue_full_datagrams, 0);
    });
}

#[test]
fn a_client_that_writes_byte_by_byte_is_understood() {
    run(async {
        let node = TestNode::start(|_| {});
        let mut client = Client::new(connect(node.ipv4()).await);
        client.trickles = true;
        relay_both_ways(&mut client, "127.0.0.1").await;
        // Over TLS each byte is a record of its own.
        let mut client = Client::new(connect_tls(&node, node.ipv4()).await);
        client.trickles = true;
        relay_both_ways(&mut client, "127.0.0.1").await;
    });
}

#[test]
fn what_is_pipelined_in_one_write_is_answered_and_relayed_in_order() {
    run(async {
        let node = TestNode::start(|_| {});
        let peer = peer("127.0.0.1").await;
        let peer_address = peer.local_addr().unwrap();
        let mut client = Client::new(connect_tls(&node, node.ipv4()).await);
        client.allocate().await;
        client.bind_channel(0x4000, peer_address).await;
        let mut stream = Vec::new();
        for n in 0..500_u16 {
            stream.extend(channel_data(0x4000, &n.to_be_bytes()));
            if n % 100 == 0 {
                let mut id = [9; 12];
                id[..2].copy_from_slice(&n.to_be_bytes());
                stream.extend(binding_request(id));
            }
        }
        client.write(&stream).await;
        for n in 0..500_u16 {
            assert_eq!(receive(&peer).await.0, n.to_be_bytes());
        }
        for n in [0_u16, 100, 200, 300, 400] {
            assert_eq!(client.receive().await[8..10], n.to_be_bytes());
        }
    });
}

#[test]
fn the_largest_datagrams_pass_both_ways() {
    run(async {
        let node = TestNode::start(|_| {});
        let peer = peer("127.0.0.1").await;
        let peer_address = peer.local_addr().unwrap();
        let mut plain = Client::new(connect(node.ipv4()).await);
        let mut tls = Client::new(connect_tls(&node, node.ipv4()).await);
        // What UDP over IPv4 can carry, less the header of an indication: the same for every transport.
        let payload: Vec<u8> = (0..65_456_u32).map(|n| (n % 251) as u8).collect();
        largest(&mut plain, &peer, peer_address, &payload).await;
        largest(&mut tls, &peer, peer_address, &payload).await;
    });
}

async fn largest<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut Client<S>,
    peer: &tokio::net::UdpSocket,
    peer_address: SocketAddr,
    payload: &[u8],
) {
    let relayed = client.allocate().await;
    client.bind_channel(0x4000, peer_address).await;
    client.write(&channel_data(0x4000, payload)).await;
    assert!(receive(peer).await.0 == payload, "the peer gets it whole");
    peer.send_to(payload, relayed).await.unwrap();
    assert!(client.receive().await == channel_data(0x4000, payload), "the client gets it whole");
}

#[test]
fn a_slow_reader_loses_datagrams_but_neither_its_connection_nor_its_answers() {
    run(async {
        let node = TestNode::start(|config| config.streams.buffer_bytes = 64 << 10);
        let peer = peer("127.0.0.1").await;
        let mut slow = Client::new(connect(node.ipv4()).await);
        let relayed = slow.allocate().await;
        slow.bind_channel(0x4000, peer.local_addr().unwrap()).await;
        let mut other = Client::new(connect_tls(&node, node.ipv4()).await);
        let other_relayed = other.allocate().await;
        other.bind_channel(0x4000, peer.local_addr().unwrap()).await;
        // The peer sends until the slow client's queue is full, and goes on.
        let mut sent = 0_u32;
        while node.streams().await.queue_full_datagrams < 500 {
            for _ in 0..100 {
                let payload = [&sent.to_be_bytes()[..], &[0; 1000]].concat();
                peer.send_to(&payload, relayed).await.unwrap();
                sent += 1;
            }
            // Nobody else waits for it.
            peer.send_to(b"on time", other_relayed).await.unwrap();
            assert_eq!(other.receive().await, channel_data(0x4000, b"on time"));
        }
        // Its answers get through behind what is queued.
        slow.refresh(600).await;
        // And when it has caught up, new data comes through.
        peer.send_to(b"caught up", relayed).await.unwrap();
        let mut received = 0;
        let mut last = None;
        loop {
            let message = slow.receive().await;
            if message == channel_data(0x4000, b"caught up") {
                break;
            }
            assert!(matches!(iceway::stun::next_frame(&message), Frame::Complete { bytes: 1008, .. }));
            let number = u32::from_be_bytes(message[4..8].try_into().unwrap());
            assert!(last < Some(number), "in order");
            last = Some(number);
            received += 1;
        }
        assert!(received > 0 && received < sent);
        let counters = node.streams().await;
        assert_eq!(counters.answers_dropped, 0);
        assert_eq!(counters.open.get(StreamState::Tcp), 1);
    });
}

#[test]
fn a_client_that_leaves_takes_its_allocation_along() {
    run(async {
        let node = TestNode::start(|_| {});
        let mut plain = Client::new(connect(node.ipv4()).await);
        plain.allocate().await;
        let mut tls = Client::new(connect_tls(&node, node.ipv6()).await);
        tls.allocate().await;
        node.until_allocations(2).await;
        drop(plain);
        node.until_allocations(1).await;
        drop(tls);
        node.until_allocations(0).await;
        node.until(|streams| streams.closed.get(StreamClose::Client) == 2).await;
    });
}

#[test]
fn shutdown_ends_connections_in_order() {
    use tokio::io::AsyncReadExt;

    run(async {
        let node = TestNode::start(|_| {});
        let mut client = Client::new(connect_tls(&node, node.ipv4()).await);
        client.allocate().await;
        let mut idle = Client::new(connect(node.ipv4()).await);
        idle.binding().await;
        node.handle().shutdown();
        // Without close_notify this would be an error.
        assert_eq!(client.stream.read(&mut [0; 16]).await.unwrap(), 0);
        assert_eq!(idle.stream.read(&mut [0; 16]).await.unwrap(), 0);
    });
}
