//! What a node is started with beside its configuration, and whom its shards tell what they cannot do themselves.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::clock::SystemRandom;
use crate::{
    config::Config,
    credentials::{Directory, DirectoryError, Revocations},
    turn::{
        AllocationId, AllocationSummary, CloseReason, Event, Identity, LookUpId, NonceKey, Now, Random as _,
        Transport,
    },
};

/// What a node is started with beside its configuration.
#[derive(Clone, Debug)]
pub struct Start {
    /// The users and secrets at first.
    pub directory: Arc<Directory>,
    /// Which credentials are refused although they have not expired, at first.
    pub revocations: Arc<Revocations>,
    /// Makes and checks nonces. Nodes with the same key take each other's.
    pub nonce_key: NonceKey,
    /// Who keeps book of ended allocations; `None`: nobody. What does not fit is counted as lost.
    pub ended: Option<mpsc::Sender<Ended>>,
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
            revocations: Arc::default(),
            nonce_key: NonceKey::new(&nonce_secret),
            ended: None,
            look_ups: None,
        })
    }
}

/// An allocation that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Where it lived.
    pub shard: usize,
    /// Names it within that shard.
    pub id: AllocationId,
    /// Whose it was.
    pub identity: Identity,
    /// How its client was connected.
    pub transport: Transport,
    /// When it began: seconds since the Unix epoch.
    pub started_unix: u64,
    /// When it ended: seconds since the Unix epoch.
    pub ended_unix: u64,
    /// What it did.
    pub summary: AllocationSummary,
    /// Why it ended.
    pub reason: CloseReason,
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
    pub(super) ended: Option<mpsc::Sender<Ended>>,
    pub(super) look_ups: Option<mpsc::Sender<LookUp>>,
}

impl Told {
    /// Tells that an allocation ended; `false` if that is lost.
    pub(super) fn event(&self, now: Now, event: Event) -> bool {
        let Some(ended) = &self.ended else { return true };
        let Event::Closed { id, identity, five_tuple, started_unix, reason, summary, .. } = event else {
            return true;
        };
        let transport = five_tuple.transport;
        let (shard, ended_unix) = (self.shard, now.unix);
        let told = Ended { shard, id, identity, transport, started_unix, ended_unix, summary, reason };
        ended.try_send(told).is_ok()
    }

    /// Asks for a user's key; `false` if nobody will answer.
    pub(super) fn look_up(&self, id: LookUpId, username: Box<str>) -> bool {
        let Some(look_ups) = &self.look_ups else { return false };
        look_ups.try_send(LookUp { shard: self.shard, id, username }).is_ok()
    }
}
