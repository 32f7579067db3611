//! ChannelBind: four bytes instead of a Send indication (RFC 8656 §12).

use super::{
    Code, Event, Now, Output, Server,
    authentication::Proved,
    create_permission::{LegalPeer, drop_expired_permissions},
    peers::{Channel, ChannelConflict, PeerIp},
    response::{Head, Refused},
};
use crate::stun::{
    self, CHANNEL_NUMBER_MAX, CHANNEL_NUMBER_MAX_LEGACY, CHANNEL_NUMBER_MIN, Message, attribute,
};

impl Server {
    /// Binds a channel number and a peer to one another, or renews that; the peer's permission with it.
    pub(super) fn handle_channel_bind(
        &mut self,
        now: Now,
        head: &Head,
        message: &Message<'_>,
        proved: &Proved<'_>,
        slot: u32,
    ) -> Result<usize, Refused> {
        let number = message.find(attribute::CHANNEL_NUMBER).map(stun::channel_number);
        let peer = message.find(attribute::XOR_PEER_ADDRESS);
        let peer = peer.map(|value| stun::xor_address(value, &message.transaction_id()));
        let (Some(Ok(number)), Some(Ok(peer))) = (number, peer) else { return Err(Code::BadRequest.into()) };
        let most =
            if self.options.legacy_channel_numbers { CHANNEL_NUMBER_MAX_LEGACY } else { CHANNEL_NUMBER_MAX };
        if !(CHANNEL_NUMBER_MIN..=most).contains(&number) {
            return Err(Code::BadRequest.into());
        }
        self.forget_channels(now, slot);
        let ip = PeerIp::from(self.shown(peer.ip()));
        let Some(allocation) = self.allocations.get(slot) else {
            return Err(Code::AllocationMismatch.into());
        };
        let bound = allocation.channels.is_bound(number, ip, peer.port());
        let is_new = !bound.map_err(|ChannelConflict| Code::BadRequest)?;
        self.check_family(slot, peer.ip())?;
        let legal = self.judge_counted(peer.ip())?;
        self.check_room(now, slot, is_new, ip)?;
        self.bind(now, slot, number, peer.port(), legal);
        self.write_success(head, Some(&proved.signature), |_| Ok(()))
    }

    /// Whether one more channel, and the permission that goes with it, are within the limits: 508.
    fn check_room(&mut self, now: Now, slot: u32, is_new: bool, ip: PeerIp) -> Result<(), Code> {
        let limits = self.options.limits;
        let allocation = self.allocations.get_mut(slot).ok_or(Code::AllocationMismatch)?;
        drop_expired_permissions(allocation, now, &mut self.counters.permissions);
        let channels_full = allocation.channels.len() >= usize::from(limits.channels_per_allocation);
        let permissions_full = allocation.permissions.len() >= usize::from(limits.permissions_per_allocation);
        if is_new && channels_full || permissions_full && !allocation.permissions.contains(ip) {
            return Err(Code::InsufficientCapacity);
        }
        Ok(())
    }

    fn bind(&mut self, now: Now, slot: u32, number: u16, port: u16, peer: LegalPeer) {
        self.permit(now, slot, peer);
        let lifetime = self.options.lifetimes.channel;
        let expires = now.monotonic.after(lifetime);
        let ip = PeerIp::from(peer.ip);
        let channel = Channel { ip, expires, port, number, relay_ports_only: peer.relay_ports_only };
        let Some(allocation) = self.allocations.get_mut(slot) else { return };
        let before = allocation.channels.len();
        allocation.channels.set(channel);
        self.counters.channels += (allocation.channels.len() - before) as u64;
        let leg = super::peers::Family::of(peer.ip).and_then(|family| allocation.leg(family));
        if let Some(leg) = leg {
            let event = Event::ChannelBound {
                five_tuple: allocation.five_tuple,
                socket: leg.id(),
                number,
                peer: channel.peer(),
                lifetime: u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX),
            };
            self.outputs.push_back(Output::Event(event));
        }
    }

    /// Drops bindings that expired so long ago that number and peer may be bound anew.
    fn forget_channels(&mut self, now: Now, slot: u32) {
        let linger = self.options.lifetimes.channel_linger;
        let keep = |channel: &mut Channel| now.monotonic < channel.expires.after(linger);
        self.retain_channels(slot, keep);
    }

    /// Keeps the channels that `keep` says, and tells of the others.
    pub(super) fn retain_channels(&mut self, slot: u32, keep: impl FnMut(&mut Channel) -> bool) {
        let Some(allocation) = self.allocations.get_mut(slot) else { return };
        let five_tuple = allocation.five_tuple;
        let (outputs, gauge) = (&mut self.outputs, &mut self.counters.channels);
        allocation.channels.retain(keep, |channel| {
            *gauge -= 1;
            outputs.push_back(Output::Event(Event::ChannelUnbound { five_tuple, number: channel.number }));
        });
    }
}
