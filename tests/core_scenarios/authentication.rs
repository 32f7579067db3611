//! Long-term credentials in the order of RFC 8489 §9.2.4.

use crate::support_core::{Client, Outcome, PEER, REALM, Request, Scene, Stage, secret, udp};
use iceway::{
    credentials::{Directory, UserSecret},
    stun::{self, Method, attribute},
    turn::{Code, DropReason, Event, Expiry, Refusal, Request as Kind},
};

const HERE: &str = "203.0.113.5:40000";

fn refused(scene: &Scene, refusal: Refusal) -> u64 {
    scene.server.counters().refusals.get(refusal)
}

#[test]
fn a_request_without_integrity_is_challenged() {
    let mut scene = Scene::new();
    for method in [Method::ALLOCATE, Method::REFRESH, Method::CREATE_PERMISSION, Method::CHANNEL_BIND] {
        let request = Request::new(method).with(attribute::USERNAME, b"alice");
        let answer = scene.input(udp(HERE), &request.bytes()).answer();
        assert_eq!(answer.code(), 401);
        let expected =
            [attribute::ERROR_CODE, attribute::NONCE, attribute::REALM, attribute::PASSWORD_ALGORITHMS];
        assert_eq!(answer.types(), expected);
        assert_eq!(answer.value(attribute::REALM), REALM.as_bytes());
        let offered: Vec<_> = stun::password_algorithms(&answer.value(attribute::PASSWORD_ALGORITHMS))
            .map(|(n, _)| n)
            .collect();
        assert_eq!(offered, [2, 1]);
    }
    assert_eq!(scene.server.counters().refusals.total(), 0, "to be challenged is no failure");
    assert!(scene.events.is_empty());
}

#[test]
fn integrity_without_username_realm_or_nonce_is_answered_400() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    client.challenge(&mut scene);
    let whole = [
        (attribute::USERNAME, b"alice".to_vec()),
        (attribute::REALM, REALM.as_bytes().to_vec()),
        (attribute::NONCE, client.nonce.clone()),
    ];
    for missing in [attribute::USERNAME, attribute::REALM, attribute::NONCE] {
        let mut request = Request::allocate();
        request.attributes.extend(whole.iter().filter(|(found, _)| *found != missing).cloned());
        let answer = scene.input(client.from, &client.sign_as_it_is(&request)).answer();
        assert_eq!(answer.code(), 400);
        assert_eq!(answer.types(), [attribute::ERROR_CODE], "unsigned, and without NONCE or REALM");
    }
    assert_eq!(refused(&scene, Refusal::Incomplete), 3);
}

#[test]
fn both_algorithms_work_and_answers_are_signed_to_match() {
    // (PASSWORD-ALGORITHM, sign with SHA-256); `Client::ask` checks the answer's signature.
    for (algorithm, sha256) in
        [(None, false), (None, true), (Some(1), false), (Some(1), true), (Some(2), true)]
    {
        let mut scene = Scene::new();
        let mut client = Client { algorithm, sha256, ..Client::alice(HERE) };
        client.allocate(&mut scene);
        assert_eq!(client.permit(&mut scene, &[PEER]), 0, "{algorithm:?} {sha256}");
        assert_eq!(client.ask(&mut scene, &Request::refresh(0)).code(), 0);
    }
}

#[test]
fn a_client_may_change_its_algorithm_on_a_live_allocation() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    client.allocate(&mut scene);
    for algorithm in [Some(2), None, Some(1), Some(2)] {
        client.algorithm = algorithm;
        client.sha256 = algorithm.is_some();
        assert_eq!(client.permit(&mut scene, &[PEER]), 0);
    }
}

