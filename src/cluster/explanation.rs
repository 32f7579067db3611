//! Why a user fails, as other nodes and operators are told.

use serde::{Deserialize, Serialize};

use super::{AllocationRecord, NodeId};

/// What one node knows of a user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UserReport {
    /// Whether it remembers what goes wrong (`explain.enabled`).
    pub is_kept: bool,
    /// What went wrong, the newest first.
    pub incidents: Vec<IncidentRecord>,
    /// The live allocations of the user, the first of them.
    pub allocations: Vec<AllocationRecord>,
}

/// Something that went wrong for a user, once or again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IncidentRecord {
    /// Where.
    pub node: NodeId,
    /// Its name, the same in every version, such as `expired`, `wrong_password`, `peer_denied`, `quota`.
    pub cause: String,
    /// What was asked for, such as `allocate`; absent where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Whether the client proved the credential. Else anybody may have named this user.
    pub proved: bool,
    /// Whether it goes on now, as seen at a live allocation.
    pub live: bool,
    /// How often.
    pub count: u32,
    /// The first time: seconds since the Unix epoch.
    pub first: u64,
    /// The last time: seconds since the Unix epoch.
    pub last: u64,
    /// The client's address and port the last time.
    pub client: String,
    /// `udp`, `tcp` or `tls`.
    pub transport: String,
    /// What happened and why, for people.
    pub what: String,
    /// What to do about it, for people.
    pub mend: String,
}
