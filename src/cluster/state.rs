//! What a node knows: its rows, what follows from them, and who is told.

use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use arc_swap::ArcSwap;
use futures_util::future::{BoxFuture, FutureExt as _, join};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::{
    Answer, ApiKey, ApiKeys, Ask, Handler, Host, KeysFileError, NodeId, NodeLoad, NodePlace, NodeState,
    OpenError, QuotaTable, Row, Table, Tables,
    clock::unix_seconds,
    last_uses::LastUses,
    read_keys_file,
    revocation::ReadRevocations,
    secrets::{self, Placed, StoredSecret},
    store::{Contents, Store},
};
use crate::{
    config::{Config, SharedSecret},
    credentials::{Directory, KeyId, Revocations},
    telemetry::settled_seconds,
};

/// How often each table changed since the start. Whoever watches sees that something is new and looks it up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The directory: secrets or users.
    pub secrets: u64,
    /// The API keys.
    pub api_keys: u64,
    /// The revocations.
    pub revocations: u64,
    /// The revocations of sessions.
    pub session_revocations: u64,
}

/// Shared by everything that runs for one node. Knows nothing of the peers.
pub(super) struct State {
    pub(super) id: NodeId,
    pub(super) store: Store,
    pub(super) node_key: Zeroizing<[u8; 32]>,
    /// As it was read, with the secrets of coturn's database behind its own.
    config: RwLock<Arc<Config>>,
    foreign_secrets: Mutex<Vec<SharedSecret>>,
    file_keys: RwLock<Arc<[ApiKey]>>,
    passing_key: OnceLock<ApiKey>,
    tables: Mutex<Tables>,
    /// Held while something is made anew, so that what is made last has seen the most.
    rebuilding: Mutex<ReadRevocations>,
    /// For each table how often rows were merged, and which of these times were seen when it was last made anew.
    merged: [AtomicU64; 4],
    seen: [AtomicU64; 4],
    /// Whoever has it makes anew what follows from the rows of all who wait for it.
    turn: tokio::sync::Mutex<()>,
    directory: ArcSwap<Directory>,
    api_keys: ArcSwap<ApiKeys>,
    revocations: ArcSwap<Revocations>,
    changes: watch::Sender<Changes>,
    handler: OnceLock<Arc<dyn Handler>>,
    quotas: OnceLock<Arc<dyn QuotaTable>>,
    place: RwLock<Option<NodePlace>>,
    last_uses: LastUses,
    /// How many secrets there were when that was last looked at.
    placed_before: AtomicUsize,
}

impl State {
    pub(super) fn new(
        id: NodeId,
        config: &Config,
        store: Store,
        contents: Contents,
    ) -> Result<Self, OpenError> {
        let Contents { rows, node_key, last_used } = contents;
        let now = settled_seconds();
        let over =
            rows.iter().filter(|row| row.is_over(now)).map(|row| (row.table, row.id.clone())).collect();
        store.forget(over, now);
        let mut tables = Tables::default();
        tables.merge(rows, now);
        let state = Self {
            id,
            store,
            node_key,
            config: RwLock::new(Arc::new(config.clone())),
            foreign_secrets: Mutex::default(),
            file_keys: RwLock::new(read_file_keys(config)?),
            passing_key: OnceLock::new(),
            tables: Mutex::new(tables),
            rebuilding: Mutex::default(),
            merged: Default::default(),
            seen: Default::default(),
            turn: tokio::sync::Mutex::default(),
            directory: ArcSwap::from_pointee(config.directory()?),
            api_keys: ArcSwap::default(),
            revocations: ArcSwap::from_pointee(Revocations::new([])),
            changes: watch::Sender::new(Changes::default()),
            handler: OnceLock::new(),
            quotas: OnceLock::new(),
            place: RwLock::default(),
            last_uses: LastUses::of(last_used),
            placed_before: AtomicUsize::new(usize::MAX),
        };
        for table in Table::ALL {
            state.rebuild(table);
        }
        Ok(state)
    }

    /// Says whether [`reload`](Self::reload) would take this over.
    pub(super) fn check(config: &Config) -> Result<(), OpenError> {
        config.directory()?;
        read_file_keys(config)?;
        Ok(())
    }

    pub(super) fn reload(&self, config: &Config) -> Result<(), OpenError> {
        config.directory()?;
        let file_keys = read_file_keys(config)?;
        let mut config = config.clone();
        config.auth.secrets.extend(self.foreign_secrets().iter().cloned());
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        *self.file_keys.write().unwrap_or_else(PoisonError::into_inner) = file_keys;
        self.rebuild(Table::Secrets);
        self.rebuild(Table::ApiKeys);
        self.rebuild(Table::Revocations);
        Ok(())
    }

    pub(super) fn set_passing_key(&self, key: ApiKey) {
        if self.passing_key.set(key).is_ok() {
            self.rebuild(Table::ApiKeys);
        }
    }

