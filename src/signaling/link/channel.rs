//! One direction each way between two runs of two nodes, over a bus that loses packets: what is said arrives once, whole
//! and in order, for as long as both runs live.
//!
//! Messages are a stream of bytes, cut into numbered batches. The receiver says up to which batch it has all; what it
//! does not have is sent again. Neither side needs to know when the other began: a stream has a number, greater than
//! those before, and whoever sees one of which it does not have the beginning asks for a new one.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use super::{
    super::Instant,
    wire::{Reader, Writer},
};

/// What goes out to another node, and what came in from it.
#[derive(Debug)]
pub(super) struct Channel {
    // Out.
    stream: u64,
    /// Closed batches that are not acknowledged; the first has the number `base`.
    ring: VecDeque<Batch>,
    base: u64,
    /// The number of the next batch to send.
    cursor: u64,
    /// The batch that is being filled.
    open: Vec<u8>,
    /// Whether it begins with a message.
    begins: bool,
    /// In the ring and in the open batch.
    bytes: usize,
    retry: Option<Instant>,
    retry_after: Duration,
    rewound: Option<Instant>,
    /// Whether packets can be sent at present.
    is_up: bool,
    // In.
    from_stream: u64,
    received: u64,
    acknowledged: u64,
    acknowledge_at: Option<Instant>,
    has_gap: bool,
    /// A stream of which the beginning is missing.
    unknown: Option<u64>,
    /// Streams up to this one are not taken any more.
    refused: u64,
    /// Received, and not yet a whole message.
    assembly: Vec<u8>,
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
pub(super) enum Fill {
    /// Little.
    Free,
    /// So much that clients' requests are refused.
    Tight,
    /// So much that nothing is taken that can be told in another way later.
    Full,
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
/// Bytes that are not acknowledged, at most.
const BYTES_MAX: usize = 8 << 20;
/// Beyond that even what must be said is lost, and the other side told so.
const BYTES_HARD_MAX: usize = 2 * BYTES_MAX;
/// Batches on their way at once.
const WINDOW: u64 = 256;
/// After so many batches it is acknowledged at once.
const ACKNOWLEDGE_EVERY: u64 = 64;
const ACKNOWLEDGE_AFTER: Duration = Duration::from_millis(50);
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How often what was lost is sent again because the other side sees a gap.
const REWIND_AFTER: Duration = Duration::from_millis(20);
/// The longest message: a session that moves, with all that is kept for it.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Buffers that grew larger are not kept.
const IDLE_CAPACITY: usize = 4 << 10;

const VERSION: u8 = 1;
const DATA: u8 = 0;
const ACKNOWLEDGE: u8 = 1;
const GAP: u8 = 2;
const BEGIN: u8 = 3;

impl Channel {
    /// A channel whose first stream has this number, greater than that of any before to the same node.
    pub(super) fn new(stream: u64) -> Self {
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
            is_up: true,
            from_stream: 0,
            received: 0,
            acknowledged: 0,
            acknowledge_at: None,
            has_gap: false,
            unknown: None,
            refused: 0,
            assembly: Vec::new(),
        }
    }

    /// Begins anew: what was not acknowledged is gone, and the other side is to be told all.
    pub(super) fn begin(&mut self, stream: u64) {
        (self.stream, self.base, self.cursor, self.bytes) = (stream, 1, 1, 0);
        (self.ring, self.open, self.begins) = (VecDeque::new(), Vec::new(), false);
        (self.retry, self.retry_after) = (None, RETRY_FIRST);
    }

    /// How much waits.
    pub(super) fn fill(&self) -> Fill {
        let is_beyond = |quarters: usize| self.bytes >= BYTES_MAX / 4 * quarters;
        match (is_beyond(3), is_beyond(4)) {
            (_, true) => Fill::Full,
            (true, false) => Fill::Tight,
            (false, false) => Fill::Free,
        }
    }

    /// Bytes that are not acknowledged.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a message. `false`: there is no more room at all, and it is lost.
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

