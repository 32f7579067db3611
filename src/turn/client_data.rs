//! From a client to a peer: ChannelData (RFC 8656 §12.5) and Send indications (RFC 8656 §11.2).
//!
//! Every packet of a call goes through here or through `peer_data`: one look-up of the five-tuple, one search in a
//! short vector, and no memory is allocated.

use std::{net::SocketAddr, ops::Range};

use super::{
    ClientOutcome, DropReason, FiveTuple, Now, RelayId, Server,
    allocation::Allocation,
    peers::{Family, PeerIp},
};
use crate::stun::{self, ParseError, SendIndication, SendIndicationError};

/// Where a client's payload goes.
struct Route {
    slot: u32,
    socket: RelayId,
    peer: SocketAddr,
    relay_ports_only: bool,
}

impl Server {
    #[inline]
    pub(super) fn relay_channel_data<'s>(
        &mut self,
        now: Now,
        from: &FiveTuple,
        datagram: &[u8],
    ) -> Result<ClientOutcome<'s>, DropReason> {
        let (number, payload) =
            stun::parse_channel_data(datagram).map_err(|_| DropReason::MalformedChannelData)?;
        let slot = self.allocations.find(from).ok_or(DropReason::NoAllocation)?;
        let allocation = self.allocations.get(slot).ok_or(DropReason::NoAllocation)?;
        let channel = allocation.channels.by_number(number, now.monotonic).ok_or(DropReason::NoChannel)?;
        let peer = channel.peer();
        let socket = socket(allocation, peer, now)?;
        let route = Route { slot, socket, peer, relay_ports_only: channel.relay_ports_only };
        self.relay_to_peer(now, route, payload, false)
    }

    #[inline]
    pub(super) fn relay_send<'s>(
        &mut self,
        now: Now,
        from: &FiveTuple,
        datagram: &[u8],
    ) -> Result<ClientOutcome<'s>, DropReason> {
        let indication = SendIndication::parse(datagram).map_err(|error| match error {
            SendIndicationError::Malformed(ParseError::BadFingerprint) => DropReason::BadFingerprint,
            SendIndicationError::Malformed(_) => DropReason::MalformedStun,
            SendIndicationError::OtherMessage { .. }
            | SendIndicationError::Unknown { .. }
            | SendIndicationError::NoPeer
            | SendIndicationError::Peer(_)
            | SendIndicationError::NoData => DropReason::MalformedIndication,
        })?;
        let slot = self.allocations.find(from).ok_or(DropReason::NoAllocation)?;
        let allocation = self.allocations.get(slot).ok_or(DropReason::NoAllocation)?;
        if !allocation.is_live() {
            return Err(DropReason::NoAllocation);
        }
        let peer = SocketAddr::new(self.shown(indication.peer.ip()), indication.peer.port());
        let socket = socket(allocation, peer, now)?;
        let permission = allocation.permissions.get(PeerIp::from(peer.ip()), now.monotonic);
        let relay_ports_only = permission.ok_or(DropReason::NoPermission)?.relay_ports_only;
        let route = Route { slot, socket, peer, relay_ports_only };
        self.relay_to_peer(now, route, indication.payload, indication.dont_fragment)
    }

    #[inline]
    fn relay_to_peer<'s>(
        &mut self,
        now: Now,
        route: Route,
        payload: Range<usize>,
        dont_fragment: bool,
    ) -> Result<ClientOutcome<'s>, DropReason> {
        let Route { slot, socket, mut peer, relay_ports_only } = route;
        if relay_ports_only {
            peer = self.own_relay(peer).ok_or(DropReason::OwnAddress)?;
        }
        let bytes = payload.len();
        let allocation = self.allocations.get_mut(slot).ok_or(DropReason::NoAllocation)?;
        if let Some(buckets) = &mut allocation.buckets
            && !buckets.to_peers.admit(bytes, now.monotonic)
        {
            return Err(DropReason::AllocationBandwidth);
        }
        if !self.lease.admit(&self.shared.budget, bytes, now.monotonic) {
            return Err(DropReason::TotalBandwidth);
        }
        allocation.to_peers.add(1, bytes as u64);
        self.counters.to_peers.add(1, bytes as u64);
        Ok(ClientOutcome::Relay { socket, peer, payload, dont_fragment })
    }
}

/// The relay socket for a peer: that of its family, unless its time is over.
#[inline]
fn socket(allocation: &Allocation, peer: SocketAddr, now: Now) -> Result<RelayId, DropReason> {
    let leg =
        Family::of(peer.ip()).and_then(|family| allocation.leg(family)).ok_or(DropReason::PeerFamily)?;
    if leg.expires <= now.monotonic {
        return Err(DropReason::NoAllocation);
    }
    Ok(leg.id())
}
