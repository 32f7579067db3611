//! Peers in one process: what Redis does, without Redis, and with switches for trouble.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use iceway::cluster::{
    Answer, Ask, Health, Host, LimitAnswer, NodeId, NodeInfo, Nodes, PeerCounters, Peers, Rate, Remembered,
    RequestError, Row, UsagePage, UsageQuery, UsageRecord, UsageTotals, derive_key,
};
use zeroize::Zeroizing;

/// What the nodes share.
#[derive(Clone, Default)]
pub(crate) struct Mesh(Arc<Shared>);

type Member = (NodeInfo, Arc<dyn Host>);

#[derive(Default)]
struct Shared {
    nodes: Mutex<BTreeMap<NodeId, Member>>,
    used: Mutex<HashMap<String, u32>>,
    remembered: Mutex<HashMap<String, Vec<u8>>>,
    usage: Mutex<Usage>,
    /// Nodes that do not answer.
    silent: Mutex<BTreeSet<NodeId>>,
    is_degraded: AtomicBool,
    /// Appends are taken and then not acknowledged, as when the connection ends in between.
    pub(crate) forgets_appends: AtomicBool,
}

#[derive(Default)]
struct Usage {
    seen: BTreeSet<String>,
    records: BTreeMap<u64, UsageRecord>,
    all: Vec<UsageRecord>,
}

impl Mesh {
    /// What connects one node.
    pub(crate) fn peers(&self, own: NodeInfo) -> Arc<dyn Peers> {
        Arc::new(MeshPeers { own, shared: Arc::clone(&self.0) })
    }

    /// A node does not answer any more, or does again.
    pub(crate) fn silence(&self, node: &str, is_silent: bool) {
        let mut silent = self.0.silent.lock().unwrap();
        if is_silent {
            silent.insert(node.to_owned())
        } else {
            silent.remove(node)
        };
    }

    /// Nobody can be reached, or can be again.
    pub(crate) fn degrade(&self, is_degraded: bool) {
        self.0.is_degraded.store(is_degraded, Ordering::SeqCst);
    }

    pub(crate) fn forget_appends(&self, forgets: bool) {
        self.0.forgets_appends.store(forgets, Ordering::SeqCst);
    }
}

struct MeshPeers {
    own: NodeInfo,
    shared: Arc<Shared>,
}

impl MeshPeers {
    fn is_degraded(&self) -> bool {
        self.shared.is_degraded.load(Ordering::SeqCst)
    }

    fn others(&self) -> Vec<(NodeId, Arc<dyn Host>)> {
        let nodes = self.shared.nodes.lock().unwrap();
        let others = nodes.iter().filter(|(id, _)| **id != self.own.id);
        others.map(|(id, (_, host))| (id.clone(), Arc::clone(host))).collect()
    }

    fn is_silent(&self, node: &str) -> bool {
        self.shared.silent.lock().unwrap().contains(node)
    }

    fn unless_degraded<T: Send + 'static, E: From<RequestError> + Send + 'static>(
        &self,
        answer: impl FnOnce(&mut Usage) -> T,
    ) -> BoxFuture<'_, Result<T, E>> {
        let answer = if self.is_degraded() {
            Err(RequestError::Degraded("switched off".to_owned()).into())
        } else {
            Ok(answer(&mut self.shared.usage.lock().unwrap()))
        };
        ready(answer).boxed()
    }
}

impl Peers for MeshPeers {
    fn serve(&self, host: Arc<dyn Host>) {
        let (shared, id) = (Arc::clone(&self.shared), self.own.id.clone());
        shared.nodes.lock().unwrap().insert(id.clone(), (self.own.clone(), Arc::clone(&host)));
        tokio::spawn(async move {
            loop {
                let (state, load) = host.load().await;
                let others: Vec<Arc<dyn Host>> = {
                    let mut nodes = shared.nodes.lock().unwrap();
                    let Some((info, _)) = nodes.get_mut(&id) else { return };
                    (info.state, info.load) = (state, load);
                    if let Some(place) = host.place() {
                        (info.uris, info.addresses, info.public) =
                            (place.uris, place.addresses, place.public);
                    }
                    nodes
                        .iter()
                        .filter(|(other, _)| **other != id)
                        .map(|(_, (_, host))| Arc::clone(host))
                        .collect()
                };
                for (user, count) in host.quotas().take_changes() {
                    others.iter().for_each(|other| other.quotas().set_elsewhere(&id, &user, count));
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }

    fn announce(&self) {}

    fn close(&self) -> BoxFuture<'_, ()> {
        self.shared.nodes.lock().unwrap().remove(&self.own.id);
        ready(()).boxed()
    }

    fn health(&self) -> Health {
        if self.is_degraded() {
            return Health::Degraded { since: 0, reason: "switched off".to_owned() };
        }
        Health::Connected
    }

    fn derive_key(&self, purpose: &str) -> Option<Zeroizing<[u8; 32]>> {
        Some(derive_key(b"the key of the mesh", b"salt", purpose))
    }

    fn nodes(&self) -> Arc<Nodes> {
        let nodes = self.shared.nodes.lock().unwrap();
        let (own, others): (Vec<_>, Vec<_>) =
            nodes.values().map(|(info, _)| info.clone()).partition(|info| info.id == self.own.id);
        Arc::new(Nodes { list: own.into_iter().chain(others).collect() })
    }

    fn publish(&self, rows: Vec<Row>) {
        for (_, host) in self.others() {
            let rows = rows.clone();
            tokio::spawn(async move { host.take_over(rows).await });
        }
    }

    fn ask(&self, node: NodeId, ask: Ask) -> BoxFuture<'_, Result<Answer, RequestError>> {
        async move {
            let found = self.others().into_iter().find(|(id, _)| *id == node);
            let Some((id, host)) = found else { return Err(RequestError::UnknownNode(node)) };
            if self.is_silent(&id) {
                return Err(RequestError::Silent(id));
            }
            Ok(host.handle(ask).await)
        }
        .boxed()
    }

    fn ask_all(&self, ask: Ask) -> BoxFuture<'_, Vec<(NodeId, Result<Answer, RequestError>)>> {
        async move {
            let mut answers = Vec::new();
            for (id, _) in self.others() {
                let answer = self.ask(id.clone(), ask.clone()).await;
                answers.push((id, answer));
            }
            answers
        }
        .boxed()
    }

    fn limit(&self, name: String, rate: Rate) -> BoxFuture<'_, Option<LimitAnswer>> {
        let mut used = self.shared.used.lock().unwrap();
        let count = used.entry(name).or_default();
        let is_admitted = *count < rate.burst;
        *count += u32::from(is_admitted);
        let retry_after = if is_admitted { Duration::ZERO } else { rate.per / rate.count };
        let answer = LimitAnswer { is_admitted, remaining: rate.burst - *count, retry_after };
        ready((!self.is_degraded()).then_some(answer)).boxed()
    }

