//! From the offer to the answer, or to none.

use iceway::signaling::{CallState, Outcome, UserId};
use serde_json::json;

use super::*;

#[test]
fn a_call_is_offered_rings_is_answered_and_hung_up() {
    let mut world = world();
    let (mut ann, mut bob) = (world.phone_at("ann", "web"), world.phone_at("bob", "phone"));
    let ok = world.ask(&ann, offer("c_1", "bob"));
    assert_eq!(ok, json!({"re": "offer-c_1", "type": "ok", "call": "c_1", "delivered": 1}));
    let offered = world.frames_are(&mut bob, &["call-offer"]).remove(0);
    assert_eq!(
        offered,
        json!({"seq": 1, "type": "call-offer", "call": "c_1", "media": ["audio"], "polite": true,
            "from": {"user": "ann", "session": ann.session, "device": "web"},
            "expiresAt": world.now.unix_millis + 60_000, "data": {"type": "offer", "sdp": "c_1"}})
    );
    world.advance(seconds(1));
    world.send(&bob, ringing("c_1"));
    world.send(&bob, ringing("c_1"));
    world.advance(seconds(2));
    assert_eq!(world.ask(&bob, answer("c_1")), json!({"re": "answer-c_1", "type": "ok"}));
    let told = world.frames_are(&mut ann, &["call-ringing", "call-answer"]);
    assert_eq!(told[1]["from"]["session"], bob.session.as_str());
    assert_eq!((&told[1]["polite"], &told[1]["data"]["type"]), (&json!(false), &json!("answer")));
    world.advance(seconds(10));
    let in_call = ["ann", "bob", "eve"].map(|name| world.server.is_in_call(&UserId::parse(name).unwrap()));
    assert_eq!(in_call, [true, true, false]);
    assert_eq!(world.ask(&ann, hangup("c_1", "user"))["type"], "ok");
    let ended = world.frames_are(&mut bob, &["call-hangup"]).remove(0);
    assert_eq!((&ended["reason"], &ended["from"]["user"]), (&json!("user"), &json!("ann")));
    assert_eq!(step_names(&world, "c_1"), ["created", "ringing", "answered", "ended"]);
    let record = last(&world, "c_1");
    assert_eq!((record.state, record.outcome), (CallState::Ended, Some(Outcome::Completed)));
    assert_eq!(record.rung.unwrap() - record.created, 1000);
    assert_eq!(record.answered.unwrap() - record.created, 3000);
    assert_eq!(record.ended.unwrap() - record.created, 13_000);
    let figures = world.server.call_figures();
    assert_eq!((figures.ringing, figures.active), (0, 0));
    assert_eq!((figures.ringing_after.sum_millis, figures.answer_after.sum_millis), (1000, 2000));
    assert_eq!((figures.lasted.sum_millis, figures.lasted.count), (10_000, 1));
    assert!(figures.outcomes().any(|counted| counted == (Outcome::Completed, 1)));
}

#[test]
fn of_three_devices_that_answer_at_once_one_wins_and_the_others_stop() {
    let mut world = world();
    let mut ann = world.phone("ann");
    let mut devices: Vec<_> = ["web", "phone", "desk"].map(|device| world.phone_at("bob", device)).into();
    assert_eq!(world.ask(&ann, offer("c_1", "bob"))["delivered"], 3);
    for device in &devices {
        world.send(device, candidate("c_1", "mine"));
    }
    let replies: Vec<_> = devices.iter().map(|device| world.ask(device, answer("c_1"))).collect();
    assert_eq!(replies[0]["type"], "ok");
    for reply in &replies[1..] {
        assert_eq!((&reply["code"], &reply["retryable"]), (&json!("answered-elsewhere"), &json!(false)));
    }
    let won = world.frames_are(&mut ann, &["call-answer", "ice-candidate"]);
    assert!(won.iter().all(|frame| frame["from"]["session"] == devices[0].session.as_str()));
    world.frames_are(&mut devices[0], &["call-offer"]);
    for device in &mut devices[1..] {
        let frames = world.frames_are(device, &["call-offer", "call-cancelled"]);
        assert_eq!(frames[1]["reason"], "answered-elsewhere");
        for frame in [hangup("c_1", "user"), reject("c_1", "declined", "user"), rejoin("c_1")] {
            assert_eq!(world.ask(device, frame)["code"], "answered-elsewhere");
        }
    }
    assert_eq!(
        world.ask(&devices[0], json!({"id": "a2", "type": "call-answer", "call": "c_1", "data": 1}))["type"],
        "ok"
    );
    assert_eq!(step_names(&world, "c_1"), ["created", "answered"]);
}

