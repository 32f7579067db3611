//! Revoked credentials: refused from then on, and what lives by them ends if it shall.

use std::time::Duration;

use iceway::{
    credentials::{KeyId, Revocation, Wish},
    turn::{CloseReason, DropReason, Event, Expiry, ListQuery, PeerOutcome, Refusal, UserKey},
};

use crate::support_core::{Client, EPOCH, Outcome, PEER, Request, Scene, Stage, tcp, udp};

const HERE: &str = "203.0.113.5:40000";
const THERE: &str = "203.0.113.5:40001";

/// Hits everything that was issued by the time the scene began, and cuts.
fn all() -> Revocation {
    Revocation {
        id: "r1".into(),
        username: None,
        user: None,
        label: None,
        key_id: None,
        issued_before: EPOCH,
        expires: EPOCH + 86_400,
        cut: true,
    }
}

fn user(name: &str) -> Revocation {
    Revocation { user: Some(name.into()), ..all() }
}

fn wish(user: &str) -> Wish<'_> {
    Wish::new(user, Duration::from_secs(3600))
}

fn refused(scene: &Scene) -> u64 {
    scene.server.counters().refusals.get(Refusal::Revoked)
}

fn closed(scene: &Scene, reason: CloseReason) -> u64 {
    scene.server.counters().closed.get(reason)
}

#[test]
fn a_revoked_credential_makes_no_allocation() {
    let mut scene = Scene::new();
    let mut client = Client::minted(HERE, &wish("carol"));
    assert_eq!(scene.revoke([user("carol")]), 0);

    assert_eq!(client.ask(&mut scene, &Request::allocate()).code(), 401);

    assert_eq!((scene.server.allocations(), scene.taken_ports(), refused(&scene)), (0, 0, 1));
    let refusal = Event::AuthenticationFailed {
        five_tuple: client.from,
        username: Some(client.username.as_str().into()),
        reason: Refusal::Revoked,
        is_reachable: true,
    };
    assert_eq!(scene.events, [refusal]);
    Client::minted(THERE, &wish("dave")).allocate(&mut scene);
}

#[test]
fn a_revocation_that_cuts_ends_relaying_at_once() {
    let mut scene = Scene::new();
    let mut client = Client::minted(HERE, &wish("carol"));
    let relayed = client.allocate(&mut scene);
    assert_eq!(client.bind(&mut scene, 0x4000, PEER), 0);
    let mut other = Client::minted(THERE, &wish("dave"));
    other.allocate(&mut scene);
    assert_eq!(other.bind(&mut scene, 0x4000, PEER), 0);
    let socket = scene.socket(relayed);

    assert_eq!(scene.revoke([user("carol")]), 1);

    assert_eq!(client.send_on(&mut scene, 0x4000, b"x"), Outcome::Drop(DropReason::NoAllocation));
    let datagrams = iceway::turn::Datagrams::one(1);
    let late =
        scene.server.handle_peer_datagrams(scene.now, socket, crate::support_core::addr(PEER), datagrams);
    assert_eq!(late, PeerOutcome::Drop(DropReason::RelayClosed));
    for request in [Request::refresh(600), Request::channel_bind(0x4000, PEER), Request::allocate()] {
        assert_eq!(client.ask(&mut scene, &request).code(), 401);
    }
    other.send_on(&mut scene, 0x4000, b"x").relayed();
    assert_eq!((scene.server.allocations(), scene.taken_ports()), (1, 1));
    assert_eq!(closed(&scene, CloseReason::Revoked), 1);
}

#[test]
fn a_revocation_that_does_not_cut_lets_an_allocation_run_out() {
    let mut scene = Scene::new();
    let mut client = Client::minted(HERE, &wish("carol"));
    client.allocate(&mut scene);
    assert_eq!(client.bind(&mut scene, 0x4000, PEER), 0);

    assert_eq!(scene.revoke([Revocation { cut: false, ..user("carol") }]), 0);

    client.send_on(&mut scene, 0x4000, b"x").relayed();
    assert_eq!(client.ask(&mut scene, &Request::refresh(600)).code(), 401);
    assert_eq!(client.permit(&mut scene, &[PEER]), 401);
    assert_eq!(client.bind(&mut scene, 0x4001, "9.9.9.9:9"), 401);
    // A retransmitted Allocate is no exception.
    assert_eq!(client.ask(&mut scene, &Request::allocate()).code(), 401);
    assert_eq!(refused(&scene), 4);
    scene.pass_seconds(600);
    assert_eq!(closed(&scene, CloseReason::Expired), 1);
}

