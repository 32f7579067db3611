//! One connection: what its task does each time it is woken.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context as TaskContext, Poll},
};

use tokio::{
    net::TcpStream,
    task::yield_now,
    time::{Instant, Sleep, sleep_until},
};
use tracing::{debug, trace};

use super::{
    StreamRelay,
    admission::Admission,
    context::Context,
    counters::{StreamClose, StreamState},
    deadlines::{Deadlines, Expired},
    queue::StreamQueue,
    receive::Received,
    tls_session::TlsSession,
};
use crate::{
    telemetry::Private,
    turn::{FiveTuple, ListenerId, Transport},
};

/// One client's connection. Receiving and sending are in files of their own.
#[derive(Debug)]
pub(crate) struct Connection<R> {
    pub(super) relay: Rc<RefCell<R>>,
    pub(super) context: Rc<Context>,
    pub(super) socket: TcpStream,
    pub(super) five_tuple: FiveTuple,
    state: StreamState,
    /// Why it ends, once that is known: nothing more is received, what is queued is sent.
    pub(super) reason: Option<StreamClose>,
    pub(super) tls: Option<Box<TlsSession>>,
    /// Received and not handled: the start of a message, or more if `backlog`.
    pub(super) inbox: Vec<u8>,
    /// Whether `inbox` may hold whole messages.
    pub(super) backlog: bool,
    pub(super) queue: Rc<StreamQueue>,
    pub(super) deadlines: Deadlines,
    /// Whether the relay knows of it.
    opened: bool,
    _admission: Admission,
}

impl<R: StreamRelay> Connection<R> {
    /// A connection that was just accepted.
    pub(super) fn new(
        relay: Rc<RefCell<R>>,
        context: Rc<Context>,
        listener: ListenerId,
        (socket, client): (TcpStream, SocketAddr),
        admission: Admission,
    ) -> Self {
        context.count_state(None, Some(StreamState::Starting));
        Self {
            queue: Rc::new(StreamQueue::new(context.limits.buffer_bytes, Rc::clone(&context.counters))),
            deadlines: Deadlines::new(&context.limits, Instant::now()),
            relay,
            context,
            socket,
            five_tuple: FiveTuple { transport: Transport::Tcp, listener, client },
            state: StreamState::Starting,
            reason: None,
            tls: None,
            inbox: Vec::new(),
            backlog: false,
            opened: false,
            _admission: admission,
        }
    }

    /// Serves the connection until it ends.
    pub(super) async fn run(mut self) {
        let reason = {
            let mut timer = pin!(sleep_until(self.deadlines.next()));
            poll_fn(|cx| self.poll_turn(cx, timer.as_mut())).await
        };
        if self.opened {
            self.context.ended();
        }
        self.context.count_state(Some(self.state), None);
        self.context.counters.borrow_mut().closed.add(reason, 1);
        debug!(five_tuple = %Private(self.five_tuple), reason = reason.as_str(), "Connection ended.");
    }

    /// The transport is known and, with TLS, its handshake complete: the relay may send to the client.
    pub(super) fn open(&mut self, transport: Transport) {
        self.five_tuple.transport = transport;
        self.set_state(if transport == Transport::Tls { StreamState::Tls } else { StreamState::Tcp });
        self.deadlines.started();
        self.opened = true;
        let earlier = self.context.opened(self.five_tuple, &self.queue);
        let mut relay = self.relay.borrow_mut();
        if let Some(earlier) = earlier {
            // The client's end of it is gone, since its address and port are in use again.
            earlier.close_for(StreamClose::Superseded);
            relay.stream_closed(self.five_tuple);
        }
        relay.stream_opened(self.five_tuple, Rc::clone(&self.queue));
    }

    /// Whether the relay knows of it.
    pub(super) const fn is_open(&self) -> bool {
        self.opened
    }

    /// One turn: receive, send, look at the clock.
    fn poll_turn(&mut self, cx: &mut TaskContext<'_>, mut timer: Pin<&mut Sleep>) -> Poll<StreamClose> {
        let received = self.poll_receive(cx);
        match self.poll_send(cx) {
            Poll::Ready(Err(error)) => {
                trace!(five_tuple = %Private(self.five_tuple), %error, "Cannot be written to.");
                self.begin_close(StreamClose::Broken);
                return Poll::Ready(self.reason.unwrap_or(StreamClose::Broken));
            }
            Poll::Ready(Ok(())) => {
                if let Some(reason) = self.reason {
                    return Poll::Ready(reason);
                }
            }
            Poll::Pending => {}
        }
        self.queue.wake_on_push(cx.waker());
        if self.poll_deadlines(cx, timer.as_mut()).is_ready() {
            return Poll::Ready(self.reason.unwrap_or(StreamClose::Broken));
        }
        let again = match received {
            Received::All => false,
            Received::More => true,
            // When the queue empties, this task is woken to go on writing; it may be that this has just happened.
            Received::HeldBack => !self.queue.holds_back(),
        };
        if again {
            // Woken only after sockets were looked at: peers' datagrams do not wait for more than one turn each of the
            // connections that are busy.
            let yielded = pin!(yield_now()).poll(cx);
            debug_assert!(yielded.is_pending(), "a fresh yield waits");
        }
        Poll::Pending
    }

    /// Receives unless the connection is closing, and finds out whether it is to be.
    fn poll_receive(&mut self, cx: &mut TaskContext<'_>) -> Received {
        let mut received = Received::All;
        if self.reason.is_none() && self.queue.closing().is_none() {
            let context = Rc::clone(&self.context);
            let mut scratch = context.scratch.borrow_mut();
            match self.receive(cx, &mut scratch) {
                Ok(outcome) => received = outcome,
                Err(reason) => self.begin_close(reason),
            }
        }
        if let Some(reason) = self.queue.closing() {
            self.begin_close(reason);
        }
        received
    }

    /// Ready when the time to send what is left is over.
    fn poll_deadlines(&mut self, cx: &mut TaskContext<'_>, mut timer: Pin<&mut Sleep>) -> Poll<()> {
        loop {
            // A later deadline is not worth a look at the timer wheel: the timer fires once in vain.
            let next = self.deadlines.next();
            if next < timer.deadline() {
                timer.as_mut().reset(next);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let has_allocation = || self.opened && self.relay.borrow().has_allocation(&self.five_tuple);
            match self.deadlines.expired(Instant::now(), has_allocation) {
                Some(Expired::Flush) => return Poll::Ready(()),
                Some(Expired::Close(reason)) => {
                    self.begin_close(reason);
                    // To send what is left.
                    cx.waker().wake_by_ref();
                }
                None => {}
            }
            timer.as_mut().reset(self.deadlines.next());
        }
    }

    /// From now on nothing is received; what is queued is sent, within a bounded time. The first reason stays.
    fn begin_close(&mut self, reason: StreamClose) {
        if self.reason.is_some() {
            return;
        }
        self.reason = Some(reason);
        self.set_state(StreamState::Closing);
        self.deadlines.closing(Instant::now());
        self.inbox = Vec::new();
        self.queue.close_for(reason);
        if self.opened && self.context.closing(&self.five_tuple, &self.queue) {
            self.relay.borrow_mut().stream_closed(self.five_tuple);
        }
    }

    fn set_state(&mut self, state: StreamState) {
        self.context.count_state(Some(self.state), Some(state));
        self.state = state;
    }
}
