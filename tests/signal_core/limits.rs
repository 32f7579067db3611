//! What one session may send, and what becomes of frames that break the rules.

use std::time::Duration;

use iceway::signaling::{CloseCode, Limits, Options, Role};
use serde_json::json;

use crate::support::{World, everything};

#[test]
fn a_session_that_sends_too_often_is_told_when_again() {
    let limits = Limits { frames_per_second: 10, frames_burst: 20, ..Limits::default() };
    let mut world = World::with(Options { limits, ..Options::default() });
    let (ann, mut ben) = (world.phone("ann"), world.phone("ben"));
    let say = json!({"type": "message", "to": {"user": "ben"}, "data": 1});
    for _ in 0..20 {
        world.send(&ann, say.clone());
    }
    let request = json!({"id": "1", "type": "message", "to": {"user": "ben"}, "data": 1});
    let answer = world.ask(&ann, request.clone());
    assert_eq!(
        (&answer["code"], &answer["retryable"], &answer["retryAfter"]),
        (&json!("rate-limited"), &json!(true), &json!(1))
    );
    world.frames_are(&mut ben, &["message"; 20]);
    world.advance(Duration::from_secs(1));
    assert_eq!(world.ask(&ann, request)["type"], "ok", "the refused one was not remembered");
    assert_eq!(world.event_kinds().iter().filter(|kind| *kind == "limit.tripped frames").count(), 1);
}

#[test]
fn bytes_are_counted_as_well() {
    let limits = Limits { bytes_per_second: 1000, bytes_burst: 2000, ..Limits::default() };
    let mut world = World::with(Options { limits, ..Options::default() });
    let ann = world.phone("ann");
    let big =
        |id: &str| json!({"id": id, "type": "message", "to": {"user": "ann"}, "data": "x".repeat(1500)});
    assert_eq!(world.ask(&ann, big("1"))["code"], "peer-offline");
    assert_eq!(world.ask(&ann, big("2"))["code"], "rate-limited");
}

#[test]
fn services_have_no_such_limits() {
    let limits = Limits { frames_per_second: 1, frames_burst: 1, ..Limits::default() };
    let mut world = World::with(Options { limits, ..Options::default() });
    let mut grants = everything();
    grants.role = Role::Sfu;
    world.grants.insert("sfu".to_owned(), grants);
    let (sfu, mut ann) = (world.phone("sfu"), world.phone("ann"));
    for _ in 0..50 {
        world.send(&sfu, json!({"type": "message", "to": {"user": "ann"}, "data": 1}));
    }
    world.frames_are(&mut ann, &["message"; 50]);
}

#[test]
fn refused_frames_close_the_socket_when_there_are_too_many() {
    let mut world = World::new();
    let mut ann = world.phone("ann");
    for _ in 0..20 {
        world.send(&ann, json!({"type": "dance"}));
    }
    assert_eq!(world.frames_are(&mut ann, &["error"; 20])[0]["code"], "unknown-type");
    assert_eq!(world.closed(&ann), None);
    world.send(&ann, json!({"type": "dance"}));
    assert_eq!(world.closed(&ann), Some(CloseCode::Abusive));
}

#[test]
fn each_kind_of_bad_frame_has_its_answer() {
    let long = json!({"type": "message", "to": {"user": "ben"}, "data": "x".repeat(65 << 10)}).to_string();
    for (text, error, close) in [
        ("{", None, Some(CloseCode::BadProtocol)),
        ("[1]", None, Some(CloseCode::BadProtocol)),
        (long.as_str(), None, Some(CloseCode::TooLarge)),
        (r#"{"id":"1","type":"x"}"#, Some("unknown-type"), None),
        (r#"{"id":"1","type":"join"}"#, Some("bad-request"), None),
        (r#"{"id":"1","type":"join","room":"a\u0000"}"#, Some("bad-request"), None),
        (r#"{"id":"1","type":"message","to":{"user":"nobody"},"data":1}"#, Some("peer-offline"), None),
        (
            r#"{"id":"1","type":"message","to":{"session":"s_AAAAAAAAAAAAAAAAAAAAAA"},"data":1}"#,
            Some("peer-offline"),
            None,
        ),
        (r#"{"id":"1","type":"message","to":{"room":"r"},"data":1}"#, Some("forbidden"), None),
        (r#"{"id":"1","type":"ping","as":{"user":"x"}}"#, Some("forbidden"), None),
    ] {
        let mut world = World::new();
        let (ann, mut ben) = (world.phone("ann"), world.phone("ben"));
        world.send_text(&ann, text);
        let answer = world.next(&ann);
        assert_eq!(answer.as_ref().and_then(|answer| answer["code"].as_str()), error, "{text:.80}");
        if let Some(answer) = answer {
            assert_eq!(answer["re"], "1");
        }
        assert_eq!(world.closed(&ann), close, "{text:.80}");
        assert_eq!(world.closed(&ben), None);
        world.frames_are(&mut ben, &[]);
    }
}

#[test]
fn a_violation_below_the_frames_closes_with_its_code() {
    for code in [CloseCode::UnsupportedData, CloseCode::TooLarge] {
        let mut world = World::new();
        let (ann, guest) = (world.phone("ann"), world.open().unwrap());
        for connection in [ann.connection, guest] {
            world.server.handle_violation(world.now, connection, code);
        }
        world.pump();
        assert_eq!((world.closed(&ann), world.closed(guest)), (Some(code), Some(code)));
    }
}

#[test]
fn an_acknowledgement_of_what_was_not_sent_is_none() {
    let mut world = World::new();
    let (mut ann, mut ben) = (world.phone("ann"), world.phone("ben"));
    world.send(&ann, json!({"type": "ack", "seq": u64::MAX}));
    world.ask(&ben, json!({"id": "1", "type": "message", "to": {"user": "ann"}, "data": 1, "receipt": true}));
    world.frames_are(&mut ben, &[]);
    world.frames_are(&mut ann, &["message"]);
    world.drop_socket(&ann);
    ann.seq = 0;
    assert_eq!(world.resume(&mut ann)["replay"], 1);
}

#[test]
fn messages_need_a_grant_or_a_common_room() {
    let mut world = World::new();
    let mut grants = everything();
    grants.message = false;
    grants.presence = false;
    world.grants.insert("ann".to_owned(), grants);
    let (ann, ben) = (world.phone("ann"), world.phone("ben"));
    let to_user = json!({"id": "1", "type": "message", "to": {"user": "ben"}, "data": 1});
    assert_eq!(world.ask(&ann, to_user)["code"], "forbidden");
    let to_session =
        |id: &str| json!({"id": id, "type": "message", "to": {"session": ben.session}, "data": 1});
    assert_eq!(world.ask(&ann, to_session("2"))["code"], "forbidden");
    for phone in [&ann, &ben] {
        world.ask(phone, json!({"id": "j", "type": "join", "room": "conv"}));
    }
    assert_eq!(world.ask(&ann, to_session("3"))["type"], "ok");
    assert_eq!(world.ask(&ann, json!({"id": "4", "type": "presence", "set": "away"}))["code"], "forbidden");
}
