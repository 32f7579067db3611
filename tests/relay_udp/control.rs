//! What others may do to a running node: revoke, list, close, look users up; and what it tells them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use iceway::{
    config::{Config, RedisUrl, SecretBytes, SharedSecret},
    credentials::{Credential, Directory, KeyId, Revocation, Revocations, Secret, Wish},
    runtime::{Ended, ListFilter, LookUp},
    stun,
    turn::{CloseReason, UserKey},
};
use tokio::sync::mpsc;

use crate::{
    client::{Client, Incoming},
    node::{REALM, TestNode, block_on, peer, receive},
};

const SECRET: &[u8] = b"north0123456789abcdef";

fn with_secret(config: &mut Config) {
    let secret = SharedSecret { id: "k1".to_owned(), bytes: SecretBytes::new(SECRET) };
    config.auth.secrets.push(secret);
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn credential(user: &str, label: Option<&str>) -> Credential {
    let secret = Secret::new(KeyId::new("k1").unwrap(), SECRET);
    let directory = Directory::builder(REALM).secret(secret).build().unwrap();
    let wish = Wish { user, label, class: None, expiry: None, ttl: Duration::from_secs(600) };
    directory.mint_claims(&wish, now()).unwrap()
}

fn client(node: &TestNode, user: &str, label: Option<&str>) -> Client {
    let credential = credential(user, label);
    Client::with(node.ipv4(), &credential.username, credential.password.as_str())
}

fn revocation(user: &str, cut: bool) -> Arc<Revocations> {
    Arc::new(Revocations::new([Revocation {
        id: "r1".into(),
        username: None,
        user: Some(user.into()),
        label: None,
        key_id: None,
        issued_before: now() + 1,
        expires: now() + 600,
        cut,
    }]))
}

fn everything() -> ListFilter {
    ListFilter { user: None, label: None, after: None, limit: 100 }
}

#[test]
fn a_revocation_cuts_what_it_hits_while_media_flows_and_nothing_else() {
    let (sender, mut ended) = mpsc::channel(16);
    let node = TestNode::start_with(with_secret, |start| start.ended = Some(sender));
    let peer = peer("127.0.0.1");
    let mut clients = ["bob", "bob", "carol"].map(|user| client(&node, user, Some("call:1")));
    for client in &mut clients {
        client.allocate_one();
        client.bind_channel(0x4000, peer.local_addr().unwrap()).unwrap();
        client.send_channel(0x4000, b"media");
        assert_eq!(receive(&peer).0, b"media");
    }

    assert_eq!(block_on(node.handle().revoke(&revocation("bob", true))), 2);

    let [one, two, carol] = &mut clients;
    for revoked in [one, two] {
        revoked.send_channel(0x4000, b"late");
        assert_eq!(revoked.refresh(600), Err(401));
        assert_eq!(revoked.allocate(Default::default()), Err(401));
    }
    carol.send_channel(0x4000, b"still");
    assert_eq!(receive(&peer).0, b"still");
    for _ in 0..2 {
        let Ended { identity, reason, summary, started_unix, ended_unix, .. } =
            ended.blocking_recv().unwrap();
        assert_eq!((&*identity.user, identity.label.as_deref()), ("bob", Some("call:1")));
        assert_eq!(identity.key_id.unwrap().as_str(), "k1");
        assert_eq!((reason, summary.to_peer_bytes), (CloseReason::Revoked, 5));
        assert!(started_unix <= ended_unix && ended_unix <= now());
    }
    // The end of the node is told too, and after it nothing.
    drop(node);
    assert_eq!(ended.blocking_recv().unwrap().reason, CloseReason::Shutdown);
    assert!(ended.blocking_recv().is_none());
}

#[test]
fn without_a_cut_a_revoked_credential_lasts_until_it_has_to_be_proved_again() {
    let node = TestNode::start(with_secret);
    let mut bob = client(&node, "bob", None);
    bob.allocate_one();

    assert_eq!(block_on(node.handle().revoke(&revocation("bob", false))), 0);

    assert_eq!(node.counters().allocations.total(), 1);
    assert_eq!(bob.refresh(600), Err(401));
    assert_eq!(block_on(node.handle().revoke(&Arc::default())), 0);
    assert_eq!(bob.refresh(600), Err(401), "what was hit once stays hit");
    assert!(client(&node, "bob", None).allocate(Default::default()).is_ok());
}

#[test]
fn allocations_are_listed_by_user_and_label_page_by_page_over_all_shards() {
    let node = TestNode::start(with_secret);
    let mut clients: Vec<Client> = (0..12)
        .map(|n| client(&node, if n % 3 == 0 { "bob" } else { "carol" }, (n % 2 == 0).then_some("even")))
        .collect();
    let relayed: Vec<_> = clients.iter_mut().map(Client::allocate_one).collect();

    let mut seen = Vec::new();
    let mut filter = ListFilter { limit: 5, ..everything() };
    loop {
        let page = block_on(node.handle().list(filter.clone()));
        let last = page.allocations.last().unwrap();
        filter.after = Some((last.0, last.1.id));
        seen.extend(page.allocations);
        if !page.has_more {
            break;
        }
    }
    let mut listed: Vec<_> = seen.iter().flat_map(|(_, listed)| listed.relayed.clone()).collect();
    let mut expected = relayed;
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    assert!(seen.is_sorted_by_key(|(shard, listed)| (*shard, listed.id)));

    let count = |user: Option<&str>, label: Option<&str>| {
        let filter = ListFilter { user: user.map(Into::into), label: label.map(Into::into), ..everything() };
        block_on(node.handle().list(filter)).allocations.len()
    };
    assert_eq!((count(Some("bob"), None), count(None, Some("even"))), (4, 6));
    assert_eq!((count(Some("bob"), Some("even")), count(Some("nobody"), None)), (2, 0));
    let in_use = block_on(node.handle().key_ids_in_use());
    assert_eq!(in_use, [(KeyId::new("k1").unwrap(), 12)]);
}

#[test]
fn an_allocation_that_is_closed_by_its_id_is_gone_at_once() {
    let node = TestNode::start(with_secret);
    let mut bob = client(&node, "bob", None);
    bob.allocate_one();
    let page = block_on(node.handle().list(everything()));
    let (shard, listed) = &page.allocations[0];

    assert!(!block_on(node.handle().close_allocation(shard + 1, listed.id)));
    assert!(!block_on(node.handle().close_allocation(usize::MAX, listed.id)));
    assert!(block_on(node.handle().close_allocation(*shard, listed.id)));
    assert!(!block_on(node.handle().close_allocation(*shard, listed.id)));

    assert_eq!(bob.refresh(600), Err(437));
    // Nothing is held against its user.
    bob.allocate_one();
    assert_eq!(node.counters().closed.get(CloseReason::Closed), 1);
}

#[test]
fn secrets_change_under_live_allocations() {
    let node = TestNode::start(with_secret);
    let mut bob = client(&node, "bob", None);
    bob.allocate_one();

    let other = Secret::new(KeyId::new("k2").unwrap(), b"south0123456789abcdef");
    let directory = Directory::builder(REALM).secret(other).build().unwrap();
    node.handle().set_directory(&Arc::new(directory));
    // Commands are obeyed in order.
    node.snapshot();

    assert!(bob.refresh(600).is_ok(), "what was proved once goes on");
    assert_eq!(client(&node, "bob", None).allocate(Default::default()), Err(401));
}

#[test]
fn a_user_whom_nobody_knows_here_is_looked_up() {
    let (sender, mut asked) = mpsc::channel::<LookUp>(16);
    let node = TestNode::start_with(
        |config| {
            config.redis.url = Some(RedisUrl::parse("redis://127.0.0.1:1").unwrap());
            config.redis.coturn_users = true;
        },
        |start| start.look_ups = Some(sender),
    );
    let handle = node.handle();
    let answers = std::thread::spawn(move || {
        while let Some(LookUp { shard, id, username }) = asked.blocking_recv() {
            let key = (*username == *"dora").then(|| stun::long_term_key_md5("dora", REALM, "explores"));
            handle.found(shard, id, key.map(UserKey::Md5));
        }
    });
    let peer = peer("127.0.0.1");
    let mut dora = Client::with(node.ipv4(), "dora", "explores");
    let relayed = dora.allocate_one();
    dora.bind_channel(0x4000, peer.local_addr().unwrap()).unwrap();
    peer.send_to(b"found", relayed).unwrap();
    assert_eq!(dora.receive(), Incoming::Channel { number: 0x4000, payload: b"found".to_vec() });

    assert_eq!(Client::with(node.ipv4(), "dora", "guesses").allocate(Default::default()), Err(401));
    assert_eq!(Client::with(node.ipv4(), "nobody", "explores").allocate(Default::default()), Err(401));
    drop(node);
    answers.join().unwrap();
}
