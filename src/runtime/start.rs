//! What a node is started with beside its configuration, and whom its shards tell what they cannot do themselves.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::clock::SystemRandom;
use crate::{
    config::Config,
    credentials::{Directory, DirectoryError},
    turn::{LookUpId, NonceKey, Random as _},
};

/// What a node is started with beside its configuration.
#[derive(Clone, Debug)]
pub struct Start {
    /// The users and secrets at first.
    pub directory: Arc<Directory>,
    /// Makes and checks nonces. Nodes with the same key take each other's.
    pub nonce_key: NonceKey,
    /// Who finds users that the directory does not have; `None`: nobody, they are unknown. What does not fit is
    /// answered as unknown; a shard has at most 256 outstanding.
    pub look_ups: Option<mpsc::Sender<LookUp>>,
}

impl Start {
    /// A node on its own: the users and secrets of the configuration, and a nonce key until the process ends.
    ///
    /// # Errors
    /// The users or secrets cannot be used.
    pub fn alone(config: &Config) -> Result<Self, DirectoryError> {
        let mut nonce_secret = [0; 32];
        SystemRandom::new().fill(&mut nonce_secret);
        Ok(Self {
            directory: Arc::new(config.directory()?),
            nonce_key: NonceKey::new(&nonce_secret),
            look_ups: None,
        })
    }
}

/// A question for a user's key; answered by [`NodeHandle::found`](super::NodeHandle::found) within 8 s.
#[derive(Clone, Debug)]
pub struct LookUp {
    /// Which shard asks.
    pub shard: usize,
    /// Names the question within that shard.
    pub id: LookUpId,
    /// Whose key.
    pub username: Box<str>,
}

/// Whom a shard tells.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) shard: usize,
    pub(super) look_ups: Option<mpsc::Sender<LookUp>>,
}

impl Told {
    /// Asks for a user's key; `false` if nobody will answer.
    pub(super) fn look_up(&self, id: LookUpId, username: Box<str>) -> bool {
        let Some(look_ups) = &self.look_ups else { return false };
        look_ups.try_send(LookUp { shard: self.shard, id, username }).is_ok()
    }
}
