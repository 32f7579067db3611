//! Nodes of one cluster and the people on them.

use std::time::Duration;

use crate::signal_support::{Issuer, Node, Setup, until};
use crate::support_redis::Redis;

/// Nodes find one another with their first heartbeats.
const MEET_LIMIT: Duration = Duration::from_secs(20);

/// Some nodes with their Redis; `nodes[0]` is called `n1`.
pub(super) struct Scene {
    pub(super) nodes: Vec<Node>,
    pub(super) redis: Redis,
    pub(super) issuer: Issuer,
    setup: Setup,
}

impl Scene {
    /// So many nodes that know one another.
    pub(super) async fn start(nodes: usize, setup: Setup) -> Self {
        let (redis, issuer) = (Redis::start(), Issuer::new());
        let mut scene = Self { nodes: Vec::new(), redis, issuer, setup };
        for _ in 0..nodes {
            scene.add_node();
        }
        scene.wait_until_met(nodes).await;
        scene
    }

    /// Starts one more node.
    pub(super) fn add_node(&mut self) {
        let id = format!("n{}", self.nodes.len() + 1);
        let setup = self.setup.clone().in_cluster(&id, &self.redis.url());
        self.nodes.push(Node::start(&self.issuer, setup));
    }

    /// Waits until every node knows so many, itself among them.
    pub(super) async fn wait_until_met(&self, count: usize) {
        until("every node knows the others", MEET_LIMIT, || {
            self.nodes.iter().all(|node| node.known_nodes() == count)
        })
        .await;
    }
}

#[tokio::test]
async fn nodes_of_a_scene_know_one_another() {
    let scene = Scene::start(2, Setup::default()).await;
    assert_eq!(scene.nodes[0].known_nodes(), 2);
    assert_eq!(scene.redis.text(&["PING"]), "PONG");
}
