//! What is remembered of why users fail: each kind of failure, and what strangers can't do.

use std::time::Duration;

use iceway::{
    credentials::{Revocation, Wish},
    stun::{Method, attribute},
    turn::{BindError, Cause, CloseReason, Code, DropReason, Incident, PeerPolicy, QuotaKind},
};

use crate::support_core::{Client, PEER, Request, Scene, Stage, udp};

const HERE: &str = "203.0.113.5:40000";
const THERE: &str = "203.0.113.6:40000";

fn incidents(scene: &Scene, user: &str) -> Vec<Incident> {
    scene.shared.history.of_user(user, scene.now.unix)
}

/// The only thing that is known of a user.
fn only(scene: &Scene, user: &str) -> Incident {
    let [one]: [Incident; 1] = incidents(scene, user).try_into().expect("one thing went wrong");
    one
}

fn revocation(user: &str) -> Revocation {
    Revocation {
        id: "r1".into(),
        username: None,
        user: Some(user.into()),
        label: None,
        key_id: None,
        issued_before: u64::MAX,
        expires: u64::MAX,
        cut: true,
    }
}

#[test]
fn an_expired_credential_is_known_with_its_end_and_its_secret() {
    let mut scene = Scene::new();
    let mut client = Client::limited(HERE, "carol", 100);
    scene.pass_seconds(160);
    for _ in 0..2 {
        assert_eq!(client.ask(&mut scene, &Request::allocate()).code(), 401);
        scene.pass_seconds(5);
    }

    let incident = only(&scene, "carol");
    let Cause::Expired { since, key_id: Some(key_id) } = &incident.cause else { panic!("{incident:?}") };
    assert_eq!((*since, key_id.as_str()), (scene.now.unix - 70, "k1"));
    assert_eq!((incident.is_proved, incident.count, incident.last_unix), (true, 2, scene.now.unix - 5));
    assert_eq!(incident.from, udp(HERE));
}

#[test]
fn an_expired_name_with_another_password_is_a_strangers() {
    let mut scene = Scene::new();
    let mut client = Client { password: "x".into(), ..Client::limited(HERE, "carol", 100) };
    scene.pass_seconds(101);
    assert_eq!(client.ask(&mut scene, &Request::allocate()).code(), 401);

    let incident = only(&scene, "carol");
    assert!(matches!(incident.cause, Cause::Expired { key_id: None, .. }), "{incident:?}");
    assert!(!incident.is_proved);
}

#[test]
fn wrong_passwords_unknown_names_and_other_realms_are_strangers() {
    let mut scene = Scene::new();
    let wrong = Client { password: "x".into(), ..Client::alice("203.0.113.1:1") };
    let unknown = Client::user(udp("203.0.113.2:1"), "mallory", "x");
    let realm = Client { realm: "elsewhere".into(), ..Client::user(udp("203.0.113.3:1"), "bob", "builder") };
    let mut claims = Client::minted("203.0.113.4:1", &Wish::new("dave", Duration::from_secs(600)));
    claims.password = "x".into();
    for mut client in [wrong, unknown, realm, claims] {
        assert_eq!(client.ask(&mut scene, &Request::allocate()).code(), 401);
    }

    let cause = |user| {
        let incident = only(&scene, user);
        assert!(!incident.is_proved);
        incident.cause
    };
    assert_eq!(cause("alice"), Cause::WrongPassword { key_id: None, is_static: true });
    assert_eq!(cause("mallory"), Cause::UnknownUser);
    assert_eq!(cause("bob"), Cause::WrongRealm);
    assert_eq!(cause("dave"), Cause::WrongPassword { key_id: Some("k1".into()), is_static: false });
}

#[test]
fn a_revocation_is_known_by_name_at_allocate_and_where_it_cuts() {
    let mut scene = Scene::new();
    Client::minted(HERE, &Wish::new("carol", Duration::from_secs(600))).allocate(&mut scene);
    assert_eq!(scene.revoke([revocation("carol")]), 1);
    let mut later = Client::minted(THERE, &Wish::new("carol", Duration::from_secs(600)));
    assert_eq!(later.ask(&mut scene, &Request::allocate()).code(), 401);

    let causes: Vec<Cause> = incidents(&scene, "carol").into_iter().map(|incident| incident.cause).collect();
    let cut = Cause::Ended { reason: CloseReason::Revoked, by: Some("r1".into()) };
    assert_eq!(causes, [Cause::Revoked { by: "r1".into(), issued_before: u64::MAX }, cut]);
}

