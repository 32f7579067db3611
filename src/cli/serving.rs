//! A node that serves: signals, reload, drain.

use std::time::Duration;

use anyhow::anyhow;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use super::{
    control::Control, doctor::Examination, drain::DrainWatch, exit::Failure, fault::Fault, notify::Notifier,
    trial::Trial,
};
use crate::{
    api::{DoctorOrder, ReloadOrder, Service},
    config::{Loaded, Sources},
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
        let mut orders = self.service.reload_orders();
        let mut examinations = self.service.doctor_orders();
        let (mut watch, mut ticks) = (DrainWatch::new(), interval(DrainWatch::PERIOD));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut shard_ended => {
                    return Err(anyhow!("a relay thread ended; the log says why, and a restart mends it").into());
                }
                thread = fault.happened() => return Err(panicked(thread)),
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                _ = signals.hang_up.recv() => drop(self.reload_and_log(false).await),
                Some(order) = orders.recv() => self.obey(order).await,
                Some(order) = examinations.recv() => self.examine(order),
                _ = signals.user_one.recv() => self.drain_as_signalled(),
                _ = ticks.tick() => watch.look(&self.service).await,
            }
        }
        drop((orders, examinations));
        self.notifier.stopping();
        self.service.begin_final_drain();
        let time_max = self.loaded.config.runtime.drain_timeout;
        let drained = async {
            tokio::select! {
                () = drain(&self.node, &self.service, time_max, signals) => {}
                () = watch.keep_looking(&self.service) => {}
            }
        };
        tokio::select! {
            () = drained => Ok(()),
            thread = fault.happened() => Err(panicked(thread)),
        }
    }

    fn drain_as_signalled(&self) {
        if self.service.begin_drain() {
            tracing::info!(
                "Draining, as signalled: new allocations are made on other nodes; what is up goes on."
            );
        }
    }

    /// Looks at this node as somebody asks for it.
    fn examine(&self, order: DoctorOrder) {
        let examination = Examination {
            loaded: self.loaded.clone(),
            fresh: self.read_again(),
            service: self.service.clone(),
        };
        examination.answer(order);
    }

    /// Reads the configuration again as somebody asks for it.
    async fn obey(&mut self, order: ReloadOrder) {
        let ReloadOrder { dry_run, caller, answer } = order;
        if !dry_run {
            tracing::info!(caller = &*caller, "Reading the configuration again, as asked through the API.");
        }
        // Whoever asked may have gone.
        let _gone = answer.send(self.reload_and_log(dry_run).await);
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
        "Draining before the end: clients are sent elsewhere, what is up goes on. A second signal ends at once."
    );
    let all = async { tokio::join!(node.drained(time_max), service.signaling_drained(time_max)) };
    tokio::select! {
        () = signals.end() => tracing::info!("Ending at once."),
        (allocations, sockets) = all => {
            if allocations > 0 || sockets > 0 {
                service.count_late_drain();
                tracing::warn!(
                    allocations,
                    sockets,
                    "The time to drain (runtime.drain_timeout) is over: what is left ends with the server."
                );
            }
        }
    }
}

/// The signals that are listened to.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    user_one: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            user_one: signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for one of those that end the process.
    pub(super) async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
