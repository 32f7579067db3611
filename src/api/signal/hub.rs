//! What drives the core: everything that happens on this node goes through here, one after another.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::Notify,
    time::{sleep_until, timeout},
};

use crate::{
    api::service::unix_millis,
    cluster::{Cluster, SignalHandler},
    signaling::{
        self, ConnectionId, Event, EventNumber, NodeName, Now, Output, PushReason, Server, SessionId, Setup,
        UserId,
    },
};

/// Events that wait to be kept. More are lost, and counted.
const EVENTS_MAX: usize = 1 << 16;
/// Events that are kept with one another.
const BATCH_MAX: usize = 512;
/// Sessions that wait for fresh ICE servers. More are told to ask again.
const WISHES_MAX: usize = 1 << 20;
/// No deadline is armed.
const NEVER: u64 = u64::MAX;
/// How long keeping a batch of events may take before calls go on without.
const RECORD_TIME_MAX: Duration = Duration::from_secs(10);

/// The relay of this node with its sockets.
pub(crate) struct Hub {
    core: Mutex<Core>,
    start: Instant,
    /// When the timer goes off, in milliseconds since `start`.
    armed: AtomicU64,
    timer: Notify,
    events: Notify,
    wishes: Notify,
    events_lost: AtomicU64,
    connections: AtomicU64,
    cluster: Cluster,
}

struct Core {
    server: Server,
    sockets: HashMap<ConnectionId, Arc<Notify>>,
    events: VecDeque<Event>,
    lost: Option<EventNumber>,
    wishes: VecDeque<Wish>,
}

/// Fresh ICE servers that a session is to have.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) session: SessionId,
    pub(super) user: UserId,
    pub(super) reason: PushReason,
}

impl Hub {
    pub(super) fn new(cluster: &Cluster, options: signaling::Options) -> Result<Arc<Self>, getrandom::Error> {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(&mut key[..])?;
        let setup = Setup { options, node: NodeName(cluster.id().into()), run: cluster.run(), key };
        let core = Core {
            server: Server::new(setup),
            sockets: HashMap::new(),
            events: VecDeque::new(),
            lost: None,
            wishes: VecDeque::new(),
        };
        Ok(Arc::new(Self {
            core: Mutex::new(core),
            start: Instant::now(),
            armed: AtomicU64::new(NEVER),
            timer: Notify::new(),
            events: Notify::new(),
            wishes: Notify::new(),
            events_lost: AtomicU64::new(0),
            connections: AtomicU64::new(1),
            cluster: cluster.clone(),
        }))
    }

    /// A name for one more socket.
    pub(super) fn name(&self) -> ConnectionId {
        ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed))
    }

    /// Has the core do something, and performs what follows from it.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Server, Now) -> T) -> T {
        let mut core = self.core();
        let done = act(&mut core.server, self.now());
        self.perform(&mut core);
        done
    }

    /// Looks at the core.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Server) -> T) -> T {
        look(&self.core().server)
    }

    /// From now on the core can wake this socket.
    pub(super) fn add(&self, connection: ConnectionId, wake: Arc<Notify>) {
        self.core().sockets.insert(connection, wake);
    }

    /// The socket is gone.
    pub(super) fn remove(&self, connection: ConnectionId) {
        let mut core = self.core();
        core.sockets.remove(&connection);
        core.server.handle_closed(self.now(), connection);
        self.perform(&mut core);
    }

    /// How many sockets there are.
    pub(crate) fn sockets(&self) -> usize {
        self.core().sockets.len()
    }

    /// Events that could not even wait to be kept.
    pub(crate) fn events_lost(&self) -> u64 {
        self.events_lost.load(Ordering::Relaxed)
    }

    /// Calls the core whenever something is due. Never ends.
    pub(super) async fn keep_time(&self) {
        loop {
            let due = self.armed.load(Ordering::Acquire);
            if due == NEVER {
                self.timer.notified().await;
                continue;
            }
            tokio::select! {
                () = sleep_until((self.start + Duration::from_millis(due)).into()) => {
                    self.armed.store(NEVER, Ordering::Release);
                    self.with(|server, now| server.handle_timeout(now));
                }
                () = self.timer.notified() => {}
            }
        }
    }

    /// Has events kept, in their order. Never ends.
    pub(super) async fn keep_events(&self) {
        loop {
            let (batch, lost) = self.take_events();
            let Some(last) = batch.last().map(|event| event.number).max(lost) else {
                self.events.notified().await;
                continue;
            };
            let events = batch.iter().map(|event| self.cluster.signal_event(event)).collect();
            if timeout(RECORD_TIME_MAX, self.cluster.record_events(events)).await.is_err() {
                tracing::error!("Events are not kept in time; calls go on without.");
            }
            self.with(|server, now| server.handle_recorded(now, last));
        }
    }

    /// The next session that is to have fresh ICE servers.
    pub(super) async fn wish(&self) -> Wish {
        loop {
            if let Some(wish) = self.core().wishes.pop_front() {
                return wish;
            }
            self.wishes.notified().await;
        }
    }

    fn take_events(&self) -> (Vec<Event>, Option<EventNumber>) {
        let mut core = self.core();
        let count = core.events.len().min(BATCH_MAX);
        let batch: Vec<Event> = core.events.drain(..count).collect();
        let lost = if core.events.is_empty() { core.lost.take() } else { None };
        (batch, lost)
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { monotonic: signaling::Instant::from_millis(millis), unix_millis: unix_millis() }
    }

    /// Within the lock: what goes to one place keeps its order.
    fn perform(&self, core: &mut Core) {
        while let Some(output) = core.server.poll_output() {
            match output {
                Output::Wake(connection) => {
                    if let Some(wake) = core.sockets.get(&connection) {
                        wake.notify_one();
                    }
                }
                Output::ToNode { node, run, bytes } => {
                    // What is lost is sent again.
                    let _is_sent = self.cluster.send_signal(&node.0, run, bytes);
                }
                Output::Event(event) => self.note_event(core, event),
                Output::IceServers { session, user, reason } => {
                    if core.wishes.len() < WISHES_MAX {
                        core.wishes.push_back(Wish { session, user, reason });
                        self.wishes.notify_one();
                    }
                }
            }
        }
        let due = core.server.deadline().map_or(NEVER, signaling::Instant::as_millis);
        if due < self.armed.load(Ordering::Acquire) {
            self.armed.store(due, Ordering::Release);
            self.timer.notify_one();
        }
    }

    fn note_event(&self, core: &mut Core, event: Event) {
        if core.events.len() < EVENTS_MAX {
            core.events.push_back(event);
        } else {
            core.lost = core.lost.max(Some(event.number));
            self.events_lost.fetch_add(1, Ordering::Relaxed);
        }
        self.events.notify_one();
    }
}

impl SignalHandler for Hub {
    fn node_up(&self, node: &str, run: u64) {
        self.with(|server, now| server.handle_node_up(now, &NodeName(node.into()), run));
    }

    fn node_down(&self, node: &str) {
        self.with(|server, now| server.handle_node_down(now, &NodeName(node.into())));
    }

    fn received(&self, node: &str, run: u64, bytes: &[u8]) {
        self.with(|server, now| server.handle_link(now, &NodeName(node.into()), run, bytes));
    }

    fn bus(&self, is_up: bool) {
        self.with(|server, now| server.handle_bus(now, is_up));
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("cluster", &self.cluster.id()).finish_non_exhaustive()
    }
}
