//! Reload, drain, and the end of things; look-ups of users.

use std::sync::Arc;

use iceway::{
    credentials::{Directory, UserSecret},
    stun::long_term_key_md5,
    turn::{Bandwidth, CloseReason, DropReason, Event, PeerOutcome, PeerPolicy, UserKey},
};

use crate::support_core::{Client, Outcome, PEER, REALM, Request, Scene, Stage, secret, tcp, udp};

const HERE: &str = "203.0.113.5:40000";
const OTHER: &str = "93.184.216.35:5000";

#[test]
fn a_reload_ends_permissions_and_channels_of_peers_no_longer_allowed() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    let relayed = client.allocate(&mut scene);
    assert_eq!(client.bind(&mut scene, 0x4000, PEER), 0);
    assert_eq!(client.bind(&mut scene, 0x4001, OTHER), 0);
    scene.policy = PeerPolicy::new(&[], &["93.184.216.34/32".parse().unwrap()], &[]);
    scene.reload();
    assert_eq!(scene.events.last(), Some(&Event::ChannelUnbound { five_tuple: client.from, number: 0x4000 }));
    assert_eq!(client.send_on(&mut scene, 0x4000, b"x"), Outcome::Drop(DropReason::NoChannel));
    assert_eq!(scene.peer_input(relayed, PEER, 1), PeerOutcome::Drop(DropReason::NoPermission));
    assert_eq!(client.permit(&mut scene, &[PEER]), 403);
    client.send_on(&mut scene, 0x4001, b"x").relayed();
    assert_eq!((scene.server.counters().permissions, scene.server.counters().channels), (1, 1));
}

#[test]
fn a_reload_swaps_secrets_without_touching_a_call() {
    let mut scene = Scene::new();
    let mut client = Client::limited(HERE, "carol", 10_000);
    client.allocate(&mut scene);
    let directory = Directory::builder(REALM).secret(secret("k3", "west")).build().unwrap();
    scene.directory = Arc::new(directory);
    scene.reload();
    assert_eq!(client.ask(&mut scene, &Request::refresh(600)).code(), 0, "the call goes on");
    assert_eq!(client.permit(&mut scene, &[PEER]), 0);
    let mut old = Client::limited("203.0.113.5:2", "carol", 10_000);
    assert_eq!(old.ask(&mut scene, &Request::allocate()).code(), 401);
    let mut new = Client::limited("203.0.113.5:3", "carol", 10_000);
    new.password = secret("k3", "west").password(&new.username).as_str().into();
    new.allocate(&mut scene);
}

#[test]
fn a_new_password_works_on_a_live_allocation() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    client.allocate(&mut scene);
    let users = Directory::builder(REALM).user("alice", UserSecret::Password("looking glass".into()));
    scene.directory = Arc::new(users.build().unwrap());
    scene.reload();
    assert_eq!(client.permit(&mut scene, &[PEER]), 0, "the key of the call");
    client.password = "looking glass".into();
    assert_eq!(client.permit(&mut scene, &[PEER]), 0, "and that of the directory");
}

#[test]
fn a_reload_changes_bandwidth_and_limits_at_once() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    client.allocate(&mut scene);
    assert_eq!(client.bind(&mut scene, 0x4000, PEER), 0);
    scene.options.bandwidth = Bandwidth { per_allocation: Some(1000), total: None };
    scene.options.limits.allocations_per_user = Some(1);
    scene.reload();
    for _ in 0..65 {
        client.send_on(&mut scene, 0x4000, &[0; 1000]).relayed();
    }
    let dropped = Outcome::Drop(DropReason::AllocationBandwidth);
    assert_eq!(client.send_on(&mut scene, 0x4000, &[0; 1000]), dropped);
    let mut second = Client::alice("203.0.113.5:2");
    assert_eq!(second.ask(&mut scene, &Request::allocate()).code(), 486);
}

#[test]
fn a_draining_server_makes_no_allocations_but_keeps_them() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    let request = Request::allocate();
    let first = client.ask(&mut scene, &request);
    scene.server.start_drain(Arc::default());
    assert_eq!(client.ask(&mut scene, &request), first, "a retransmission is answered alike");
    assert_eq!(Client::alice("203.0.113.5:2").ask(&mut scene, &Request::allocate()).code(), 508);
    assert_eq!(client.ask(&mut scene, &Request::refresh(600)).code(), 0);
    assert_eq!(client.bind(&mut scene, 0x4000, PEER), 0);
    client.send_on(&mut scene, 0x4000, b"x").relayed();
    assert_eq!(client.ask(&mut scene, &Request::refresh(0)).code(), 0);
    assert_eq!(client.ask(&mut scene, &Request::allocate()).code(), 508);
}

#[test]
fn everything_closes_at_once_and_streams_are_disconnected() {
    let mut scene = Scene::new();
    for port in 1..=5 {
        Client::alice(&format!("203.0.113.5:{port}")).allocate(&mut scene);
    }
    let stream = tcp("203.0.113.5:6");
    Client::user(stream, "alice", "wonderland").allocate(&mut scene);
    scene.binds_by_hand = true;
    let mut half = Client::alice("203.0.113.5:7");
    assert_eq!(half.outcome(&mut scene, &Request::allocate().even_port(true)), Outcome::Pending);
    scene.server.close_all(scene.now);
    scene.drain();
    let (socket, _) = scene.binds[0];
    scene.bound(socket, Ok(()));
    assert_eq!((scene.server.allocations(), scene.sockets.len(), scene.taken_ports()), (0, 0, 0));
    assert_eq!(scene.server.counters().closed.get(CloseReason::Shutdown), 6);
    assert_eq!(scene.disconnected, [stream]);
    assert_eq!(scene.server.poll_deadline(), None);
}