#[test]
fn quotas_drains_and_ports_that_run_out_are_told_apart() {
    let mut scene = Stage::with(|stage| {
        stage.options.limits.allocations_per_user = Some(1);
        stage.ports = (50_000, 50_001);
    });
    Client::alice("203.0.113.5:1").allocate(&mut scene);
    assert_eq!(Client::alice("203.0.113.5:2").ask(&mut scene, &Request::allocate()).code(), 486);
    Client::limited("203.0.113.5:3", "carol", 600).allocate(&mut scene);
    let mut dave = Client::limited("203.0.113.5:4", "dave", 600);
    assert_eq!(dave.ask(&mut scene, &Request::allocate()).code(), 508);
    scene.server.start_drain(std::sync::Arc::default());
    let mut eve = Client::limited("203.0.113.5:5", "eve", 600);
    assert_eq!(eve.ask(&mut scene, &Request::allocate()).code(), 508);

    assert_eq!(only(&scene, "alice").cause, Cause::Quota { kind: QuotaKind::User, limit: 1 });
    assert_eq!(only(&scene, "dave").cause, Cause::NoPort);
    assert_eq!(only(&scene, "eve").cause, Cause::Draining);
}

#[test]
fn sockets_that_the_system_refuses_are_known() {
    let mut scene = Scene::new();
    scene.failures.push_back(BindError::OutOfResources);
    assert_eq!(Client::alice(HERE).ask(&mut scene, &Request::allocate()).code(), 508);

    assert_eq!(only(&scene, "alice").cause, Cause::Bind(BindError::OutOfResources));
}

#[test]
fn denied_peers_are_known_with_their_rule() {
    let denied = "9.9.9.0/24".parse().unwrap();
    let mut scene = Stage::with(|stage| stage.policy = PeerPolicy::new(&[], &[denied], &[]));
    let mut client = Client::alice(HERE);
    client.allocate(&mut scene);
    for peer in ["9.9.9.9:1", "9.9.9.8:1", "10.0.0.1:1"] {
        assert_eq!(client.permit(&mut scene, &[peer]), 403);
    }
    assert_eq!(client.bind(&mut scene, 0x4000, "10.0.0.2:1"), 403);

    let told: Vec<(String, u32)> = incidents(&scene, "alice")
        .iter()
        .map(|incident| match &incident.cause {
            Cause::PeerDenied { ip, rule } => (format!("{ip} {rule}"), incident.count),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told.len(), 3);
    assert!(told[0].0.starts_with("10.0.0.2 10.0.0.0/8"), "{told:?}");
    assert_eq!(told[2], ("9.9.9.8 9.9.9.0/24: denied by the configuration".to_owned(), 2));
}

#[test]
fn a_call_that_heard_nothing_says_so_at_its_end() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    let relayed = client.allocate(&mut scene);
    assert_eq!(client.bind(&mut scene, 0x4000, PEER), 0);
    for _ in 0..7 {
        client.send_on(&mut scene, 0x4000, b"x").relayed();
    }
    for _ in 0..3 {
        scene.peer_input(relayed, "8.8.8.8:99", 100);
    }
    client.send(&mut scene, "8.8.4.4:1", b"x");
    client.send_on(&mut scene, 0x4001, b"x");
    assert_eq!(incidents(&scene, "alice"), []);
    assert_eq!(client.ask(&mut scene, &Request::refresh(0)).code(), 0);

    let causes: Vec<Cause> = incidents(&scene, "alice").into_iter().map(|incident| incident.cause).collect();
    let expected = [
        Cause::Dropped { reason: DropReason::NoChannel, datagrams: 1 },
        Cause::Dropped { reason: DropReason::NoPermission, datagrams: 1 },
        Cause::NothingFromPeers { sent: 7 },
        Cause::NotPermitted { peer: "8.8.8.8:99".parse().unwrap(), datagrams: 3 },
    ];
    assert_eq!(causes, expected);
}

