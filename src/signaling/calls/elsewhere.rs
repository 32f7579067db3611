//! Calls and the other nodes: what those tell of theirs, frames that come from there, calls that move along with their
//! caller.

use bytes::Bytes;

use super::super::{Body, CallRecord, NodeName, Now, Server, SessionId, deliver::Requester};

impl Server {
    /// A frame about a call of this node, of a session of another one. The answer goes by
    /// [`reply`](Server::reply) as for those of this node. If the call is not here (any more) it is refused.
    pub(in crate::signaling) fn handle_call_from_elsewhere(
        &mut self,
        now: Now,
        from: &Requester,
        body: Body<'_>,
    ) {
        let _ = (now, from, body);
    }

    /// Another node told how a call of its own stands. May come again, and late: what is older than what is known
    /// (`sequence`), or of a node that the call has left, changes nothing.
    pub(in crate::signaling) fn call_announced(&mut self, now: Now, node: &NodeName, call: CallRecord) {
        let _ = (now, node, call);
    }

    /// All calls of this node that are not over, to be told to a node that knows none of them.
    pub(in crate::signaling) fn calls_of_here(&self) -> Vec<CallRecord> {
        Vec::new()
    }

    /// A node has told all its calls anew, and these are they: what else was known of it is over.
    pub(in crate::signaling) fn calls_confirmed(
        &mut self,
        now: Now,
        node: &NodeName,
        calls: &[super::super::CallId],
    ) {
        let _ = (now, node, calls);
    }

    /// A node is gone: its calls have no owner until somebody takes them over.
    pub(in crate::signaling) fn calls_node_down(&mut self, now: Now, node: &NodeName) {
        let _ = (now, node);
    }

    /// A session moved from one node to another, its calls along; called on all nodes, also on those two.
    pub(in crate::signaling) fn calls_session_moved(
        &mut self,
        now: Now,
        session: SessionId,
        from: &NodeName,
        to: &NodeName,
    ) {
        let _ = (now, session, from, to);
    }

    /// The calls that this session placed, to go along to another node, and no longer owned here.
    pub(in crate::signaling) fn pack_calls(&mut self, session: SessionId) -> Vec<Bytes> {
        let _ = session;
        Vec::new()
    }

    /// A call that came along with its caller's session: it is owned here from now on. What cannot be read is lost.
    pub(in crate::signaling) fn unpack_call(&mut self, now: Now, session: SessionId, packed: &[u8]) {
        let _ = (now, session, packed);
    }
}
