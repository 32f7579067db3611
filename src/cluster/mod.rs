//! What nodes share, and what must outlive a restart.
//!
//! Every node keeps its own copy of all rows (secrets, API keys, revocations) in memory and in one file. With Redis the
//! nodes exchange rows, find one another and ask one another things; Redis is never the only copy of anything and never
//! on the path of a packet. Without it a node is a cluster of one.

mod access;
mod allocation;
mod alone;
mod api_keys;
mod change;
mod clock;
mod derive;
mod explanation;
mod handle;
mod keys_file;
mod last_uses;
mod limits;
mod memory;
mod node;
mod outbox;
mod peers;
mod quality;
mod redis;
mod request;
mod revocation;
mod row;
mod secrets;
mod session_revocation;
mod signal;
mod state;
mod store;
mod tables;
mod upkeep;
mod usage;
mod usage_access;

pub use access::{ApiKey, ApiKeyId, Scope, Scopes};
pub use allocation::{AllocationPage, AllocationQuery, AllocationRecord, DroppedRecord};
pub use api_keys::{
    API_KEY_NAME_CHARS_MAX, API_KEY_NETWORKS_MAX, API_KEY_PREFIX, ApiKeyRefusal, ApiKeys, ApiKeysError,
    NewApiKey, api_key_id, generate as generate_api_key, sha256,
};
pub use derive::derive_key;
pub use explanation::{IncidentRecord, UserReport};
pub use handle::{Cluster, ClusterCounters, OpenError, Settings};
pub use keys_file::{KeysFileError, keys_file_line, read_keys_file};
pub use node::{
    DrainProgress, NodeAddress, NodeId, NodeInfo, NodeLoad, NodePlace, NodePublic, NodeState, Nodes,
};
pub use outbox::{
    CallHistory, CallPage, CallStepView, CallView, CredentialView, EVENT_TYPES, EventFigures, EventNews,
    EventPeers, KeptEvent, OUTCOMES, OutboxError, PartyView, PendingEvent, Place, RevocationView,
    SignalEvent,
};
use outbox::{OutboxBounds, PARTITIONS, STEPS_MAX, put_step};
pub use peers::{Health, Host, LimitAnswer, PeerCounters, Peers, QuotaTable, Rate, Remembered};
pub use quality::{HeardRecord, LabelQuality, QualityRecord};
pub use redis::{
    ACL_RULE, ACL_RULE_CLUSTER, ACL_RULE_CLUSTER_6_2, ACL_RULE_CLUSTER_7_0, ACL_RULE_COTURN,
    ACL_RULE_COTURN_6_2, InspectError, RedisInspection, inspect_redis, redis_mend,
};
pub use request::{Answer, Ask, Handler, Request, RequestError};
pub use revocation::Revoked;
pub use row::{Row, Table, Version};
pub use secrets::{
    Rotation, SECRET_BYTES_MAX, SECRET_BYTES_MIN, SecretInfo, SecretSource, SecretState, SecretsError,
    read_secrets,
};
pub use session_revocation::{EndSessions, RevokedTokens, SessionRevocation};
pub use signal::SignalHandler;
pub use state::Changes;
pub use store::StoreError;
pub use tables::{
    API_KEYS_MAX, REVOCATIONS_MAX, ROW_ID_BYTES_MAX, ROW_VALUE_BYTES_MAX, SECRETS_MAX,
    SESSION_REVOCATIONS_MAX, TOMBSTONE_SECONDS, Tables,
};
pub use usage::{UsageError, UsageOf, UsagePage, UsageQuery, UsageRecord, UsageTotals};
pub use usage_access::USAGE_PAGE_MAX;
