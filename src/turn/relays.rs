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

/// A relay socket as it is kept: few addresses have many ports.
#[derive(Clone, Copy, Debug)]
struct Entry {
    owner: u32,
    port: u16,
    /// Its place among the addresses.
    address: u16,
    state: RelayState,
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
    slots: Vec<Entry>,
    free: VecDeque<u32>,
    /// Every address that was ever used; a reload may add some.
    addresses: Vec<RelayAddress>,
}

impl Relays {
    pub(super) fn get(&self, id: RelayId) -> Option<Relay> {
        let entry = self.slots.get(id.0 as usize).filter(|entry| entry.state != RelayState::Free)?;
        self.relay(entry)
    }

    /// The slot of the allocation that the bound socket belongs to.
    #[inline]
    pub(super) fn owner(&self, id: RelayId) -> Option<u32> {
        let entry = self.slots.get(id.0 as usize)?;
        (entry.state == RelayState::Bound).then_some(entry.owner)
    }

    /// A new entry for a socket that is to be bound; `None` if there are more addresses than anybody has.
    pub(super) fn open(&mut self, owner: u32, address: RelayAddress, port: u16) -> Option<RelayId> {
        let entry = Entry { owner, port, address: self.place_of(address)?, state: RelayState::Binding };
        if self.free.len() > RESTING
            && let Some(index) = self.free.pop_front()
            && let Some(slot) = self.slots.get_mut(index as usize)
        {
            *slot = entry;
            return Some(RelayId(index));
        }
        self.slots.push(entry);
        u32::try_from(self.slots.len() - 1).ok().map(RelayId)
    }

    /// Moves a socket that is still to be bound to another port.
    pub(super) fn move_to(&mut self, id: RelayId, address: RelayAddress, port: u16) {
        let Some(place) = self.place_of(address) else { return };
        if let Some(entry) = self.slots.get_mut(id.0 as usize) {
            (entry.address, entry.port) = (place, port);
        }
    }

    pub(super) fn set_state(&mut self, id: RelayId, state: RelayState) {
        debug_assert_ne!(state, RelayState::Free, "what is free goes on the list: see `free`");
        if let Some(entry) = self.slots.get_mut(id.0 as usize) {
            entry.state = state;
        }
    }

    /// Forgets a socket.
    pub(super) fn free(&mut self, id: RelayId) {
        if let Some(entry) = self.slots.get_mut(id.0 as usize).filter(|entry| entry.state != RelayState::Free)
        {
            entry.state = RelayState::Free;
            self.free.push_back(id.0);
        }
    }

    /// Every socket.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RelayId, Relay)> {
        let entries = (0_u32..).zip(&self.slots);
        let used = entries.filter(|(_, entry)| entry.state != RelayState::Free);
        used.filter_map(|(index, entry)| Some((RelayId(index), self.relay(entry)?)))
    }

    /// Whether a free entry is listed once, and nothing else is.
    pub(super) fn is_consistent(&self) -> bool {
        let free = self.slots.iter().filter(|entry| entry.state == RelayState::Free).count();
        free == self.free.len()
    }

    fn relay(&self, entry: &Entry) -> Option<Relay> {
        let Entry { owner, port, address, state } = *entry;
        let address = *self.addresses.get(usize::from(address))?;
        Some(Relay { owner, state, port, address })
    }

    fn place_of(&mut self, address: RelayAddress) -> Option<u16> {
        let known = self.addresses.iter().position(|known| *known == address);
        let place = known.unwrap_or_else(|| {
            self.addresses.push(address);
            self.addresses.len() - 1
        });
        u16::try_from(place).ok()
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
