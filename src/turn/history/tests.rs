//! The bounds of what is remembered, at their edges.

use std::{net::SocketAddr, time::Duration};

use super::*;
use crate::turn::{Code, FiveTuple, ListenerId, Request};

const NOW: u64 = 1_763_829_600;

fn limits() -> HistoryLimits {
    HistoryLimits {
        is_on: true,
        users: 3,
        strangers: 2,
        incidents_per_user: 6,
        bytes: 1 << 20,
        age: Duration::from_secs(100),
    }
}

fn history(limits: HistoryLimits) -> History {
    let history = History::default();
    history.set_limits(limits);
    history
}

fn client(last: u8) -> FiveTuple {
    FiveTuple::udp(ListenerId(0), SocketAddr::from(([192, 0, 2, last], 5000)))
}

fn proved(at: u64, cause: Cause) -> Incident {
    Incident::new(at, client(1), Some(Request::Allocate), true, cause)
}

fn claimed(at: u64) -> Incident {
    Incident { is_proved: false, cause: Cause::UnknownUser, ..proved(at, Cause::UnknownUser) }
}

fn known(history: &History, user: &str, at: u64) -> Vec<(&'static str, u32)> {
    history.of_user(user, at).iter().map(|incident| (incident.cause.as_str(), incident.count)).collect()
}

#[test]
fn the_same_again_counts_up_and_comes_first() {
    let history = history(limits());
    history.note("bob", proved(NOW, Cause::Draining));
    history.note("bob", proved(NOW + 1, Cause::NoPort));
    history.note("bob", proved(NOW + 2, Cause::Draining));
    history.note("bob", Incident { from: client(2), ..proved(NOW + 3, Cause::Draining) });

    let all = history.of_user("bob", NOW + 3);
    assert_eq!(known(&history, "bob", NOW + 3), [("draining", 1), ("draining", 2), ("no_port", 1)]);
    assert_eq!((all[1].first_unix, all[1].last_unix), (NOW, NOW + 2));
    assert_eq!(known(&history, "ann", NOW), []);
}

#[test]
fn the_oldest_user_makes_room_for_one_too_many() {
    let history = history(limits());
    for (user, at) in [("ann", 0), ("bob", 1), ("cat", 2), ("ann", 3)] {
        history.note(user, proved(NOW + at, Cause::Draining));
    }
    assert_eq!(history.size().users, 3);

    history.note("dan", proved(NOW + 4, Cause::Draining));

    let known = ["ann", "bob", "cat", "dan"].map(|user| known(&history, user, NOW + 4).len());
    assert_eq!((known, history.size().users), ([1, 0, 1, 1], 3));
}

#[test]
fn the_oldest_incident_makes_room_for_one_too_many() {
    let history = history(limits());
    let codes = [
        Code::BadRequest,
        Code::Forbidden,
        Code::UnknownAttribute,
        Code::AllocationMismatch,
        Code::ServerError,
        Code::UnsupportedTransport,
        Code::InsufficientCapacity,
    ];
    for (code, at) in codes.into_iter().zip(NOW..) {
        history.note("bob", proved(at, Cause::Refused(code)));
    }

    let all = history.of_user("bob", NOW + 7);
    let causes: Vec<Cause> = all.into_iter().map(|incident| incident.cause).collect();
    let expected: Vec<Cause> = codes[1..].iter().rev().map(|&code| Cause::Refused(code)).collect();
    assert_eq!(causes, expected);
}

#[test]
fn what_is_too_old_is_not_told_and_goes() {
    let history = history(limits());
    history.note("bob", proved(NOW, Cause::Draining));
    history.note("bob", proved(NOW + 60, Cause::NoPort));

    assert_eq!(known(&history, "bob", NOW + 100).len(), 2, "as old as it may be");
    assert_eq!(known(&history, "bob", NOW + 101), [("no_port", 1)]);
    history.forget_old(NOW + 160);
    assert_eq!(history.size().users, 1);
    history.forget_old(NOW + 161);
    assert_eq!(history.size(), HistorySize::default());
}

