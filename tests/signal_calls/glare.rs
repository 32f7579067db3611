//! Both call each other at once.

use iceway::signaling::Outcome;
use serde_json::json;

use super::*;

#[test]
fn of_crossed_offers_the_lesser_id_wins_whichever_came_first() {
    for (first, second) in [("c_1", "c_2"), ("c_2", "c_1")] {
        let mut world = world();
        let (mut ann, mut bob) = (world.phone("ann"), world.phone("bob"));
        world.ask(&ann, offer(first, "bob"));
        let reply = world.ask(&bob, offer(second, "ann"));
        if first == "c_1" {
            assert_eq!((&reply["code"], &reply["details"]["call"]), (&json!("glare"), &json!("c_1")));
            world.frames_are(&mut bob, &["call-offer"]);
            assert!(world.frames(&mut ann).is_empty());
            assert_eq!(world.ask(&bob, answer("c_1"))["type"], "ok");
        } else {
            assert_eq!(reply["type"], "ok");
            let told = world.frames_are(&mut ann, &["call-cancelled", "call-offer"]);
            assert_eq!((&told[0]["call"], &told[0]["reason"]), (&json!("c_2"), &json!("glare")));
            assert_eq!((&told[0]["winner"], &told[1]["call"]), (&json!("c_1"), &json!("c_1")));
            let rang = world.frames_are(&mut bob, &["call-offer", "call-cancelled"]);
            assert_eq!((&rang[1]["reason"], &rang[1]["winner"]), (&json!("glare"), &json!("c_1")));
            assert_eq!(last(&world, "c_2").outcome, Some(Outcome::Glare));
            assert_eq!(world.ask(&ann, answer("c_1"))["type"], "ok");
        }
    }
}

#[test]
fn a_thousand_crossed_offers_become_a_thousand_calls() {
    let mut world = world();
    for number in 0..1000 {
        let (a, b) = (format!("a{number}"), format!("b{number}"));
        let (mut ann, mut bob) = (world.phone(&a), world.phone(&b));
        // Random enough, and the same at every run.
        let swap = (number * 7919) % 3 == 0;
        let (low, high) = (format!("c{number}-1"), format!("c{number}-2"));
        let (of_ann, of_bob) = if swap { (&high, &low) } else { (&low, &high) };
        let replies = [world.ask(&ann, offer(of_ann, &b)), world.ask(&bob, offer(of_bob, &a))];
        assert_eq!(replies[0]["type"], "ok");
        assert_eq!(replies[1]["code"] == "glare", !swap);
        let loser = if swap { &ann } else { &bob };
        assert_eq!(world.ask(loser, answer(&low))["type"], "ok");
        let winner = if swap { &mut bob } else { &mut ann };
        assert!(world.frames(winner).iter().any(|frame| frame["type"] == "call-answer"));
    }
    let figures = world.server.call_figures();
    assert_eq!((figures.ringing, figures.active), (0, 1000));
}

#[test]
fn crossed_offers_of_many_devices_leave_none_ringing() {
    let mut world = world();
    let (mut ann, mut anns_desk) = (world.phone_at("ann", "web"), world.phone_at("ann", "desk"));
    let (mut bob, mut bobs_desk) = (world.phone_at("bob", "web"), world.phone_at("bob", "desk"));
    world.ask(&ann, offer("c_2", "bob"));
    world.ask(&bob, offer("c_1", "ann"));
    world.frames_are(&mut bobs_desk, &["call-offer", "call-cancelled"]);
    world.frames_are(&mut anns_desk, &["call-offer"]);
    assert_eq!(world.ask(&ann, answer("c_1"))["type"], "ok");
    assert_eq!(world.frames_are(&mut anns_desk, &["call-cancelled"])[0]["reason"], "answered-elsewhere");
    world.frames(&mut ann);
    assert!(world.frames(&mut bob).iter().any(|frame| frame["type"] == "call-answer"));
}

#[test]
fn a_call_to_another_device_of_ones_own_is_no_crossing() {
    let mut world = world();
    let (web, mut phone) = (world.phone_at("ann", "web"), world.phone_at("ann", "phone"));
    assert_eq!(world.ask(&web, offer("c_1", "ann"))["delivered"], 1);
    assert_eq!(world.ask(&phone, answer("c_1"))["type"], "ok");
    world.frames_are(&mut phone, &["call-offer"]);
    assert_eq!(world.ask(&phone, hangup("c_1", "user"))["type"], "ok");
}
