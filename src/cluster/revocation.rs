//! Revocations as rows.

use serde::{Deserialize, Serialize};

use super::{NodeId, RequestError};
use crate::credentials::{KeyId, Revocation};

/// The value of a revocation's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredRevocation {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    issued_before: u64,
    expires: u64,
    #[serde(default)]
    cut: bool,
}

impl StoredRevocation {
    pub(super) fn of(revocation: &Revocation) -> Self {
        let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        Self {
            id: revocation.id.to_string(),
            username: text(&revocation.username),
            user: text(&revocation.user),
            label: text(&revocation.label),
            key_id: revocation.key_id.as_ref().map(ToString::to_string),
            issued_before: revocation.issued_before,
            expires: revocation.expires,
            cut: revocation.cut,
        }
    }

    /// `None` if its key id is none: it could hit nothing.
    pub(super) fn into_core(self) -> Option<Revocation> {
        let key_id = self.key_id.map(|id| KeyId::new(&id)).transpose().ok()?;
        Some(Revocation {
            id: self.id.into(),
            username: self.username.map(Into::into),
            user: self.user.map(Into::into),
            label: self.label.map(Into::into),
            key_id,
            issued_before: self.issued_before,
            expires: self.expires,
            cut: self.cut,
        })
    }
}

/// What a revocation led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Live allocations that were ended, on all nodes that answered.
    pub cut: u64,
    /// What each node did, this one first. A node that did not answer takes the revocation over when it is back.
    pub nodes: Vec<(NodeId, Result<u64, RequestError>)>,
}
