//! What a spoofed source address could do to a victim: how large an answer is compared with what asked for it, and how
//! many answers there are.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use stun::fingerprint::FINGERPRINT;
use stun::message::{
    CLASS_INDICATION, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, METHOD_ALLOCATE, METHOD_BINDING,
    METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, METHOD_REFRESH, METHOD_SEND, Message, MessageType, Method,
    Setter,
};

use crate::support::client::{Attribute, REQUESTED_TRANSPORT, UDP, message};
use crate::support::server::REALM;
use crate::support::{Client, Server, Setup};

/// The most that a reply may be larger than its request, counted as on the wire, IP and UDP headers included.
const RATIO_MAX: f64 = 2.5;
const SILENCE: Duration = Duration::from_millis(150);
const PER_SECOND: usize = 50;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const REALM_ATTRIBUTE: u16 = 0x0014;
const NONCE: u16 = 0x0015;

#[test]
fn no_reply_to_a_stranger_is_much_larger_than_its_request() {
    let server = Server::start(Setup::default());
    let mut report = String::new();
    let mut worst = 0.0_f64;
    for (address, headers) in [("127.0.0.1", 20 + 8), ("::1", 40 + 8)] {
        let server_address = SocketAddr::new(address.parse().unwrap(), server.port);
        for (shape, datagram) in shapes() {
            let replies = ask(server_address, &datagram);
            assert!(replies.len() <= 1, "{shape}: {} replies", replies.len());
            let Some(reply) = replies.first() else { continue };
            let ratio = (reply.len() + headers) as f64 / (datagram.len() + headers) as f64;
            let (asked, answered) = (datagram.len(), reply.len());
            report +=
                &format!("{address:9} {shape:38} {asked:5} → {answered:4} bytes, on the wire × {ratio:.2}\n");
            worst = worst.max(ratio);
        }
    }
    println!("{report}largest: × {worst:.2}");
    assert!(report.lines().count() >= 2 * 8, "most shapes are answered:\n{report}");
    assert!(worst <= RATIO_MAX, "{report}");
}

#[test]
fn refusals_are_limited_per_address_and_counted() {
    let setup = Setup::default().with("limits.unauthenticated_answers_per_second", PER_SECOND);
    let server = Server::start(setup);
    let request = bare(METHOD_ALLOCATE).raw;
    let flooded = flood(&server, "127.0.0.9:0", &request, 2_000);
    // A burst of a second, and what comes back while the flood lasts.
    assert!((1..=4 * PER_SECOND).contains(&flooded), "{flooded} answers to 2000 requests");
    let dropped = server.metric("iceway_datagrams_dropped_total", &["reason=\"unauthenticated_rate\""]);
    let refused = server.metric("iceway_stun_responses_total", &["method=\"allocate\"", "code=\"401\""]);
    assert_eq!(dropped + refused, 2_000.0, "every request is answered or counted");
    assert_eq!(refused, flooded as f64);
    assert_eq!(flood(&server, "127.0.0.10:0", &request, 1), 1, "another address is answered");
    Client::new(server.address()).allocate().unwrap();
}

/// Sends `count` requests at once; how many are answered.
fn flood(server: &Server, from: &str, request: &[u8], count: usize) -> usize {
    let socket = UdpSocket::bind(from).unwrap();
    socket.connect(server.address()).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let (mut answers, mut buffer) = (0, [0; 2000]);
    for _ in 0..count {
        socket.send(request).unwrap();
    }
    while socket.recv(&mut buffer).is_ok() {
        answers += 1;
    }
    answers
}

/// Every reply to one datagram.
fn ask(server: SocketAddr, datagram: &[u8]) -> Vec<Vec<u8>> {
    let any = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    socket.send(datagram).unwrap();
    let mut buffer = [0; 65_536];
    let mut replies = Vec::new();
    while let Ok(length) = socket.recv(&mut buffer) {
        replies.push(buffer[..length].to_vec());
    }
    replies
}

/// Everything that a stranger can make a server answer, by name; the shortest forms first.
fn shapes() -> Vec<(String, Vec<u8>)> {
    let mut shapes = Vec::new();
    let mut add = |name: &str, message: Message| shapes.push((name.to_owned(), message.raw));
    let methods = [
        ("Binding", METHOD_BINDING),
        ("Allocate", METHOD_ALLOCATE),
        ("Refresh", METHOD_REFRESH),
        ("CreatePermission", METHOD_CREATE_PERMISSION),
        ("ChannelBind", METHOD_CHANNEL_BIND),
    ];
    for (name, method) in methods {
        add(name, bare(method));
        add(&format!("{name} with FINGERPRINT"), fingerprinted(bare(method)));
        add(&format!("{name} with an unknown attribute"), with(method, vec![Attribute::Raw(0x7ABC, vec![])]));
        let unknown = (0..40).map(|number| Attribute::Raw(0x7A00 + number, vec![])).collect();
        add(&format!("{name} with 40 unknown attributes"), with(method, unknown));
    }
    add("Allocate for UDP", with(METHOD_ALLOCATE, vec![transport()]));
    add("Allocate, half a credential", with(METHOD_ALLOCATE, vec![Attribute::Raw(USERNAME, b"x".to_vec())]));
    let bogus = |realm: &str| {
        vec![
            Attribute::Raw(USERNAME, b"x".to_vec()),
            Attribute::Raw(REALM_ATTRIBUTE, realm.into()),
            Attribute::Raw(NONCE, b"x".to_vec()),
            Attribute::Raw(MESSAGE_INTEGRITY, vec![0; 20]),
        ]
    };
    add("Allocate, bogus credential", with(METHOD_ALLOCATE, bogus(REALM)));
    add("Allocate, bogus credential and realm", with(METHOD_ALLOCATE, bogus("x")));
    add("Refresh, bogus credential", with(METHOD_REFRESH, bogus(REALM)));
    let kind = |method, class| message(MessageType::new(method, class), &[]);
    add("Binding indication", kind(METHOD_BINDING, CLASS_INDICATION));
    add("Send indication", kind(METHOD_SEND, CLASS_INDICATION));
    add("Binding response", kind(METHOD_BINDING, CLASS_SUCCESS_RESPONSE));
    shapes.push(("ChannelData".to_owned(), vec![0x40, 0, 0, 0]));
    shapes.push(("one byte".to_owned(), vec![0]));
    shapes
}

fn transport() -> Attribute {
    Attribute::Raw(REQUESTED_TRANSPORT, UDP.to_vec())
}

fn bare(method: Method) -> Message {
    with(method, Vec::new())
}

fn with(method: Method, attributes: Vec<Attribute>) -> Message {
    message(MessageType::new(method, CLASS_REQUEST), &attributes)
}

fn fingerprinted(mut message: Message) -> Message {
    FINGERPRINT.add_to(&mut message).unwrap();
    message
}