#[test]
fn a_bid_down_of_the_password_algorithm_is_answered_400() {
    let mut scene = Scene::new();
    let mut client = Client { algorithm: Some(2), sha256: true, ..Client::alice(HERE) };
    client.challenge(&mut scene);
    let identified = |algorithms: Option<&[u8]>, algorithm: Option<&[u8]>| {
        let mut request = Request::allocate()
            .with(attribute::USERNAME, b"alice")
            .with(attribute::REALM, REALM.as_bytes())
            .with(attribute::NONCE, &client.nonce);
        if let Some(value) = algorithms {
            request = request.with(attribute::PASSWORD_ALGORITHMS, value);
        }
        if let Some(value) = algorithm {
            request = request.with(attribute::PASSWORD_ALGORITHM, value);
        }
        client.sign_as_it_is(&request)
    };
    let offered: &[u8] = &[0, 2, 0, 0, 0, 1, 0, 0];
    let mismatches = [
        identified(Some(offered), None),
        identified(None, Some(&[0, 2, 0, 0])),
        identified(Some(&[0, 1, 0, 0]), Some(&[0, 1, 0, 0])),
        identified(Some(&[0, 1, 0, 0, 0, 2, 0, 0]), Some(&[0, 2, 0, 0])),
        identified(Some(offered), Some(&[0, 3, 0, 0])),
        identified(Some(offered), Some(&[0, 2])),
    ];
    for message in &mismatches {
        assert_eq!(scene.input(client.from, message).answer().code(), 400);
    }
    assert_eq!(refused(&scene, Refusal::AlgorithmMismatch), mismatches.len() as u64);
    let right = identified(Some(offered), Some(&[0, 2, 0, 0]));
    assert_eq!(scene.input(client.from, &right), Outcome::Pending);
}

#[test]
fn a_nonce_whose_features_were_stripped_is_refused() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    client.challenge(&mut scene);
    client.nonce[9..13].copy_from_slice(b"AAAA");
    assert_eq!(client.ask(&mut scene, &Request::allocate()).code(), 438);
    assert_eq!(refused(&scene, Refusal::ForeignNonce), 1);
}

#[test]
fn a_stale_nonce_is_answered_438_with_a_fresh_one() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    client.allocate(&mut scene);
    for _ in 0..7 {
        scene.pass_seconds(500);
        assert_eq!(client.ask(&mut scene, &Request::refresh(600)).code(), 0);
    }
    scene.pass_seconds(100);
    assert_eq!(client.ask(&mut scene, &Request::refresh(600)).code(), 0, "valid to its last second");
    scene.pass_seconds(1);
    let answer = client.ask(&mut scene, &Request::refresh(600));
    assert_eq!(answer.code(), 438);
    let expected =
        [attribute::ERROR_CODE, attribute::NONCE, attribute::REALM, attribute::PASSWORD_ALGORITHMS];
    assert_eq!(answer.types(), expected);
    assert_eq!(refused(&scene, Refusal::StaleNonce), 1);
    client.nonce = answer.value(attribute::NONCE);
    assert_eq!(client.ask(&mut scene, &Request::refresh(600)).code(), 0);
    let failures = scene.events.iter().filter(|event| matches!(event, Event::AuthenticationFailed { .. }));
    assert_eq!(failures.count(), 0, "stale nonces are part of ordinary use");
}

#[test]
fn a_nonce_is_good_for_one_client_only() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    client.challenge(&mut scene);
    client.from = udp("203.0.113.5:40001");
    assert_eq!(client.ask(&mut scene, &Request::allocate()).code(), 438);
    assert_eq!(refused(&scene, Refusal::ForeignNonce), 1);
}

#[test]
fn integrity_is_checked_before_the_age_of_the_nonce() {
    let mut scene = Scene::new();
    let mut client = Client { password: "wrong".into(), ..Client::alice(HERE) };
    client.challenge(&mut scene);
    scene.pass_seconds(4000);
    assert_eq!(client.ask(&mut scene, &Request::allocate()).code(), 401);
    client.password = "wonderland".into();
    assert_eq!(client.ask(&mut scene, &Request::allocate()).code(), 438);
}

