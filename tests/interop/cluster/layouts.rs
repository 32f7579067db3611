//! The same with Sentinels, and with a Redis Cluster.

use std::time::Duration;

use serde_json::json;

use crate::support::Media;
use crate::support::nodes::{Cluster, Issued};
use crate::support_redis::{RedisCluster, Sentinels};

/// The sentinels take some three seconds, connecting again some more.
const RECOVERED: Duration = Duration::from_secs(60);

#[test]
fn a_failover_of_redis_loses_no_packet() {
    let sentinels = Sentinels::start();
    let url = sentinels.url();
    let cluster = Cluster::start_on(sentinels, &url, |setup| setup);
    let issued = cluster.issue(0, json!({ "user": "ann", "ttl": 3600 }));
    let media = flows(&cluster, &issued);
    cluster.redis.fail_over();
    for at in 0..3 {
        let meanwhile = cluster.issue(at, json!({ "user": "bob", "ttl": 600 }));
        meanwhile.allocates_at(&cluster.nodes[(at + 1) % 3]);
    }
    cluster.wait_until_connected(true, RECOVERED);
    for flow in media {
        flow.wait_for(20);
        let (report, mut client) = flow.stop();
        assert_eq!(report.lost, 0, "{report:?}");
        client.refresh(600).unwrap();
    }
    is_revoked_everywhere(&cluster, &issued, 3);
}

#[test]
fn three_masters_of_a_redis_cluster_serve_three_nodes() {
    let redis = RedisCluster::start();
    let url = redis.url();
    let cluster = Cluster::start_on(redis, &url, |setup| setup);
    let issued = cluster.issue(0, json!({ "user": "ann", "ttl": 3600 }));
    let media = flows(&cluster, &issued);
    is_revoked_everywhere(&cluster, &issued, 3);
    drop(media);
}

/// Media through every node with the same credential.
fn flows<R>(cluster: &Cluster<R>, credential: &Issued) -> Vec<Media> {
    let flow = |at| {
        let mut client = cluster.client(at, credential);
        let relay = client.allocate().unwrap();
        let media = Media::start(client, relay);
        media.wait_for(20);
        media
    };
    (0..3).map(flow).collect()
}

/// Revokes at the second node; so many relays must be cut.
fn is_revoked_everywhere<R>(cluster: &Cluster<R>, credential: &Issued, relays: u64) {
    let answer = cluster.nodes[1].post("/v1/turn/revocations", &json!({ "user": "ann" })).expect(201).json();
    assert_eq!(answer["cut"], relays, "{answer}");
    for node in &cluster.nodes {
        assert_eq!(credential.client(node).allocate(), Err(401));
    }
}
