//! CreatePermission and ChannelBind: RFC 8656 §9, §10, §12.

use iceway::{
    stun::{Method, attribute},
    turn::{DropReason, Event, PeerOutcome, Prefix, RuleClass},
};

use crate::support_core::{Client, Outcome, PEER, PEER6, Request, Scene, Stage, addr};

const HERE: &str = "203.0.113.5:40000";
const OTHER: &str = "93.184.216.35:5000";

fn with_allocation() -> (Scene, Client, std::net::SocketAddr) {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    let relayed = client.allocate(&mut scene);
    (scene, client, relayed)
}

#[test]
fn a_permission_covers_every_port_of_its_address_for_five_minutes() {
    let (mut scene, mut client, relayed) = with_allocation();
    let drop = PeerOutcome::Drop(DropReason::NoPermission);
    assert_eq!(scene.peer_input(relayed, PEER, 10), drop);
    assert_eq!(client.send(&mut scene, PEER, b"x"), Outcome::Drop(DropReason::NoPermission));
    assert_eq!(client.permit(&mut scene, &[PEER]), 0);
    for port in [1, 4000, 65_535] {
        let peer = format!("93.184.216.34:{port}");
        assert!(matches!(scene.peer_input(relayed, &peer, 10), PeerOutcome::Relay { count: 1, .. }));
        assert_eq!(client.send(&mut scene, &peer, b"x").relayed().peer, addr(&peer));
    }
    assert_eq!(scene.peer_input(relayed, OTHER, 10), drop);
    scene.pass(std::time::Duration::from_millis(299_999));
    client.send(&mut scene, PEER, b"x").relayed();
    scene.pass(std::time::Duration::from_millis(1));
    assert_eq!(client.send(&mut scene, PEER, b"x"), Outcome::Drop(DropReason::NoPermission));
    assert_eq!(scene.peer_input(relayed, PEER, 10), drop);
    assert_eq!(client.permit(&mut scene, &[PEER]), 0);
    client.send(&mut scene, PEER, b"x").relayed();
}

#[test]
fn permissions_are_installed_for_all_peers_or_for_none() {
    let (mut scene, mut client, _) = with_allocation();
    for (bad, code) in [("127.0.0.1:1", 403), (PEER6, 443)] {
        assert_eq!(client.permit(&mut scene, &[PEER, bad, OTHER]), code);
        assert_eq!(scene.server.counters().permissions, 0);
    }
    let malformed = Request::create_permission(&[PEER]).with(attribute::XOR_PEER_ADDRESS, &[0, 1, 2]);
    assert_eq!(client.ask(&mut scene, &malformed).code(), 400);
    assert_eq!(client.ask(&mut scene, &Request::new(Method::CREATE_PERMISSION)).code(), 400);
    assert_eq!(scene.server.counters().permissions, 0);
    assert_eq!(client.permit(&mut scene, &[PEER, OTHER, PEER]), 0);
    assert_eq!(scene.server.counters().permissions, 2);
    client.send(&mut scene, OTHER, b"x").relayed();
}

#[test]
fn denied_peers_are_answered_403_and_counted_by_rule() {
    let (mut scene, mut client, _) = with_allocation();
    let denied = [
        ("127.0.0.1:80", RuleClass::Loopback),
        ("10.1.2.3:80", RuleClass::Private),
        ("169.254.169.254:80", RuleClass::Metadata),
        ("100.64.0.1:80", RuleClass::Shared),
        ("224.0.0.1:80", RuleClass::Multicast),
    ];
    for (peer, rule) in denied {
        let before = scene.server.counters().peers_denied.get(rule);
        assert_eq!(client.permit(&mut scene, &[peer]), 403, "{peer}");
        assert_eq!(client.bind(&mut scene, 0x4000, peer), 403, "{peer}");
        assert_eq!(scene.server.counters().peers_denied.get(rule), before + 2, "{peer}");
    }
}

