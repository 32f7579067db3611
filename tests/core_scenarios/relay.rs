//! Data on its way: Send, Data, ChannelData, ICMP; and two clients that name each other's relayed addresses.

use iceway::{
    stun::{self, AddressFamily, Class, Method, attribute},
    turn::{
        Bandwidth, Datagrams, DropReason, IcmpError, PeerOutcome, PeerPolicy, Prefix, RelayAddress, Traffic,
    },
};

use crate::support_core::{Client, Outcome, PEER, PEER6, Request, Scene, Stage, addr, ip, udp};

const HERE: &str = "203.0.113.5:40000";

fn with_channel(scene: &mut Scene) -> (Client, std::net::SocketAddr) {
    let mut client = Client::alice(HERE);
    let relayed = client.allocate(scene);
    assert_eq!(client.bind(scene, 0x4000, PEER), 0);
    (client, relayed)
}

#[test]
fn a_send_indication_is_relayed_with_what_it_asks_for() {
    let mut scene = Scene::new();
    let (client, relayed) = with_channel(&mut scene);
    let sent = client.send(&mut scene, PEER, b"payload").relayed();
    assert_eq!(
        (sent.from, sent.peer, &*sent.payload, sent.dont_fragment),
        (relayed, addr(PEER), &b"payload"[..], false)
    );
    let whole = Request::send(PEER, b"payload").with(attribute::DONT_FRAGMENT, b"");
    let sent = scene.input(client.from, &whole.fingerprint().bytes()).relayed();
    assert!(sent.dont_fragment);
    assert_eq!(sent.payload, b"payload");
}

#[test]
fn empty_payloads_are_payloads() {
    let mut scene = Scene::new();
    let (client, relayed) = with_channel(&mut scene);
    assert_eq!(client.send(&mut scene, PEER, b"").relayed().payload, b"");
    assert_eq!(client.send_on(&mut scene, 0x4000, b"").relayed().payload, b"");
    assert!(matches!(scene.peer_input(relayed, PEER, 0), PeerOutcome::Relay { count: 1, .. }));
    assert_eq!(scene.server.counters().to_peers, Traffic { datagrams: 2, bytes: 0 });
    assert_eq!(scene.server.counters().to_clients, Traffic { datagrams: 1, bytes: 0 });
}

#[test]
fn incomplete_indications_are_dropped() {
    let mut scene = Scene::new();
    let (client, _) = with_channel(&mut scene);
    let whole = || Request::send(PEER, b"x");
    let incomplete = [
        whole().without(attribute::DATA),
        whole().without(attribute::XOR_PEER_ADDRESS),
        whole().with(0x7f01, b"unknown and required"),
        whole()
            .without(attribute::XOR_PEER_ADDRESS)
            .with(attribute::XOR_PEER_ADDRESS, &[0, 3, 0, 0, 0, 0, 0, 0]),
    ];
    for indication in &incomplete {
        let outcome = scene.input(client.from, &indication.bytes());
        assert_eq!(outcome, Outcome::Drop(DropReason::MalformedIndication));
    }
    let optional = whole().with(0x8f01, b"unknown, but not required");
    scene.input(client.from, &optional.bytes()).relayed();
    assert_eq!(scene.drops(DropReason::MalformedIndication), incomplete.len() as u64);
}

#[test]
fn data_without_an_allocation_is_dropped() {
    let mut scene = Scene::new();
    with_channel(&mut scene);
    let stranger = Client::alice("203.0.113.5:40001");
    assert_eq!(stranger.send(&mut scene, PEER, b"x"), Outcome::Drop(DropReason::NoAllocation));
    assert_eq!(stranger.send_on(&mut scene, 0x4000, b"x"), Outcome::Drop(DropReason::NoAllocation));
    let other_listener = iceway::turn::FiveTuple { listener: iceway::turn::ListenerId(1), ..udp(HERE) };
    let stranger = Client { from: other_listener, ..stranger };
    assert_eq!(stranger.send_on(&mut scene, 0x4000, b"x"), Outcome::Drop(DropReason::NoAllocation));
    assert_eq!(scene.drops(DropReason::NoAllocation), 3);
}

