//! Who may call whom.

use bytes::Bytes;
use iceway::signaling::{Answer, CallGrants, CallMode, Decision, ErrorCode, Role, UserId};
use serde_json::json;

use super::*;

fn granted(world: &mut World, mode: CallMode, to: &[&str]) -> Phone {
    let mut grants = support::everything();
    let to = to.iter().map(|user| UserId::parse(user).unwrap()).collect();
    grants.call = CallGrants { mode, to };
    world.grants.insert("ann".to_owned(), grants);
    let phone = world.phone("ann");
    world.asked.clear();
    phone
}

#[test]
fn grants_allow_forbid_or_have_the_backend_asked() {
    let mut listed = offer("c_1", "bob");
    let mut with_grant = offer("c_2", "bob");
    with_grant["grant"] = json!("signed");
    let cases = [
        (CallMode::Any, &listed, "ok", 0),
        (CallMode::Deny, &listed, "error", 0),
        (CallMode::Deny, &with_grant, "error", 0),
        (CallMode::List, &listed, "ok", 0),
        (CallMode::Grant, &listed, "error", 0),
        (CallMode::Grant, &with_grant, "ok", 1),
        (CallMode::Webhook, &listed, "ok", 1),
    ];
    for (mode, frame, kind, asked) in cases {
        let mut world = world();
        let ann = granted(&mut world, mode, &["bob"]);
        assert_eq!(world.ask(&ann, frame.clone())["type"], kind, "{mode:?}");
        assert_eq!(world.asked, vec!["Call(..)"; asked], "{mode:?}");
    }
    listed["to"] = json!({"user": "cy"});
    let mut world = world();
    let ann = granted(&mut world, CallMode::List, &["bob"]);
    assert_eq!(world.ask(&ann, listed)["code"], "forbidden");
    assert!(world.events.iter().all(|event| !matches!(event.kind, EventKind::Call { .. })));
}

#[test]
fn frames_behind_an_offer_wait_for_the_backend_and_its_words_go_along() {
    let mut world = world();
    let ann = granted(&mut world, CallMode::Webhook, &[]);
    let mut bob = world.phone("bob");
    world.decides = false;
    world.send(&ann, offer("c_1", "bob"));
    world.send(&ann, candidate("c_1", "early"));
    assert!(world.frames(&mut bob).is_empty());
    let attrs = Some(Bytes::from_static(br#"{"displayName":"Ann"}"#));
    world.decide(Decision::Right(Ok(Answer { attrs })));
    let frames = world.frames_are(&mut bob, &["call-offer", "ice-candidate"]);
    assert_eq!(frames[0]["attrs"]["displayName"], "Ann");
    assert!(last(&world, "c_1").attrs.is_some());
}

#[test]
fn the_backend_says_no_or_nothing() {
    let mut world = world();
    let mut ann = granted(&mut world, CallMode::Webhook, &[]);
    world.rights.push_back(Err(support::denial(ErrorCode::Forbidden)));
    world.rights.push_back(Err(support::denial(ErrorCode::UpstreamTimeout)));
    assert_eq!(world.ask(&ann, offer("c_1", "bob"))["code"], "forbidden");
    let reply = world.ask(&ann, offer("c_2", "bob"));
    assert_eq!((&reply["code"], &reply["retryable"]), (&json!("upstream-timeout"), &json!(true)));
    assert!(world.frames(&mut ann).is_empty());
}

#[test]
fn two_sessions_that_ask_for_the_same_id_get_one_call() {
    let mut world = world();
    let ann = granted(&mut world, CallMode::Webhook, &[]);
    let eve = world.phone("eve");
    world.decides = false;
    world.send(&ann, offer("c_1", "bob"));
    world.decides = true;
    assert_eq!(world.ask(&eve, offer("c_1", "cy"))["type"], "ok");
    world.decide(Decision::Right(Ok(Answer::default())));
    assert_eq!(world.next(&ann).unwrap()["code"], "duplicate");
}

#[test]
fn services_are_not_rung() {
    let mut world = world();
    let mut grants = support::everything();
    grants.role = Role::Sfu;
    world.grants.insert("media".to_owned(), grants);
    let (ann, mut sfu) = (world.phone("ann"), world.phone("media"));
    let mut frame = offer("c_1", "media");
    assert_eq!(world.ask(&ann, frame.clone())["delivered"], 0);
    for (to, id) in [(json!({"session": sfu.session}), "o1"), (json!({"role": "sfu", "room": "r"}), "o2")] {
        frame["to"] = to;
        frame["call"] = json!("c_2");
        frame["id"] = json!(id);
        assert_eq!(world.ask(&ann, frame.clone())["code"], "bad-request");
    }
    frame["to"] = json!({"session": ann.session});
    frame["id"] = json!("o3");
    assert_eq!(world.ask(&ann, frame)["code"], "bad-request");
    assert!(world.frames(&mut sfu).is_empty());
}
