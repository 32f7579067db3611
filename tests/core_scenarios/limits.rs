//! Bounds: as many as are allowed, one more, and again when there is room.

use iceway::{
    stun::{Method, attribute},
    turn::{BindError, CloseReason, DropReason, Limits, QuotaKind},
};

use crate::support_core::{Client, Outcome, PEER, Request, Scene, Stage, udp};

fn limited(change: impl FnOnce(&mut Limits)) -> Scene {
    Stage::with(|stage| change(&mut stage.options.limits))
}

fn alice(port: u16) -> Client {
    Client::alice(&format!("203.0.113.5:{port}"))
}

fn refused(scene: &Scene, kind: QuotaKind) -> u64 {
    scene.server.counters().quota_refusals.get(kind)
}

#[test]
fn allocations_of_a_user() {
    let mut scene = limited(|limits| limits.allocations_per_user = Some(2));
    let mut clients = [1, 2, 3].map(alice);
    clients[0].allocate(&mut scene);
    clients[1].allocate(&mut scene);
    assert_eq!(clients[2].ask(&mut scene, &Request::allocate()).code(), 486);
    Client::user(udp("203.0.113.5:9"), "bob", "builder").allocate(&mut scene);
    assert_eq!(refused(&scene, QuotaKind::User), 1);
    assert_eq!(clients[0].ask(&mut scene, &Request::refresh(0)).code(), 0);
    clients[2].allocate(&mut scene);
}

#[test]
fn allocations_of_a_time_limited_user_count_together_whatever_the_timestamp() {
    let mut scene = limited(|limits| limits.allocations_per_user = Some(1));
    Client::limited("203.0.113.5:1", "carol", 100).allocate(&mut scene);
    let mut later = Client::limited("203.0.113.5:2", "carol", 200);
    assert_eq!(later.ask(&mut scene, &Request::allocate()).code(), 486);
    // Bare timestamps name nobody: they are told apart.
    for (port, seconds) in [(3, 100), (4, 200)] {
        let mut bare = Client::limited(&format!("203.0.113.5:{port}"), "", seconds);
        bare.username.pop();
        bare.password = crate::support_core::secret("k1", "north").password(&bare.username).as_str().into();
        bare.allocate(&mut scene);
    }
}

#[test]
fn allocations_of_an_address() {
    let mut scene = limited(|limits| limits.allocations_per_address = Some(2));
    for from in ["203.0.113.5:1", "203.0.113.5:2", "[2001:db8:9::1]:1", "[2001:db8:9::2]:1"] {
        Client::alice(from).allocate(&mut scene);
    }
    for from in ["203.0.113.5:3", "[2001:db8:9:0:ffff::]:1"] {
        assert_eq!(Client::alice(from).ask(&mut scene, &Request::allocate()).code(), 486, "{from}");
    }
    assert_eq!(refused(&scene, QuotaKind::Address), 2);
    Client::alice("203.0.113.6:3").allocate(&mut scene);
    scene.pass_seconds(600);
    Client::alice("203.0.113.5:3").allocate(&mut scene);
}

#[test]
fn allocations_in_all() {
    let mut scene = limited(|limits| limits.allocations_total = Some(3));
    for port in 1..=3 {
        alice(port).allocate(&mut scene);
    }
    let mut next = Client::user(udp("203.0.113.9:1"), "bob", "builder");
    assert_eq!(next.ask(&mut scene, &Request::allocate()).code(), 508);
    assert_eq!(refused(&scene, QuotaKind::Total), 1);
    scene.pass_seconds(600);
    next.allocate(&mut scene);
}

#[test]
fn ports() {
    let mut scene = Stage::with(|stage| stage.ports = (50_000, 50_003));
    let mut clients = [1, 2, 3, 4, 5].map(alice);
    for client in &mut clients[..4] {
        client.allocate(&mut scene);
    }
    assert_eq!(clients[4].ask(&mut scene, &Request::allocate()).code(), 508);
    assert_eq!(scene.shared.quotas.total(), 4, "what failed counts nowhere");
    assert_eq!(clients[1].ask(&mut scene, &Request::refresh(0)).code(), 0);
    clients[4].allocate(&mut scene);
}