#[test]
fn channel_data_must_fit_its_datagram() {
    let mut scene = Scene::new();
    let (client, _) = with_channel(&mut scene);
    for padded in
        [&[0x40, 0, 0, 1, b'x'][..], &[0x40, 0, 0, 1, b'x', 0, 0, 0], &[0x40, 0, 0, 1, b'x', 0, 0, 0, 0]]
    {
        assert_eq!(scene.input(client.from, padded).relayed().payload, b"x", "what follows is padding");
    }
    for datagram in [&[0x40][..], &[0x40, 0, 0], &[0x40, 0, 0, 2, b'x']] {
        let outcome = scene.input(client.from, datagram);
        assert_eq!(outcome, Outcome::Drop(DropReason::MalformedChannelData), "{datagram:?}");
    }
}

#[test]
fn a_peer_without_a_channel_comes_in_data_indications() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    let relayed = client.allocate(&mut scene);
    assert_eq!(client.permit(&mut scene, &[PEER]), 0);
    let mut ids = std::collections::HashSet::new();
    for count in [1, 3, 1] {
        let train = Datagrams { segment_bytes: 100, total_bytes: 100 * count };
        let PeerOutcome::Relay {
            client: to,
            prefix: Prefix::Indication { peer, transaction_id },
            count: relayed,
        } = scene.peer_train(relayed, PEER, train)
        else {
            panic!("not relayed in indications")
        };
        assert_eq!((to, peer, relayed), (client.from, addr(PEER), count));
        let first = u128::from_be_bytes([&[0; 4][..], &transaction_id].concat().try_into().unwrap());
        for step in 0..count as u128 {
            assert!(ids.insert(first + step), "a transaction id is used twice");
        }
    }
}

#[test]
fn families_of_clients_and_peers_mix() {
    for from in [HERE, "[2001:db8:2::5]:40000"] {
        for (family, peer, other) in [(AddressFamily::Ipv4, PEER, PEER6), (AddressFamily::Ipv6, PEER6, PEER)]
        {
            let mut scene = Scene::new();
            let mut client = Client::alice(from);
            let relayed = client.ask(&mut scene, &Request::allocate().family(family)).relayed()[0];
            assert_eq!(client.permit(&mut scene, &[peer]), 0);
            assert_eq!(client.permit(&mut scene, &[other]), 443);
            assert_eq!(client.bind(&mut scene, 0x4000, other), 443);
            assert_eq!(client.send(&mut scene, other, b"x"), Outcome::Drop(DropReason::PeerFamily));
            assert_eq!(client.send(&mut scene, peer, b"x").relayed().from, relayed);
            assert!(
                matches!(scene.peer_input(relayed, peer, 1), PeerOutcome::Relay { client: to, .. } if to == client.from)
            );
        }
    }
}

#[test]
fn a_dual_allocation_sends_from_the_family_of_the_peer() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    let relayed = client.ask(&mut scene, &Request::allocate().also_ipv6()).relayed();
    assert_eq!(client.permit(&mut scene, &[PEER, PEER6]), 0);
    for (peer, from) in [(PEER, relayed[0]), (PEER6, relayed[1])] {
        assert_eq!(client.send(&mut scene, peer, b"x").relayed().from, from);
    }
}

#[test]
fn trains_are_judged_and_counted_at_once() {
    let mut scene = Scene::new();
    let (client, relayed) = with_channel(&mut scene);
    let train = Datagrams { segment_bytes: 1200, total_bytes: 15 * 1200 + 7 };
    let expected = PeerOutcome::Relay { client: client.from, prefix: Prefix::Channel(0x4000), count: 16 };
    assert_eq!(scene.peer_train(relayed, PEER, train), expected);
    assert_eq!(scene.server.counters().to_clients, Traffic { datagrams: 16, bytes: 15 * 1200 + 7 });
    let stranger = scene.peer_train(relayed, "93.184.216.35:1", train);
    assert_eq!(stranger, PeerOutcome::Drop(DropReason::NoPermission));
    assert_eq!(scene.drops(DropReason::NoPermission), 16);
}

