//! Reaching a running node from other threads.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::{mpsc::UnboundedSender, oneshot},
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{
    counters::RuntimeCounters,
    public::{Found, LookCounts, PublicStatus},
    reload::{Fixed, Rules},
    tls::{CertificateStatus, TlsError, TlsStore},
};
use crate::{
    config::Config,
    credentials::{Directory, KeyId, Revocations},
    turn::{
        self, AllocationId, Alternate, Counters, History, HistorySize, ListQuery, Listed, LookUpId,
        QualityReport, Quotas, RelayAddress, Shared, UserKey,
    },
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
    /// Take over where relay sockets are bound and what clients are told.
    SetRelayAddresses(Vec<RelayAddress>),
    /// Take over new users and secrets.
    SetDirectory(Arc<Directory>),
    /// Take over these revocations, and answer how many allocations were ended by that.
    Revoke(Arc<Revocations>, oneshot::Sender<usize>),
    /// Answer with some allocations.
    List(ListQuery, oneshot::Sender<turn::ListPage>),
    /// End one allocation, and answer whether there was such a one.
    Close(AllocationId, oneshot::Sender<bool>),
    /// Answer how many allocations there are by secret.
    KeyIdsInUse(oneshot::Sender<Vec<(KeyId, usize)>>),
    /// Go on with a request that waited for a user's key.
    Found(LookUpId, Option<UserKey>),
    /// Send new clients to these.
    Drain(Arc<[Alternate]>),
    /// Make allocations again.
    StopDrain,
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
    /// Shards are told of changes while it is held: in the order in which they happened.
    fixed: Mutex<Fixed>,
    public: ArcSwap<PublicStatus>,
    core: Arc<Shared>,
}

impl HandleShared {
    /// A handle to the shards behind these channels.
    pub(super) fn new(
        shards: Vec<UnboundedSender<Command>>,
        tls: Option<Arc<TlsStore>>,
        fixed: Fixed,
        found: &Found,
        core: Arc<Shared>,
    ) -> Self {
        let public = ArcSwap::from_pointee(status(&fixed, found, LookCounts::default()));
        Self { shards, tls, draining: AtomicBool::new(false), fixed: Mutex::new(fixed), public, core }
    }

