//! The other nodes, found through a Redis they share: one server, one with sentinels, or a Cluster.
//!
//! Redis is a directory and a bus of soft state: never the only copy of anything, never on the path of a packet. Nodes
//! own what they tell and tell it again whenever Redis may have lost it. All of it is sealed with the cluster key
//! (AES-256-GCM), so that whoever reads Redis learns no secret and whoever writes there forges nothing; what is summed
//! or counted in Redis itself stands under codes instead of names.
//!
//! | key | type | lease | what |
//! |---|---|---|---|
//! | `iceway:{nodes}` | sorted set | 30 s, renewed every 10 s | names of nodes |
//! | `iceway:{nodes}:<node>` | string | 15 s, renewed every 2 s | its last heartbeat, sealed |
//! | `iceway:{rows}:<table>` | hash | 30 days, renewed every 10 min | id to version, expiry and sealed row; at most three times the rows a node keeps |
//! | `iceway:{rows}:<table>:expiry` | sorted set | as the table | id by when it is over |
//! | `iceway:{rows}:state` | hash | as the tables | epoch (missing: Redis is new) and number of writes |
//! | `iceway:{rl:<code>}` | string | until the rate is whole again | when the next use is due |
//! | `iceway:{once:<code>}` | string | as its caller says, at most 7 days | what an idempotency key stands for, sealed |
//! | `iceway:{usage}` | stream | `usage.days` after the last record | ended allocations, sealed; at most about `usage.records_max` |
//! | `iceway:{usage}:seen:<node>` | sorted set | 7 days after the last record | codes of its last 20 000 records, so that none is added twice |
//! | `iceway:{usage}:day:<day>` | hash | `usage.days` after the last record | totals of a day: of all, and of at most 500 000 users and labels by code |
//! | `iceway:{events:<0 to 15>}` | stream | 16 days after the last event | events to be delivered, sealed; a sixteenth of `webhooks.pending_max` |
//! | `iceway:{events:<0 to 15>}:dead` | stream | 16 days after the last one | events that were given up; a sixteenth of `webhooks.dead_max` |
//! | `iceway:{events}:leases` | hash | 30 s, renewed every 4 s | which node delivers which of them |
//! | `iceway:{calls}` | hash | 31 days after the last change | code of a call to its number and its sealed record; at most `calls.records_max` |
//! | `iceway:{calls}:order` | sorted set | as the hash | codes of calls by their last change |
//! | `iceway:{calls}:state` | hash | as the hash | the last change |
//! | `iceway:{calls}:steps:<code>` | hash | `calls.retention` | its steps, sealed; at most 128 |
//!
//! | channel | what |
//! |---|---|
//! | `iceway:{bus}` | heartbeats, changed rows and news of events, for all nodes |
//! | `iceway:{bus-<node>}` | questions to a node, answers to its own, and what signaling relays say to that node's |
//!
//! In a Cluster each key's hash tag keeps what belongs together on one server, and channels are sharded from Redis 7 on.
//! With `redis.coturn_users`, `turn/realm/<realm>/user/<name>/key` and `turn/realm/<realm>/secret` are read, and nothing
//! of them is written.
//!
//! A frame of the bus names its sender, the sender's run and its number, and is sealed with them and with its
//! destination (one run of one node, or all) under a key of that run alone. Each number is taken once, a run that is over
//! is not heard again, and what is older than a minute is refused: clocks must agree to that. Runs are numbered by the
//! time of their start; one with a lower number than a run before, since its clock went back, is heard once it answers a
//! question of now and the run before is silent. Signaling relays have frames of the same kind with a key and numbers of
//! their own.

mod bounds;
mod bus;
mod calls;
mod commands;
mod connect;
mod coturn;
mod counters;
mod frame;
mod guarded;
mod health;
mod heart;
mod inspect;
mod keys;
mod leases;
mod looks;
mod outbox;
mod outbox_scripts;
mod progress;
mod pushes;
mod quotas;
mod registry;
mod row;
mod rows;
mod scripts;
mod seal;
mod shared;
mod signals;
mod supervise;
mod tls;
mod usage;
mod words;

use std::{
    sync::{Arc, Mutex, OnceLock, atomic::AtomicBool},
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::timeout,
};
use zeroize::Zeroizing;

pub use inspect::{InspectError, RedisInspection, inspect_redis};
pub use keys::{
    ACL_RULE, ACL_RULE_CLUSTER, ACL_RULE_CLUSTER_6_2, ACL_RULE_CLUSTER_7_0, ACL_RULE_COTURN,
    ACL_RULE_COTURN_6_2,
};
pub use words::redis_mend;

use self::{
    connect::Connector,
    counters::Counters,
    frame::{Message, purpose},
    health::HealthState,
    outbox::Events,
    registry::Registry,
    seal::Keys,
    shared::{Options, Outbox, Questions, Shared, lock, new_run},
    signals::Signals,
};
use super::{
    Answer, Ask, EventPeers, Health, Host, LimitAnswer, NodeId, NodeInfo, Nodes, OpenError, OutboxBounds,
    PeerCounters, Peers, Rate, Remembered, RequestError, Row, SignalHandler, UsageError, UsagePage,
    UsageQuery, UsageRecord, UsageTotals, clock::unix_millis,
};
use crate::config::Config;