#[test]
fn bandwidth_above_the_limit_is_dropped_and_counted() {
    let bandwidth = Bandwidth { per_allocation: Some(100_000), total: None };
    let mut scene = Stage::with(|stage| stage.options.bandwidth = bandwidth);
    let (client, relayed) = with_channel(&mut scene);
    for _ in 0..100 {
        client.send_on(&mut scene, 0x4000, &[0; 1000]).relayed();
    }
    let dropped = Outcome::Drop(DropReason::AllocationBandwidth);
    assert_eq!(client.send_on(&mut scene, 0x4000, &[0; 1000]), dropped);
    assert_eq!(client.send(&mut scene, PEER, &[0; 1000]), dropped);
    let train = Datagrams { segment_bytes: 1000, total_bytes: 60_000 };
    assert!(matches!(scene.peer_train(relayed, PEER, train), PeerOutcome::Relay { count: 60, .. }));
    assert!(matches!(scene.peer_train(relayed, PEER, train), PeerOutcome::Relay { count: 40, .. }));
    let dropped = PeerOutcome::Drop(DropReason::AllocationBandwidth);
    assert_eq!(scene.peer_train(relayed, PEER, train), dropped, "each direction has its own limit");
    assert_eq!(scene.drops(DropReason::AllocationBandwidth), 2 + 20 + 60);
    assert_eq!(scene.server.counters().to_clients, Traffic { datagrams: 100, bytes: 100_000 });
    scene.pass_seconds(1);
    client.send_on(&mut scene, 0x4000, &[0; 1000]).relayed();
}

#[test]
fn the_bandwidth_of_the_process_is_shared() {
    let bandwidth = Bandwidth { per_allocation: None, total: Some(100_000) };
    let mut scene = Stage::with(|stage| stage.options.bandwidth = bandwidth);
    let (client, relayed) = with_channel(&mut scene);
    let train = Datagrams { segment_bytes: 1000, total_bytes: 60_000 };
    assert!(matches!(scene.peer_train(relayed, PEER, train), PeerOutcome::Relay { count: 60, .. }));
    for _ in 0..40 {
        client.send_on(&mut scene, 0x4000, &[0; 1000]).relayed();
    }
    assert_eq!(client.send_on(&mut scene, 0x4000, &[0; 1000]), Outcome::Drop(DropReason::TotalBandwidth));
    assert_eq!(scene.peer_train(relayed, PEER, train), PeerOutcome::Drop(DropReason::TotalBandwidth));
    assert_eq!(scene.drops(DropReason::TotalBandwidth), 61);
    scene.pass_seconds(1);
    client.send_on(&mut scene, 0x4000, &[0; 1000]).relayed();
}

#[test]
fn icmp_errors_reach_clients_with_a_permission() {
    let mut scene = Scene::new();
    let (client, relayed) = with_channel(&mut scene);
    let socket = scene.socket(relayed);
    // (type, code, data, what the client is told of the data)
    for (kind, code, data, told) in [(3, 1, 9, 0), (3, 3, 9, 0), (3, 4, 1400, 1400), (11, 0, 9, 0)] {
        scene.server.handle_icmp_error(scene.now, socket, addr(PEER), IcmpError { kind, code, data });
        scene.drain();
        let indication = scene.late_answer();
        let message = indication.message();
        assert_eq!((message.class(), message.method()), (Class::Indication, Method::DATA));
        assert_eq!(indication.types(), [attribute::XOR_PEER_ADDRESS, attribute::ICMP]);
        assert_eq!(indication.address(attribute::XOR_PEER_ADDRESS), addr(PEER));
        let icmp = stun::icmp(&indication.value(attribute::ICMP)).unwrap();
        assert_eq!((icmp.kind, icmp.code, icmp.data), (kind, u16::from(code), told));
    }
    let ignored = [(PEER, 0, 0), (PEER, 5, 0), (PEER, 1, 0), ("93.184.216.35:1", 3, 3)];
    for (peer, kind, code) in ignored {
        scene.server.handle_icmp_error(scene.now, socket, addr(peer), IcmpError { kind, code, data: 0 });
        scene.drain();
    }
    assert!(scene.sent.is_empty());
    assert_eq!(scene.drops(DropReason::IcmpIgnored), ignored.len() as u64);
    drop(client);
}