#[test]
fn a_call_that_went_well_leaves_nothing() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    let relayed = client.allocate(&mut scene);
    assert_eq!(client.bind(&mut scene, 0x4000, PEER), 0);
    for _ in 0..7 {
        client.send_on(&mut scene, 0x4000, b"x").relayed();
        scene.peer_input(relayed, PEER, 100);
    }
    assert_eq!(client.ask(&mut scene, &Request::refresh(0)).code(), 0);

    assert_eq!(scene.shared.history.size(), iceway::turn::HistorySize::default());
}

#[test]
fn live_allocations_say_what_is_wrong_with_them() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    client.allocate(&mut scene);
    assert_eq!(client.bind(&mut scene, 0x4000, PEER), 0);
    for _ in 0..5 {
        client.send_on(&mut scene, 0x4000, b"x").relayed();
    }
    let query = iceway::turn::ListQuery { limit: 1, ..iceway::turn::ListQuery::default() };
    let page = scene.server.list(scene.now, &query);

    assert_eq!(page.allocations[0].troubles, [Cause::NothingFromPeers { sent: 5 }]);
}

#[test]
fn a_client_that_ignores_new_nonces_is_known() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    client.challenge(&mut scene);
    scene.pass_seconds(4000);
    for _ in 0..4 {
        assert_eq!(client.ask(&mut scene, &Request::allocate()).code(), 438);
        scene.pass_seconds(2);
    }

    let incident = only(&scene, "alice");
    assert_eq!((incident.cause, incident.count, incident.is_proved), (Cause::StaleNonce, 4, true));
}

#[test]
fn other_refusals_are_known_by_their_code() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    assert_eq!(client.ask(&mut scene, &Request::refresh(600)).code(), 437);
    client.allocate(&mut scene);
    assert_eq!(client.bind(&mut scene, 0x5000, PEER), 400);
    assert_eq!(client.ask(&mut scene, &Request::allocate().with(0x7f01, b"")).code(), 420);
    let mut other = Client::user(udp(HERE), "bob", "builder");
    other.nonce.clone_from(&client.nonce);
    assert_eq!(other.ask(&mut scene, &Request::refresh(600)).code(), 441);

    let codes: Vec<Cause> = incidents(&scene, "alice").into_iter().map(|incident| incident.cause).collect();
    let expected = [Code::UnknownAttribute, Code::BadRequest, Code::AllocationMismatch].map(Cause::Refused);
    assert_eq!(codes, expected);
    assert_eq!(only(&scene, "bob").cause, Cause::OtherUser);
}

#[test]
fn nobody_is_noted_who_may_not_be_where_they_say_they_are() {
    let mut scene = Scene::new();
    let mut client = Client { password: "x".into(), ..Client::alice(HERE) };
    client.challenge(&mut scene);
    // The nonce was given to another address: this may be anybody, in the name of that address.
    client.from = udp(THERE);
    assert_eq!(client.ask(&mut scene, &Request::allocate()).code(), 401);
    client.nonce = b"no nonce of ours".to_vec();
    assert_eq!(client.ask(&mut scene, &Request::new(Method::REFRESH)).code(), 401);
    let without = Request::allocate().with(attribute::USERNAME, b"alice");
    scene.input(udp(THERE), &client.sign_as_it_is(&without));

    assert_eq!(scene.shared.history.size(), iceway::turn::HistorySize::default());
}

#[test]
fn one_address_leaves_behind_one_name_a_second() {
    let mut scene = Scene::new();
    let mut client = Client::user(udp(HERE), "mallory", "x");
    client.challenge(&mut scene);
    for step in 0..50 {
        client.username = format!("mallory {step}");
        assert_eq!(client.ask(&mut scene, &Request::allocate()).code(), 401);
    }
    let size = scene.shared.history.size();
    assert_eq!((size.strangers, size.not_kept), (1, 49));
    scene.pass_seconds(1);
    assert_eq!(client.ask(&mut scene, &Request::allocate()).code(), 401);

    assert_eq!(scene.shared.history.size().strangers, 2);
}