/// How long a question may take, there and back.
const ASK_MAX: Duration = Duration::from_millis(900);
/// How long ending may take.
const CLOSE_MAX: Duration = Duration::from_millis(1500);
/// How long it is waited until rows are exchanged.
const SETTLED_MAX: Duration = Duration::from_secs(5);
/// A bus that has not been heard for so long is not asked.
const BUS_MAX: Duration = Duration::from_secs(6);

/// The other nodes, found in Redis.
pub(super) struct Redis {
    shared: Arc<Shared>,
    events: Arc<Events>,
    task: Mutex<Option<JoinHandle<()>>>,
    /// Keeps the partitions that this node delivers.
    leases: Mutex<Option<JoinHandle<()>>>,
}

impl Redis {
    /// Reads the certificates; connects later.
    ///
    /// # Errors
    /// [`OpenError::Peers`]: a file cannot be read, or there is no cluster key.
    pub(super) fn open(config: &Config, mut own: NodeInfo) -> Result<Self, OpenError> {
        if config.redis.cluster_keys.is_empty() {
            return Err(OpenError::Peers("redis.cluster_key_file holds no key".to_owned()));
        }
        let started = unix_millis();
        own.incarnation = new_run(started, own.incarnation);
        own.told = started;
        let keys = Keys::new(&config.redis.cluster_keys);
        let counters = Arc::new(Counters::default());
        let connector = Connector::new(&config.redis, &own.id, Arc::clone(&counters))?;
        let options = Options {
            realm: config.auth.realm.clone(),
            coturn_users: config.redis.coturn_users,
            records_max: config.usage.records_max,
            days: config.usage.days,
        };
        let (sealer, frame_sealer) = (keys.sealer("redis"), keys.sealer(&purpose(&own.id, own.incarnation)));
        let signals = Signals::new(&keys, &own.id, own.incarnation);
        let shared = Shared {
            registry: Registry::new(own.clone(), Instant::now()),
            own,
            options,
            keys,
            connector,
            counters,
            health: HealthState::new(),
            host: OnceLock::new(),
            sealer,
            frame_sealer,
            commands: ArcSwapOption::empty(),
            outbox: Outbox::default(),
            signals,
            questions: Questions::default(),
            rows: Mutex::default(),
            rows_wake: Notify::new(),
            rows_settled: watch::Sender::new(false),
            compare: AtomicBool::new(false),
            progress: Mutex::default(),
            epoch: Mutex::default(),
            rows_fault: Mutex::default(),
            announce: Notify::new(),
            announce_own: Notify::new(),
            proved: Mutex::default(),
            proved_wake: Notify::new(),
            closing: watch::Sender::new(false),
            event_news: watch::Sender::new(Default::default()),
        };
        let shared = Arc::new(shared);
        let events = Arc::new(Events::new(Arc::clone(&shared), OutboxBounds::of_all(config)));
        Ok(Self { shared, events, task: Mutex::default(), leases: Mutex::default() })
    }

    async fn ask_one(&self, node: NodeId, ask: Ask) -> Result<Answer, RequestError> {
        let shared = &self.shared;
        if shared.commands().is_none() || !shared.is_proved(BUS_MAX) {
            return Err(RequestError::Degraded(shared.health.reason()));
        }
        let Some(incarnation) = shared.registry.incarnation(&node) else {
            return Err(RequestError::UnknownNode(node));
        };
        let Some((question, answer)) = shared.questions.ask(&node) else {
            return Err(RequestError::Degraded("too many questions wait for an answer".to_owned()));
        };
        if !shared.tell(&node, incarnation, Message::Request { id: question.id, ask }) {
            return Err(RequestError::Degraded("too many messages wait to be sent".to_owned()));
        }
        match timeout(ASK_MAX, answer).await {
            Ok(Ok(Some(answer))) => Ok(answer),
            Ok(Ok(None)) => {
                let version = shared.registry.version(&node).unwrap_or_default();
                Err(RequestError::NotUnderstood { node, version })
            }
            Ok(Err(_)) | Err(_) => Err(RequestError::Silent(node)),
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        for task in [&self.task, &self.leases] {
            if let Some(task) = lock(task).take() {
                task.abort();
            }
        }
    }
}

impl Peers for Redis {
    fn serve(&self, host: Arc<dyn Host>) {
        if self.shared.host.set(host).is_err() {
            return;
        }
        let task = tokio::spawn(supervise::supervise(Arc::clone(&self.shared)));
        *lock(&self.task) = Some(task);
        *lock(&self.leases) = Some(tokio::spawn(leases::keep(Arc::clone(&self.events))));
    }

    fn announce(&self) {
        self.shared.announce_own.notify_one();
        self.shared.announce.notify_one();
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            let leases = lock(&self.leases).take();
            if let Some(leases) = leases {
                leases.abort();
                leases::give_back(&self.events).await;
            }
            self.shared.closing.send_replace(true);
            let task = lock(&self.task).take();
            if let Some(mut task) = task
                && timeout(CLOSE_MAX, &mut task).await.is_err()
            {
                task.abort();
            }
        }
        .boxed()
    }

