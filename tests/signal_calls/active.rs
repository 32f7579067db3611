//! Between the answer and the end.

use iceway::signaling::{CloseCode, Outcome, Role};
use serde_json::json;

use super::*;

#[test]
fn descriptions_and_candidates_go_to_the_other_side_and_say_who_is_polite() {
    let mut world = world();
    let (mut ann, mut bob) = talking(&mut world, "c_1");
    let again =
        json!({"id": "n", "type": "renegotiate", "call": "c_1", "restart": true, "data": {"type": "offer"}});
    assert_eq!(world.ask(&ann, again.clone())["type"], "ok");
    let told = world.frames_are(&mut bob, &["renegotiate"]).remove(0);
    assert_eq!((&told["restart"], &told["polite"]), (&json!(true), &json!(true)));
    assert_eq!(world.ask(&bob, again)["type"], "ok");
    assert_eq!(world.frames_are(&mut ann, &["renegotiate"])[0]["polite"], false);
    world.send(&bob, candidate("c_1", "x"));
    assert_eq!(world.frames_are(&mut ann, &["ice-candidate"])[0]["from"]["user"], "bob");
}

#[test]
fn nobody_else_gets_into_a_call() {
    let mut world = world();
    let (mut ann, mut bob) = talking(&mut world, "c_1");
    let eve = world.phone("eve");
    let mut frames =
        vec![answer("c_1"), hangup("c_1", "user"), reject("c_1", "declined", "user"), rejoin("c_1")];
    frames.push(json!({"id": "n", "type": "renegotiate", "call": "c_1", "data": 1}));
    frames.push(json!({"id": "k", "type": "ice-candidate", "call": "c_1", "candidates": []}));
    frames.push(json!({"id": "r", "type": "call-ringing", "call": "c_1"}));
    frames.push(json!({"id": "u", "type": "call-upgrade", "call": "c_1", "room": "r", "sfu": {}}));
    for frame in frames {
        assert_eq!(world.ask(&eve, frame.clone())["code"], "no-such-call", "{frame}");
    }
    let mut taken = offer("c_1", "bob");
    taken["id"] = json!("taken");
    assert_eq!(world.ask(&eve, taken)["code"], "duplicate");
    let mut desk = world.phone_at("bob", "desk");
    assert_eq!(world.ask(&desk, hangup("c_1", "user"))["code"], "answered-elsewhere");
    assert!(world.frames(&mut ann).is_empty() && world.frames(&mut bob).is_empty());
    assert!(world.frames(&mut desk).is_empty());
}

#[test]
fn a_lost_socket_is_away_then_lost_and_only_both_end_a_call() {
    let mut world = world();
    let (mut ann, mut bob) = talking(&mut world, "c_1");
    world.drop_socket(&bob);
    let away = world.frames_are(&mut ann, &["call-peer"]).remove(0);
    assert_eq!((&away["state"], &away["session"]), (&json!("away"), &json!(bob.session)));
    world.advance(seconds(19));
    assert!(world.frames(&mut ann).is_empty());
    world.advance(seconds(1));
    assert_eq!(world.frames_are(&mut ann, &["call-peer"])[0]["state"], "lost");
    assert_eq!(world.resume(&mut bob)["resumed"], true);
    assert_eq!(world.frames_are(&mut ann, &["call-peer"])[0]["state"], "back");
    world.drop_socket(&bob);
    world.advance(seconds(5));
    world.frames_are(&mut ann, &["call-peer"]);
    world.drop_socket(&ann);
    world.advance(seconds(19));
    assert_eq!(step_names(&world, "c_1"), ["created", "answered"]);
    world.advance(seconds(1));
    assert_eq!(step_names(&world, "c_1"), ["created", "answered", "failed"]);
    let record = last(&world, "c_1");
    assert_eq!((record.outcome, record.reason.as_deref()), (Some(Outcome::Failed), Some("lost")));
    world.resume(&mut ann);
    let frames = world.frames(&mut ann);
    assert!(
        frames.iter().any(|frame| frame["type"] == "call-cancelled" && frame["reason"] == "lost"),
        "{frames:?}"
    );
}

#[test]
fn a_new_session_of_the_same_user_comes_back_into_the_call() {
    let mut world = world();
    let (mut ann, bob) = talking(&mut world, "c_1");
    world.drop_socket(&bob);
    world.frames_are(&mut ann, &["call-peer"]);
    let mut again = world.phone_at("bob", "other");
    let reply = world.ask(&again, rejoin("c_1"));
    assert_eq!(
        (&reply["type"], &reply["state"], &reply["polite"]),
        (&json!("ok"), &json!("active"), &json!(true))
    );
    assert_eq!(reply["peer"]["session"], ann.session.as_str());
    let back = world.frames_are(&mut ann, &["call-peer"]).remove(0);
    assert_eq!((&back["state"], &back["session"]), (&json!("back"), &json!(again.session)));
    world.send(&ann, candidate("c_1", "x"));
    world.frames_are(&mut again, &["ice-candidate"]);
    assert_eq!(world.ask(&again, hangup("c_1", "ice-failed"))["type"], "ok");
    assert_eq!(world.frames_are(&mut ann, &["call-hangup"])[0]["reason"], "ice-failed");
    assert_eq!(step_names(&world, "c_1"), ["created", "answered", "failed"]);
}

