//! Calls across links.

use std::sync::Arc;

use super::{
    super::{
        Body, CallRecord, ErrorCode, NodeName, Now, Server, SessionId,
        deliver::{Refusal, Requester},
        directory::Home,
        session::queue::Answer,
    },
    body::write_body,
    message::{Carried, Told},
    telling::is_at,
    wire::Writer,
};

/// So many requests to a node may wait before it is looked which of them still do.
pub(super) const ASKED_SWEEP: usize = 256;
/// So many are remembered at the most; those beyond are never answered if the node dies.
const ASKED_MAX: usize = 65_536;

impl Server {
    /// Tells all other nodes how a call of this one stands.
    pub(in crate::signaling) fn announce_call(&mut self, call: &CallRecord) {
        if self.links.by_node.is_empty() {
            return;
        }
        self.tell_news();
        self.links.say_to_all(Told::Call(Box::new(call.clone())), None);
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
        self.remember_awaited(node, from);
        let carried = Carried::ToCall { caller, from: session, id, body: writer.into_bytes() };
        let sender = self.links.sender;
        match caller {
            Some(caller) => self.send_on(now, caller, sender, carried),
            None => self.send_to_node(node, sender, carried),
        }
        true
    }

    /// So that [`answer_for`](Self::answer_for) knows who waits.
    fn remember_awaited(&mut self, node: &NodeName, from: &Requester) {
        let Some(id) = &from.id else { return };
        let Some(link) = self.links.by_node.get_mut(node) else { return };
        if link.asked.len() >= link.asked_sweep {
            let sessions = &self.sessions;
            link.asked.retain(|(session, id)| {
                sessions.get(*session).is_some_and(|session| !session.replies.is_answered(id))
            });
            link.asked_sweep = (2 * link.asked.len()).clamp(ASKED_SWEEP, ASKED_MAX);
        }
        if link.asked.len() < ASKED_MAX {
            link.asked.insert((from.session, Arc::clone(id)));
        }
    }

    /// What a session that moves waits for.
    pub(super) fn take_awaited(&mut self, session: SessionId) -> Vec<(Arc<str>, NodeName)> {
        let mut all = Vec::new();
        let none: Arc<str> = "".into();
        for (node, link) in &mut self.links.by_node {
            let from = link.asked.range((session, Arc::clone(&none))..);
            let its: Vec<_> = from.take_while(|(of, _)| *of == session).cloned().collect();
            for request in its {
                link.asked.remove(&request);
                all.push((request.1, node.clone()));
            }
        }
        all
    }

    /// What a session that has moved here waits for.
    pub(super) fn await_also(&mut self, now: Now, session: SessionId, asked: Vec<(Arc<str>, NodeName)>) {
        for (id, node) in asked {
            let from = Requester { session, id: Some(id) };
            if node == self.setup.node || self.links.up(&node).is_some() {
                self.remember_awaited(&node, &from);
            } else {
                self.refuse_unanswered(now, &from);
            }
        }
    }

    /// A node answered what it was asked about a call.
    pub(super) fn forget_awaited(&mut self, node: &NodeName, to: SessionId, id: &Arc<str>) {
        if let Some(link) = self.links.by_node.get_mut(node) {
            link.asked.remove(&(to, Arc::clone(id)));
        }
    }

    /// A node is gone that was asked about calls: those who asked are told, since it will not answer.
    pub(super) fn answer_for(&mut self, now: Now, node: &NodeName) {
        let Some(link) = self.links.by_node.get_mut(node) else { return };
        for (session, id) in std::mem::take(&mut link.asked) {
            self.refuse_unanswered(now, &Requester { session, id: Some(id) });
        }
    }

    /// A request about a call did not get to the node of the call. Who asked may be of another node.
    pub(super) fn refuse_undelivered(&mut self, now: Now, from: SessionId, id: Arc<str>) {
        match self.directory.session(from).map(|entry| entry.node.clone()) {
            Some(Home::Here) => self.refuse_unanswered(now, &Requester { session: from, id: Some(id) }),
            Some(Home::Node(node)) => {
                let answer = Answer::Error(node_is_gone().members());
                self.say_to(&node, Carried::Answer { to: from, id, answer });
            }
            None => {}
        }
    }

    fn refuse_unanswered(&mut self, now: Now, from: &Requester) {
        let is_known = |id| self.sessions.get(from.session).is_some_and(|own| own.replies.is_answered(id));
        if !from.id.as_deref().is_some_and(is_known) {
            self.reply_error(now, from, &node_is_gone());
        }
    }
}

fn node_is_gone() -> Refusal {
    Refusal::new(ErrorCode::Unavailable, "the node of the call is gone")
}
