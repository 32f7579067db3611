//! The first frame of a socket, and what is refused there.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use iceway::signaling::{CloseCode, Limits, Options};
use serde_json::json;

use crate::support::{World, everything};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_welcome_has_all_a_client_needs() {
    let mut world = World::new();
    world.token_life = Some(Duration::from_secs(900));
    let ann = world.phone_at("ann", "web-1");
    let mut welcome = ann.welcome.clone();
    for name in ["session", "epoch", "resumeToken", "features", "iceServers"] {
        assert!(welcome.as_object_mut().unwrap().remove(name).is_some(), "{name}");
    }
    assert_eq!(
        welcome,
        json!({
            "re": "hello", "type": "welcome", "v": 1, "user": "ann", "resumeTtl": 60,
            "heartbeat": {"interval": 25, "timeout": 10},
            "limits": {"maxFrame": 65536, "sdpPerSec": 5, "msgPerSec": 50},
            "tokenExpiresIn": 900, "serverTime": 1_790_000_000_000_u64, "iceTtl": 3600, "iceRefreshIn": 2880,
        })
    );
    assert!(
        ann.session.starts_with("s_") && ann.resume_token.starts_with("rt_") && ann.epoch.starts_with("e_")
    );
}

#[test]
fn somebody_the_driver_knows_needs_no_token() {
    let mut world = World::new();
    let identity = world.identity_of("ann");
    let connection = world.open_as(Some(identity)).unwrap();
    world.send(connection, json!({"type": "hello"}));
    assert_eq!(world.next(connection).unwrap()["user"], "ann");
    assert!(world.asked.is_empty());
}

#[test]
fn a_token_that_is_not_taken_says_why_and_closes() {
    for (code, close) in [
        ("unauthorized", CloseCode::Unauthorized),
        ("token-expired", CloseCode::Unauthorized),
        ("token-not-yet-valid", CloseCode::Unauthorized),
        ("forbidden", CloseCode::Forbidden),
        ("upstream-timeout", CloseCode::Internal),
        ("unavailable", CloseCode::Internal),
    ] {
        let mut world = World::new();
        let connection = world.open().unwrap();
        world.send(connection, json!({"id": "1", "type": "hello", "token": format!("!{code}")}));
        let error = world.next(connection).unwrap();
        assert_eq!(
            (&error["re"], &error["type"], &error["code"]),
            (&json!("1"), &json!("error"), &json!(code))
        );
        assert_eq!(world.closed(connection), Some(close), "{code}");
    }
}

