//! A cluster of one.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use tokio::sync::Notify;
use zeroize::Zeroizing;

use super::{
    Answer, Ask, Health, Host, LimitAnswer, NodeId, NodeInfo, Nodes, PeerCounters, Peers, Rate, Remembered,
    RequestError, Row, UsageError, UsagePage, UsageQuery, UsageRecord, UsageTotals, clock::unix_millis,
};

/// How often this node looks at its own load.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// No other nodes.
pub(super) struct Alone {
    nodes: Arc<RwLock<Arc<Nodes>>>,
    wake: Arc<Notify>,
}

impl Alone {
    pub(super) fn new(own: NodeInfo) -> Self {
        let nodes = Arc::new(Nodes { list: vec![own] });
        Self { nodes: Arc::new(RwLock::new(nodes)), wake: Arc::new(Notify::new()) }
    }

    fn unknown<T>(node: NodeId) -> Result<T, RequestError> {
        Err(RequestError::UnknownNode(node))
    }

    fn none<T: Send + 'static, E: From<RequestError> + Send + 'static>() -> BoxFuture<'static, Result<T, E>> {
        ready(Err(RequestError::Degraded("this node is alone".to_owned()).into())).boxed()
    }
}

impl Peers for Alone {
    fn serve(&self, host: Arc<dyn Host>) {
        let (nodes, wake) = (Arc::downgrade(&self.nodes), Arc::clone(&self.wake));
        tokio::spawn(async move {
            loop {
                let (state, load) = host.load().await;
                let Some(nodes) = nodes.upgrade() else { return };
                {
                    let mut nodes = nodes.write().unwrap_or_else(PoisonError::into_inner);
                    let mut list = nodes.list.clone();
                    for own in &mut list {
                        (own.state, own.load, own.told) = (state, load, unix_millis());
                        if let Some(place) = host.place() {
                            own.set_place(place);
                        }
                    }
                    *nodes = Arc::new(Nodes { list });
                }
                drop(nodes);
                // Either way it is time to look again.
                drop(tokio::time::timeout(HEARTBEAT, wake.notified()).await);
            }
        });
    }

    fn announce(&self) {
        self.wake.notify_one();
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }

    fn health(&self) -> Health {
        Health::Alone
    }

    fn derive_key(&self, _: &str) -> Option<Zeroizing<[u8; 32]>> {
        None
    }

    fn nodes(&self) -> Arc<Nodes> {
        Arc::clone(&self.nodes.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn publish(&self, _: Vec<Row>) {}

    fn ask(&self, node: NodeId, _: Ask) -> BoxFuture<'_, Result<Answer, RequestError>> {
        ready(Self::unknown(node)).boxed()
    }

    fn ask_all(&self, _: Ask) -> BoxFuture<'_, Vec<(NodeId, Result<Answer, RequestError>)>> {
        ready(Vec::new()).boxed()
    }

    fn limit(&self, _: String, _: Rate) -> BoxFuture<'_, Option<LimitAnswer>> {
        ready(None).boxed()
    }

    fn share(&self) -> u32 {
        1
    }

    fn remember(&self, _: String, _: Vec<u8>, _: Duration) -> BoxFuture<'_, Option<Remembered>> {
        ready(None).boxed()
    }

    fn replace(&self, _: String, _: Vec<u8>, _: Duration) -> BoxFuture<'_, Option<()>> {
        ready(None).boxed()
    }

    fn append_usage(&self, _: Vec<UsageRecord>) -> BoxFuture<'_, bool> {
        ready(false).boxed()
    }

    fn usage_records(&self, _: Option<String>, _: u32) -> BoxFuture<'_, Result<UsagePage, UsageError>> {
        Self::none()
    }

    fn acknowledge_usage(&self, _: String) -> BoxFuture<'_, Result<u64, UsageError>> {
        Self::none()
    }

    fn usage_totals(&self, _: UsageQuery) -> BoxFuture<'_, Result<UsageTotals, RequestError>> {
        Self::none()
    }

    fn find_user(&self, _: String, _: String) -> BoxFuture<'_, Option<[u8; 16]>> {
        ready(None).boxed()
    }

    fn counters(&self) -> PeerCounters {
        PeerCounters::default()
    }
}
