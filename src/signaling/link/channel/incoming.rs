//! What comes in from another node, until it is taken.

use std::time::Duration;

use super::{
    super::{super::Instant, wire::Reader},
    BATCH_BYTES, MESSAGE_BYTES_MAX,
};

/// A stream of messages, put together again from batches.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    pub(super) stream: u64,
    /// The number of the last batch before which none is missing.
    pub(super) received: u64,
    /// The last that was said to the other side to have been received.
    acknowledged: u64,
    pub(super) acknowledge_at: Option<Instant>,
    pub(super) has_gap: bool,
    /// A stream of which the beginning is missing.
    unknown: Option<u64>,
    /// Streams up to this one are not taken any more.
    refused: u64,
    /// Received, and not yet a whole message.
    assembly: Vec<u8>,
}

/// After so many batches it is acknowledged at once.
const ACKNOWLEDGE_EVERY: u64 = 64;
const ACKNOWLEDGE_AFTER: Duration = Duration::from_millis(50);
/// Buffers that grew larger are not kept.
const IDLE_CAPACITY: usize = 4 << 10;

impl Incoming {
    pub(super) fn refuse(&mut self) {
        (self.refused, self.has_gap, self.assembly) = (self.stream, false, Vec::new());
    }

    /// The stream that the other side is to be asked to begin anew.
    pub(super) const fn take_unknown(&mut self) -> Option<u64> {
        self.unknown.take()
    }

    /// The other side is told what has been received.
    pub(super) const fn has_acknowledged(&mut self) {
        self.acknowledge_at = None;
        self.acknowledged = self.received;
    }

    /// Answers whether a new stream begins.
    pub(super) fn take_batch(
        &mut self,
        now: Instant,
        stream: u64,
        (seq, base): (u64, u64),
        batch: &[u8],
    ) -> bool {
        if stream <= self.refused {
            self.unknown = Some(stream);
            return false;
        }
        if stream < self.stream {
            return false;
        }
        let is_new = stream > self.stream;
        if is_new && base > 1 {
            self.unknown = Some(stream);
            return false;
        }
        if is_new {
            (self.stream, self.received, self.acknowledged) = (stream, 0, 0);
            (self.has_gap, self.assembly) = (false, Vec::new());
        }
        if self.assembly.len() > MESSAGE_BYTES_MAX + BATCH_BYTES {
            // No message is so long: what comes is no stream of messages.
            self.unknown = Some(stream);
            self.assembly = Vec::new();
            return false;
        }
        if seq == self.received + 1 {
            self.received = seq;
            self.has_gap = false;
            self.assembly.extend_from_slice(batch);
            let at =
                if seq - self.acknowledged >= ACKNOWLEDGE_EVERY { now } else { now.after(ACKNOWLEDGE_AFTER) };
            self.acknowledge_at = Some(self.acknowledge_at.map_or(at, |earlier| earlier.min(at)));
        } else {
            // Seen already: its acknowledgement was lost. Or after one that was lost itself.
            self.has_gap |= seq > self.received;
            self.acknowledge_at = Some(now);
        }
        is_new
    }

    pub(super) fn take_received(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.assembly)
    }

    pub(super) fn put_back(&mut self, mut received: Vec<u8>, taken: usize) {
        if taken > 0 {
            received.drain(..taken.min(received.len()));
        }
        if received.is_empty() && received.capacity() > IDLE_CAPACITY {
            received = Vec::new();
        }
        self.assembly = received;
    }
}

/// The message at the beginning of what was received, and where the next begins; `None` if it is not whole yet.
pub(in crate::signaling::link) fn next_message(received: &[u8], from: usize) -> Option<(&[u8], usize)> {
    let rest = received.get(from..)?;
    let mut reader = Reader::new(rest);
    let message = reader.blob(MESSAGE_BYTES_MAX)?;
    Some((message, received.len() - reader.left()))
}
