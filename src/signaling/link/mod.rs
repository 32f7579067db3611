//! Links to the other nodes.
//!
//! Each node tells every other what it has (`telling`), sends what is for sessions there (`routes`, `barriers`), and
//! hands sessions over to where their clients are (`take`). All of it goes over one channel each way (`channel`) that loses and
//! reorders nothing while both ends live.

mod barriers;
mod body;
mod calls;
mod channel;
pub(super) mod codec;
mod message;
mod node_link;
mod pack;
#[cfg(test)]
mod properties;
mod routes;
mod take;
mod telling;
pub(super) mod wire;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use self::{
    barriers::{Barrier, Early},
    channel::{Heard, next_message},
    message::{Message, Take, Told},
    node_link::Link,
    routes::Route,
    wire::{Reader, Writer},
};
use super::{
    CloseCode, NodeName, Now, Output, Server, SessionId, deliver::Requester, directory::Home, timers::Timer,
};

/// The links of this node.
#[derive(Debug)]
pub(super) struct Links {
    by_node: BTreeMap<NodeName, Link>,
    /// The number of the last stream that was begun.
    streams: u64,
    /// Whether packets can be sent at present.
    is_bus_up: bool,
    /// Whether anything may be there to be sent.
    is_stirred: bool,
    /// The last time that was told.
    now: Now,
    /// Sessions for which something is held back.
    routes: BTreeMap<SessionId, Route>,
    /// Sessions of which something is held back.
    barriers: BTreeMap<SessionId, Barrier>,
    /// What nodes have seen of sessions that are still on their way here.
    early: VecDeque<Early>,
    /// Who waits until nothing is held back for the session it wants.
    postponed: Vec<(NodeName, Take)>,
    /// Whose frame is being handled.
    sender: Option<SessionId>,
    /// The number of the last fence.
    fences: u64,
}

/// Beyond this, requests that concern several sessions that move wait no longer.
const POSTPONED_MAX: usize = 4096;

impl Default for Links {
    fn default() -> Self {
        Self {
            by_node: BTreeMap::new(),
            streams: 0,
            is_bus_up: true,
            is_stirred: false,
            now: Now::default(),
            routes: BTreeMap::new(),
            barriers: BTreeMap::new(),
            early: VecDeque::new(),
            postponed: Vec::new(),
            sender: None,
            fences: 0,
        }
    }
}

impl Server {
    /// Another node is there: its first heartbeat, or a new run of it. Which run is the one that goes on is for the
    /// cluster to know: its number may be lower than that of the run before.
    pub fn handle_node_up(&mut self, now: Now, node: &NodeName, run: u64) {
        if *node == self.setup.node {
            return;
        }
        self.links.now = now;
        match self.links.by_node.get_mut(node) {
            Some(link) if link.run == run && link.is_up => return,
            Some(link) if link.run == run => {
                // It was given up, and all that was known of it with it; it may have done the same.
                link.is_up = true;
                link.channel.set_up(now.monotonic, self.links.is_bus_up);
                link.say(Told::Again);
            }
            Some(_) | None => {
                self.handle_node_down(now, node);
                let stream = self.links.next_stream();
                let mut link = Link::new(run, stream);
                link.channel.set_up(now.monotonic, self.links.is_bus_up);
                self.links.by_node.insert(node.clone(), link);
            }
        }
        self.directory.set_told(true);
        self.begin_telling(node);
        self.links.is_stirred = true;
    }

    /// How many of the nodes that are there come before this one, by name: for what one of them is to do, and the next
    /// if that one does not.
    pub(super) fn rank(&self) -> u32 {
        let is_before = |(node, link): &(&NodeName, &Link)| link.is_up && **node < self.setup.node;
        u32::try_from(self.links.by_node.iter().filter(is_before).count()).unwrap_or(u32::MAX)
    }

    /// The lease of another node is over, or it left. Its sessions are lost.
    pub fn handle_node_down(&mut self, now: Now, node: &NodeName) {
        self.links.now = now;
        let stream = self.links.next_stream();
        let Some(link) = self.links.by_node.get_mut(node).filter(|link| link.is_up) else { return };
        link.is_up = false;
        link.channel.set_up(now.monotonic, false);
        link.end_fan();
        let undelivered = link.abandon(stream);
        link.channel.refuse();
        (link.telling, link.hearing, link.must_tell) = (None, None, false);
        self.calls_node_down(now, node);
        self.forget_sessions_of(now, node);
        self.barriers_without(now, node);
        self.routes_anew(now, node);
        self.answer_for(now, node);
        for (from, id) in undelivered {
            self.refuse_undelivered(now, from, id);
        }
        if self.links.by_node.values().all(|link| !link.is_up) {
            self.directory.set_told(false);
        }
    }

    /// Another node sent this.
    pub fn handle_link(&mut self, now: Now, node: &NodeName, run: u64, bytes: &[u8]) {
        self.links.now = now;
        let next_stream = self.links.streams + 1;
        let Some(link) = self.links.by_node.get_mut(node) else { return };
        if link.run != run || !link.is_up {
            return;
        }
        let Some(heard) = link.channel.handle(now.monotonic, bytes) else { return };
        self.links.is_stirred = true;
        if heard.must_begin {
            let undelivered = link.abandon(next_stream);
            self.links.streams = next_stream;
            self.begin_telling(node);
            for (from, id) in undelivered {
                self.refuse_undelivered(now, from, id);
            }
        }
        self.hear(now, node, heard);
    }