#[test]
fn an_ipv4_address_in_the_clothes_of_ipv6_is_no_peer() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    assert_eq!(client.ask(&mut scene, &Request::allocate().also_ipv6()).code(), 0);
    for peer in ["[::ffff:127.0.0.1]:80", "[::ffff:93.184.216.34]:80"] {
        assert_eq!(client.permit(&mut scene, &[peer]), 443);
        assert_eq!(client.bind(&mut scene, 0x4000, peer), 443);
        assert_eq!(client.send(&mut scene, peer, b"x"), Outcome::Drop(DropReason::PeerFamily));
    }
    for peer in ["[::127.0.0.1]:80", "[64:ff9b::7f00:1]:80", "[2002:7f00:1::]:80"] {
        assert_eq!(client.permit(&mut scene, &[peer]), 403, "{peer}");
    }
}

#[test]
fn a_channel_carries_data_both_ways() {
    let (mut scene, mut client, relayed) = with_allocation();
    assert_eq!(client.bind(&mut scene, 0x4001, PEER), 0);
    let bound = Event::ChannelBound {
        five_tuple: client.from,
        socket: scene.socket(relayed),
        number: 0x4001,
        peer: addr(PEER),
        lifetime: 600,
    };
    assert_eq!(scene.events.last(), Some(&bound));
    let sent = client.send_on(&mut scene, 0x4001, b"hello").relayed();
    assert_eq!(
        (sent.from, sent.peer, &*sent.payload, sent.dont_fragment),
        (relayed, addr(PEER), &b"hello"[..], false)
    );
    let expected = PeerOutcome::Relay { client: client.from, prefix: Prefix::Channel(0x4001), count: 1 };
    assert_eq!(scene.peer_input(relayed, PEER, 5), expected);
    let other_port = scene.peer_input(relayed, "93.184.216.34:4001", 5);
    assert!(
        matches!(other_port, PeerOutcome::Relay { prefix: Prefix::Indication { .. }, .. }),
        "the permission that came with the channel covers other ports: {other_port:?}"
    );
    assert_eq!(client.send_on(&mut scene, 0x4002, b"hello"), Outcome::Drop(DropReason::NoChannel));
}

#[test]
fn a_number_and_a_peer_are_bound_to_one_another_only() {
    let (mut scene, mut client, _) = with_allocation();
    assert_eq!(client.bind(&mut scene, 0x4000, PEER), 0);
    assert_eq!(client.bind(&mut scene, 0x4000, OTHER), 400, "the number has another peer");
    assert_eq!(client.bind(&mut scene, 0x4001, PEER), 400, "the peer has another number");
    assert_eq!(client.bind(&mut scene, 0x4001, "93.184.216.34:4001"), 0, "another port is another peer");
    assert_eq!(client.bind(&mut scene, 0x4000, PEER), 0, "renewed");
    assert_eq!(scene.server.counters().channels, 2);
}

#[test]
fn a_channel_lives_ten_minutes_and_lingers_for_five() {
    let (mut scene, mut client, relayed) = with_allocation();
    assert_eq!(client.ask(&mut scene, &Request::refresh(3600)).code(), 0);
    assert_eq!(client.bind(&mut scene, 0x4000, PEER), 0);
    scene.pass_seconds(599);
    client.send_on(&mut scene, 0x4000, b"x").relayed();
    assert_eq!(
        scene.peer_input(relayed, PEER, 1),
        PeerOutcome::Drop(DropReason::NoPermission),
        "that has run out"
    );
    assert_eq!(client.permit(&mut scene, &[PEER]), 0);
    assert!(matches!(
        scene.peer_input(relayed, PEER, 1),
        PeerOutcome::Relay { prefix: Prefix::Channel(0x4000), .. }
    ));
    scene.pass_seconds(1);
    assert_eq!(client.send_on(&mut scene, 0x4000, b"x"), Outcome::Drop(DropReason::NoChannel));
    assert!(matches!(
        scene.peer_input(relayed, PEER, 1),
        PeerOutcome::Relay { prefix: Prefix::Indication { .. }, .. }
    ));
    scene.pass_seconds(299);
    assert_eq!(client.bind(&mut scene, 0x4000, OTHER), 400);
    assert_eq!(client.bind(&mut scene, 0x4001, PEER), 400);
    scene.pass_seconds(1);
    assert_eq!(client.bind(&mut scene, 0x4000, OTHER), 0);
    assert_eq!(client.bind(&mut scene, 0x4001, PEER), 0);
    let unbound = Event::ChannelUnbound { five_tuple: client.from, number: 0x4000 };
    assert!(scene.events.contains(&unbound));
}

