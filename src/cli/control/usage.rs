//! Ended allocations as lines of a bill.

use super::identity;
use crate::{cluster::UsageRecord, runtime::Ended};

/// Makes records of one run of one node.
#[derive(Debug)]
pub(super) struct Book {
    node: String,
    incarnation: u64,
}

impl Book {
    /// `incarnation` tells this run of the node from every other.
    pub(super) const fn new(node: String, incarnation: u64) -> Self {
        Self { node, incarnation }
    }

    /// The record of an allocation that ended.
    pub(super) fn record(&self, ended: Ended) -> UsageRecord {
        let Ended { shard, id, identity, transport, started_unix, ended_unix, summary, reason } = ended;
        UsageRecord {
            id: format!("{}@{:016x}", identity::name(&self.node, shard, id), self.incarnation),
            node: self.node.clone(),
            user: identity.user.to_string(),
            label: identity.label.map(Into::into),
            key_id: identity.key_id.map(|id| id.to_string()),
            transport: transport.as_str().to_owned(),
            started: started_unix,
            ended: ended_unix,
            seconds: summary.seconds,
            sent_bytes: summary.to_peer_bytes,
            received_bytes: summary.to_client_bytes,
            sent_datagrams: summary.to_peer_datagrams,
            received_datagrams: summary.to_client_datagrams,
            reason: reason.as_str().to_owned(),
        }
    }
}
