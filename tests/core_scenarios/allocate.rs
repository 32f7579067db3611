//! Allocate: RFC 8656 §7.

use iceway::{
    stun::{self, AddressFamily, attribute},
    turn::{AllocationId, BindError, CloseReason, DropReason, Event, Identity, RelayAddress, Transport},
};

use crate::support_core::{Client, Outcome, PEER, Request, Scene, Stage, addr, ip, tcp};

const HERE: &str = "203.0.113.5:40000";

#[test]
fn an_allocation_is_made_and_told() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    let answer = client.ask(&mut scene, &Request::allocate());
    let expected = [
        attribute::XOR_RELAYED_ADDRESS,
        attribute::XOR_MAPPED_ADDRESS,
        attribute::LIFETIME,
        attribute::MESSAGE_INTEGRITY,
    ];
    assert_eq!(answer.types(), expected);
    assert_eq!(answer.lifetime(), 600);
    assert_eq!(answer.address(attribute::XOR_MAPPED_ADDRESS), addr(HERE));
    let relayed = answer.relayed()[0];
    assert_eq!(relayed.ip(), ip("198.51.100.1"));
    assert!((50_000..=50_999).contains(&relayed.port()));
    assert_eq!(scene.sockets.values().copied().collect::<Vec<_>>(), [relayed]);
    let created = Event::Created {
        id: AllocationId(1),
        five_tuple: client.from,
        username: "alice".into(),
        identity: Identity { user: "alice".into(), label: None, key_id: None },
        relayed: vec![relayed],
        lifetime: 600,
    };
    assert_eq!(scene.events, [created]);
    assert_eq!(scene.server.counters().allocations.get(Transport::Udp), 1);
    assert_eq!(scene.server.counters().created.get(Transport::Udp), 1);
}

#[test]
fn lifetimes_are_raised_to_the_default_and_cut_to_the_maximum() {
    for (wished, given) in
        [(0, 600), (1, 600), (600, 600), (601, 601), (3600, 3600), (3601, 3600), (u32::MAX, 3600)]
    {
        let mut scene = Scene::new();
        let answer = Client::alice(HERE).ask(&mut scene, &Request::allocate().lifetime(wished));
        assert_eq!(answer.lifetime(), given);
    }
}

#[test]
fn the_requested_transport_must_be_there_and_udp() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    let without = Request::allocate().without(attribute::REQUESTED_TRANSPORT);
    assert_eq!(client.ask(&mut scene, &without).code(), 400);
    let short = without.clone().with(attribute::REQUESTED_TRANSPORT, &[17]);
    assert_eq!(client.ask(&mut scene, &short).code(), 400);
    for protocol in [0, 6, 18, 255] {
        let other = Request::allocate()
            .without(attribute::REQUESTED_TRANSPORT)
            .with(attribute::REQUESTED_TRANSPORT, &[protocol, 0, 0, 0]);
        assert_eq!(client.ask(&mut scene, &other).code(), 442);
    }
    assert_eq!(scene.taken_ports(), 0);
}

#[test]
fn attributes_that_exclude_one_another_are_answered_400() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    let token = || Request::allocate().with(attribute::RESERVATION_TOKEN, b"whatever");
    let excluded = [
        token().even_port(false),
        token().even_port(true),
        token().family(AddressFamily::Ipv4),
        token().also_ipv6(),
        Request::allocate().family(AddressFamily::Ipv4).also_ipv6(),
        Request::allocate().even_port(true).also_ipv6(),
        Request::allocate().with(attribute::ADDITIONAL_ADDRESS_FAMILY, &[1, 0, 0, 0]),
    ];
    for request in &excluded {
        assert_eq!(client.ask(&mut scene, request).code(), 400, "{:04x?}", request.attributes);
    }
    let malformed = [
        Request::allocate().with(attribute::RESERVATION_TOKEN, b"short"),
        Request::allocate().with(attribute::EVEN_PORT, &[]),
        Request::allocate().with(attribute::REQUESTED_ADDRESS_FAMILY, &[1]),
        Request::allocate().with(attribute::ADDITIONAL_ADDRESS_FAMILY, &[2]),
        Request::allocate().with(attribute::LIFETIME, &[0; 3]),
    ];
    for request in &malformed {
        assert_eq!(client.ask(&mut scene, request).code(), 400, "{:04x?}", request.attributes);
    }
    assert_eq!((scene.server.allocations(), scene.taken_ports()), (0, 0));
}

