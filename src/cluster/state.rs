//! What a node knows: its rows, what follows from them, and who is told.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
};

use arc_swap::ArcSwap;
use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::{
    Answer, ApiKey, ApiKeyId, ApiKeys, Ask, Handler, Host, NodeId, NodeLoad, NodeState, QuotaTable, Row,
    Table, Tables,
    clock::unix_seconds,
    revocation::StoredRevocation,
    secrets::{self, Placed, StoredSecret},
    store::Store,
};
use crate::{
    config::Config,
    credentials::{Directory, DirectoryError, KeyId, Revocations},
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
}

/// Shared by everything that runs for one node. Knows nothing of the peers.
pub(super) struct State {
    pub(super) id: NodeId,
    pub(super) store: Store,
    pub(super) node_key: Zeroizing<[u8; 32]>,
    config: RwLock<Arc<Config>>,
    file_keys: RwLock<Arc<[ApiKey]>>,
    tables: Mutex<Tables>,
    directory: ArcSwap<Directory>,
    api_keys: ArcSwap<ApiKeys>,
    revocations: ArcSwap<Revocations>,
    changes: watch::Sender<Changes>,
    handler: OnceLock<Arc<dyn Handler>>,
    quotas: OnceLock<Arc<dyn QuotaTable>>,
    last_used: Mutex<HashMap<ApiKeyId, u64>>,
}

impl State {
    pub(super) fn new(
        id: NodeId,
        config: &Config,
        store: Store,
        node_key: Zeroizing<[u8; 32]>,
        rows: Vec<Row>,
    ) -> Result<Self, DirectoryError> {
        let mut tables = Tables::default();
        tables.merge(rows, unix_seconds());
        let state = Self {
            id,
            store,
            node_key,
            config: RwLock::new(Arc::new(config.clone())),
            file_keys: RwLock::new(Arc::new([])),
            tables: Mutex::new(tables),
            directory: ArcSwap::from_pointee(config.directory()?),
            api_keys: ArcSwap::default(),
            revocations: ArcSwap::from_pointee(Revocations::new([])),
            changes: watch::Sender::new(Changes::default()),
            handler: OnceLock::new(),
            quotas: OnceLock::new(),
            last_used: Mutex::default(),
        };
        for table in Table::ALL {
            state.rebuild(table);
        }
        Ok(state)
    }

    pub(super) fn reload(&self, config: &Config) -> Result<(), DirectoryError> {
        config.directory()?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config.clone());
        self.rebuild(Table::Secrets);
        Ok(())
    }

    pub(super) fn set_file_keys(&self, keys: Vec<ApiKey>) {
        *self.file_keys.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
        self.rebuild(Table::ApiKeys);
    }

    pub(super) fn connect(&self, handler: Arc<dyn Handler>, quotas: Arc<dyn QuotaTable>) {
        if self.handler.set(handler).is_err() || self.quotas.set(quotas).is_err() {
            tracing::warn!("The cluster is told twice to serve; the first time counts.");
        }
    }

    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
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
        86_400
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

    /// Takes rows over in memory, and answers those that were new.
    pub(super) fn merge(&self, rows: Vec<Row>) -> Vec<Row> {
        let now = unix_seconds();
        let news = self.tables.lock().unwrap_or_else(PoisonError::into_inner).merge(rows, now);
        for table in Table::ALL {
            if news.iter().any(|row| row.table == table) {
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
            Answer::Allocations(_) | Answer::Closed(_) | Answer::Draining(_) | Answer::SecretsInUse(_) => 0,
        }
    }

    pub(super) fn used(&self, id: &str, now: u64) {
        if let Some(key) = self.api_keys.load().find(id) {
            let mut used = self.last_used.lock().unwrap_or_else(PoisonError::into_inner);
            let last = used.entry(key.id.clone()).or_default();
            *last = now.max(*last);
        }
    }

    pub(super) fn last_used(&self, id: &str) -> Option<u64> {
        self.last_used.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }

    /// Makes anew what follows from a table.
    fn rebuild(&self, table: Table) {
        let now = unix_seconds();
        match table {
            Table::Secrets => self.rebuild_directory(now),
            Table::ApiKeys => {
                let stored: Vec<ApiKey> = self.values(Table::ApiKeys, now);
                let configured = Arc::clone(&self.file_keys.read().unwrap_or_else(PoisonError::into_inner));
                self.api_keys.store(Arc::new(ApiKeys::new(stored, &configured)));
            }
            Table::Revocations => {
                let stored: Vec<StoredRevocation> = self.values(Table::Revocations, now);
                let all = stored.into_iter().filter_map(StoredRevocation::into_core);
                self.revocations.store(Arc::new(Revocations::new(all)));
            }
        }
        self.changes.send_modify(|changes| match table {
            Table::Secrets => changes.secrets += 1,
            Table::ApiKeys => changes.api_keys += 1,
            Table::Revocations => changes.revocations += 1,
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
        let now = unix_seconds();
        self.with_tables(|tables| tables.all().filter(|row| !row.is_over(now)).cloned().collect())
    }

    fn take_over(&self, rows: Vec<Row>) -> BoxFuture<'_, u64> {
        async move {
            let news = self.merge(rows);
            if news.is_empty() {
                return 0;
            }
            // Whoever wrote them has kept them too: acting comes first, and what can't be kept is heard of again.
            if let Err(error) = self.store.write_rows(news.clone()).await {
                tracing::error!("Rows of other nodes are in effect but not kept: {error}");
            }
            self.act(news).await
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

    fn quotas(&self) -> Arc<dyn QuotaTable> {
        self.quotas.get().map_or_else(|| Arc::new(NoQuotas) as Arc<dyn QuotaTable>, Arc::clone)
    }
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