    /// Takes no more of what the other side has said so far: it is to begin anew.
    pub(super) fn refuse(&mut self) {
        (self.refused, self.has_gap, self.assembly) = (self.from_stream, false, Vec::new());
    }

    /// What was not acknowledged, as far as its beginning is still there.
    pub(super) fn unacknowledged(&self) -> Vec<u8> {
        let batches = self.ring.iter().skip_while(|batch| !batch.begins);
        let mut bytes: Vec<u8> = batches.flat_map(|batch| batch.bytes.iter().copied()).collect();
        if !bytes.is_empty() || self.begins {
            bytes.extend_from_slice(&self.open);
        }
        bytes
    }

    /// The next packet to send, if there is one.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Bytes> {
        if !self.is_up {
            return None;
        }
        if let Some(stream) = self.unknown.take() {
            return Some(self.packet(BEGIN, 0, &[], stream));
        }
        let is_in_window = self.cursor < self.base + WINDOW;
        if is_in_window && self.cursor == self.end() && !self.open.is_empty() {
            self.close_batch();
        }
        if is_in_window && self.cursor < self.end() {
            let index = usize::try_from(self.cursor - self.base).ok()?;
            let batch = self.ring.get(index)?.bytes.clone();
            let seq = self.cursor;
            self.cursor += 1;
            self.retry.get_or_insert(now.after(self.retry_after));
            self.has_acknowledged();
            return Some(self.packet(DATA, seq, &batch, self.from_stream));
        }
        if self.acknowledge_at.is_some_and(|at| at <= now) {
            let kind = if self.has_gap { GAP } else { ACKNOWLEDGE };
            self.has_acknowledged();
            return Some(self.packet(kind, 0, &[], self.from_stream));
        }
        None
    }

    fn has_acknowledged(&mut self) {
        self.acknowledge_at = None;
        self.acknowledged = self.received;
    }

    /// The number after that of the last closed batch.
    fn end(&self) -> u64 {
        self.base + self.ring.len() as u64
    }

    fn packet(&self, kind: u8, seq: u64, batch: &[u8], of_stream: u64) -> Bytes {
        let mut writer = Writer::default();
        writer.byte(VERSION).byte(kind).number(self.stream).number(seq).number(self.base);
        writer.number(of_stream).number(self.received).blob(batch);
        writer.into_bytes()
    }