    pub(super) fn connect(&self, handler: Arc<dyn Handler>, quotas: Arc<dyn QuotaTable>) {
        if self.handler.set(handler).is_err() || self.quotas.set(quotas).is_err() {
            tracing::warn!("The cluster is told twice to serve; the first time counts.");
        }
    }

    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn foreign_secrets(&self) -> MutexGuard<'_, Vec<SharedSecret>> {
        self.foreign_secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn directory(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    pub(super) fn api_keys(&self) -> Arc<ApiKeys> {
        self.api_keys.load_full()
    }

    pub(super) fn revocations(&self) -> Arc<Revocations> {
        self.revocations.load_full()
    }

    pub(super) fn changes(&self) -> watch::Receiver<Changes> {
        self.changes.subscribe()
    }

    pub(super) fn handler(&self) -> Option<&Arc<dyn Handler>> {
        self.handler.get()
    }

    /// Looks at the rows; not to be held for long.
    pub(super) fn with_tables<T>(&self, look: impl FnOnce(&Tables) -> T) -> T {
        look(&self.tables.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The longest a credential lives, in seconds.
    pub(super) fn ttl_max(&self) -> u64 {
        self.config().credentials.ttl_max.as_secs()
    }

    pub(super) fn placed(&self, now: u64) -> Vec<Placed> {
        let stored = self.with_tables(|tables| {
            let live = tables.live(Table::Secrets, now);
            live.filter_map(|row| {
                let value: StoredSecret = serde_json::from_str(row.value.as_deref()?).ok()?;
                Some((KeyId::new(&row.id).ok()?, value))
            })
            .collect()
        });
        secrets::place(&self.config(), stored, self.ttl_max(), now)
    }

    /// Takes rows over in memory, and answers those that were new. What follows from them is in effect then; what comes
    /// at the same moment is made anew together.
    pub(super) async fn merge(&self, rows: Vec<Row>) -> Vec<Row> {
        let now = settled_seconds();
        let news = self.tables.lock().unwrap_or_else(PoisonError::into_inner).merge(rows, now);
        for table in Table::ALL {
            if !news.iter().any(|row| row.table == table) {
                continue;
            }
            let own = self.merged[table.index()].fetch_add(1, Ordering::SeqCst) + 1;
            let _turn = self.turn.lock().await;
            if self.seen[table.index()].load(Ordering::SeqCst) < own {
                // Others that were written together with these get the chance to be merged as well.
                tokio::task::yield_now().await;
                self.rebuild(table);
            }
        }
        news
    }

    /// Acts on rows that were merged, and answers how many live allocations were ended.
    pub(super) async fn act(&self, news: Vec<Row>) -> u64 {
        let Some(handler) = self.handler() else { return 0 };
        match handler.handle(Ask::Apply(news)).await {
            Answer::Cut(count) => count,
            Answer::Allocations(_)
            | Answer::Closed(_)
            | Answer::Draining(_)
            | Answer::DrainProgress(_)
            | Answer::SecretsInUse(_)
            | Answer::Ended(_)
            | Answer::Explained(_)
            | Answer::Quality(_) => 0,
        }
    }

    pub(super) fn used(&self, id: &str, now: u64) {
        self.last_uses.note(id, &self.api_keys.load(), now);
    }

    pub(super) fn last_used(&self, id: &str) -> Option<u64> {
        self.last_uses.of_key(id)
    }

    /// Writes when keys were last used, as far as the file does not know.
    pub(super) fn write_uses(&self) {
        let news = self.last_uses.take_unwritten(&self.api_keys.load());
        if !news.is_empty() {
            self.store.used(news);
        }
    }

    /// Removes what is over, and takes out of the directory and the revocations what ended since the last call.
    pub(super) fn prune(&self) {
        // A revocation that a wrong clock takes for over must be there when the clock is right again.
        let now = settled_seconds();
        // Whoever merged them may have gone before they took effect.
        for table in Table::ALL {
            let (merged, seen) = (&self.merged[table.index()], &self.seen[table.index()]);
            if seen.load(Ordering::SeqCst) < merged.load(Ordering::SeqCst) {
                self.rebuild(table);
            }
        }
        let over = self.tables.lock().unwrap_or_else(PoisonError::into_inner).prune(now);
        // A secret that was told by another to retire ends without its row being over.
        let placed = self.placed(unix_seconds()).len();
        // One that a wrong clock took for over comes back with the right one.
        let comes_back = self.placed_before.swap(placed, Ordering::Relaxed) < placed;
        if over.is_empty() {
            if self.directory.load().secrets().len() > placed || comes_back {
                self.rebuild(Table::Secrets);
            }
            return;
        }
        for table in Table::ALL {
            if over.iter().any(|(of, _)| *of == table) {
                self.rebuild(table);
            }
        }
        self.store.forget(over, now);
    }

    /// Makes anew what follows from a table.
    fn rebuild(&self, table: Table) {
        let mut read = self.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
        let merged = self.merged[table.index()].load(Ordering::SeqCst);
        let now = settled_seconds();
        match table {
            // A secret that has ended is not taken, even if the clock should be wrong.
            Table::Secrets => self.rebuild_directory(unix_seconds()),
            Table::ApiKeys => {
                let stored: Vec<ApiKey> = self.values(Table::ApiKeys, now);
                let file_keys = Arc::clone(&self.file_keys.read().unwrap_or_else(PoisonError::into_inner));
                let configured: Vec<ApiKey> =
                    file_keys.iter().chain(self.passing_key.get()).cloned().collect();
                self.api_keys.store(Arc::new(ApiKeys::new(stored, &configured)));
            }
            Table::Revocations => {
                let all = self.with_tables(|tables| read.of(tables, now));
                let life = self.ttl_max();
                self.revocations.store(Arc::new(Revocations::new(all).with_plain_life_max(life)));
            }
            // The signaling relay reads the rows itself.
            Table::SessionRevocations => {}
        }
        self.seen[table.index()].store(merged, Ordering::SeqCst);
        drop(read);
        self.changes.send_modify(|changes| match table {
            Table::Secrets => changes.secrets += 1,
            Table::ApiKeys => changes.api_keys += 1,
            Table::Revocations => changes.revocations += 1,
            Table::SessionRevocations => changes.session_revocations += 1,
        });
    }

    fn rebuild_directory(&self, now: u64) {
        match secrets::directory(&self.config(), &self.placed(now)) {
            Ok((directory, left_out)) => {
                if !left_out.is_empty() {
                    let ids = left_out.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                    tracing::warn!(ids, "Too many secrets; these are not accepted. Remove retiring ones.");
                }
                self.directory.store(Arc::new(directory));
            }
            Err(error) => tracing::error!("The directory stays as it was: {error}"),
        }
    }

    /// Where clients reach this node from now on.
    pub(super) fn set_place(&self, place: NodePlace) {
        *self.place.write().unwrap_or_else(PoisonError::into_inner) = Some(place);
    }

    fn values<T: serde::de::DeserializeOwned>(&self, table: Table, now: u64) -> Vec<T> {
        let read = |row: &Row| match serde_json::from_str(row.value.as_deref()?) {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::warn!(id = row.id, ?table, "A row cannot be read and does not count: {error}");
                None
            }
        };
        self.with_tables(|tables| tables.live(table, now).filter_map(read).collect())
    }
}

impl Host for State {
    fn rows(&self) -> Vec<Row> {
        let now = settled_seconds();
        self.with_tables(|tables| tables.all().filter(|row| !row.is_over(now)).cloned().collect())
    }

    fn take_over(&self, rows: Vec<Row>) -> BoxFuture<'_, u64> {
        async move {
            let news = self.merge(rows).await;
            if news.is_empty() {
                return 0;
            }
            // Whoever wrote them has kept them too: acting comes first, at once, so that nothing else ends what this is
            // to count; and what can't be kept is heard of again.
            let (cut, kept) = join(self.act(news.clone()), self.store.write_rows(news)).await;
            if let Err(error) = kept {
                tracing::error!("Rows of other nodes are in effect but not kept: {error}");
            }
            cut
        }
        .boxed()
    }

    fn handle(&self, ask: Ask) -> BoxFuture<'_, Answer> {
        async move {
            if let Ask::Apply(rows) = ask {
                return Answer::Cut(self.take_over(rows).await);
            }
            let Some(handler) = self.handler() else { return Answer::Cut(0) };
            handler.handle(ask).await
        }
        .boxed()
    }

