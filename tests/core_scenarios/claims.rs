//! What a username claims: whose quota, which limits, what its end means.

use std::{sync::Arc, time::Duration};

use iceway::{
    credentials::{Expiry, Wish},
    turn::{CloseReason, DropReason, Limits, QuotaClass, QuotaKind},
};

use crate::support_core::{Client, Outcome, PEER, Request, Scene, Stage};

fn at(port: u16) -> String {
    format!("203.0.113.5:{port}")
}

fn wish(user: &str) -> Wish<'_> {
    Wish::new(user, Duration::from_secs(300))
}

fn class(name: &str, allocations: Option<u32>, bandwidth: Option<u64>) -> QuotaClass {
    QuotaClass { name: name.into(), allocations_per_user: allocations, bandwidth_per_allocation: bandwidth }
}

fn classes() -> Scene {
    Stage::with(|stage| {
        stage.options.limits.allocations_per_user = Some(1);
        stage.options.bandwidth.per_allocation = Some(1_000);
        stage.options.classes =
            Arc::new([class("gold", Some(3), Some(1_000_000)), class("free", None, None)]);
    })
}

/// How many allocations a user gets with this class.
fn most(scene: &mut Scene, user: &str, class: Option<&str>) -> usize {
    let mut made = 0;
    for port in 1..=6 {
        let mut client = Client::minted(&at(port), &Wish { class, ..wish(user) });
        match client.ask(scene, &Request::allocate()).code() {
            0 => made += 1,
            code => assert_eq!(code, 486),
        }
    }
    scene.server.close_all(scene.now);
    scene.drain();
    made
}

#[test]
fn a_class_has_its_own_allocations_per_user() {
    let mut scene = classes();

    assert_eq!(most(&mut scene, "carol", None), 1);
    assert_eq!(most(&mut scene, "carol", Some("gold")), 3);
    assert_eq!(most(&mut scene, "carol", Some("free")), 6);
    assert_eq!(most(&mut scene, "carol", Some("silver")), 1, "a class that is not there is none");
}

#[test]
fn a_class_has_its_own_bandwidth() {
    // A second's worth may go out at once, but no less than a few packets.
    for (class, passes) in [(None, false), (Some("gold"), true), (Some("free"), true)] {
        let mut scene = classes();
        let mut client = Client::minted(&at(1), &Wish { class, ..wish("carol") });
        client.allocate(&mut scene);
        assert_eq!(client.permit(&mut scene, &[PEER]), 0);
        let mut last = client.send(&mut scene, PEER, &[0; 1200]);
        for _ in 0..200 {
            last = client.send(&mut scene, PEER, &[0; 1200]);
        }
        let is_dropped = last == Outcome::Drop(DropReason::AllocationBandwidth);
        assert_eq!(!is_dropped, passes, "{class:?}");
    }
}

#[test]
fn a_reload_changes_the_bandwidth_of_classes_at_once() {
    let mut scene = classes();
    let mut client = Client::minted(&at(1), &Wish { class: Some("gold"), ..wish("carol") });
    client.allocate(&mut scene);
    assert_eq!(client.permit(&mut scene, &[PEER]), 0);
    scene.options.classes = Arc::default();
    scene.reload();

    let sent = (0..200).map(|_| client.send(&mut scene, PEER, &[0; 1200]));
    assert!(sent.collect::<Vec<_>>().contains(&Outcome::Drop(DropReason::AllocationBandwidth)));
}

#[test]
fn users_are_counted_together_whatever_they_claim() {
    let mut scene = Stage::with(|stage| stage.options.limits.allocations_per_user = Some(2));
    Client::limited(&at(1), "carol", 100).allocate(&mut scene);
    Client::minted(&at(2), &Wish { label: Some("desk"), ..wish("carol") }).allocate(&mut scene);

    let mut third = Client::minted(&at(3), &Wish { label: Some("sofa"), ..wish("carol") });
    assert_eq!(third.ask(&mut scene, &Request::allocate()).code(), 486);
    assert_eq!(scene.shared.quotas.of_user("carol"), 2);
}

#[test]
fn a_name_that_only_looks_like_claims_is_a_user_and_nothing_else() {
    let mut scene = classes();
    for (port, name) in [(1, "carol~1~k1~17~desk~gold~x"), (2, "carol~2~k1~17~desk~gold~s")] {
        Client::limited(&at(port), name, 300).allocate(&mut scene);
        assert_eq!(scene.shared.quotas.of_user(name), 1);
    }
    assert_eq!(scene.shared.quotas.of_user("carol"), 0);
}