    fn hear(&mut self, now: Now, node: &NodeName, heard: Heard) {
        if heard.has_begun {
            self.routes_anew(now, node);
            // Its answers may have gone with the stream before.
            self.answer_for(now, node);
        }
        let Some(link) = self.links.by_node.get_mut(node) else { return };
        let received = link.channel.take_received();
        let mut taken = 0;
        while let Some((message, next)) = next_message(&received, taken) {
            taken = next;
            // What a newer version may say is not understood, and not needed.
            if let Some(message) = Message::read(&mut Reader::new(message)) {
                self.handle_message(now, node, message);
            }
        }
        if let Some(link) = self.links.by_node.get_mut(node) {
            link.channel.put_back(received, taken);
        }
    }

    fn handle_message(&mut self, now: Now, node: &NodeName, message: Message) {
        match message {
            Message::Told(told) => self.handle_told(now, node, told),
            Message::Carried(carried) => self.handle_carried(now, node, carried),
            Message::Lost(sessions) => self.handle_lost(now, &sessions),
            Message::Taking(taking) => self.handle_taking(now, node, taking),
            Message::Moving(moving) => self.handle_moving(now, node, moving),
        }
    }

    /// Frames for sessions of this node were lost on the way: those begin anew.
    fn handle_lost(&mut self, now: Now, sessions: &[SessionId]) {
        for id in sessions {
            let Some(session) = self.sessions.get_mut(*id) else {
                self.tell_lost(*id);
                continue;
            };
            session.queue.abandon();
            if let Some(connection) = session.socket() {
                self.close(now, connection, CloseCode::Slow);
            }
        }
    }

    /// A session that has moved on meanwhile is told where it is now.
    fn tell_lost(&mut self, id: SessionId) {
        let Some(Home::Node(node)) = self.directory.session(id).map(|entry| entry.node.clone()) else {
            return;
        };
        if let Some(link) = self.links.up(&node) {
            link.lose_session(id);
        }
    }

    /// Other nodes can, or cannot, be reached at present; while not, what goes to them waits.
    pub fn handle_bus(&mut self, now: Now, is_up: bool) {
        self.links.now = now;
        self.links.is_bus_up = is_up;
        for link in self.links.by_node.values_mut() {
            link.channel.set_up(now.monotonic, is_up && link.is_up);
        }
        self.links.is_stirred = true;
    }

    /// The timer of a link is due.
    pub(super) fn link_due(&mut self, now: Now, node: &NodeName) {
        self.links.now = now;
        let Some(link) = self.links.by_node.get_mut(node) else { return };
        link.timer = None;
        link.channel.handle_timeout(now.monotonic);
        self.links.is_stirred = true;
    }

    /// Whose frame is handled from now on: what it leads to keeps its order behind what that session sent before.
    pub(super) fn set_sender(&mut self, now: Now, sender: Option<SessionId>) {
        self.links.now = now;
        self.links.sender = sender;
    }

    /// Puts what goes to other nodes among the outputs.
    pub(super) fn flush_links(&mut self) {
        if self.links.by_node.is_empty() {
            return;
        }
        self.tell_news();
        if !std::mem::take(&mut self.links.is_stirred) {
            return;
        }
        let now = self.links.now;
        let nodes: Vec<NodeName> = self.links.by_node.keys().cloned().collect();
        for node in nodes {
            self.tell_more(&node);
            let Some(link) = self.links.by_node.get_mut(&node) else { continue };
            link.end_fan();
            link.tell_lost();
            while let Some(bytes) = link.channel.poll(now.monotonic) {
                self.outputs.push_back(Output::ToNode { node: node.clone(), run: link.run, bytes });
            }
            if let Some(at) = link.channel.deadline()
                && link.timer.is_none_or(|timer| at < timer)
            {
                link.timer = Some(at);
                self.timers.put(at, Timer::Link(node));
            }
        }
    }

    /// Whether everything that was said to other nodes has arrived there, as far as they can be reached.
    #[must_use]
    pub fn is_linked_up(&self) -> bool {
        self.links.by_node.values().all(|link| !link.is_up || link.channel.bytes() == 0)
    }
}

impl Links {
    fn next_stream(&mut self) -> u64 {
        self.streams += 1;
        self.streams
    }

    /// The other nodes that are there.
    fn nodes(&self) -> Vec<NodeName> {
        self.by_node.iter().filter(|(_, link)| link.is_up).map(|(node, _)| node.clone()).collect()
    }

    fn up(&mut self, node: &NodeName) -> Option<&mut Link> {
        self.is_stirred = true;
        self.by_node.get_mut(node).filter(|link| link.is_up)
    }

    /// Says the same to all other nodes but one. Where there is no room it is told with all the rest, later.
    fn say_to_all(&mut self, message: impl Into<Message>, but: Option<&NodeName>) {
        let mut writer = Writer::default();
        message.into().write(&mut writer);
        self.is_stirred = true;
        for (node, link) in &mut self.by_node {
            if link.is_up && but != Some(node) && !link.say_written(writer.as_bytes()) {
                link.must_tell = true;
            }
        }
    }
}

/// Who asks, in a message.
fn requester(session: SessionId, id: Option<Arc<str>>) -> Requester {
    Requester { session, id }
}
