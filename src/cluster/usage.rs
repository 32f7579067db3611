//! Who used how much.

use serde::{Deserialize, Serialize};

use super::NodeId;

/// Seconds of a day.
pub(crate) const DAY_SECONDS: u64 = 86_400;

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

impl UsageRecord {
    /// The day on which it ended (UTC): days since the Unix epoch.
    #[must_use]
    pub fn day(&self) -> u32 {
        u32::try_from(self.ended / DAY_SECONDS).unwrap_or(u32::MAX)
    }
}

/// The sum of ended allocations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
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

impl UsageTotals {
    /// Adds one ended allocation.
    pub fn add(&mut self, record: &UsageRecord) {
        self.allocations = self.allocations.saturating_add(1);
        self.seconds = self.seconds.saturating_add(record.seconds);
        self.sent_bytes = self.sent_bytes.saturating_add(record.sent_bytes);
        self.received_bytes = self.received_bytes.saturating_add(record.received_bytes);
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        self.allocations = self.allocations.saturating_add(other.allocations);
        self.seconds = self.seconds.saturating_add(other.seconds);
        self.sent_bytes = self.sent_bytes.saturating_add(other.sent_bytes);
        self.received_bytes = self.received_bytes.saturating_add(other.received_bytes);
    }
}

/// Whose usage is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageOf {
    /// Everybody's.
    Everybody,
    /// One user's.
    User(String),
    /// What carries one label.
    Label(String),
}

/// Which sum is asked for. An allocation counts for the day (UTC) on which it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageQuery {
    /// Whose.
    pub of: UsageOf,
    /// The first day: days since the Unix epoch.
    pub from_day: u32,
    /// The last day, included.
    pub to_day: u32,
}

/// Some records, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsagePage {
    /// Each record with the cursor that names its place.
    pub records: Vec<(String, UsageRecord)>,
    /// Whether there are more after the last one.
    pub has_more: bool,
}

/// Why there is no usage to be seen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    /// The text is no cursor of this node or cluster.
    #[error("{0:?} is no cursor; give one that came with a record")]
    Cursor(String),
    /// The shared stream cannot be reached at present.
    #[error(transparent)]
    Peers(#[from] super::RequestError),
    /// The file cannot be read.
    #[error(transparent)]
    Store(#[from] super::StoreError),
}
