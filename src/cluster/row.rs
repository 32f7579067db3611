//! Rows: what is shared and kept, last writer wins.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The tables there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// Secrets of time-limited credentials; at most 16.
    Secrets,
    /// Keys of callers of the API, hashed; at most 1000.
    ApiKeys,
    /// Revocations until the last credential they hit has expired; at most 100 000.
    Revocations,
    /// Tokens that begin no session of the signaling relay any more; at most 100 000.
    SessionRevocations,
}

/// Orders the writes of a row: the later wall clock wins, then the greater node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Milliseconds since the Unix epoch, at least one more than those of the version it replaces.
    pub millis: u64,
    /// The node that wrote it.
    pub node: String,
}

/// One row. Its value may hold a secret and is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Where it belongs.
    pub table: Table,
    /// Its name within the table.
    pub id: String,
    /// Which write it is.
    pub version: Version,
    /// JSON of the table's type; `None` says that it was removed.
    pub value: Option<String>,
    /// Seconds since the Unix epoch after which nobody needs it; `None` for rows that live until they are removed.
    pub expires: Option<u64>,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row")
            .field("table", &self.table)
            .field("id", &self.id)
            .field("version", &self.version)
            .field("is_removed", &self.value.is_none())
            .field("expires", &self.expires)
            .finish()
    }
}
