//! One node, nothing beside it.

use std::time::Duration;

use iceway::{
    cluster::{
        ApiKeysError, Cluster, Health, NewApiKey, Scope, Scopes, SecretSource, SecretState, SecretsError,
        keys_file_line,
    },
    config::{Config, SecretBytes},
    credentials::{Claims, KeyId, Revocation},
};

use crate::{
    Scratch,
    conformance::{PATIENCE, TestNode, config, eventually, now, settings, suite},
};

fn key_id(id: &str) -> KeyId {
    KeyId::new(id).unwrap()
}

fn revocation(id: &str, user: &str, expires: u64) -> Revocation {
    Revocation {
        id: id.into(),
        username: None,
        user: Some(user.into()),
        label: None,
        key_id: None,
        issued_before: now(),
        expires,
        cut: true,
    }
}

fn issue(name: &str) -> NewApiKey {
    NewApiKey { name: name.to_owned(), scopes: Scopes(vec![Scope::Issue]), ..NewApiKey::default() }
}

fn stored_in(scratch: &Scratch) -> Config {
    let mut config = config();
    config.store.path = Some(scratch.file());
    config
}

async fn states(cluster: &Cluster) -> Vec<(String, SecretState)> {
    cluster.secrets().await.into_iter().map(|secret| (secret.id, secret.state)).collect()
}

#[tokio::test]
async fn a_node_alone_does_everything_peers_do() {
    let node = TestNode::start(&config(), "alone");
    assert_eq!(node.cluster.health(), Health::Alone);
    suite::everything(std::slice::from_ref(&node)).await;
    assert_eq!(node.cluster.find_user("realm", "carol").await, None);
}

#[tokio::test]
async fn all_of_it_is_there_after_a_restart() {
    let scratch = Scratch::new("restart");
    let config = stored_in(&scratch);
    let (rotation, key, text, derived) = {
        let cluster = Cluster::open(&config, settings("a")).unwrap();
        cluster.revoke(revocation("r", "mallory", now() + 600)).await.unwrap();
        let rotation = cluster.rotate_secrets().await.unwrap();
        let (key, text) = cluster.create_api_key(issue("backend")).await.unwrap();
        cluster.api_key_used(&key.id, 1234);
        cluster.close().await.unwrap();
        (rotation, key, text, cluster.derive_key("nonce"))
    };

    let cluster = Cluster::open(&config, settings("a")).unwrap();
    let hit = |user: &str| {
        let claims = Claims::read(user);
        cluster.revocations().hit("x", &claims, None, now() + 60, now()).is_some()
    };
    assert!(hit("mallory") && !hit("bob"));
    assert_eq!(states(&cluster).await[0], (rotation.active.id, SecretState::Active));
    let from = std::net::IpAddr::from([127, 0, 0, 1]);
    assert_eq!(cluster.api_keys().authenticate(&text, from, now()), Ok(&key));
    assert_eq!(cluster.last_used(&key.id), Some(1234));
    assert_eq!(cluster.derive_key("nonce"), derived, "nonces outlive a restart");
}

