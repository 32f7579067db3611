//! Several nodes and a real Redis.

use std::time::{Duration, Instant};

use iceway::cluster::ACL_RULE;

use crate::{
    is_complete,
    node::{Node, config, in_file, in_redis},
    receiver::{Mode, Receiver},
    support_redis::{Options, Redis, RedisCluster, Scratch},
};

#[test]
fn what_a_dead_node_told_is_delivered_by_another_in_order() {
    let redis = Redis::start();
    let receiver = Receiver::start(Mode::Down);
    let config = in_redis(config(&receiver.url()), &redis.url());
    let (first, second) = (Node::start("n1", &config), Node::start("n2", &config));
    first.until(|node| node.cluster.nodes().list.len() == 2);
    for sequence in 1..=3 {
        for call in 0..30 {
            first.record(&format!("c_{call}"), sequence);
        }
    }
    // What a busy Redis did not take in time waits in memory for a moment, and would go with the node.
    first.until(|node| node.cluster.event_figures().spooled == 0);
    first.vanish();
    // The calls go on elsewhere.
    for call in 0..30 {
        second.record(&format!("c_{call}"), 4);
    }
    receiver.set(Mode::Answer(200));
    let died = Instant::now();
    is_complete(&receiver.wait_taken(120), 30, 4);
    assert!(died.elapsed() < Duration::from_secs(40), "{:?}", died.elapsed());
}

#[test]
fn nodes_share_the_work_and_nothing_comes_twice() {
    let redis = Redis::start();
    let receiver = Receiver::start(Mode::Answer(200));
    let config = in_redis(config(&receiver.url()), &redis.url());
    let nodes: Vec<Node> = ["n1", "n2", "n3"].map(|id| Node::start(id, &config)).into();
    nodes[0].until(|_| {
        let shares = nodes.iter().map(|node| node.cluster.event_partitions().borrow().count_ones());
        shares.clone().sum::<u32>() == 16 && shares.clone().all(|share| share > 0)
    });
    for sequence in 1..=4u32 {
        for call in 0..50 {
            // Whoever has it: a call moves with its caller.
            nodes[(call + sequence as usize) % 3].record(&format!("c_{call}"), sequence);
        }
    }
    is_complete(&receiver.wait_taken(200), 50, 4);
    assert_eq!(receiver.seen().len(), 200);
    let shares: Vec<u32> =
        nodes.iter().map(|node| node.cluster.event_partitions().borrow().count_ones()).collect();
    assert!(shares.iter().all(|share| (1..=12).contains(share)), "{shares:?}");
}

#[test]
fn while_redis_is_away_events_wait_here_and_keep_their_order() {
    let directory = Scratch::new("webhooks-spool");
    let redis = Redis::start();
    let receiver = Receiver::start(Mode::Answer(200));
    let config = in_file(in_redis(config(&receiver.url()), &redis.url()), &directory.path().join("store"));
    let node = Node::start("n1", &config);
    for sequence in 1..=9u32 {
        for call in 0..10 {
            node.record(&format!("c_{call}"), sequence);
        }
        match sequence {
            3 => redis.pause(),
            6 => redis.resume(),
            _ => {}
        }
    }
    is_complete(&receiver.wait_taken(90), 10, 9);
    node.until(|node| node.cluster.event_figures().spooled == 0);
    assert_eq!(node.cluster.event_figures().dropped_store, 0);
    node.close();
}

#[test]
fn a_spool_outlives_the_node_that_kept_it() {
    let directory = Scratch::new("webhooks-kept");
    let redis = Redis::start();
    let receiver = Receiver::start(Mode::Answer(200));
    let config = in_file(in_redis(config(&receiver.url()), &redis.url()), &directory.path().join("store"));
    let node = Node::start("n1", &config);
    redis.kill();
    for sequence in 1..=3 {
        node.record("c_1", sequence);
    }
    node.vanish();
    redis.restart();
    let node = Node::start("n1", &config);
    is_complete(&receiver.wait_taken(3), 1, 3);
    node.until(|node| node.calls(0).0 == [("c_1".to_owned(), 3)]);
}

