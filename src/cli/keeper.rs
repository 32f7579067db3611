//! Where a command keeps what servers are to know.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context as _, anyhow};
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use tokio::runtime::Runtime;

use super::{exit::Failure, has_redis};
use crate::{
    cluster::{
        AllocationPage, Answer, Ask, Cluster, DrainProgress, Handler, Health, NodeLoad, NodeState, OpenError,
        QuotaTable, Settings, UserReport, redis_mend,
    },
    config::Config,
};

/// Where a command keeps what servers are to know.
pub(super) struct Keeper {
    pub(super) kept: Kept,
    cluster: Cluster,
    runtime: Runtime,
}

/// Where that is.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    /// In the store's file, which no server holds.
    File(PathBuf),
    /// In Redis, for all nodes.
    Redis,
    /// Nowhere: it is forgotten at the end of the command.
    Nowhere {
        /// Why.
        why: String,
    },
}

impl Keeper {
    /// Opens the store's file; if that cannot be, Redis; else nothing.
    ///
    /// # Errors
    /// Redis does not answer, or its configuration cannot be used.
    pub(super) fn open(config: &Config) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("the system refuses an event queue")?;
        let inside = runtime.enter();
        let mut why = "no store.path and no redis.url are configured".to_owned();
        if let Some(path) = config.store.path.clone() {
            match Cluster::open(config, settings(config.node.id_or_machine_name())) {
                Ok(cluster) => {
                    drop(inside);
                    return Ok(Self { kept: Kept::File(path), cluster, runtime });
                }
                Err(OpenError::StoreInUse { path }) => {
                    why = format!("a running server holds {}", path.display());
                }
                Err(error) => return Err(Failure::Configuration(error.to_string())),
            }
        }
        let mut config = config.clone();
        config.store.path = None;
        let kept = if has_redis(&config) { Kept::Redis } else { Kept::Nowhere { why } };
        let cluster = Cluster::open(&config, settings(format!("command-{}", std::process::id())))
            .map_err(|error| Failure::Configuration(error.to_string()))?;
        drop(inside);
        if matches!(kept, Kept::Redis) {
            runtime.block_on(join(&cluster))?;
        }
        Ok(Self { kept, cluster, runtime })
    }

    /// Does something with it, and ends when that is kept.
    ///
    /// # Errors
    /// It cannot be kept.
    pub(super) fn with<T>(&self, action: impl AsyncFnOnce(&Cluster) -> T) -> anyhow::Result<T> {
        self.runtime.block_on(async {
            let done = action(&self.cluster).await;
            if matches!(self.kept, Kept::Redis) && !self.cluster.settled().await {
                return Err(anyhow!("Redis did not take it in time; it may or may not be there"));
            }
            self.cluster.close().await.context("it could not be kept")?;
            Ok(done)
        })
    }

    /// # Errors
    /// There is nothing to look at; says which request of the API does the same.
    pub(super) fn must_keep(&self, request: &str) -> anyhow::Result<()> {
        match &self.kept {
            Kept::File(_) | Kept::Redis => Ok(()),
            Kept::Nowhere { why } => Err(anyhow!(
                "the keys cannot be reached: {why}. Ask the running server: {request}, with a key of scope admin"
            )),
        }
    }
}

fn settings(id: String) -> Settings {
    Settings { id, ..Settings::default() }
}

/// Takes part in the cluster for a moment, as a node that takes no clients.
async fn join(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.serve(Arc::new(Guest), Arc::new(Guest));
    if cluster.settled().await {
        return Ok(());
    }
    match cluster.health() {
        Health::Degraded { reason, .. } => {
            Err(anyhow!("Redis cannot be reached: {reason}; {}", redis_mend(&reason)))
        }
        Health::Alone | Health::Connected => Err(anyhow!("Redis does not answer in time")),
    }
}

/// A node without a relay.
struct Guest;

impl Handler for Guest {
    fn handle(&self, ask: Ask) -> BoxFuture<'_, Answer> {
        let answer = match ask {
            Ask::Apply(_) => Answer::Cut(0),
            Ask::Allocations(_) => Answer::Allocations(AllocationPage::default()),
            Ask::Close { .. } => Answer::Closed(false),
            Ask::Drain => Answer::Draining(0),
            Ask::StopDrain | Ask::DrainProgress => Answer::DrainProgress(DrainProgress::NOTHING),
            Ask::SecretsInUse => Answer::SecretsInUse(Vec::new()),
            Ask::EndSessions(_) | Ask::ForgetDecisions(_) => Answer::Ended(0),
            Ask::Explain { .. } => Answer::Explained(UserReport::default()),
            Ask::Quality => Answer::Quality(None),
        };
        ready(answer).boxed()
    }

    fn load(&self) -> BoxFuture<'_, (NodeState, NodeLoad)> {
        ready((NodeState::Draining, NodeLoad::default())).boxed()
    }
}

impl QuotaTable for Guest {
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