#[test]
fn wrong_passwords_unknown_users_and_other_realms_are_answered_401_and_told() {
    let mut scene = Scene::new();
    let wrong = Client { password: "wrong".into(), ..Client::alice(HERE) };
    let unknown = Client::user(udp(HERE), "mallory", "x");
    let realm = Client { realm: "elsewhere".into(), ..Client::alice(HERE) };
    let expected =
        [(wrong, Refusal::WrongPassword), (unknown, Refusal::UnknownUser), (realm, Refusal::WrongRealm)];
    for (mut client, reason) in expected {
        let answer = client.ask(&mut scene, &Request::allocate());
        assert_eq!(answer.code(), 401);
        assert!(answer.has(attribute::NONCE) && answer.has(attribute::REALM));
        assert!(!answer.has(attribute::MESSAGE_INTEGRITY));
        assert_eq!(refused(&scene, reason), 1);
        let Some(Event::AuthenticationFailed { five_tuple, reason: told, .. }) = scene.events.pop() else {
            panic!("nothing was told of {reason:?}");
        };
        assert_eq!((five_tuple, told), (client.from, reason));
    }
    assert_eq!(scene.server.allocations(), 0);
}

#[test]
fn time_limited_credentials_work_with_every_secret_beside_static_users() {
    let mut scene = Scene::new();
    let mut first = Client::limited("203.0.113.5:1", "carol", 100);
    first.allocate(&mut scene);
    let mut second = Client::limited("203.0.113.5:2", "dave", 100);
    second.password = secret("k2", "south").password(&second.username).as_str().into();
    second.allocate(&mut scene);
    let mut sha256 =
        Client { algorithm: Some(2), sha256: true, ..Client::limited("203.0.113.5:3", "erin", 100) };
    sha256.allocate(&mut scene);
    Client::alice("203.0.113.5:4").allocate(&mut scene);
    let mut foreign = Client::limited("203.0.113.5:5", "mallory", 100);
    foreign.password = secret("k3", "west").password(&foreign.username).as_str().into();
    assert_eq!(foreign.ask(&mut scene, &Request::allocate()).code(), 401);
    assert_eq!(scene.shared.quotas.of_user("carol"), 1, "the user is the name without its time");
}

#[test]
fn a_time_limited_credential_works_to_its_last_second_and_no_longer() {
    let mut scene = Scene::new();
    scene.pass_seconds(100);
    Client::limited("203.0.113.5:1", "carol", 100).allocate(&mut scene);
    scene.pass_seconds(1);
    let mut late = Client::limited("203.0.113.5:2", "carol", 100);
    assert_eq!(late.ask(&mut scene, &Request::allocate()).code(), 401);
    assert_eq!(refused(&scene, Refusal::Expired), 1);
}

#[test]
fn an_expired_credential_goes_on_refreshing_as_far_as_the_policy_lets_it() {
    // (policy, Refresh, CreatePermission); under `Strict` there is no allocation left that would know the key.
    let policies = [(Expiry::Allocate, 0, 0), (Expiry::Refresh, 401, 0), (Expiry::Strict, 401, 401)];
    for (expiry, refresh, permission) in policies {
        let mut scene = Stage::with(|stage| stage.options.expiry = expiry);
        let mut client = Client::limited(HERE, "carol", 300);
        client.allocate(&mut scene);
        scene.pass_seconds(299);
        assert_eq!(client.ask(&mut scene, &Request::refresh(600)).code(), 0, "{expiry:?}");
        scene.pass_seconds(2);
        assert_eq!(client.ask(&mut scene, &Request::refresh(600)).code(), refresh, "{expiry:?}");
        assert_eq!(client.permit(&mut scene, &[PEER]), permission, "{expiry:?}");
    }
}

#[test]
fn under_strict_expiry_the_allocation_ends_with_its_credential() {
    let mut scene = Stage::with(|stage| stage.options.expiry = Expiry::Strict);
    let mut client = Client::limited(HERE, "carol", 300);
    let answer = client.ask(&mut scene, &Request::allocate());
    assert_eq!(answer.lifetime(), 300, "no longer than the credential");
    scene.pass_seconds(299);
    assert_eq!(scene.server.allocations(), 1);
    scene.pass_seconds(1);
    assert_eq!(scene.server.allocations(), 0);
    let Some(Event::Closed { reason, .. }) = scene.events.last() else { panic!("{:?}", scene.events) };
    assert_eq!(*reason, iceway::turn::CloseReason::CredentialExpired);
}

