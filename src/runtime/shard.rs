//! One thread's relay: its core, its sockets, and what the core wants done.

use std::{
    collections::HashMap,
    io,
    net::UdpSocket,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    sync::Arc,
};

use tokio::io::unix::AsyncFd;

use super::{
    clock::Clock,
    counters::RuntimeCounters,
    events,
    handle::ShardSnapshot,
    outbox::{self, Outbox},
    relay_sockets::{Inlet, RelaySockets},
    reload::Rules,
    runs::Runs,
    start::Told,
    stream::{StreamCounters, StreamQueue},
    sys::{self, Epoll, ReceiveSlots, Timer},
    to_client::ClientKey,
    to_peer::PeerKey,
};
use crate::{
    credentials::{Directory, KeyId, Revocations},
    turn::{
        AllocationId, Alternate, ClientOutcome, Cut, Direction, FiveTuple, IcmpError, Instant, ListPage,
        ListQuery, ListenerId, LookUpId, Now, Output, RelayAddress, RelayId, Server, UserKey,
    },
};

/// How many slots datagrams are received into. More would not stay in the cache.
pub(super) const SLOTS: usize = 64;
/// How many ready sockets are served before streams and commands get their turn again.
const EVENTS_MAX: usize = 256;
/// How many times in a row.
const ROUNDS_MAX: usize = 4;
/// How many merged receives of one socket are taken in a row: as many as may leave in one piece.
const TRAINS_MAX: usize = 4;
/// How many ICMP errors of one socket are read before others get their turn.
const ERRORS_MAX: usize = 8;

/// What an event's token starts with; below it is a relay id or a listener id.
const KIND_BIT: u32 = 32;
const RELAY: u64 = 0;
const LISTENER: u64 = 1;
const TIMER: u64 = 2;
const DIRECT: u64 = 3;

/// What the direct socket of a relay is watched with.
pub(super) fn direct_token(relay: RelayId) -> u64 {
    (DIRECT << KIND_BIT) | u64::from(relay.0)
}

/// Everything one thread owns. Shared by the thread's tasks as `Rc<RefCell<Shard>>`; never borrowed across an await.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(super) server: Server,
    pub(super) listeners: Vec<Option<UdpSocket>>,
    pub(super) relays: RelaySockets,
    pub(super) slots: ReceiveSlots,
    pub(super) to_peers: Runs<PeerKey>,
    pub(super) to_clients: Runs<ClientKey>,
    pub(super) outbox: Outbox,
    pub(super) counters: RuntimeCounters,
    /// An answer, while the core does what comes with it.
    pub(super) reply: Vec<u8>,
    pub(super) streams: HashMap<FiveTuple, Rc<StreamQueue>>,
    pub(super) clock: Clock,
    pub(super) epoll: Epoll,
    timer: Timer,
    armed: Option<Instant>,
    told: Told,
}

impl Shard {
    /// A shard that listens on `listeners`.
    ///
    /// # Errors
    /// The system gives no epoll instance or timer.
    pub(super) fn new(
        server: Server,
        listeners: Vec<(ListenerId, UdpSocket)>,
        relay_buffer_bytes: usize,
        clock: Clock,
        told: Told,
    ) -> io::Result<Self> {
        let epoll = Epoll::new(EVENTS_MAX)?;
        let timer = Timer::new()?;
        epoll.add(timer.as_fd(), TIMER << KIND_BIT)?;
        let mut table = Vec::new();
        for (id, socket) in listeners {
            epoll.add(socket.as_fd(), (LISTENER << KIND_BIT) | u64::from(id.0))?;
            let index = usize::from(id.0);
            table.resize_with(table.len().max(index + 1), || None);
            if let Some(place) = table.get_mut(index) {
                *place = Some(socket);
            }
        }
        Ok(Self {
            server,
            listeners: table,
            relays: RelaySockets::new(relay_buffer_bytes),
            slots: ReceiveSlots::new(SLOTS),
            to_peers: Runs::new(),
            to_clients: Runs::new(),
            outbox: Outbox::new(),
            counters: RuntimeCounters::default(),
            reply: Vec::new(),
            streams: HashMap::new(),
            clock,
            epoll,
            timer,
            armed: None,
            told,
        })
    }

