//! A relay that only notes what it is told.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use futures_util::future::{BoxFuture, FutureExt as _};
use iceway::cluster::{
    AllocationPage, Answer, Ask, DrainProgress, Handler, NodeLoad, NodeState, QuotaTable, Row, UsageRecord,
    UserReport,
};

/// Answers what a test tells it to.
#[derive(Default)]
pub(crate) struct FakeRelay {
    /// How many allocations the next change of revocations ends.
    pub(crate) cut: AtomicU64,
    /// Rows that changed something, in the order they came.
    pub(crate) applied: Mutex<Vec<Row>>,
    pub(crate) is_draining: AtomicBool,
    /// What users hold here, and what changed since it was last asked.
    pub(crate) held: Mutex<HashMap<String, u32>>,
    changed: Mutex<HashMap<String, u32>>,
    /// What is told about other nodes.
    pub(crate) elsewhere: Mutex<HashMap<(String, String), u32>>,
    pub(crate) forgotten: Mutex<Vec<String>>,
    pub(crate) share: AtomicU32,
}

impl FakeRelay {
    /// A user holds so many allocations now.
    pub(crate) fn hold(&self, user: &str, count: u32) {
        self.held.lock().unwrap().insert(user.to_owned(), count);
        self.changed.lock().unwrap().insert(user.to_owned(), count);
    }

    pub(crate) fn elsewhere(&self, node: &str, user: &str) -> u32 {
        let elsewhere = self.elsewhere.lock().unwrap();
        elsewhere.get(&(node.to_owned(), user.to_owned())).copied().unwrap_or_default()
    }
}

impl Handler for FakeRelay {
    fn handle(&self, ask: Ask) -> BoxFuture<'_, Answer> {
        async move {
            match ask {
                Ask::Apply(rows) => {
                    self.applied.lock().unwrap().extend(rows);
                    Answer::Cut(self.cut.swap(0, Ordering::SeqCst))
                }
                Ask::Allocations(_) => Answer::Allocations(AllocationPage::default()),
                Ask::Close { allocation } => Answer::Closed(allocation == "known"),
                Ask::Drain => {
                    self.is_draining.store(true, Ordering::SeqCst);
                    Answer::Draining(3)
                }
                Ask::StopDrain | Ask::DrainProgress => Answer::DrainProgress(DrainProgress::NOTHING),
                Ask::SecretsInUse => Answer::SecretsInUse(vec![("configured".to_owned(), 2)]),
                Ask::EndSessions(_) | Ask::ForgetDecisions(_) => Answer::Ended(0),
                Ask::Explain { .. } => Answer::Explained(UserReport::default()),
                Ask::Quality => Answer::Quality(None),
            }
        }
        .boxed()
    }

    fn load(&self) -> BoxFuture<'_, (NodeState, NodeLoad)> {
        async move {
            let is_draining = self.is_draining.load(Ordering::SeqCst);
            let state = if is_draining { NodeState::Draining } else { NodeState::Serving };
            (state, NodeLoad { allocations: 7, ..NodeLoad::default() })
        }
        .boxed()
    }
}

impl QuotaTable for FakeRelay {
    fn take_changes(&self) -> Vec<(Arc<str>, u32)> {
        self.changed.lock().unwrap().drain().map(|(user, count)| (user.into(), count)).collect()
    }

    fn all(&self) -> Vec<(Arc<str>, u32)> {
        let held = self.held.lock().unwrap();
        held.iter()
            .filter(|(_, count)| **count > 0)
            .map(|(user, count)| (user.as_str().into(), *count))
            .collect()
    }

    fn set_elsewhere(&self, node: &str, user: &str, count: u32) {
        self.elsewhere.lock().unwrap().insert((node.to_owned(), user.to_owned()), count);
    }

    fn forget_node(&self, node: &str) {
        self.elsewhere.lock().unwrap().retain(|(of, _), _| of != node);
        self.forgotten.lock().unwrap().push(node.to_owned());
    }

    fn set_share(&self, divisor: u32) {
        self.share.store(divisor, Ordering::SeqCst);
    }
}

/// The record of an ended allocation.
pub(crate) fn record(id: &str, node: &str, user: &str, ended: u64) -> UsageRecord {
    UsageRecord {
        id: id.to_owned(),
        node: node.to_owned(),
        user: user.to_owned(),
        label: Some("call:1".to_owned()),
        key_id: Some("configured".to_owned()),
        transport: "udp".to_owned(),
        started: ended - 10,
        ended,
        seconds: 10,
        sent_bytes: 1000,
        received_bytes: 500,
        sent_datagrams: 10,
        received_datagrams: 5,
        reason: "expired".to_owned(),
    }
}
