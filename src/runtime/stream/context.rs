//! What the connections of one shard share.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
};

use tokio::sync::Notify;

use super::{
    admission::StreamAdmission,
    counters::{StreamClose, StreamCounters, StreamState},
    queue::StreamQueue,
    scratch::Scratch,
};
use crate::{config, runtime::tls::TlsStore, turn::FiveTuple};

/// What the connections of one shard share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) limits: config::Streams,
    pub(crate) tls: Option<Arc<TlsStore>>,
    pub(crate) admission: Arc<StreamAdmission>,
    pub(crate) counters: Rc<RefCell<StreamCounters>>,
    /// Borrowed for the length of one turn.
    pub(crate) scratch: RefCell<Scratch>,
    /// The connections that have begun to talk.
    open: RefCell<HashMap<FiveTuple, Rc<StreamQueue>>>,
    /// How many connections have begun to talk and have not ended; those that are closing included.
    live: Cell<usize>,
    ended: Notify,
}

impl Context {
    pub(crate) fn new(
        limits: config::Streams,
        tls: Option<Arc<TlsStore>>,
        admission: Arc<StreamAdmission>,
    ) -> Self {
        Self {
            limits,
            tls,
            admission,
            counters: Rc::default(),
            scratch: RefCell::new(Scratch::new()),
            open: RefCell::default(),
            live: Cell::new(0),
            ended: Notify::new(),
        }
    }

    /// Registers a connection. `Some` is the queue of an earlier connection of the same five-tuple, whose end has not
    /// been noticed yet.
    pub(crate) fn opened(&self, five_tuple: FiveTuple, queue: &Rc<StreamQueue>) -> Option<Rc<StreamQueue>> {
        self.live.set(self.live.get() + 1);
        self.open.borrow_mut().insert(five_tuple, Rc::clone(queue))
    }

    /// Forgets a connection; false if a later one has taken its place.
    pub(crate) fn closing(&self, five_tuple: &FiveTuple, queue: &Rc<StreamQueue>) -> bool {
        let mut open = self.open.borrow_mut();
        let ours = open.get(five_tuple).is_some_and(|registered| Rc::ptr_eq(registered, queue));
        if ours {
            open.remove(five_tuple);
        }
        ours
    }

    /// A connection that had begun to talk has ended.
    pub(crate) fn ended(&self) {
        self.live.set(self.live.get().saturating_sub(1));
        self.ended.notify_one();
    }

    /// Moves the gauge of connections from one state to another.
    pub(crate) fn count_state(&self, from: Option<StreamState>, to: Option<StreamState>) {
        let mut counters = self.counters.borrow_mut();
        if let Some(from) = from {
            counters.open.subtract(from, 1);
        }
        if let Some(to) = to {
            counters.open.add(to, 1);
        }
    }

    pub(crate) fn close(&self) {
        for queue in self.open.borrow().values() {
            queue.close_for(StreamClose::Shutdown);
        }
    }

    pub(crate) async fn closed(&self) {
        while self.live.get() > 0 {
            self.ended.notified().await;
        }
    }
}
