//! A node that serves: signals, reload, drain.

use std::time::Duration;

use anyhow::anyhow;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    control::Control, exit::Failure, fault::Fault, notify::Notifier, serve::log_options, trial::Trial,
};
use crate::{
    api::Service,
    config::{self, Loaded, Sources},
    runtime::NodeHandle,
    telemetry::LogHandle,
};

/// What a signal may act on.
pub(super) struct Serving<'a> {
    pub(super) sources: &'a Sources,
    pub(super) loaded: Loaded,
    /// What a node has that was given nothing else.
    pub(super) trial: Option<Trial>,
    pub(super) node: NodeHandle,
    pub(super) control: Control,
    pub(super) service: Service,
    pub(super) log: LogHandle,
    pub(super) notifier: Notifier,
}

impl Serving<'_> {
    /// Without one of its threads a node answers some and not others: it ends, to be started again.
    pub(super) async fn until_told_to_end(
        &mut self,
        signals: &mut Signals,
        fault: &Fault,
    ) -> Result<(), Failure> {
        let node = self.node.clone();
        let shard_ended = node.shard_ended();
        tokio::pin!(shard_ended);
        loop {
            tokio::select! {
                () = &mut shard_ended => {
                    return Err(anyhow!("a relay thread ended; the log says why, and a restart mends it").into());
                }
                thread = fault.happened() => return Err(panicked(thread)),
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                _ = signals.hang_up.recv() => {
                    self.notifier.reloading();
                    let is_taken_over = self.reload().await;
                    self.notifier.reloaded(is_taken_over);
                }
            }
        }
        self.notifier.stopping();
        self.node.drain();
        self.control.announce();
        let time_max = self.loaded.config.runtime.drain_timeout;
        self.service.drain_signaling(time_max);
        tokio::select! {
            () = drain(&self.node, &self.service, time_max, signals) => Ok(()),
            thread = fault.happened() => Err(panicked(thread)),
        }
    }

    /// Takes over what can change while calls run. A configuration with errors leaves everything as it was. Answers
    /// whether it was taken over.
    async fn reload(&mut self) -> bool {
        let mut fresh = match config::load(self.sources) {
            Ok(fresh) => fresh,
            Err(error) => {
                for problem in &error.problems {
                    tracing::error!(key = problem.key, "Not reloaded: {problem}");
                }
                return false;
            }
        };
        for warning in &fresh.warnings {
            tracing::warn!(key = warning.key, "{warning}");
        }
        if let Some(trial) = &self.trial {
            trial.add_to(&mut fresh);
        }
        if let Err(error) = self.log.change(&log_options(&fresh.config)) {
            tracing::error!(%error, "The log filter is unchanged.");
        }
        self.reload_certificate();
        if let Err(error) = self.control.reload(&self.node, &fresh.config).await {
            tracing::error!("Not reloaded: {error}");
            return false;
        }
        self.service.reload(&fresh.config);
        for path in self.loaded.restart_needed(&fresh) {
            tracing::warn!(key = path, "Changed, but takes effect only after a restart.");
        }
        tracing::info!("Reloaded.");
        true
    }

    /// The files are those named at the start.
    fn reload_certificate(&self) {
        if self.loaded.config.tls.certificate.is_none() {
            return;
        }
        match self.node.reload_certificates() {
            Ok(()) => tracing::info!("The certificate was read again."),
            Err(error) => tracing::error!(%error, "The certificate in use stays."),
        }
    }
}

fn panicked(thread: &str) -> Failure {
    anyhow!("the thread {thread} panicked; standard error says why, and a restart mends it").into()
}

/// Refuses new allocations and waits for those that are up, but not for ever and not past a second signal.
async fn drain(node: &NodeHandle, service: &Service, time_max: Duration, signals: &mut Signals) {
    let (allocations, sockets) = (node.allocations().await, service.signaling_sockets());
    if (allocations == 0 && sockets == 0) || time_max.is_zero() {
        return;
    }
    tracing::info!(
        allocations,
        sockets,
        seconds_max = time_max.as_secs(),
        "Draining: new allocations are refused, clients are sent elsewhere. A second signal ends at once."
    );
    let all = async { tokio::join!(node.drained(time_max), service.signaling_drained(time_max)) };
    tokio::select! {
        () = signals.end() => tracing::info!("Ending at once."),
        (allocations, sockets) = all => {
            if allocations > 0 || sockets > 0 {
                tracing::info!(allocations, sockets, "The time to drain is over.");
            }
        }
    }
}

/// The signals that are listened to.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one of those that end the process.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