    /// Takes a whole message from a client of any transport, does what the core says, and arms the deadline.
    pub(crate) fn client_datagram(&mut self, from: FiveTuple, datagram: &[u8]) {
        let now = self.clock.now();
        match self.server.handle_client_datagram(now, from, datagram) {
            ClientOutcome::Relay { socket: relay, peer, payload, dont_fragment } => {
                if let Some(socket) = self.relays.get_to_send(relay, dont_fragment)
                    && let Some(payload) = datagram.get(payload)
                {
                    outbox::send_datagram(socket, peer, payload, &mut self.counters);
                    if self.server.is_observed(relay) {
                        let at = self.clock.micros();
                        self.server.observe(at, relay, Direction::ToPeer, payload);
                    }
                }
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

    /// Does what the core wants done, then sends `reply`: when the client hears that its allocation has ended, the
    /// port is free.
    pub(super) fn finish_and_reply(&mut self, now: Now, to: FiveTuple) {
        self.finish(now);
        send_message(&self.listeners, &self.streams, &mut self.counters, to, &self.reply);
    }

    /// Registers a connection: replies and peers' data for this five-tuple go to `queue`.
    pub(crate) fn stream_opened(&mut self, five_tuple: FiveTuple, queue: Rc<StreamQueue>) {
        self.streams.insert(five_tuple, queue);
    }

    /// Forgets a connection and ends its allocation.
    pub(crate) fn stream_closed(&mut self, five_tuple: FiveTuple) {
        self.streams.remove(&five_tuple);
        let now = self.clock.now();
        self.server.handle_client_closed(now, five_tuple);
        self.finish(now);
    }

    /// Whether the client behind this five-tuple has proved itself and holds an allocation.
    pub(crate) fn has_allocation(&self, five_tuple: &FiveTuple) -> bool {
        self.server.has_allocation(five_tuple)
    }

    /// Becomes readable when [`turns`](Self::turns) has something to do.
    pub(super) fn readiness(&self) -> io::Result<AsyncFd<OwnedFd>> {
        self.epoll.watch()
    }

    /// A copy of all counters.
    pub(super) fn snapshot(&self, streams: StreamCounters) -> ShardSnapshot {
        ShardSnapshot {
            core: self.server.counters().clone(),
            runtime: RuntimeCounters { streams, ..self.counters.clone() },
            allocations: self.server.allocations(),
            quality: self.server.quality(),
        }
    }

    /// Takes over new options, users and rules, and does what follows from them.
    pub(super) fn reload(&mut self, rules: Rules) {
        let now = self.clock.now();
        self.server.reload(now, rules.options, rules.directory, rules.policy);
        self.finish(now);
    }

    /// Takes over where relay sockets are bound and what clients are told.
    pub(super) fn set_relay_addresses(&mut self, addresses: Vec<RelayAddress>) {
        let now = self.clock.now();
        self.server.set_relay_addresses(now, addresses);
        self.finish(now);
    }

    /// Takes over new users and secrets.
    pub(super) fn set_directory(&mut self, directory: Arc<Directory>) {
        self.server.set_directory(directory);
    }

    /// Takes over revocations, and ends some of what they hit.
    pub(super) fn set_revocations(&mut self, revocations: Arc<Revocations>) -> Cut {
        let now = self.clock.now();
        let cut = self.server.set_revocations(now, revocations);
        self.finish(now);
        cut
    }

    /// Ends more of what the revocations hit.
    pub(super) fn go_on_revoking(&mut self) -> Cut {
        let now = self.clock.now();
        let cut = self.server.go_on_revoking(now);
        self.finish(now);
        cut
    }

    /// Some allocations, in the order of their ids.
    pub(super) fn list(&self, query: &ListQuery) -> ListPage {
        self.server.list(self.clock.now(), query)
    }

    /// Ends one allocation; `false` if there is none of this id.
    pub(super) fn close_allocation(&mut self, id: AllocationId) -> bool {
        let now = self.clock.now();
        let was_there = self.server.close_allocation(now, id);
        self.finish(now);
        was_there
    }

    /// How many allocations there are by secret.
    pub(super) fn key_ids_in_use(&self) -> Vec<(KeyId, usize)> {
        self.server.key_ids_in_use()
    }

    /// Goes on with a request that waited for a user's key.
    pub(super) fn found(&mut self, id: LookUpId, key: Option<UserKey>) {
        let now = self.clock.now();
        self.server.key_found(now, id, key);
        self.finish(now);
    }

    /// Sends new clients elsewhere from now on.
    pub(super) fn start_drain(&mut self, alternates: Arc<[Alternate]>) {
        self.server.start_drain(alternates);
    }

    /// Makes allocations again.
    pub(super) fn stop_drain(&mut self) {
        self.server.stop_drain();
    }

    /// Ends every allocation.
    pub(super) fn close_all(&mut self) {
        let now = self.clock.now();
        self.server.close_all(now);
        self.finish(now);
    }

    /// Serves ready sockets, a bounded number. Answers whether there may be more.
    ///
    /// # Errors
    /// The epoll instance fails, which it has no reason to.
    pub(super) fn turns(&mut self) -> io::Result<bool> {
        for round in 0..ROUNDS_MAX {
            let events = self.epoll.fetch()?;
            if events == 0 {
                return Ok(false);
            }
            self.serve(events, round > 0);
        }
        Ok(true)
    }

    /// `behind`: packets arrived while others were served, so that there may be more than one at a socket.
    fn serve(&mut self, events: usize, behind: bool) {
        let now = self.clock.now();
        let mut relays = 0;
        for index in 0..events {
            let Some(event) = self.epoll.event(index) else { return };
            let id = event.token & u64::from(u32::MAX);
            match event.token >> KIND_BIT {
                LISTENER => self.receive_from_clients(now, ListenerId(u16::try_from(id).unwrap_or(u16::MAX))),
                TIMER => self.deadline(now),
                _ => relays += 1,
            }
        }
        if relays > 0 {
            self.serve_relays(now, events, behind);
        }
        self.finish(now);
    }

    fn serve_relays(&mut self, now: Now, events: usize, behind: bool) {
        let mut slot = 0;
        for index in 0..events {
            let Some(event) = self.epoll.event(index) else { return };
            let is_direct = match event.token >> KIND_BIT {
                RELAY => false,
                DIRECT => true,
                _ => continue,
            };
            let id = event.token & u64::from(u32::MAX);
            let inlet = Inlet { relay: RelayId(u32::try_from(id).unwrap_or(u32::MAX)), is_direct };
            if event.failed {
                self.read_errors(now, inlet);
            }
            if event.readable {
                slot = self.receive_trains(now, inlet, slot, if behind { TRAINS_MAX } else { 1 });
            }
        }
        self.flush_to_clients(now);
    }

    /// Receives from a relay socket once, and again as long as it brings merged datagrams: what follows is likely to
    /// leave in one piece with them. Answers the next free slot.
    fn receive_trains(&mut self, now: Now, inlet: Inlet, first: usize, trains_max: usize) -> usize {
        let mut slot = first;
        for _ in 0..trains_max {
            if slot == self.slots.count() {
                self.flush_to_clients(now);
                slot = 0;
            }
            let received = self.receive_from_peers(now, inlet, slot);
            slot += usize::from(received.slot_used);
            if !received.is_train {
                break;
            }
        }
        slot
    }

    /// Hands ICMP errors to the core.
    fn read_errors(&mut self, now: Now, inlet: Inlet) {
        for _ in 0..ERRORS_MAX {
            let Some(socket) = self.relays.inlet(inlet) else { return };
            let error = match sys::read_error(socket) {
                Ok(Some(error)) => error,
                Ok(None) => return,
                Err(_) => continue,
            };
            self.counters.icmp_errors += 1;
            if let Some(icmp) = error.as_icmp() {
                self.server.handle_icmp_error(now, inlet.relay, error.destination, icmp);
            }
        }
    }

    fn deadline(&mut self, now: Now) {
        // Not being able to read it means that it has not fired.
        if self.timer.acknowledge().is_ok() {
            self.armed = None;
            self.server.handle_deadline(now);
        }
    }

    /// Does what the core wants done, and arms its deadline.
    pub(super) fn finish(&mut self, now: Now) {
        while let Some(output) = self.server.poll_output() {
            self.perform(now, output);
        }
        let Some(deadline) = self.server.poll_deadline() else { return };
        // A deadline that has moved away is left as it is: waking up early does no harm.
        if self.armed.is_none_or(|armed| deadline < armed)
            && self.timer.arm(deadline.since(now.monotonic)).is_ok()
        {
            self.armed = Some(deadline);
        }
    }

    fn perform(&mut self, now: Now, output: Output) {
        match output {
            Output::Bind { socket, address } => {
                let token = (RELAY << KIND_BIT) | u64::from(socket.0);
                let result = self.relays.bind(&self.epoll, socket, token, address);
                self.server.relay_bound(now, socket, result);
            }
            Output::Close { socket } => {
                // What was relayed before must leave from the right socket: the id may be used again at once.
                self.flush_to_peers(now);
                self.relays.close(socket);
            }
            Output::Send { to, message } => {
                send_message(&self.listeners, &self.streams, &mut self.counters, to, &message);
            }
            Output::LookUp { id, username } => {
                if !self.told.look_up(id, username) {
                    self.server.key_found(now, id, None);
                }
            }
            Output::Disconnect { client } => {
                if let Some(queue) = self.streams.get(&client) {
                    queue.close();
                }
            }
            Output::Event(event) => {
                events::log(now, &event);
                if !self.told.event(now, event) {
                    self.counters.usage_lost += 1;
                }
            }
        }
    }
}

impl sys::QueuedError {
    /// The error as it is told to the client (RFC 8656 §11.5). What the kernel itself found too big to send
    /// unfragmented is told as the router's answer would be.
    fn as_icmp(&self) -> Option<IcmpError> {
        let icmp = IcmpError { kind: self.kind, code: self.code, data: self.information };
        match self.origin {
            libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6 => Some(icmp),
            libc::SO_EE_ORIGIN_LOCAL if self.errno == libc::EMSGSIZE => {
                let (kind, code) = if self.destination.is_ipv4() { (3, 4) } else { (2, 0) };
                Some(IcmpError { kind, code, data: self.information })
            }
            _ => None,
        }
    }
}

/// Sends a whole STUN message to a client of any transport.
fn send_message(
    listeners: &[Option<UdpSocket>],
    streams: &HashMap<FiveTuple, Rc<StreamQueue>>,
    counters: &mut RuntimeCounters,
    to: FiveTuple,
    message: &[u8],
) {
    if to.is_stream() {
        if let Some(queue) = streams.get(&to) {
            // A queue counts what it drops.
            let _dropped = queue.push_answer(message);
        }
        return;
    }
    if let Some(Some(socket)) = listeners.get(usize::from(to.listener.0)) {
        outbox::send_datagram(socket.as_fd(), to.client, message, counters);
    }
}
