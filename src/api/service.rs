//! What every endpoint works with.

use std::{ops::Deref, sync::Arc};

use arc_swap::ArcSwap;

use super::ice_servers::{Reached, node_uris};
use crate::{config::Config, runtime::NodeHandle};

/// What every endpoint works with. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Service(Arc<ServiceState>);

/// What the clones of a [`Service`] share.
#[derive(Debug)]
pub struct ServiceState {
    /// The relay of this node.
    pub node: NodeHandle,
    /// What is configured; replaced as a whole by [`Service::reload`].
    pub settings: ArcSwap<Settings>,
    reached: Reached,
}

/// What the endpoints take from the configuration.
#[derive(Debug)]
pub struct Settings {
    /// All of it.
    pub config: Config,
    /// The URIs clients reach this node by.
    pub uris: Vec<String>,
}

impl Service {
    /// A service in front of this relay, which is reached there.
    #[must_use]
    pub fn new(node: NodeHandle, config: &Config, reached: &Reached) -> Self {
        let settings = ArcSwap::from_pointee(Settings::new(config, reached));
        Self(Arc::new(ServiceState { node, settings, reached: reached.clone() }))
    }

    /// Takes over what can change while the node runs.
    pub fn reload(&self, config: &Config) {
        self.settings.store(Arc::new(Settings::new(config, &self.reached)));
    }
}

impl Deref for Service {
    type Target = ServiceState;

    fn deref(&self) -> &ServiceState {
        &self.0
    }
}

impl Settings {
    fn new(config: &Config, reached: &Reached) -> Self {
        Self { config: config.clone(), uris: node_uris(config, reached) }
    }
}
