//! What outlives a restart.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::{Row, UsageOf, UsagePage, UsageQuery, UsageRecord, UsageTotals, clock::unix_millis};

/// Why something could not be kept or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file system refuses.
    #[error("{} cannot be written: {problem}; free space or mend the file system, it is tried again", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What it says.
        problem: String,
    },
    /// More waits to be written than may wait.
    #[error("more waits to be written than can wait; the file system is too slow")]
    Busy,
    /// There are as many rows as there can be.
    #[error("there are {0} already, and none is over")]
    Full(usize),
    /// The node ends.
    #[error("this node ends")]
    Closed,
}

#[derive(Debug)]
pub(super) struct Store {
    usage: Mutex<(u64, BTreeMap<u64, UsageRecord>)>,
}

impl Store {
    pub(super) fn open(_: Option<&Path>) -> Self {
        Self { usage: Mutex::new((unix_millis() << 20, BTreeMap::new())) }
    }

    pub(super) async fn write_rows(&self, _: Vec<Row>) -> Result<(), StoreError> {
        Ok(())
    }

    pub(super) fn record_usage(&self, record: UsageRecord) {
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        usage.0 += 1;
        let place = usage.0;
        usage.1.insert(place, record);
    }

    pub(super) async fn usage_records(&self, after: u64, limit: usize) -> Result<UsagePage, StoreError> {
        let usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rest = usage.1.range(after.saturating_add(1)..);
        let records = rest
            .by_ref()
            .take(limit)
            .map(|(place, record)| (format!("{place:016x}"), record.clone()))
            .collect();
        Ok(UsagePage { records, has_more: rest.next().is_some() })
    }

    pub(super) async fn acknowledge_usage(&self, up_to: u64) -> Result<u64, StoreError> {
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        let before = usage.1.len();
        usage.1.retain(|place, _| *place > up_to);
        Ok((before - usage.1.len()) as u64)
    }

    pub(super) async fn usage_totals(&self, query: UsageQuery) -> Result<UsageTotals, StoreError> {
        let usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        let mut totals = UsageTotals::default();
        for record in usage.1.values() {
            let is_meant = match &query.of {
                UsageOf::Everybody => true,
                UsageOf::User(user) => record.user == *user,
                UsageOf::Label(label) => record.label.as_ref() == Some(label),
            };
            if is_meant && (query.from_day..=query.to_day).contains(&record.day()) {
                totals.add(record);
            }
        }
        Ok(totals)
    }

    pub(super) fn usage_pending(&self) -> u64 {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner).1.len() as u64
    }
}
