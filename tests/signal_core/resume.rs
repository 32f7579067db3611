//! Going on after a lost socket.

use std::time::Duration;

use iceway::signaling::{CloseCode, Options};
use serde_json::json;

use crate::support::{Phone, World};

fn say(world: &mut World, from: &Phone, to: &str, what: u64) {
    world.send(from, json!({"type": "message", "to": {"user": to}, "data": what}));
}

#[test]
fn what_was_missed_comes_again_in_order() {
    let mut world = World::new();
    let (ann, mut ben) = (world.phone("ann"), world.phone("ben"));
    for number in 1..=3 {
        say(&mut world, &ann, "ben", number);
    }
    world.frames_are(&mut ben, &["message"; 3]);
    world.send(&ben, json!({"type": "ack", "seq": 2}));
    world.drop_socket(&ben);
    for number in 4..=6 {
        say(&mut world, &ann, "ben", number);
    }
    let (session, token) = (ben.session.clone(), ben.resume_token.clone());
    let welcome = world.resume(&mut ben);
    assert_eq!((&welcome["resumed"], &welcome["replay"]), (&json!(true), &json!(3)));
    assert_eq!(ben.session, session);
    assert_ne!(ben.resume_token, token, "a token resumes once");
    let frames = world.frames_are(&mut ben, &["message"; 3]);
    assert_eq!(frames.iter().map(|frame| frame["data"].as_u64().unwrap()).collect::<Vec<_>>(), [4, 5, 6]);
}

#[test]
fn a_frame_that_was_sent_and_not_seen_comes_again() {
    let mut world = World::new();
    let (ann, mut ben) = (world.phone("ann"), world.phone("ben"));
    for number in 1..=3 {
        say(&mut world, &ann, "ben", number);
    }
    world.drop_socket(&ben);
    assert_eq!(world.resume(&mut ben)["replay"], 3);
    world.frames_are(&mut ben, &["message"; 3]);
}

#[test]
fn a_stale_token_another_user_and_a_lost_session_begin_anew() {
    let mut world = World::new();
    let mut ben = world.phone("ben");
    let stale = ben.clone();
    world.drop_socket(&ben);
    world.resume(&mut ben);
    for (mut phone, user) in [(stale, "ben"), (ben.clone(), "ann")] {
        phone.user = user.to_owned();
        let old = phone.session.clone();
        let welcome = world.resume(&mut phone);
        assert_eq!((&welcome["resumed"], &welcome["reason"]), (&json!(false), &json!("unknown")));
        assert_eq!(welcome["snapshot"], json!({"rooms": [], "calls": [], "presence": []}));
        assert_ne!(phone.session, old);
    }
    world.drop_socket(&ben);
    world.advance(Duration::from_secs(61));
    assert_eq!(world.resume(&mut ben)["reason"], "expired");
}

#[test]
fn a_session_resumed_while_its_socket_seems_alive_moves_to_the_new_one() {
    let mut world = World::new();
    let mut ben = world.phone("ben");
    let old = ben.connection;
    assert_eq!(world.resume(&mut ben)["resumed"], true);
    assert_eq!(world.closed(old), Some(CloseCode::Moved));
    let ann = world.phone("ann");
    say(&mut world, &ann, "ben", 1);
    world.frames_are(&mut ben, &["message"]);
}

#[test]
fn too_much_missed_is_a_gap_and_never_a_part() {
    let mut world = World::with(Options { ring_frames: 4, ..Options::default() });
    let (ann, mut ben) = (world.phone("ann"), world.phone("ben"));
    world.ask(&ben, json!({"id": "j", "type": "join", "room": "conv"}));
    world.ask(&ben, json!({"id": "p", "type": "presence", "watch": ["ann", "zoe"]}));
    world.drop_socket(&ben);
    for number in 1..=9 {
        say(&mut world, &ann, "ben", number);
    }
    let (session, epoch) = (ben.session.clone(), ben.epoch.clone());
    let welcome = world.resume(&mut ben);
    assert_eq!((&welcome["resumed"], &welcome["reason"]), (&json!(false), &json!("gap")));
    assert_eq!(ben.session, session, "it is the same, in a new epoch");
    assert_ne!(ben.epoch, epoch);
    assert_eq!(welcome["snapshot"]["rooms"][0]["id"], "conv");
    assert_eq!(
        welcome["snapshot"]["presence"],
        json!([
        {"user": "ann", "status": "online", "devices": 1}, {"user": "zoe", "status": "offline", "devices": 0}])
    );
    world.frames_are(&mut ben, &[]);
    say(&mut world, &ann, "ben", 10);
    let frames = world.frames_are(&mut ben, &["message"]);
    assert_eq!(frames[0]["seq"], 1);
    ben.epoch = epoch;
    assert_eq!(world.resume(&mut ben)["reason"], "epoch");
}

