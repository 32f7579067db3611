//! The cluster as the rest of a node uses it.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::join;
use tokio::sync::{Mutex, watch};

use super::{
    Answer, ApiKey, ApiKeys, Ask, Changes, Handler, Health, Host as _, KeysFileError, LimitAnswer,
    NodeAddress, NodeId, NodeInfo, NodePlace, NodePublic, Nodes, PeerCounters, Peers, QuotaTable, Rate,
    Remembered, RequestError, Row, SignalHandler, StoreError,
    alone::Alone,
    clock::unix_millis,
    derive::derive_key,
    limits::Limits,
    memory::Memory,
    outbox::Outbox,
    redis::Redis,
    state::State,
    store::{Bounds, Store},
    upkeep,
};
use crate::{
    config::Config,
    credentials::{Directory, DirectoryError, Revocations},
};

/// Records of usage that wait when there is no file.
const MEMORY_RECORDS_MAX: u64 = 100_000;

/// How long it may take to tell the others that this node ends.
const FAREWELL_MAX: Duration = Duration::from_secs(5);
/// How long it may take to write what still waits.
const FLUSH_MAX: Duration = Duration::from_secs(20);

/// Who this node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Its name: 1 to 64 of `A-Z a-z 0-9 . _ -`, and no other node's.
    pub id: NodeId,
    /// Where it is; may be empty.
    pub region: String,
    /// The `stun:`, `turn:` and `turns:` URIs clients reach it by.
    pub uris: Vec<String>,
    /// Where it listens, as clients reach it.
    pub addresses: Vec<NodeAddress>,
    /// What clients are told of its relay addresses.
    pub public: Vec<NodePublic>,
}

/// Why a node can't take part in its cluster. One line each, with what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file of `store.path` can't be used.
    #[error("store.path = {}: {problem}", .path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Another process has the file of `store.path` open.
    #[error("store.path = {}: another process has it open, most likely another iceway; end that one, or name another file", .path.display())]
    StoreInUse {
        /// The file.
        path: PathBuf,
    },
    /// The configuration of the other nodes' Redis can't be used.
    #[error("{0}")]
    Peers(String),
    /// The file of `api.keys_file` can't be used.
    #[error(transparent)]
    KeysFile(#[from] KeysFileError),
    /// Secrets or users that can't be.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(String),
    /// The system refuses something else.
    #[error("{0}")]
    System(String),
}

/// What this node shares and keeps. Cheap to clone; all clones are the same.
///
/// Everything that is answered without `async` comes from memory. What changes something is `async`, and when it is
/// answered it has been synced to the file and is in effect on this node.
#[derive(Clone)]
pub struct Cluster {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) state: Arc<State>,
    pub(super) peers: Arc<dyn Peers>,
    /// Held by whoever reads rows to write others: such changes come one after another.
    pub(super) changing: Mutex<()>,
    limits: Limits,
    memory: Memory,
    pub(super) outbox: Outbox,
}

impl Cluster {
    /// Reads the file, if one is configured, and finds the other nodes, if Redis is configured. To be called inside the
    /// tokio runtime that shall carry the tasks. Nothing is told to others before [`serve`](Self::serve).
    ///
    /// # Errors
    /// [`OpenError`]; Redis that does not answer is none of them.
    pub fn open(config: &Config, settings: Settings) -> Result<Self, OpenError> {
        Self::open_with(config, settings, |own| peers(config, own))
    }

    /// As [`open`](Self::open), with peers of another kind; `find` is given what this node is.
    ///
    /// # Errors
    /// [`OpenError`], and what `find` answers.
    pub fn open_with(
        config: &Config,
        settings: Settings,
        find: impl FnOnce(NodeInfo) -> Result<Arc<dyn Peers>, OpenError>,
    ) -> Result<Self, OpenError> {
        let path = config.store.path.as_deref();
        let records_max = match path {
            Some(_) => config.usage.records_max,
            None => config.usage.records_max.min(MEMORY_RECORDS_MAX),
        };
        let (store, contents) = Store::open(path, Bounds { records_max, days: config.usage.days })?;
        let state = Arc::new(State::new(settings.id.clone(), config, store, contents)?);
        let peers = find(node_info(settings)?)?;
        let (limits, memory, changing) = (Limits::default(), Memory::default(), Mutex::default());
        let own = || derive_key(&state.node_key[..], b"iceway node", "pseudonyms");
        let outbox = Outbox::new(config, *peers.derive_key("pseudonyms").unwrap_or_else(own));
        Ok(Self { inner: Arc::new(Inner { state, peers, changing, limits, memory, outbox }) })
    }

