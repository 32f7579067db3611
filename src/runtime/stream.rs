//! TCP and TLS connections of clients.

use std::{cell::RefCell, net::TcpListener, rc::Rc, sync::Arc};

use super::{shard::Shard, tls::TlsStore};
use crate::{config, turn::ListenerId};

/// What waits to be written to one connection; bounded.
#[derive(Debug)]
pub(crate) struct StreamQueue {}

/// A message did not fit: it is dropped whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueFull;

impl StreamQueue {
    /// Appends one message made of `parts`.
    pub(crate) fn push(&self, _parts: &[&[u8]]) -> Result<(), QueueFull> {
        Err(QueueFull)
    }

    /// Ends the connection.
    pub(crate) fn close(&self) {}
}

/// What the connections of all shards share: how many there are.
#[derive(Debug)]
pub(crate) struct StreamAdmission {}

impl StreamAdmission {
    /// Nothing admitted yet.
    pub(crate) fn new(_limits: &config::Streams) -> Self {
        Self {}
    }
}

/// What one shard needs to serve its connections.
#[derive(Debug)]
pub(crate) struct StreamSetup {
    /// One listener for each listening address.
    pub(crate) listeners: Vec<(ListenerId, TcpListener)>,
    /// `None`: TLS is not spoken.
    pub(crate) tls: Option<Arc<TlsStore>>,
    /// See [`config::Streams`].
    pub(crate) limits: config::Streams,
    /// Shared by all shards.
    pub(crate) admission: Arc<StreamAdmission>,
}

/// Spawns the tasks that serve connections; called on the shard's thread, inside its `LocalSet`.
///
/// They end when the thread's `LocalSet` is dropped.
pub(crate) fn serve_streams(_shard: &Rc<RefCell<Shard>>, _setup: StreamSetup) {}
