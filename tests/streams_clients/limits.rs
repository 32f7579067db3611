//! Bounds on connections that do not do their part.

use std::time::Duration;

use iceway::runtime::{StreamClose, StreamRefusal, StreamState};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    client::{Client, binding_request, channel_data, connect, connect_tls},
    node::{TestNode, run},
};

/// Short, but long enough for a handshake on a machine that is busy with other things.
const SHORT: Duration = Duration::from_secs(1);

/// Opens `count` connections that ask for their address and then nothing more. One that is refused may be reset
/// before it can.
async fn strangers(node: &TestNode, count: usize) -> Vec<TcpStream> {
    let mut strangers = Vec::new();
    for _ in 0..count {
        let Ok(mut stream) = TcpStream::connect(node.ipv4()).await else { continue };
        if stream.write_all(&binding_request([1; 12])).await.is_ok() {
            strangers.push(stream);
        }
    }
    strangers
}

/// Those of them that are answered; the others are closed.
async fn answered(strangers: Vec<TcpStream>) -> Vec<TcpStream> {
    let mut answered = Vec::new();
    for mut stream in strangers {
        if stream.read(&mut [0; 100]).await.is_ok_and(|bytes| bytes > 0) {
            answered.push(stream);
        }
    }
    answered
}

#[test]
fn connections_from_one_address_are_limited_over_all_shards() {
    run(async {
        let node = TestNode::start(|config| config.streams.connections_per_address = 5);
        let mut answered = answered(strangers(&node, 12).await).await;
        assert_eq!(answered.len(), 5);
        let counters = node.streams().await;
        assert_eq!(counters.refused.get(StreamRefusal::Address), 7);
        // Another address has its own share.
        Client::new(connect(node.ipv6()).await).binding().await;
        // One that leaves makes room for another.
        answered.pop();
        node.until(|streams| streams.closed.get(StreamClose::Client) > 0).await;
        Client::new(connect(node.ipv4()).await).binding().await;
    });
}

#[test]
fn connections_in_all_are_limited_over_all_shards() {
    run(async {
        let node = TestNode::start(|config| config.streams.connections_total = 4);
        let answered = answered(strangers(&node, 9).await).await;
        assert_eq!(answered.len(), 4);
        assert_eq!(node.streams().await.refused.get(StreamRefusal::Total), 5);
        let refused = TcpStream::connect(node.ipv6()).await;
        let is_reset = match refused {
            Ok(mut stream) => stream.read(&mut [0; 1]).await.is_err(),
            Err(_) => true,
        };
        assert!(is_reset, "a refused connection is reset");
    });
}

#[test]
fn who_never_authenticates_is_closed_and_who_does_stays() {
    run(async {
        let node = TestNode::start(|config| config.streams.unauthenticated_timeout = SHORT);
        let mut member = Client::new(connect(node.ipv4()).await);
        member.allocate().await;
        let mut strangers = strangers(&node, 20).await;
        // Binding requests do not prolong it.
        let counters =
            node.until(|streams| streams.closed.get(StreamClose::UnauthenticatedTimeout) == 20).await;
        assert_eq!(counters.open.get(StreamState::Tcp), 1);
        let mut rest = Vec::new();
        for stream in &mut strangers {
            stream.read_to_end(&mut rest).await.unwrap();
        }
        member.binding().await;
        // Once its allocation has ended it is a stranger too.
        member.refresh(0).await;
        node.until(|streams| streams.closed.get(StreamClose::UnauthenticatedTimeout) == 21).await;
    });
}

#[test]
fn stalled_handshakes_and_messages_time_out() {
    run(async {
        let node = TestNode::start(|config| {
            config.streams.handshake_timeout = SHORT;
            config.streams.frame_timeout = SHORT;
        });
        let mut member = Client::new(connect_tls(&node, node.ipv4()).await);
        member.allocate().await;
        let _silent = connect(node.ipv4()).await;
        let mut handshake = connect(node.ipv4()).await;
        handshake.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
        let mut message = connect(node.ipv4()).await;
        message.write_all(&binding_request([1; 12])[..19]).await.unwrap();
        // In a record that is complete, and in one that is not.
        let mut in_tls = Client::new(connect_tls(&node, node.ipv4()).await);
        in_tls.write(&binding_request([1; 12])[..19]).await;
        node.until(|streams| {
            streams.closed.get(StreamClose::HandshakeTimeout) == 2
                && streams.closed.get(StreamClose::FrameTimeout) == 2
        })
        .await;
        assert_eq!(message.read(&mut [0; 1]).await.unwrap(), 0);
        member.binding().await;
    });
}

#[test]
fn trickling_a_message_does_not_hold_a_connection() {
    run(async {
        let node = TestNode::start(|config| config.streams.frame_timeout = SHORT);
        let mut stream = connect(node.ipv4()).await;
        let message = channel_data(0x4000, &[0; 2000]);
        let mut ticks = tokio::time::interval(SHORT / 20);
        let mut written = 0;
        // One byte now and then would take 10 seconds.
        while stream.write_all(&message[written..=written]).await.is_ok() {
            written += 1;
            assert!(written < 500, "never closed");
            ticks.tick().await;
        }
        assert_eq!(node.streams().await.closed.get(StreamClose::FrameTimeout), 1);
    });
}

#[test]
fn junk_is_named_and_hurts_nobody() {
    run(async {
        let node = TestNode::start(|_| {});
        let mut member = Client::new(connect(node.ipv4()).await);
        member.allocate().await;
        for junk in
            [&b"SSH-2.0-OpenSSH\r\n"[..], b"\xff\xff\xff\xff", b"\x05\x01\x00", b"\x80\x2e\x01\x03\x01"]
        {
            let mut stream = connect(node.ipv4()).await;
            stream.write_all(junk).await.unwrap();
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
        }
        let mut stream = connect(node.ipv4()).await;
        stream.write_all(b"\x16\x03\x01\x00\x05hello").await.unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
        let mut stream = connect(node.ipv4()).await;
        stream.write_all(&[&binding_request([1; 12])[..], b"\x00\x01\x00\x07"].concat()).await.unwrap();
        let mut answer = Vec::new();
        // The request before the junk is answered, unless the close resets the connection first.
        let _reset = stream.read_to_end(&mut answer).await;
        let counters = node.until(|streams| streams.closed.total() == 6).await;
        // "SSH-" looks like ChannelData of 18477 bytes.
        assert_eq!(counters.closed.get(StreamClose::FrameTooLarge), 1);
        assert_eq!(counters.closed.get(StreamClose::NotStun), 3);
        assert_eq!(counters.closed.get(StreamClose::HandshakeFailed), 1);
        assert_eq!(counters.closed.get(StreamClose::InvalidFrame), 1);
        member.binding().await;
    });
}