#[test]
fn a_reader_that_never_acknowledges_resumes_as_long_as_the_ring_reaches() {
    let mut world = World::with(Options { ring_frames: 4, ..Options::default() });
    let (ann, mut ben) = (world.phone("ann"), world.phone("ben"));
    for number in 1..=20 {
        say(&mut world, &ann, "ben", number);
    }
    world.frames_are(&mut ben, &["message"; 20]);
    let mut behind = ben.clone();
    world.drop_socket(&ben);
    assert_eq!(world.resume(&mut ben)["resumed"], true);
    (behind.resume_token, behind.seq) = (ben.resume_token.clone(), 15);
    assert_eq!(world.resume(&mut behind)["reason"], "gap");
}

#[test]
fn a_slow_reader_is_closed_and_resumes_with_everything() {
    let mut world = World::with(Options { ring_frames: 10, ..Options::default() });
    let (ann, mut ben) = (world.phone("ann"), world.phone("ben"));
    world.stop_reading(&ben);
    for number in 1..=12 {
        say(&mut world, &ann, "ben", number);
    }
    assert_eq!(world.closed(&ben), Some(CloseCode::Slow));
    world.drop_socket(&ben);
    let welcome = world.resume(&mut ben);
    assert_eq!((&welcome["resumed"], &welcome["replay"]), (&json!(true), &json!(12)));
    world.frames_are(&mut ben, &["message"; 12]);
    let closes: Vec<_> = world.server.counters().closes().filter(|(_, count)| *count > 0).collect();
    assert_eq!(closes, [(CloseCode::Slow, 1)]);
}

#[test]
fn a_request_that_is_sent_again_has_one_effect_and_the_same_answer() {
    let mut world = World::new();
    let (mut ann, mut ben) = (world.phone("ann"), world.phone("ben"));
    let request = json!({"id": "7", "type": "message", "to": {"user": "ben"}, "data": 1});
    let first = world.ask(&ann, request.clone());
    world.drop_socket(&ann);
    world.resume(&mut ann);
    assert_eq!(world.ask(&ann, request), first);
    world.frames_are(&mut ben, &["message"]);
}

#[test]
fn a_request_whose_socket_went_while_it_was_decided_can_be_sent_again() {
    let mut world = World::new();
    let mut ann = world.phone("ann");
    world.decides = false;
    let request = json!({"id": "7", "type": "join", "room": "conv"});
    world.send(&ann, request.clone());
    world.send(&ann, request.clone());
    world.drop_socket(&ann);
    world.decides = true;
    world.resume(&mut ann);
    assert_eq!(world.ask(&ann, request)["type"], "ok");
}

#[test]
fn a_receipt_comes_when_the_client_has_the_frame_and_not_before() {
    let mut world = World::new();
    let (mut ann, mut ben) = (world.phone("ann"), world.phone("ben"));
    let request = json!({"id": "7", "type": "message", "to": {"user": "ben"}, "data": 1, "receipt": true});
    world.ask(&ann, request);
    world.frames_are(&mut ben, &["message"]);
    world.frames_are(&mut ann, &[]);
    world.send(&ben, json!({"type": "ping", "ack": 1}));
    let frames = world.frames_are(&mut ann, &["receipt"]);
    assert_eq!(frames[0], json!({"seq": 1, "type": "receipt", "id": "7", "session": ben.session}));
    world.send(&ben, json!({"type": "ack", "seq": 1}));
    world.frames_are(&mut ann, &[]);
    let request = json!({"id": "8", "type": "message", "to": {"user": "ben"}, "data": 1, "receipt": true});
    world.ask(&ann, request);
    world.frames_are(&mut ben, &["pong", "message"]);
    world.drop_socket(&ben);
    world.resume(&mut ben);
    world.frames_are(&mut ann, &["receipt"]);
}