#[test]
fn an_allocation_that_was_hit_is_not_refreshed_after_the_revocation_is_forgotten() {
    let mut scene = Scene::new();
    let mut client = Client::minted(HERE, &wish("carol"));
    client.allocate(&mut scene);
    scene.revoke([Revocation { cut: false, ..user("carol") }]);
    scene.revoke([]);

    assert_eq!(client.ask(&mut scene, &Request::refresh(600)).code(), 401);
    // An allocation of its own is another matter: whoever forgets a revocation knows that it hits nobody.
    client.at(THERE).allocate(&mut scene);
}

#[test]
fn a_revocation_hits_by_any_of_its_fields() {
    let labelled = Wish { label: Some("desk"), ..wish("carol") };
    let username = Client::minted(HERE, &labelled).username;
    let rows = [
        Revocation { username: Some(username.into()), ..all() },
        user("carol"),
        Revocation { label: Some("desk".into()), ..all() },
        Revocation { key_id: Some(KeyId::new("k1").unwrap()), ..all() },
        Revocation { label: Some("desk".into()), ..user("carol") },
        all(),
    ];
    for row in rows {
        let mut scene = Scene::new();
        Client::minted(HERE, &labelled).allocate(&mut scene);
        assert_eq!(scene.revoke([row.clone()]), 1, "{row:?}");
    }
    let others = [
        user("dave"),
        Revocation { label: Some("sofa".into()), ..user("carol") },
        Revocation { key_id: Some(KeyId::new("k2").unwrap()), ..all() },
        Revocation { issued_before: EPOCH - 1, ..all() },
        Revocation { expires: EPOCH - 1, ..all() },
    ];
    for row in others {
        let mut scene = Scene::new();
        let mut client = Client::minted(HERE, &labelled);
        client.allocate(&mut scene);
        assert_eq!(scene.revoke([row.clone()]), 0, "{row:?}");
        assert_eq!(client.ask(&mut scene, &Request::refresh(600)).code(), 0, "{row:?}");
    }
}

#[test]
fn a_new_credential_works_at_once_after_everything_before_was_revoked() {
    let mut scene = Scene::new();
    let mut old = Client::minted(HERE, &wish("carol"));
    old.allocate(&mut scene);
    assert_eq!(scene.revoke([user("carol")]), 1);

    scene.pass_seconds(1);
    let new = crate::support_core::directory().mint_claims(&wish("carol"), EPOCH + 1).unwrap();
    Client::user(udp(THERE), &new.username, new.password.as_str()).allocate(&mut scene);

    assert_eq!(old.ask(&mut scene, &Request::allocate()).code(), 401);
}

#[test]
fn plain_names_are_hit_whenever_they_may_have_been_issued() {
    let mut scene = Scene::new();
    // It may have been issued a day before, which is before the scene began.
    let mut soon = Client::limited(HERE, "carol", 86_400);
    let mut late = Client::limited(THERE, "carol", 86_401);
    soon.allocate(&mut scene);
    late.allocate(&mut scene);

    assert_eq!(scene.revoke([user("carol")]), 1);

    assert_eq!(soon.ask(&mut scene, &Request::refresh(600)).code(), 401);
    assert_eq!(late.ask(&mut scene, &Request::refresh(600)).code(), 0);
}

#[test]
fn users_with_a_password_of_their_own_are_not_revoked() {
    let mut scene = Stage::with(|stage| stage.options.external_users = true);
    let mut alice = Client::alice(HERE);
    alice.allocate(&mut scene);
    let mut found = Client::user(udp(THERE), "dora", "explorer");
    assert_eq!(found.outcome(&mut scene, &Request::allocate()), Outcome::Pending);
    let (id, _) = scene.look_ups.pop().unwrap();
    scene.server.key_found(scene.now, id, Some(UserKey::Password("explorer".into())));
    scene.drain();
    scene.late_answer();

    assert_eq!(scene.revoke([all(), user("alice"), user("dora")]), 0);

    for client in [&mut alice, &mut found] {
        assert_eq!(client.ask(&mut scene, &Request::refresh(600)).code(), 0);
    }
}

