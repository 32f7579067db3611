//! Ten thousand sockets that never say hello.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use super::scene::{expect_numbers, message, unlimited};
use crate::signal_support::{Client, Issuer, Node, until};

const SOCKETS: usize = 10_000;
/// Of each; the system's memory for a socket is not in it.
const BYTES_EACH: u64 = 24 << 10;
/// Opening them takes a while, and each is closed five seconds after it was opened.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn ten_thousand_silent_sockets_are_closed_and_nobody_else_notices() {
    let issuer = Issuer::new();
    let node = Node::start(&issuer, unlimited());
    let mut ann = Client::open(&node, &issuer.token("ann", "web")).await;
    let mut bob = Client::open(&node, &issuer.token("bob", "web")).await;
    let before = node.resident_bytes();
    let http = node.http;
    let silent = std::thread::spawn(move || {
        let begin = Instant::now();
        let sockets: Vec<TcpStream> = (0..SOCKETS).map(|_| open(http)).collect();
        (sockets, begin.elapsed())
    });
    let (mut sent, mut slowest, mut most) = (0, Duration::ZERO, before);
    while !silent.is_finished() || sent < 50 {
        let begin = Instant::now();
        ann.send(message(bob.session(), sent)).await;
        expect_numbers(&mut bob, sent..sent + 1).await;
        slowest = slowest.max(begin.elapsed());
        most = most.max(node.resident_bytes());
        sent += 1;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let (sockets, took) = silent.join().unwrap();
    eprintln!("{SOCKETS} sockets in {took:?}; {sent} messages meanwhile, the slowest took {slowest:?}");
    let each = (most - before) / SOCKETS as u64;
    assert!(each < BYTES_EACH, "{each} bytes for each silent socket");
    assert!(slowest < Duration::from_secs(2), "a message took {slowest:?} meanwhile");

    let closed = tokio::task::spawn_blocking(move || sockets.into_iter().map(close_code).collect::<Vec<_>>());
    let codes = crate::signal_support::soon("every socket is closed", closed).await.unwrap();
    let others: Vec<_> = codes.iter().filter(|&&code| code != Some(4408)).collect();
    assert!(others.is_empty(), "{} were closed otherwise, such as {:?}", others.len(), others[0]);
    until("all are forgotten", LIMIT, || {
        node.metric("iceway_signal_closes_total", &["code=\"4408\""]) >= 10_000.0
    })
    .await;
    ann.send(message(bob.session(), sent)).await;
    expect_numbers(&mut bob, sent..sent + 1).await;
}

/// A WebSocket on which nothing is said.
fn open(server: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let host = Ipv4Addr::LOCALHOST;
    let request = format!(
        "GET /v1/signal HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: rtc-signal.v1\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// The code in the close frame after the answer to the upgrade.
fn close_code(mut stream: TcpStream) -> Option<u16> {
    let mut all = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        all.extend_from_slice(&buffer[..length]);
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        if let Some([0x88, _, high, low, ..]) = end.map(|end| &all[end..]) {
            return Some(u16::from_be_bytes([*high, *low]));
        }
    }
    None
}
