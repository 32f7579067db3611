//! Everything nodes do through Redis, once.

use std::time::Duration;

use iceway::cluster::{Ask, Rate, Remembered, SecretState, UsageOf, UsageQuery, UsageRecord};

use crate::node::{TestNode, revocation, unix_seconds, until};

pub(crate) fn record(id: &str, node: &str, user: &str) -> UsageRecord {
    let now = unix_seconds();
    UsageRecord {
        id: id.to_owned(),
        node: node.to_owned(),
        user: user.to_owned(),
        label: Some("call-7".to_owned()),
        key_id: None,
        transport: "udp".to_owned(),
        started: now - 10,
        ended: now,
        seconds: 10,
        sent_bytes: 1000,
        received_bytes: 500,
        sent_datagrams: 10,
        received_datagrams: 5,
        reason: "expired".to_owned(),
    }
}

pub(crate) fn today() -> u32 {
    u32::try_from(unix_seconds() / 86_400).unwrap()
}

pub(crate) async fn everything(nodes: &[TestNode; 3]) {
    let [a, b, c] = nodes;
    let revoked = a.cluster.revoke(revocation("all", "alice")).await.unwrap();
    assert!(revoked.nodes.iter().all(|(_, cut)| cut.is_ok()), "{:?}", revoked.nodes);
    b.cluster.add_secret(None, None, SecretState::Next).await.unwrap();
    b.cluster.rotate_secrets().await.unwrap();
    let has_secret = |node: &TestNode| node.cluster.changes().borrow().secrets > 0;
    until(|| nodes.iter().all(has_secret), || "no secret".to_owned()).await;
    assert!(a.cluster.ask("c", Ask::SecretsInUse).await.is_ok());
    let rate = Rate { count: 1, per: Duration::from_secs(60), burst: 1 };
    assert!(a.cluster.limit("issue-user:alice", rate).await.is_admitted);
    assert!(!c.cluster.limit("issue-user:alice", rate).await.is_admitted);
    let hour = Duration::from_secs(3600);
    assert_eq!(a.cluster.remember("alice", b"alice".to_vec(), hour).await, Remembered::New);
    assert_eq!(
        b.cluster.remember("alice", b"x".to_vec(), hour).await,
        Remembered::Earlier(b"alice".to_vec())
    );
    c.relay.quotas.set("alice", 4);
    until(|| a.relay.quotas.of("alice") == 4, || "no quota".to_owned()).await;
    let before = a.cluster.usage_records(None, 1000).await.unwrap().records.len();
    b.cluster.record_usage(record("b:0-1", "b", "alice"));
    let mut found = before;
    for _ in 0..400 {
        found = a.cluster.usage_records(None, 1000).await.unwrap().records.len();
        if found > before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(found, before + 1, "the record of one node is read on another");
    let query = UsageQuery { of: UsageOf::User("alice".to_owned()), from_day: today(), to_day: today() };
    assert!(c.cluster.usage_totals(query).await.unwrap().allocations >= 1);
}
