//! Scenarios of calls under virtual time.

#![allow(clippy::unwrap_used)]

#[path = "../signal_support_core/mod.rs"]
mod support;

mod active;
mod glare;
mod interleavings;
mod lasting;
mod limits;
mod nodes;
mod rights;
mod ringing;

use std::time::Duration;

use iceway::signaling::{CallRecord, CallStep, EventKind, Limits, Options};
use serde_json::{Value, json};
use support::{Phone, World};

/// A relay on which people may call as often as they like.
fn world() -> World {
    World::with(unlimited())
}

fn unlimited() -> Options {
    let limits = Limits {
        offers_per_minute: 0,
        offers_per_hour: 0,
        callees_per_hour: 0,
        ringing_per_user: 0,
        offers_per_pair: 0,
        offers_per_callee: 0,
        declined_delay: Duration::ZERO,
        unauthenticated_per_address: 10_000,
        connects_per_address: 0,
        descriptions_per_second: 0,
        candidates_per_second: 0,
        frames_per_second: 0,
        errors_per_minute: 0,
        ..Limits::default()
    };
    Options { limits, ..Options::default() }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn offer(call: &str, to: &str) -> Value {
    json!({"id": format!("offer-{call}"), "type": "call-offer", "call": call, "to": {"user": to},
        "media": ["audio"], "data": {"type": "offer", "sdp": call}})
}

fn answer(call: &str) -> Value {
    json!({"id": format!("answer-{call}"), "type": "call-answer", "call": call,
        "data": {"type": "answer", "sdp": call}})
}

fn ringing(call: &str) -> Value {
    json!({"type": "call-ringing", "call": call})
}

fn reject(call: &str, reason: &str, scope: &str) -> Value {
    json!({"id": format!("reject-{call}"), "type": "call-reject", "call": call, "reason": reason, "scope": scope})
}

fn hangup(call: &str, reason: &str) -> Value {
    json!({"id": format!("hangup-{call}"), "type": "call-hangup", "call": call, "reason": reason})
}

fn candidate(call: &str, text: &str) -> Value {
    json!({"type": "ice-candidate", "call": call, "candidates": [{"candidate": text}]})
}

fn rejoin(call: &str) -> Value {
    json!({"id": format!("rejoin-{call}"), "type": "call-rejoin", "call": call})
}

/// Two phones that talk, with nothing unread.
fn talking(world: &mut World, call: &str) -> (Phone, Phone) {
    let mut ann = world.phone_at("ann", "web");
    let mut bob = world.phone_at("bob", "web");
    connect(world, call, &mut ann, &mut bob);
    (ann, bob)
}

fn connect(world: &mut World, call: &str, from: &mut Phone, to: &mut Phone) {
    let user = to.user.clone();
    assert_eq!(world.ask(from, offer(call, &user))["delivered"], 1);
    assert_eq!(world.ask(to, answer(call))["type"], "ok");
    world.frames_are(to, &["call-offer"]);
    world.frames_are(from, &["call-answer"]);
}

/// The steps of a call that the backend was told, with the record each came with.
fn steps(world: &World, call: &str) -> Vec<(CallStep, CallRecord)> {
    let step = |kind: &EventKind| {
        let EventKind::Call { step, call: record } = kind else { return None };
        (record.id.as_str() == call).then(|| (*step, (**record).clone()))
    };
    let steps: Vec<_> = world.events.iter().filter_map(|event| step(&event.kind)).collect();
    for (index, (_, record)) in steps.iter().enumerate() {
        assert_eq!(record.sequence as usize, index + 1, "{call} is counted without gaps");
    }
    steps
}

fn step_names(world: &World, call: &str) -> Vec<&'static str> {
    steps(world, call).into_iter().map(|(step, _)| step.as_str()).collect()
}

fn last(world: &World, call: &str) -> CallRecord {
    steps(world, call).pop().unwrap().1
}
