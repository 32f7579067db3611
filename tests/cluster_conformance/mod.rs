//! What every kind of peers must do, seen through [`Cluster`]. Each function is a test over nodes that share
//! everything; whoever runs it brings the nodes.

#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod relay;
pub(crate) mod suite;

use std::{future::Future, sync::Arc, time::Duration};

use iceway::{
    cluster::{Cluster, NodeInfo, OpenError, Peers, Settings},
    config::{Config, SecretBytes, SharedSecret},
};

use relay::FakeRelay;

/// Nothing here takes longer, or it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// One node with a relay that is not real.
pub(crate) struct TestNode {
    pub(crate) cluster: Cluster,
    pub(crate) relay: Arc<FakeRelay>,
}

impl TestNode {
    /// Opens a cluster of what the configuration says and serves.
    pub(crate) fn start(config: &Config, id: &str) -> Self {
        Self::serve(Cluster::open(config, settings(id)).unwrap())
    }

    /// The same with other peers.
    pub(crate) fn start_with(
        config: &Config,
        id: &str,
        find: impl FnOnce(NodeInfo) -> Result<Arc<dyn Peers>, OpenError>,
    ) -> Self {
        Self::serve(Cluster::open_with(config, settings(id), find).unwrap())
    }

    fn serve(cluster: Cluster) -> Self {
        let relay = Arc::new(FakeRelay::default());
        cluster.serve(relay.clone(), relay.clone());
        Self { cluster, relay }
    }
}

pub(crate) fn settings(id: &str) -> Settings {
    Settings {
        id: id.to_owned(),
        region: "eu".to_owned(),
        uris: vec![format!("turn:{id}.example.org")],
        ..Settings::default()
    }
}

/// A configuration with one secret, in memory.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    let bytes = SecretBytes::new(b"a secret of the configuration");
    config.auth.secrets.push(SharedSecret { id: "configured".to_owned(), bytes });
    config
}

/// Waits for something that an event brings about.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never: {what}");
}

/// Seconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}
