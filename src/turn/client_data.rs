//! From a client to a peer: ChannelData (RFC 8656 §12.5) and Send indications (RFC 8656 §11.2).
//!
//! Every packet of a call goes through here or through `peer_data`: one look-up of the five-tuple, one search in a
//! short vector, and no memory is allocated.

use std::{net::SocketAddr, ops::Range};

use super::{
    ClientOutcome, DropReason, FiveTuple, Now, RelayId, Server,
    allocation::Allocation,
    drops::Way,
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
        let allocation = self.allocations.get_mut(slot).ok_or(DropReason::NoAllocation)?;
        let Some(channel) = allocation.channels.by_number(number, now.monotonic) else {
            return Err(allocation.drop(Way::ToPeers, DropReason::NoChannel, 1));
        };
        let (peer, relay_ports_only) = (channel.peer(), channel.relay_ports_only);
        let socket = socket(allocation, peer, now)?;
        let route = Route { slot, socket, peer, relay_ports_only };
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
        let peer = SocketAddr::new(self.shown(indication.peer.ip()), indication.peer.port());
        let allocation = self.allocations.get_mut(slot).ok_or(DropReason::NoAllocation)?;
        if !allocation.is_live() {
            return Err(DropReason::NoAllocation);
        }
        let socket = match socket(allocation, peer, now) {
            Ok(socket) => socket,
            Err(reason) => return Err(allocation.drop(Way::ToPeers, reason, 1)),
        };
        let permission = allocation.permissions.get(PeerIp::from(peer.ip()), now.monotonic);
        let Some(relay_ports_only) = permission.map(|permission| permission.relay_ports_only) else {
            return Err(allocation.drop(Way::ToPeers, DropReason::NoPermission, 1));
        };
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
        let own = if relay_ports_only { Some(self.own_relay(peer)) } else { None };
        let bytes = payload.len();
        let allocation = self.allocations.get_mut(slot).ok_or(DropReason::NoAllocation)?;
        match own {
            Some(Some(own)) => peer = own,
            Some(None) => return Err(allocation.drop(Way::ToPeers, DropReason::OwnAddress, 1)),
            None => {}
        }
        if let Some(buckets) = &mut allocation.buckets
            && !buckets.to_peers.admit(bytes, now.monotonic)
        {
            return Err(allocation.drop(Way::ToPeers, DropReason::AllocationBandwidth, 1));
        }
        if !self.lease.admit(&self.shared.budget, bytes, now.monotonic) {
            return Err(allocation.drop(Way::ToPeers, DropReason::TotalBandwidth, 1));
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
