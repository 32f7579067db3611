//! The native endpoints.

pub(crate) mod answers;
pub(crate) mod credentials;
pub(crate) mod fields;
pub(crate) mod ice_servers;
pub(crate) mod issue;
pub(crate) mod revocations;
