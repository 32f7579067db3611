//! Where a command keeps what servers are to know.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use tokio::runtime::Runtime;

use super::{exit::Failure, has_redis};
use crate::{
    cluster::{Cluster, Health, OpenError, Settings},
    config::Config,
};

/// How long Redis may take to answer.
const REDIS_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(5);
/// How often it is looked whether it has.
const REDIS_POLL: std::time::Duration = std::time::Duration::from_millis(20);

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
            runtime.block_on(connected(&cluster))?;
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

async fn connected(cluster: &Cluster) -> anyhow::Result<()> {
    let wait = async {
        while cluster.health() != Health::Connected {
            tokio::time::sleep(REDIS_POLL).await;
        }
    };
    if tokio::time::timeout(REDIS_TIME_MAX, wait).await.is_ok() {
        return Ok(());
    }
    match cluster.health() {
        Health::Degraded { reason, .. } => Err(anyhow!("Redis cannot be reached: {reason}")),
        Health::Alone | Health::Connected => Err(anyhow!("Redis did not answer in {REDIS_TIME_MAX:?}")),
    }
}
