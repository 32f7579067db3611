//! What the server has promised one client.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

/// Certainly valid before `sure_until`, certainly over after `over_after`; in between, a timer may or may not have run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    sure_until: u64,
    over_after: u64,
}

impl Window {
    pub(crate) fn new(asked_at: u64, answered_at: u64, milliseconds: u64) -> Self {
        Self { sure_until: asked_at + milliseconds, over_after: answered_at + milliseconds }
    }

    pub(crate) fn shorten(&mut self, last: u64) {
        self.sure_until = self.sure_until.min(last);
        self.over_after = self.over_after.min(last);
    }

    pub(crate) fn is_sure(self, now: u64) -> bool {
        now < self.sure_until
    }

    pub(crate) fn is_over(self, now: u64) -> bool {
        now > self.over_after
    }

    /// Valid, or over for less than this.
    pub(crate) fn surely_lingers(self, now: u64, milliseconds: u64) -> bool {
        now < self.sure_until + milliseconds
    }

    /// Over for so long that the server has forgotten it.
    pub(crate) fn is_forgotten(self, now: u64, milliseconds: u64) -> bool {
        now > self.over_after + milliseconds
    }
}

#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) peer: SocketAddr,
    pub(crate) valid: Window,
}

/// One of the relayed addresses of an allocation, of which each family has a lifetime of its own.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) address: SocketAddr,
    pub(crate) valid: Window,
}

#[derive(Debug)]
pub(crate) struct Allocation {
    pub(crate) username: String,
    /// The secrets that its requests were signed with: mostly one.
    pub(crate) keys: Vec<&'static str>,
    /// A revocation has hit it, whichever secret counts.
    pub(crate) is_revoked: bool,
    /// A revocation has hit it if one of its secrets is what counts.
    pub(crate) maybe_revoked: bool,
    pub(crate) made_by: [u8; 12],
    /// What the first answer said, for retransmissions.
    pub(crate) answered: Vec<SocketAddr>,
    pub(crate) legs: Vec<Leg>,
    pub(crate) permissions: HashMap<IpAddr, Window>,
    pub(crate) channels: HashMap<u16, Channel>,
    pub(crate) to_peer_datagrams: u64,
    pub(crate) to_client_datagrams: u64,
}

impl Allocation {
    pub(crate) fn is_sure(&self, now: u64) -> bool {
        self.legs.iter().any(|leg| leg.valid.is_sure(now))
    }

    pub(crate) fn is_over(&self, now: u64) -> bool {
        self.legs.iter().all(|leg| leg.valid.is_over(now))
    }

    /// One more request of its maker.
    pub(crate) fn signed_by(&mut self, keys: &[&'static str]) {
        for key in keys.iter().filter(|key| !self.keys.contains(key)).copied().collect::<Vec<_>>() {
            self.keys.push(key);
        }
    }

    /// The relayed address that serves a peer.
    pub(crate) fn leg_for(&self, peer: IpAddr) -> Option<&Leg> {
        self.legs.iter().find(|leg| leg.address.is_ipv4() == peer.is_ipv4())
    }

    pub(crate) fn has(&self, relayed: SocketAddr) -> bool {
        self.legs.iter().any(|leg| leg.address == relayed)
    }

    /// Whether the server must serve this peer, channels aside.
    pub(crate) fn is_surely_permitted(&self, peer: IpAddr, now: u64) -> bool {
        self.leg_for(peer).is_some_and(|leg| leg.valid.is_sure(now))
            && self.permissions.get(&peer).is_some_and(|valid| valid.is_sure(now))
    }

    /// One of two families ends, with all that belongs to it.
    pub(crate) fn end_family(&mut self, is_ipv4: bool) {
        self.legs.retain(|leg| leg.address.is_ipv4() != is_ipv4);
        self.permissions.retain(|ip, _| ip.is_ipv4() != is_ipv4);
        self.channels.retain(|_, channel| channel.peer.is_ipv4() != is_ipv4);
    }
}
