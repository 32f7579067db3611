//! Links to the other nodes.

pub(super) mod wire;

use super::{
    Body, CallRecord, Next, NodeName, Now, Server, SessionId,
    deliver::{Parcel, Requester},
    hello::Arrival,
};

/// The links of this node.
#[derive(Debug, Default)]
pub(super) struct Links {}

impl Server {
    /// Something for a session that does not live here.
    pub(super) fn send_elsewhere(&mut self, now: Now, to: SessionId, parcel: Parcel) {
        let _ = (now, to, parcel);
    }

    /// Whether requests that send something to this session are to be taken; if not, they are `unavailable`.
    pub(super) fn can_reach(&self, to: SessionId) -> bool {
        let _ = to;
        true
    }

    /// Tells all other nodes how a call of this one stands.
    pub(super) fn announce_call(&mut self, call: &CallRecord) {
        let _ = call;
    }

    /// Hands a frame about a call to the node that has it. It comes out there at
    /// [`handle_call_from_elsewhere`](Server::handle_call_from_elsewhere), behind all that went there or to the caller
    /// before. `false`: that node cannot be reached at present, and the frame is not sent.
    pub(super) fn send_to_call(
        &mut self,
        now: Now,
        node: &NodeName,
        caller: SessionId,
        from: &Requester,
        body: &Body<'_>,
    ) -> bool {
        let _ = (now, node, caller, from, body);
        false
    }

    /// Asks the node where a session lives for it; gives the arrival back if there is no such node. The end is
    /// [`Server::finish_arrival`].
    pub(super) fn fetch_session(&mut self, now: Now, arrival: Box<Arrival>) -> Result<Next, Box<Arrival>> {
        let _ = now;
        Err(arrival)
    }

    /// The timer of a link is due.
    pub(super) fn link_due(&mut self, now: Now, node: &NodeName) {
        let _ = (now, node);
    }

    /// Another node is there: its first heartbeat, or a new run of it.
    pub fn handle_node_up(&mut self, now: Now, node: &NodeName, run: u64) {
        let _ = (now, node, run);
    }

    /// The lease of another node is over, or it left. Its sessions are lost.
    pub fn handle_node_down(&mut self, now: Now, node: &NodeName) {
        let _ = (now, node);
    }

    /// Another node sent this.
    pub fn handle_link(&mut self, now: Now, node: &NodeName, run: u64, bytes: &[u8]) {
        let _ = (now, node, run, bytes);
    }

    /// Other nodes can, or cannot, be reached at present; while not, what goes to them waits.
    pub fn handle_bus(&mut self, now: Now, is_up: bool) {
        let _ = (now, is_up);
    }
}