#[test]
fn the_answer_to_an_answer_waits_until_it_is_kept() {
    let mut world = world();
    let (ann, bob) = (world.phone("ann"), world.phone("bob"));
    world.keeps_events = false;
    world.send(&ann, offer("c_1", "bob"));
    assert_eq!(world.next(&ann), None, "the offer is not kept yet");
    assert_eq!(world.next(&bob).unwrap()["type"], "call-offer");
    world.send(&bob, answer("c_1"));
    assert_eq!(world.next(&bob), None);
    let kept = world.events.last().unwrap().number;
    world.server.handle_recorded(world.now, kept);
    world.pump();
    assert_eq!(world.next(&bob).unwrap()["re"], "answer-c_1");
}

#[test]
fn the_offer_for_a_user_without_devices_waits_and_the_backend_wakes_one() {
    let mut world = world();
    let mut ann = world.phone("ann");
    let ok = world.ask(&ann, offer("c_1", "bob"));
    assert_eq!((&ok["delivered"], &ok["pushed"]), (&json!(0), &json!(1)));
    world.send(&ann, candidate("c_1", "one"));
    world.send(&ann, candidate("c_1", "two"));
    world.advance(seconds(30));
    let mut bob = world.phone("bob");
    let frames = world.frames_are(&mut bob, &["call-offer", "ice-candidate", "ice-candidate"]);
    assert_eq!(frames[2]["candidates"][0]["candidate"], "two");
    assert_eq!(world.ask(&bob, answer("c_1"))["type"], "ok");
    world.frames_are(&mut ann, &["call-answer"]);
    assert_eq!(step_names(&world, "c_1"), ["created", "push_needed", "answered"]);
    assert_eq!(last(&world, "c_1").devices, 1);
}

#[test]
fn a_device_is_woken_when_none_has_a_socket_and_its_old_session_still_has_the_offer() {
    let mut world = world();
    let ann = world.phone("ann");
    let mut bob = world.phone("bob");
    world.drop_socket(&bob);
    let ok = world.ask(&ann, offer("c_1", "bob"));
    assert_eq!((&ok["delivered"], &ok["pushed"]), (&json!(1), &json!(1)));
    assert_eq!(world.resume(&mut bob)["resumed"], true);
    world.frames_are(&mut bob, &["call-offer"]);
    // The only device goes while another call rings: the backend is told then.
    assert_eq!(world.ask(&ann, offer("c_2", "bob")).get("pushed"), None);
    world.drop_socket(&bob);
    assert_eq!(step_names(&world, "c_2"), ["created", "push_needed"]);
}

#[test]
fn an_offer_that_is_not_answered_in_time_is_missed_by_all() {
    let mut world = world();
    let (mut ann, mut bob) = (world.phone("ann"), world.phone("bob"));
    let mut frame = offer("c_1", "bob");
    frame["ttl"] = json!(20);
    world.ask(&ann, frame);
    world.frames_are(&mut bob, &["call-offer"]);
    world.advance(Duration::from_millis(19_999));
    assert!(world.frames(&mut bob).is_empty());
    world.advance(Duration::from_millis(1));
    for phone in [&mut ann, &mut bob] {
        assert_eq!(world.frames_are(phone, &["call-cancelled"])[0]["reason"], "timeout");
    }
    assert_eq!(step_names(&world, "c_1"), ["created", "missed"]);
    assert_eq!(world.ask(&bob, answer("c_1"))["code"], "call-ended");
    let mut late = world.phone("bob");
    assert!(world.frames(&mut late).is_empty(), "nothing rings for what is over");
}

