//! The table of relay sockets: who owns which.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
};

use super::{RelayAddress, RelayId};

/// So many ids are free before one is used again: what a driver has already received for a socket that was just
/// closed can't be taken for something of the next one.
const RESTING: usize = 64;

/// What a relay socket is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RelayState {
    /// The id names nothing.
    Free,
    /// A bind is outstanding.
    Binding,
    /// A bind is outstanding, and nobody waits for it any more.
    Abandoned,
    /// It belongs to a live allocation, or to one that waits for its other relay.
    Bound,
}

/// A relay socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relay {
    /// The slot of its allocation.
    pub(super) owner: u32,
    pub(super) state: RelayState,
    pub(super) port: u16,
    pub(super) address: RelayAddress,
}

impl Relay {
    pub(super) fn local(&self) -> SocketAddr {
        SocketAddr::new(self.address.local, self.port)
    }

    /// The relayed transport address that the client is told.
    pub(super) fn relayed(&self) -> SocketAddr {
        SocketAddr::new(self.address.advertised, self.port)
    }
}

/// All relay sockets of a server.
#[derive(Debug, Default)]
pub(super) struct Relays {
    slots: Vec<Relay>,
    free: VecDeque<u32>,
}

impl Relays {
    #[inline]
    pub(super) fn get(&self, id: RelayId) -> Option<&Relay> {
        self.slots.get(id.0 as usize).filter(|relay| relay.state != RelayState::Free)
    }

    pub(super) fn get_mut(&mut self, id: RelayId) -> Option<&mut Relay> {
        self.slots.get_mut(id.0 as usize).filter(|relay| relay.state != RelayState::Free)
    }

    /// The slot of the allocation that the bound socket belongs to.
    #[inline]
    pub(super) fn owner(&self, id: RelayId) -> Option<u32> {
        let relay = self.slots.get(id.0 as usize)?;
        (relay.state == RelayState::Bound).then_some(relay.owner)
    }

    /// A new entry for a socket that is to be bound.
    pub(super) fn open(&mut self, owner: u32, address: RelayAddress, port: u16) -> RelayId {
        let relay = Relay { owner, state: RelayState::Binding, port, address };
        if self.free.len() > RESTING
            && let Some(index) = self.free.pop_front()
            && let Some(slot) = self.slots.get_mut(index as usize)
        {
            *slot = relay;
            return RelayId(index);
        }
        self.slots.push(relay);
        RelayId((self.slots.len() - 1) as u32)
    }

    /// Forgets a socket.
    pub(super) fn free(&mut self, id: RelayId) {
        if let Some(relay) = self.get_mut(id) {
            relay.state = RelayState::Free;
            self.free.push_back(id.0);
        }
    }

    /// Every entry in use.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RelayId, &Relay)> {
        let entries = (0_u32..).zip(&self.slots);
        entries
            .filter(|(_, relay)| relay.state != RelayState::Free)
            .map(|(index, relay)| (RelayId(index), relay))
    }

    /// Whether a free entry is listed once, and nothing else is.
    pub(super) fn is_consistent(&self) -> bool {
        let free = self.slots.iter().filter(|relay| relay.state == RelayState::Free).count();
        free == self.free.len()
    }
}

/// How well a relay address suits a client that came in at `listening`: less is better.
pub(super) fn rank(address: &RelayAddress, listening: Option<IpAddr>) -> u8 {
    match listening {
        Some(ip) if ip == address.local => 0,
        Some(ip) if ip.is_loopback() == address.local.is_loopback() => 1,
        Some(_) | None => 2,
    }
}
