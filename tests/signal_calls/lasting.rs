//! Calls that outlive sockets and sessions while they ring.

use serde_json::json;

use super::*;

#[test]
fn a_call_rings_on_while_its_caller_resumes() {
    let mut world = world();
    let (mut ann, bob) = (world.phone("ann"), world.phone("bob"));
    world.ask(&ann, offer("c_1", "bob"));
    world.drop_socket(&ann);
    world.advance(seconds(30));
    assert_eq!(world.ask(&bob, answer("c_1"))["type"], "ok");
    let mut bob = bob;
    let told = world.frames_are(&mut bob, &["call-offer", "call-peer"]);
    assert_eq!(told[1]["state"], "away");
    assert_eq!(world.resume(&mut ann)["resumed"], true);
    world.frames_are(&mut ann, &["call-answer"]);
    assert_eq!(world.frames_are(&mut bob, &["call-peer"])[0]["state"], "back");
}

#[test]
fn the_same_request_after_a_resume_has_one_effect() {
    let mut world = world();
    let (mut ann, mut bob) = (world.phone("ann"), world.phone("bob"));
    world.stop_reading(&ann);
    world.send(&ann, offer("c_1", "bob"));
    world.drop_socket(&ann);
    assert_eq!(world.resume(&mut ann)["resumed"], true);
    assert_eq!(world.ask(&ann, offer("c_1", "bob"))["delivered"], 1);
    world.frames_are(&mut bob, &["call-offer"]);
    assert_eq!(step_names(&world, "c_1"), ["created"]);
}

#[test]
fn a_caller_whose_session_is_gone_offers_again_and_the_call_goes_on() {
    let mut world = world();
    let mut ann = world.phone_at("ann", "web");
    let mut bob = world.phone("bob");
    world.ask(&ann, offer("c_1", "bob"));
    world.send(&bob, ringing("c_1"));
    world.drop_socket(&ann);
    // Same device: the old session is over at once.
    let mut again = world.phone_at("ann", "web");
    ann.seq = 0;
    world.advance(seconds(4));
    assert_eq!(world.ask(&again, offer("c_1", "bob"))["delivered"], 1);
    world.advance(seconds(20));
    world.frames_are(&mut bob, &["call-offer"]);
    assert_eq!(world.ask(&bob, answer("c_1"))["type"], "ok");
    world.frames_are(&mut again, &["call-answer"]);
    assert_eq!(step_names(&world, "c_1"), ["created", "ringing", "answered"]);
    assert_eq!(last(&world, "c_1").caller.session.to_string(), again.session);
}

#[test]
fn a_call_whose_caller_does_not_come_back_stops_ringing() {
    let mut world = world();
    let ann = world.phone("ann");
    let mut bob = world.phone("bob");
    world.ask(&ann, offer("c_1", "bob"));
    world.send(&ann, json!({"type": "bye"}));
    world.advance(seconds(4));
    world.frames_are(&mut bob, &["call-offer"]);
    world.advance(seconds(1));
    assert_eq!(world.frames_are(&mut bob, &["call-cancelled"])[0]["reason"], "caller-hangup");
    assert_eq!(last(&world, "c_1").reason.as_deref(), Some("lost"));
}

#[test]
fn an_offer_that_was_answered_meanwhile_is_not_made_again() {
    let mut world = world();
    let (ann, _bob) = talking(&mut world, "c_1");
    let mut frame = offer("c_1", "bob");
    frame["id"] = json!("again");
    let reply = world.ask(&ann, frame.clone());
    assert_eq!((&reply["code"], &reply["details"]["state"]), (&json!("duplicate"), &json!("active")));
    world.ask(&ann, hangup("c_1", "user"));
    frame["id"] = json!("and again");
    assert_eq!(world.ask(&ann, frame)["code"], "call-ended");
}

#[test]
fn a_device_that_lost_its_frames_gets_the_offer_again() {
    let mut options = unlimited();
    options.ring_frames = 4;
    let mut world = World::with(options);
    let (ann, mut bob) = (world.phone("ann"), world.phone("bob"));
    world.ask(&ann, offer("c_1", "bob"));
    world.frames_are(&mut bob, &["call-offer"]);
    world.drop_socket(&bob);
    for number in 0..3 {
        world.send(&ann, candidate("c_1", &number.to_string()));
    }
    for _ in 0..10 {
        world.send(&ann, json!({"type": "message", "to": {"user": "bob"}, "data": 1}));
    }
    assert_eq!(world.resume(&mut bob)["resumed"], false);
    let types = ["call-offer", "ice-candidate", "ice-candidate", "ice-candidate"];
    world.frames_are(&mut bob, &types);
    assert_eq!(world.ask(&bob, answer("c_1"))["type"], "ok");
}

#[test]
fn an_ended_call_is_forgotten_and_its_id_free_again() {
    let mut world = world();
    let (ann, bob) = (world.phone("ann"), world.phone("bob"));
    world.ask(&ann, offer("c_1", "bob"));
    world.ask(&bob, reject("c_1", "busy", "user"));
    world.advance(seconds(61));
    let mut frame = offer("c_1", "bob");
    frame["id"] = json!("later");
    assert_eq!(world.ask(&ann, hangup("c_0", "user"))["code"], "no-such-call");
    assert_eq!(world.ask(&ann, frame)["delivered"], 1);
}
