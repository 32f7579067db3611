//! What a connection does with what comes in.

use std::{
    pin::Pin,
    task::{Context as TaskContext, Poll, ready},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
    time::Instant,
};
use tracing::debug;

use super::{
    StreamRelay,
    connection::Connection,
    counters::StreamClose,
    scratch::{Buffer, Scratch},
    tls_session::TlsSession,
};
use crate::{
    stun::{Frame, next_frame},
    telemetry::Private,
    turn::Transport,
};

/// How many messages one turn handles before other connections and peers have theirs: about as many as are read from
/// each peer's socket in the meantime, so that a burst that is echoed does not overflow it.
const MESSAGES_PER_TURN: usize = 8;

/// How often one turn reads from the socket before other connections and peers have theirs.
const READS_PER_TURN: usize = 2;

/// The largest message that is buffered for a client without an allocation. No request comes near it: USERNAME, REALM
/// and NONCE together are at most 2 KiB.
const STRANGER_MESSAGE_BYTES: usize = 4096;

/// The first byte of a TLS connection: the content type of a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// How a turn of receiving ended.
pub(super) enum Received {
    /// Everything that was there was handled.
    All,
    /// There is more; it is others' turn.
    More,
    /// There may be more, but the client has to read its answers first.
    HeldBack,
}

/// How handing out messages ended.
enum Delivered {
    /// What is left is the start of a message, or nothing.
    All,
    /// As many as one turn may have.
    Spent,
    /// The client has to read its answers first.
    HeldBack,
}

impl<R: StreamRelay> Connection<R> {
    /// Reads and handles what there is, within the bounds of one turn.
    ///
    /// # Errors
    /// Why the connection is to be closed.
    pub(super) fn receive(
        &mut self,
        cx: &mut TaskContext<'_>,
        scratch: &mut Scratch,
    ) -> Result<Received, StreamClose> {
        scratch.plain.load(&self.inbox);
        let mut messages = 0;
        let received = self.receive_messages(cx, scratch, &mut messages);
        let held_back = matches!(received, Ok(Received::HeldBack));
        // Time runs for the client only while we are listening.
        let partial = !self.backlog
            && !held_back
            && (!scratch.plain.unused().is_empty()
                || self.tls.as_ref().is_some_and(|tls| tls.has_partial_record()));
        self.deadlines.received(partial, messages > 0, Instant::now());
        scratch.plain.save(&mut self.inbox);
        self.context.counters.borrow_mut().messages += messages as u64;
        received
    }

    fn receive_messages(
        &mut self,
        cx: &mut TaskContext<'_>,
        scratch: &mut Scratch,
        messages: &mut usize,
    ) -> Result<Received, StreamClose> {
        let mut reads = 0;
        loop {
            if self.backlog {
                match self.deliver(&mut scratch.plain, messages)? {
                    Delivered::All => self.backlog = false,
                    Delivered::Spent => return Ok(Received::More),
                    Delivered::HeldBack => return Ok(Received::HeldBack),
                }
            }
            if self.tls.as_ref().is_some_and(|tls| tls.is_peer_closed()) {
                return Err(StreamClose::Client);
            }
            if reads == READS_PER_TURN {
                return Ok(Received::More);
            }
            reads += 1;
            match self.poll_read(cx, scratch) {
                Poll::Ready(result) => result?,
                Poll::Pending => return Ok(Received::All),
            }
            self.backlog = true;
        }
    }

    /// Hands out the messages that lie in `plain` whole.
    fn deliver(&mut self, plain: &mut Buffer, messages: &mut usize) -> Result<Delivered, StreamClose> {
        loop {
            if let Some(reason) = self.queue.closing() {
                return Err(reason);
            }
            match next_frame(plain.unused()) {
                Frame::Incomplete { needed } => {
                    if needed > STRANGER_MESSAGE_BYTES
                        && !self.relay.borrow().has_allocation(&self.five_tuple)
                    {
                        return Err(StreamClose::FrameTooLarge);
                    }
                    return Ok(Delivered::All);
                }
                Frame::Invalid(error) => {
                    debug!(five_tuple = %Private(self.five_tuple), %error, "The stream makes no sense.");
                    return Err(StreamClose::InvalidFrame);
                }
                Frame::Complete { bytes, consumed } => {
                    if *messages >= MESSAGES_PER_TURN {
                        return Ok(Delivered::Spent);
                    }
                    if self.queue.holds_back() {
                        self.context.counters.borrow_mut().pauses += 1;
                        return Ok(Delivered::HeldBack);
                    }
                    *messages += 1;
                    let message = plain.unused().get(..bytes).unwrap_or_default();
                    self.relay.borrow_mut().client_datagram(self.five_tuple, message);
                    plain.consume(consumed);
                }
            }
        }
    }

    /// Reads once; ready when something may have been added to `scratch.plain`.
    fn poll_read(
        &mut self,
        cx: &mut TaskContext<'_>,
        scratch: &mut Scratch,
    ) -> Poll<Result<(), StreamClose>> {
        if let Some(tls) = &mut self.tls {
            scratch.wire.load(tls.left_over());
            ready!(poll_fill(&mut self.socket, cx, &mut scratch.wire))?;
            return Poll::Ready(self.receive_records(scratch));
        }
        ready!(poll_fill(&mut self.socket, cx, &mut scratch.plain))?;
        if self.is_open() {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(self.begin(scratch))
    }

    /// Tells by the first byte what the client speaks.
    fn begin(&mut self, scratch: &mut Scratch) -> Result<(), StreamClose> {
        match scratch.plain.unused().first() {
            Some(0x00..=0x03 | 0x40..=0x7F) => {
                self.open(Transport::Tcp);
                Ok(())
            }
            Some(&TLS_HANDSHAKE) => {
                let store = self.context.tls.as_ref().ok_or(StreamClose::TlsUnavailable)?;
                let session =
                    TlsSession::new(store.server_config()).map_err(|_| StreamClose::HandshakeFailed)?;
                self.tls = Some(Box::new(session));
                scratch.wire.load(scratch.plain.unused());
                scratch.plain.load(&[]);
                self.receive_records(scratch)
            }
            Some(_) | None => Err(StreamClose::NotStun),
        }
    }

    /// Decrypts what lies in `scratch.wire`, or goes on with the handshake.
    fn receive_records(&mut self, scratch: &mut Scratch) -> Result<(), StreamClose> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let result = tls.receive(&mut scratch.wire, &mut scratch.plain);
        scratch.wire.save(tls.left_over());
        let established = tls.is_established();
        if let Err(error) = result {
            debug!(five_tuple = %Private(self.five_tuple), %error, established, "TLS failed.");
            return Err(if established { StreamClose::TlsInvalid } else { StreamClose::HandshakeFailed });
        }
        if established && !self.is_open() {
            self.context.counters.borrow_mut().handshakes += 1;
            self.open(Transport::Tls);
        }
        Ok(())
    }
}

/// Reads once into `buffer`.
fn poll_fill(
    socket: &mut TcpStream,
    cx: &mut TaskContext<'_>,
    buffer: &mut Buffer,
) -> Poll<Result<(), StreamClose>> {
    let mut room = ReadBuf::new(buffer.room());
    let result = ready!(Pin::new(socket).poll_read(cx, &mut room));
    let bytes = room.filled().len();
    buffer.fill(bytes);
    Poll::Ready(match result {
        Ok(()) if bytes > 0 => Ok(()),
        Ok(()) => Err(StreamClose::Client),
        Err(_) => Err(StreamClose::Broken),
    })
}
