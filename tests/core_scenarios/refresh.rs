//! Refresh: RFC 8656 §8.

use iceway::{
    stun::{AddressFamily, attribute},
    turn::{CloseReason, DropReason, Event, PeerOutcome},
};

use crate::support_core::{Client, Outcome, PEER, PEER6, Request, Scene};

const HERE: &str = "203.0.113.5:40000";

#[test]
fn a_refresh_sets_the_lifetime_anew() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    client.allocate(&mut scene);
    for (wished, given) in [(1, 600), (3000, 3000), (9999, 3600), (700, 700)] {
        let answer = client.ask(&mut scene, &Request::refresh(wished));
        assert_eq!((answer.code(), answer.lifetime()), (0, given));
        assert_eq!(answer.types(), [attribute::LIFETIME, attribute::MESSAGE_INTEGRITY]);
    }
    let without = Request::refresh(0).without(attribute::LIFETIME);
    assert_eq!(client.ask(&mut scene, &without).lifetime(), 600);
    scene.pass_seconds(599);
    assert_eq!(scene.server.allocations(), 1);
    scene.pass_seconds(1);
    assert_eq!(scene.server.allocations(), 0);
}

#[test]
fn a_lifetime_of_zero_takes_effect_at_once() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    let relayed = client.allocate(&mut scene);
    client.bind(&mut scene, 0x4000, PEER);
    let request = Request::refresh(0);
    let answer = client.ask(&mut scene, &request);
    assert_eq!((answer.code(), answer.lifetime()), (0, 0));
    assert_eq!((scene.server.allocations(), scene.taken_ports(), scene.sockets.len()), (0, 0, 0));
    assert_eq!(client.send_on(&mut scene, 0x4000, b"gone"), Outcome::Drop(DropReason::NoAllocation));
    let Some(Event::Closed { reason: CloseReason::Refreshed, .. }) = scene.events.last() else {
        panic!("{:?}", scene.events)
    };
    assert_eq!(client.ask(&mut scene, &request).code(), 437, "which a client takes for success");
    let again = client.allocate(&mut scene);
    assert_ne!(again.port(), relayed.port());
}

#[test]
fn requests_without_an_allocation_are_answered_437() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    for request in [
        Request::refresh(600),
        Request::refresh(0),
        Request::create_permission(&[PEER]),
        Request::channel_bind(0x4000, PEER),
    ] {
        assert_eq!(client.ask(&mut scene, &request).code(), 437);
    }
}

#[test]
fn a_family_that_was_not_allocated_is_answered_443() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    client.allocate(&mut scene);
    for lifetime in [0, 600] {
        let ipv6 = Request::refresh(lifetime).family(AddressFamily::Ipv6);
        assert_eq!(client.ask(&mut scene, &ipv6).code(), 443);
    }
    let ipv4 = Request::refresh(600).family(AddressFamily::Ipv4);
    assert_eq!(client.ask(&mut scene, &ipv4).code(), 0);
    let malformed = Request::refresh(600).with(attribute::REQUESTED_ADDRESS_FAMILY, &[1]);
    assert_eq!(client.ask(&mut scene, &malformed).code(), 400);
    assert_eq!(scene.server.allocations(), 1);
}

#[test]
fn one_family_of_a_dual_allocation_can_be_deleted() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    let relayed = client.ask(&mut scene, &Request::allocate().also_ipv6()).relayed();
    assert_eq!(client.permit(&mut scene, &[PEER, PEER6]), 0);
    assert_eq!(client.bind(&mut scene, 0x4000, PEER), 0);
    assert_eq!(client.bind(&mut scene, 0x4001, PEER6), 0);

    let delete = Request::refresh(0).family(AddressFamily::Ipv4);
    assert_eq!(client.ask(&mut scene, &delete).lifetime(), 0);
    assert_eq!(scene.sockets.values().copied().collect::<Vec<_>>(), [relayed[1]]);
    assert_eq!(client.send_on(&mut scene, 0x4000, b"x"), Outcome::Drop(DropReason::NoChannel));
    assert_eq!(client.send(&mut scene, PEER, b"x"), Outcome::Drop(DropReason::PeerFamily));
    assert_eq!(client.permit(&mut scene, &[PEER]), 443);
    assert_eq!(client.send_on(&mut scene, 0x4001, b"x").relayed().from, relayed[1]);
    let from_peer = scene.peer_input(relayed[1], PEER6, 1);
    assert!(matches!(from_peer, PeerOutcome::Relay { .. }), "{from_peer:?}");
    assert_eq!(client.ask(&mut scene, &delete).code(), 443);

    let last = Request::refresh(0).family(AddressFamily::Ipv6);
    assert_eq!(client.ask(&mut scene, &last).code(), 0);
    assert_eq!((scene.server.allocations(), scene.taken_ports()), (0, 0));
}

#[test]
fn families_run_out_one_by_one() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    assert_eq!(client.ask(&mut scene, &Request::allocate().also_ipv6()).code(), 0);
    scene.pass_seconds(300);
    let ipv6 = Request::refresh(600).family(AddressFamily::Ipv6);
    assert_eq!(client.ask(&mut scene, &ipv6).code(), 0);
    scene.pass_seconds(300);
    assert_eq!(scene.sockets.len(), 1);
    assert!(scene.sockets.values().all(|local| local.is_ipv6()));
    scene.pass_seconds(299);
    assert_eq!(scene.server.allocations(), 1);
    scene.pass_seconds(1);
    assert_eq!(scene.server.allocations(), 0);
}

#[test]
fn a_refresh_of_a_dual_allocation_counts_for_both_families() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    assert_eq!(client.ask(&mut scene, &Request::allocate().also_ipv6()).code(), 0);
    scene.pass_seconds(300);
    assert_eq!(client.ask(&mut scene, &Request::refresh(600)).code(), 0);
    scene.pass_seconds(599);
    assert_eq!(scene.sockets.len(), 2);
    scene.pass_seconds(1);
    assert_eq!(scene.sockets.len(), 0);
}
