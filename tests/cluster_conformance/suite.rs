//! The tests. All of them hold for one node as well as for many.

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Duration};

use iceway::{
    cluster::{
        Answer, Ask, NewApiKey, NodeAddress, NodePlace, NodePublic, NodeState, Rate, Remembered,
        RequestError, Scope, Scopes, SecretState, UsageOf, UsageQuery,
    },
    credentials::{Claims, Revocation},
};

use super::{TestNode, eventually, now, relay::record};

/// All of them, one after another.
pub(crate) async fn everything(nodes: &[TestNode]) {
    every_node_knows_the_others(nodes).await;
    questions_reach_the_node_they_are_for(nodes).await;
    keys_for_a_purpose_are_the_same_everywhere(nodes);
    a_revocation_takes_effect_everywhere_before_it_is_answered(nodes).await;
    a_secret_is_known_everywhere_before_it_mints(nodes).await;
    an_api_key_made_on_one_node_works_on_all(nodes).await;
    a_rate_is_shared(nodes).await;
    an_idempotency_key_is_shared(nodes).await;
    usage_of_all_nodes_is_read_and_summed_once(nodes).await;
    what_users_hold_is_told_to_the_others(nodes).await;
    a_draining_node_says_so_at_once(nodes).await;
    a_node_that_is_reached_elsewhere_says_so_at_once(nodes).await;
}

fn ids(nodes: &[TestNode]) -> BTreeSet<String> {
    nodes.iter().map(|node| node.cluster.id().to_owned()).collect()
}

pub(crate) async fn every_node_knows_the_others(nodes: &[TestNode]) {
    for node in nodes {
        eventually("each node is in the list", async || {
            node.cluster.nodes().list.iter().map(|info| info.id.clone()).collect::<BTreeSet<_>>()
                == ids(nodes)
        })
        .await;
        let list = node.cluster.nodes();
        assert_eq!(list.list[0].id, node.cluster.id(), "this node comes first");
        assert!(list.list.iter().all(|info| info.region == "eu" && !info.uris.is_empty()));
        eventually("loads are told", async || {
            node.cluster.nodes().list.iter().all(|info| info.load.allocations == 7)
        })
        .await;
    }
}

pub(crate) async fn questions_reach_the_node_they_are_for(nodes: &[TestNode]) {
    let asking = &nodes[0].cluster;
    for node in nodes {
        let close = Ask::Close { allocation: "known".to_owned() };
        assert_eq!(asking.ask(node.cluster.id(), close).await, Ok(Answer::Closed(true)));
    }
    let nobody = asking.ask("nobody", Ask::SecretsInUse).await;
    assert_eq!(nobody, Err(RequestError::UnknownNode("nobody".to_owned())));
    let answers = asking.ask_all(Ask::SecretsInUse).await;
    assert_eq!(answers[0].0, asking.id(), "the own answer comes first");
    assert_eq!(answers.iter().map(|(id, _)| id.clone()).collect::<BTreeSet<_>>(), ids(nodes));
    assert!(answers.iter().all(|(_, answer)| matches!(answer, Ok(Answer::SecretsInUse(_)))));
    let configured = asking.secrets().await.into_iter().find(|secret| secret.id == "configured").unwrap();
    assert_eq!(configured.allocations, 2 * nodes.len() as u64, "summed over all nodes");
}

pub(crate) fn keys_for_a_purpose_are_the_same_everywhere(nodes: &[TestNode]) {
    let key = nodes[0].cluster.derive_key("nonce");
    assert!(nodes.iter().all(|node| node.cluster.derive_key("nonce") == key));
    assert!(nodes.iter().all(|node| node.cluster.derive_key("bus") != key));
}

pub(crate) async fn a_revocation_takes_effect_everywhere_before_it_is_answered(nodes: &[TestNode]) {
    for (node, cut) in nodes.iter().zip(1..) {
        node.relay.cut.store(cut, Ordering::SeqCst);
    }
    let revocation = Revocation {
        id: "r-1".into(),
        username: None,
        user: Some("mallory".into()),
        label: None,
        key_id: None,
        issued_before: now(),
        expires: now() + 600,
        cut: true,
    };
    let revoked = nodes[nodes.len() - 1].cluster.revoke(revocation).await.unwrap();

    let sum = nodes.len() as u64 * (nodes.len() as u64 + 1) / 2;
    assert_eq!(revoked.cut, sum, "{revoked:?}");
    assert_eq!(revoked.nodes.len(), nodes.len());
    for node in nodes {
        let claims = Claims::read("mallory");
        let hit = |expires| node.cluster.revocations().hit("x", &claims, None, expires, now()).is_some();
        assert!(hit(now() + 60), "a revocation is in effect on {}", node.cluster.id());
        assert!(node.relay.applied.lock().unwrap().iter().any(|row| row.id == "r-1"));
    }
}

