//! What was dropped of one allocation's.

use std::net::SocketAddr;

use super::{DropReason, Tally};

/// Datagrams of an allocation that were not relayed. Most allocations have none of this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// From the client.
    pub to_peers: Tally<DropReason, { DropReason::ALL.len() }>,
    /// From peers.
    pub to_client: Tally<DropReason, { DropReason::ALL.len() }>,
    /// The last peer that sent without a permission.
    pub unpermitted: Option<SocketAddr>,
}

/// Whether a datagram was on its way out or in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ToPeers,
    ToClient,
}

/// Counts datagrams that were dropped; room is made when the first one is.
#[cold]
pub(super) fn count(
    drops: &mut Option<Box<Drops>>,
    way: Way,
    reason: DropReason,
    datagrams: usize,
) -> DropReason {
    let drops = drops.get_or_insert_default();
    match way {
        Way::ToPeers => drops.to_peers.add(reason, datagrams as u64),
        Way::ToClient => drops.to_client.add(reason, datagrams as u64),
    }
    reason
}
