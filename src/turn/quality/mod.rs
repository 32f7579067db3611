//! How good calls are, as seen in passing at the relay: loss and jitter of RTP streams (RFC 3550 §6.4.1).
//!
//! What is seen is the way from the sender to here: loss between here and the receiver is not. Only headers are read,
//! which SRTP leaves in the clear, and nothing of a packet is kept but its numbers. Off unless asked for, and then for
//! one of so many allocations.

mod histogram;
mod seen;
mod stream;

use std::collections::HashMap;

pub use histogram::Histogram;
use seen::Seen;
use stream::Header;

use super::{AllocationId, RelayId, Server, allocation::Allocation};

/// Bounds of the shares of packets that were lost.
const LOSS_BOUNDS: [f64; 9] = [0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];
/// Bounds of jitter in seconds.
const JITTER_BOUNDS: [f64; 9] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.3];
/// Those without a label, and those for whose label there was no place.
const OTHERS: &str = "";

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QualityOptions {
    /// One allocation of so many; 0 is none.
    pub sample: u32,
    /// The labels of credentials that are told apart; further ones count together with those that have none.
    pub labels: u32,
}

impl Default for QualityOptions {
    fn default() -> Self {
        Self { sample: 0, labels: 100 }
    }
}

/// Where a packet was going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to a peer.
    ToPeer,
    /// From a peer to the client.
    ToClient,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::ToPeer, Self::ToClient];

    /// Its name in metrics: `to_peer`, `to_client`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ToPeer => "to_peer",
            Self::ToClient => "to_client",
        }
    }
}

/// What was measured of some streams.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Heard {
    /// Packets that should have come.
    pub expected: u64,
    /// Packets of these that did not.
    pub lost: u64,
    /// Intervals in which jitter was measured.
    pub jitters: u64,
    /// The sum of their jitter in seconds.
    pub jitter_seconds: f64,
}

impl Heard {
    /// The share of packets that were lost; `None` where none was expected.
    #[must_use]
    pub fn loss_ratio(&self) -> Option<f64> {
        (self.expected > 0).then(|| self.lost as f64 / self.expected as f64)
    }

    /// The mean jitter in seconds; `None` where none was measured.
    #[must_use]
    pub fn jitter(&self) -> Option<f64> {
        (self.jitters > 0).then(|| self.jitter_seconds / self.jitters as f64)
    }

    /// Adds what was measured elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.expected += other.expected;
        self.lost += other.lost;
        self.jitters += other.jitters;
        self.jitter_seconds += other.jitter_seconds;
    }

    fn add(&mut self, interval: &Interval) {
        self.expected += interval.expected;
        self.lost += interval.lost;
        if let Some(jitter) = interval.jitter_seconds {
            self.jitters += 1;
            self.jitter_seconds += jitter;
        }
    }
}

/// One stream for some seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Interval {
    expected: u64,
    lost: u64,
    jitter_seconds: Option<f64>,
}

/// What was measured in one direction.
#[derive(Clone, Debug, PartialEq)]
pub struct QualityCounters {
    /// The share of packets lost, by stream and interval.
    pub loss: Histogram<{ LOSS_BOUNDS.len() }>,
    /// Jitter in seconds, by stream and interval.
    pub jitter: Histogram<{ JITTER_BOUNDS.len() }>,
    /// All of it together.
    pub heard: Heard,
    /// Packets of streams beyond those that are told apart.
    pub passed_over: u64,
}

impl Default for QualityCounters {
    fn default() -> Self {
        Self {
            loss: Histogram::new(LOSS_BOUNDS),
            jitter: Histogram::new(JITTER_BOUNDS),
            heard: Heard::default(),
            passed_over: 0,
        }
    }
}

impl QualityCounters {
    /// Adds what another shard measured.
    pub fn merge(&mut self, other: &Self) {
        self.loss.merge(&other.loss);
        self.jitter.merge(&other.jitter);
        self.heard.merge(&other.heard);
        self.passed_over += other.passed_over;
    }

    fn add(&mut self, interval: &Interval) {
        if interval.expected > 0 {
            self.loss.add(interval.lost as f64 / interval.expected as f64);
        }
        if let Some(jitter) = interval.jitter_seconds {
            self.jitter.add(jitter);
        }
        self.heard.add(interval);
    }
}

/// What was measured so far; by [`Direction`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QualityReport {
    /// All labels together.
    pub counters: [QualityCounters; 2],
    /// By label, sorted; the empty one is those without a label, and those for whom there was no place.
    pub labels: Vec<(Box<str>, [Heard; 2])>,
}

/// What is measured of the allocations of one server.
#[derive(Debug)]
pub(super) struct Quality {
    options: QualityOptions,
    /// By slot.
    calls: HashMap<u32, Box<Call>, ahash::RandomState>,
    counters: [QualityCounters; 2],
    labels: HashMap<Box<str>, [Heard; 2]>,
}

/// One allocation.
#[derive(Debug)]
struct Call {
    id: AllocationId,
    label: Box<str>,
    seen: [Seen; 2],
    heard: [Heard; 2],
}

