//! CreatePermission: let peers send to the client (RFC 8656 §9, §10).

use std::net::{IpAddr, SocketAddr};

use super::{
    Cause, Code, Now, Rule, Server, Verdict,
    allocation::Allocation,
    authentication::Proved,
    peers::{Family, PeerIp, Permission},
    response::{Head, Refused},
};
use crate::stun::{self, Message, attribute};

/// The most ports of one address that a message may name on average; bounds the work it makes.
const PORTS_MAX: usize = 8;

/// A peer address that a client may exchange data with.
#[derive(Clone, Copy, Debug)]
pub(super) struct LegalPeer {
    /// As clients know it.
    pub(super) ip: IpAddr,
    pub(super) relay_ports_only: bool,
}

impl Server {
    /// Installs or refreshes a permission for every XOR-PEER-ADDRESS, or for none of them.
    pub(super) fn handle_create_permission(
        &mut self,
        now: Now,
        head: &Head,
        message: &Message<'_>,
        proved: &Proved<'_>,
        slot: u32,
    ) -> Result<usize, Refused> {
        let most = usize::from(self.options.limits.permissions_per_allocation);
        let legal = self.legal_peers(message, slot, most)?;
        let Some(allocation) = self.allocations.get_mut(slot) else {
            return Err(Code::AllocationMismatch.into());
        };
        drop_expired_permissions(allocation, now, &mut self.counters.permissions);
        let added = legal.iter().filter(|(ip, _)| !allocation.permissions.contains(*ip)).count();
        if allocation.permissions.len() + added > most {
            return Err(Code::InsufficientCapacity.into());
        }
        for (_, peer) in legal {
            self.permit(now, slot, peer);
        }
        self.write_success(head, Some(&proved.signature), |_| Ok(()))
    }

    /// The addresses that are named, each once, if there are any and each of them is well formed (400), of a family
    /// that the allocation has (443), and allowed (403).
    fn legal_peers(
        &mut self,
        message: &Message<'_>,
        slot: u32,
        most: usize,
    ) -> Result<Vec<(PeerIp, LegalPeer)>, Code> {
        let named: Result<Vec<SocketAddr>, _> = peers(message).collect();
        let named = named.map_err(|_| Code::BadRequest)?;
        if named.is_empty() {
            return Err(Code::BadRequest);
        }
        // Several ports of an address are one permission, but nobody needs this many.
        if named.len() > most.saturating_mul(PORTS_MAX) {
            return Err(Code::InsufficientCapacity);
        }
        for peer in &named {
            self.check_family(slot, peer.ip())?;
        }
        let judged = named
            .iter()
            .map(|peer| Ok((PeerIp::from(self.shown(peer.ip())), self.judge_counted(peer.ip())?)));
        let mut legal = judged.collect::<Result<Vec<_>, Code>>()?;
        legal.sort_unstable_by_key(|&(ip, _)| ip);
        legal.dedup_by_key(|&mut (ip, _)| ip);
        Ok(legal)
    }

    /// Whether the allocation has a relay of the peer's family: 443.
    pub(super) fn check_family(&self, slot: u32, ip: IpAddr) -> Result<(), Code> {
        let allocation = self.allocations.get(slot).ok_or(Code::AllocationMismatch)?;
        let family = Family::of(ip).and_then(|family| allocation.leg(family));
        family.map(|_| ()).ok_or(Code::PeerAddressFamilyMismatch)
    }

    /// [`Server::judge`], and the denial counted.
    pub(super) fn judge_counted(&mut self, ip: IpAddr) -> Result<LegalPeer, Code> {
        self.judge(ip).map_err(|rule| {
            self.counters.peers_denied.add(rule.class(), 1);
            self.cause = Some(Cause::PeerDenied { ip, rule });
            Code::Forbidden
        })
    }

    /// Whether clients may have this peer. Relayed transport addresses of our own are legal, unless the configuration
    /// denies them by name, but nothing else on these addresses is.
    pub(super) fn judge(&self, ip: IpAddr) -> Result<LegalPeer, Rule> {
        let ip = self.shown(ip);
        let is_relay = self.told().any(|address| address.advertised == ip);
        match self.policy.judge(ip) {
            Verdict::AllowedExplicitly => Ok(LegalPeer { ip, relay_ports_only: false }),
            Verdict::Allowed => Ok(LegalPeer { ip, relay_ports_only: is_relay }),
            Verdict::Denied(Rule::OwnAddress | Rule::Registry(_)) if is_relay => {
                Ok(LegalPeer { ip, relay_ports_only: true })
            }
            Verdict::Denied(rule) => Err(rule),
        }
    }

    /// Installs or refreshes a permission; there is room for it.
    pub(super) fn permit(&mut self, now: Now, slot: u32, peer: LegalPeer) {
        let expires = now.monotonic.after(self.options.lifetimes.permission);
        let Some(allocation) = self.allocations.get_mut(slot) else { return };
        let before = allocation.permissions.len();
        let (ip, relay_ports_only) = (PeerIp::from(peer.ip), peer.relay_ports_only);
        allocation.permissions.set(Permission { ip, expires, relay_ports_only });
        self.counters.permissions += (allocation.permissions.len() - before) as u64;
    }
}

/// Makes room: what has expired counts no longer.
pub(super) fn drop_expired_permissions(allocation: &mut Allocation, now: Now, gauge: &mut u64) {
    let before = allocation.permissions.len();
    allocation.permissions.retain(|permission| now.monotonic < permission.expires);
    *gauge -= (before - allocation.permissions.len()) as u64;
}

/// Every XOR-PEER-ADDRESS of a message.
fn peers(message: &Message<'_>) -> impl Iterator<Item = Result<SocketAddr, stun::AttributeError>> {
    let transaction_id = message.transaction_id();
    let values = message.attributes().filter(|&(found, _)| found == attribute::XOR_PEER_ADDRESS);
    values.map(move |(_, value)| stun::xor_address(value, &transaction_id))
}
