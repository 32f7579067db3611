//! One direction each way between two runs of two nodes, over a bus that loses packets: what is said arrives once, whole
//! and in order, for as long as both runs live.
//!
//! Messages are a stream of bytes, cut into numbered batches. The receiver says up to which batch it has all; what it
//! does not have is sent again. Neither side needs to know when the other began: a stream has a number, greater than
//! those before, and whoever sees one of which it does not have the beginning asks for a new one.

mod incoming;
mod outgoing;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use self::{incoming::Incoming, outgoing::Outgoing};
pub(super) use self::{incoming::next_message, outgoing::Fill};
use super::{
    super::Instant,
    wire::{Reader, Writer},
};

/// What goes out to another node, and what came in from it.
#[derive(Debug)]
pub(super) struct Channel {
    /// Whether packets can be sent at present.
    is_up: bool,
    outgoing: Outgoing,
    incoming: Incoming,
}

/// What a packet brought beside messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// The other side began a new stream: it says all anew.
    pub(super) has_begun: bool,
    /// It asks for a new stream from here.
    pub(super) must_begin: bool,
}

/// A packet carries no more.
const BATCH_BYTES: usize = 60 << 10;
/// The longest message: a session that moves, with all that is kept for it.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

const VERSION: u8 = 1;
const DATA: u8 = 0;
const ACKNOWLEDGE: u8 = 1;
const GAP: u8 = 2;
const BEGIN: u8 = 3;

impl Channel {
    /// A channel whose first stream has this number, greater than that of any before to the same node.
    pub(super) fn new(stream: u64) -> Self {
        Self { is_up: true, outgoing: Outgoing::new(stream), incoming: Incoming::default() }
    }

    /// Begins anew: what was not acknowledged is gone, and the other side is to be told all.
    pub(super) fn begin(&mut self, stream: u64) {
        self.outgoing.begin(stream);
    }

    /// How much waits.
    pub(super) const fn fill(&self) -> Fill {
        self.outgoing.fill()
    }

    /// Bytes that are not acknowledged.
    pub(super) const fn bytes(&self) -> usize {
        self.outgoing.bytes()
    }

    /// Adds a message. `false`: there is no more room at all, and it is lost.
    pub(super) fn push(&mut self, message: &[u8]) -> bool {
        self.outgoing.push(message)
    }

    /// Takes no more of what the other side has said so far: it is to begin anew.
    pub(super) fn refuse(&mut self) {
        self.incoming.refuse();
    }

    /// What was not acknowledged, as far as its beginning is still there.
    pub(super) fn unacknowledged(&self) -> Vec<u8> {
        self.outgoing.unacknowledged()
    }

    /// The next packet to send, if there is one.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Bytes> {
        if !self.is_up {
            return None;
        }
        if let Some(stream) = self.incoming.take_unknown() {
            return Some(self.packet(BEGIN, 0, &[], stream));
        }
        if let Some((seq, batch)) = self.outgoing.next(now) {
            self.incoming.has_acknowledged();
            return Some(self.packet(DATA, seq, &batch, self.incoming.stream));
        }
        if self.incoming.acknowledge_at.is_some_and(|at| at <= now) {
            let kind = if self.incoming.has_gap { GAP } else { ACKNOWLEDGE };
            self.incoming.has_acknowledged();
            return Some(self.packet(kind, 0, &[], self.incoming.stream));
        }
        None
    }

    fn packet(&self, kind: u8, seq: u64, batch: &[u8], of_stream: u64) -> Bytes {
        let mut writer = Writer::default();
        writer.byte(VERSION).byte(kind).number(self.outgoing.stream).number(seq).number(self.outgoing.base);
        writer.number(of_stream).number(self.incoming.received).blob(batch);
        writer.into_bytes()
    }

    /// When [`poll`](Self::poll) has something without anything new.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if !self.is_up {
            return None;
        }
        [self.outgoing.deadline(), self.incoming.acknowledge_at].into_iter().flatten().min()
    }

    /// Sends again what should have been acknowledged by now.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.is_up {
            self.outgoing.handle_timeout(now);
        }
    }

    /// Packets can, or cannot, be sent from now on.
    pub(super) fn set_up(&mut self, now: Instant, is_up: bool) {
        if is_up && !self.is_up {
            self.outgoing.rewind();
            self.incoming.acknowledge_at = Some(now);
        }
        self.is_up = is_up;
    }

    /// Takes a packet; `None` if it is none. Messages that it completes are there to be taken.
    pub(super) fn handle(&mut self, now: Instant, packet: &[u8]) -> Option<Heard> {
        let mut reader = Reader::new(packet);
        if reader.byte()? != VERSION {
            return None;
        }
        let kind = reader.byte()?;
        let [stream, seq, base, of_stream, acknowledged] =
            [reader.number()?, reader.number()?, reader.number()?, reader.number()?, reader.number()?];
        let batch = reader.blob(BATCH_BYTES)?;
        if kind > BEGIN || !reader.is_empty() || stream == 0 {
            return None;
        }
        let mut heard = Heard::default();
        if of_stream == self.outgoing.stream {
            if kind == BEGIN {
                heard.must_begin = true;
                return Some(heard);
            }
            self.outgoing.take_acknowledgement(now, acknowledged, kind == GAP);
        }
        if kind == DATA {
            heard.has_begun = self.incoming.take_batch(now, stream, (seq, base), batch);
        }
        Some(heard)
    }

    /// What was received and not taken, to be gone through with [`next_message`].
    pub(super) fn take_received(&mut self) -> Vec<u8> {
        self.incoming.take_received()
    }

    /// Puts back what is no whole message yet: all from `taken` on.
    pub(super) fn put_back(&mut self, received: Vec<u8>, taken: usize) {
        self.incoming.put_back(received, taken);
    }
}