impl Quality {
    /// `None` if nothing is to be measured.
    pub(super) fn new(options: QualityOptions) -> Option<Box<Self>> {
        // Slots are ours: nobody chooses them so that they collide.
        let calls = HashMap::with_hasher(ahash::RandomState::with_seeds(1, 2, 3, 4));
        let (counters, labels) = (<[QualityCounters; 2]>::default(), HashMap::default());
        (options.sample > 0).then(|| Box::new(Self { options, calls, counters, labels }))
    }

    /// Takes over other options. What was measured stays, unless nothing is to be measured any more.
    pub(super) fn change(quality: &mut Option<Box<Self>>, options: QualityOptions) {
        match quality {
            Some(quality) if options.sample > 0 => quality.options = options,
            Some(_) | None => *quality = Self::new(options),
        }
    }

    fn is_sampled(&self, id: AllocationId) -> bool {
        self.options.sample == 1 || id.count().is_multiple_of(u64::from(self.options.sample.max(1)))
    }

    fn take(&mut self, slot: u32, allocation: &Allocation, way: Direction, header: Header, at_micros: u64) {
        let id = allocation.id;
        let call = self.calls.entry(slot).or_insert_with(|| Box::new(Call::new(allocation)));
        if call.id != id {
            **call = Call::new(allocation);
        }
        let (Some(seen), Some(heard)) = (call.seen.get_mut(way as usize), call.heard.get_mut(way as usize))
        else {
            return;
        };
        let Some(counters) = self.counters.get_mut(way as usize) else { return };
        match seen.take(header, at_micros) {
            seen::Taken::Counted => {}
            seen::Taken::PassedOver => counters.passed_over += 1,
            seen::Taken::Interval(interval) => {
                heard.add(&interval);
                counters.add(&interval);
                let label = call.label.clone();
                add_to_label(&mut self.labels, self.options.labels, label, way, &interval);
            }
        }
    }

    /// An allocation ended: what was measured last counts too.
    pub(super) fn ended(&mut self, slot: u32) {
        let Some(mut call) = self.calls.remove(&slot) else { return };
        for way in Direction::ALL {
            let (Some(seen), Some(counters)) =
                (call.seen.get_mut(way as usize), self.counters.get_mut(way as usize))
            else {
                continue;
            };
            for interval in seen.finish() {
                counters.add(&interval);
                add_to_label(&mut self.labels, self.options.labels, call.label.clone(), way, &interval);
            }
        }
    }

    /// What was measured of a live allocation, by [`Direction`]; the interval that goes on is not in it.
    pub(super) fn of(&self, slot: u32, id: AllocationId) -> Option<[Heard; 2]> {
        self.calls.get(&slot).filter(|call| call.id == id).map(|call| call.heard)
    }

    pub(super) fn report(&self) -> QualityReport {
        let mut labels: Vec<_> = self.labels.iter().map(|(label, heard)| (label.clone(), *heard)).collect();
        labels.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        QualityReport { counters: self.counters.clone(), labels }
    }
}

impl Call {
    fn new(allocation: &Allocation) -> Self {
        let label = allocation.user_part.claims(&allocation.username).label.unwrap_or(OTHERS);
        Self {
            id: allocation.id,
            label: label.into(),
            seen: <[Seen; 2]>::default(),
            heard: [Heard::default(); 2],
        }
    }
}

fn add_to_label(
    labels: &mut HashMap<Box<str>, [Heard; 2]>,
    most: u32,
    label: Box<str>,
    way: Direction,
    interval: &Interval,
) {
    let is_full = labels.len() >= most as usize && !labels.contains_key(&label);
    let label = if is_full { OTHERS.into() } else { label };
    let heard = labels.entry(label).or_default();
    if let Some(heard) = heard.get_mut(way as usize) {
        heard.add(interval);
    }
}

impl Server {
    /// Whether [`Server::observe`] wants to see packets that are relayed by this socket. To be asked first, even before
    /// the clock is read: where nothing is measured it is one branch, and next to nothing for calls that are not.
    #[inline]
    #[must_use]
    pub fn is_observed(&self, socket: RelayId) -> bool {
        match &self.quality {
            None => false,
            Some(quality) => self.observed(quality, socket).is_some(),
        }
    }

    /// Looks at a packet that is relayed; `at_micros` is when it came, on any clock that does not go back.
    #[inline(never)]
    pub fn observe(&mut self, at_micros: u64, socket: RelayId, way: Direction, payload: &[u8]) {
        let Some(header) = Header::parse(payload) else { return };
        let Some(mut quality) = self.quality.take() else { return };
        if let Some((slot, allocation)) = self.observed(&quality, socket) {
            quality.take(slot, allocation, way, header, at_micros);
        }
        self.quality = Some(quality);
    }

    /// The allocation of a socket with its slot, if it is one that is measured.
    fn observed(&self, quality: &Quality, socket: RelayId) -> Option<(u32, &Allocation)> {
        let slot = self.relays.owner(socket)?;
        let allocation = self.allocations.get(slot)?;
        quality.is_sampled(allocation.id).then_some((slot, allocation))
    }

    /// What was measured so far; `None` if nothing is.
    #[must_use]
    pub fn quality(&self) -> Option<QualityReport> {
        self.quality.as_ref().map(|quality| quality.report())
    }
}

#[cfg(test)]
mod tests;