#[test]
fn a_static_user_is_found_by_userhash() {
    let mut scene = Scene::new();
    let mut client = Client { hashed: true, ..Client::alice(HERE) };
    client.allocate(&mut scene);
    assert_eq!(client.permit(&mut scene, &[PEER]), 0);
    let mut unknown = Client { hashed: true, ..Client::user(udp("203.0.113.5:2"), "mallory", "x") };
    assert_eq!(unknown.ask(&mut scene, &Request::allocate()).code(), 401);
}

#[test]
fn nonces_ask_for_userhash_only_where_every_name_can_be_found_by_its_hash() {
    let features = |scene: &mut Scene| {
        let nonce = Client::alice(HERE).challenge(scene).value(attribute::NONCE);
        iceway::turn::Features::of(&nonce).unwrap()
    };
    let both = features(&mut Scene::new());
    assert!(both.password_algorithms && !both.username_anonymity, "time-limited names can't be hashed");

    let users = || Directory::builder(REALM).user("alice", UserSecret::Password("wonderland".into()));
    let fixed = features(&mut Stage::with(|stage| stage.directory = users().build().unwrap()));
    assert!(fixed.password_algorithms && fixed.username_anonymity);

    let with_md5 = users().user("old", UserSecret::Md5([1; 16])).build().unwrap();
    let mut scene = Stage::with(|stage| stage.directory = with_md5);
    assert!(!features(&mut scene).password_algorithms, "one user could not use SHA-256");
    assert!(!Client::alice(HERE).challenge(&mut scene).has(attribute::PASSWORD_ALGORITHMS));
}

#[test]
fn a_user_known_by_md5_key_only_is_authenticated() {
    let key = stun::long_term_key_md5("old", REALM, "timer");
    let directory = Directory::builder(REALM).user("old", UserSecret::Md5(key)).build().unwrap();
    let mut scene = Stage::with(|stage| stage.directory = directory);
    Client::user(udp(HERE), "old", "timer").allocate(&mut scene);
}

#[test]
fn other_credentials_on_an_allocation_are_answered_441() {
    let mut scene = Scene::new();
    Client::alice(HERE).allocate(&mut scene);
    let mut bob = Client::user(udp(HERE), "bob", "builder");
    for request in [
        Request::allocate(),
        Request::refresh(0),
        Request::create_permission(&[PEER]),
        Request::channel_bind(0x4000, PEER),
    ] {
        assert_eq!(bob.ask(&mut scene, &request).code(), 441);
    }
    assert_eq!(refused(&scene, Refusal::OtherUser), 4);
    assert_eq!(scene.server.allocations(), 1, "alice's allocation is untouched");
}

#[test]
fn unknown_required_attributes_are_listed_in_a_420_after_authentication() {
    let mut scene = Scene::new();
    let request =
        Request::allocate().with(0x7f01, b"x").with(0x8f01, b"y").with(0x7f02, b"").with(0x7f01, b"");
    let answer = scene.input(udp(HERE), &request.bytes()).answer();
    assert_eq!(answer.code(), 401, "authentication comes first");
    let mut client = Client::alice(HERE);
    let answer = client.ask(&mut scene, &request);
    assert_eq!(answer.code(), 420);
    let unknown: Vec<_> = stun::unknown_attributes(&answer.value(attribute::UNKNOWN_ATTRIBUTES)).collect();
    assert_eq!(unknown, [0x7f01, 0x7f02]);
    assert_eq!(scene.server.counters().responses.get(Kind::Allocate, Code::UnknownAttribute), 1);
}

#[test]
fn attributes_behind_the_integrity_are_ignored() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    client.challenge(&mut scene);
    let request = Request::allocate()
        .with(attribute::USERNAME, b"alice")
        .with(attribute::REALM, REALM.as_bytes())
        .with(attribute::NONCE, &client.nonce);
    let key = client.key();
    let message = request.write(|writer| {
        writer.integrity_sha1(&key).unwrap();
        writer.attribute(0x7f01, b"unknown").unwrap();
        writer.u32(attribute::LIFETIME, 3600).unwrap();
    });
    assert_eq!(scene.input(client.from, &message), Outcome::Pending);
    let answer = scene.late_answer();
    assert_eq!((answer.code(), answer.lifetime()), (0, 600));
}