    fn load(&self) -> BoxFuture<'_, (NodeState, NodeLoad)> {
        async move {
            let Some(handler) = self.handler() else { return (NodeState::Draining, NodeLoad::default()) };
            handler.load().await
        }
        .boxed()
    }

    fn place(&self) -> Option<NodePlace> {
        self.place.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_foreign_secrets(&self, secrets: Vec<SharedSecret>) {
        let before = std::mem::replace(&mut *self.foreign_secrets(), secrets.clone());
        let mut config = Config::clone(&self.config());
        config.auth.secrets.retain(|secret| !before.contains(secret));
        config.auth.secrets.extend(secrets);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        self.rebuild(Table::Secrets);
    }

    fn quotas(&self) -> Arc<dyn QuotaTable> {
        self.quotas.get().map_or_else(|| Arc::new(NoQuotas) as Arc<dyn QuotaTable>, Arc::clone)
    }
}

fn read_file_keys(config: &Config) -> Result<Arc<[ApiKey]>, KeysFileError> {
    config
        .api
        .keys_file
        .as_deref()
        .map_or_else(|| Ok(Arc::new([]) as _), |path| Ok(read_keys_file(path)?.into()))
}

/// Before there is a relay.
struct NoQuotas;

impl QuotaTable for NoQuotas {
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
