//! Live allocations as other nodes and operators see them.

use serde::{Deserialize, Serialize};

use super::{NodeId, QualityRecord};

/// Which allocations are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationQuery {
    /// Only this user's.
    pub user: Option<String>,
    /// Only those with this label.
    pub label: Option<String>,
    /// Only those that come after this id; `None` begins with the first.
    pub after: Option<String>,
    /// At most so many; 1 to 1000.
    pub limit: u32,
}

/// A live allocation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllocationRecord {
    /// Names it in the whole cluster, for as long as its node runs: `<node>:<shard>-<number>`.
    pub id: String,
    /// Where it lives.
    pub node: NodeId,
    /// Whose it is: the username without its timestamp and attributes.
    pub user: String,
    /// What its credential was labelled with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The secret its credential was made with; absent for users with a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// `udp`, `tcp` or `tls`.
    pub transport: String,
    /// The client's address and port as the server sees it.
    pub client: String,
    /// The relayed transport addresses that the client was told.
    pub relayed: Vec<String>,
    /// When it was made: seconds since the Unix epoch.
    pub created: u64,
    /// When it ends unless it is refreshed: seconds since the Unix epoch.
    pub expires: u64,
    /// Datagrams from the client to its peers so far.
    #[serde(default)]
    pub sent_datagrams: u64,
    /// Datagrams from peers to the client so far.
    #[serde(default)]
    pub received_datagrams: u64,
    /// Payload bytes from the client to its peers so far.
    pub sent_bytes: u64,
    /// Payload bytes from peers to the client so far.
    pub received_bytes: u64,
    /// What of it was not relayed, by direction and reason; none is left out.
    #[serde(default)]
    pub dropped: Vec<DroppedRecord>,
    /// How good its RTP streams are; absent if it is not measured (`quality.sample`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<QualityRecord>,
}

/// Datagrams that were not relayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DroppedRecord {
    /// `to_peer` or `to_client`.
    pub direction: String,
    /// Why, as in `iceway_datagrams_dropped_total`.
    pub reason: String,
    /// How many.
    pub datagrams: u64,
}

/// Some allocations of one node, in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AllocationPage {
    /// The allocations.
    pub allocations: Vec<AllocationRecord>,
    /// Whether there are more after the last one.
    pub has_more: bool,
}
