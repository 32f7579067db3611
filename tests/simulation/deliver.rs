//! Hands messages to the servers and holds every outcome against the model.

use std::net::SocketAddr;

use iceway::{
    stun::{Class, Message, SendIndication, parse_channel_data},
    turn::{
        AllocationSummary, ClientOutcome, CloseReason, Counters, Datagrams, DropReason, Expiry, FiveTuple,
        IcmpError, PeerOutcome, Prefix, Refusal, RelayId,
    },
};

use crate::{
    client,
    world::{Event, World},
};

/// A [`ClientOutcome`] that no longer borrows the server.
enum Outcome {
    Relay { socket: RelayId, peer: SocketAddr, payload: std::ops::Range<usize> },
    Reply(Vec<u8>),
    Pending,
    Drop(DropReason),
}

impl World {
    pub(crate) fn deliver(&mut self, from: FiveTuple, bytes: &[u8]) {
        let (shard, now) = (self.shard(&from), self.time());
        let before = self.servers[shard].counters().clone();
        let outcome = match self.servers[shard].handle_client_datagram(now, from, bytes) {
            ClientOutcome::Relay { socket, peer, payload, .. } => Outcome::Relay { socket, peer, payload },
            ClientOutcome::Reply(reply) => Outcome::Reply(reply.to_vec()),
            ClientOutcome::Pending => Outcome::Pending,
            ClientOutcome::Drop(reason) => Outcome::Drop(reason),
        };
        self.tally.inputs += 1;
        self.assert_counted(shard, &before, &outcome);
        let revoked = |counters: &Counters| counters.refusals.get(Refusal::Revoked);
        if revoked(self.servers[shard].counters()) > revoked(&before) {
            let message = Message::parse(bytes).expect("what is refused is a request");
            self.model.assert_revoked(from, &message, self.unix());
        }
        let clocks = self.clocks();
        match outcome {
            Outcome::Relay { socket, peer, payload } => {
                self.tally.relayed += 1;
                self.relayed(from, bytes, (shard, socket), peer, payload);
            }
            Outcome::Reply(reply) => {
                self.tally.replies += 1;
                self.model.answer(from, bytes, &reply, clocks);
                self.answer_client(from, reply);
            }
            Outcome::Pending => {
                self.tally.pending += 1;
                self.model.wait(from, bytes, clocks);
                self.put_off = Message::parse(bytes).ok().map(|message| (from, message.transaction_id()));
            }
            Outcome::Drop(reason) => {
                self.tally.dropped += 1;
                self.dropped(from, bytes, reason);
            }
        }
        self.drain(shard);
        self.put_off = None;
    }

    /// Every input is a reply, a relay, pending, or a drop under its reason, and counted once.
    fn assert_counted(&self, shard: usize, before: &Counters, outcome: &Outcome) {
        let after = self.servers[shard].counters();
        let responses =
            |counters: &Counters| counters.responses.iter().map(|(_, _, count)| count).sum::<u64>();
        let grown = [
            responses(after) - responses(before),
            after.to_peers.datagrams - before.to_peers.datagrams,
            after.drops.total() - before.drops.total(),
            after.to_clients.datagrams - before.to_clients.datagrams,
        ];
        match outcome {
            Outcome::Reply(_) => assert_eq!(grown, [1, 0, 0, 0]),
            Outcome::Pending => assert_eq!(grown, [0, 0, 0, 0]),
            Outcome::Relay { payload, .. } => {
                assert_eq!(grown, [0, 1, 0, 0]);
                assert_eq!(after.to_peers.bytes - before.to_peers.bytes, payload.len() as u64);
            }
            Outcome::Drop(reason) => {
                assert_eq!(grown, [0, 0, 1, 0]);
                assert_eq!(after.drops.get(*reason) - before.drops.get(*reason), 1);
            }
        }
    }

    /// The server sends `bytes[payload]` to `peer`: was it asked to, and allowed to?
    fn relayed(
        &mut self,
        from: FiveTuple,
        bytes: &[u8],
        socket: (usize, RelayId),
        peer: SocketAddr,
        payload: std::ops::Range<usize>,
    ) {
        let known = self.sockets.get(&socket).expect("it is sent from a socket that is there");
        assert!(known.is_bound, "it is sent from a socket before that is bound");
        let source = known.address;
        let named = self.asked_for(from, bytes, &payload).expect("what is relayed names a peer");
        assert!(peer == named || peer == self.local(named), "sent to {peer} instead of {named}");
        // A bound channel needs no permission besides (RFC 8656 §12.6 names none): `asked_for` has looked at it.
        if parse_channel_data(bytes).is_err() {
            self.model.assert_permitted(from, named.ip(), self.now);
        }
        let name = self.advertised(source);
        let allocation = self.model.allocations.get_mut(&from).expect("there is an allocation");
        assert!(allocation.has(name), "{source} is not the socket of {from:?}");
        allocation.to_peer_datagrams += 1;
        if self.is_own(named.ip()) {
            assert!(
                self.shared.ports.is_relay(peer.ip(), peer.port()),
                "{peer} is ours, but no relay socket"
            );
        }
        let payload = bytes[payload].to_vec();
        if self.sockets.values().any(|other| other.address == peer) {
            let segment_bytes = payload.len();
            return self.after(50, Event::ToRelay { to: peer, from: source, segment_bytes, payload });
        }
        match self.chance.below(10) {
            0 => self.after(100, Event::Icmp { to: source, peer }),
            1..=5 => self.speak(source, peer),
            _ => {}
        }
    }