    fn share(&self) -> u32 {
        if self.is_degraded() { self.shared.nodes.lock().unwrap().len() as u32 } else { 1 }
    }

    fn remember(&self, key: String, value: Vec<u8>, _: Duration) -> BoxFuture<'_, Option<Remembered>> {
        if self.is_degraded() {
            return ready(None).boxed();
        }
        let mut remembered = self.shared.remembered.lock().unwrap();
        let answer = match remembered.get(&key) {
            Some(earlier) => Remembered::Earlier(earlier.clone()),
            None => {
                remembered.insert(key, value);
                Remembered::New
            }
        };
        ready(Some(answer)).boxed()
    }

    fn replace(&self, key: String, value: Vec<u8>, _: Duration) -> BoxFuture<'_, Option<()>> {
        self.shared.remembered.lock().unwrap().insert(key, value);
        ready((!self.is_degraded()).then_some(())).boxed()
    }

    fn append_usage(&self, records: Vec<UsageRecord>) -> BoxFuture<'_, bool> {
        let mut usage = self.shared.usage.lock().unwrap();
        for record in records {
            if usage.seen.insert(record.id.clone()) {
                let place = usage.seen.len() as u64;
                usage.records.insert(place, record.clone());
                usage.all.push(record);
            }
        }
        ready(!self.shared.forgets_appends.load(Ordering::SeqCst)).boxed()
    }

    fn usage_records(
        &self,
        after: Option<String>,
        limit: u32,
    ) -> BoxFuture<'_, Result<UsagePage, iceway::cluster::UsageError>> {
        let after = after.map(|cursor| cursor.parse::<u64>().map_err(|_| cursor));
        let after = match after.transpose() {
            Ok(after) => after.unwrap_or(0),
            Err(cursor) => return ready(Err(iceway::cluster::UsageError::Cursor(cursor))).boxed(),
        };
        self.unless_degraded(|usage| {
            let mut rest = usage.records.range(after + 1..);
            let page = rest.by_ref().take(limit as usize);
            let records = page.map(|(place, record)| (place.to_string(), record.clone())).collect();
            UsagePage { records, has_more: rest.next().is_some() }
        })
    }

    fn acknowledge_usage(&self, up_to: String) -> BoxFuture<'_, Result<u64, iceway::cluster::UsageError>> {
        let up_to: u64 = up_to.parse().unwrap();
        self.unless_degraded(|usage| {
            let before = usage.records.len();
            usage.records.retain(|place, _| *place > up_to);
            (before - usage.records.len()) as u64
        })
    }

    fn usage_totals(&self, query: UsageQuery) -> BoxFuture<'_, Result<UsageTotals, RequestError>> {
        self.unless_degraded(|usage| {
            let mut totals = UsageTotals::default();
            for record in &usage.all {
                let is_meant = match &query.of {
                    iceway::cluster::UsageOf::Everybody => true,
                    iceway::cluster::UsageOf::User(user) => record.user == *user,
                    iceway::cluster::UsageOf::Label(label) => record.label.as_ref() == Some(label),
                };
                if is_meant && (query.from_day..=query.to_day).contains(&record.day()) {
                    totals.add(record);
                }
            }
            totals
        })
    }

    fn find_user(&self, _: String, name: String) -> BoxFuture<'_, Option<[u8; 16]>> {
        ready((name == "carol").then_some([7; 16])).boxed()
    }

    fn counters(&self) -> PeerCounters {
        PeerCounters::default()
    }
}