#[test]
fn an_allocation_being_made_goes_without_a_word() {
    let mut scene = Scene::new();
    scene.binds_by_hand = true;
    let mut client = Client::minted(HERE, &wish("carol"));
    assert_eq!(client.outcome(&mut scene, &Request::allocate()), Outcome::Pending);

    assert_eq!(scene.revoke([Revocation { cut: false, ..user("carol") }]), 0);

    assert_eq!(scene.server.allocations(), 0);
    let (socket, _) = scene.binds[0];
    scene.bound(socket, Ok(()));
    assert_eq!((scene.events.len(), scene.sent.len(), scene.taken_ports()), (0, 0, 0));
    assert_eq!(client.ask(&mut scene, &Request::allocate()).code(), 401);
}

#[test]
fn a_stream_is_closed_with_its_allocation() {
    let mut scene = Scene::new();
    let mut revoked = Client { from: tcp(HERE), ..Client::minted(HERE, &wish("carol")) };
    let mut closed = Client { from: tcp(THERE), ..Client::minted(THERE, &wish("dave")) };
    revoked.allocate(&mut scene);
    closed.allocate(&mut scene);

    scene.revoke([user("carol")]);
    assert_eq!(scene.disconnected, [revoked.from]);

    let page = scene.server.list(scene.now, &ListQuery { limit: 1, ..ListQuery::default() });
    assert!(scene.server.close_allocation(scene.now, page.allocations[0].id));
    scene.drain();
    assert_eq!(scene.disconnected, [revoked.from, closed.from]);
}

#[test]
fn many_allocations_are_judged_in_bounded_steps() {
    const ALLOCATIONS: u16 = 10_000;
    let mut scene = Stage::with(|stage| stage.ports = (10_000, 65_535));
    scene.unchecked = true;
    for step in 0..ALLOCATIONS {
        let from = format!("203.0.{}.{}:{}", step >> 8, step & 0xff, 1024 + step);
        let name = if step % 10 == 0 { "carol" } else { "dave" };
        Client::minted(&from, &wish(name)).allocate(&mut scene);
    }
    let rows = iceway::credentials::Revocations::new([user("carol")]);
    let mut cut = scene.server.set_revocations(scene.now, rows.into());
    let (mut calls, mut ended) = (1, cut.ended);
    assert!(ended > 0 && ended < 300, "{ended}");
    while !cut.is_done {
        cut = scene.server.go_on_revoking(scene.now);
        (calls, ended) = (calls + 1, ended + cut.ended);
    }
    scene.drain();
    assert_eq!((calls, ended, scene.server.allocations()), (5, 1000, 9000));
    assert_eq!(scene.server.go_on_revoking(scene.now).ended, 0);
    scene.server.check_invariants();
}

#[test]
fn a_stricter_policy_does_not_hide_a_revocation() {
    for expiry in [Expiry::Allocate, Expiry::Refresh, Expiry::Strict] {
        let mut scene = Scene::new();
        let mut client = Client::minted(
            HERE,
            &Wish { expiry: Some(expiry), ..Wish::new("carol", Duration::from_secs(300)) },
        );
        client.allocate(&mut scene);
        scene.pass_seconds(200);
        assert_eq!(scene.revoke([user("carol")]), 1, "{expiry:?}");
    }
}

#[test]
fn a_call_that_outlives_its_credential_is_cut_too() {
    let mut scene = Scene::new();
    let mut client = Client::minted(HERE, &Wish::new("carol", Duration::from_secs(60)));
    client.allocate(&mut scene);
    scene.pass_seconds(500);
    assert_eq!(client.ask(&mut scene, &Request::refresh(600)).code(), 0, "its policy lets it go on");

    assert_eq!(scene.revoke([user("carol")]), 1);
}