    fn connect_signaling(&self, handler: Arc<dyn SignalHandler>) {
        self.shared.signals.connect(handler, &self.shared.registry.others());
    }

    fn send_signal(&self, node: &str, run: u64, bytes: Bytes) -> bool {
        self.shared.signals.push(node, run, bytes)
    }

    fn health(&self) -> Health {
        self.shared.health.get()
    }

    fn derive_key(&self, purpose: &str) -> Option<Zeroizing<[u8; 32]>> {
        Some(self.shared.keys.derive(purpose))
    }

    fn nodes(&self) -> Arc<Nodes> {
        self.shared.registry.nodes()
    }

    fn publish(&self, rows: Vec<Row>) {
        let mut pending = self.shared.pending_rows();
        for row in rows {
            pending.insert((row.table, row.id.clone()), row);
        }
        drop(pending);
        self.shared.rows_settled.send_replace(false);
        self.shared.rows_wake.notify_one();
    }

    fn settled(&self) -> BoxFuture<'_, bool> {
        async move {
            let mut settled = self.shared.rows_settled.subscribe();
            let settled = timeout(SETTLED_MAX, settled.wait_for(|&is_settled| is_settled)).await;
            settled.is_ok_and(|settled| settled.is_ok())
        }
        .boxed()
    }

    fn ask(&self, node: NodeId, ask: Ask) -> BoxFuture<'_, Result<Answer, RequestError>> {
        self.ask_one(node, ask).boxed()
    }

    fn ask_all(&self, ask: Ask) -> BoxFuture<'_, Vec<(NodeId, Result<Answer, RequestError>)>> {
        async move {
            let others = self.shared.registry.others();
            join_all(others.into_iter().map(|(node, _)| {
                let ask = ask.clone();
                async move { (node.clone(), self.ask_one(node, ask).await) }
            }))
            .await
        }
        .boxed()
    }

    fn limit(&self, name: String, rate: Rate) -> BoxFuture<'_, Option<LimitAnswer>> {
        async move { looks::limit(&self.shared, &name, rate).await }.boxed()
    }

    fn share(&self) -> u32 {
        self.shared.health.share()
    }

    fn remember(&self, key: String, value: Vec<u8>, ttl: Duration) -> BoxFuture<'_, Option<Remembered>> {
        async move { looks::remember(&self.shared, &key, &value, ttl).await }.boxed()
    }

    fn replace(&self, key: String, value: Vec<u8>, ttl: Duration) -> BoxFuture<'_, Option<()>> {
        async move { looks::replace(&self.shared, &key, &value, ttl).await }.boxed()
    }

    fn append_usage(&self, records: Vec<UsageRecord>) -> BoxFuture<'_, bool> {
        async move { usage::append(&self.shared, &records).await }.boxed()
    }

    fn usage_records(
        &self,
        after: Option<String>,
        limit: u32,
    ) -> BoxFuture<'_, Result<UsagePage, UsageError>> {
        async move {
            if let Some(cursor) = after.as_deref().filter(|cursor| !usage::is_cursor(cursor)) {
                return Err(no_cursor(cursor));
            }
            Ok(usage::records(&self.shared, after.as_deref(), limit).await?)
        }
        .boxed()
    }

    fn acknowledge_usage(&self, up_to: String) -> BoxFuture<'_, Result<u64, UsageError>> {
        async move {
            if !usage::is_cursor(&up_to) {
                return Err(no_cursor(&up_to));
            }
            Ok(usage::acknowledge(&self.shared, &up_to).await?)
        }
        .boxed()
    }

    fn usage_totals(&self, query: UsageQuery) -> BoxFuture<'_, Result<UsageTotals, RequestError>> {
        async move { usage::totals(&self.shared, &query).await }.boxed()
    }

    fn find_user(&self, realm: String, name: String) -> BoxFuture<'_, Option<[u8; 16]>> {
        async move { coturn::find_user(&self.shared, &realm, &name).await }.boxed()
    }

    fn events(&self) -> Option<&dyn EventPeers> {
        Some(&*self.events)
    }

    fn counters(&self) -> PeerCounters {
        let counters = &self.shared.counters;
        PeerCounters {
            commands: Counters::get(&counters.commands),
            commands_failed: Counters::get(&counters.commands_failed),
            connections: Counters::get(&counters.connections),
            degraded_millis: self.shared.health.degraded_millis(),
            requests_handled: Counters::get(&counters.requests_handled),
            frames_refused: Counters::get(&counters.frames_refused),
            frames_dropped: Counters::get(&counters.frames_dropped),
            messages_unknown: Counters::get(&counters.messages_unknown),
            rows_refused: Counters::get(&counters.rows_refused),
            usage_lost: Counters::get(&counters.usage_lost),
            usage_overflowed: Counters::get(&counters.usage_overflowed),
        }
    }
}

fn no_cursor(text: &str) -> UsageError {
    UsageError::Cursor(text.chars().take(64).collect())
}
