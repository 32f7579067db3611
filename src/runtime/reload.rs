//! New options, users and rules for the shards of a running node.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::{
    config::Config,
    credentials::Directory,
    turn::{Options, PeerPolicy, RelayAddress},
};

/// What stays as it was bound when the node started.
#[derive(Clone, Debug)]
pub(super) struct Fixed {
    /// See [`Options::listeners`].
    pub(super) listeners: Vec<SocketAddr>,
    /// See [`Options::relay_addresses`].
    pub(super) relay_addresses: Vec<RelayAddress>,
    /// The addresses of this machine, which no peer may have.
    pub(super) interfaces: Vec<IpAddr>,
}

/// What a core can take over while it works.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) options: Arc<Options>,
    pub(super) directory: Arc<Directory>,
    pub(super) policy: Arc<PeerPolicy>,
}

impl Fixed {
    /// The rules of this configuration for what is bound, with these users and secrets.
    pub(super) fn rules(&self, config: &Config, directory: Arc<Directory>) -> Rules {
        let options = config.options(self.listeners.clone(), self.relay_addresses.clone());
        Rules {
            options: Arc::new(options),
            directory,
            policy: Arc::new(PeerPolicy::new(&config.peers.allow, &config.peers.deny, &self.interfaces)),
        }
    }
}
