//! From peers to clients: relay sockets are read one receive each, judged as whole trains, and sent from client
//! sockets with a header before each payload.

use std::{io, net::SocketAddr, os::fd::AsFd};

use super::{
    outbox::{Context, Destination},
    relay_sockets::Inlet,
    runs::{Content, HEADER_BYTES_MAX, Header, ZEROES},
    shard::Shard,
    sys::{HEADROOM_BYTES, Received},
};
use crate::{
    stun,
    turn::{Datagrams, Direction, FiveTuple, ListenerId, Now, PeerOutcome, Prefix, RelayId},
};

const _: () = assert!(HEADROOM_BYTES >= HEADER_BYTES_MAX);

/// Where a run of messages goes, and from which socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientKey {
    client: SocketAddr,
    listener: ListenerId,
}

/// What one receive from a relay socket brought.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FromPeer {
    /// What it brought waits in its slot to be sent.
    pub(super) slot_used: bool,
    /// It was several datagrams that the kernel had merged.
    pub(super) is_train: bool,
}

impl ClientKey {
    fn hash(&self) -> usize {
        let last = match self.client.ip() {
            std::net::IpAddr::V4(ip) => ip.octets()[3],
            std::net::IpAddr::V6(ip) => ip.octets()[15],
        };
        usize::from(self.client.port()) + 31 * usize::from(last)
    }
}

impl Destination for ClientKey {
    fn address(&self) -> SocketAddr {
        self.client
    }
}

impl Shard {
    /// Receives once from a relay socket into `slot`.
    pub(super) fn receive_from_peers(&mut self, now: Now, inlet: Inlet, slot: usize) -> FromPeer {
        let Some(socket) = self.relays.inlet(inlet) else { return FromPeer::default() };
        if let Err(error) = self.slots.receive_one(socket, slot) {
            self.counters.receive_failed += u64::from(!is_expected(&error));
            return FromPeer::default();
        }
        self.counters.relay_receives += 1;
        let Some(received) = self.slots.received(slot) else { return FromPeer::default() };
        let datagrams =
            Datagrams { segment_bytes: received.segment_bytes, total_bytes: received.total_bytes };
        let is_train = received.total_bytes > received.segment_bytes;
        let outcome = self.server.handle_peer_datagrams(now, inlet.relay, received.source, datagrams);
        if let PeerOutcome::Relay { count, .. } = outcome
            && self.server.is_observed(inlet.relay)
        {
            self.observe_from_peer(inlet.relay, received, count);
        }
        match outcome {
            PeerOutcome::Relay { client, prefix, count } if client.is_stream() => {
                self.push_to_stream(client, prefix, received, count);
                FromPeer { slot_used: false, is_train }
            }
            PeerOutcome::Relay { client, prefix, count } => {
                self.add_to_clients(now, client, prefix, received, count);
                FromPeer { slot_used: true, is_train }
            }
            PeerOutcome::Drop(_) => FromPeer { slot_used: false, is_train },
        }
    }

    fn observe_from_peer(&mut self, relay: RelayId, received: Received, count: usize) {
        let at = self.clock.micros();
        for (start, bytes) in segments(received).take(count) {
            let seen = self.slots.memory().get(start..start + bytes).unwrap_or_default();
            self.server.observe(at, relay, Direction::ToClient, seen);
        }
    }

