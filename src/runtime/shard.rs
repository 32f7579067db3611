//! One thread's relay: its core, its sockets and the loop between them.

use std::{collections::HashMap, rc::Rc};

use super::{counters::RuntimeCounters, stream::StreamQueue};
use crate::turn::FiveTuple;

/// Everything one thread owns. Shared by the thread's tasks as `Rc<RefCell<Shard>>`; never borrowed across an await.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    counters: RuntimeCounters,
    streams: HashMap<FiveTuple, Rc<StreamQueue>>,
}

impl Shard {
    /// Takes a whole message from a client of any transport, does what the core says, and arms the deadline.
    pub(crate) fn client_datagram(&mut self, _from: FiveTuple, _datagram: &[u8]) {}

    /// Registers a connection: replies and peers' data for this five-tuple go to `queue`.
    pub(crate) fn stream_opened(&mut self, five_tuple: FiveTuple, queue: Rc<StreamQueue>) {
        self.streams.insert(five_tuple, queue);
    }

    /// Forgets a connection and ends its allocation.
    pub(crate) fn stream_closed(&mut self, five_tuple: FiveTuple) {
        self.streams.remove(&five_tuple);
    }

    /// Whether the client behind this five-tuple has proved itself and holds an allocation.
    pub(crate) fn has_allocation(&self, _five_tuple: &FiveTuple) -> bool {
        false
    }

    /// The shard's counters.
    pub(crate) fn counters_mut(&mut self) -> &mut RuntimeCounters {
        &mut self.counters
    }
}
