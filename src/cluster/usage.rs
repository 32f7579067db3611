//! Who used how much.

use serde::{Deserialize, Serialize};

use super::NodeId;

/// One ended allocation: a line of a bill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageRecord {
    /// Unique for ever: the allocation's id and the incarnation of its node.
    pub id: String,
    /// Where it lived.
    pub node: NodeId,
    /// Whose it was.
    pub user: String,
    /// What its credential was labelled with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The secret its credential was made with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// `udp`, `tcp` or `tls`.
    pub transport: String,
    /// When it began: seconds since the Unix epoch.
    pub started: u64,
    /// When it ended: seconds since the Unix epoch.
    pub ended: u64,
    /// How long it lived, by a clock that does not jump.
    pub seconds: u64,
    /// Payload bytes from the client to its peers.
    pub sent_bytes: u64,
    /// Payload bytes from peers to the client.
    pub received_bytes: u64,
    /// Datagrams from the client to its peers.
    pub sent_datagrams: u64,
    /// Datagrams from peers to the client.
    pub received_datagrams: u64,
    /// Why it ended, such as `expired`, `refreshed`, `client_closed`, `revoked`.
    pub reason: String,
}

/// The sum of ended allocations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageTotals {
    /// How many ended.
    pub allocations: u64,
    /// How long they lived, together.
    pub seconds: u64,
    /// Payload bytes from clients to peers.
    pub sent_bytes: u64,
    /// Payload bytes from peers to clients.
    pub received_bytes: u64,
}
