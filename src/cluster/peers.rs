//! The other nodes: none, or those that share a Redis.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;

use super::{Answer, Ask, NodeId, Nodes, RequestError, Row, UsageRecord};

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
    /// How well they can be reached.
    fn health(&self) -> Health;

    /// This node and the others whose lease has not run out, without asking anybody.
    fn nodes(&self) -> Arc<Nodes>;

    /// Gives rows to the others, now or, if that is not possible, as soon as it is.
    fn publish(&self, rows: Vec<Row>);

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