    fn relay_ports(&self) -> Vec<RelayPorts> {
        let (ports, public) = (&self.core.ports, self.public.load());
        let is_given = |ip: IpAddr| public.addresses.iter().any(|address| address.local == ip);
        let of = |ip| RelayPorts {
            ip,
            in_use: ports.in_use(ip),
            free: if is_given(ip) { ports.free(ip) } else { 0 },
        };
        ports.addresses().map(of).collect()
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
            history: self.shared.core.history.size(),
            public: self.public(),
        }
    }

    /// Takes over peer policy, limits, lifetimes and bandwidth of `config`, and the users and secrets of `directory`;
    /// what was bound at the start stays. Live allocations are judged by the new rules at once. Answers when every
    /// shard has done so, or after a second.
    pub async fn reload(&self, config: &Config, directory: Arc<Directory>) {
        self.shared.core.history.set_limits(config.explain);
        {
            let fixed = self.shared.fixed.lock().unwrap_or_else(PoisonError::into_inner);
            let rules = fixed.rules(config, directory);
            self.tell_all(|| Command::Reload(rules.clone()));
        }
        // Shards obey in order: whoever answers this has taken over.
        self.snapshot().await;
    }

    /// What clients are told of the relay addresses, and how that came about.
    #[must_use]
    pub fn public(&self) -> Arc<PublicStatus> {
        self.shared.public.load_full()
    }

    /// Takes over what is known of public addresses: what is made from now on is told that. What is up keeps its
    /// addresses. Whether clients are told something else now.
    pub fn set_found(&self, found: &Found, counts: LookCounts) -> bool {
        let mut fixed = self.shared.fixed.lock().unwrap_or_else(PoisonError::into_inner);
        let before = fixed.relay_addresses();
        fixed.set_found(found);
        let status = status(&fixed, found, counts);
        let is_other = status.external != self.shared.public.load().external;
        self.shared.public.store(Arc::new(status));
        let now = fixed.relay_addresses();
        if before != now {
            for address in now.iter().filter(|address| !self.shared.core.ports.add(address.local)) {
                tracing::error!(
                    local = %address.local,
                    "This machine has had too many addresses; a restart relays from the new one."
                );
            }
            self.tell_all(|| Command::SetRelayAddresses(now.clone()));
        }
        before != now || is_other
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

    /// Takes over revocations: what they hit is refused from now on, and ended if they say so. Shards are told before
    /// this returns; the future answers how many allocations were ended, within a second.
    pub fn revoke(&self, revocations: &Arc<Revocations>) -> impl Future<Output = usize> + Send + use<> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let asked = self.asked(|answer| Command::Revoke(Arc::clone(revocations), answer));
        async move { all_answered(asked, deadline).await.into_iter().flatten().sum() }
    }

    /// Some allocations, by shard and then by id. Takes at most a second; a shard that does not answer in that time is
    /// passed over.
    pub async fn list(&self, filter: ListFilter) -> ListPage {
        let ListFilter { user, label, after, limit } = filter;
        let (first, mut after) = after.map_or((0, None), |(shard, id)| (shard, Some(id)));
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let mut allocations = Vec::new();
        for (number, shard) in self.shared.shards.iter().enumerate().skip(first) {
            // One more than is wanted tells whether there are more.
            while allocations.len() <= limit {
                let limit = limit + 1 - allocations.len();
                let query = ListQuery { user: user.clone(), label: label.clone(), after, limit };
                let page = answered(ask(shard, |answer| Command::List(query, answer)), deadline).await;
                let page = page.unwrap_or_default();
                allocations.extend(page.allocations.into_iter().map(|listed| (number, listed)));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        let has_more = allocations.len() > limit;
        allocations.truncate(limit);
        ListPage { allocations, has_more }
    }

    /// Ends one allocation. Answers whether there was such a one, within a second.
    pub async fn close_allocation(&self, shard: usize, id: AllocationId) -> bool {
        let Some(shard) = self.shared.shards.get(shard) else { return false };
        let asked = ask(shard, |answer| Command::Close(id, answer));
        answered(asked, Instant::now() + ANSWER_TIMEOUT).await.unwrap_or(false)
    }

    /// How many live allocations were made with each secret; those without any are left out. Within a second.
    pub async fn key_ids_in_use(&self) -> Vec<(KeyId, usize)> {
        let mut sums = BTreeMap::new();
        for (id, count) in self.ask_all(Command::KeyIdsInUse).await.into_iter().flatten().flatten() {
            *sums.entry(id).or_default() += count;
        }
        sums.into_iter().collect()
    }

    /// Why users failed lately.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.shared.core.history
    }

    /// How many allocations there are, for whom.
    #[must_use]
    pub fn quotas(&self) -> &Quotas {
        &self.shared.core.quotas
    }

    /// The certificate of the TLS listeners, for other listeners; `None` if there is none.
    pub(crate) fn tls_store(&self) -> Option<Arc<TlsStore>> {
        self.shared.tls.clone()
    }

    /// Says what [`reload_certificates`](Self::reload_certificates) would, and changes nothing. Without a certificate
    /// there is nothing to say.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn check_certificates(&self) -> Result<(), TlsError> {
        self.shared.tls.as_ref().map_or(Ok(()), |tls| tls.check())
    }

    /// Reads the certificate again; on failure the one in use stays.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn reload_certificates(&self) -> Result<(), TlsError> {
        self.shared.tls.as_ref().ok_or(TlsError::NotConfigured)?.reload()
    }

    /// Sends new clients to these from now on, or refuses those that none of them suits; running allocations may be
    /// refreshed. May be called again with others.
    pub fn drain(&self, alternates: Arc<[Alternate]>) {
        self.shared.draining.store(true, Ordering::Relaxed);
        self.tell_all(|| Command::Drain(Arc::clone(&alternates)));
    }

    /// Makes allocations again.
    pub fn stop_drain(&self) {
        self.shared.draining.store(false, Ordering::Relaxed);
        self.tell_all(|| Command::StopDrain);
    }

    /// Whether new clients are sent elsewhere.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    /// Waits until there is no allocation any more, at most for `timeout`. Answers how many are left.
    pub async fn drained(&self, timeout: Duration) -> usize {
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

    async fn ask_all<T>(&self, command: impl Fn(oneshot::Sender<T>) -> Command) -> Vec<Option<T>> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        all_answered(self.asked(command), deadline).await
    }

    /// Asks every shard.
    fn asked<T>(&self, command: impl Fn(oneshot::Sender<T>) -> Command) -> Vec<Asked<T>> {
        self.shared.shards.iter().map(|shard| ask(shard, &command)).collect()
    }

    fn tell_all(&self, command: impl Fn() -> Command) {
        for shard in &self.shared.shards {
            // A shard that has ended needs no telling.
            let _ended = shard.send(command());
        }
    }
}

fn status(fixed: &Fixed, found: &Found, counts: LookCounts) -> PublicStatus {
    PublicStatus { addresses: fixed.public.clone(), external: found.external(), counts }
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

/// By shard; `None` did not answer in time.
async fn all_answered<T>(asked: Vec<Asked<T>>, deadline: Instant) -> Vec<Option<T>> {
    let mut answers = Vec::with_capacity(asked.len());
    for answer in asked {
        answers.push(answered(answer, deadline).await);
    }
    answers
}

/// Which allocations are wanted.
#[derive(Clone, Debug)]
pub struct ListFilter {
    /// Only this user's.
    pub user: Option<Box<str>>,
    /// Only those with this label.
    pub label: Option<Box<str>>,
    /// Only those after this shard and id.
    pub after: Option<(usize, AllocationId)>,
    /// At most so many.
    pub limit: usize,
}

/// Some allocations.
#[derive(Clone, Debug, Default)]
pub struct ListPage {
    /// Each with its shard, in their order.
    pub allocations: Vec<(usize, Listed)>,
    /// Whether there are more after the last one.
    pub has_more: bool,
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
    /// How much is remembered of why users fail.
    pub history: HistorySize,
    /// What clients are told of the relay addresses.
    pub public: Arc<PublicStatus>,
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
    /// How good calls are; `None` if that is not measured.
    pub quality: Option<QualityReport>,
}
