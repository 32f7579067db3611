//! What nodes share while all is well.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use iceway::cluster::{Answer, Ask, NodeState, Rate, Remembered, RequestError, SecretState};

use crate::{
    node::{TestNode, config, revocation, run, three, together, until},
    support_redis::Redis,
};

#[test]
fn nodes_find_one_another_and_a_node_that_ends_is_gone_at_once() {
    run(async {
        let redis = Redis::start();
        let [a, b, c] = three(&config(&redis.url())).await;
        let infos = a.cluster.nodes();
        let other = infos.list.iter().find(|node| node.id == "b").unwrap();
        assert_eq!(
            (other.region.as_str(), other.state, other.load.allocations),
            ("eu", NodeState::Serving, 5)
        );
        assert_eq!(other.uris, ["turn:b.example.org:3478?transport=udp"]);
        c.cluster.close().await.unwrap();
        until(|| a.nodes() == ["a", "b"] && b.nodes() == ["b", "a"], || format!("{:?}", a.nodes())).await;
        assert_eq!(redis.keys().iter().filter(|key| key.starts_with("iceway:{nodes}:")).count(), 2);
    });
}

#[test]
fn a_revocation_reaches_the_relays_of_all_nodes_in_well_under_100_ms() {
    run(async {
        let redis = Redis::start();
        let nodes = three(&config(&redis.url())).await;
        for node in &nodes {
            node.relay.cuts.store(2, Ordering::Relaxed);
        }
        let mut times = Vec::new();
        for number in 0..20 {
            let id = format!("r{number}");
            let begin = Instant::now();
            let revoked = nodes[0].cluster.revoke(revocation(&id, "alice")).await.unwrap();
            times.push(begin.elapsed());
            assert!(revoked.nodes.iter().all(|(_, cut)| cut.is_ok()), "{:?}", revoked.nodes);
            for node in &nodes {
                let applied = node.relay.applied.lock().unwrap();
                assert!(
                    applied.iter().any(|(row, _)| *row == id),
                    "{} has not applied {id}",
                    node.cluster.id()
                );
            }
        }
        times.sort();
        println!(
            "a revocation was applied and acknowledged by three nodes in {:?} (median)",
            times[times.len() / 2]
        );
        assert!(times[times.len() / 2] < Duration::from_millis(100), "{times:?}");
    });
}

#[test]
fn a_node_that_joins_learns_everything() {
    run(async {
        let redis = Redis::start();
        let first = TestNode::start("a", &redis.url());
        until(|| first.is_connected(), || first.reason()).await;
        first.cluster.revoke(revocation("early", "alice")).await.unwrap();
        first.cluster.add_secret(None, None, SecretState::Next).await.unwrap();
        first.relay.quotas.set("alice", 3);
        let second = TestNode::start("b", &redis.url());
        until(|| second.knows("early"), || second.reason()).await;
        until(|| second.relay.quotas.of("alice") == 3, || second.reason()).await;
        let secrets = second.cluster.secrets().await;
        assert!(secrets.iter().any(|secret| secret.state == SecretState::Next), "{secrets:?}");
    });
}

#[test]
fn questions_are_answered_by_who_is_asked() {
    run(async {
        let redis = Redis::start();
        let [a, b, _c] = three(&config(&redis.url())).await;
        assert_eq!(a.cluster.ask("b", Ask::Drain).await, Ok(Answer::Draining(3)));
        assert!(*b.relay.is_draining.lock().unwrap());
        b.cluster.announce();
        let state = || a.cluster.nodes().list.iter().find(|node| node.id == "b").map(|node| node.state);
        until(|| state() == Some(NodeState::Draining), || format!("{:?}", state())).await;
        let answers = a.cluster.ask_all(Ask::SecretsInUse).await;
        let expected = Answer::SecretsInUse(vec![("default".to_owned(), 2)]);
        assert_eq!(answers.len(), 3);
        assert!(answers.iter().all(|(_, answer)| answer.as_ref() == Ok(&expected)), "{answers:?}");
        let unknown = a.cluster.ask("d", Ask::Drain).await;
        assert_eq!(unknown, Err(RequestError::UnknownNode("d".to_owned())));
    });
}

#[test]
fn a_question_nobody_answers_ends_after_900_ms() {
    run(async {
        let redis = Redis::start();
        let [a, b, _c] = three(&config(&redis.url())).await;
        *b.relay.delay.lock().unwrap() = Duration::from_secs(5);
        let begin = Instant::now();
        assert_eq!(a.cluster.ask("b", Ask::Drain).await, Err(RequestError::Silent("b".to_owned())));
        // 900 ms, and 200 for a busy machine.
        assert!(begin.elapsed() < Duration::from_millis(1100), "{:?}", begin.elapsed());
    });
}