pub(crate) async fn a_secret_is_known_everywhere_before_it_mints(nodes: &[TestNode]) {
    let first = &nodes[0].cluster;
    let before = first.directory();
    let rotation = first.rotate_secrets().await.unwrap();
    assert_eq!(rotation.active.state, SecretState::Active);

    let credential = first.directory().mint("bob", Duration::from_secs(60), now()).unwrap();
    for node in nodes {
        // It minted only after all had taken it over.
        let directory = node.cluster.directory();
        assert!(directory.secrets().iter().any(|secret| secret.id().as_str() == rotation.active.id));
        assert!(directory.secrets().iter().any(|secret| secret.id().as_str() == "configured"));
        let candidates = directory.candidates(&credential.username, now());
        let mut passwords = candidates.iter().filter_map(|one| one.key.password().map(str::to_owned));
        assert!(passwords.any(|password| password == credential.password.as_str()));
        eventually("all nodes mint with the new one", async || {
            let minted = node.cluster.directory().mint("bob", Duration::from_secs(60), now());
            let expected = first.directory().mint("bob", Duration::from_secs(60), now());
            minted.unwrap().password.as_str() == expected.unwrap().password.as_str()
        })
        .await;
    }
    let old = before.mint("bob", Duration::from_secs(60), now()).unwrap();
    assert_ne!(old.password.as_str(), credential.password.as_str());
}

pub(crate) async fn an_api_key_made_on_one_node_works_on_all(nodes: &[TestNode]) {
    let new =
        NewApiKey { name: "backend".to_owned(), scopes: Scopes(vec![Scope::Issue]), ..NewApiKey::default() };
    let (key, text) = nodes[0].cluster.create_api_key(new).await.unwrap();
    let from = std::net::IpAddr::from([127, 0, 0, 1]);
    for node in nodes {
        eventually("an API key works", async || {
            node.cluster.api_keys().authenticate(&text, from, now()).is_ok_and(|found| found.id == key.id)
        })
        .await;
    }
    let last = &nodes[nodes.len() - 1].cluster;
    assert_eq!(last.revoke_api_key(&key.id).await, Ok(true));
    assert_eq!(last.revoke_api_key(&key.id).await, Ok(false));
    for node in nodes {
        eventually("a revoked API key does not work", async || {
            node.cluster.api_keys().find(&key.id).is_none()
        })
        .await;
    }
}

pub(crate) async fn a_rate_is_shared(nodes: &[TestNode]) {
    let rate = Rate { count: 5, per: Duration::from_secs(600), burst: 5 };
    let mut admitted = 0;
    for turn in 0..10 {
        let answer = nodes[turn % nodes.len()].cluster.limit("conformance:alice", rate).await;
        admitted += u32::from(answer.is_admitted);
        assert_eq!(answer.is_admitted, answer.retry_after.is_zero());
        if answer.is_admitted {
            assert_eq!(answer.remaining, 5 - admitted);
        }
    }
    assert_eq!(admitted, 5);
    assert!(nodes[0].cluster.limit("conformance:bob", rate).await.is_admitted, "each name by itself");
}

pub(crate) async fn an_idempotency_key_is_shared(nodes: &[TestNode]) {
    let (first, last) = (&nodes[0].cluster, &nodes[nodes.len() - 1].cluster);
    let ttl = Duration::from_secs(60);
    assert_eq!(first.remember("once", b"in progress".to_vec(), ttl).await, Remembered::New);
    assert_eq!(
        last.remember("once", b"mine".to_vec(), ttl).await,
        Remembered::Earlier(b"in progress".to_vec())
    );
    first.replace("once", b"the answer".to_vec(), ttl).await;
    assert_eq!(
        last.remember("once", b"mine".to_vec(), ttl).await,
        Remembered::Earlier(b"the answer".to_vec())
    );
}

