//! Rooms, their versions, media servers.

use std::time::Duration;

use iceway::signaling::{ErrorCode, Limits, Options, Role, RoomGrant, RoomRight};
use serde_json::{Value, json};

use crate::support::{World, denial, everything};

fn join(room: &str) -> Value {
    json!({"id": format!("join-{room}"), "type": "join", "room": room})
}

#[test]
fn members_learn_who_comes_changes_and_leaves() {
    let mut world = World::new();
    let (mut ann, mut ben) = (world.phone("ann"), world.phone("ben"));
    let answer =
        world.ask(&ann, json!({"id": "1", "type": "join", "room": "conv", "state": {"name": "Ann"}}));
    assert_eq!(answer, json!({"re": "1", "type": "ok", "room": {"id": "conv", "ver": 1, "members": []}}));
    world.advance(Duration::from_secs(1));
    let answer = world.ask(&ben, join("conv"));
    let ann_there = json!({"session": ann.session, "user": "ann", "role": "user", "state": {"name": "Ann"}});
    assert_eq!(answer["room"], json!({"id": "conv", "ver": 2, "members": [ann_there]}));
    let frames = world.frames_are(&mut ann, &["room-event"]);
    let ben_there = json!({"session": ben.session, "user": "ben", "role": "user", "state": {}});
    assert_eq!(
        frames[0],
        json!({"seq": 1, "type": "room-event", "room": "conv", "ver": 2, "joined": [ben_there]})
    );
    world.advance(Duration::from_secs(1));
    world.ask(&ben, json!({"id": "2", "type": "join", "room": "conv", "state": 5}));
    let frames = world.frames_are(&mut ann, &["room-event"]);
    assert_eq!((&frames[0]["ver"], &frames[0]["changed"][0]["state"]), (&json!(3), &json!(5)));
    world.advance(Duration::from_secs(1));
    world.ask(&ben, json!({"id": "3", "type": "leave", "room": "conv"}));
    let frames = world.frames_are(&mut ann, &["room-event"]);
    assert_eq!((&frames[0]["ver"], &frames[0]["left"]), (&json!(4), &json!([ben.session])));
    assert_eq!(world.ask(&ben, json!({"id": "4", "type": "leave", "room": "conv"}))["code"], "not-found");
    world.frames_are(&mut ben, &["room-event"]);
    let events: Vec<_> = world.event_kinds().into_iter().filter(|kind| kind.starts_with("room")).collect();
    assert_eq!(events, ["room.started", "room.joined", "room.joined", "room.left"]);
}

#[test]
fn changes_of_a_moment_are_told_together() {
    let mut world = World::new();
    let mut ann = world.phone("ann");
    world.ask(&ann, join("conv"));
    world.advance(Duration::from_secs(1));
    for index in 0..5 {
        let phone = world.phone(&format!("user-{index}"));
        world.ask(&phone, join("conv"));
    }
    world.frames_are(&mut ann, &["room-event"]);
    world.advance(Duration::from_millis(49));
    world.frames_are(&mut ann, &[]);
    world.advance(Duration::from_millis(1));
    let frames = world.frames_are(&mut ann, &["room-event"]);
    assert_eq!(frames[0]["joined"].as_array().unwrap().len(), 4);
    assert_eq!(frames[0]["ver"], 3);
}

#[test]
fn a_message_to_a_room_follows_what_happened_before_it() {
    let mut world = World::new();
    let (mut ann, ben) = (world.phone("ann"), world.phone("ben"));
    world.ask(&ann, join("conv"));
    world.ask(&ben, join("conv"));
    world.ask(&ben, json!({"id": "m", "type": "message", "to": {"room": "conv"}, "data": 1}));
    let frames = world.frames_are(&mut ann, &["room-event", "message"]);
    assert_eq!(frames[1]["room"], "conv");
    let stranger = world.phone("stranger");
    let answer =
        world.ask(&stranger, json!({"id": "m", "type": "message", "to": {"room": "conv"}, "data": 1}));
    assert_eq!(answer["code"], "forbidden");
}

#[test]
fn a_member_that_does_not_read_gets_one_whole_telling_for_many() {
    let mut world = World::new();
    let mut ann = world.phone("ann");
    world.ask(&ann, join("conv"));
    world.drop_socket(&ann);
    for index in 0..40 {
        world.advance(Duration::from_secs(1));
        let phone = world.phone(&format!("user-{index}"));
        world.ask(&phone, join("conv"));
    }
    world.resume(&mut ann);
    let frames = world.frames_are(&mut ann, &["room-event"]);
    assert_eq!(frames[0]["snapshot"], true);
    assert_eq!(frames[0]["ver"], 41);
    assert_eq!(frames[0]["members"].as_array().unwrap().len(), 41);
}