#[test]
fn calls_of_all_nodes_are_listed_and_cursors_are_good_everywhere() {
    let redis = Redis::start();
    let config = in_redis(config("http://localhost:1/"), &redis.url());
    let (first, second) = (Node::silent("n1", &config), Node::silent("n2", &config));
    for call in 0..20 {
        let node = if call % 2 == 0 { &first } else { &second };
        node.record(&format!("c_{call}"), 1);
    }
    let (calls, cursor) = first.calls(0);
    assert_eq!(calls.len(), 20);
    assert_eq!(second.calls(0), (calls, cursor));
    first.record("c_7", 2);
    second.record("c_3", 2);
    let changed = [("c_7".to_owned(), 2), ("c_3".to_owned(), 2)];
    assert_eq!(first.calls(cursor).0, changed);
    assert_eq!(second.calls(cursor).0, changed);
    let (call, steps) = second.runtime.block_on(second.cluster.call("c_7")).unwrap().unwrap();
    assert_eq!((call.sequence, steps.len()), (2, 2));
    assert_eq!(steps[0].node, "n2");
    assert_eq!(steps[1].node, "n1");
}

#[test]
fn dead_letters_are_told_again_whichever_node_is_asked() {
    let redis = Redis::start();
    let receiver = Receiver::start(Mode::Answer(500));
    let mut config = in_redis(config(&receiver.url()), &redis.url());
    config.webhooks.retry_for = Duration::from_millis(100);
    let (first, second) = (Node::start("n1", &config), Node::start("n2", &config));
    for call in 0..10 {
        first.record(&format!("c_{call}"), 1);
    }
    second.until(|node| node.dead() == 10);
    receiver.set(Mode::Answer(200));
    assert_eq!(second.replay(), 10);
    is_complete(&receiver.wait_taken(10), 10, 1);
    assert_eq!(first.dead(), 0);
}

#[test]
fn redis_learns_no_name_and_forgeries_are_not_delivered() {
    let redis = Redis::start();
    let receiver = Receiver::start(Mode::Answer(200));
    let config = in_redis(config(&receiver.url()), &redis.url());
    let node = Node::silent("n1", &config);
    node.record("c_secret", 1);
    for partition in 0..16 {
        redis.command(&["XADD", &format!("iceway:{{events:{partition}}}"), "*", "n", "n1", "d", "forged"]);
    }
    let dump: String = redis
        .keys()
        .iter()
        .filter(|key| key.contains("event") || key.contains("call"))
        .map(|key| format!("{key} {:?}", redis.command(&["DUMP", key])))
        .collect();
    for name in ["c_secret", "ann", "bob", "s_a"] {
        assert!(!dump.contains(name), "{name}");
    }
    let delivering = Node::start("n2", &config);
    let taken = receiver.wait_taken(1);
    is_complete(&taken, 1, 1);
    delivering.until(|_| redis.command(&["XLEN", "iceway:{events:0}"]) == ::redis::Value::Int(0));
}

#[test]
fn the_documented_user_may_do_all_of_it_and_nothing_is_denied() {
    let lines = vec![format!("user iceway on >secret {ACL_RULE}")];
    let redis = Redis::start_with(Options { lines, ..Options::default() });
    let receiver = Receiver::start(Mode::Answer(500));
    let mut config = in_redis(config(&receiver.url()), &redis.url_as("iceway", "secret"));
    config.webhooks.retry_for = Duration::from_millis(100);
    let node = Node::start("n1", &config);
    node.record("c_1", 1);
    node.record("c_1", 2);
    node.until(|node| node.dead() == 2);
    receiver.set(Mode::Answer(200));
    assert_eq!(node.replay(), 2);
    is_complete(&receiver.wait_taken(2), 1, 2);
    assert_eq!(node.calls(0).0, [("c_1".to_owned(), 2)]);
    let (_, steps) = node.runtime.block_on(node.cluster.call("c_1")).unwrap().unwrap();
    assert_eq!(steps.len(), 2);
    node.close();
    assert_eq!(redis.command(&["ACL", "LOG"]), ::redis::Value::Array(Vec::new()));
}

#[test]
fn a_redis_cluster_will_do() {
    let redis = RedisCluster::start();
    let receiver = Receiver::start(Mode::Answer(200));
    let config = in_redis(config(&receiver.url()), &redis.url());
    let (first, second) = (Node::start("n1", &config), Node::start("n2", &config));
    for sequence in 1..=3 {
        for call in 0..20 {
            let node = if call % 2 == 0 { &first } else { &second };
            node.record(&format!("c_{call}"), sequence);
        }
    }
    is_complete(&receiver.wait_taken(60), 20, 3);
    assert_eq!(second.calls(0).0.len(), 20);
}
