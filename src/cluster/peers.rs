//! The other nodes: none, or those that share a Redis.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};

use zeroize::Zeroizing;

use crate::config::SharedSecret;

use super::{
    Answer, Ask, EventPeers, NodeId, NodeLoad, NodePlace, NodeState, Nodes, RequestError, Row, SignalHandler,
    UsageError, UsagePage, UsageQuery, UsageRecord, UsageTotals,
};

/// How well the other nodes can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// There are none: one node, nothing beside it.
    Alone,
    /// They can.
    Connected,
    /// They cannot. What is cached goes on being used.
    Degraded {
        /// Since when, in milliseconds since the Unix epoch.
        since: u64,
        /// Why, for people.
        reason: String,
    },
}

/// So many in so long, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many within `per`.
    pub count: u32,
    /// How long.
    pub per: Duration,
    /// How many at once; at least 1.
    pub burst: u32,
}

/// Whether something is within its [`Rate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitAnswer {
    /// Whether it may be done; then it is counted.
    pub is_admitted: bool,
    /// How many more may be done at once.
    pub remaining: u32,
    /// When the next may be done; zero if admitted.
    pub retry_after: Duration,
}

/// The other nodes.
///
/// Two implementations: `Alone` has none, `Redis` finds them there. Everything here returns within a bounded time
/// whatever state Redis is in.
pub trait Peers: Send + Sync + 'static {
    /// Begins: heartbeats, the bus, quotas. Called once, inside the runtime that carries the tasks; before that,
    /// nothing is told to anybody, but rows may be read.
    fn serve(&self, host: Arc<dyn Host>);

    /// Tells the others how this node does now (draining, mostly), without waiting for the next heartbeat.
    fn announce(&self);

    /// Tells the others that this node ends, as far as that is possible within a second, and stops.
    fn close(&self) -> BoxFuture<'_, ()>;

    /// How well they can be reached.
    fn health(&self) -> Health;

    /// A key for one purpose that is the same on all nodes; `None` if there is none and the node's own is to be used.
    fn derive_key(&self, purpose: &str) -> Option<Zeroizing<[u8; 32]>>;

    /// This node and the others whose lease has not run out, without asking anybody.
    fn nodes(&self) -> Arc<Nodes>;

    /// Gives rows to the others, now or, if that is not possible, as soon as it is.
    fn publish(&self, rows: Vec<Row>);

    /// Waits until rows have been exchanged both ways, but not for ever; `false`: they have not. For whoever ends right
    /// afterwards.
    fn settled(&self) -> BoxFuture<'_, bool> {
        std::future::ready(true).boxed()
    }

    /// Asks one of the others, for at most 900 ms.
    fn ask(&self, node: NodeId, ask: Ask) -> BoxFuture<'_, Result<Answer, RequestError>>;

    /// Asks all others at once, for at most 900 ms together.
    fn ask_all(&self, ask: Ask) -> BoxFuture<'_, Vec<(NodeId, Result<Answer, RequestError>)>>;

    /// Counts one use of `name` against a rate that all nodes share; within 50 ms, or `None`: then the caller counts
    /// by itself, against the rate divided by [`share`](Self::share).
    fn limit(&self, name: String, rate: Rate) -> BoxFuture<'_, Option<LimitAnswer>>;

    /// By how much cluster-wide limits are to be divided while each node counts alone: the number of nodes last known
    /// when degraded, else 1.
    fn share(&self) -> u32;

    /// Keeps `value` under an idempotency key for all nodes for `ttl`, unless one is there: then that one is answered.
    /// Sealed, so that Redis never sees what is in it. `None`: they cannot be reached.
    fn remember(&self, key: String, value: Vec<u8>, ttl: Duration) -> BoxFuture<'_, Option<Remembered>>;

    /// Replaces what [`remember`](Self::remember) kept.
    fn replace(&self, key: String, value: Vec<u8>, ttl: Duration) -> BoxFuture<'_, Option<()>>;

    /// Hands records of ended allocations to the shared stream and totals, each exactly once by its id. `false`: not
    /// now; keep them.
    fn append_usage(&self, records: Vec<UsageRecord>) -> BoxFuture<'_, bool>;

    /// A page of the shared stream: at most `limit` records after the cursor `after`, the oldest first.
    ///
    /// # Errors
    /// [`UsageError::Cursor`], and [`RequestError::Degraded`] while the stream cannot be reached. `Alone` has none and is
    /// not asked.
    fn usage_records(
        &self,
        after: Option<String>,
        limit: u32,
    ) -> BoxFuture<'_, Result<UsagePage, UsageError>>;

    /// Removes the records up to and including a cursor from the shared stream, and answers how many.
    ///
    /// # Errors
    /// As [`usage_records`](Self::usage_records).
    fn acknowledge_usage(&self, up_to: String) -> BoxFuture<'_, Result<u64, UsageError>>;

    /// The shared totals.
    ///
    /// # Errors
    /// As [`usage_records`](Self::usage_records).
    fn usage_totals(&self, query: UsageQuery) -> BoxFuture<'_, Result<UsageTotals, RequestError>>;

    /// The MD5 key of a user in coturn's user database; `None` if there is no such user, no such database, or it does
    /// not answer in time.
    fn find_user(&self, realm: String, name: String) -> BoxFuture<'_, Option<[u8; 16]>>;

    /// Tells the signaling relay of this node what other nodes and the bus do, from now on: first of all that those
    /// which are there now are up. Once. `Alone` has none.
    fn connect_signaling(&self, _handler: Arc<dyn SignalHandler>) {}

    /// Hands bytes to the signaling relay of a run of another node, behind those handed in before. `false`: they are
    /// lost, since too much waits or nobody can be reached.
    fn send_signal(&self, _node: &str, _run: u64, _bytes: Bytes) -> bool {
        false
    }

    /// Where nodes keep events together; `None`: each by itself.
    fn events(&self) -> Option<&dyn EventPeers> {
        None
    }

    /// What happened so far.
    fn counters(&self) -> PeerCounters;
}

