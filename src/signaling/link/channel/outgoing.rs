//! What goes out to another node, until it is acknowledged.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use super::{
    super::{super::Instant, wire::Writer},
    BATCH_BYTES, MESSAGE_BYTES_MAX,
};

/// A stream of messages, cut into numbered batches.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) stream: u64,
    /// Closed batches that are not acknowledged; the first has the number `base`.
    ring: VecDeque<Batch>,
    pub(super) base: u64,
    /// The number of the next batch to send.
    cursor: u64,
    /// The batch that is being filled.
    open: Vec<u8>,
    /// Whether it begins with a message.
    begins: bool,
    /// In the ring and in the open batch.
    bytes: usize,
    /// When what is on its way is sent again.
    retry: Option<Instant>,
    retry_after: Duration,
    rewound: Option<Instant>,
}

/// What goes out as one packet.
#[derive(Debug)]
struct Batch {
    bytes: Bytes,
    /// Whether a message begins at its beginning; else it goes on with one of the batch before.
    begins: bool,
}

/// How much waits to be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::signaling::link) enum Fill {
    /// Little.
    Free,
    /// So much that clients' requests are refused.
    Tight,
    /// So much that nothing is taken that can be told in another way later.
    Full,
}

/// Bytes that are not acknowledged, at most.
const BYTES_MAX: usize = 8 << 20;
/// Beyond that even what must be said is lost, and the other side told so.
pub(super) const BYTES_HARD_MAX: usize = 2 * BYTES_MAX;
/// Batches on their way at once.
const WINDOW: u64 = 256;
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How often what was lost is sent again because the other side sees a gap.
const REWIND_AFTER: Duration = Duration::from_millis(20);

impl Outgoing {
    pub(super) const fn new(stream: u64) -> Self {
        Self {
            stream,
            ring: VecDeque::new(),
            base: 1,
            cursor: 1,
            open: Vec::new(),
            begins: false,
            bytes: 0,
            retry: None,
            retry_after: RETRY_FIRST,
            rewound: None,
        }
    }

    /// Begins a new stream: what was not acknowledged is gone.
    pub(super) fn begin(&mut self, stream: u64) {
        *self = Self { rewound: self.rewound, ..Self::new(stream) };
    }

    pub(super) const fn fill(&self) -> Fill {
        if self.bytes >= BYTES_MAX {
            Fill::Full
        } else if self.bytes >= BYTES_MAX / 4 * 3 {
            Fill::Tight
        } else {
            Fill::Free
        }
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, message: &[u8]) -> bool {
        if self.bytes + message.len() > BYTES_HARD_MAX || message.len() > MESSAGE_BYTES_MAX {
            return false;
        }
        let mut length = Writer::default();
        length.number(message.len() as u64);
        // A batch begins with a message, unless one needs several batches.
        let is_too_long = self.open.len() + length.as_bytes().len() + message.len() > BATCH_BYTES;
        if !self.open.is_empty() && (is_too_long || !self.begins) {
            self.close_batch();
        }
        if self.open.is_empty() {
            self.begins = true;
        }
        self.append(length.as_bytes());
        self.append(message);
        true
    }

    fn append(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len();
        while !bytes.is_empty() {
            let room = BATCH_BYTES - self.open.len();
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.open.extend_from_slice(now);
            if self.open.len() == BATCH_BYTES {
                self.close_batch();
            }
            bytes = later;
        }
    }

    fn close_batch(&mut self) {
        let begins = std::mem::replace(&mut self.begins, false);
        self.ring.push_back(Batch { bytes: std::mem::take(&mut self.open).into(), begins });
    }

    pub(super) fn unacknowledged(&self) -> Vec<u8> {
        let batches = self.ring.iter().skip_while(|batch| !batch.begins);
        let mut bytes: Vec<u8> = batches.flat_map(|batch| batch.bytes.iter().copied()).collect();
        if !bytes.is_empty() || self.begins {
            bytes.extend_from_slice(&self.open);
        }
        bytes
    }

    /// The next batch to send and its number, if there is one.
    pub(super) fn next(&mut self, now: Instant) -> Option<(u64, Bytes)> {
        if self.cursor >= self.base + WINDOW {
            return None;
        }
        if self.cursor == self.end() && !self.open.is_empty() {
            self.close_batch();
        }
        let index = usize::try_from(self.cursor - self.base).ok()?;
        let batch = self.ring.get(index)?.bytes.clone();
        let number = self.cursor;
        self.cursor += 1;
        self.retry.get_or_insert(now.after(self.retry_after));
        Some((number, batch))
    }

    /// The number after that of the last closed batch.
    fn end(&self) -> u64 {
        self.base + self.ring.len() as u64
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.retry
    }

    /// Sends again what should have been acknowledged by now.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.retry.is_some_and(|at| at <= now) {
            self.retry = None;
            self.retry_after = (self.retry_after * 2).min(RETRY_MAX);
            self.cursor = self.base;
        }
    }

    /// Sends all again that is not acknowledged.
    pub(super) fn rewind(&mut self) {
        (self.retry, self.retry_after, self.cursor) = (None, RETRY_FIRST, self.base);
    }

    /// The other side has all up to this batch, and misses some after it if it sees a gap.
    pub(super) fn take_acknowledgement(&mut self, now: Instant, acknowledged: u64, has_gap: bool) {
        if acknowledged >= self.end() {
            return;
        }
        let mut is_news = false;
        while self.base <= acknowledged {
            let Some(batch) = self.ring.pop_front() else { break };
            self.bytes -= batch.bytes.len();
            self.base += 1;
            is_news = true;
        }
        self.cursor = self.cursor.max(self.base);
        if is_news {
            self.retry_after = RETRY_FIRST;
            self.retry = (self.cursor > self.base).then(|| now.after(self.retry_after));
        }
        let is_old = self.rewound.is_none_or(|at| now.since(at) >= REWIND_AFTER);
        if has_gap && is_old && self.cursor > self.base {
            self.cursor = self.base;
            self.rewound = Some(now);
        }
    }
}