pub(crate) async fn usage_of_all_nodes_is_read_and_summed_once(nodes: &[TestNode]) {
    let (first, last) = (&nodes[0].cluster, &nodes[nodes.len() - 1].cluster);
    let ended = now();
    for node in nodes {
        for n in 0..3 {
            let id = format!("{}-{n}", node.cluster.id());
            node.cluster.record_usage(record(&id, node.cluster.id(), "bob", ended));
        }
    }
    let expected = 3 * nodes.len();
    eventually("all records are there", async || {
        first.usage_records(None, 1000).await.is_ok_and(|page| page.records.len() >= expected)
    })
    .await;
    let mut seen = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = last.usage_records(after.as_deref(), 2).await.unwrap();
        seen.extend(page.records.iter().map(|(_, record)| record.id.clone()));
        let Some((cursor, _)) = page.records.last() else { break };
        after = Some(cursor.clone());
        if !page.has_more {
            break;
        }
    }
    assert_eq!(seen.len(), expected, "{seen:?}");
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), expected, "each once");
    let day = u32::try_from(ended / 86_400).unwrap();
    for of in [UsageOf::User("bob".to_owned()), UsageOf::Label("call:1".to_owned())] {
        let totals = last.usage_totals(UsageQuery { of, from_day: day, to_day: day }).await.unwrap();
        assert_eq!((totals.allocations, totals.sent_bytes), (expected as u64, 1000 * expected as u64));
    }
    assert_eq!(first.acknowledge_usage(&after.unwrap()).await, Ok(expected as u64));
    assert_eq!(last.usage_records(None, 10).await.unwrap().records.len(), 0);
    assert!(first.usage_records(Some("no cursor"), 10).await.is_err());
}

pub(crate) async fn what_users_hold_is_told_to_the_others(nodes: &[TestNode]) {
    let (first, others) = nodes.split_first().unwrap();
    for count in [2, 5, 0] {
        first.relay.hold("carol", count);
        for other in others {
            eventually("a count arrives", async || {
                other.relay.elsewhere(first.cluster.id(), "carol") == count
            })
            .await;
        }
    }
}

pub(crate) async fn a_draining_node_says_so_at_once(nodes: &[TestNode]) {
    let last = &nodes[nodes.len() - 1];
    assert_eq!(nodes[0].cluster.ask(last.cluster.id(), Ask::Drain).await, Ok(Answer::Draining(3)));
    last.cluster.announce();
    for node in nodes {
        eventually("the draining node is seen to drain", async || {
            let list = node.cluster.nodes();
            list.list.iter().any(|info| info.id == last.cluster.id() && info.state == NodeState::Draining)
        })
        .await;
    }
    last.relay.is_draining.store(false, Ordering::SeqCst);
    last.cluster.announce();
}

pub(crate) async fn a_node_that_is_reached_elsewhere_says_so_at_once(nodes: &[TestNode]) {
    let last = &nodes[nodes.len() - 1];
    let public = NodePublic {
        local: "10.0.0.5".parse().unwrap(),
        told: "203.0.113.5".parse().unwrap(),
        from: "stun".to_owned(),
        is_confirmed: true,
    };
    let address = NodeAddress { transport: "udp".to_owned(), address: "203.0.113.5:3478".parse().unwrap() };
    let place = NodePlace {
        uris: vec!["turn:203.0.113.5:3478?transport=udp".to_owned()],
        addresses: vec![address],
        public: vec![public],
    };
    last.cluster.set_place(place.clone());
    for node in nodes {
        eventually("the node is seen where it is now", async || {
            let list = node.cluster.nodes();
            let told = list.list.iter().find(|info| info.id == last.cluster.id());
            told.is_some_and(|info| {
                (&info.uris, &info.addresses, &info.public) == (&place.uris, &place.addresses, &place.public)
            })
        })
        .await;
    }
}

/// The last node ends; not one of [`everything`], since it is gone afterwards.
pub(crate) async fn a_node_that_closes_is_gone(nodes: &[TestNode]) {
    let (last, others) = nodes.split_last().unwrap();
    last.cluster.close().await.unwrap();
    for node in others {
        eventually("a closed node is gone", async || {
            node.cluster.nodes().list.iter().all(|info| info.id != last.cluster.id())
        })
        .await;
    }
}
