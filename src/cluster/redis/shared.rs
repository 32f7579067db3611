//! What the tasks of one node's peers have in common.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, oneshot, watch};
use zeroize::Zeroizing;

use super::{
    commands::Commands,
    connect::Connector,
    counters::Counters,
    frame::{Destination, Message},
    health::HealthState,
    registry::Registry,
    seal::{Keys, Sealer},
    signals::Signals,
};
use crate::cluster::{Answer, EventNews, Host, NodeInfo, Row, Table};

/// Messages that may wait to be sent. More are not sent: questions are answered as if nobody heard them.
const OUTBOX_MAX: usize = 16_384;
/// Questions that may wait for their answers.
const QUESTIONS_MAX: usize = 4096;
/// How long a look at Redis that a caller waits for may take.
pub(super) const LOOK_MAX: Duration = Duration::from_millis(500);

/// What this node is told about itself and about users, beside the connection.
pub(super) struct Options {
    /// The realm of coturn's users.
    pub(super) realm: String,
    /// Whether coturn's users and secrets are looked up.
    pub(super) coturn_users: bool,
    /// The most records in the stream.
    pub(super) records_max: u64,
    /// For how many days totals are kept.
    pub(super) days: u32,
}

pub(super) struct Shared {
    pub(super) own: NodeInfo,
    pub(super) options: Options,
    pub(super) keys: Keys,
    pub(super) connector: Connector,
    pub(super) counters: Arc<Counters>,
    pub(super) health: HealthState,
    pub(super) registry: Registry,
    pub(super) host: OnceLock<Arc<dyn Host>>,
    /// What seals rows.
    pub(super) sealer: Sealer,
    /// What seals the frames of this run of this node, its registry entry and its usage records.
    pub(super) frame_sealer: Sealer,
    /// There while there is a connection.
    pub(super) commands: ArcSwapOption<Commands>,
    pub(super) outbox: Outbox,
    pub(super) signals: Signals,
    pub(super) questions: Questions,
    /// Rows to be given to the others, the newest of each.
    pub(super) rows: Mutex<BTreeMap<(Table, String), Row>>,
    /// There are such rows, or they have to be compared.
    pub(super) rows_wake: Notify,
    /// Whether Redis and this node have told one another all rows; the last word of whoever knows.
    pub(super) rows_settled: watch::Sender<bool>,
    /// The rows here and in Redis may differ.
    pub(super) compare: std::sync::atomic::AtomicBool,
    /// Which writes of rows this node knows of.
    pub(super) progress: Mutex<super::progress::Progress>,
    /// The epoch of the rows in Redis, sealed.
    pub(super) epoch: Mutex<Option<Vec<u8>>>,
    /// Why rows cannot be exchanged.
    pub(super) rows_fault: Mutex<Option<String>>,
    /// How this node does has changed.
    pub(super) announce: Notify,
    /// The same, whether or not there is a connection.
    pub(super) announce_own: Notify,
    /// When the bus last brought back what this node sent.
    pub(super) proved: Mutex<Option<Instant>>,
    /// It just did.
    pub(super) proved_wake: Notify,
    pub(super) closing: watch::Sender<bool>,
    /// Counts up where there are new events.
    pub(super) event_news: watch::Sender<EventNews>,
}

impl Shared {
    pub(super) fn host(&self) -> Option<&Arc<dyn Host>> {
        self.host.get()
    }

    /// How many nodes there are, this one among them.
    pub(super) fn nodes_known(&self) -> u32 {
        u32::try_from(self.registry.nodes().list.len()).unwrap_or(u32::MAX)
    }

    /// Says that the other nodes cannot be reached.
    pub(super) fn degraded(&self, reason: &str) {
        self.health.degraded(reason, self.nodes_known());
    }

    /// The connection, if there is one and Redis answered lately.
    pub(super) fn commands(&self) -> Option<Arc<Commands>> {
        self.commands.load_full()
    }

    /// Tells the signaling relay of this node who is there.
    pub(super) fn review_nodes(&self) {
        self.signals.review(|| self.registry.others());
    }

    /// Sends a message to all.
    pub(super) fn tell_all(&self, message: Message) -> bool {
        self.outbox.push(Destination::All, message)
    }

    /// Sends a message to one run of one node.
    pub(super) fn tell(&self, node: &str, incarnation: u64, message: Message) -> bool {
        self.outbox.push(Destination::One(node.to_owned(), incarnation), message)
    }

    /// Seals something with the key of this run, which stands before it: no key ever seals so much that random nonces
    /// could meet.
    pub(super) fn seal_as_run(&self, place: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = self.own.incarnation.to_be_bytes().to_vec();
        sealed.extend_from_slice(&self.frame_sealer.seal(place, plain)?);
        Some(sealed)
    }