    /// When [`poll`](Self::poll) has something without anything new.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if !self.is_up {
            return None;
        }
        [self.retry, self.acknowledge_at].into_iter().flatten().min()
    }

    /// Sends again what should have been acknowledged by now.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if !self.is_up || self.retry.is_none_or(|at| at > now) {
            return;
        }
        self.retry = None;
        self.retry_after = (self.retry_after * 2).min(RETRY_MAX);
        self.cursor = self.base;
    }

    /// Packets can, or cannot, be sent from now on.
    pub(super) fn set_up(&mut self, now: Instant, is_up: bool) {
        if is_up && !self.is_up {
            (self.retry, self.retry_after, self.cursor) = (None, RETRY_FIRST, self.base);
            self.acknowledge_at = Some(now);
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
        if of_stream == self.stream {
            if kind == BEGIN {
                heard.must_begin = true;
                return Some(heard);
            }
            self.take_acknowledgement(now, acknowledged, kind == GAP);
        }
        if kind == DATA {
            heard.has_begun = self.take_batch(now, stream, seq, base, batch);
        }
        Some(heard)
    }

    fn take_acknowledgement(&mut self, now: Instant, acknowledged: u64, has_gap: bool) {
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

    /// Answers whether a new stream begins.
    fn take_batch(&mut self, now: Instant, stream: u64, seq: u64, base: u64, batch: &[u8]) -> bool {
        if stream <= self.refused {
            self.unknown = Some(stream);
            return false;
        }
        if stream < self.from_stream {
            return false;
        }
        let is_new = stream > self.from_stream;
        if is_new && base > 1 {
            self.unknown = Some(stream);
            return false;
        }
        if is_new {
            (self.from_stream, self.received, self.acknowledged) = (stream, 0, 0);
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

    /// What was received and not taken, to be gone through with [`next_message`].
    pub(super) fn take_received(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.assembly)
    }

    /// Puts back what is no whole message yet: all from `taken` on.
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
pub(super) fn next_message(received: &[u8], from: usize) -> Option<(&[u8], usize)> {
    let rest = received.get(from..)?;
    let mut reader = Reader::new(rest);
    let message = reader.blob(MESSAGE_BYTES_MAX)?;
    Some((message, received.len() - reader.left()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(milliseconds: u64) -> Instant {
        Instant::from_millis(milliseconds)
    }

    /// Everything `from` has to send arrives, but what `is_lost` says.
    fn carry(now: Instant, from: &mut Channel, to: &mut Channel, mut is_lost: impl FnMut() -> bool) {
        while let Some(packet) = from.poll(now) {
            if !is_lost() {
                to.handle(now, &packet).unwrap();
            }
        }
    }

    fn taken(channel: &mut Channel) -> Vec<Vec<u8>> {
        let received = channel.take_received();
        let (mut all, mut at) = (Vec::new(), 0);
        while let Some((message, next)) = next_message(&received, at) {
            all.push(message.to_vec());
            at = next;
        }
        channel.put_back(received, at);
        all
    }

    #[test]
    fn a_message_of_any_size_arrives_whole() {
        let (mut one, mut other) = (Channel::new(1), Channel::new(1));
        let large: Vec<u8> = (0..3 * BATCH_BYTES).map(|byte| byte as u8).collect();
        for message in [&b"a"[..], &large, b"", b"b"] {
            assert!(one.push(message));
        }
        carry(at(0), &mut one, &mut other, || false);
        assert_eq!(taken(&mut other), [b"a".to_vec(), large, Vec::new(), b"b".to_vec()]);
        assert_eq!(other.deadline(), Some(at(50)));
        carry(at(50), &mut other, &mut one, || false);
        assert_eq!((one.bytes(), one.deadline()), (0, None));
    }

    #[test]
    fn what_is_not_acknowledged_can_be_looked_through() {
        let (mut one, mut other) = (Channel::new(1), Channel::new(1));
        let half = vec![7; BATCH_BYTES / 2];
        let large = vec![8; 2 * BATCH_BYTES];
        for message in [&half, &half, &large, &half] {
            assert!(one.push(message));
        }
        let all = |channel: &Channel| {
            let waiting = channel.unacknowledged();
            let (mut lengths, mut at) = (Vec::new(), 0);
            while let Some((message, next)) = next_message(&waiting, at) {
                lengths.push(message.len());
                at = next;
            }
            assert_eq!(at, waiting.len());
            lengths
        };
        assert_eq!(all(&one), [half.len(), half.len(), large.len(), half.len()]);
        // Of the large one the first part has arrived: it is not whole any more.
        for _ in 0..3 {
            other.handle(at(0), &one.poll(at(0)).unwrap()).unwrap();
        }
        other.acknowledge_at = Some(at(0));
        one.handle(at(0), &other.poll(at(0)).unwrap()).unwrap();
        assert_eq!(all(&one), [half.len()]);
    }

    #[test]
    fn what_is_not_acknowledged_comes_again_later_and_later() {
        let mut channel = Channel::new(1);
        channel.push(b"a");
        assert!(channel.poll(at(0)).is_some());
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..5 {
            let due = channel.deadline().unwrap();
            waits.push(due.since(now).as_millis());
            now = due;
            channel.handle_timeout(now);
            assert!(channel.poll(now).is_some());
        }
        assert_eq!(waits, [500, 1000, 2000, 4000, 5000]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut channel = Channel::new(1);
        let message = vec![0; BATCH_BYTES];
        let mut fills = Vec::new();
        while channel.push(&message) {
            fills.push(channel.fill());
        }
        assert!(channel.bytes() <= BYTES_HARD_MAX);
        fills.dedup();
        assert_eq!(fills, [Fill::Free, Fill::Tight, Fill::Full]);
    }

    #[test]
    fn while_the_bus_is_down_all_waits_and_then_comes_in_order() {
        let (mut one, mut other) = (Channel::new(1), Channel::new(1));
        one.push(b"a");
        carry(at(0), &mut one, &mut other, || true);
        one.set_up(at(1), false);
        one.push(b"b");
        assert!(one.poll(at(10_000)).is_none());
        assert_eq!(one.deadline(), None);
        one.set_up(at(10_000), true);
        carry(at(10_000), &mut one, &mut other, || false);
        assert_eq!(taken(&mut other), [b"a", b"b"]);
    }

    #[test]
    fn who_has_not_the_beginning_asks_for_a_new_stream() {
        let (mut one, mut old) = (Channel::new(1), Channel::new(1));
        one.push(b"a");
        carry(at(0), &mut one, &mut old, || false);
        carry(at(50), &mut old, &mut one, || false);
        let mut new = Channel::new(2);
        one.push(b"b");
        carry(at(60), &mut one, &mut new, || false);
        assert!(taken(&mut new).is_empty());
        let asks = new.poll(at(60)).unwrap();
        assert!(one.handle(at(60), &asks).unwrap().must_begin);
        one.begin(5);
        one.push(b"c");
        let packet = one.poll(at(60)).unwrap();
        assert!(new.handle(at(60), &packet).unwrap().has_begun);
        assert_eq!(taken(&mut new), [b"c"]);
        // A packet of the stream before changes nothing any more.
        assert!(!one.handle(at(61), &asks).unwrap().must_begin);
    }

    proptest! {
        #[test]
        fn whatever_is_lost_all_arrives_once_and_in_order(
            lengths in proptest::collection::vec(0_usize..20_000, 1..60),
            losses in proptest::collection::vec(any::<bool>(), 64),
        ) {
            let (mut one, mut other) = (Channel::new(1), Channel::new(1));
            let mut losses = losses.into_iter().cycle().take(400);
            let mut arrived = Vec::new();
            let mut now = at(0);
            let mut messages = lengths.iter().enumerate().map(|(index, length)| vec![index as u8; *length]);
            let sent: Vec<Vec<u8>> = messages.clone().collect();
            // Losses end, but each of the last ones can cost the longest wait.
            for _ in 0..100_000 {
                match messages.next() {
                    Some(message) => drop(one.push(&message)),
                    None if one.bytes() == 0 => break,
                    None => {}
                }
                carry(now, &mut one, &mut other, || losses.next().unwrap_or(false));
                carry(now, &mut other, &mut one, || losses.next().unwrap_or(false));
                arrived.extend(taken(&mut other));
                now = now.after(Duration::from_millis(25));
                one.handle_timeout(now);
            }
            prop_assert_eq!(arrived, sent);
            prop_assert_eq!(one.bytes(), 0);
        }

        #[test]
        fn no_packet_panics(packets in proptest::collection::vec(
            (0_u8..5, 0_u64..4, 0_u64..6, 0_u64..6, 0_u64..4, 0_u64..6, proptest::collection::vec(any::<u8>(), 0..40)),
            0..40,
        )) {
            let mut channel = Channel::new(2);
            for (kind, stream, seq, base, of_stream, acknowledged, batch) in packets {
                channel.push(b"something");
                while channel.poll(at(0)).is_some() {}
                let mut writer = Writer::default();
                writer.byte(VERSION).byte(kind).number(stream).number(seq).number(base);
                writer.number(of_stream).number(acknowledged).blob(&batch);
                channel.handle(at(0), writer.as_bytes());
                channel.handle(at(0), &batch);
                drop(taken(&mut channel));
            }
        }
    }
}
