//! Usage as callers see it.

use super::{Cluster, Health, StoreError, UsageError, UsagePage, UsageQuery, UsageRecord, UsageTotals};

/// The most records of a page.
pub const USAGE_PAGE_MAX: u32 = 1000;

impl Cluster {
    /// Keeps the record of an ended allocation until somebody has taken it. It is in the file within 100 ms and the
    /// time of one commit; what the process is killed before is lost.
    pub fn record_usage(&self, record: UsageRecord) {
        self.inner.state.store.record_usage(record);
    }

    /// Waits until every record so far is kept. Whoever records many waits now and then, or some find no place.
    ///
    /// # Errors
    /// [`StoreError`]: not all of them are.
    pub async fn usage_kept(&self) -> Result<(), StoreError> {
        self.inner.state.store.flush().await
    }

    /// At most `limit` (1 to 1000) records after a cursor, the oldest first; `None` begins with the oldest. With Redis
    /// they are those of all nodes, else those of this one. Records stay until they are
    /// [acknowledged](Self::acknowledge_usage).
    ///
    /// # Errors
    /// [`UsageError`].
    pub async fn usage_records(&self, after: Option<&str>, limit: u32) -> Result<UsagePage, UsageError> {
        let limit = limit.clamp(1, USAGE_PAGE_MAX);
        if self.inner.peers.health() != Health::Alone {
            return self.inner.peers.usage_records(after.map(str::to_owned), limit).await;
        }
        let after = after.map(place).transpose()?.unwrap_or(0);
        Ok(self.inner.state.store.usage_records(after, limit as usize).await?)
    }

    /// Removes the records up to and including the one with this cursor, and answers how many.
    ///
    /// # Errors
    /// [`UsageError`].
    pub async fn acknowledge_usage(&self, up_to: &str) -> Result<u64, UsageError> {
        if self.inner.peers.health() != Health::Alone {
            return self.inner.peers.acknowledge_usage(up_to.to_owned()).await;
        }
        Ok(self.inner.state.store.acknowledge_usage(place(up_to)?).await?)
    }

    /// The sum of some days, whether or not the records were taken. With Redis that of all nodes.
    ///
    /// # Errors
    /// [`UsageError`].
    pub async fn usage_totals(&self, query: UsageQuery) -> Result<UsageTotals, UsageError> {
        if self.inner.peers.health() != Health::Alone {
            return Ok(self.inner.peers.usage_totals(query).await?);
        }
        Ok(self.inner.state.store.usage_totals(query).await?)
    }
}

/// The place in this node's own order that a cursor names.
fn place(cursor: &str) -> Result<u64, UsageError> {
    let is_place = cursor.len() == 16 && cursor.bytes().all(|b| b.is_ascii_hexdigit());
    let place = is_place.then(|| u64::from_str_radix(cursor, 16).ok()).flatten();
    place.ok_or_else(|| UsageError::Cursor(cursor.chars().take(64).collect()))
}