    /// Opens what some run of a node sealed so.
    pub(super) fn open_of_run(&self, node: &str, place: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (incarnation, sealed) = run_of(sealed)?;
        let sealer = self.registry.sealer(&self.keys, node, incarnation);
        sealer.open(place, sealed).ok()
    }

    pub(super) fn pending_rows(&self) -> MutexGuard<'_, BTreeMap<(Table, String), Row>> {
        lock(&self.rows)
    }

    /// Says that there are new events in these partitions, a bit for each.
    pub(super) fn hear_of_events(&self, partitions: u16) {
        self.event_news.send_modify(|news| {
            for (partition, count) in news.iter_mut().enumerate() {
                if partitions & (1 << partition) != 0 {
                    *count = count.wrapping_add(1);
                }
            }
        });
    }

    /// Asks for the rows to be compared with those in Redis.
    pub(super) fn compare_rows(&self) {
        self.compare.store(true, Ordering::Relaxed);
        self.rows_wake.notify_one();
    }

    /// Whether the bus works: what this node says comes back.
    pub(super) fn is_proved(&self, within: Duration) -> bool {
        lock(&self.proved).is_some_and(|at| at.elapsed() <= within)
    }
}

/// Messages on their way out, in the order they were given.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: Mutex<VecDeque<(Destination, Message)>>,
    pub(super) wake: Notify,
}

impl Outbox {
    fn push(&self, to: Destination, message: Message) -> bool {
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= OUTBOX_MAX {
            return false;
        }
        waiting.push_back((to, message));
        drop(waiting);
        self.wake.notify_one();
        true
    }

    /// The first messages, at most `count`.
    pub(super) fn take(&self, count: usize) -> Vec<(Destination, Message)> {
        let mut waiting = lock(&self.waiting);
        let count = count.min(waiting.len());
        waiting.drain(..count).collect()
    }

    /// Forgets what nobody could be told in time.
    pub(super) fn clear(&self) {
        lock(&self.waiting).clear();
    }
}

/// What a question is answered; `None`: the other node is of a version that does not know it, or answers what this one
/// does not know.
pub(super) type Reply = Option<Answer>;

/// Questions of this node that wait for their answers.
#[derive(Default)]
pub(super) struct Questions {
    waiting: Mutex<HashMap<u64, (String, oneshot::Sender<Reply>)>>,
    next: AtomicU64,
}

impl Questions {
    /// A number that no question of this run has had.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A new question to a node; `None` if too many wait. It is forgotten when the guard goes.
    pub(super) fn ask(&self, node: &str) -> Option<(Question<'_>, oneshot::Receiver<Reply>)> {
        let id = self.number();
        let (sender, receiver) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= QUESTIONS_MAX {
            return None;
        }
        waiting.insert(id, (node.to_owned(), sender));
        Some((Question { questions: self, id }, receiver))
    }

    /// Hands an answer to who asked, if it comes from who was asked.
    pub(super) fn answered(&self, id: u64, node: &str, reply: Reply) {
        let mut waiting = lock(&self.waiting);
        if waiting.get(&id).is_none_or(|(asked, _)| asked != node) {
            return;
        }
        if let Some((_, sender)) = waiting.remove(&id) {
            // Who asked may have stopped waiting at this moment.
            drop(sender.send(reply));
        }
    }
}

/// Forgets its question when it goes.
pub(super) struct Question<'a> {
    questions: &'a Questions,
    pub(super) id: u64,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        lock(&self.questions.waiting).remove(&self.id);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A random factor between a half and one: so that nodes do not do the same at the same time.
pub(super) fn jitter(duration: Duration) -> Duration {
    let mut byte = [0; 1];
    // Without random bytes all wait the full time.
    let part = if getrandom::fill(&mut byte).is_ok() { f64::from(byte[0]) / 255.0 } else { 1.0 };
    duration.mul_f64(0.5 + 0.5 * part)
}

/// Bits of a run's number below the time of its start.
const RANDOM_BITS: u32 = 20;

/// The number of a run: greater than those of earlier runs unless the clock went back, so that those are known to be
/// over.
pub(super) const fn new_run(started_millis: u64, random: u64) -> u64 {
    (started_millis << RANDOM_BITS) | (random & ((1 << RANDOM_BITS) - 1))
}

/// When a run began, in milliseconds since the Unix epoch by the clock it had.
pub(super) const fn started_millis(incarnation: u64) -> u64 {
    incarnation >> RANDOM_BITS
}

/// The run of a node that sealed something, and what it sealed.
pub(super) fn run_of(sealed: &[u8]) -> Option<(u64, &[u8])> {
    let (incarnation, sealed) = sealed.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*incarnation), sealed))
}
