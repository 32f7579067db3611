//! TCP and TLS connections of clients.
//!
//! Each shard accepts on listeners of its own, and each connection is one local task of its shard. A connection reads
//! what has come into a buffer that all connections of the shard share, cuts it into messages and hands each to the
//! relay; what the relay has for the client goes into the connection's [`StreamQueue`]. Only what is left over, a part
//! of a message in either direction, is kept by the connection itself, so an idle one holds no buffer at all:
//! it takes 1.6 KiB of process memory with TCP and 5 KiB with TLS (`tests/streams_memory.rs`).
//!
//! * One turn of a task handles a bounded number of messages, then the others have theirs.
//! * Relayed data never waits for a slow client: what does not fit its queue is dropped whole, the newest first.
//! * Reading pauses only while answers lie in the queue beyond the limit of relayed data: a client that does not read
//!   its answers gets no more of them, while one with a saturated downlink goes on sending.
//! * A connection with an allocation has no idle time-out: the client must refresh the allocation, and one that
//!   vanished is found by TCP keepalive. Without one it lives for `streams.unauthenticated_timeout`.

mod accept;
mod admission;
mod connection;
mod context;
mod counters;
mod deadlines;
mod queue;
mod receive;
mod scratch;
mod send;
#[cfg(test)]
mod tests;
mod tls_session;

use std::{cell::RefCell, io, net::TcpListener, rc::Rc, sync::Arc};

pub(crate) use admission::StreamAdmission;
use context::Context;
pub use counters::{AcceptFailure, StreamClose, StreamCounters, StreamRefusal, StreamState};
pub(crate) use queue::StreamQueue;

use super::{
    shard::Shard,
    tls::{TlsStore, watch},
};
use crate::{
    config,
    turn::{FiveTuple, ListenerId},
};

/// The relay as its connections see it.
pub(crate) trait StreamRelay: 'static {
    /// Takes one whole message from the client.
    fn client_datagram(&mut self, from: FiveTuple, datagram: &[u8]);
    /// From now on what the relay has for this client goes to `queue`.
    fn stream_opened(&mut self, five_tuple: FiveTuple, queue: Rc<StreamQueue>);
    /// The client is gone.
    fn stream_closed(&mut self, five_tuple: FiveTuple);
    /// Whether the client has proved itself and holds an allocation.
    fn has_allocation(&self, five_tuple: &FiveTuple) -> bool;
}

impl StreamRelay for Shard {
    fn client_datagram(&mut self, from: FiveTuple, datagram: &[u8]) {
        Self::client_datagram(self, from, datagram);
    }

    fn stream_opened(&mut self, five_tuple: FiveTuple, queue: Rc<StreamQueue>) {
        Self::stream_opened(self, five_tuple, queue);
    }

    fn stream_closed(&mut self, five_tuple: FiveTuple) {
        Self::stream_closed(self, five_tuple);
    }

    fn has_allocation(&self, five_tuple: &FiveTuple) -> bool {
        Self::has_allocation(self, five_tuple)
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

/// The connections of one shard.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    context: Rc<Context>,
}

/// Spawns the tasks that accept and serve connections, and the one that watches the certificate; called on the shard's thread, inside its `LocalSet`.
///
/// They end when the thread's `LocalSet` is dropped.
///
/// # Errors
/// A listener cannot be registered with the thread's reactor.
pub(crate) fn serve_streams<R: StreamRelay>(
    relay: &Rc<RefCell<R>>,
    setup: StreamSetup,
) -> io::Result<Streams> {
    if let Some(store) = &setup.tls
        && store.begin_watch()
    {
        tokio::task::spawn_local(watch(Arc::clone(store)));
    }
    let context = Rc::new(Context::new(setup.limits, setup.tls, setup.admission));
    for (listener, socket) in setup.listeners {
        socket.set_nonblocking(true)?;
        let socket = tokio::net::TcpListener::from_std(socket)?;
        tokio::task::spawn_local(accept::accept(Rc::clone(relay), Rc::clone(&context), listener, socket));
    }
    Ok(Streams { context })
}

impl Streams {
    /// What was counted so far.
    pub(crate) fn counters(&self) -> StreamCounters {
        self.context.counters.borrow().clone()
    }

    /// Closes every connection that has begun to talk, each after what is queued for it has been written.
    pub(crate) fn close(&self) {
        self.context.close();
    }

    /// Waits until all of them are closed, which is at most two seconds after [`Self::close`].
    pub(crate) async fn closed(&self) {
        self.context.closed().await;
    }
}
