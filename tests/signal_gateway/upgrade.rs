//! The upgrade by hand, for what a client library would not send.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::signal_support::{Issuer, Node, Setup};

/// What the server answers to an upgrade with these header lines, up to the end of its headers.
pub(crate) fn upgrade(server: SocketAddr, path: &str, lines: &[&str]) -> (u16, String, TcpStream) {
    let usual = [
        "Connection: keep-alive, Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let name = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
    let kept = usual.iter().filter(|line| !lines.iter().any(|other| name(other) == name(line)));
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\n");
    for line in kept.chain(lines).filter(|line| !line.ends_with(": ")) {
        request.push_str(&format!("{line}\r\n"));
    }
    request.push_str("\r\n");
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("{head:?}")), head, stream)
}

#[tokio::test]
async fn what_is_no_upgrade_is_told_so() {
    let node = Node::start(&Issuer::new(), Setup::default());
    let status = |path: &str, lines: &[&str]| upgrade(node.http, path, lines).0;
    assert_eq!(status("/v1/signal", &[]), 101);
    for line in [
        "Connection: close",
        "Upgrade: h2c",
        "Sec-WebSocket-Version: 8",
        "Sec-WebSocket-Key: short",
        "Sec-WebSocket-Key: ",
    ] {
        assert_eq!(status("/v1/signal", &[line]), 426, "{line}");
    }
    assert_eq!(status("/v1/signal?color=blue", &[]), 400);
    assert_eq!(status("/v1/signal?role=king", &[]), 400);
    assert_eq!(status("/v1/signal?ticket=AAAA", &[]), 401);
    assert_eq!(status("/v1/signal", &["Sec-WebSocket-Protocol: rtc-signal.v2"]), 400);
    assert_eq!(status("/v1/signal", &["Authorization: Bearer a.b.c"]), 401);
    let off = Node::start(&Issuer::new(), Setup::default().with("signal.enabled", "false"));
    assert_eq!(upgrade(off.http, "/v1/signal", &[]).0, 404);
}

#[tokio::test]
async fn compression_is_not_negotiated() {
    let node = Node::start(&Issuer::new(), Setup::default());
    let (status, head, mut stream) =
        upgrade(node.http, "/v1/signal", &["Sec-WebSocket-Extensions: permessage-deflate"]);
    assert_eq!(status, 101);
    assert!(!head.to_ascii_lowercase().contains("sec-websocket-extensions"), "{head}");
    // A compressed text frame all the same: the first reserved bit is set.
    stream.write_all(&[0xc1, 0x84, 0, 0, 0, 0, 1, 2, 3, 4]).unwrap();
    assert_eq!(close_code(&mut stream), Some(4400));
}

#[tokio::test]
async fn frames_that_are_not_masked_or_not_text_end_the_socket() {
    let node = Node::start(&Issuer::new(), Setup::default());
    for frame in
        [&[0x81, 0x02, b'{', b'}'][..], &[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe], &[0x83, 0x80, 0, 0, 0, 0]]
    {
        let (_, _, mut stream) = upgrade(node.http, "/v1/signal", &[]);
        stream.write_all(frame).unwrap();
        assert_eq!(close_code(&mut stream), Some(4400), "{frame:x?}");
    }
}

/// The code of the close frame that comes next; `None` if none does.
pub(crate) fn close_code(stream: &mut TcpStream) -> Option<u16> {
    loop {
        let mut head = [0; 2];
        stream.read_exact(&mut head).ok()?;
        let length = match head[1] & 0x7f {
            126 => {
                let mut length = [0; 2];
                stream.read_exact(&mut length).ok()?;
                usize::from(u16::from_be_bytes(length))
            }
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).ok()?;
        if head[0] & 0x0f == 8 {
            return Some(u16::from_be_bytes(payload.get(..2)?.try_into().ok()?));
        }
    }
}
