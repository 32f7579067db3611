//! What a command knows of credentials: the configuration, and what servers have stored.

use std::sync::Arc;

use anyhow::Context as _;

use super::{
    has_redis,
    keeper::{Keeper, Kept},
};
use crate::{
    config::Config,
    credentials::{Directory, Revocations},
};

/// What a command knows of credentials.
pub(super) struct Known {
    /// Users and secrets.
    pub(super) directory: Arc<Directory>,
    /// What is no longer good although its time is not over.
    pub(super) revocations: Arc<Revocations>,
    /// Why what servers have stored is not among it, if there is such a thing.
    pub(super) left_out: Option<String>,
}

impl Known {
    /// All that can be read now: the store's file if no server holds it, else through Redis, else the configuration
    /// alone. Nothing is changed, and no file is made.
    ///
    /// # Errors
    /// The configured users or secrets cannot be used.
    pub(super) fn of(config: &Config) -> anyhow::Result<Self> {
        let mut config = config.clone();
        // Opening makes the file, which is not for a command that only looks.
        config.store.path = config.store.path.filter(|path| path.exists());
        if config.store.path.is_none() && !has_redis(&config) {
            return Self::configured(&config, None);
        }
        let keeper = match Keeper::open(&config) {
            Ok(keeper) => keeper,
            Err(failure) => return Self::configured(&config, Some(failure.to_string())),
        };
        if let Kept::Nowhere { why } = &keeper.kept {
            return Self::configured(&config, Some(why.clone()));
        }
        let (directory, revocations) =
            keeper.with(async |cluster| (cluster.directory(), cluster.revocations()))?;
        Ok(Self { directory, revocations, left_out: None })
    }

    fn configured(config: &Config, left_out: Option<String>) -> anyhow::Result<Self> {
        let directory = config.directory().context("the credentials cannot be used")?;
        Ok(Self { directory: Arc::new(directory), revocations: Arc::default(), left_out })
    }
}