#[test]
fn a_room_is_joined_by_grant_or_by_decision_or_not() {
    let mut world = World::new();
    let mut grants = everything();
    grants.rooms = vec![
        RoomGrant { name: "team-*".into(), rights: vec![RoomRight::Join] },
        RoomGrant { name: "team-1".into(), rights: vec![RoomRight::Send] },
        RoomGrant { name: "closed".into(), rights: vec![] },
    ];
    world.grants.insert("ann".to_owned(), grants.clone());
    let ann = world.phone("ann");
    let say =
        |room: &str| json!({"id": format!("say-{room}"), "type": "message", "to": {"room": room}, "data": 1});
    assert_eq!(world.ask(&ann, join("team-1"))["type"], "ok");
    assert_eq!(world.ask(&ann, say("team-1"))["delivered"], 0);
    assert_eq!(world.ask(&ann, join("team-2"))["type"], "ok");
    assert_eq!(world.ask(&ann, say("team-2"))["code"], "forbidden");
    assert_eq!(world.ask(&ann, join("closed"))["code"], "forbidden");
    assert!(!world.asked.iter().any(|ask| ask.starts_with("Join")));
    world.rights.push_back(Err(denial(ErrorCode::UpstreamTimeout)));
    assert_eq!(world.ask(&ann, join("other"))["code"], "upstream-timeout");
    let answer = iceway::signaling::Answer { attrs: Some(r#"{"displayName":"Ann"}"#.into()) };
    world.rights.push_back(Ok(answer));
    assert_eq!(world.ask(&ann, json!({"id": "again", "type": "join", "room": "other"}))["type"], "ok");
    let ben = world.phone("ben");
    let answer = world.ask(&ben, join("other"));
    assert_eq!(answer["room"]["members"][0]["attrs"], json!({"displayName": "Ann"}));
    world.ask(&ann, json!({"id": "s", "type": "join", "room": "other", "state": {"attrs": 1}}));
    let answer = world.ask(&ben, json!({"id": "look", "type": "join", "room": "other"}));
    assert_eq!(
        answer["room"]["members"][0]["attrs"],
        json!({"displayName": "Ann"}),
        "a state does not touch it"
    );
    grants.ask_rooms = false;
    world.grants.insert("cleo".to_owned(), grants);
    let cleo = world.phone("cleo");
    assert_eq!(world.ask(&cleo, join("other"))["code"], "forbidden");
}

#[test]
fn rooms_and_joins_have_bounds() {
    let limits = Limits {
        room_members: 2,
        rooms_per_session: 2,
        joins_per_minute: 4,
        state_bytes: 10,
        ..Limits::default()
    };
    let mut world = World::with(Options { limits, ..Options::default() });
    let (ann, ben, cleo) = (world.phone("ann"), world.phone("ben"), world.phone("cleo"));
    for phone in [&ann, &ben] {
        assert_eq!(world.ask(phone, join("a"))["type"], "ok");
    }
    assert_eq!(world.ask(&cleo, join("a"))["code"], "limit-exceeded");
    assert_eq!(world.ask(&ann, join("b"))["type"], "ok");
    assert_eq!(world.ask(&ann, join("c"))["code"], "limit-exceeded");
    let big = json!({"id": "big", "type": "join", "room": "b", "state": "0123456789"});
    assert_eq!(world.ask(&ann, big)["code"], "too-large");
    for index in 0..2 {
        world.ask(&ann, json!({"id": format!("l{index}"), "type": "leave", "room": "b"}));
        let answer = world.ask(&ann, json!({"id": format!("j{index}"), "type": "join", "room": "b"}));
        assert_eq!(answer["type"], "ok", "{answer}");
    }
    world.ask(&ann, json!({"id": "l", "type": "leave", "room": "b"}));
    let answer = world.ask(&ann, json!({"id": "j", "type": "join", "room": "b"}));
    assert_eq!((&answer["code"], &answer["retryAfter"]), (&json!("rate-limited"), &json!(15)));
}

#[test]
fn a_room_keeps_its_media_server_and_a_new_one_goes_to_the_least_busy() {
    let mut world = World::new();
    let mut grants = everything();
    grants.role = Role::Sfu;
    grants.rooms = vec![RoomGrant { name: "*".into(), rights: vec![RoomRight::Join, RoomRight::Send] }];
    for sfu in ["sfu-1", "sfu-2"] {
        world.grants.insert(sfu.to_owned(), grants.clone());
    }
    let (mut one, mut two, ann) = (world.phone("sfu-1"), world.phone("sfu-2"), world.phone("ann"));
    assert_eq!(world.ask(&one, json!({"id": "l", "type": "load", "load": 0.9}))["type"], "ok");
    assert_eq!(world.ask(&two, json!({"id": "l", "type": "load", "load": 0.2}))["type"], "ok");
    assert_eq!(world.ask(&ann, json!({"id": "l", "type": "load", "load": 0.2}))["code"], "forbidden");
    world.ask(&ann, join("conv"));
    let say =
        |id: &str| json!({"id": id, "type": "message", "to": {"role": "sfu", "room": "conv"}, "data": id});
    world.ask(&ann, say("1"));
    world.frames_are(&mut two, &["message"]);
    world.ask(&two, json!({"id": "l2", "type": "load", "load": 1.0}));
    world.ask(&ann, say("2"));
    world.frames_are(&mut two, &["message"]);
    world.ask(&two, json!({"type": "bye", "id": "bye"}));
    world.ask(&ann, say("3"));
    world.frames_are(&mut one, &["message"]);
    world.send(&one, json!({"type": "bye"}));
    assert_eq!(world.ask(&ann, say("4"))["code"], "peer-offline");
}

#[test]
fn who_is_gone_for_good_leaves_its_rooms() {
    let mut world = World::new();
    let (mut ann, ben) = (world.phone("ann"), world.phone("ben"));
    world.ask(&ann, join("conv"));
    world.advance(Duration::from_secs(1));
    world.ask(&ben, join("conv"));
    world.frames_are(&mut ann, &["room-event"]);
    world.drop_socket(&ben);
    world.advance(Duration::from_secs(59));
    world.frames_are(&mut ann, &[]);
    world.advance(Duration::from_secs(1));
    let frames = world.frames_are(&mut ann, &["room-event"]);
    assert_eq!(frames[0]["left"], json!([ben.session]));
    assert!(world.event_kinds().contains(&"session.lost".to_owned()));
}
