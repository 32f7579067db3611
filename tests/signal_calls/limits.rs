//! How often, and how many at once.

use serde_json::json;

use super::*;

fn limited(change: impl FnOnce(&mut Limits)) -> World {
    let mut options = unlimited();
    change(&mut options.limits);
    World::with(options)
}

fn trips(world: &World) -> Vec<String> {
    world.event_kinds().into_iter().filter(|kind| kind.starts_with("limit")).collect()
}

#[test]
fn offers_of_a_user_are_limited_and_the_backend_is_told_once() {
    let mut world = limited(|limits| limits.offers_per_minute = 2);
    let ann = world.phone("ann");
    for call in ["c_1", "c_2"] {
        assert_eq!(world.ask(&ann, offer(call, call))["type"], "ok");
    }
    for call in ["c_3", "c_4"] {
        let reply = world.ask(&ann, offer(call, call));
        assert_eq!((&reply["code"], &reply["retryAfter"]), (&json!("rate-limited"), &json!(60)));
    }
    assert_eq!(trips(&world), ["limit.tripped offers"]);
    world.advance(seconds(60));
    let mut frame = offer("c_3", "c_3");
    frame["id"] = json!("again");
    assert_eq!(world.ask(&ann, frame)["type"], "ok");
}

#[test]
fn another_device_of_the_user_does_not_get_around_it() {
    let mut world = limited(|limits| limits.offers_per_pair = 1);
    let (web, phone) = (world.phone_at("ann", "web"), world.phone_at("ann", "phone"));
    assert_eq!(world.ask(&web, offer("c_1", "bob"))["type"], "ok");
    assert_eq!(world.ask(&phone, offer("c_2", "bob"))["code"], "rate-limited");
    assert_eq!(world.ask(&phone, offer("c_3", "cy"))["type"], "ok");
}

#[test]
fn a_callee_is_called_so_often_and_no_more_whoever_calls() {
    let mut world = limited(|limits| limits.offers_per_callee = 3);
    for number in 0..4 {
        let caller = world.phone(&format!("a{number}"));
        let reply = world.ask(&caller, offer(&format!("c_{number}"), "bob"));
        assert_eq!(reply["type"] == "ok", number < 3, "{reply}");
    }
}

#[test]
fn only_so_many_calls_of_a_user_ring_at_once() {
    let mut world = limited(|limits| limits.ringing_per_user = 2);
    let ann = world.phone("ann");
    for call in ["c_1", "c_2"] {
        assert_eq!(world.ask(&ann, offer(call, call))["type"], "ok");
    }
    assert_eq!(world.ask(&ann, offer("c_3", "bob"))["code"], "limit-exceeded");
    assert_eq!(trips(&world), ["limit.tripped ringing"]);
    world.ask(&ann, hangup("c_1", "user"));
    assert_eq!(world.ask(&ann, offer("c_4", "bob"))["type"], "ok");
}

#[test]
fn who_was_declined_waits() {
    let mut world = limited(|limits| limits.declined_delay = seconds(30));
    let (ann, bob) = (world.phone("ann"), world.phone("bob"));
    world.ask(&ann, offer("c_1", "bob"));
    world.ask(&bob, reject("c_1", "declined", "user"));
    let reply = world.ask(&ann, offer("c_2", "bob"));
    assert_eq!((&reply["code"], &reply["retryAfter"]), (&json!("rate-limited"), &json!(30)));
    assert_eq!(world.ask(&bob, offer("c_3", "ann"))["type"], "ok", "the other way it is free");
    world.ask(&bob, hangup("c_3", "user"));
    world.advance(seconds(30));
    assert_eq!(world.ask(&ann, offer("c_4", "bob"))["type"], "ok");
}

#[test]
fn a_node_keeps_so_many_calls_and_no_more() {
    let mut world = limited(|limits| limits.calls = 2);
    let ann = world.phone("ann");
    for call in ["c_1", "c_2"] {
        assert_eq!(world.ask(&ann, offer(call, call))["type"], "ok");
    }
    assert_eq!(world.ask(&ann, offer("c_3", "bob"))["code"], "unavailable");
    world.ask(&ann, hangup("c_1", "user"));
    assert_eq!(world.ask(&ann, offer("c_4", "bob"))["type"], "ok");
}

#[test]
fn a_callee_in_too_many_calls_is_busy() {
    let mut world = world();
    for number in 0..17 {
        let caller = world.phone(&format!("a{number}"));
        let reply = world.ask(&caller, offer(&format!("c_{number}"), "bob"));
        assert_eq!(reply["code"] == "busy", number == 16, "{reply}");
    }
}