#[test]
fn quotas_are_counted_over_all_nodes() {
    run(async {
        let redis = Redis::start();
        let nodes = three(&config(&redis.url())).await;
        nodes[0].relay.quotas.set("alice", 2);
        nodes[1].relay.quotas.set("alice", 1);
        until(|| nodes[2].relay.quotas.of("alice") == 3, || nodes[2].relay.quotas.of("alice").to_string())
            .await;
        assert_eq!(nodes[0].relay.quotas.of("alice"), 1);
        nodes[0].relay.quotas.set("alice", 0);
        until(|| nodes[2].relay.quotas.of("alice") == 1, || nodes[2].relay.quotas.of("alice").to_string())
            .await;
        nodes[1].cluster.close().await.unwrap();
        until(|| nodes[2].relay.quotas.of("alice") == 0, || nodes[2].relay.quotas.of("alice").to_string())
            .await;
        assert_eq!(nodes[2].relay.quotas.share.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_rate_is_shared_by_all_nodes() {
    run(async {
        let redis = Redis::start();
        let nodes = three(&config(&redis.url())).await;
        let rate = Rate { count: 6, per: Duration::from_secs(60), burst: 4 };
        let mut admitted = 0;
        for round in 0..4 {
            for node in &nodes {
                let answer = node.cluster.limit("issue-user:alice", rate).await;
                admitted += u32::from(answer.is_admitted);
                if !answer.is_admitted {
                    let wait = answer.retry_after;
                    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(10), "{round}: {wait:?}");
                }
            }
        }
        assert_eq!(admitted, 4);
        assert!(nodes[0].cluster.limit("issue-user:bob", rate).await.is_admitted);
        assert!(!redis.keys().iter().any(|key| key.contains("alice")), "{:?}", redis.keys());
    });
}

#[test]
fn what_is_remembered_is_remembered_everywhere() {
    run(async {
        let redis = Redis::start();
        let nodes = three(&config(&redis.url())).await;
        let hour = Duration::from_secs(3600);
        assert_eq!(nodes[0].cluster.remember("key", b"one".to_vec(), hour).await, Remembered::New);
        let earlier = nodes[1].cluster.remember("key", b"two".to_vec(), hour).await;
        assert_eq!(earlier, Remembered::Earlier(b"one".to_vec()));
        nodes[1].cluster.replace("key", b"three".to_vec(), hour).await;
        let earlier = nodes[2].cluster.remember("key", b"four".to_vec(), hour).await;
        assert_eq!(earlier, Remembered::Earlier(b"three".to_vec()));
    });
}

#[test]
fn every_key_has_a_lease_and_nothing_in_redis_says_a_name() {
    run(async {
        let redis = Redis::start();
        let nodes = three(&config(&redis.url())).await;
        crate::exercise::everything(&nodes).await;
        let keys = redis.keys();
        for key in &keys {
            let lease: i64 = redis::from_redis_value(redis.command(&["PTTL", key])).unwrap();
            assert!(lease > 0, "{key} has no lease");
            assert!(key.starts_with("iceway:"), "{key}");
            let dump: Vec<u8> = redis::from_redis_value(redis.command(&["DUMP", key])).unwrap();
            for name in ["alice", "call-7", "203.0.113.9"] {
                let found = dump.windows(name.len()).any(|window| window == name.as_bytes());
                assert!(!found && !key.contains(name), "{key} says {name}");
            }
        }
        assert!(keys.len() >= 9, "{keys:?}");
    });
}

#[test]
fn a_second_cluster_key_still_opens_and_another_one_is_refused_with_what_to_do() {
    run(async {
        let redis = Redis::start();
        let old = config(&redis.url());
        let first = TestNode::start_with("a", &old);
        until(|| first.is_connected(), || first.reason()).await;
        first.cluster.revoke(revocation("early", "alice")).await.unwrap();
        let key = |byte: u8| iceway::config::SecretBytes::new(&[byte; 32]);
        let mut both = old.clone();
        both.redis.cluster_keys.push(key(9));
        let nodes = [first, TestNode::start_with("b", &both)];
        together(&nodes).await;
        until(|| nodes[1].knows("early"), || nodes[1].reason()).await;
        // As after all nodes have the new key first: what the old one sealed is sealed anew.
        drop(nodes);
        let mut swapped = old.clone();
        swapped.redis.cluster_keys.insert(0, key(9));
        let third = TestNode::start_with("c", &swapped);
        until(|| third.knows("early") && third.is_connected(), || third.reason()).await;
        let mut other = old.clone();
        other.redis.cluster_keys = vec![key(1)];
        let stranger = TestNode::start_with("d", &other);
        until(|| stranger.reason().contains("redis.cluster_key_file"), || stranger.reason()).await;
        assert!(!stranger.knows("early"));
        assert!(third.is_connected());
    });
}