#[test]
fn a_lingering_channel_can_be_bound_again_to_the_same_peer() {
    let (mut scene, mut client, _) = with_allocation();
    assert_eq!(client.ask(&mut scene, &Request::refresh(3600)).code(), 0);
    assert_eq!(client.bind(&mut scene, 0x4000, PEER), 0);
    scene.pass_seconds(700);
    assert_eq!(client.bind(&mut scene, 0x4000, PEER), 0);
    client.send_on(&mut scene, 0x4000, b"x").relayed();
    assert_eq!(scene.server.counters().channels, 1);
}

#[test]
fn a_channel_bind_renews_the_permission() {
    let (mut scene, mut client, relayed) = with_allocation();
    for _ in 0..4 {
        assert_eq!(client.bind(&mut scene, 0x4000, PEER), 0);
        scene.pass_seconds(299);
        assert!(matches!(scene.peer_input(relayed, PEER, 1), PeerOutcome::Relay { .. }));
        assert_eq!(client.ask(&mut scene, &Request::refresh(600)).code(), 0);
    }
}

#[test]
fn channel_numbers_are_those_of_rfc_8656_unless_the_older_ones_are_allowed() {
    let numbers = [
        (0x3fff, 400, 400),
        (0x4000, 0, 0),
        (0x4fff, 0, 0),
        (0x5000, 400, 0),
        (0x7ffe, 400, 0),
        (0x8000, 400, 400),
    ];
    for (number, strict, legacy) in numbers {
        for (allowed, code) in [(false, strict), (true, legacy)] {
            let mut scene = Stage::with(|stage| stage.options.legacy_channel_numbers = allowed);
            let mut client = Client::alice(HERE);
            client.allocate(&mut scene);
            assert_eq!(client.bind(&mut scene, number, PEER), code, "{number:#06x} {allowed}");
            if code == 0 {
                client.send_on(&mut scene, number, b"x").relayed();
            }
        }
    }
}

#[test]
fn a_channel_bind_needs_a_number_and_a_peer_of_the_right_family() {
    let (mut scene, mut client, _) = with_allocation();
    let whole = || Request::channel_bind(0x4000, PEER);
    assert_eq!(client.ask(&mut scene, &whole().without(attribute::CHANNEL_NUMBER)).code(), 400);
    assert_eq!(client.ask(&mut scene, &whole().without(attribute::XOR_PEER_ADDRESS)).code(), 400);
    let short = whole().without(attribute::CHANNEL_NUMBER).with(attribute::CHANNEL_NUMBER, &[0x40, 0]);
    assert_eq!(client.ask(&mut scene, &short).code(), 400);
    assert_eq!(client.bind(&mut scene, 0x4000, PEER6), 443);
    assert_eq!(scene.server.counters().channels, 0);
}

#[test]
fn bound_again_is_answered_again() {
    let (mut scene, mut client, _) = with_allocation();
    let (bind, permit) = (Request::channel_bind(0x4000, PEER), Request::create_permission(&[PEER]));
    for request in [&bind, &bind, &permit, &permit] {
        assert_eq!(client.ask(&mut scene, request).code(), 0);
    }
    assert_eq!((scene.server.counters().channels, scene.server.counters().permissions), (1, 1));
}
