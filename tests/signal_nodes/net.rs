//! The bus between nodes: it delays, loses and cuts off, but what arrives comes in the order in which it was sent.

use std::collections::{BTreeMap, BTreeSet};

use crate::chance::Chance;

/// Packets on their way.
pub(crate) struct Net {
    /// By when they arrive, and in which order.
    flying: BTreeMap<(u64, u64), Packet>,
    sent: u64,
    /// When the last packet from one node to another arrives.
    last: BTreeMap<(usize, usize), u64>,
    /// Nodes that cannot reach the bus.
    pub(crate) cut: BTreeSet<usize>,
    /// Ways from one node to another that nothing passes.
    pub(crate) blocked: BTreeSet<(usize, usize)>,
    /// Of 1000 packets so many are lost.
    pub(crate) loss: u64,
    /// Milliseconds that a packet takes at most.
    pub(crate) delay: u64,
    pub(crate) lost: u64,
    pub(crate) carried: u64,
}

/// Something from one run of a node to one run of another.
pub(crate) struct Packet {
    pub(crate) from: usize,
    pub(crate) from_run: u64,
    pub(crate) to: usize,
    pub(crate) to_run: u64,
    pub(crate) bytes: bytes::Bytes,
}

impl Net {
    pub(crate) fn new() -> Self {
        Self {
            flying: BTreeMap::new(),
            sent: 0,
            last: BTreeMap::new(),
            cut: BTreeSet::new(),
            blocked: BTreeSet::new(),
            loss: 0,
            delay: 5,
            lost: 0,
            carried: 0,
        }
    }

    pub(crate) fn send(&mut self, now: u64, chance: &mut Chance, packet: Packet) {
        self.carried += 1;
        let way = (packet.from, packet.to);
        let is_stopped = self.cut.contains(&packet.from) || self.blocked.contains(&way);
        if is_stopped || chance.below(1000) < self.loss {
            self.lost += 1;
            return;
        }
        let earliest = self.last.get(&way).copied().unwrap_or_default();
        let at = (now + 1 + chance.below(self.delay)).max(earliest);
        self.last.insert(way, at);
        self.sent += 1;
        self.flying.insert((at, self.sent), packet);
    }

    /// When the next packet arrives.
    pub(crate) fn next(&self) -> Option<u64> {
        self.flying.keys().next().map(|(at, _)| *at)
    }

    /// What has arrived by now.
    pub(crate) fn arrive(&mut self, now: u64) -> Option<Packet> {
        if self.next()? > now {
            return None;
        }
        let (_, packet) = self.flying.pop_first()?;
        if self.cut.contains(&packet.to) {
            self.lost += 1;
            return self.arrive(now);
        }
        Some(packet)
    }
}