#[test]
fn pairs_of_ports() {
    let mut scene = Stage::with(|stage| stage.ports = (50_001, 50_004));
    assert_eq!(alice(1).ask(&mut scene, &Request::allocate().even_port(true)).code(), 0);
    assert_eq!(alice(2).ask(&mut scene, &Request::allocate().even_port(true)).code(), 508);
    assert_eq!(alice(2).ask(&mut scene, &Request::allocate().even_port(false)).code(), 0);
    assert_eq!(alice(3).ask(&mut scene, &Request::allocate().even_port(false)).code(), 508);
    alice(4).allocate(&mut scene);
}

#[test]
fn permissions_of_an_allocation() {
    let mut scene = limited(|limits| limits.permissions_per_allocation = 3);
    let mut client = alice(1);
    client.allocate(&mut scene);
    let peers = ["9.0.0.1:1", "9.0.0.2:1", "9.0.0.3:1", "9.0.0.4:1"];
    assert_eq!(client.permit(&mut scene, &peers), 508);
    assert_eq!(scene.server.counters().permissions, 0, "all or nothing");
    assert_eq!(client.permit(&mut scene, &peers[..3]), 0);
    assert_eq!(client.permit(&mut scene, &peers[..3]), 0, "to renew needs no room");
    assert_eq!(client.permit(&mut scene, &peers[2..]), 508);
    assert_eq!(client.bind(&mut scene, 0x4000, peers[3]), 508);
    assert_eq!(client.bind(&mut scene, 0x4000, peers[0]), 0);
    scene.pass_seconds(300);
    assert_eq!(client.permit(&mut scene, &peers[3..]), 0, "expired ones make room");
    assert_eq!(scene.server.counters().permissions, 1);
}

#[test]
fn two_ports_of_one_address_take_the_room_of_one_permission() {
    let mut scene = limited(|limits| limits.permissions_per_allocation = 2);
    let mut client = alice(1);
    client.allocate(&mut scene);
    assert_eq!(client.permit(&mut scene, &["9.0.0.1:1"]), 0);
    assert_eq!(client.permit(&mut scene, &["9.0.0.2:1", "9.0.0.2:2"]), 0);
    assert_eq!(scene.server.counters().permissions, 2);
}

#[test]
fn channels_of_an_allocation() {
    let mut scene = limited(|limits| limits.channels_per_allocation = 2);
    let mut client = alice(1);
    client.allocate(&mut scene);
    assert_eq!(client.bind(&mut scene, 0x4000, "9.0.0.1:1"), 0);
    assert_eq!(client.bind(&mut scene, 0x4001, "9.0.0.1:2"), 0);
    assert_eq!(client.bind(&mut scene, 0x4002, "9.0.0.1:3"), 508);
    assert_eq!(client.bind(&mut scene, 0x4001, "9.0.0.1:2"), 0, "to renew needs no room");
    assert_eq!(client.ask(&mut scene, &Request::refresh(3600)).code(), 0);
    scene.pass_seconds(900);
    assert_eq!(client.bind(&mut scene, 0x4002, "9.0.0.1:3"), 0);
}

#[test]
fn answers_to_strangers() {
    let mut scene = limited(|limits| limits.unauthenticated_answers_per_second = 5);
    let asks = [Request::allocate(), Request::new(Method::BINDING).with(0x7ABC, &[])];
    let mut wrong = Client { password: "wrong".into(), ..alice(1) };
    wrong.challenge(&mut scene);
    for request in asks.iter().cycle().take(4) {
        scene.input(wrong.from, &request.bytes()).answer();
    }
    let drop = Outcome::Drop(DropReason::UnauthenticatedRate);
    assert_eq!(scene.input(wrong.from, &asks[0].bytes()), drop);
    assert_eq!(scene.input(wrong.from, &asks[1].bytes()), drop);
    assert_eq!(wrong.outcome(&mut scene, &Request::allocate()), drop);
    assert!(scene.events.is_empty(), "what is not answered is not told");
    // Other addresses, streams, the authenticated and plain Binding requests are not concerned.
    scene.input(wrong.from, &Request::new(Method::BINDING).bytes()).answer();
    scene.input(udp("203.0.113.77:1"), &asks[0].bytes()).answer();
    scene.input(crate::support_core::tcp("203.0.113.5:1"), &asks[0].bytes()).answer();
    let mut right = Client { nonce: wrong.nonce.clone(), ..alice(1) };
    right.allocate(&mut scene);
    assert_eq!(right.permit(&mut scene, &[PEER]), 0);
    scene.pass_seconds(1);
    scene.input(wrong.from, &asks[0].bytes()).answer();
}