#[test]
fn each_family_can_be_asked_for_whatever_the_clients_own() {
    for from in [HERE, "[2001:db8:2::5]:40000"] {
        for (family, relay) in [(AddressFamily::Ipv4, "198.51.100.1"), (AddressFamily::Ipv6, "2001:db8:1::1")]
        {
            let mut scene = Scene::new();
            let answer = Client::alice(from).ask(&mut scene, &Request::allocate().family(family));
            assert_eq!(answer.relayed()[0].ip(), ip(relay));
            assert_eq!(answer.address(attribute::XOR_MAPPED_ADDRESS), addr(from));
        }
        let mut scene = Scene::new();
        let relayed = Client::alice(from).allocate(&mut scene);
        assert!(relayed.is_ipv4(), "IPv4 is what is given unasked");
    }
}

#[test]
fn a_family_without_a_relay_address_is_answered_440() {
    let mut scene = Stage::with(|stage| stage.options.relay_addresses.truncate(1));
    let mut client = Client::alice(HERE);
    let ipv6 = Request::allocate().family(AddressFamily::Ipv6);
    assert_eq!(client.ask(&mut scene, &ipv6).code(), 440);
    let other = Request::allocate().with(attribute::REQUESTED_ADDRESS_FAMILY, &[9, 0, 0, 0]);
    assert_eq!(client.ask(&mut scene, &other).code(), 440);
    let mut scene =
        Stage::with(|stage| stage.options.relay_addresses = stage.options.relay_addresses.split_off(1));
    assert_eq!(client.at(HERE).ask(&mut scene, &Request::allocate()).code(), 440, "IPv4 is the default");
    let mut scene = Stage::with(|stage| stage.options.relay_addresses.clear());
    assert_eq!(Client::alice(HERE).ask(&mut scene, &Request::allocate().also_ipv6()).code(), 440);
}

#[test]
fn both_families_at_once() {
    let mut scene = Scene::new();
    let answer = Client::alice(HERE).ask(&mut scene, &Request::allocate().also_ipv6());
    let relayed: Vec<_> = answer.relayed().iter().map(|address| address.ip()).collect();
    assert_eq!(relayed, [ip("198.51.100.1"), ip("2001:db8:1::1")]);
    assert!(!answer.has(attribute::ADDRESS_ERROR_CODE));
    assert_eq!(scene.sockets.len(), 2);
}

#[test]
fn one_family_of_two_is_enough() {
    // The relay addresses that are there, how the binds end, what is told.
    let told = |answer: &crate::support_core::Answer| {
        let value = answer.value(attribute::ADDRESS_ERROR_CODE);
        let (family, code, _) = stun::address_error_code(&value).unwrap();
        (answer.relayed().len(), family, code)
    };
    let both = Request::allocate().also_ipv6();

    let mut scene = Stage::with(|stage| stage.options.relay_addresses.truncate(1));
    assert_eq!(told(&Client::alice(HERE).ask(&mut scene, &both)), (1, AddressFamily::Ipv6, 440));

    let mut scene =
        Stage::with(|stage| stage.options.relay_addresses = stage.options.relay_addresses.split_off(1));
    assert_eq!(told(&Client::alice(HERE).ask(&mut scene, &both)), (1, AddressFamily::Ipv4, 440));

    let mut scene = Scene::new();
    scene.failures.push_back(BindError::OutOfResources);
    let mut client = Client::alice(HERE);
    let request = Request { transaction_id: *b"twelve bytes", ..both.clone() };
    let answer = client.ask(&mut scene, &request);
    assert_eq!(told(&answer), (1, AddressFamily::Ipv4, 508));
    assert_eq!(scene.taken_ports(), 1);
    let again = client.ask(&mut scene, &request);
    assert_eq!(again, answer, "a retransmission is answered alike");

    let mut scene = Scene::new();
    scene.failures.extend([BindError::OutOfResources; 2]);
    assert_eq!(Client::alice(HERE).ask(&mut scene, &both).code(), 508);
    assert_eq!((scene.taken_ports(), scene.server.allocations()), (0, 0));
}

#[test]
fn a_retransmission_is_answered_alike_and_another_allocate_with_437() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    let request = Request::allocate().lifetime(1800);
    let first = client.ask(&mut scene, &request);
    for _ in 0..3 {
        scene.pass_seconds(5);
        assert_eq!(client.ask(&mut scene, &request), first);
    }
    assert_eq!(client.ask(&mut scene, &Request::allocate().lifetime(1800)).code(), 437);
    assert_eq!((scene.server.allocations(), scene.taken_ports()), (1, 1));
}