/// What peers need of the node they belong to.
pub trait Host: Send + Sync + 'static {
    /// All rows that are not over, removed ones too: to be asserted when the others may have lost theirs.
    fn rows(&self) -> Vec<Row>;

    /// Merges rows that came from elsewhere, keeps them and acts on what is new; old ones change nothing. Answers how
    /// many live allocations were ended by it.
    fn take_over(&self, rows: Vec<Row>) -> BoxFuture<'_, u64>;

    /// Does what another node asks; [`Ask::Apply`] is [`take_over`](Self::take_over).
    fn handle(&self, ask: Ask) -> BoxFuture<'_, Answer>;

    /// How busy this node is now, and whether it takes new clients.
    fn load(&self) -> BoxFuture<'_, (NodeState, NodeLoad)>;

    /// Where clients reach this node, if that is another place than at the start.
    fn place(&self) -> Option<NodePlace>;

    /// The table of what users hold here and elsewhere.
    fn quotas(&self) -> Arc<dyn QuotaTable>;

    /// Takes over the secrets that coturn's user database holds for the realm, instead of those it held before. They
    /// count as configured ones.
    fn set_foreign_secrets(&self, secrets: Vec<SharedSecret>);
}

/// What [`Peers`] count, from the start of the process on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounters {
    /// Commands sent to Redis.
    pub commands: u64,
    /// Commands that failed or were not answered in time.
    pub commands_failed: u64,
    /// Connections made, the first ones included.
    pub connections: u64,
    /// Milliseconds in which the others could not be reached.
    pub degraded_millis: u64,
    /// Questions of other nodes that were answered.
    pub requests_handled: u64,
    /// Frames of the bus that were refused: forged, replayed or unreadable.
    pub frames_refused: u64,
    /// Frames of the bus that came faster than they could be read; what was in them is asked for again.
    pub frames_dropped: u64,
    /// Messages that opened, but are of a version this one does not know.
    pub messages_unknown: u64,
    /// Rows and records in Redis that were refused: forged, damaged or sealed with another key.
    pub rows_refused: u64,
    /// Records that the shared stream dropped because more than `usage.records_max` waited there.
    pub usage_lost: u64,
    /// Ended allocations that were summed under nobody's name, because a day had too many users or labels.
    pub usage_overflowed: u64,
}

/// The answer of [`Peers::remember`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// Nothing was there; now the value is.
    New,
    /// This was there.
    Earlier(Vec<u8>),
}

/// The allocations that users hold, here and elsewhere. Implemented by the table the relay asks at each Allocate.
pub trait QuotaTable: Send + Sync + 'static {
    /// Users whose number of allocations here changed since the last call, with the number now.
    fn take_changes(&self) -> Vec<(Arc<str>, u32)>;

    /// All users with allocations here.
    fn all(&self) -> Vec<(Arc<str>, u32)>;

    /// What another node holds of a user.
    fn set_elsewhere(&self, node: &str, user: &str, count: u32);

    /// Forgets all that a node held.
    fn forget_node(&self, node: &str);

    /// Divides limits by so much while other nodes can't be counted; 1 when they can.
    fn set_share(&self, divisor: u32);
}