#[test]
fn a_port_in_use_is_replaced_by_another() {
    let mut scene = Scene::new();
    scene.failures.extend([BindError::PortInUse; 5]);
    alice(1).allocate(&mut scene);
    assert_eq!(scene.taken_ports(), 1);
    assert_eq!(scene.server.counters().binds_failed.get(BindError::PortInUse), 5);
    for even in [true, false] {
        scene.failures.extend([BindError::PortInUse; 3]);
        let mut client = alice(2);
        let relayed = client.ask(&mut scene, &Request::allocate().even_port(even)).relayed()[0];
        assert_eq!(relayed.port() % 2, 0);
        assert_eq!(scene.taken_ports(), 2 + usize::from(even));
        assert_eq!(client.ask(&mut scene, &Request::refresh(0)).code(), 0);
    }
}

#[test]
fn binds_that_keep_failing_are_answered_508_and_hold_nothing() {
    for (error, tries) in
        [(BindError::PortInUse, 17), (BindError::OutOfResources, 1), (BindError::Refused, 1)]
    {
        for request in
            [Request::allocate(), Request::allocate().even_port(true), Request::allocate().even_port(false)]
        {
            let mut scene = Scene::new();
            scene.failures.extend([error; 100]);
            let mut client = alice(1);
            assert_eq!(client.ask(&mut scene, &request).code(), 508);
            assert_eq!(100 - scene.failures.len(), tries, "{error:?}");
            assert_eq!((scene.taken_ports(), scene.server.allocations()), (0, 0));
            assert_eq!(scene.shared.quotas.total(), 0);
            assert!(scene.events.is_empty(), "there was never an allocation");
            scene.failures.clear();
            client.allocate(&mut scene);
        }
    }
}

#[test]
fn a_reserved_port_that_cannot_be_bound_is_given_back() {
    let mut scene = Scene::new();
    let token =
        alice(1).ask(&mut scene, &Request::allocate().even_port(true)).value(attribute::RESERVATION_TOKEN);
    scene.failures.push_back(BindError::PortInUse);
    let redeem = Request::allocate().with(attribute::RESERVATION_TOKEN, &token);
    assert_eq!(alice(2).ask(&mut scene, &redeem).code(), 508);
    assert_eq!((scene.taken_ports(), scene.shared.reservations.count()), (1, 0));
}

#[test]
fn a_client_that_leaves_while_its_sockets_are_bound_leaves_nothing() {
    for request in [Request::allocate(), Request::allocate().even_port(true), Request::allocate().also_ipv6()]
    {
        for result in [Ok(()), Err(BindError::PortInUse)] {
            let mut scene = Scene::new();
            scene.binds_by_hand = true;
            let mut client = alice(1);
            assert_eq!(client.outcome(&mut scene, &request), Outcome::Pending);
            scene.server.handle_client_closed(scene.now, client.from);
            scene.drain();
            assert_eq!(scene.server.allocations(), 0);
            while let Some(&(socket, _)) = scene.binds.front() {
                scene.bound(socket, result);
            }
            assert_eq!((scene.taken_ports(), scene.sockets.len(), scene.sent.len()), (0, 0, 0));
            assert_eq!(scene.shared.quotas.total(), 0);
        }
    }
}

#[test]
fn allocations_being_made_are_bounded() {
    let mut scene = Stage::with(|stage| stage.ports = (10_000, 20_000));
    scene.binds_by_hand = true;
    let mut refused = 0;
    for port in 1..=1030 {
        match alice(port).outcome(&mut scene, &Request::allocate()) {
            Outcome::Pending => assert_eq!(refused, 0),
            outcome => {
                assert_eq!(outcome, Outcome::Drop(DropReason::TooManyPending));
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 6);
    let (socket, _) = scene.binds[0];
    scene.bound(socket, Ok(()));
    assert_eq!(alice(2000).outcome(&mut scene, &Request::allocate()), Outcome::Pending);
}

#[test]
fn one_deadline_per_allocation_however_often_it_is_refreshed() {
    let mut scene = Scene::new();
    let mut client = alice(1);
    client.allocate(&mut scene);
    for step in 0..500 {
        // The invariants, checked after every step, count the deadlines.
        assert_eq!(client.ask(&mut scene, &Request::refresh(3600 - step)).code(), 0);
    }
    scene.pass_seconds(3101);
    assert_eq!(scene.server.allocations(), 0);
    assert_eq!(scene.server.counters().closed.get(CloseReason::Expired), 1);
}
