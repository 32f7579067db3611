//! From clients to peers: a batch is received from one client socket, judged, and sent from relay sockets.

use std::{io, net::SocketAddr, os::fd::AsFd};

use super::{
    outbox::{self, Context, Destination},
    relay_sockets::Way,
    runs::Content,
    shard::{SLOTS, Shard, direct_token},
    sys::Received,
};
use crate::turn::{ClientOutcome, Direction, FiveTuple, ListenerId, Now, RelayId};

/// Where a run of payloads goes, and from which socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerKey {
    relay: RelayId,
    peer: SocketAddr,
    dont_fragment: bool,
}

impl Destination for PeerKey {
    fn address(&self) -> SocketAddr {
        self.peer
    }
}

impl Shard {
    /// Receives what waits at a client socket, at most a batch, and relays or answers it.
    pub(super) fn receive_from_clients(&mut self, now: Now, listener: ListenerId) {
        let Some(Some(socket)) = self.listeners.get(usize::from(listener.0)) else { return };
        let filled = match self.slots.receive_many(socket.as_fd(), 0, SLOTS) {
            Ok(filled) => filled,
            Err(error) => {
                self.counters.receive_failed += u64::from(error.kind() != io::ErrorKind::WouldBlock);
                return;
            }
        };
        self.counters.client_batches += 1;
        for slot in 0..filled {
            if let Some(received) = self.slots.received(slot) {
                self.judge_client_datagrams(now, listener, received);
            }
        }
        self.flush_to_peers(now);
    }

    fn judge_client_datagrams(&mut self, now: Now, listener: ListenerId, received: Received) {
        let from = FiveTuple::udp(listener, received.source);
        let end = received.start + received.total_bytes;
        let mut start = received.start;
        loop {
            let next = (start + received.segment_bytes).min(end);
            self.judge_client_datagram(now, from, start, next);
            if next == start || next == end {
                break;
            }
            start = next;
        }
    }

    fn judge_client_datagram(&mut self, now: Now, from: FiveTuple, start: usize, end: usize) {
        let Some(datagram) = self.slots.memory().get(start..end) else { return };
        match self.server.handle_client_datagram(now, from, datagram) {
            ClientOutcome::Relay { socket, peer, payload, dont_fragment } => {
                if self.server.is_observed(socket) {
                    let at = self.clock.micros();
                    let seen = datagram.get(payload.clone()).unwrap_or_default();
                    self.server.observe(at, socket, Direction::ToPeer, seen);
                }
                let key = PeerKey { relay: socket, peer, dont_fragment };
                let content = Content {
                    start: start + payload.start,
                    bytes: payload.end.saturating_sub(payload.start),
                    ..Content::default()
                };
                self.add_to_peers(now, key, content);
            }
            ClientOutcome::Reply(message) => {
                self.reply.clear();
                self.reply.extend_from_slice(message);
                self.finish_and_reply(now, from);
            }
            ClientOutcome::Pending => self.finish(now),
            ClientOutcome::Drop(_) => {}
        }
    }

    fn add_to_peers(&mut self, now: Now, key: PeerKey, content: Content<'_>) {
        let hash = key.relay.0 as usize;
        if !self.to_peers.add(key, hash, content) {
            self.flush_to_peers(now);
            let added = self.to_peers.add(key, hash, content);
            debug_assert!(added, "an empty batch has room");
        }
    }

    /// Sends what was judged fit to relay.
    pub(super) fn flush_to_peers(&mut self, now: Now) {
        if self.to_peers.is_empty() {
            return;
        }
        for (index, run) in self.to_peers.as_slice().iter().enumerate() {
            let PeerKey { relay, peer, dont_fragment } = run.key;
            let memory = self.slots.memory();
            if let Some(datagram) = self.to_peers.contiguous(run, memory) {
                let token = direct_token(relay);
                match self.relays.way_to(&self.epoll, relay, token, peer, dont_fragment) {
                    Some(Way::Connected(socket)) => {
                        outbox::send_connected(socket, datagram, &mut self.counters);
                    }
                    Some(Way::Addressed(socket)) => {
                        outbox::send_datagram(socket, peer, datagram, &mut self.counters);
                    }
                    None => {}
                }
                continue;
            }
            let Some(socket) = self.relays.get_to_send(relay, dont_fragment) else { continue };
            let mut context = Context { socket, memory, now: now.monotonic, counters: &mut self.counters };
            self.outbox.send(&self.to_peers, [index], &mut context);
        }
        self.to_peers.clear();
    }
}
