//! New options, users and rules for the shards of a running node.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    addresses,
    public::{Found, PublicAddress},
};
use crate::{
    config::{self, Config},
    credentials::Directory,
    turn::{Options, PeerPolicy, RelayAddress},
};

/// What stays as it was bound when the node started, and what is relayed from there.
#[derive(Clone, Debug)]
pub(super) struct Fixed {
    /// See [`Options::listeners`].
    pub(super) listeners: Vec<SocketAddr>,
    /// Where relay sockets are to be bound.
    pub(super) relay: config::Relay,
    /// What clients are told of where they are. The only thing here that changes.
    pub(super) public: Vec<PublicAddress>,
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
    /// What clients are told once this is known.
    pub(super) fn set_found(&mut self, found: &Found) {
        let listening: Vec<IpAddr> = self.listeners.iter().map(SocketAddr::ip).collect();
        self.public = addresses::relay_addresses(&self.relay, &listening, found);
    }

    /// The rules of this configuration for what is bound, with these users and secrets.
    pub(super) fn rules(&self, config: &Config, directory: Arc<Directory>) -> Rules {
        let options = config.options(self.listeners.clone(), self.relay_addresses());
        Rules {
            options: Arc::new(options),
            directory,
            policy: Arc::new(PeerPolicy::new(&config.peers.allow, &config.peers.deny, &self.interfaces)),
        }
    }

    /// See [`Options::relay_addresses`].
    pub(super) fn relay_addresses(&self) -> Vec<RelayAddress> {
        let address = |it: &PublicAddress| RelayAddress { local: it.local, advertised: it.told };
        self.public.iter().map(address).collect()
    }
}