#[test]
fn icmpv6_errors_have_types_of_their_own() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    let relayed = client.ask(&mut scene, &Request::allocate().family(AddressFamily::Ipv6)).relayed()[0];
    assert_eq!(client.permit(&mut scene, &[PEER6]), 0);
    let socket = scene.socket(relayed);
    for (kind, code, data, told) in [(1, 4, 9, 0), (2, 0, 1280, 1280), (3, 0, 9, 0)] {
        scene.server.handle_icmp_error(scene.now, socket, addr(PEER6), IcmpError { kind, code, data });
        scene.drain();
        let icmp = stun::icmp(&scene.late_answer().value(attribute::ICMP)).unwrap();
        assert_eq!((icmp.kind, icmp.code, icmp.data), (kind, u16::from(code), told));
    }
    scene.server.handle_icmp_error(scene.now, socket, addr(PEER6), IcmpError { kind: 11, code: 0, data: 0 });
    assert_eq!(scene.drops(DropReason::IcmpIgnored), 1);
}

#[test]
fn what_comes_for_a_closed_socket_is_dropped() {
    let mut scene = Scene::new();
    let (mut client, relayed) = with_channel(&mut scene);
    let socket = scene.socket(relayed);
    assert_eq!(client.ask(&mut scene, &Request::refresh(0)).code(), 0);
    let dropped = PeerOutcome::Drop(DropReason::RelayClosed);
    let late = scene.server.handle_peer_datagrams(scene.now, socket, addr(PEER), Datagrams::one(4));
    assert_eq!(late, dropped);
    let next = Client::alice("203.0.113.5:2").allocate(&mut scene);
    assert_ne!(scene.socket(next), socket, "an id rests before it is used again");
    let none = scene.server.handle_peer_datagrams(
        scene.now,
        iceway::turn::RelayId(999),
        addr(PEER),
        Datagrams::one(4),
    );
    assert_eq!(none, dropped);
}

/// Two clients of this server, whose relay addresses are `local`, known as `advertised`.
fn hairpin(
    local: &str,
    advertised: &str,
    policy: PeerPolicy,
) -> (Scene, [Client; 2], [std::net::SocketAddr; 2]) {
    let address = RelayAddress { local: ip(local), advertised: ip(advertised) };
    let mut scene = Stage::with(|stage| {
        stage.options.relay_addresses = vec![address];
        stage.policy = policy;
    });
    let mut clients = [Client::alice("203.0.113.5:1"), Client::alice("203.0.113.5:2")];
    let relayed = [0, 1].map(|place: usize| clients[place].allocate(&mut scene));
    (scene, clients, relayed)
}