#[test]
fn a_user_declines_on_all_devices_and_a_device_only_for_itself() {
    let mut world = world();
    let mut ann = world.phone("ann");
    let (mut web, mut phone) = (world.phone_at("bob", "web"), world.phone_at("bob", "phone"));
    world.ask(&ann, offer("c_1", "bob"));
    assert_eq!(world.ask(&web, reject("c_1", "media-failed", "device"))["type"], "ok");
    assert!(world.frames(&mut ann).is_empty(), "the other one still rings");
    assert_eq!(world.ask(&web, answer("c_1"))["code"], "call-ended");
    assert_eq!(world.ask(&phone, reject("c_1", "declined", "user"))["type"], "ok");
    let told = world.frames_are(&mut ann, &["call-reject"]).remove(0);
    assert_eq!((&told["reason"], &told["from"]["device"]), (&json!("declined"), &json!("phone")));
    world.frames_are(&mut web, &["call-offer"]);
    world.frames_are(&mut phone, &["call-offer"]);
    let record = last(&world, "c_1");
    assert_eq!((record.outcome, record.reason.as_deref()), (Some(Outcome::Rejected), Some("declined")));

    world.ask(&ann, offer("c_2", "bob"));
    assert_eq!(world.ask(&web, reject("c_2", "busy", "user"))["type"], "ok");
    let stopped = world.frames_are(&mut phone, &["call-offer", "call-cancelled"]).remove(1);
    assert_eq!(stopped["reason"], "rejected-elsewhere");
    assert_eq!(world.frames_are(&mut ann, &["call-reject"])[0]["reason"], "busy");
}

#[test]
fn when_the_last_device_cannot_take_it_the_caller_does_not_ring_on() {
    let mut world = world();
    let mut ann = world.phone("ann");
    let bob = world.phone("bob");
    world.ask(&ann, offer("c_1", "bob"));
    world.ask(&bob, reject("c_1", "media-failed", "device"));
    assert_eq!(world.frames_are(&mut ann, &["call-reject"])[0]["reason"], "media-failed");
    assert_eq!(step_names(&world, "c_1"), ["created", "rejected"]);
}

#[test]
fn the_caller_gives_up_and_every_device_stops() {
    let mut world = world();
    let ann = world.phone("ann");
    let mut devices: Vec<_> = ["web", "phone"].map(|device| world.phone_at("bob", device)).into();
    world.ask(&ann, offer("c_1", "bob"));
    assert_eq!(world.ask(&ann, hangup("c_1", "user"))["type"], "ok");
    for device in &mut devices {
        let frames = world.frames_are(device, &["call-offer", "call-cancelled"]);
        assert_eq!(frames[1]["reason"], "caller-hangup");
    }
    assert_eq!(last(&world, "c_1").outcome, Some(Outcome::Cancelled));
    assert_eq!(world.ask(&ann, hangup("c_1", "user"))["type"], "ok", "the same request");
    let again = json!({"id": "other", "type": "call-hangup", "call": "c_1"});
    assert_eq!(world.ask(&ann, again.clone())["code"], "call-ended");
    world.advance(seconds(61));
    assert_eq!(world.ask(&devices[0], again)["code"], "no-such-call");
}