    /// Begins to act on what other nodes ask and to tell them about this one. Once, when the relay listens.
    pub fn serve(&self, handler: Arc<dyn Handler>, quotas: Arc<dyn QuotaTable>) {
        self.inner.state.connect(handler, quotas);
        if self.inner.state.config().store.path.is_none() {
            tracing::info!(
                "No store.path: a restart forgets revocations, stored secrets, API keys and usage that was not taken, \
                 unless other nodes know them."
            );
        }
        let host: Arc<State> = Arc::clone(&self.inner.state);
        self.inner.peers.serve(host);
        upkeep::start(&self.inner);
        Outbox::start(&self.inner);
    }

    /// Waits until this and the other nodes have told one another all rows, for at most five seconds; `false`: they have
    /// not.
    pub async fn settled(&self) -> bool {
        self.inner.peers.settled().await
    }

    /// Joins the signaling relay of this node to those of the others.
    pub fn connect_signaling(&self, handler: Arc<dyn SignalHandler>) {
        self.inner.peers.connect_signaling(handler);
    }

    /// Hands bytes to the signaling relay of a run of another node; `false`: they are lost.
    #[must_use]
    pub fn send_signal(&self, node: &str, run: u64, bytes: Bytes) -> bool {
        self.inner.peers.send_signal(node, run, bytes)
    }

    /// Which run of this node this is: greater than all before.
    #[must_use]
    pub fn run(&self) -> u64 {
        self.inner.peers.nodes().list.first().map_or(0, |node| node.incarnation)
    }

    /// Tells the others at once how this node does, as when it begins to drain.
    pub fn announce(&self) {
        self.inner.peers.announce();
    }

    /// Takes over where clients reach this node, and tells the others at once.
    pub fn set_place(&self, place: NodePlace) {
        self.inner.state.set_place(place);
        self.inner.peers.announce();
    }

    /// Takes over a configuration that was read again: secrets, users, the file of API keys. Says so by
    /// [`changes`](Self::changes).
    ///
    /// # Errors
    /// [`OpenError::Directory`], [`OpenError::KeysFile`]; then all stays as it was.
    pub fn reload(&self, config: &Config) -> Result<(), OpenError> {
        self.inner.state.reload(config)
    }

    /// Says what [`reload`](Self::reload) would, and changes nothing.
    ///
    /// # Errors
    /// As those of [`reload`](Self::reload).
    pub fn check(config: &Config) -> Result<(), OpenError> {
        State::check(config)
    }

    /// Lets callers use one more API key until the process ends. It is kept nowhere and told to nobody; only the first
    /// one counts.
    pub fn set_passing_key(&self, key: ApiKey) {
        self.inner.state.set_passing_key(key);
    }

    /// Writes what still waits to be written, and tells the others that this node ends. Call it before the end, when
    /// nothing is recorded any more. Bounded by 25 seconds.
    ///
    /// # Errors
    /// [`StoreError`]: something is not in the file.
    pub async fn close(&self) -> Result<(), StoreError> {
        let state = &self.inner.state;
        state.write_uses();
        let handed_on = tokio::time::timeout(FAREWELL_MAX, async {
            upkeep::forward_usage(&self.inner).await;
            self.inner.outbox.flush().await;
            self.inner.peers.close().await;
        });
        if handed_on.await.is_err() {
            tracing::warn!("The other nodes are not told that this one ends: they do not answer.");
        }
        tokio::time::timeout(FLUSH_MAX, state.store.flush()).await.unwrap_or(Err(StoreError::Busy))
    }

