//! The sockets of this node, and what each address may have of them.

use std::{collections::HashMap, net::IpAddr};

use super::{
    CloseCode, ConnectionId, Identity, Instant, SessionId, bucket::Rates, deliver::Requester,
    hello::Greeting, random::Random,
};

/// A socket.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) address: IpAddr,
    pub(super) stage: Stage,
    /// Whether it never had a session.
    is_guest: bool,
    /// When it was last heard of.
    pub(super) heard: Instant,
    /// When it was last asked whether it is there.
    pub(super) pinged: Option<Instant>,
    /// A ping is to be written.
    pub(super) is_ping_due: bool,
    /// The driver was told that there is something to write.
    pub(super) is_woken: bool,
    /// What a frame of it waits for.
    pub(super) asked: Option<Box<Asked>>,
}

impl Socket {
    /// Its session, if it has one.
    pub(super) const fn session(&self) -> Option<SessionId> {
        match self.stage {
            Stage::Attached(session) => Some(session),
            Stage::New(_) | Stage::Waiting | Stage::Closing(..) | Stage::Delayed(..) => None,
        }
    }
}

/// How far a socket is.
#[derive(Debug)]
pub(super) enum Stage {
    /// No `hello` yet; somebody the driver knows already, or not.
    New(Option<Box<Identity>>),
    /// Another node is asked for its session.
    Waiting,
    /// Its session.
    Attached(SessionId),
    /// To be closed with this code, after these frames.
    Closing(CloseCode, Box<[String]>),
    /// To be closed later: a hello that failed once too often.
    Delayed(Box<Delay>),
}

/// An answer that is held back.
#[derive(Debug)]
pub(super) struct Delay {
    pub(super) until: Instant,
    pub(super) code: CloseCode,
    pub(super) text: String,
}

/// What a frame waits for.
#[derive(Debug)]
pub(super) enum Asked {
    /// Whose token that is.
    Hello(Box<Greeting>),
    /// Whether a fresh token is good.
    Refresh(Requester),
    /// Whether a room may be joined, with this state.
    Join(Requester, super::RoomId, bytes::Bytes),
    /// Whether somebody may be called.
    Call(Requester, super::calls::Asked),
    /// ICE servers.
    IceServers(Requester),
}

/// What is counted of an address.
#[derive(Debug, Default)]
struct Guest {
    unauthenticated: u32,
    /// Hellos that failed, since then.
    failures: u32,
    failing_since: Instant,
}

/// The sockets of this node.
#[derive(Debug)]
pub(super) struct Sockets {
    by_id: HashMap<ConnectionId, Socket, ahash::RandomState>,
    guests: HashMap<IpAddr, Guest, ahash::RandomState>,
    pub(super) connects: Rates<IpAddr>,
    unauthenticated: usize,
    sweep_at: usize,
}

/// How long failed hellos count.
const FAILURES_MILLIS: u64 = 30 * 60 * 1000;
/// Addresses below which nothing is swept.
const SWEEP_MIN: usize = 1024;
/// Beyond this, failures of new addresses are not counted: their sockets still are.
const GUESTS_MAX: usize = 1 << 18;

impl Sockets {
    pub(super) fn new(random: &mut Random) -> Self {
        Self {
            by_id: HashMap::with_hasher(random.hasher()),
            guests: HashMap::with_hasher(random.hasher()),
            connects: Rates::new(random),
            unauthenticated: 0,
            sweep_at: SWEEP_MIN,
        }
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Socket> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Socket> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Sockets without a session.
    pub(super) const fn unauthenticated(&self) -> usize {
        self.unauthenticated
    }

    /// Sockets without a session, of an address.
    pub(super) fn unauthenticated_of(&self, address: IpAddr) -> u32 {
        self.guests.get(&address).map_or(0, |guest| guest.unauthenticated)
    }

    /// All of them, the oldest first.
    pub(super) fn ids(&self) -> Vec<ConnectionId> {
        let mut ids: Vec<ConnectionId> = self.by_id.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    pub(super) fn insert(&mut self, now: Instant, id: ConnectionId, address: IpAddr, stage: Stage) {
        let socket = Socket {
            address,
            stage,
            is_guest: true,
            heard: now,
            pinged: None,
            is_ping_due: false,
            is_woken: false,
            asked: None,
        };
        self.by_id.insert(id, socket);
        self.sweep(now);
        self.unauthenticated += 1;
        self.guests.entry(address).or_default().unauthenticated += 1;
    }

    /// It has another stage now.
    pub(super) fn set_stage(&mut self, id: ConnectionId, stage: Stage) {
        let Some(socket) = self.by_id.get_mut(&id) else { return };
        let is_over = socket.is_guest && matches!(stage, Stage::Attached(_));
        socket.stage = stage;
        if is_over {
            socket.is_guest = false;
            let address = socket.address;
            self.no_guest(address);
        }
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Socket> {
        let socket = self.by_id.remove(&id)?;
        if socket.is_guest {
            self.no_guest(socket.address);
        }
        Some(socket)
    }

    /// A hello of this address failed: how often, of late.
    pub(super) fn hello_failed(&mut self, now: Instant, address: IpAddr) -> u32 {
        if self.guests.len() >= GUESTS_MAX && !self.guests.contains_key(&address) {
            return 0;
        }
        let guest = self.guests.entry(address).or_default();
        if now.since(guest.failing_since).as_millis() > u128::from(FAILURES_MILLIS) {
            (guest.failures, guest.failing_since) = (0, now);
        }
        guest.failures = guest.failures.saturating_add(1);
        guest.failures
    }

    fn no_guest(&mut self, address: IpAddr) {
        self.unauthenticated = self.unauthenticated.saturating_sub(1);
        if let Some(guest) = self.guests.get_mut(&address) {
            guest.unauthenticated = guest.unauthenticated.saturating_sub(1);
            if guest.unauthenticated == 0 && guest.failures == 0 {
                self.guests.remove(&address);
            }
        }
    }

    fn sweep(&mut self, now: Instant) {
        if self.guests.len() < self.sweep_at {
            return;
        }
        self.guests.retain(|_, guest| {
            guest.unauthenticated > 0
                || (guest.failures > 0
                    && now.since(guest.failing_since).as_millis() <= u128::from(FAILURES_MILLIS))
        });
        self.sweep_at = (self.guests.len() * 2).max(SWEEP_MIN);
    }
}