#[test]
fn candidates_before_the_answer_go_to_all_that_ring_and_back_only_from_the_winner() {
    let mut world = world();
    let mut ann = world.phone("ann");
    let (mut web, mut phone) = (world.phone_at("bob", "web"), world.phone_at("bob", "phone"));
    world.ask(&ann, offer("c_1", "bob"));
    world.send(&ann, candidate("c_1", "all"));
    let mut one = candidate("c_1", "one");
    one["to"] = json!({"session": web.session});
    one["id"] = json!("k1");
    assert_eq!(world.ask(&ann, one.clone())["type"], "ok");
    one["to"] = json!({"session": ann.session});
    one["id"] = json!("k2");
    assert_eq!(world.ask(&ann, one)["code"], "not-found");
    world.frames_are(&mut web, &["call-offer", "ice-candidate", "ice-candidate"]);
    world.frames_are(&mut phone, &["call-offer", "ice-candidate"]);
    world.send(&web, candidate("c_1", "loser"));
    world.send(&phone, json!({"type": "ice-candidate", "call": "c_1", "end": true}));
    assert!(world.frames(&mut ann).is_empty());
    world.ask(&phone, answer("c_1"));
    let frames = world.frames_are(&mut ann, &["call-answer", "ice-candidate"]);
    assert_eq!((&frames[1]["end"], &frames[1]["candidates"]), (&json!(true), &json!([])));
    world.send(&ann, candidate("c_1", "later"));
    world.frames_are(&mut phone, &["ice-candidate"]);
    world.frames_are(&mut web, &["call-cancelled"]);
}

#[test]
fn sixty_four_candidates_wait_for_an_answer_and_no_more() {
    let mut world = world();
    let mut ann = world.phone("ann");
    let bob = world.phone("bob");
    world.ask(&ann, offer("c_1", "bob"));
    for number in 0..65 {
        let mut frame = candidate("c_1", &number.to_string());
        frame["id"] = json!(format!("k{number}"));
        let reply = world.ask(&bob, frame);
        assert_eq!(reply["type"] == "ok", number < 64, "{number}: {reply}");
    }
    world.ask(&bob, answer("c_1"));
    assert_eq!(world.frames(&mut ann).len(), 1 + 64);
}

#[test]
fn a_room_rings_and_the_first_member_who_answers_wins() {
    let mut world = world();
    let mut phones: Vec<_> = ["ann", "bob", "cy"].map(|user| world.phone(user)).into();
    for phone in &phones {
        let joined = world.ask(phone, json!({"id": "j", "type": "join", "room": "conv"}));
        assert_eq!(joined["type"], "ok");
    }
    for phone in &mut phones {
        world.frames(phone);
    }
    let mut frame = offer("c_1", "");
    frame["to"] = json!({"room": "conv"});
    assert_eq!(world.ask(&phones[0], frame)["delivered"], 2);
    assert_eq!(world.ask(&phones[1], reject("c_1", "declined", "user"))["type"], "ok");
    assert_eq!(world.ask(&phones[2], answer("c_1"))["type"], "ok");
    assert_eq!(world.frames_are(&mut phones[2], &["call-offer"])[0]["room"], "conv");
    world.frames_are(&mut phones[0], &["call-answer"]);
    let record = last(&world, "c_1");
    assert_eq!((record.callee, record.room.unwrap().as_str().to_owned()), (None, "conv".to_owned()));
    let mut stranger = offer("c_2", "");
    stranger["to"] = json!({"room": "conv"});
    let dan = world.phone("dan");
    assert_eq!(world.ask(&dan, stranger)["code"], "forbidden");
}

#[test]
fn one_session_is_called() {
    let mut world = world();
    let mut ann = world.phone("ann");
    let (mut web, mut phone) = (world.phone_at("bob", "web"), world.phone_at("bob", "phone"));
    let mut frame = offer("c_1", "");
    frame["to"] = json!({"session": phone.session});
    assert_eq!(world.ask(&ann, frame.clone())["delivered"], 1);
    assert!(world.frames(&mut web).is_empty());
    assert_eq!(world.ask(&web, answer("c_1"))["code"], "no-such-call");
    world.frames_are(&mut phone, &["call-offer"]);
    // The same device comes back with a new session.
    world.send(&phone, json!({"type": "bye"}));
    let mut again = world.phone_at("bob", "phone");
    world.frames_are(&mut again, &["call-offer"]);
    assert_eq!(world.ask(&again, answer("c_1"))["type"], "ok");
    world.frames_are(&mut ann, &["call-answer"]);
    frame["to"] = json!({"session": phone.session});
    frame["call"] = json!("c_2");
    frame["id"] = json!("o2");
    assert_eq!(world.ask(&ann, frame)["code"], "peer-offline");
}
