//! Calls across links.

use super::{
    super::{Body, CallRecord, NodeName, Now, Server, SessionId, deliver::Requester},
    Message,
    body::write_body,
    telling::is_at,
    wire::Writer,
};

impl Server {
    /// Tells all other nodes how a call of this one stands.
    pub(in crate::signaling) fn announce_call(&mut self, call: &CallRecord) {
        if self.links.by_node.is_empty() {
            return;
        }
        self.tell_news();
        self.links.say_to_all(&Message::Call(Box::new(call.clone())), None);
    }

    /// Hands a frame about a call to the node that has it. It comes out there at
    /// [`handle_call_from_elsewhere`](Server::handle_call_from_elsewhere), behind all that went there or to the caller
    /// before. `false`: that node cannot be reached at present, and the frame is not sent.
    pub(in crate::signaling) fn send_to_call(
        &mut self,
        now: Now,
        node: &NodeName,
        caller: SessionId,
        from: &Requester,
        body: &Body<'_>,
    ) -> bool {
        let mut writer = Writer::default();
        if !self.can_reach_node(node) || !write_body(&mut writer, body) {
            return false;
        }
        // Where the caller is there the call is, unless another took it over.
        let is_with_caller = self.directory.session(caller).is_some_and(|entry| is_at(entry, node));
        let caller = is_with_caller.then_some(caller);
        let (session, id) = (from.session, from.id.clone());
        let message = Message::ToCall { caller, from: session, id, body: writer.into_bytes() };
        let sender = self.links.sender;
        match caller {
            Some(caller) => self.send_on(now, caller, sender, message),
            None => self.send_to_node(node, sender, message),
        }
        true
    }
}