#[test]
fn answers_have_a_fingerprint_if_the_request_has_one() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    for fingerprint in [true, false] {
        let with = |request: Request| Request { fingerprint, ..request };
        let challenge = scene.input(client.from, &with(Request::allocate()).bytes()).answer();
        assert_eq!(challenge.message().has_fingerprint(), fingerprint);
        let allocated = client.ask(&mut scene, &with(Request::allocate()));
        assert_eq!((allocated.code(), allocated.message().has_fingerprint()), (0, fingerprint));
        let mismatch = client.ask(&mut scene, &with(Request::allocate()));
        assert_eq!((mismatch.code(), mismatch.message().has_fingerprint()), (437, fingerprint));
        let binding = scene.input(client.from, &with(Request::new(Method::BINDING)).bytes()).answer();
        assert_eq!(binding.message().has_fingerprint(), fingerprint);
        assert_eq!(client.ask(&mut scene, &with(Request::refresh(0))).code(), 0);
    }
}

#[test]
fn a_wrong_fingerprint_or_a_malformed_message_is_dropped() {
    let mut scene = Scene::new();
    let mut message = Request::new(Method::BINDING).fingerprint().bytes();
    let last = message.len() - 1;
    message[last] ^= 1;
    assert_eq!(scene.input(udp(HERE), &message), Outcome::Drop(DropReason::BadFingerprint));
    let message = Request::new(Method::BINDING).with(attribute::SOFTWARE, b"long").bytes();
    assert_eq!(scene.input(udp(HERE), &message[..24]), Outcome::Drop(DropReason::MalformedStun));
    assert_eq!(scene.input(udp(HERE), b"\x16\x03\x01"), Outcome::Drop(DropReason::NotStun));
    assert_eq!(scene.input(udp(HERE), b""), Outcome::Drop(DropReason::NotStun));
}

#[test]
fn responses_indications_and_foreign_methods_get_no_answer() {
    use iceway::stun::Class;
    let mut scene = Scene::new();
    for class in [Class::Success, Class::Error] {
        let message = Request { class, ..Request::new(Method::BINDING) }.bytes();
        assert_eq!(scene.input(udp(HERE), &message), Outcome::Drop(DropReason::UnexpectedMessage));
    }
    for method in [Method::CONNECT, Method::SEND, Method::DATA, Method(0x0ff)] {
        let message = Request::new(method).bytes();
        assert_eq!(scene.input(udp(HERE), &message), Outcome::Drop(DropReason::UnexpectedMessage));
    }
    let indication = Request { class: Class::Indication, ..Request::new(Method::BINDING) }.bytes();
    assert_eq!(scene.input(udp(HERE), &indication), Outcome::Drop(DropReason::KeepAlive));
}

#[test]
fn a_binding_request_needs_no_credentials() {
    let mut scene = Scene::new();
    for from in ["203.0.113.5:40000", "[2001:db8::7]:5"] {
        let answer = scene.input(udp(from), &Request::new(Method::BINDING).bytes()).answer();
        assert_eq!(answer.code(), 0);
        assert_eq!(answer.types(), [attribute::XOR_MAPPED_ADDRESS]);
        assert_eq!(answer.address(attribute::XOR_MAPPED_ADDRESS), from.parse().unwrap());
    }
    let unknown = scene.input(udp(HERE), &Request::new(Method::BINDING).with(0x7f01, b"").bytes()).answer();
    assert_eq!(unknown.code(), 420);
}

#[test]
fn software_is_told_to_the_authenticated_only() {
    let mut scene = Stage::with(|stage| stage.options.software = Some("iceway".into()));
    let mut client = Client::alice(HERE);
    assert!(!client.challenge(&mut scene).has(attribute::SOFTWARE));
    assert!(
        !scene.input(client.from, &Request::new(Method::BINDING).bytes()).answer().has(attribute::SOFTWARE)
    );
    let answer = client.ask(&mut scene, &Request::allocate());
    assert_eq!(answer.value(attribute::SOFTWARE), b"iceway");
}