    /// The name of this node.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.inner.state.id
    }

    /// A key for one purpose: the same on all nodes of a cluster; of a node alone, the same after each restart if it
    /// has a file. HKDF-SHA256.
    #[must_use]
    pub fn derive_key(&self, purpose: &str) -> [u8; 32] {
        let own = || derive_key(&self.inner.state.node_key[..], b"iceway node", purpose);
        *self.inner.peers.derive_key(purpose).unwrap_or_else(own)
    }

    /// The configured users and all secrets that are accepted; the one that mints comes first.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        self.inner.state.directory()
    }

    /// The API keys, stored and configured ones.
    #[must_use]
    pub fn api_keys(&self) -> Arc<ApiKeys> {
        self.inner.state.api_keys()
    }

    /// The revocations that may still hit a credential.
    #[must_use]
    pub fn revocations(&self) -> Arc<Revocations> {
        self.inner.state.revocations()
    }

    /// This node and the others whose lease has not run out, this one first.
    #[must_use]
    pub fn nodes(&self) -> Arc<Nodes> {
        self.inner.peers.nodes()
    }

    /// How well the other nodes can be reached.
    #[must_use]
    pub fn health(&self) -> Health {
        self.inner.peers.health()
    }

    /// Counters that go up when a table changed, wherever the change came from. After it is seen, the caches above are
    /// new already.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Changes> {
        self.inner.state.changes()
    }

    /// Asks one node, this one or another, for at most a second.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn ask(&self, node: &str, ask: Ask) -> Result<Answer, RequestError> {
        if node == self.inner.state.id {
            self.ask_own(ask).await
        } else {
            self.inner.peers.ask(node.to_owned(), ask).await
        }
    }

    /// Asks all nodes at once, for at most a second; this one's answer comes first.
    pub async fn ask_all(&self, ask: Ask) -> Vec<(NodeId, Result<Answer, RequestError>)> {
        let (own, others) = join(self.ask_own(ask.clone()), self.inner.peers.ask_all(ask)).await;
        std::iter::once((self.inner.state.id.clone(), own)).chain(others).collect()
    }

    async fn ask_own(&self, ask: Ask) -> Result<Answer, RequestError> {
        let state = &self.inner.state;
        if state.handler().is_none() {
            return Err(RequestError::Silent(state.id.clone()));
        }
        Ok(state.handle(ask).await)
    }

    /// Counts one use of `name` against a rate: of all nodes together if they can be reached, else of this one against
    /// its share. Names should say what they count: `issue-user:alice`.
    pub async fn limit(&self, name: &str, rate: Rate) -> LimitAnswer {
        let shared = self.inner.peers.limit(name.to_owned(), rate).await;
        shared
            .unwrap_or_else(|| self.inner.limits.count(name, rate, self.inner.peers.share(), Instant::now()))
    }

    /// Keeps `value` under an idempotency key for `ttl`, unless there is one: then that one is answered. For all nodes
    /// if they can be reached, else on this one.
    pub async fn remember(&self, key: &str, value: Vec<u8>, ttl: Duration) -> Remembered {
        let shared = self.inner.peers.remember(key.to_owned(), value.clone(), ttl).await;
        shared.unwrap_or_else(|| self.inner.memory.remember(key, value, ttl, Instant::now()))
    }

    /// Replaces what [`remember`](Self::remember) kept.
    pub async fn replace(&self, key: &str, value: Vec<u8>, ttl: Duration) {
        if self.inner.peers.replace(key.to_owned(), value.clone(), ttl).await.is_none() {
            self.inner.memory.replace(key, value, ttl, Instant::now());
        }
    }

    /// The MD5 key of a user in coturn's user database in Redis; `None` if there is none.
    pub async fn find_user(&self, realm: &str, name: &str) -> Option<[u8; 16]> {
        self.inner.peers.find_user(realm.to_owned(), name.to_owned()).await
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> ClusterCounters {
        let store = self.inner.state.store.counters();
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let peers = self.inner.peers.counters();
        ClusterCounters {
            peers,
            usage_pending: of(&store.usage_pending),
            usage_lost: of(&store.usage_lost) + peers.usage_lost,
            usage_overflowed: of(&store.usage_overflowed) + peers.usage_overflowed,
            store_errors: of(&store.errors),
            store_commits: of(&store.commits),
        }
    }

    /// Writes rows of this node, acts on them, and gives them to the others; all of it, even if whoever asked goes.
    pub(super) async fn write(&self, rows: Vec<Row>) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.inner);
        let writing = tokio::spawn(async move {
            inner.state.store.write_rows(rows.clone()).await?;
            let news = inner.state.merge(rows).await;
            inner.peers.publish(news.clone());
            inner.state.act(news).await;
            Ok(())
        });
        writing.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// What a node counts about its cluster, from the start of the process on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterCounters {
    /// What the peers count.
    pub peers: PeerCounters,
    /// Records of ended allocations that nobody has taken yet.
    pub usage_pending: u64,
    /// Records that were dropped because more than `usage.records_max` waited, or the file could not be written.
    pub usage_lost: u64,
    /// Ended allocations that were summed under nobody's name, because a day had too many users or labels.
    pub usage_overflowed: u64,
    /// Times the file could not be written.
    pub store_errors: u64,
    /// Commits to the file.
    pub store_commits: u64,
}

/// The other nodes, if the configuration says where they are found.
fn peers(config: &Config, own: NodeInfo) -> Result<Arc<dyn Peers>, OpenError> {
    Ok(match config.redis.url {
        Some(_) => Arc::new(Redis::open(config, own)?),
        None => Arc::new(Alone::new(own)),
    })
}

fn node_info(settings: Settings) -> Result<NodeInfo, OpenError> {
    let mut incarnation = [0; 8];
    getrandom::fill(&mut incarnation).map_err(|error| OpenError::Random(error.to_string()))?;
    Ok(NodeInfo {
        region: settings.region,
        uris: settings.uris,
        addresses: settings.addresses,
        public: settings.public,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..NodeInfo::new(settings.id, u64::from_le_bytes(incarnation), unix_millis())
    })
}
