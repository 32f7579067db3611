//! Presence, and backends that speak for others.

use std::time::Duration;

use iceway::signaling::{Limits, Options, Role};
use serde_json::{Value, json};

use crate::support::{World, everything};

fn present(user: &str, status: &str, devices: u32) -> Value {
    json!({"user": user, "status": status, "devices": devices})
}

#[test]
fn watchers_learn_how_users_are() {
    let mut world = World::new();
    let mut ann = world.phone("ann");
    let answer = world.ask(&ann, json!({"id": "1", "type": "presence", "watch": ["ben", "ben"]}));
    assert_eq!(answer["presence"], json!([present("ben", "offline", 0)]));
    let told = |world: &mut World, ann: &mut _| {
        let mut frames = world.frames(ann);
        let frame = frames.pop()?;
        assert!(frames.is_empty() && frame["type"] == "presence");
        Some(json!({"user": frame["user"], "status": frame["status"], "devices": frame["devices"]}))
    };
    let ben = world.phone("ben");
    assert_eq!(told(&mut world, &mut ann), Some(present("ben", "online", 1)));
    let tablet = world.phone("ben");
    world.ask(&tablet, json!({"id": "1", "type": "presence", "set": "away"}));
    world.advance(Duration::from_secs(1));
    assert_eq!(told(&mut world, &mut ann), Some(present("ben", "online", 2)));
    world.ask(&tablet, json!({"id": "2", "type": "presence", "set": "dnd"}));
    assert_eq!(told(&mut world, &mut ann), Some(present("ben", "dnd", 2)));
    world.send(&tablet, json!({"type": "bye"}));
    world.drop_socket(&ben);
    world.advance(Duration::from_millis(4900));
    assert_eq!(told(&mut world, &mut ann), None, "most come back at once");
    world.advance(Duration::from_millis(100));
    assert_eq!(told(&mut world, &mut ann), Some(present("ben", "offline", 0)));
    world.ask(&ann, json!({"id": "2", "type": "presence", "watch": []}));
    world.phone("ben");
    assert_eq!(told(&mut world, &mut ann), None);
}

#[test]
fn who_comes_back_within_the_grace_was_never_away() {
    let mut world = World::new();
    let (mut ann, mut ben) = (world.phone("ann"), world.phone("ben"));
    world.ask(&ann, json!({"id": "1", "type": "presence", "watch": ["ben"]}));
    for _ in 0..3 {
        world.drop_socket(&ben);
        world.advance(Duration::from_secs(4));
        world.resume(&mut ben);
    }
    world.advance(Duration::from_secs(20));
    world.frames_are(&mut ann, &[]);
}

#[test]
fn what_was_not_sent_yet_is_told_once_as_it_is_now() {
    let mut world = World::new();
    let (mut ann, ben) = (world.phone("ann"), world.phone("ben"));
    world.ask(&ann, json!({"id": "1", "type": "presence", "watch": ["ben"]}));
    world.drop_socket(&ann);
    for (index, status) in ["away", "dnd", "online", "away"].into_iter().enumerate() {
        world.advance(Duration::from_secs(1));
        world.ask(&ben, json!({"id": index.to_string(), "type": "presence", "set": status}));
    }
    world.resume(&mut ann);
    assert_eq!(world.frames_are(&mut ann, &["presence"])[0]["status"], "away");
}

#[test]
fn services_are_never_present_and_watches_are_bounded() {
    let limits = Limits { watches_per_session: 2, ..Limits::default() };
    let mut world = World::with(Options { limits, ..Options::default() });
    let mut grants = everything();
    grants.role = Role::Recorder;
    world.grants.insert("rec".to_owned(), grants);
    let (ann, _recorder) = (world.phone("ann"), world.phone("rec"));
    let answer = world.ask(&ann, json!({"id": "1", "type": "presence", "watch": ["rec"]}));
    assert_eq!(answer["presence"], json!([present("rec", "offline", 0)]));
    let answer = world.ask(&ann, json!({"id": "2", "type": "presence", "watch": ["a", "b", "c"]}));
    assert_eq!(answer["code"], "limit-exceeded");
}

fn backend(world: &mut World) {
    let mut grants = everything();
    grants.role = Role::Backend;
    world.grants.insert("messenger".to_owned(), grants);
}

#[test]
fn a_backend_speaks_and_hears_for_its_users() {
    let mut world = World::new();
    backend(&mut world);
    let (mut messenger, mut ann) = (world.phone("messenger"), world.phone("ann"));
    let ben = json!({"user": "ben", "device": "web"});
    let answer = world
        .ask(&messenger, json!({"id": "1", "type": "message", "as": ben, "to": {"user": "ann"}, "data": 1}));
    assert_eq!(answer, json!({"re": "1", "type": "ok", "delivered": 1}));
    let frames = world.frames_are(&mut ann, &["message"]);
    let from = frames[0]["from"].clone();
    assert_eq!((&from["user"], &from["device"]), (&json!("ben"), &json!("web")));
    world.ask(
        &ann,
        json!({"id": "1", "type": "message", "to": {"session": from["session"]}, "data": 2, "receipt": true}),
    );
    let frames = world.frames_are(&mut messenger, &["message"]);
    assert_eq!((&frames[0]["as"], &frames[0]["data"], &frames[0]["seq"]), (&from, &json!(2), &json!(1)));
    world.send(&messenger, json!({"type": "ack", "seq": 1}));
    world.frames_are(&mut ann, &["receipt"]);
    let answer = world.ask(&messenger, json!({"id": "2", "type": "join", "as": ben, "room": "conv"}));
    assert_eq!(answer["type"], "ok");
    world.advance(Duration::from_secs(1));
    world.ask(&ann, json!({"id": "2", "type": "join", "room": "conv"}));
    let frames = world.frames_are(&mut messenger, &["room-event"]);
    assert_eq!(frames[0]["as"]["user"], "ben");
    world.advance(Duration::from_secs(1));
    world.ask(&messenger, json!({"id": "3", "type": "bye", "as": ben}));
    let frames = world.frames_are(&mut ann, &["room-event"]);
    assert_eq!(frames[0]["left"], json!([from["session"]]));
    assert_eq!(world.closed(&messenger), None);
}

#[test]
fn whom_a_backend_carried_is_gone_with_it() {
    let mut world = World::new();
    backend(&mut world);
    let (mut messenger, ann) = (world.phone("messenger"), world.phone("ann"));
    for user in ["ben", "cleo"] {
        let frame = json!({"id": user, "type": "presence", "as": {"user": user}, "set": "away"});
        world.ask(&messenger, frame);
    }
    assert_eq!(world.server.gauges().carried, 2);
    world.drop_socket(&messenger);
    world.resume(&mut messenger);
    assert_eq!(world.server.gauges().carried, 2, "a new socket is no reason");
    world.drop_socket(&messenger);
    world.advance(Duration::from_secs(61));
    assert_eq!(world.server.gauges().carried, 0);
    let answer = world.ask(&ann, json!({"id": "1", "type": "message", "to": {"user": "ben"}, "data": 1}));
    assert_eq!(answer["code"], "peer-offline");
}