#[test]
fn two_clients_reach_each_other_through_their_relayed_addresses() {
    for (local, advertised) in [
        ("127.0.0.1", "127.0.0.1"),
        ("10.0.0.5", "198.51.100.9"),
        ("10.0.0.5", "10.0.0.5"),
        ("198.51.100.9", "198.51.100.9"),
        ("127.0.0.1", "10.9.9.9"),
    ] {
        let policy = PeerPolicy::new(&[], &[], &[ip(local), ip(advertised)]);
        let (mut scene, [mut one, mut two], relayed) = hairpin(local, advertised, policy);
        let [to_one, to_two] = relayed.map(|address| address.to_string());
        assert_eq!(one.bind(&mut scene, 0x4000, &to_two), 0, "{local} {advertised}");
        assert_eq!(two.permit(&mut scene, &[&to_one]), 0);
        let sent = one.send_on(&mut scene, 0x4000, b"hello").relayed();
        let [local_one, local_two] =
            relayed.map(|address| std::net::SocketAddr::new(ip(local), address.port()));
        assert_eq!((sent.from, sent.peer), (local_one, local_two), "to the local address");
        let received = scene.peer_input(local_two, &local_one.to_string(), 5);
        let PeerOutcome::Relay { client, prefix: Prefix::Indication { peer, .. }, .. } = received else {
            panic!("{received:?}")
        };
        assert_eq!((client, peer), (two.from, relayed[0]), "and shown as the advertised one");
        let answered = two.send(&mut scene, &to_one, b"hello yourself").relayed();
        assert_eq!((answered.from, answered.peer), (local_two, local_one));
        let received = scene.peer_input(local_one, &local_two.to_string(), 14);
        assert_eq!(
            received,
            PeerOutcome::Relay { client: one.from, prefix: Prefix::Channel(0x4000), count: 1 }
        );
    }
}

#[test]
fn nothing_but_relay_sockets_is_reached_on_our_own_addresses() {
    let policy = PeerPolicy::new(&[], &[], &[ip("10.0.0.5"), ip("198.51.100.9")]);
    let (mut scene, [mut one, mut two], relayed) = hairpin("10.0.0.5", "198.51.100.9", policy);
    let own = DropReason::OwnAddress;
    for address in ["198.51.100.9", "10.0.0.5"] {
        let ssh = format!("{address}:22");
        assert_eq!(one.permit(&mut scene, &[&ssh]), 0, "the address is legal");
        assert_eq!(one.send(&mut scene, &ssh, b"x"), Outcome::Drop(own), "its other ports are not");
    }
    assert_eq!(one.bind(&mut scene, 0x4000, "198.51.100.9:22"), 0);
    assert_eq!(one.send_on(&mut scene, 0x4000, b"x"), Outcome::Drop(own));
    let local = std::net::SocketAddr::new(ip("10.0.0.5"), relayed[0].port());
    assert_eq!(scene.peer_input(local, "10.0.0.5:22", 1), PeerOutcome::Drop(own));

    let to_two = relayed[1].to_string();
    one.send(&mut scene, &to_two, b"x").relayed();
    assert_eq!(two.ask(&mut scene, &Request::refresh(0)).code(), 0);
    assert_eq!(one.send(&mut scene, &to_two, b"x"), Outcome::Drop(own), "its socket is closed");
    assert_eq!(one.permit(&mut scene, &["10.0.0.6:1"]), 403, "a neighbour is no address of ours");
}

#[test]
fn rules_of_the_configuration_go_before_the_right_of_relayed_addresses() {
    let net = |text: &str| text.parse::<ipnet::IpNet>().unwrap();
    let denied = PeerPolicy::new(&[], &[net("10.0.0.0/8")], &[]);
    let (mut scene, [mut one, _], relayed) = hairpin("10.0.0.5", "10.0.0.5", denied);
    assert_eq!(one.permit(&mut scene, &[&relayed[1].to_string()]), 403);

    let allowed = PeerPolicy::new(&[net("10.0.0.5/32")], &[], &[]);
    let (mut scene, [mut one, _], _) = hairpin("10.0.0.5", "10.0.0.5", allowed);
    assert_eq!(one.permit(&mut scene, &["10.0.0.5:22"]), 0);
    assert_eq!(one.send(&mut scene, "10.0.0.5:22", b"x").relayed().peer, addr("10.0.0.5:22"));
}