#[tokio::test]
async fn neither_secrets_nor_keys_stand_in_the_file_for_others_to_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = Scratch::new("hidden");
    let cluster = Cluster::open(&stored_in(&scratch), settings("a")).unwrap();
    let (_, text) = cluster.create_api_key(issue("backend")).await.unwrap();
    let bytes = std::fs::read(scratch.file()).unwrap();
    let random = &text.as_bytes()[text.len() - 43..];
    assert!(!bytes.windows(43).any(|window| window == random), "only its hash is kept");
    assert_eq!(std::fs::metadata(scratch.file()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_secret_goes_from_next_to_active_to_retiring_and_is_removed_by_itself() {
    let mut config = config();
    config.auth.secrets.clear();
    config.credentials.ttl_max = Duration::from_secs(1);
    let node = TestNode::start(&config, "a");
    let cluster = &node.cluster;
    assert_eq!(states(cluster).await, []);

    let first = cluster.add_secret(Some(key_id("first")), None, SecretState::Active).await.unwrap();
    assert_eq!((first.state, first.source), (SecretState::Active, SecretSource::Stored));
    let bytes = SecretBytes::new(b"brought along");
    let second = cluster.add_secret(Some(key_id("second")), Some(bytes), SecretState::Next).await.unwrap();
    assert_eq!((second.state, second.activated), (SecretState::Next, None));
    let old = cluster.directory().mint("bob", Duration::from_secs(60), now()).unwrap();

    let mut changes = cluster.changes();
    let rotation = cluster.rotate_secrets().await.unwrap();
    assert_eq!((rotation.active.id.as_str(), rotation.active.state), ("second", SecretState::Active));
    let retiring = rotation.retiring.unwrap();
    assert_eq!((retiring.id.as_str(), retiring.state), ("first", SecretState::Retiring));
    assert!(retiring.retires.is_some_and(|retires| retires <= now() + 1));
    assert!(cluster.directory().candidates(&old.username, now()).iter().count() == 2, "still accepted");

    let gone = tokio::time::timeout(PATIENCE, changes.wait_for(|_| cluster.directory().secrets().len() == 1));
    gone.await.unwrap().unwrap();
    assert_eq!(states(cluster).await, [("second".to_owned(), SecretState::Active)]);
}

#[tokio::test]
async fn secrets_in_use_are_not_removed_without_force() {
    let node = TestNode::start(&config(), "a");
    let cluster = &node.cluster;
    cluster.add_secret(Some(key_id("mine")), None, SecretState::Active).await.unwrap();

    assert_eq!(
        cluster.remove_secret(&key_id("none"), true).await,
        Err(SecretsError::Unknown(key_id("none")))
    );
    let configured = Err(SecretsError::Configured(key_id("configured")));
    assert_eq!(cluster.remove_secret(&key_id("configured"), true).await, configured);
    assert_eq!(cluster.remove_secret(&key_id("mine"), false).await, Err(SecretsError::InUse(key_id("mine"))));
    let removed = cluster.remove_secret(&key_id("mine"), true).await.unwrap();
    assert_eq!(removed.state, SecretState::Removed);
    assert_eq!(states(cluster).await, [("configured".to_owned(), SecretState::Active)]);
    let again = cluster.add_secret(Some(key_id("mine")), None, SecretState::Next).await.unwrap();
    assert_eq!(again.state, SecretState::Next, "an id may come back");
}

#[tokio::test]
async fn secrets_that_cannot_be_are_refused_and_nothing_changes() {
    let node = TestNode::start(&config(), "a");
    let cluster = &node.cluster;
    let add = |id: &str, bytes: &[u8], state| {
        cluster.add_secret(Some(key_id(id)), Some(SecretBytes::new(bytes)), state)
    };
    let next = SecretState::Next;
    assert_eq!(add("configured", b"12345678", next).await, Err(SecretsError::Exists(key_id("configured"))));
    assert_eq!(add("short", b"1234567", next).await, Err(SecretsError::Length(7)));
    assert_eq!(add("gone", b"12345678", SecretState::Retiring).await, Err(SecretsError::State));
    assert_eq!(states(cluster).await.len(), 1);
    for n in 1..16 {
        cluster.add_secret(Some(key_id(&format!("k{n}"))), None, next).await.unwrap();
    }
    assert_eq!(cluster.add_secret(None, None, next).await, Err(SecretsError::TooMany(16)));
}

#[tokio::test]
async fn coturns_secrets_are_taken_over_and_work_at_once() {
    let mut config = config();
    config.auth.secrets.clear();
    let node = TestNode::start(&config, "a");
    let text = "use-auth-secret\nstatic-auth-secret=northnorth\nstatic-auth-secret=southsouth\n";
    let added = node.cluster.import_secrets(text).await.unwrap();
    let states: Vec<SecretState> = added.iter().map(|secret| secret.state).collect();
    assert_eq!(states, [SecretState::Active, SecretState::Next]);

    assert_eq!(node.cluster.import_secrets(text).await.unwrap(), [], "they are known already");

    // openssl: printf '1433895918:ninefingers' | openssl dgst -sha1 -hmac northnorth -binary | base64
    let directory = node.cluster.directory();
    let candidates = directory.candidates("1433895918:ninefingers", 1_433_895_000);
    let passwords: Vec<String> =
        candidates.iter().filter_map(|one| one.key.password().map(str::to_owned)).collect();
    assert_eq!(passwords.len(), 2);
    assert_eq!(passwords[0], "dwsijqKcceX9Uwtijb85/FpWPKk=");
}

#[tokio::test]
async fn keys_of_the_file_stand_beside_stored_ones_until_the_file_is_read_again() {
    let scratch = Scratch::new("keys");
    let file = scratch.0.join("keys");
    let mut config = config();
    let (elsewhere, text) = {
        let other = Cluster::open(&config, settings("b")).unwrap();
        other.create_api_key(issue("by file")).await.unwrap()
    };
    std::fs::write(&file, format!("{}\n", keys_file_line(&elsewhere))).unwrap();
    config.api.keys_file = Some(file.clone());
    let node = TestNode::start(&config, "a");
    let from = std::net::IpAddr::from([127, 0, 0, 1]);

    let (stored, _) = node.cluster.create_api_key(issue("stored")).await.unwrap();
    assert!(node.cluster.api_keys().authenticate(&text, from, now()).is_ok());
    assert_eq!(node.cluster.api_keys().len(), 2);
    let by_file = Err(ApiKeysError::Configured(elsewhere.id.clone()));
    assert_eq!(node.cluster.revoke_api_key(&elsewhere.id).await, by_file);

    std::fs::write(&file, "none at all\n").unwrap();
    let error = node.cluster.reload(&config).unwrap_err().to_string();
    assert!(error.contains("line 1"), "{error}");
    assert_eq!(node.cluster.api_keys().len(), 2, "all stays as it was");
    std::fs::write(&file, "").unwrap();
    let before = node.cluster.changes().borrow().api_keys;
    node.cluster.reload(&config).unwrap();
    assert!(node.cluster.changes().borrow().api_keys > before);
    assert!(node.cluster.api_keys().find(&stored.id).is_some());
    assert_eq!(node.cluster.api_keys().len(), 1);
}

#[tokio::test]
async fn a_revocation_ends_with_the_last_credential_it_hits() {
    let node = TestNode::start(&config(), "a");
    node.cluster.revoke(revocation("r", "mallory", now() + 1)).await.unwrap();
    assert_eq!(node.cluster.revocations().len(), 1);
    eventually("it is forgotten", async || node.cluster.revocations().is_empty()).await;
}

#[tokio::test]
async fn usage_survives_a_restart_until_it_is_taken() {
    let scratch = Scratch::new("usage");
    let config = stored_in(&scratch);
    {
        let cluster = Cluster::open(&config, settings("a")).unwrap();
        for n in 0..10 {
            cluster.record_usage(crate::conformance::relay::record(&n.to_string(), "a", "bob", now()));
        }
        cluster.close().await.unwrap();
    }
    let cluster = Cluster::open(&config, settings("a")).unwrap();
    assert_eq!(cluster.counters().usage_pending, 10);
    let page = cluster.usage_records(None, 4).await.unwrap();
    let ids: Vec<&str> = page.records.iter().map(|(_, record)| record.id.as_str()).collect();
    assert_eq!((ids, page.has_more), (vec!["0", "1", "2", "3"], true));
    assert_eq!(cluster.acknowledge_usage(&page.records[3].0).await, Ok(4));
    drop(cluster);
    let cluster = Cluster::open(&config, settings("a")).unwrap();
    let rest = cluster.usage_records(Some(&page.records[3].0), 100).await.unwrap();
    assert_eq!((rest.records.len(), cluster.counters().usage_pending), (6, 6));
}

#[tokio::test]
async fn a_revocation_takes_effect_even_if_its_caller_goes() {
    let node = TestNode::start(&config(), "a");
    let asked = node.cluster.revoke(revocation("r", "mallory", now() + 600));
    // Polled once and dropped, as when a client of the API closes its connection.
    assert!(futures_util::future::FutureExt::now_or_never(asked).is_none());
    eventually("it is in effect", async || node.cluster.revocations().len() == 1).await;
    eventually("the relay was told", async || node.relay.applied.lock().unwrap().len() == 1).await;
}

#[tokio::test]
async fn revocations_made_at_the_same_moment_are_each_in_effect_when_they_are_answered() {
    let scratch = Scratch::new("moment");
    let node = TestNode::start(&stored_in(&scratch), "a");
    let revoking = (0..100).map(async |n: u32| {
        let user = format!("user-{n}");
        node.cluster.revoke(revocation(&format!("r-{n}"), &user, now() + 600)).await.unwrap();
        let claims = Claims::read(&user);
        node.cluster.revocations().hit("x", &claims, None, now() + 60, now()).is_some()
    });
    let hits = futures_util::future::join_all(revoking).await;
    assert!(hits.into_iter().all(|hit| hit));
    let commits = node.cluster.counters().store_commits;
    assert!(commits < 50, "many are synced together: {commits} commits");
}
