//! What nodes share, and what must outlive a restart.
//!
//! Every node keeps its own copy of all rows (secrets, API keys, revocations) in memory and in one file. With Redis the
//! nodes exchange rows, find one another and ask one another things; Redis is never the only copy of anything and never
//! on the path of a packet. Without it a node is a cluster of one.

mod access;
mod allocation;
mod node;
mod peers;
mod request;
mod row;
mod usage;

pub use access::{ApiKey, ApiKeyId, Scope, Scopes};
pub use allocation::{AllocationPage, AllocationQuery, AllocationRecord};
pub use node::{NodeId, NodeInfo, NodeLoad, NodeState, Nodes};
pub use peers::{Health, LimitAnswer, Peers, QuotaTable, Rate, Remembered};
pub use request::{Answer, Ask, Handler, Request, RequestError};
pub use row::{Row, Table, Version};
pub use usage::{UsageRecord, UsageTotals};
