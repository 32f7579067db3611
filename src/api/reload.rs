//! Reading the configuration again: what the API asks of whoever owns the process, and what it is told.

use std::time::Duration;

use serde::Serialize;
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::timeout,
};
use utoipa::ToSchema;

use super::{
    Service,
    problem::{CONFIGURATION_INVALID, INTERNAL, NOT_READY, Problem},
};
use crate::config::KeyChange;

/// Orders that may wait; each takes milliseconds.
const WAITING_MAX: usize = 16;
/// Files are read, and shards answer within a second.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Reading the configuration again, as somebody asks for it.
#[derive(Debug)]
pub struct ReloadOrder {
    /// Say what would change, and change nothing.
    pub dry_run: bool,
    /// Who asks, for the log.
    pub caller: Box<str>,
    /// Told what became of it.
    pub answer: oneshot::Sender<Result<ReloadReport, Vec<ReloadFault>>>,
}

/// What changed, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReloadReport {
    /// Whether nothing was changed because only that was asked for.
    pub dry_run: bool,
    /// The keys that say something else than before, by where they stand in the file.
    pub changes: Vec<ChangeView>,
    /// What works but should be changed.
    pub warnings: Vec<String>,
}

/// A key that says something else than before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeView {
    /// `section.name`.
    pub key: &'static str,
    /// Before, as TOML writes it; null if it was not set, or is not shown.
    pub from: Option<String>,
    /// Now; null if it is not set. `(changed)` stands for secrets and the contents of files.
    pub to: Option<String>,
    /// Whether it takes effect only after a restart.
    pub needs_restart: bool,
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadFault {
    /// The key; empty where the text names it, or where a file as a whole is meant.
    pub key: String,
    /// What is wrong, where, and what to write instead.
    pub text: String,
}

impl From<KeyChange> for ChangeView {
    fn from(change: KeyChange) -> Self {
        let KeyChange { key, from, to, needs_restart } = change;
        Self { key, from, to, needs_restart }
    }
}

impl Service {
    /// What callers ask for from now on. Once; until then, and when this is dropped, they are refused.
    #[must_use]
    pub fn reload_orders(&self) -> mpsc::Receiver<ReloadOrder> {
        let (orders, receiver) = mpsc::channel(WAITING_MAX);
        let _is_first = self.reloads.set(orders);
        receiver
    }

    pub(super) async fn order_reload(&self, caller: &str, dry_run: bool) -> Result<ReloadReport, Problem> {
        let ending = || NOT_READY.with("The process ends.");
        let orders = self.reloads.get().ok_or_else(ending)?;
        let (answer, answered) = oneshot::channel();
        let order = ReloadOrder { dry_run, caller: caller.into(), answer };
        orders.try_send(order).map_err(|error| match error {
            TrySendError::Full(_) => NOT_READY.with("Too many have asked for it and wait."),
            TrySendError::Closed(_) => ending(),
        })?;
        match timeout(TIME_MAX, answered).await {
            Ok(Ok(Ok(report))) => Ok(report),
            Ok(Ok(Err(faults))) => Err(CONFIGURATION_INVALID
                .problem()
                .because(faults.into_iter().map(|fault| fault.text).collect())),
            Ok(Err(_)) => Err(ending()),
            Err(_) => Err(INTERNAL.with("The configuration is still being read.")),
        }
    }
}