    fn add_to_clients(
        &mut self,
        now: Now,
        client: FiveTuple,
        prefix: Prefix,
        received: Received,
        count: usize,
    ) {
        let key = ClientKey { client: client.client, listener: client.listener };
        if count > 1 && self.add_train_to_clients(now, key, prefix, received, count) {
            return;
        }
        for (number, (start, bytes)) in segments(received).take(count).enumerate() {
            let Some((header, padding)) = header_of(prefix, number, bytes, false) else {
                self.counters.send_refused += 1;
                continue;
            };
            // Before the first datagram there is room for its header, so that the two are one piece.
            let mut content = Content { start, bytes, header: Some(&header), padding };
            let length = usize::from(header.length);
            if number == 0
                && let Some(room) = self.slots.memory_mut().get_mut(start - length..start)
                && let Some(written) = header.bytes.get(..length)
            {
                room.copy_from_slice(written);
                content = Content { start: start - length, bytes: bytes + length, header: None, padding };
            }
            if !self.to_clients.add(key, key.hash(), content) {
                self.flush_to_clients(now);
                let added = self.to_clients.add(key, key.hash(), content);
                debug_assert!(added, "an empty batch has room");
            }
        }
    }

    /// Writes the headers of a train between its datagrams, so that all of it is one piece for the kernel: moving
    /// bytes that are in the cache costs less than a list of many parts. Answers false, and does nothing, if the
    /// headers do not fit in front or padding is needed.
    fn add_train_to_clients(
        &mut self,
        now: Now,
        key: ClientKey,
        prefix: Prefix,
        received: Received,
        count: usize,
    ) -> bool {
        let Some((first, _)) = header_of(prefix, 0, received.segment_bytes, false) else { return false };
        let length = usize::from(first.length);
        let is_padded = |bytes| header_of(prefix, 0, bytes, false).is_none_or(|(_, padding)| padding > 0);
        let total = received.total_bytes.min(count * received.segment_bytes);
        let last = total.saturating_sub((count - 1) * received.segment_bytes);
        if count * length > HEADROOM_BYTES || is_padded(received.segment_bytes) || is_padded(last) {
            return false;
        }
        let memory = self.slots.memory_mut();
        for (number, (start, bytes)) in segments(received).take(count).enumerate() {
            // The last datagram stays where it is; each before it makes room for the headers behind it.
            let to = start - (count - 1 - number) * length;
            memory.copy_within(start..start + bytes, to);
            if let Some((header, _)) = header_of(prefix, number, bytes, false)
                && let Some(room) = memory.get_mut(to - length..to)
                && let Some(written) = header.bytes.get(..length)
            {
                room.copy_from_slice(written);
            }
        }
        let (start, total) = (received.start - count * length, total + count * length);
        let segment_bytes = received.segment_bytes + length;
        let mut added = 0;
        while added < total {
            let (start, rest) = (start + added, total - added);
            let now_added = self.to_clients.add_train(key, key.hash(), start, rest, segment_bytes);
            added += now_added;
            if added < total {
                debug_assert!(now_added > 0 || !self.to_clients.is_empty(), "an empty batch has room");
                self.flush_to_clients(now);
            }
        }
        true
    }

    fn push_to_stream(&mut self, client: FiveTuple, prefix: Prefix, received: Received, count: usize) {
        let Some(queue) = self.streams.get(&client) else { return };
        let memory = self.slots.memory();
        for (number, (start, bytes)) in segments(received).take(count).enumerate() {
            let Some((header, padding)) = header_of(prefix, number, bytes, true) else {
                self.counters.send_refused += 1;
                continue;
            };
            let header = header.bytes.get(..usize::from(header.length)).unwrap_or_default();
            let payload = memory.get(start..start + bytes).unwrap_or_default();
            let padding = ZEROES.get(..padding).unwrap_or_default();
            // A queue counts what it drops.
            let _dropped = queue.push(&[header, payload, padding]);
        }
    }

    /// Sends what was judged fit to relay.
    pub(super) fn flush_to_clients(&mut self, now: Now) {
        if self.to_clients.is_empty() {
            return;
        }
        for (index, socket) in self.listeners.iter().enumerate() {
            let Some(socket) = socket else { continue };
            let runs = self.to_clients.as_slice();
            let is_ours =
                |run: &usize| runs.get(*run).is_some_and(|run| usize::from(run.key.listener.0) == index);
            let mut ours = (0..runs.len()).filter(is_ours).peekable();
            if ours.peek().is_none() {
                continue;
            }
            let mut context = Context {
                socket: socket.as_fd(),
                memory: self.slots.memory(),
                now: now.monotonic,
                counters: &mut self.counters,
            };
            self.outbox.send(&self.to_clients, ours, &mut context);
        }
        self.to_clients.clear();
    }
}