    /// The peer of ChannelData or a Send indication, by the model; checks where the payload is said to be.
    fn asked_for(
        &self,
        from: FiveTuple,
        bytes: &[u8],
        payload: &std::ops::Range<usize>,
    ) -> Option<SocketAddr> {
        if let Ok((number, range)) = parse_channel_data(bytes) {
            assert_eq!(&range, payload);
            let allocation = self.model.allocations.get(&from).expect("there is an allocation");
            let channel = allocation.channels.get(&number).expect("the channel is bound");
            assert!(!channel.valid.is_over(self.now), "channel {number:#x} is over");
            let leg = allocation.leg_for(channel.peer.ip()).expect("the peer's family is served");
            assert!(!leg.valid.is_over(self.now), "the allocation of {from:?} is over");
            return Some(channel.peer);
        }
        let send = SendIndication::parse(bytes).ok()?;
        assert_eq!(&send.payload, payload);
        Some(send.peer)
    }

    /// The server drops what a client sent: had it a reason to?
    fn dropped(&self, from: FiveTuple, bytes: &[u8], reason: DropReason) {
        if let Ok(message) = Message::parse(bytes)
            && message.class() == Class::Request
        {
            let legitimate = [
                DropReason::UnauthenticatedRate,
                DropReason::TooManyPending,
                DropReason::RetransmissionPending,
                DropReason::UnexpectedMessage,
            ];
            // RFC 7983 gives STUN the first bytes 0 to 3, and with that not all methods it could name.
            let is_elsewhere = bytes.first().is_some_and(|first| *first > 3) && reason == DropReason::NotStun;
            assert!(is_elsewhere || legitimate.contains(&reason), "a request is dropped for {reason:?}");
            return;
        }
        if matches!(reason, DropReason::AllocationBandwidth | DropReason::TotalBandwidth) {
            return self.assert_limited();
        }
        let Some(allocation) = self.model.allocations.get(&from) else { return };
        let named = match parse_channel_data(bytes) {
            Ok((number, _)) => {
                let channel = allocation.channels.get(&number);
                channel.filter(|channel| channel.valid.is_sure(self.now)).map(|channel| channel.peer)
            }
            Err(_) => SendIndication::parse(bytes).ok().map(|send| send.peer),
        };
        let permitted = |peer: &SocketAddr| allocation.is_surely_permitted(peer.ip(), self.now);
        if let Some(peer) = named.filter(permitted)
            && !self.is_own(peer.ip())
        {
            panic!("{from:?} may send to {peer}, but {reason:?}");
        }
    }

    /// Whether somebody's bandwidth is.
    pub(crate) fn is_limited(&self) -> bool {
        let options = &self.model.options;
        options.bandwidth.per_allocation.is_some()
            || options.bandwidth.total.is_some()
            || options.classes.iter().any(|class| class.bandwidth_per_allocation.is_some())
    }

    fn assert_limited(&self) {
        assert!(self.is_limited(), "no bandwidth is set");
    }

    /// A peer says something to a relay socket, perhaps in a train.
    pub(crate) fn speak(&mut self, to: SocketAddr, from: SocketAddr) {
        let one = client::payload(&mut self.chance);
        let count = if one.is_empty() { 1 } else { self.chance.pick(&[1, 1, 1, 2, 16, 54]) };
        let mut payload = one.repeat(count);
        if count > 1 {
            payload.truncate(payload.len() - self.chance.index(one.len()));
        }
        self.after(100, Event::ToRelay { to, from, segment_bytes: one.len(), payload });
    }

    pub(crate) fn deliver_to_relay(
        &mut self,
        to: SocketAddr,
        from: SocketAddr,
        segment_bytes: usize,
        payload: &[u8],
    ) {
        let found = self.sockets.iter().find(|(_, socket)| socket.address == to && socket.is_bound);
        let Some((&(server, id), _)) = found else { return };
        let datagrams = Datagrams { segment_bytes, total_bytes: payload.len() };
        let now = self.time();
        let before = self.servers[server].counters().clone();
        let outcome = self.servers[server].handle_peer_datagrams(now, id, from, datagrams);
        let after = self.servers[server].counters();
        let passed = after.to_clients.datagrams - before.to_clients.datagrams;
        let dropped = after.drops.total() - before.drops.total();
        assert_eq!(passed + dropped, datagrams.count() as u64, "each datagram is passed on or dropped");
        match outcome {
            PeerOutcome::Relay { client, prefix, count } => {
                assert_eq!(passed, count as u64);
                self.tally.to_clients += passed;
                self.heard(client, prefix, to, from, passed);
            }
            PeerOutcome::Drop(reason) => {
                assert_eq!((passed, after.drops.get(reason) - before.drops.get(reason)), (0, dropped));
                self.unheard(to, from, reason);
            }
        }
        self.drain(server);
    }

