//! Usage of all nodes in one stream.

use std::time::Duration;

use iceway::cluster::{UsageError, UsageOf, UsageQuery};

use crate::{
    exercise::{record, today},
    node::{TestNode, config, run, three, until},
    support_redis::Redis,
};

async fn records(node: &TestNode, count: usize) -> Vec<(String, iceway::cluster::UsageRecord)> {
    for _ in 0..1000 {
        let page = node.cluster.usage_records(None, 1000).await.unwrap();
        if page.records.len() >= count {
            return page.records;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("there are fewer than {count} records");
}

#[test]
fn each_record_is_there_once_and_is_taken_by_any_node() {
    run(async {
        let redis = Redis::start();
        let nodes = three(&config(&redis.url())).await;
        for number in 0..300 {
            nodes[0].cluster.record_usage(record(&format!("a:{number}"), "a", "alice"));
        }
        nodes[1].cluster.record_usage(record("b:1", "b", "bob"));
        let all = records(&nodes[2], 301).await;
        assert_eq!(all.len(), 301);
        let (first, last) = (all[99].0.clone(), all[300].0.clone());
        let page = nodes[1].cluster.usage_records(Some(&first), 150).await.unwrap();
        assert_eq!((page.records.len(), page.has_more), (150, true));
        assert_eq!(page.records[0], all[100]);
        assert_eq!(nodes[1].cluster.acknowledge_usage(&first).await.unwrap(), 100);
        assert_eq!(nodes[0].cluster.usage_records(None, 1).await.unwrap().records[0], all[100]);
        assert_eq!(nodes[2].cluster.acknowledge_usage(&last).await.unwrap(), 201);
        assert!(nodes[0].cluster.usage_records(None, 1).await.unwrap().records.is_empty());
        let sum = |of| UsageQuery { of, from_day: today() - 1, to_day: today() + 1 };
        let alice = nodes[1].cluster.usage_totals(sum(UsageOf::User("alice".to_owned()))).await.unwrap();
        assert_eq!((alice.allocations, alice.sent_bytes, alice.received_bytes), (300, 300_000, 150_000));
        let label = nodes[1].cluster.usage_totals(sum(UsageOf::Label("call-7".to_owned()))).await.unwrap();
        let everybody = nodes[1].cluster.usage_totals(sum(UsageOf::Everybody)).await.unwrap();
        assert_eq!((label.allocations, everybody.seconds), (301, 3010));
        for cursor in ["", "x", "1", "1-x", "(1-1"] {
            let wrong = nodes[0].cluster.usage_records(Some(cursor), 1).await;
            assert!(matches!(wrong, Err(UsageError::Cursor(_))), "{cursor}");
            let wrong = nodes[0].cluster.acknowledge_usage(cursor).await;
            assert!(matches!(wrong, Err(UsageError::Cursor(_))), "{cursor}");
        }
    });
}

#[test]
fn a_record_given_again_after_a_lost_answer_is_not_counted_twice() {
    run(async {
        let redis = Redis::start();
        let nodes = three(&config(&redis.url())).await;
        // Redis does the work but its answer comes too late: the node has to give the record again.
        nodes[0].cluster.record_usage(record("a:1", "a", "alice"));
        redis.command(&["CLIENT", "PAUSE", "3000", "ALL"]);
        tokio::time::sleep(Duration::from_secs(3)).await;
        until(|| nodes[0].is_connected(), || nodes[0].reason()).await;
        nodes[0].cluster.record_usage(record("a:1", "a", "alice"));
        nodes[0].cluster.record_usage(record("a:2", "a", "alice"));
        let all = records(&nodes[1], 2).await;
        let ids: Vec<&str> = all.iter().map(|(_, record)| record.id.as_str()).collect();
        assert_eq!(ids, ["a:1", "a:2"]);
    });
}