#[test]
fn a_retransmission_waits_while_the_bind_is_outstanding() {
    let mut scene = Scene::new();
    scene.binds_by_hand = true;
    let mut client = Client::alice(HERE);
    let request = Request::allocate();
    assert_eq!(client.outcome(&mut scene, &request), Outcome::Pending);
    assert_eq!(client.outcome(&mut scene, &request), Outcome::Drop(DropReason::RetransmissionPending));
    assert_eq!(client.ask(&mut scene, &Request::allocate()).code(), 437);
    assert_eq!(client.permit(&mut scene, &[PEER]), 437, "there is no allocation yet");
    assert_eq!(client.send(&mut scene, PEER, b"early"), Outcome::Drop(DropReason::NoAllocation));
    assert!(scene.events.is_empty());
    let (socket, _) = scene.binds[0];
    scene.bound(socket, Ok(()));
    assert_eq!(scene.late_answer().code(), 0);
    assert_eq!(client.permit(&mut scene, &[PEER]), 0);
}

#[test]
fn even_ports_are_even() {
    let mut scene = Scene::new();
    for step in 0..20 {
        let mut client = Client::alice(&format!("203.0.113.5:{}", 1000 + step));
        let answer = client.ask(&mut scene, &Request::allocate().even_port(false));
        assert_eq!(answer.relayed()[0].port() % 2, 0);
        assert!(!answer.has(attribute::RESERVATION_TOKEN));
    }
    assert_eq!(scene.taken_ports(), 20, "no second port is taken");
}

#[test]
fn the_next_port_is_reserved_and_redeemed_once() {
    let mut scene = Scene::new();
    let mut first = Client::alice("203.0.113.5:1");
    let answer = first.ask(&mut scene, &Request::allocate().even_port(true));
    let even = answer.relayed()[0];
    assert_eq!(even.port() % 2, 0);
    assert_eq!(scene.taken_ports(), 2);
    let token = answer.value(attribute::RESERVATION_TOKEN);
    let redeem = Request::allocate().with(attribute::RESERVATION_TOKEN, &token);

    let mut stranger = Client::user(crate::support_core::udp("203.0.113.6:1"), "bob", "builder");
    assert_eq!(stranger.ask(&mut scene, &redeem).code(), 508, "it is alice's");
    scene.pass_seconds(29);
    let mut second = Client::alice("203.0.113.5:2");
    let odd = second.ask(&mut scene, &redeem).relayed()[0];
    assert_eq!((odd.ip(), odd.port()), (even.ip(), even.port() + 1));
    let mut third = Client::alice("203.0.113.5:3");
    let again = Request::allocate().with(attribute::RESERVATION_TOKEN, &token);
    assert_eq!(third.ask(&mut scene, &again).code(), 508);
    scene.pass_seconds(60);
    assert_eq!(scene.taken_ports(), 2, "what was redeemed does not run out");
    assert_eq!(second.ask(&mut scene, &Request::refresh(0)).code(), 0);
    assert_eq!(first.ask(&mut scene, &Request::refresh(0)).code(), 0);
    assert_eq!(scene.taken_ports(), 0);
}

#[test]
fn a_reservation_runs_out_after_thirty_seconds() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    let answer = client.ask(&mut scene, &Request::allocate().even_port(true));
    let token = answer.value(attribute::RESERVATION_TOKEN);
    scene.pass(std::time::Duration::from_millis(29_999));
    assert_eq!(scene.taken_ports(), 2);
    scene.pass(std::time::Duration::from_millis(1));
    assert_eq!(scene.taken_ports(), 1);
    let late = Request::allocate().with(attribute::RESERVATION_TOKEN, &token);
    assert_eq!(Client::alice("203.0.113.5:2").ask(&mut scene, &late).code(), 508);
    assert_eq!(scene.shared.reservations.count(), 0);
}

#[test]
fn a_reservation_ends_with_its_allocation() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    assert_eq!(client.ask(&mut scene, &Request::allocate().even_port(true)).code(), 0);
    assert_eq!(client.ask(&mut scene, &Request::refresh(0)).code(), 0);
    assert_eq!((scene.taken_ports(), scene.shared.reservations.count()), (0, 0));
}

#[test]
fn a_token_is_redeemed_at_another_shard() {
    let stage = Stage::default();
    let shared = stage.shared();
    let mut one = stage.set_with(std::sync::Arc::clone(&shared));
    let mut other = Stage::default().set_with(shared);
    let answer = Client::alice("203.0.113.5:1").ask(&mut one, &Request::allocate().even_port(true));
    let token = answer.value(attribute::RESERVATION_TOKEN);
    let redeem = Request::allocate().with(attribute::RESERVATION_TOKEN, &token);
    let odd = Client::alice("203.0.113.5:2").ask(&mut other, &redeem).relayed()[0];
    assert_eq!(odd.port(), answer.relayed()[0].port() + 1);
    one.pass_seconds(31);
    assert_eq!(one.taken_ports(), 2, "the shard that gave it out does not take it back");
}