#[test]
fn bytes_are_bounded_and_counted_right() {
    let one = history(limits());
    one.note("bob", proved(NOW, Cause::Draining));
    let each = one.size().bytes;
    // What strangers do not get holds two users, and not one byte more.
    let bytes = 2 * each * 8 / 7 + 1;
    let history = history(HistoryLimits { users: 100, bytes, ..limits() });
    for (user, at) in ["ann", "bob", "cat"].into_iter().zip(NOW..) {
        history.note(user, proved(at, Cause::Draining));
        assert!(history.size().bytes <= bytes);
    }
    assert_eq!((history.size().users, history.size().bytes), (2, 2 * each));

    let long = Cause::Revoked { by: "r".repeat(10_000).into(), issued_before: 0 };
    history.note("dan", proved(NOW + 9, long));
    assert_eq!(history.size().users, 0, "what does not fit at all is not kept");
    assert_eq!(history.size().bytes, 0);
}

#[test]
fn strangers_push_out_one_another_and_nobody_else() {
    let history = history(limits());
    history.note("bob", proved(NOW, Cause::Draining));
    for step in 0..1000 {
        history.note(&format!("stranger {step}"), claimed(NOW + 1 + step / 50));
    }
    history.note("bob", claimed(NOW + 30));

    let HistorySize { users, strangers, .. } = history.size();
    assert_eq!((users, strangers), (1, 2));
    assert_eq!(known(&history, "bob", NOW + 30), [("unknown_user", 1), ("draining", 1)]);
}

#[test]
fn strangers_are_bounded_in_a_second_and_only_counted_beyond() {
    let history = history(HistoryLimits { strangers: 10_000, ..limits() });
    for step in 0..100 {
        history.note(&format!("stranger {step}"), claimed(NOW));
    }
    let most = STRANGERS_NOTED_PER_SECOND;
    let size = history.size();
    assert_eq!((size.strangers, size.not_kept), (most as usize, u64::from(100 - most)));

    history.note("next second", claimed(NOW + 1));
    assert_eq!(history.size().strangers, most as usize + 1);
}

#[test]
fn a_stranger_has_few_incidents() {
    let history = history(limits());
    for last in 1..=9 {
        history.note("bob", Incident { from: client(last), ..claimed(NOW) });
    }
    assert_eq!(known(&history, "bob", NOW).len(), STRANGER_INCIDENTS_MAX);
}

#[test]
fn stale_nonces_count_up_only_in_a_loop_and_from_wherever_they_come() {
    let history = history(HistoryLimits { age: Duration::from_secs(1_000_000), ..limits() });
    for at in [0, 3600, 7200] {
        history.note("bob", proved(NOW + at, Cause::StaleNonce));
    }
    assert_eq!(known(&history, "bob", NOW + 7200), [("stale_nonce", 1)]);

    for at in 0..5 {
        let replayed = Incident { from: client(at), ..proved(NOW + 7201 + u64::from(at), Cause::StaleNonce) };
        history.note("bob", replayed);
    }
    assert_eq!(known(&history, "bob", NOW + 7300), [("stale_nonce", 6)]);
}

#[test]
fn switched_off_it_keeps_nothing_and_forgets_what_there_was() {
    let history = history(limits());
    history.note("bob", proved(NOW, Cause::Draining));
    history.note("ann", claimed(NOW));
    history.set_limits(HistoryLimits { is_on: false, ..limits() });
    history.note("bob", proved(NOW, Cause::Draining));

    assert!(!history.is_on());
    assert_eq!((history.size().users, history.size().strangers, history.size().bytes), (0, 0, 0));
    assert_eq!(known(&history, "bob", NOW), []);
}

#[test]
fn a_clock_that_jumps_does_no_harm() {
    let history = history(limits());
    history.note("bob", proved(NOW, Cause::Draining));
    history.note("bob", proved(NOW - 50_000, Cause::NoPort));
    history.note("ann", proved(0, Cause::NoPort));
    history.note("cat", proved(u64::MAX, Cause::NoPort));

    assert_eq!(known(&history, "cat", u64::MAX), [("no_port", 1)]);
    assert_eq!(
        known(&history, "bob", 0),
        [],
        "a user who was heard of last in a time far ahead of the others"
    );
}
