//! A node without a relay: a real cluster, and the thread that delivers its events.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use iceway::{
    api::WebhookSender,
    cluster::{
        AllocationPage, Answer, Ask, Cluster, DrainProgress, Handler, Health, NodeLoad, NodeState, PartyView,
        QuotaTable, Settings, SignalEvent, UserReport,
    },
    config::{Config, RedisUrl, RetryWait, SecretBytes},
    credentials::webhook::WebhookSecret,
};

use crate::receiver::{PATIENCE, SECRET};

/// A node, its runtime and its deliveries. Fields are dropped in their order.
pub(crate) struct Node {
    pub(crate) sender: Option<WebhookSender>,
    pub(crate) cluster: Cluster,
    pub(crate) runtime: tokio::runtime::Runtime,
}

/// Seconds of the schedule are hundredths of a second: ten minutes are six seconds.
pub(crate) fn config(url: &str) -> Config {
    let mut config = Config::default();
    config.webhooks.url = Some(url.to_owned());
    config.webhooks.secrets = vec![WebhookSecret::parse(SECRET).unwrap()];
    config.webhooks.retries =
        [50, 300, 1200, 6000].map(|millis| RetryWait(Duration::from_millis(millis))).to_vec();
    config.webhooks.timeout = Duration::from_secs(1);
    config
}

pub(crate) fn in_redis(mut config: Config, url: &str) -> Config {
    config.redis.url = Some(RedisUrl::parse(url).unwrap());
    config.redis.cluster_keys = vec![SecretBytes::new(&[7; 32])];
    config
}

pub(crate) fn in_file(mut config: Config, path: &Path) -> Config {
    config.store.path = Some(path.to_owned());
    config
}

impl Node {
    pub(crate) fn start(id: &str, config: &Config) -> Self {
        let mut node = Self::silent(id, config);
        node.sender = Some(WebhookSender::of(node.cluster.clone(), &config.webhooks).unwrap());
        node
    }

    /// One that does not deliver.
    pub(crate) fn silent(id: &str, config: &Config) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let settings = Settings { id: id.to_owned(), ..Settings::default() };
        let cluster = runtime.block_on(async {
            let cluster = Cluster::open(config, settings).unwrap();
            cluster.serve(Arc::new(Nothing), Arc::new(Nothing));
            cluster
        });
        let node = Self { sender: None, cluster, runtime };
        if config.redis.url.is_some() {
            node.until(|node| node.cluster.health() == Health::Connected);
        }
        node
    }

    pub(crate) fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "it does not come to that");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Records a step of a call, and waits until it is kept.
    pub(crate) fn record(&self, call: &str, sequence: u32) {
        self.runtime.block_on(self.cluster.record_events(vec![self.event(call, sequence)]));
    }

    pub(crate) fn event(&self, call: &str, sequence: u32) -> SignalEvent {
        let party = PartyView { user: "ann".into(), device: "web".into(), session: "s_a".into() };
        let view = serde_json::json!({
            "id": call, "sequence": sequence, "node": self.cluster.id(), "state": "ringing", "caller": party,
            "callee": "bob", "media": ["audio"], "devices": 1, "createdAt": 1000,
        });
        SignalEvent {
            call_seq: Some(sequence),
            call: Some(serde_json::from_value(view).unwrap()),
            ..self.cluster.own_event("call.ringing")
        }
    }

    pub(crate) fn replay(&self) -> u64 {
        self.runtime.block_on(self.cluster.replay_events(0)).unwrap()
    }

    pub(crate) fn dead(&self) -> u64 {
        self.runtime.block_on(self.cluster.dead_events()).unwrap()
    }

    /// Everything that changed since a place, page by page: each call with its number.
    pub(crate) fn calls(&self, mut since: u64) -> (Vec<(String, u32)>, u64) {
        let mut calls = Vec::new();
        loop {
            let page = self.runtime.block_on(self.cluster.calls(since, 7)).unwrap();
            since = page.calls.last().map_or(since, |(place, _)| *place);
            calls.extend(page.calls.into_iter().map(|(_, call)| (call.id, call.sequence)));
            if !page.has_more {
                return (calls, since);
            }
        }
    }

    /// Ends it as an orderly end does.
    pub(crate) fn close(mut self) {
        drop(self.sender.take());
        self.runtime.block_on(self.cluster.close()).unwrap();
    }

    /// Ends it as a power failure does, as far as other nodes can tell: nothing is said any more.
    pub(crate) fn vanish(mut self) {
        let runtime = std::mem::replace(&mut self.runtime, tokio::runtime::Runtime::new().unwrap());
        runtime.shutdown_timeout(Duration::ZERO);
    }
}

/// Stands for the relay.
struct Nothing;

impl Handler for Nothing {
    fn handle(&self, ask: Ask) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            match ask {
                Ask::Apply(_) => Answer::Cut(0),
                Ask::Allocations(_) => Answer::Allocations(AllocationPage::default()),
                Ask::Close { .. } => Answer::Closed(false),
                Ask::Drain => Answer::Draining(0),
                Ask::StopDrain | Ask::DrainProgress => Answer::DrainProgress(DrainProgress::NOTHING),
                Ask::SecretsInUse => Answer::SecretsInUse(Vec::new()),
                Ask::EndSessions(_) | Ask::ForgetDecisions(_) => Answer::Ended(0),
                Ask::Explain { .. } => Answer::Explained(UserReport::default()),
                Ask::Quality => Answer::Quality(None),
            }
        })
    }

    fn load(&self) -> BoxFuture<'_, (NodeState, NodeLoad)> {
        Box::pin(async { (NodeState::Serving, NodeLoad::default()) })
    }
}

impl QuotaTable for Nothing {
    fn take_changes(&self) -> Vec<(Arc<str>, u32)> {
        Vec::new()
    }

    fn all(&self) -> Vec<(Arc<str>, u32)> {
        Vec::new()
    }

    fn set_elsewhere(&self, _: &str, _: &str, _: u32) {}

    fn forget_node(&self, _: &str) {}

    fn set_share(&self, _: u32) {}
}
