//! The thread itself and its loops.

use std::{
    io,
    sync::{Arc, mpsc as std_mpsc},
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{Channels, THREAD, joint::Joint, look_ups, quotas::RelayQuotas, usage::Book};
use crate::{
    cli::exit::Failure,
    cluster::{Cluster, Settings, SignalEvent, StoreError},
    config::Config,
    runtime::{Ended, NodeHandle},
};

/// How often the relay and the cluster are compared, in case a change got lost between them.
const RECONCILE_PERIOD: Duration = Duration::from_secs(1);

/// Records that may be on their way to the store; it takes four times as many.
const UNSETTLED_MAX: u32 = 16_384;
/// How long to wait when even waiting finds no place.
const SETTLE_PAUSE: Duration = Duration::from_millis(10);

/// The event of an allocation that ended.
const CLOSED: &str = "turn.allocation.closed";

/// What the thread needs once the relay runs.
pub(super) struct Begun {
    pub(super) node: NodeHandle,
    pub(super) joint: Arc<Joint>,
    pub(super) quotas: Arc<RelayQuotas>,
    pub(super) channels: Channels,
    /// Told when questions are answered.
    pub(super) serving: std_mpsc::SyncSender<()>,
}

/// What becomes of opening the store.
type Opened = Result<Cluster, Failure>;

/// Starts the thread, which first opens the store and tells.
///
/// # Errors
/// The system gives no thread.
pub(super) fn spawn(
    config: Config,
    settings: Settings,
    begun: oneshot::Receiver<Begun>,
) -> io::Result<(JoinHandle<()>, std_mpsc::Receiver<Opened>)> {
    let (tell, opened) = std_mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(THREAD.to_owned()).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let error = anyhow::Error::new(error).context("the system refuses an event queue");
                return drop(tell.try_send(Err(error.into())));
            }
        };
        runtime.block_on(run(&config, settings, begun, &tell));
    })?;
    Ok((thread, opened))
}

async fn run(
    config: &Config,
    settings: Settings,
    begun: oneshot::Receiver<Begun>,
    tell: &std_mpsc::SyncSender<Opened>,
) {
    let cluster = match Cluster::open(config, settings) {
        Ok(cluster) => cluster,
        Err(error) => return drop(tell.try_send(Err(Failure::Configuration(error.to_string())))),
    };
    // Exactly one answer is waited for.
    drop(tell.try_send(Ok(cluster.clone())));
    // Without a relay there is nothing to join.
    if let Ok(begun) = begun.await {
        join(&cluster, begun).await;
    }
    if let Err(error) = cluster.close().await {
        tracing::error!("Not everything was kept: {error}");
    }
}

/// Until the relay has ended and everything it told is booked.
async fn join(cluster: &Cluster, begun: Begun) {
    let Begun { node, joint, quotas, channels, serving } = begun;
    let Channels { ended, look_ups } = channels;
    cluster.serve(Arc::clone(&joint) as _, quotas as _);
    // Exactly this is waited for.
    let _told = serving.try_send(());
    tokio::select! {
        ((), ()) = async { tokio::join!(book(cluster, ended), look_ups::answer(&node, cluster, look_ups)) } => {}
        () = reconcile(cluster, &node, &joint) => {}
    }
}

async fn book(cluster: &Cluster, mut ended: mpsc::Receiver<Ended>) {
    let incarnation = cluster.nodes().list.first().map_or(0, |node| node.incarnation);
    let book = Book::new(cluster.id().to_owned(), incarnation);
    let mut unsettled = 0;
    while let Some(ended) = ended.recv().await {
        let record = book.record(ended);
        if cluster.is_told(CLOSED) {
            let event =
                SignalEvent { allocation: Some(Box::new(record.clone())), ..cluster.own_event(CLOSED) };
            // Nobody waits until it is kept.
            tokio::spawn(cluster.record_events(vec![event]));
        }
        cluster.record_usage(record);
        unsettled += 1;
        if unsettled == UNSETTLED_MAX {
            settle(cluster).await;
            unsettled = 0;
        }
    }
}

/// When thousands of allocations end at once, their records wait here and not where they would find no place.
async fn settle(cluster: &Cluster) {
    while let Err(StoreError::Busy) = cluster.usage_kept().await {
        sleep(SETTLE_PAUSE).await;
    }
}

/// Never ends.
async fn reconcile(cluster: &Cluster, node: &NodeHandle, joint: &Joint) {
    let mut changes = cluster.changes();
    let mut ticks = interval(RECONCILE_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = Vec::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                joint.reconcile().await;
                known = count_elsewhere(cluster, node, known);
            }
            Ok(()) = changes.changed() => joint.give_directory(),
        }
    }
}

/// Notes how many allocations other nodes have, for the limit over all of them; answers which nodes there are.
fn count_elsewhere(cluster: &Cluster, node: &NodeHandle, known: Vec<String>) -> Vec<String> {
    let nodes = cluster.nodes();
    let others: Vec<String> = nodes
        .list
        .iter()
        .filter(|other| other.id != cluster.id())
        .map(|other| {
            let allocations = u32::try_from(other.load.allocations).unwrap_or(u32::MAX);
            node.quotas().set_elsewhere_total(&other.id, allocations);
            other.id.clone()
        })
        .collect();
    for gone in known.iter().filter(|gone| !others.contains(gone)) {
        node.quotas().set_elsewhere_total(gone, 0);
    }
    others
}
