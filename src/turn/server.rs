//! The relay core: its state, and what comes in.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    Alternate, AnswerRate, BudgetLease, Cause, ClientOutcome, Counters, DropReason, FiveTuple, History,
    Instant, NonceKey, Now, Options, Output, PeerPolicy, Ports, Quotas, Random, RelayAddress, Reservations,
    TotalBudget,
    allocation::Allocations,
    identity::Keys,
    look_up::LookUps,
    peers::PeerIp,
    quality::Quality,
    relays::Relays,
    response::{Head, REPLY_BYTES_MAX, Refused},
    timers::Timers,
};
use crate::{
    credentials::{Directory, Revocations},
    stun::{self, Class, Kind, Message, Method, ParseError},
};

/// What all shards of a process share. None of it is touched for a packet but one atomic, and that seldom.
#[derive(Debug)]
pub struct Shared {
    /// Which relay ports are taken.
    pub ports: Ports,
    /// How many allocations there are, for whom.
    pub quotas: Quotas,
    /// The bandwidth of the process.
    pub budget: TotalBudget,
    /// Ports that wait for their RESERVATION-TOKEN.
    pub reservations: Reservations,
    /// Why users failed lately.
    pub history: History,
}

impl Shared {
    /// Nothing taken, counted, spent or reserved.
    #[must_use]
    pub fn new(ports: Ports, budget: TotalBudget) -> Self {
        let (quotas, reservations) = (Quotas::new(), Reservations::new());
        Self { ports, quotas, budget, reservations, history: History::default() }
    }
}

/// What a [`Server`] is made of.
pub struct Setup {
    /// What it is told; replaced by [`Server::reload`].
    pub options: Arc<Options>,
    /// Who may use it. Its realm is that of the options.
    pub directory: Arc<Directory>,
    /// Whose credentials are good no longer; replaced by [`Server::set_revocations`].
    pub revocations: Arc<Revocations>,
    /// Which peers may be reached.
    pub policy: Arc<PeerPolicy>,
    /// What it shares with the other shards of the process.
    pub shared: Arc<Shared>,
    /// Makes and checks nonces; the same for all shards.
    pub nonce_key: NonceKey,
    /// Unpredictable bytes: relay ports, reservation tokens, the seed of the hash tables.
    pub random: Box<dyn Random>,
}

/// The relay of one thread.
///
/// Call a `handle_*` method for everything that happens, do what it answers, then drain [`Server::poll_output`] and
/// arm one timer for [`Server::poll_deadline`].
pub struct Server {
    pub(super) options: Arc<Options>,
    pub(super) directory: Arc<Directory>,
    pub(super) revocations: Arc<Revocations>,
    /// The first slot that is still to be judged by them.
    pub(super) revoking: Option<u32>,
    pub(super) policy: Arc<PeerPolicy>,
    pub(super) shared: Arc<Shared>,
    pub(super) nonce_key: NonceKey,
    pub(super) random: Box<dyn Random>,
    pub(super) answer_rate: AnswerRate,
    /// How often an address that has proved nothing gets into the history.
    pub(super) stranger_rate: AnswerRate,
    pub(super) lease: BudgetLease,
    pub(super) allocations: Allocations,
    /// How many allocations have gone live so far.
    pub(super) made: u64,
    /// The secrets of allocations, live or being made.
    pub(super) keys: Keys,
    pub(super) relays: Relays,
    /// One deadline for each live allocation, by slot.
    pub(super) timers: Timers,
    pub(super) look_ups: LookUps,
    pub(super) outputs: VecDeque<Output>,
    pub(super) counters: Counters,
    pub(super) reply: Box<[u8; REPLY_BYTES_MAX]>,
    /// Relay addresses that clients know by another name: (local, advertised).
    pub(super) renamed: Vec<(IpAddr, IpAddr)>,
    /// What clients were told before, the latest last: allocations keep the address that they were made with.
    pub(super) former: Vec<RelayAddress>,
    /// Where the choice among equal relay addresses goes on.
    pub(super) turn: usize,
    /// Allocations whose sockets are being bound.
    pub(super) making: usize,
    /// `None` unless calls are measured.
    pub(super) quality: Option<Box<Quality>>,
    /// Why the request at hand is refused, where that says more than the error code.
    pub(super) cause: Option<Cause>,
    /// While it drains: where clients are sent.
    pub(super) draining: Option<Arc<[Alternate]>>,
    /// How many were: the choice among equal ones goes on there.
    pub(super) redirected: usize,
    /// Counts Data indications: the end of their transaction ids.
    pub(super) indications: u64,
    /// The beginning of their transaction ids.
    pub(super) indication_prefix: [u8; 4],
}