/// Start and length of each datagram of a train.
fn segments(received: Received) -> impl Iterator<Item = (usize, usize)> {
    let end = received.start + received.total_bytes;
    let step = received.segment_bytes.max(1);
    let first = std::iter::once(received.start);
    first
        .chain((received.start + step..end).step_by(step))
        .map(move |start| (start, received.segment_bytes.min(end - start)))
}

/// What goes before the datagram `number` of a train, and how many zero bytes behind it. `None`: no message can be
/// that large.
fn header_of(
    prefix: Prefix,
    number: usize,
    payload_bytes: usize,
    is_stream: bool,
) -> Option<(Header, usize)> {
    let bytes = u16::try_from(payload_bytes).ok()?;
    let mut header = Header { bytes: [0; HEADER_BYTES_MAX], length: 0 };
    match prefix {
        Prefix::Channel(channel) => {
            let written = stun::channel_data_header(channel, bytes);
            header.bytes.first_chunk_mut::<4>()?.copy_from_slice(&written);
            header.length = 4;
            Some((header, if is_stream { stun::padding(payload_bytes) } else { 0 }))
        }
        Prefix::Indication { peer, transaction_id } => {
            let transaction_id = nth_transaction(transaction_id, number);
            let length = stun::data_indication_header(&mut header.bytes, peer, &transaction_id, bytes);
            header.length = u8::try_from(length).ok().filter(|&length| length > 0)?;
            Some((header, stun::padding(payload_bytes)))
        }
    }
}

/// The transaction id `number` after `first`.
fn nth_transaction(first: stun::TransactionId, number: usize) -> stun::TransactionId {
    let mut id = first;
    if let Some(low) = id.last_chunk_mut::<8>() {
        *low = u64::from_be_bytes(*low).wrapping_add(number as u64).to_be_bytes();
    }
    id
}

/// Nothing there, or an ICMP error that waits at the socket: the error queue has it too.
fn is_expected(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_train_is_cut_into_its_datagrams() {
        let source = "192.0.2.1:1".parse().unwrap();
        let cut = |total_bytes, segment_bytes| {
            segments(Received { source, start: 10, total_bytes, segment_bytes }).collect::<Vec<_>>()
        };
        assert_eq!(cut(0, 0), [(10, 0)]);
        assert_eq!(cut(7, 7), [(10, 7)]);
        assert_eq!(cut(7, 3), [(10, 3), (13, 3), (16, 1)]);
        assert_eq!(cut(6, 3), [(10, 3), (13, 3)]);
    }

    #[test]
    fn channel_data_is_padded_on_streams_only_and_indications_always() {
        let padding = |prefix, is_stream| header_of(prefix, 0, 5, is_stream).unwrap().1;
        let indication = Prefix::Indication { peer: "192.0.2.1:1".parse().unwrap(), transaction_id: [0; 12] };
        assert_eq!(padding(Prefix::Channel(0x4000), false), 0);
        assert_eq!(padding(Prefix::Channel(0x4000), true), 3);
        assert_eq!(padding(indication, false), 3);
        assert_eq!(padding(indication, true), 3);
    }

    #[test]
    fn each_indication_of_a_train_has_a_transaction_of_its_own() {
        assert_eq!(nth_transaction([0xFF; 12], 0), [0xFF; 12]);
        let mut expected = [0; 12];
        expected[..4].copy_from_slice(&[0xFF; 4]);
        expected[11] = 1;
        assert_eq!(nth_transaction([0xFF; 12], 2), expected);
    }
}
