//! A node without a relay: a real `Cluster`, and a host that remembers what it was told.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use iceway::{
    cluster::{
        AllocationPage, Answer, Ask, Cluster, DrainProgress, Handler, Health, NodeLoad, NodeState,
        QuotaTable, Settings, UserReport,
    },
    config::{Config, RedisUrl, SecretBytes},
    credentials::Revocation,
};

pub(crate) const KEY: [u8; 32] = [7; 32];
/// How long anything may take before a test fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A node of a cluster.
pub(crate) struct TestNode {
    pub(crate) cluster: Cluster,
    pub(crate) relay: Arc<Relay>,
}

/// What stands for the relay.
#[derive(Default)]
pub(crate) struct Relay {
    /// How many allocations each applied revocation cuts.
    pub(crate) cuts: AtomicU64,
    /// Rows that were applied, with the moment.
    pub(crate) applied: Mutex<Vec<(String, Instant)>>,
    pub(crate) is_draining: Mutex<bool>,
    pub(crate) quotas: Quotas,
    /// Questions are answered so much later.
    pub(crate) delay: Mutex<Duration>,
}

impl Handler for Relay {
    fn handle(&self, ask: Ask) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let delay = *self.delay.lock().unwrap();
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            match ask {
                Ask::Apply(rows) => {
                    let mut applied = self.applied.lock().unwrap();
                    applied.extend(rows.iter().map(|row| (row.id.clone(), Instant::now())));
                    Answer::Cut(self.cuts.load(Ordering::Relaxed) * rows.len() as u64)
                }
                Ask::Allocations(_) => Answer::Allocations(AllocationPage::default()),
                Ask::Close { .. } => Answer::Closed(true),
                Ask::Drain => {
                    *self.is_draining.lock().unwrap() = true;
                    Answer::Draining(3)
                }
                Ask::StopDrain | Ask::DrainProgress => Answer::DrainProgress(DrainProgress::NOTHING),
                Ask::SecretsInUse => Answer::SecretsInUse(vec![("default".to_owned(), 2)]),
                Ask::EndSessions(_) | Ask::ForgetDecisions(_) => Answer::Ended(0),
                Ask::Explain { .. } => Answer::Explained(UserReport::default()),
                Ask::Quality => Answer::Quality(None),
            }
        })
    }

    fn load(&self) -> BoxFuture<'_, (NodeState, NodeLoad)> {
        Box::pin(async move {
            let is_draining = *self.is_draining.lock().unwrap();
            let state = if is_draining { NodeState::Draining } else { NodeState::Serving };
            (state, NodeLoad { allocations: 5, allocations_max: 100, ..NodeLoad::default() })
        })
    }
}

/// A table of quotas that tells what it was told.
#[derive(Default)]
pub(crate) struct Quotas {
    here: Mutex<BTreeMap<Arc<str>, u32>>,
    changed: Mutex<BTreeMap<Arc<str>, u32>>,
    pub(crate) elsewhere: Mutex<HashMap<String, BTreeMap<String, u32>>>,
    pub(crate) share: AtomicU32,
}

impl Quotas {
    pub(crate) fn set(&self, user: &str, count: u32) {
        self.here.lock().unwrap().insert(user.into(), count);
        self.changed.lock().unwrap().insert(user.into(), count);
    }

    /// What all other nodes hold of a user.
    pub(crate) fn of(&self, user: &str) -> u32 {
        self.elsewhere.lock().unwrap().values().filter_map(|users| users.get(user)).sum()
    }
}

impl QuotaTable for Relay {
    fn take_changes(&self) -> Vec<(Arc<str>, u32)> {
        std::mem::take(&mut *self.quotas.changed.lock().unwrap()).into_iter().collect()
    }

    fn all(&self) -> Vec<(Arc<str>, u32)> {
        self.quotas.here.lock().unwrap().iter().map(|(user, count)| (Arc::clone(user), *count)).collect()
    }

    fn set_elsewhere(&self, node: &str, user: &str, count: u32) {
        let mut elsewhere = self.quotas.elsewhere.lock().unwrap();
        elsewhere.entry(node.to_owned()).or_default().insert(user.to_owned(), count);
    }

    fn forget_node(&self, node: &str) {
        self.quotas.elsewhere.lock().unwrap().remove(node);
    }

    fn set_share(&self, divisor: u32) {
        self.quotas.share.store(divisor, Ordering::Relaxed);
    }
}

/// A configuration that shares the Redis at this URL.
pub(crate) fn config(url: &str) -> Config {
    let mut config = Config::default();
    config.redis.url = Some(RedisUrl::parse(url).unwrap());
    config.redis.cluster_keys = vec![SecretBytes::new(&KEY)];
    config
}

impl TestNode {
    pub(crate) fn start(name: &str, url: &str) -> Self {
        Self::start_with(name, &config(url))
    }

    pub(crate) fn start_with(name: &str, config: &Config) -> Self {
        let settings = Settings {
            id: name.to_owned(),
            region: "eu".to_owned(),
            uris: vec![format!("turn:{name}.example.org:3478?transport=udp")],
            ..Settings::default()
        };
        let cluster = Cluster::open(config, settings).unwrap();
        let relay = Arc::new(Relay::default());
        cluster.serve(Arc::clone(&relay) as Arc<dyn Handler>, Arc::clone(&relay) as Arc<dyn QuotaTable>);
        Self { cluster, relay }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.cluster.health() == Health::Connected
    }

    /// Why it is degraded; empty if it is not.
    pub(crate) fn reason(&self) -> String {
        match self.cluster.health() {
            Health::Degraded { reason, .. } => reason,
            Health::Alone | Health::Connected => String::new(),
        }
    }

    /// The names of the nodes it knows, its own first.
    pub(crate) fn nodes(&self) -> Vec<String> {
        self.cluster.nodes().list.iter().map(|node| node.id.clone()).collect()
    }

    /// Whether it knows this revocation.
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.cluster.revocations().iter().any(|revocation| &*revocation.id == id)
    }
}

/// Three nodes, `a`, `b` and `c`, that know one another.
pub(crate) async fn three(config: &Config) -> [TestNode; 3] {
    let nodes = ["a", "b", "c"].map(|name| TestNode::start_with(name, config));
    together(&nodes).await;
    nodes
}

/// Waits until all nodes are connected and know one another.
pub(crate) async fn together(nodes: &[TestNode]) {
    for node in nodes {
        let ready = || node.is_connected() && node.nodes().len() == nodes.len();
        until(ready, || format!("{} {:?} {:?}", node.cluster.id(), node.reason(), node.nodes())).await;
    }
}

/// Waits for something; fails with what is instead.
pub(crate) async fn until(is_so: impl FnMut() -> bool, instead: impl Fn() -> String) {
    within(LIMIT, is_so, instead).await;
}

/// The same within a time. Answers how long it took.
pub(crate) async fn within(
    limit: Duration,
    mut is_so: impl FnMut() -> bool,
    instead: impl Fn() -> String,
) -> Duration {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < limit, "not so after {limit:?}: {}", instead());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begin.elapsed()
}

/// Runs a test on a runtime as a node has one, on this thread, bounded in time.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bounded = async { tokio::time::timeout(Duration::from_secs(120), test).await };
    runtime.block_on(bounded).expect("a test ends within two minutes")
}

/// A revocation of a user.
pub(crate) fn revocation(id: &str, user: &str) -> Revocation {
    let now = unix_seconds();
    Revocation {
        id: id.into(),
        username: None,
        user: Some(user.into()),
        label: None,
        key_id: None,
        issued_before: now,
        expires: now + 3600,
        cut: true,
    }
}

pub(crate) fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}