#[test]
fn a_session_that_lost_its_frames_finds_its_calls_in_the_snapshot() {
    let mut options = unlimited();
    options.ring_frames = 4;
    let mut world = World::with(options);
    let (mut ann, mut bob) = talking(&mut world, "c_1");
    world.drop_socket(&bob);
    for number in 0..10 {
        world.send(&ann, candidate("c_1", &number.to_string()));
    }
    world.frames(&mut ann);
    let welcome = world.resume(&mut bob);
    assert_eq!((&welcome["resumed"], &welcome["reason"]), (&json!(false), &json!("gap")));
    let calls = &welcome["snapshot"]["calls"];
    assert_eq!((&calls[0]["call"], &calls[0]["state"]), (&json!("c_1"), &json!("active")));
    assert_eq!((&calls[0]["direction"], &calls[0]["peer"]["user"]), (&json!("incoming"), &json!("ann")));
    assert_eq!(world.ask(&bob, rejoin("c_1"))["type"], "ok");
    assert!(world.frames(&mut ann).iter().all(|frame| frame["state"] == "back"));
}

#[test]
fn both_go_on_in_a_media_server_and_so_does_a_room() {
    let mut world = world();
    let (mut ann, mut bob) = talking(&mut world, "c_1");
    let mut frame =
        json!({"id": "u", "type": "call-upgrade", "call": "c_1", "room": "conv", "sfu": {"url": "wss://x"}});
    assert_eq!(world.ask(&ann, frame.clone())["delivered"], 1);
    let told = world.frames_are(&mut bob, &["call-upgrade"]).remove(0);
    assert_eq!((&told["sfu"]["url"], &told["room"]), (&json!("wss://x"), &json!("conv")));
    frame.as_object_mut().unwrap().remove("call");
    frame["id"] = json!("u2");
    assert_eq!(world.ask(&ann, frame.clone())["code"], "forbidden");
    for phone in [&ann, &bob] {
        world.ask(phone, json!({"id": "j", "type": "join", "room": "conv"}));
    }
    frame["id"] = json!("u3");
    assert_eq!(world.ask(&ann, frame)["delivered"], 1);
    assert!(world.frames(&mut bob).iter().any(|frame| frame["type"] == "call-upgrade"));
    world.frames(&mut ann);
}

#[test]
fn candidates_without_a_call_need_a_room_in_common() {
    let mut world = world();
    let (ann, mut bob) = (world.phone("ann"), world.phone("bob"));
    let mut frame =
        json!({"id": "k", "type": "ice-candidate", "to": {"session": bob.session}, "candidates": []});
    assert_eq!(world.ask(&ann, frame.clone())["code"], "forbidden");
    for phone in [&ann, &bob] {
        world.ask(phone, json!({"id": "j", "type": "join", "room": "conv"}));
    }
    world.frames(&mut bob);
    frame["id"] = json!("k2");
    assert_eq!(world.ask(&ann, frame)["type"], "ok");
    assert_eq!(world.frames_are(&mut bob, &["ice-candidate"])[0].get("call"), None);
}

#[test]
fn people_behind_a_backend_call_each_other() {
    let mut world = world();
    let mut grants = support::everything();
    grants.role = Role::Backend;
    world.grants.insert("backend".to_owned(), grants);
    let mut bridge = world.phone("backend");
    let speak = |user: &str, mut frame: Value| {
        frame["as"] = json!({"user": user, "device": "app"});
        frame["id"] = json!(format!("{user}-{}", frame["id"].as_str().unwrap_or_default()));
        frame
    };
    // A first frame makes each of them known.
    for user in ["ann", "bob"] {
        world.ask(&bridge, speak(user, json!({"id": "p", "type": "presence", "set": "online"})));
    }
    assert_eq!(world.ask(&bridge, speak("ann", offer("c_1", "bob")))["delivered"], 1);
    let offered = world.frames_are(&mut bridge, &["call-offer"]).remove(0);
    assert_eq!((&offered["as"]["user"], &offered["from"]["user"]), (&json!("bob"), &json!("ann")));
    assert_eq!(world.ask(&bridge, speak("bob", answer("c_1")))["type"], "ok");
    assert_eq!(world.frames_are(&mut bridge, &["call-answer"])[0]["as"]["user"], "ann");
    assert_eq!(world.ask(&bridge, speak("ann", hangup("c_1", "user")))["type"], "ok");
    world.frames_are(&mut bridge, &["call-hangup"]);
    assert_eq!(world.closed(&bridge), None::<CloseCode>);
}
