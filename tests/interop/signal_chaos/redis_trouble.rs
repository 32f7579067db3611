//! Redis fails while people call: no socket is closed, and what was said meanwhile arrives.

use std::time::Duration;

use serde_json::json;

use super::scene::{Scene, call, candidates, expect_candidates, expect_numbers, message, unlimited};
use crate::signal_support::{Client, until};

const RECOVERED: Duration = Duration::from_secs(60);
/// Messages while Redis is away.
const MEANWHILE: usize = 100;

#[tokio::test]
async fn a_call_survives_a_redis_that_is_killed_and_comes_back_empty() {
    let mut talk = Talk::start().await;
    talk.scene.redis.kill();
    talk.is_cut_off().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    talk.scene.redis.restart();
    talk.goes_on().await;
}

#[tokio::test]
async fn a_call_survives_a_redis_that_hangs_for_thirty_seconds() {
    let mut talk = Talk::start().await;
    talk.scene.redis.pause();
    let paused = tokio::time::Instant::now();
    talk.is_cut_off().await;
    tokio::time::sleep_until(paused + Duration::from_secs(30)).await;
    talk.scene.redis.resume();
    talk.goes_on().await;
}

/// A call between two nodes, and a neighbour of the caller.
struct Talk {
    scene: Scene,
    ann: Client,
    bob: Client,
    neighbour: Client,
}

impl Talk {
    async fn start() -> Self {
        let scene = Scene::start(2, unlimited()).await;
        let mut ann = scene.client(0, "ann", "web").await;
        let mut bob = scene.client(1, "bob", "phone").await;
        let neighbour = scene.client(0, "carol", "web").await;
        scene.wait_until_known(0, "bob").await;
        call(&mut ann, &mut bob, "bob", "c_redis").await;
        Self { scene, ann, bob, neighbour }
    }

    /// What is said to the other node waits, what stays on one node passes.
    async fn is_cut_off(&mut self) {
        for number in 0..MEANWHILE {
            self.ann.send(message(self.bob.session(), number)).await;
            if number % 10 == 0 {
                self.ann.send(candidates("c_redis", number / 10)).await;
                self.bob.send(candidates("c_redis", number / 10)).await;
            }
            self.ann.send(message(self.neighbour.session(), number)).await;
            // As fast as people may.
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        expect_numbers(&mut self.neighbour, 0..MEANWHILE).await;
    }

    /// Everything arrives in order, and the call goes on.
    async fn goes_on(&mut self) {
        for number in 0..MEANWHILE {
            expect_numbers(&mut self.bob, number..number + 1).await;
            if number % 10 == 0 {
                expect_candidates(&mut self.bob, number / 10..number / 10 + 1).await;
            }
        }
        expect_candidates(&mut self.ann, 0..MEANWHILE / 10).await;
        until("the nodes are connected again", RECOVERED, || {
            self.scene.nodes.iter().all(|node| node.metric("iceway_cluster_connected", &[]) == 1.0)
        })
        .await;
        let restart = json!({
            "type": "renegotiate", "call": "c_redis", "restart": true, "data": { "type": "offer", "sdp": "v=0" },
        });
        self.ann.send(restart).await;
        self.bob.expect("renegotiate").await;
        self.bob.request(json!({ "type": "call-hangup", "call": "c_redis", "reason": "user" })).await;
        self.ann.expect("call-hangup").await;
    }
}