#[test]
fn what_comes_before_hello_closes_the_socket() {
    let long = json!({"type": "hello", "token": "x".repeat(17 << 10)}).to_string();
    for (text, error, close) in [
        (r#"{"id":"1","type":"ping"}"#, Some("hello-expected"), CloseCode::BadProtocol),
        (r#"{"type":"message","to":{"user":"a"},"data":1}"#, Some("hello-expected"), CloseCode::BadProtocol),
        ("no json", Some("bad-request"), CloseCode::BadProtocol),
        (r#"{"type":"dance"}"#, Some("bad-request"), CloseCode::BadProtocol),
        (r#"{"type":"hello","v":2,"token":"ann"}"#, Some("bad-request"), CloseCode::BadProtocol),
        (r#"{"type":"hello"}"#, Some("unauthorized"), CloseCode::Unauthorized),
        (&long, None, CloseCode::TooLarge),
    ] {
        let mut world = World::new();
        let connection = world.open().unwrap();
        world.send_text(connection, text);
        assert_eq!(
            world.next(connection).map(|frame| frame["code"].clone()),
            error.map(|error| json!(error))
        );
        assert_eq!(world.closed(connection), Some(close), "{text:.60}");
        assert!(world.asked.is_empty());
    }
}

#[test]
fn a_socket_that_says_nothing_is_closed() {
    let mut world = World::new();
    let connection = world.open().unwrap();
    world.server.handle_alive(world.now, connection);
    world.advance(Duration::from_millis(4999));
    assert_eq!(world.closed(connection), None);
    world.advance(Duration::from_millis(1));
    assert_eq!(world.closed(connection), Some(CloseCode::HelloTimeout));
}

#[test]
fn a_second_hello_is_refused_and_changes_nothing() {
    let mut world = World::new();
    let ann = world.phone("ann");
    assert_eq!(world.ask(&ann, json!({"id": "2", "type": "hello", "token": "ben"}))["code"], "bad-request");
    assert_eq!(world.closed(&ann), None);
}

#[test]
fn sockets_without_a_session_are_few_for_each_address_and_in_all() {
    let limits = Limits {
        unauthenticated_per_address: 3,
        connections_unauthenticated: 5,
        connects_per_address: 1,
        connects_burst: 4,
        ..Limits::default()
    };
    let mut world = World::with(Options { limits, ..Options::default() });
    let ann = world.phone("ann");
    for _ in 0..3 {
        world.open().unwrap();
    }
    assert_eq!(world.open(), Err(CloseCode::ConnectionLimit), "three of this address");
    world.address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
    let first = world.open().unwrap();
    world.open().unwrap();
    assert_eq!(world.open(), Err(CloseCode::ConnectionLimit), "five in all");
    world.drop_socket(first);
    world.open().unwrap();
    world.advance(6 * SECOND);
    assert_eq!(world.closed(&ann), None);
    let gauges = world.server.gauges();
    assert_eq!((gauges.connections, gauges.unauthenticated, gauges.attached), (1, 0, 1));
    for _ in 0..3 {
        let connection = world.open().unwrap();
        world.drop_socket(connection);
    }
    world.advance(2 * SECOND);
    let mut opened = 0;
    while let Ok(connection) = world.open() {
        world.drop_socket(connection);
        opened += 1;
    }
    assert!((2..=4).contains(&opened), "{opened} in a burst");
    let trips: Vec<_> = world.server.counters().trips().filter(|(_, count)| *count > 0).collect();
    assert_eq!(
        trips.iter().map(|(rule, _)| rule.as_str()).collect::<Vec<_>>(),
        ["unauthenticated", "connects"]
    );
}

#[test]
fn hellos_that_fail_again_and_again_are_answered_late() {
    let limits = Limits { hello_failures: 3, unauthenticated_per_address: 100, ..Limits::default() };
    let mut world = World::with(Options { limits, ..Options::default() });
    let mut delays = Vec::new();
    for _ in 0..6 {
        let connection = world.open().unwrap();
        world.send(connection, json!({"type": "hello", "token": "!unauthorized"}));
        let mut waited = 0;
        while world.closed(connection).is_none() {
            world.advance(Duration::from_millis(10));
            waited += 10;
        }
        assert_eq!(world.closed(connection), Some(CloseCode::Unauthorized));
        delays.push(waited);
    }
    assert_eq!(delays, [0, 0, 0, 100, 200, 400]);
    let ann = world.phone("ann");
    assert_eq!(ann.user, "ann", "who has a token does not wait");
    world.advance(Duration::from_secs(30 * 60 + 1));
    let connection = world.open().unwrap();
    world.send(connection, json!({"type": "hello", "token": "!unauthorized"}));
    assert_eq!(world.closed(connection), Some(CloseCode::Unauthorized));
}

#[test]
fn a_user_has_so_many_sessions_and_one_of_each_device() {
    let limits = Limits { sessions_per_user: 3, ..Limits::default() };
    let mut world = World::with(Options { limits, ..Options::default() });
    let phones: Vec<_> = ["a", "b", ""].map(|device| world.phone_at("ann", device)).into();
    let connection = world.open().unwrap();
    world.send(connection, json!({"type": "hello", "token": "ann", "device": "c"}));
    assert_eq!(world.next(connection).unwrap()["code"], "limit-exceeded");
    assert_eq!(world.closed(connection), Some(CloseCode::ConnectionLimit));
    world.phone_at("ann", "a");
    assert_eq!(world.closed(&phones[0]), Some(CloseCode::Replaced));
    assert!(phones[1..].iter().all(|phone| world.closed(phone).is_none()));
    assert!(world.event_kinds().contains(&"session.disconnected replaced".to_owned()));
    let mut grants = everything();
    grants.sessions_max = 1;
    world.grants.insert("ben".to_owned(), grants);
    world.phone("ben");
    let connection = world.open().unwrap();
    world.send(connection, json!({"type": "hello", "token": "ben"}));
    assert_eq!(world.next(connection).unwrap()["code"], "limit-exceeded");
}
