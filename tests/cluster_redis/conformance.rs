//! What every kind of peers must do, over each layout of Redis.

use iceway::config::{RedisUrl, SecretBytes};

use crate::{
    node::{KEY, run},
    peers::{self, TestNode, suite},
    support_redis::{Redis, RedisCluster, Sentinels},
};

pub(crate) async fn conform(url: &str) {
    let mut config = peers::config();
    config.redis.url = Some(RedisUrl::parse(url).unwrap());
    config.redis.cluster_keys = vec![SecretBytes::new(&KEY)];
    let nodes = ["a", "b", "c"].map(|id| TestNode::start(&config, id));
    suite::everything(&nodes).await;
    suite::a_node_that_closes_is_gone(&nodes).await;
}

#[test]
fn nodes_that_share_a_server_do_what_peers_must() {
    run(async {
        let redis = Redis::start();
        conform(&redis.url()).await;
    });
}

#[test]
fn nodes_that_share_a_master_with_sentinels_do_what_peers_must() {
    run(async {
        let sentinels = Sentinels::start();
        conform(&sentinels.url()).await;
    });
}

#[test]
fn nodes_that_share_a_cluster_do_what_peers_must() {
    run(async {
        let cluster = RedisCluster::start();
        conform(&cluster.url()).await;
    });
}
