//! Whoever can write to Redis forges nothing.

use std::time::Duration;

use iceway::cluster::Ask;

use crate::{
    node::{TestNode, config, revocation, run, three, until},
    support_redis::Redis,
};

/// What is published next.
pub(crate) fn tap(url: &str, messages: usize) -> Vec<(String, Vec<u8>)> {
    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_connection().unwrap();
    let mut tap = connection.as_pubsub();
    tap.psubscribe("iceway:*").unwrap();
    tap.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    (0..messages)
        .map(|_| {
            let message = tap.get_message().unwrap();
            (message.get_channel_name().to_owned(), message.get_payload_bytes().to_vec())
        })
        .collect()
}

pub(crate) fn publish(redis: &Redis, channel: &str, frame: &[u8]) {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    redis::cmd("PUBLISH").arg(channel).arg(frame).query::<u64>(&mut connection).unwrap();
}

pub(crate) fn refused(node: &TestNode) -> u64 {
    node.cluster.counters().peers.frames_refused
}

#[test]
fn frames_played_again_changed_or_redirected_are_refused_and_counted() {
    run(async {
        let redis = Redis::start();
        let nodes = three(&config(&redis.url())).await;
        let url = redis.url();
        let tapped = {
            let url = url.clone();
            let tap = tokio::task::spawn_blocking(move || tap(&url, 8));
            while !tap.is_finished() {
                drop(nodes[0].cluster.ask("b", Ask::Drain).await);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            tap.await.unwrap()
        };
        *nodes[1].relay.is_draining.lock().unwrap() = false;
        let before: Vec<u64> = nodes.iter().map(refused).collect();
        let question = tapped.iter().find(|(channel, _)| channel == "iceway:{bus-b}").expect("a question");
        publish(&redis, &question.0, &question.1);
        let mut changed = question.1.clone();
        *changed.last_mut().unwrap() ^= 1;
        publish(&redis, &question.0, &changed);
        publish(&redis, "iceway:{bus-c}", &question.1);
        publish(&redis, "iceway:{bus}", &question.1);
        publish(&redis, "iceway:{bus-b}", b"garbage");
        until(|| refused(&nodes[1]) >= before[1] + 4, || refused(&nodes[1]).to_string()).await;
        until(|| refused(&nodes[2]) >= before[2] + 2, || refused(&nodes[2]).to_string()).await;
        assert!(!*nodes[1].relay.is_draining.lock().unwrap(), "a question was played again at {url}");
        assert!(!*nodes[2].relay.is_draining.lock().unwrap());
        // A node that starts anew does not take what was said to the one before it.
        let [a, b, c] = nodes;
        drop(b);
        let b = TestNode::start("b", &redis.url());
        until(|| b.is_connected(), || b.reason()).await;
        let before = refused(&b);
        publish(&redis, &question.0, &question.1);
        until(|| refused(&b) > before, || "it was taken".to_owned()).await;
        assert!(!*b.relay.is_draining.lock().unwrap());
        drop((a, c));
    });
}

#[test]
fn a_forged_row_neither_counts_nor_keeps_the_true_one_out() {
    run(async {
        let redis = Redis::start();
        let first = TestNode::start("a", &redis.url());
        until(|| first.is_connected(), || first.reason()).await;
        first.cluster.revoke(revocation("true", "alice")).await.unwrap();
        let row = || {
            redis::from_redis_value::<Option<Vec<u8>>>(redis.command(&[
                "HGET",
                "iceway:{rows}:revocations",
                "true",
            ]))
        };
        until(|| row().unwrap().is_some(), || "no row".to_owned()).await;
        let kept = row().unwrap().unwrap();
        // A version of the far future, with the seal of the old one.
        let mut forged = b"99999999999999999999.z|0|".to_vec();
        let seal = kept.splitn(3, |&byte| byte == b'|').nth(2).unwrap();
        forged.extend_from_slice(seal);
        let client = redis::Client::open(redis.url()).unwrap();
        let mut connection = client.get_connection().unwrap();
        for id in ["true", "false"] {
            redis::cmd("HSET")
                .arg("iceway:{rows}:revocations")
                .arg(id)
                .arg(&forged)
                .query::<u64>(&mut connection)
                .unwrap();
        }
        // Reconnecting, nodes compare.
        let kill = redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        assert_ne!(kill, redis::Value::Int(0));
        until(
            || row().unwrap().is_some_and(|row| !row.starts_with(b"999")),
            || "the forgery stays".to_owned(),
        )
        .await;
        let second = TestNode::start("b", &redis.url());
        until(|| second.knows("true"), || second.reason()).await;
        assert!(!second.knows("false") && !first.knows("false"));
    });
}
