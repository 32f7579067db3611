//! The control thread: joins the relay to what nodes share and keep.
//!
//! It hands the relay changed secrets, users and revocations, answers what the API and other nodes ask, books ended
//! allocations and looks up users of a shared database. All of it waits on files and networks, and none of it is on
//! the path of a packet: if it stands still, calls go on.

mod identity;
mod joint;
mod load;
mod look_ups;
mod quotas;
mod thread;
mod usage;

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use anyhow::{Context as _, anyhow};
use tokio::sync::{mpsc, oneshot};

use self::{joint::Joint, load::Capacity, quotas::RelayQuotas, thread::Begun};
use super::{exit::Failure, has_redis};
use crate::{
    api::Service,
    cluster::{Cluster, OpenError, Settings},
    config::Config,
    credentials::{Directory, Revocations},
    runtime::{Ended, LookUp, NodeHandle, Start},
    turn::NonceKey,
};

/// Its name, as debuggers and panics show it.
pub(super) const THREAD: &str = "iceway-control";
/// Ended allocations that wait to be booked: as many as a full node has, so that its end loses none.
const ENDED_MAX: usize = 1 << 18;
/// Look-ups that wait to be begun: as many as 16 shards have outstanding.
const LOOK_UPS_MAX: usize = 4096;
/// How long the end of the process waits for the last records and for other nodes to be told: longer than the cluster
/// needs at worst.
const END_TIME_MAX: Duration = Duration::from_secs(30);

/// The control thread, while it runs.
pub(super) struct Control {
    cluster: Cluster,
    begin: Option<oneshot::Sender<Begun>>,
    channels: Option<Channels>,
    joint: Option<Arc<Joint>>,
    thread: JoinHandle<()>,
}

/// What shards tell and ask.
struct Channels {
    ended: mpsc::Receiver<Ended>,
    look_ups: mpsc::Receiver<LookUp>,
}

/// What the relay was started with.
pub(super) struct Started {
    directory: Arc<Directory>,
    revocations: Arc<Revocations>,
}

impl Control {
    /// Starts the thread and opens the store within it.
    ///
    /// # Errors
    /// The store or the address of Redis cannot be used, or the system gives no thread.
    pub(super) fn open(config: &Config, settings: Settings) -> Result<Self, Failure> {
        let (begin, begun) = oneshot::channel();
        let (thread, opened) = thread::spawn(config.clone(), settings, begun)
            .with_context(|| format!("the system refuses the thread {THREAD}"))?;
        match opened.recv() {
            Ok(Ok(cluster)) => Ok(Self { cluster, begin: Some(begin), channels: None, joint: None, thread }),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(anyhow!("the thread {THREAD} ended at once; the log says why").into()),
        }
    }

    /// What nodes share.
    pub(super) const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What the relay is to be started with.
    pub(super) fn start(&mut self) -> (Start, Started) {
        let (ended_sender, ended) = mpsc::channel(ENDED_MAX);
        let (look_ups_sender, look_ups) = mpsc::channel(LOOK_UPS_MAX);
        self.channels = Some(Channels { ended, look_ups });
        let started =
            Started { directory: self.cluster.directory(), revocations: self.cluster.revocations() };
        let start = Start {
            directory: Arc::clone(&started.directory),
            revocations: Arc::clone(&started.revocations),
            nonce_key: NonceKey::new(&self.cluster.derive_key("nonce")),
            ended: Some(ended_sender),
            look_ups: Some(look_ups_sender),
        };
        (start, started)
    }

    /// Joins the relay to the cluster: when this returns, questions are answered, and other nodes hear of this one.
    pub(super) fn begin(&mut self, node: &NodeHandle, config: &Config, started: &Started) {
        let joint = Joint::new(node.clone(), self.cluster.clone(), started, Capacity::of(config));
        let joint = Arc::new(joint);
        let (Some(begin), Some(channels)) = (self.begin.take(), self.channels.take()) else { return };
        let (serving, is_serving) = std::sync::mpsc::sync_channel(1);
        let begun = Begun {
            node: node.clone(),
            joint: Arc::clone(&joint),
            quotas: Arc::new(RelayQuotas::new(node.clone(), has_redis(config))),
            channels,
            serving,
        };
        // A thread that has ended is noticed by whoever watches it.
        drop(begin.send(begun));
        let _served = is_serving.recv();
        self.joint = Some(joint);
    }

    /// From now on other nodes can have sessions of this one end.
    pub(super) fn connect(&self, service: &Service) {
        if let Some(joint) = &self.joint {
            joint.connect(service);
        }
    }

    /// Takes over what can change while the process runs, and hands the relay its users and secrets with the rest.
    pub(super) async fn reload(&self, node: &NodeHandle, config: &Config) -> Result<(), OpenError> {
        self.cluster.reload(config)?;
        let directory = self.cluster.directory();
        if let Some(joint) = &self.joint {
            joint.set_capacity(Capacity::of(config));
            joint.directory_given(Arc::clone(&directory));
        }
        node.reload(config, directory).await;
        Ok(())
    }

    /// Waits until the last records are kept and the other nodes know that this one has ended, but not for ever. The
    /// shards must have ended, or never begun.
    pub(super) fn end(self) {
        let Self { cluster, begin, channels, joint, thread } = self;
        drop((begin, channels, joint, cluster));
        let deadline = std::time::Instant::now() + END_TIME_MAX;
        while !thread.is_finished() && std::time::Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        if !thread.is_finished() {
            tracing::warn!(
                thread = THREAD,
                "Did not end in time; usage records that were not kept are lost."
            );
            return;
        }
        if thread.join().is_err() {
            tracing::error!(thread = THREAD, "Ended in a panic.");
        }
    }
}