impl Server {
    /// A relay without clients.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let Setup { options, directory, revocations, policy, shared, nonce_key, mut random } = setup;
        let seeds = [(); 4].map(|()| u64::from_le_bytes(draw(&mut *random)));
        Self {
            answer_rate: AnswerRate::new(&mut *random),
            stranger_rate: AnswerRate::new(&mut *random),
            lease: BudgetLease::new(),
            allocations: Allocations::new(seeds),
            made: 0,
            keys: Keys::default(),
            relays: Relays::default(),
            timers: Timers::default(),
            look_ups: LookUps::default(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            reply: Box::new([0; REPLY_BYTES_MAX]),
            renamed: renamed(&options),
            former: Vec::new(),
            turn: 0,
            making: 0,
            quality: Quality::new(options.quality),
            cause: None,
            draining: None,
            redirected: 0,
            indications: 0,
            indication_prefix: draw(&mut *random),
            options,
            directory,
            revocations,
            revoking: None,
            policy,
            shared,
            nonce_key,
            random,
        }
    }

    /// A whole message arrived from a client: a datagram, or one frame of its stream.
    pub fn handle_client_datagram(
        &mut self,
        now: Now,
        from: FiveTuple,
        datagram: &[u8],
    ) -> ClientOutcome<'_> {
        let outcome = match datagram.first().map(|&first| stun::kind(first)) {
            Some(Kind::ChannelData) => self.relay_channel_data(now, &from, datagram),
            Some(Kind::Stun) if stun::is_send_indication(datagram) => self.relay_send(now, &from, datagram),
            Some(Kind::Stun) => return self.handle_message(now, from, datagram),
            Some(Kind::Tls | Kind::Other) | None => Err(DropReason::NotStun),
        };
        outcome.unwrap_or_else(|reason| {
            self.counters.drops.add(reason, 1);
            ClientOutcome::Drop(reason)
        })
    }

    fn handle_message(&mut self, now: Now, from: FiveTuple, datagram: &[u8]) -> ClientOutcome<'_> {
        let answer = match Message::parse(datagram) {
            Ok(message) => match (message.class(), Head::of(&message, from)) {
                (Class::Request, Some(head)) => self.handle_request(now, &head, &message, None),
                (Class::Indication, _) if message.method() == Method::BINDING => {
                    // A keep-alive (RFC 8489 §2): it has done its work on the way.
                    Err(Refused::Drop(DropReason::KeepAlive))
                }
                (Class::Request | Class::Indication | Class::Success | Class::Error, _) => {
                    Err(Refused::Drop(DropReason::UnexpectedMessage))
                }
            },
            Err(ParseError::BadFingerprint) => Err(Refused::Drop(DropReason::BadFingerprint)),
            Err(_) => Err(Refused::Drop(DropReason::MalformedStun)),
        };
        match answer {
            Ok(bytes) => ClientOutcome::Reply(self.reply.get(..bytes).unwrap_or_default()),
            Err(Refused::Pending) => ClientOutcome::Pending,
            Err(Refused::Drop(reason)) => {
                self.counters.drops.add(reason, 1);
                ClientOutcome::Drop(reason)
            }
            Err(Refused::Code(_) | Refused::Unknown(_)) => {
                debug_assert!(false, "a refusal with a code has been written by now");
                ClientOutcome::Drop(DropReason::UnexpectedMessage)
            }
        }
    }

    /// A client's stream ended: so does its allocation.
    pub fn handle_client_closed(&mut self, now: Now, five_tuple: FiveTuple) {
        self.look_ups.forget_client(&five_tuple);
        if let Some(slot) = self.allocations.find(&five_tuple) {
            self.close(now, slot, super::CloseReason::ClientClosed);
        }
    }

    /// The next piece of work; call until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Server::handle_deadline`] wants to be called next.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Instant> {
        [self.timers.next(), self.look_ups.deadline()].into_iter().flatten().min()
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many allocations there are, with those being made.
    #[must_use]
    pub fn allocations(&self) -> usize {
        self.allocations.len()
    }

    /// Whether the client behind this five-tuple has proved itself and holds an allocation.
    #[must_use]
    pub fn has_allocation(&self, five_tuple: &FiveTuple) -> bool {
        self.allocations.find(five_tuple).is_some()
    }

    /// The address a peer is known by to clients.
    #[inline]
    pub(super) fn shown(&self, ip: IpAddr) -> IpAddr {
        self.renamed.iter().find(|(local, _)| *local == ip).map_or(ip, |&(_, advertised)| advertised)
    }

    /// Where to send what goes to one of our own relayed transport addresses; `None` if no relay socket is there.
    pub(super) fn own_relay(&self, peer: SocketAddr) -> Option<SocketAddr> {
        let port = peer.port();
        let has_socket = |local: &IpAddr| self.shared.ports.is_relay(*local, port);
        let told = self.told().filter(|address| address.advertised == peer.ip());
        told.map(|address| address.local).find(has_socket).map(|local| SocketAddr::new(local, port))
    }

    /// Every relay address that a client may know: those of now, and those of before.
    pub(super) fn told(&self) -> impl Iterator<Item = &RelayAddress> {
        self.options.relay_addresses.iter().chain(&self.former)
    }

    /// The address that this client knows a peer by: of several that our own relays have been told under, the one that
    /// it has a channel or a permission for.
    #[inline]
    pub(super) fn shown_to(&self, slot: u32, peer: SocketAddr, now: Now) -> SocketAddr {
        let shown = SocketAddr::new(self.shown(peer.ip()), peer.port());
        if self.former.is_empty() { shown } else { self.formerly_shown_to(slot, peer, now).unwrap_or(shown) }
    }

    #[cold]
    fn formerly_shown_to(&self, slot: u32, peer: SocketAddr, now: Now) -> Option<SocketAddr> {
        let allocation = self.allocations.get(slot)?;
        let names = || {
            let told = self.told().filter(|address| address.local == peer.ip());
            told.map(|address| PeerIp::from(address.advertised))
        };
        let has_channel =
            |ip: &PeerIp| allocation.channels.by_peer(*ip, peer.port(), now.monotonic).is_some();
        let is_permitted = |ip: &PeerIp| allocation.permissions.get(*ip, now.monotonic).is_some();
        let name = names().find(has_channel).or_else(|| names().find(is_permitted))?;
        Some(SocketAddr::new(name.to_ip(), peer.port()))
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Server").field("allocations", &self.allocations.len()).finish_non_exhaustive()
    }
}

/// What a look-up found: what a user's long-term key is made from.
#[derive(Clone)]
pub enum UserKey {
    /// The password itself.
    Password(Box<str>),
    /// MD5(username ":" realm ":" password): good for clients without SHA-256 only.
    Md5([u8; 16]),
}

impl std::fmt::Debug for UserKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Password(_) => "Password(..)",
            Self::Md5(_) => "Md5(..)",
        })
    }
}

/// Unpredictable bytes.
pub(super) fn draw<const BYTES: usize>(random: &mut dyn Random) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    random.fill(&mut bytes);
    bytes
}

/// The relay addresses that clients know by another name.
pub(super) fn renamed(options: &Options) -> Vec<(IpAddr, IpAddr)> {
    let addresses = options.relay_addresses.iter();
    addresses.filter(|a| a.local != a.advertised).map(|a| (a.local, a.advertised)).collect()
}