#[test]
fn a_closed_stream_ends_its_allocation() {
    let mut scene = Scene::new();
    let mut client = Client::user(tcp(HERE), "alice", "wonderland");
    client.allocate(&mut scene);
    assert!(scene.server.has_allocation(&client.from));
    scene.server.handle_client_closed(scene.now, client.from);
    scene.drain();
    assert!(!scene.server.has_allocation(&client.from));
    assert_eq!(scene.server.counters().closed.get(CloseReason::ClientClosed), 1);
    assert!(scene.disconnected.is_empty(), "it is closed already");
    scene.server.handle_client_closed(scene.now, client.from);
    scene.drain();
}

fn with_look_ups() -> Scene {
    Stage::with(|stage| stage.options.external_users = true)
}

fn found(scene: &mut Scene, key: Option<UserKey>) {
    let (id, _) = scene.look_ups.remove(0);
    scene.server.key_found(scene.now, id, key);
    scene.drain();
}

#[test]
fn users_from_elsewhere_are_looked_up_once() {
    for key in
        [UserKey::Password("far away".into()), UserKey::Md5(long_term_key_md5("zoe", REALM, "far away"))]
    {
        let mut scene = with_look_ups();
        let mut client = Client::user(udp(HERE), "zoe", "far away");
        let request = Request::allocate();
        assert_eq!(client.outcome(&mut scene, &request), Outcome::Pending);
        assert_eq!(scene.look_ups[0].1, "zoe");
        assert_eq!(client.outcome(&mut scene, &request), Outcome::Drop(DropReason::RetransmissionPending));
        found(&mut scene, Some(key));
        assert_eq!(scene.late_answer().code(), 0);
        assert_eq!(client.permit(&mut scene, &[PEER]), 0, "the key is known by now");
        assert!(scene.look_ups.is_empty());
        let mut alice = Client::alice("203.0.113.5:2");
        alice.allocate(&mut scene);
        assert!(scene.look_ups.is_empty(), "who is in the directory is not looked up");
    }
}

#[test]
fn look_ups_that_find_nothing_or_another_key_are_answered_401() {
    for key in [None, Some(UserKey::Password("another".into()))] {
        let mut scene = with_look_ups();
        let mut client = Client::user(udp(HERE), "zoe", "far away");
        assert_eq!(client.outcome(&mut scene, &Request::allocate()), Outcome::Pending);
        found(&mut scene, key);
        assert_eq!(scene.late_answer().code(), 401);
        assert_eq!(scene.server.allocations(), 0);
    }
}

#[test]
fn only_who_was_given_a_nonce_is_looked_up() {
    let mut scene = with_look_ups();
    let mut client = Client::user(udp(HERE), "zoe", "far away");
    client.nonce = b"obMatJos2AAAAforged-here".to_vec();
    assert_eq!(client.ask(&mut scene, &Request::allocate()).code(), 438);
    assert!(scene.look_ups.is_empty());
}

#[test]
fn look_ups_are_bounded_and_forgotten() {
    let mut scene = with_look_ups();
    let zoe = |port: u16| Client::user(udp(&format!("203.0.113.5:{port}")), "zoe", "far away");
    for port in 1..=256 {
        assert_eq!(zoe(port).outcome(&mut scene, &Request::allocate()), Outcome::Pending);
    }
    let too_many = Outcome::Drop(DropReason::TooManyPending);
    assert_eq!(zoe(257).outcome(&mut scene, &Request::allocate()), too_many);
    scene.server.handle_client_closed(scene.now, udp("203.0.113.5:1"));
    assert_eq!(zoe(257).outcome(&mut scene, &Request::allocate()), Outcome::Pending);
    scene.pass_seconds(8);
    assert_eq!(scene.drops(DropReason::LookUpUnanswered), 256);
    assert_eq!(scene.server.poll_deadline(), None);
    found(&mut scene, Some(UserKey::Password("far away".into())));
    assert!(scene.sent.is_empty(), "too late");
    // Bytes are bounded too: a request may carry much that nobody asked for.
    let large = Request::allocate().with(0x8f01, &[0; 60_000]);
    for port in 301..=304 {
        assert_eq!(zoe(port).outcome(&mut scene, &large), Outcome::Pending);
    }
    assert_eq!(zoe(305).outcome(&mut scene, &large), too_many);
    let mut other = zoe(301);
    other.challenge(&mut scene);
    assert_eq!(other.outcome(&mut scene, &Request::allocate()), too_many, "one per client");
}

#[test]
fn users_from_elsewhere_may_have_md5_keys_so_that_sha256_is_not_offered() {
    let mut scene = with_look_ups();
    let challenge = Client::alice(HERE).challenge(&mut scene);
    assert!(!challenge.has(iceway::stun::attribute::PASSWORD_ALGORITHMS));
    let off =
        Client::user(udp("203.0.113.5:2"), "zoe", "far away").ask(&mut Scene::new(), &Request::allocate());
    assert_eq!(off.code(), 401, "look-ups are off unless asked for");
}