    /// The server passes on what a peer sent: to the right client, in the right wrapping?
    fn heard(&mut self, client: FiveTuple, prefix: Prefix, to: SocketAddr, from: SocketAddr, count: u64) {
        let name = self.advertised(from);
        self.model.assert_permitted(client, name.ip(), self.now);
        let own = self.advertised(to);
        let now = self.now;
        let allocation = self.model.allocations.get_mut(&client).expect("there is an allocation");
        assert!(allocation.has(own), "{client:?} hears what was meant for {own}");
        allocation.to_client_datagrams += count;
        let bound = allocation.channels.iter().find(|(_, channel)| channel.peer == name);
        match prefix {
            Prefix::Channel(number) => {
                let channel = allocation.channels.get(&number).expect("the channel is bound");
                assert_eq!(channel.peer, name);
                assert!(!channel.valid.is_over(now), "channel {number:#x} is over");
            }
            Prefix::Indication { peer, .. } => {
                assert_eq!(peer, name, "a Data indication names the sender");
                let is_bound = bound.is_some_and(|(_, channel)| channel.valid.is_sure(now));
                assert!(!is_bound, "an indication where a channel is bound");
            }
        }
    }

    fn unheard(&self, to: SocketAddr, from: SocketAddr, reason: DropReason) {
        if matches!(reason, DropReason::AllocationBandwidth | DropReason::TotalBandwidth) {
            return self.assert_limited();
        }
        let (own, name) = (self.advertised(to), self.advertised(from));
        if self.is_own(name.ip()) && !self.shared.ports.is_relay(from.ip(), from.port()) {
            return;
        }
        let owner = self.model.allocations.values().find(|live| live.has(own));
        let is_permitted = owner.is_some_and(|owner| owner.is_surely_permitted(name.ip(), self.now));
        assert!(!is_permitted, "{from} may send to {own}, but {reason:?}");
    }

    pub(crate) fn deliver_icmp(&mut self, to: SocketAddr, peer: SocketAddr) {
        let found = self.sockets.iter().find(|(_, socket)| socket.address == to && socket.is_bound);
        let Some((&(server, id), _)) = found else { return };
        let error = IcmpError {
            kind: self.chance.pick(&[1, 3, 4, 11]),
            code: self.chance.pick(&[0, 1, 4]),
            data: 1300,
        };
        let now = self.time();
        self.servers[server].handle_icmp_error(now, id, peer, error);
        self.drain(server);
    }

    pub(crate) fn assert_close(
        &mut self,
        client: FiveTuple,
        reason: CloseReason,
        summary: &AllocationSummary,
        username: &str,
    ) {
        let Some(allocation) = self.model.allocations.get(&client) else {
            // By a Refresh that the model has seen answered, or one whose client is gone.
            assert!(matches!(reason, CloseReason::Refreshed | CloseReason::ClientClosed), "{reason:?}");
            return;
        };
        assert_eq!(allocation.username, username);
        assert_eq!(allocation.to_peer_datagrams, summary.to_peer_datagrams);
        assert_eq!(allocation.to_client_datagrams, summary.to_client_datagrams);
        match reason {
            CloseReason::Expired => {
                assert!(!allocation.is_sure(self.now), "{client:?} expired too early")
            }
            CloseReason::CredentialExpired => assert_eq!(self.model.expiry(username), Expiry::Strict),
            CloseReason::ClientClosed => assert!(client.is_stream() || self.is_over),
            CloseReason::Refreshed => self.model.ended = Some(client),
            CloseReason::Shutdown => {}
            CloseReason::Revoked => {
                assert!(self.model.may_be_cut(client, self.unix()), "{username} is not revoked");
            }
            CloseReason::Closed => assert!(self.is_to_be_closed(client), "nobody asked for it"),
        }
        self.model.end(client);
    }

    /// What clients are told instead of a local relay address.
    pub(crate) fn advertised(&self, address: SocketAddr) -> SocketAddr {
        let relays = &self.model.options.relay_addresses;
        let relay = relays.iter().find(|relay| relay.local == address.ip());
        relay.map_or(address, |relay| SocketAddr::new(relay.advertised, address.port()))
    }

    fn local(&self, address: SocketAddr) -> SocketAddr {
        let relays = &self.model.options.relay_addresses;
        let relay = relays.iter().find(|relay| relay.advertised == address.ip());
        relay.map_or(address, |relay| SocketAddr::new(relay.local, address.port()))
    }

    fn is_own(&self, ip: std::net::IpAddr) -> bool {
        self.model.options.relay_addresses.iter().any(|relay| relay.local == ip || relay.advertised == ip)
    }
}