#[test]
fn the_relay_address_suits_the_clients_listener() {
    let relay = |text: &str| RelayAddress { local: ip(text), advertised: ip(text) };
    let stage = || {
        Stage::with(|stage| {
            stage.options.relay_addresses =
                ["127.0.0.1", "198.51.100.7", "198.51.100.1", "198.51.100.8"].map(relay).to_vec();
        })
    };
    let mut scene = stage();
    for port in 1..10 {
        let relayed = Client::alice(&format!("203.0.113.5:{port}")).allocate(&mut scene);
        assert_eq!(relayed.ip(), ip("198.51.100.1"), "the address the client came to");
    }
    let mut local = Client::alice("127.0.0.1:5");
    local.from.listener.0 = 2;
    assert_eq!(local.allocate(&mut scene).ip(), ip("127.0.0.1"));

    let mut scene = stage();
    scene.options.relay_addresses.remove(2);
    scene.reload();
    let mut used: Vec<_> = (1..=6)
        .map(|port| Client::alice(&format!("203.0.113.5:{port}")).allocate(&mut scene).ip().to_string())
        .collect();
    used.sort();
    used.dedup();
    assert_eq!(used, ["198.51.100.7", "198.51.100.8"], "the others of its scope take turns");
}

#[test]
fn the_advertised_address_is_told_and_the_local_one_bound() {
    let mut scene = Stage::with(|stage| {
        stage.options.relay_addresses =
            vec![RelayAddress { local: ip("10.0.0.5"), advertised: ip("198.51.100.99") }];
    });
    let relayed = Client::alice(HERE).allocate(&mut scene);
    assert_eq!(relayed.ip(), ip("198.51.100.99"));
    let bound: Vec<_> = scene.sockets.values().map(|local| local.to_string()).collect();
    assert_eq!(bound, [format!("10.0.0.5:{}", relayed.port())]);
}

#[test]
fn an_allocation_expires_at_the_very_instant() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    let relayed = client.allocate(&mut scene);
    client.permit(&mut scene, &[PEER]);
    assert_eq!(
        scene.server.poll_deadline(),
        Some(scene.now.monotonic.after(std::time::Duration::from_secs(600)))
    );
    scene.pass_seconds(299);
    client.permit(&mut scene, &[PEER]);
    scene.pass_seconds(299);
    client.permit(&mut scene, &[PEER]);
    client.send(&mut scene, PEER, b"hello").relayed();
    assert!(scene.pass_and_keep(std::time::Duration::from_millis(1999)));
    assert!(scene.sockets.values().any(|local| *local == relayed));
    scene.pass(std::time::Duration::from_millis(1));
    assert_eq!((scene.server.allocations(), scene.sockets.len(), scene.taken_ports()), (0, 0, 0));
    assert_eq!(scene.server.poll_deadline(), None);
    let Some(Event::Closed { reason, summary, .. }) = scene.events.last() else {
        panic!("{:?}", scene.events)
    };
    assert_eq!(*reason, CloseReason::Expired);
    assert_eq!((summary.to_peer_bytes, summary.to_peer_datagrams, summary.seconds), (5, 1, 600));
}

#[test]
fn what_is_over_is_over_even_if_the_deadline_is_handled_late() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    let relayed = client.allocate(&mut scene);
    scene.pass_seconds(400);
    assert_eq!(client.bind(&mut scene, 0x4000, PEER), 0);
    scene.skip_seconds(200);
    assert_eq!(client.send_on(&mut scene, 0x4000, b"late"), Outcome::Drop(DropReason::NoAllocation));
    let outcome = scene.peer_input(relayed, PEER, 4);
    assert_eq!(outcome, iceway::turn::PeerOutcome::Drop(DropReason::RelayClosed));
    assert_eq!(client.ask(&mut scene, &Request::refresh(600)).code(), 437);
    assert_eq!(scene.server.allocations(), 0);
}

#[test]
fn a_stream_client_is_told_apart_from_a_udp_client_of_the_same_address() {
    let mut scene = Scene::new();
    Client::alice(HERE).allocate(&mut scene);
    Client::user(tcp(HERE), "alice", "wonderland").allocate(&mut scene);
    assert_eq!(scene.server.allocations(), 2);
    assert_eq!(scene.server.counters().allocations.get(Transport::Tcp), 1);
}
