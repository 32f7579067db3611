//! Reaching a running node from other threads.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc::UnboundedSender, oneshot},
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{
    counters::RuntimeCounters,
    reload::{Fixed, Rules},
    tls::{CertificateStatus, TlsError, TlsStore},
};
use crate::{
    config::Config,
    credentials::Directory,
    turn::{Counters, LookUpId, Quotas, Shared, UserKey},
};

/// How long a shard may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How often the number of allocations is asked for while waiting for them to end.
const DRAIN_POLL: Duration = Duration::from_millis(200);

/// What a shard is told between two batches.
#[derive(Debug)]
pub(super) enum Command {
    /// Answer with all counters.
    Snapshot(oneshot::Sender<ShardSnapshot>),
    /// Take over new options, users and rules.
    Reload(Rules),
    /// Take over new users and secrets.
    SetDirectory(Arc<Directory>),
    /// Go on with a request that waited for a user's key.
    Found(LookUpId, Option<UserKey>),
    /// Refuse new allocations.
    Drain,
    /// Close everything and end.
    Shutdown,
}

/// Reaches a running node from any thread.
#[derive(Clone, Debug)]
pub struct NodeHandle {
    shared: Arc<HandleShared>,
}

/// What all handles of a node share.
#[derive(Debug)]
pub(super) struct HandleShared {
    shards: Vec<UnboundedSender<Command>>,
    tls: Option<Arc<TlsStore>>,
    draining: AtomicBool,
    fixed: Fixed,
    core: Arc<Shared>,
}

impl HandleShared {
    /// A handle to the shards behind these channels.
    pub(super) const fn new(
        shards: Vec<UnboundedSender<Command>>,
        tls: Option<Arc<TlsStore>>,
        fixed: Fixed,
        core: Arc<Shared>,
    ) -> Self {
        Self { shards, tls, draining: AtomicBool::new(false), fixed, core }
    }

    fn relay_ports(&self) -> Vec<RelayPorts> {
        let ports = &self.core.ports;
        ports
            .addresses()
            .map(|ip| RelayPorts { ip, in_use: ports.in_use(ip), free: ports.free(ip) })
            .collect()
    }
}

impl NodeHandle {
    pub(super) fn new(shared: HandleShared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// The counters of every shard, without touching the path of a packet. Takes at most a second: a shard that does
    /// not answer in time is `None`. Needs a tokio runtime with time.
    pub async fn snapshot(&self) -> Snapshot {
        Snapshot {
            shards: self.ask_all(Command::Snapshot).await,
            relay_ports: self.shared.relay_ports(),
            certificate: self.shared.tls.as_ref().map(|tls| tls.status()),
        }
    }

    /// Takes over peer policy, limits, lifetimes and bandwidth of `config`, and the users and secrets of `directory`;
    /// what was bound at the start stays. Live allocations are judged by the new rules at once. Answers when every
    /// shard has done so, or after a second.
    pub async fn reload(&self, config: &Config, directory: Arc<Directory>) {
        let rules = self.shared.fixed.rules(config, directory);
        self.tell_all(|| Command::Reload(rules.clone()));
        // Shards obey in order: whoever answers this has taken over.
        self.snapshot().await;
    }

    /// Takes over users and secrets. Allocations made with one that is no longer there go on until they need it.
    pub fn set_directory(&self, directory: &Arc<Directory>) {
        self.tell_all(|| Command::SetDirectory(Arc::clone(directory)));
    }

    /// The answer to a [`LookUp`](super::LookUp): the user's key, or `None` if there is no such user. One that comes
    /// too late is ignored.
    pub fn found(&self, shard: usize, id: LookUpId, key: Option<UserKey>) {
        if let Some(shard) = self.shared.shards.get(shard) {
            // A shard that has ended waits for nothing.
            let _ended = shard.send(Command::Found(id, key));
        }
    }

    /// How many allocations there are, for whom.
    #[must_use]
    pub fn quotas(&self) -> &Quotas {
        &self.shared.core.quotas
    }

    /// Reads the certificate again; on failure the one in use stays.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn reload_certificates(&self) -> Result<(), TlsError> {
        self.shared.tls.as_ref().ok_or(TlsError::NotConfigured)?.reload()
    }

    /// Refuses new allocations from now on; running ones may be refreshed.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
        self.tell_all(|| Command::Drain);
    }

    /// Whether [`drain`](Self::drain) was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    /// Drains, and waits until there is no allocation any more, at most for `timeout`. Answers how many are left.
    pub async fn drained(&self, timeout: Duration) -> usize {
        self.drain();
        let deadline = Instant::now() + timeout;
        loop {
            let left = self.allocations().await;
            let now = Instant::now();
            if left == 0 || now >= deadline {
                return left;
            }
            tokio::time::sleep_until(deadline.min(now + DRAIN_POLL)).await;
        }
    }

    /// Closes every allocation and connection and ends the shards.
    pub fn shutdown(&self) {
        self.tell_all(|| Command::Shutdown);
    }

    /// How many allocations there are. A shard that is too busy to answer counts as one: it is busy relaying.
    pub async fn allocations(&self) -> usize {
        let shards = self.snapshot().await.shards;
        shards.iter().map(|shard| shard.as_ref().map_or(1, |shard| shard.allocations)).sum()
    }

    /// Waits until a shard has ended. Before [`shutdown`](Self::shutdown) that is a fault: nobody answers its clients.
    pub async fn shard_ended(&self) {
        let mut ends: JoinSet<()> =
            self.shared.shards.iter().cloned().map(|shard| async move { shard.closed().await }).collect();
        // None of them can fail.
        let _ended = ends.join_next().await;
    }

    /// Asks every shard before the first is waited for; `None` did not answer in time.
    async fn ask_all<T>(&self, command: impl Fn(oneshot::Sender<T>) -> Command) -> Vec<Option<T>> {
        let asked: Vec<_> = self.shared.shards.iter().map(|shard| ask(shard, &command)).collect();
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let mut answers = Vec::with_capacity(asked.len());
        for answer in asked {
            answers.push(answered(answer, deadline).await);
        }
        answers
    }

    fn tell_all(&self, command: impl Fn() -> Command) {
        for shard in &self.shared.shards {
            // A shard that has ended needs no telling.
            let _ended = shard.send(command());
        }
    }
}

/// What a shard will answer; nothing if it has ended.
type Asked<T> = Option<oneshot::Receiver<T>>;

fn ask<T>(shard: &UnboundedSender<Command>, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Asked<T> {
    let (answer, asked) = oneshot::channel();
    shard.send(command(answer)).ok().map(|()| asked)
}

async fn answered<T>(asked: Asked<T>, deadline: Instant) -> Option<T> {
    timeout_at(deadline, asked?).await.ok()?.ok()
}

/// Counters of every shard at one point in time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By shard; `None` did not answer in time.
    pub shards: Vec<Option<ShardSnapshot>>,
    /// By relay address.
    pub relay_ports: Vec<RelayPorts>,
    /// The certificate in use, if there is one.
    pub certificate: Option<CertificateStatus>,
}

/// How many ports of the relay range are taken on one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayPorts {
    /// The local address.
    pub ip: IpAddr,
    /// Taken.
    pub in_use: usize,
    /// Not taken.
    pub free: usize,
}

/// Counters of one shard.
#[derive(Clone, Debug, Default)]
pub struct ShardSnapshot {
    /// What the core counted.
    pub core: Counters,
    /// What the sockets counted.
    pub runtime: RuntimeCounters,
    /// Allocations now.
    pub allocations: usize,
}
