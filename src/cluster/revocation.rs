//! Revocations as rows.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{NodeId, RequestError, Table, Tables, Version};
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

/// The revocations of the rows, each read once: there may be a hundred thousand, and they change one by one.
#[derive(Debug, Default)]
pub(super) struct ReadRevocations {
    known: HashMap<String, (Version, Option<Revocation>)>,
}

impl ReadRevocations {
    /// Those that are not over at `now`. What can't be read, a later version has written; it is left out and said once.
    pub(super) fn of(&mut self, tables: &Tables, now: u64) -> Vec<Revocation> {
        let mut count = 0;
        for row in tables.live(Table::Revocations, now) {
            count += 1;
            if self.known.get(&row.id).is_some_and(|(version, _)| *version == row.version) {
                continue;
            }
            let read = serde_json::from_str::<StoredRevocation>(row.value.as_deref().unwrap_or_default());
            let revocation = read.ok().and_then(StoredRevocation::into_core);
            if revocation.is_none() {
                tracing::warn!(id = row.id, "A revocation cannot be read and does not count.");
            }
            self.known.insert(row.id.clone(), (row.version.clone(), revocation));
        }
        if self.known.len() > count {
            let is_live = |id: &str| {
                let row = tables.get(Table::Revocations, id);
                row.is_some_and(|row| row.value.is_some() && !row.is_over(now))
            };
            self.known.retain(|id, _| is_live(id));
        }
        self.known.values().filter_map(|(_, revocation)| revocation.clone()).collect()
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
