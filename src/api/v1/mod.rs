//! The native endpoints.

pub(crate) mod allocations;
pub(crate) mod answers;
pub(crate) mod api_keys;
pub(crate) mod calls;
pub(crate) mod credentials;
pub(crate) mod doctor;
pub(crate) mod drain;
pub(crate) mod explain;
pub(crate) mod fields;
pub(crate) mod ice_servers;
pub(crate) mod issue;
pub(crate) mod nodes;
pub(crate) mod quality;
pub(crate) mod reload;
pub(crate) mod revocations;
pub(crate) mod rooms;
pub(crate) mod secrets;
pub(crate) mod sessions;
pub(crate) mod signal;
pub(crate) mod usage;
