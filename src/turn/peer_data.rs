//! From a peer to its client: ChannelData, Data indications (RFC 8656 §11.3), and ICMP errors (RFC 8656 §11.5).

use std::net::SocketAddr;

use super::{
    Datagrams, DropReason, IcmpError, Now, Output, PeerOutcome, Prefix, RelayId, Server, drops::Way,
    peers::PeerIp,
};
use crate::stun::{Class, Icmp, Method, TransactionId, Writer, attribute};

/// The most payload that still fits one UDP datagram with the header of a Data indication before it.
const PAYLOAD_BYTES_MAX: usize = 65_507 - 48 - 3;

impl Server {
    /// Datagrams arrived at a relay socket from one peer. They are judged together.
    pub fn handle_peer_datagrams(
        &mut self,
        now: Now,
        socket: RelayId,
        peer: SocketAddr,
        datagrams: Datagrams,
    ) -> PeerOutcome {
        match self.relay_to_client(now, socket, peer, datagrams) {
            Ok(outcome) => outcome,
            Err(reason) => {
                self.counters.drops.add(reason, datagrams.count() as u64);
                PeerOutcome::Drop(reason)
            }
        }
    }

    #[inline]
    fn relay_to_client(
        &mut self,
        now: Now,
        socket: RelayId,
        peer: SocketAddr,
        datagrams: Datagrams,
    ) -> Result<PeerOutcome, DropReason> {
        let slot = self.relays.owner(socket).ok_or(DropReason::RelayClosed)?;
        let shown = self.shown_to(slot, peer, now);
        let allocation = self.allocations.get_mut(slot).ok_or(DropReason::RelayClosed)?;
        if !allocation.is_served(socket, now.monotonic) {
            return Err(DropReason::RelayClosed);
        }
        let ip = PeerIp::from(shown.ip());
        let permission = allocation.permissions.get(ip, now.monotonic);
        let Some(relay_ports_only) = permission.map(|permission| permission.relay_ports_only) else {
            let reason = allocation.drop(Way::ToClient, DropReason::NoPermission, datagrams.count());
            if let Some(drops) = &mut allocation.drops {
                drops.unpermitted = Some(shown);
            }
            return Err(reason);
        };
        if relay_ports_only && !self.shared.ports.is_relay(peer.ip(), peer.port()) {
            return Err(allocation.drop(Way::ToClient, DropReason::OwnAddress, datagrams.count()));
        }
        if datagrams.segment_bytes > PAYLOAD_BYTES_MAX {
            return Err(allocation.drop(Way::ToClient, DropReason::Oversized, datagrams.count()));
        }
        let channel =
            allocation.channels.by_peer(ip, peer.port(), now.monotonic).map(|channel| channel.number);
        let admitted = match &mut allocation.buckets {
            Some(buckets) => buckets.to_client.admit_datagrams(datagrams, now.monotonic),
            None => datagrams.count(),
        };
        if admitted == 0 {
            return Err(allocation.drop(Way::ToClient, DropReason::AllocationBandwidth, datagrams.count()));
        }
        let within = first(datagrams, admitted);
        let count = self.lease.admit_datagrams(&self.shared.budget, within, now.monotonic);
        if count == 0 {
            return Err(allocation.drop(Way::ToClient, DropReason::TotalBandwidth, datagrams.count()));
        }
        let offered = datagrams.count();
        if count < offered {
            let beyond = [
                (DropReason::AllocationBandwidth, offered - admitted),
                (DropReason::TotalBandwidth, admitted - count),
            ];
            for (reason, datagrams) in beyond.into_iter().filter(|(_, datagrams)| *datagrams > 0) {
                self.counters.drops.add(allocation.drop(Way::ToClient, reason, datagrams), datagrams as u64);
            }
        }
        let bytes = first(datagrams, count).total_bytes as u64;
        allocation.to_client.add(count as u64, bytes);
        self.counters.to_clients.add(count as u64, bytes);
        let client = allocation.five_tuple;
        let prefix = match channel {
            Some(number) => Prefix::Channel(number),
            None => Prefix::Indication { peer: shown, transaction_id: self.indication_ids(count) },
        };
        Ok(PeerOutcome::Relay { client, prefix, count })
    }

    /// The transaction id of the first of so many Data indications; those of the others follow it.
    fn indication_ids(&mut self, count: usize) -> TransactionId {
        let mut transaction_id = [0; 12];
        transaction_id[..4].copy_from_slice(&self.indication_prefix);
        transaction_id[4..].copy_from_slice(&self.indications.to_be_bytes());
        self.indications = self.indications.wrapping_add(count as u64);
        transaction_id
    }

    /// An ICMP error arrived at a relay socket for something sent to `peer`: the client is told, if it has a
    /// permission for that peer and the error is of a kind that RFC 8656 §11.5 passes on.
    pub fn handle_icmp_error(&mut self, now: Now, socket: RelayId, peer: SocketAddr, error: IcmpError) {
        if let Err(reason) = self.report_icmp(now, socket, peer, error) {
            self.counters.drops.add(reason, 1);
        }
    }

    fn report_icmp(
        &mut self,
        now: Now,
        socket: RelayId,
        peer: SocketAddr,
        error: IcmpError,
    ) -> Result<(), DropReason> {
        let slot = self.relays.owner(socket).ok_or(DropReason::RelayClosed)?;
        let shown = self.shown_to(slot, peer, now);
        let allocation = self.allocations.get(slot).ok_or(DropReason::RelayClosed)?;
        let icmp = passed_on(peer, error).ok_or(DropReason::IcmpIgnored)?;
        let permission = allocation.permissions.get(PeerIp::from(shown.ip()), now.monotonic);
        permission.ok_or(DropReason::IcmpIgnored)?;
        let to = allocation.five_tuple;
        let mut buffer = [0; 64];
        let transaction_id = self.indication_ids(1);
        let written = Writer::new(&mut buffer, Class::Indication, Method::DATA, transaction_id).and_then(
            |mut writer| {
                writer.xor_address(attribute::XOR_PEER_ADDRESS, shown)?;
                writer.icmp(icmp)?;
                Ok(writer.finish())
            },
        );
        let message = written.ok().and_then(|bytes| buffer.get(..bytes)).ok_or(DropReason::Oversized)?;
        self.outputs.push_back(Output::Send { to, message: message.into() });
        Ok(())
    }
}

/// The first `count` of some datagrams.
#[inline]
fn first(datagrams: Datagrams, count: usize) -> Datagrams {
    let total_bytes = datagrams.total_bytes.min(datagrams.segment_bytes.saturating_mul(count));
    Datagrams { segment_bytes: datagrams.segment_bytes, total_bytes }
}

/// What the ICMP attribute says, for errors that a client may learn of: unreachable, too big, time exceeded.
fn passed_on(peer: SocketAddr, error: IcmpError) -> Option<Icmp> {
    let IcmpError { kind, code, data } = error;
    let (is_reported, has_mtu) = match (peer, kind, code) {
        (SocketAddr::V4(_), 3, 4) | (SocketAddr::V6(_), 2, _) => (true, true),
        (SocketAddr::V4(_), 3 | 11, _) | (SocketAddr::V6(_), 1 | 3, _) => (true, false),
        (SocketAddr::V4(_) | SocketAddr::V6(_), _, _) => (false, false),
    };
    let data = if has_mtu { data } else { 0 };
    is_reported.then_some(Icmp { kind, code: u16::from(code), data })
}