#[test]
fn the_policy_of_a_credential_wins_over_the_servers() {
    // (what is claimed, Refresh after the end, whether there is an allocation then)
    let claims = [
        (None, 401, true),
        (Some(Expiry::Allocate), 0, true),
        (Some(Expiry::Refresh), 401, true),
        (Some(Expiry::Strict), 401, false),
    ];
    for (expiry, refresh, is_there) in claims {
        let mut scene = Stage::with(|stage| stage.options.expiry = Expiry::Refresh);
        let mut client = Client::minted(&at(1), &Wish { expiry, ..wish("carol") });
        client.allocate(&mut scene);
        scene.pass_seconds(299);
        assert_eq!(client.ask(&mut scene, &Request::refresh(600)).code(), 0, "{expiry:?}");
        scene.pass_seconds(2);
        assert_eq!(scene.server.allocations() == 1, is_there, "{expiry:?}");
        assert_eq!(client.ask(&mut scene, &Request::refresh(600)).code(), refresh, "{expiry:?}");
        let ended = scene.server.counters().closed.get(CloseReason::CredentialExpired);
        assert_eq!(ended == 0, is_there, "{expiry:?}");
    }
}

#[test]
fn a_reload_to_strict_spares_whoever_claims_otherwise() {
    let mut scene = Scene::new();
    let mut lenient = Client::minted(&at(1), &Wish { expiry: Some(Expiry::Allocate), ..wish("carol") });
    let mut plain = Client::minted(&at(2), &wish("dave"));
    lenient.allocate(&mut scene);
    plain.allocate(&mut scene);
    scene.options.expiry = Expiry::Strict;
    scene.reload();

    scene.pass_seconds(301);
    assert!(scene.server.has_allocation(&lenient.from));
    assert!(!scene.server.has_allocation(&plain.from));
}

#[test]
fn what_other_nodes_hold_counts_too() {
    let mut scene = Stage::with(|stage| {
        stage.options.limits =
            Limits { allocations_per_user: Some(3), allocations_cluster: Some(10), ..stage.options.limits };
    });
    let quotas = &scene.shared.quotas;
    quotas.set_elsewhere("b", "carol", 2);
    quotas.set_elsewhere_total("b", 8);
    Client::minted(&at(1), &wish("carol")).allocate(&mut scene);
    assert_eq!(Client::minted(&at(2), &wish("carol")).ask(&mut scene, &Request::allocate()).code(), 486);
    Client::minted(&at(3), &wish("dave")).allocate(&mut scene);
    assert_eq!(Client::minted(&at(4), &wish("erin")).ask(&mut scene, &Request::allocate()).code(), 508);
    let refused = |scene: &Scene, kind| scene.server.counters().quota_refusals.get(kind);
    assert_eq!((refused(&scene, QuotaKind::User), refused(&scene, QuotaKind::Cluster)), (1, 1));

    scene.shared.quotas.forget_node("b");
    Client::minted(&at(5), &wish("carol")).allocate(&mut scene);
    scene.shared.quotas.set_share(4);
    assert_eq!(Client::minted(&at(6), &wish("erin")).ask(&mut scene, &Request::allocate()).code(), 508);
}

#[test]
fn a_credential_keeps_working_when_its_secret_no_longer_mints() {
    let mut scene = Scene::new();
    let mut client = Client::minted(&at(1), &wish("carol"));
    scene.server.set_directory(Arc::new(
        crate::support_core::directory_builder()
            .mint_with(iceway::credentials::KeyId::new("k2").unwrap())
            .build()
            .unwrap(),
    ));
    client.allocate(&mut scene);
}

#[test]
fn live_allocations_go_on_when_their_secret_is_gone_and_new_ones_are_refused() {
    let mut scene = Scene::new();
    let mut client = Client::minted(&at(1), &wish("carol"));
    client.allocate(&mut scene);
    let others = iceway::credentials::Directory::builder(crate::support_core::REALM)
        .secret(crate::support_core::secret("k3", "west"))
        .build()
        .unwrap();
    scene.server.set_directory(Arc::new(others));

    assert_eq!(client.ask(&mut scene, &Request::refresh(600)).code(), 0);
    assert_eq!(client.clone().at(&at(2)).ask(&mut scene, &Request::allocate()).code(), 401);
    assert_eq!(scene.server.key_ids_in_use().len(), 1);
}
