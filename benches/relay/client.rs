//! TURN clients: opens allocations with a permission and a channel each, many at a time.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use iceway::stun::{
    Class, IntegrityKey, Message, Method, TransactionId, Writer, attribute, error_code, long_term_key_md5,
    xor_address,
};

use crate::{
    sys::{self, Epoll},
    topology::Topology,
};

/// The static user both servers know.
pub(crate) const USER: &str = "bench";
/// Its password.
pub(crate) const PASSWORD: &str = "relay-benchmark";
/// The realm both servers are told.
pub(crate) const REALM: &str = "bench.invalid";
/// The channel number of every allocation.
pub(crate) const CHANNEL: u16 = 0x4000;
/// Socket buffers of the load generator, bytes: it must not be what loses packets.
pub(crate) const BUFFER_BYTES: i32 = 8 << 20;

const IN_FLIGHT_MAX: usize = 64;
const FIRST_TIMEOUT: Duration = Duration::from_millis(250);
const ATTEMPTS_MAX: u32 = 6;
/// UDP in REQUESTED-TRANSPORT (RFC 8656 §18.7).
const TRANSPORT_UDP: u32 = 17 << 24;

/// An open allocation whose channel leads to the peer.
pub(crate) struct Session {
    /// Connected to the server.
    pub(crate) socket: UdpSocket,
    /// Where the peer sends.
    pub(crate) relayed: SocketAddr,
}

/// Opens `count` allocations, each from an address and socket of its own, towards `peer`.
///
/// # Errors
/// When the server refuses one, or does not answer six times.
pub(crate) fn open(
    topology: &Topology,
    server: SocketAddr,
    peer: SocketAddr,
    count: usize,
) -> Result<Vec<Session>> {
    let sockets = topology.client.run(|| (0..count).map(|index| client_socket(index, server)).collect())?;
    Opening::new(sockets, peer)?.run()
}

/// Whether `server` answers a Binding request within 100 ms.
pub(crate) fn answers(topology: &Topology, server: SocketAddr) -> Result<bool> {
    let socket = topology.client.run(|| client_socket(0, server))?;
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut buffer = [0; 512];
    let length = Writer::new(&mut buffer, Class::Request, Method::BINDING, [7; 12])?.finish();
    let Ok(_) = socket.send(&buffer[..length]) else { return Ok(false) };
    let Ok(length) = socket.recv(&mut buffer) else { return Ok(false) };
    Ok(Message::parse(&buffer[..length]).is_ok_and(|answer| answer.class() == Class::Success))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Challenge,
    Allocate,
    CreatePermission,
    ChannelBind,
    Open,
}

struct Candidate {
    socket: UdpSocket,
    step: Step,
    relayed: Option<SocketAddr>,
    nonce: Vec<u8>,
    transaction: TransactionId,
    due: Instant,
    attempts: u32,
}

struct Opening {
    candidates: Vec<Candidate>,
    peer: SocketAddr,
    key: IntegrityKey,
    epoll: Epoll,
    transactions: u64,
}

impl Opening {
    fn new(sockets: Vec<UdpSocket>, peer: SocketAddr) -> Result<Self> {
        let epoll = Epoll::new()?;
        let mut candidates = Vec::with_capacity(sockets.len());
        for (index, socket) in sockets.into_iter().enumerate() {
            epoll.watch(&socket, index)?;
            candidates.push(Candidate {
                socket,
                step: Step::Challenge,
                relayed: None,
                nonce: Vec::new(),
                transaction: [0; 12],
                due: Instant::now(),
                attempts: 0,
            });
        }
        let key = IntegrityKey::new(&long_term_key_md5(USER, REALM, PASSWORD));
        Ok(Self { candidates, peer, key, epoll, transactions: 0 })
    }

    fn run(mut self) -> Result<Vec<Session>> {
        let (mut begun, mut in_flight, mut ready) = (0, Vec::new(), Vec::new());
        loop {
            while begun < self.candidates.len() && in_flight.len() < IN_FLIGHT_MAX {
                self.begin_transaction(begun)?;
                in_flight.push(begun);
                begun += 1;
            }
            if in_flight.is_empty() {
                break;
            }
            ready.clear();
            self.epoll.wait(20, &mut ready)?;
            for &index in &ready {
                self.receive(index)?;
            }
            in_flight.retain(|&index| self.candidates[index].step != Step::Open);
            self.repeat_overdue(&in_flight)?;
        }
        self.candidates.into_iter().map(Candidate::into_session).collect()
    }

    fn receive(&mut self, index: usize) -> Result<()> {
        let mut buffer = [0; 1500];
        let candidate = &mut self.candidates[index];
        let length = match candidate.socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("receiving from the server"),
        };
        let Ok(message) = Message::parse(&buffer[..length]) else { return Ok(()) };
        if message.transaction_id() != candidate.transaction || candidate.step == Step::Open {
            return Ok(());
        }
        candidate.take(&message).with_context(|| format!("allocation {index}"))?;
        if candidate.step != Step::Open {
            self.begin_transaction(index)?;
        }
        Ok(())
    }

    fn begin_transaction(&mut self, index: usize) -> Result<()> {
        self.transactions += 1;
        let candidate = &mut self.candidates[index];
        candidate.transaction[..8].copy_from_slice(&self.transactions.to_be_bytes());
        candidate.attempts = 0;
        candidate.send(self.peer, &self.key)
    }

    fn repeat_overdue(&mut self, in_flight: &[usize]) -> Result<()> {
        let now = Instant::now();
        for &index in in_flight {
            let candidate = &mut self.candidates[index];
            if candidate.due > now {
                continue;
            }
            if candidate.attempts == ATTEMPTS_MAX {
                bail!("allocation {index}: no answer to {:?} in {ATTEMPTS_MAX} attempts", candidate.step);
            }
            candidate.send(self.peer, &self.key)?;
        }
        Ok(())
    }
}

impl Candidate {
    fn send(&mut self, peer: SocketAddr, key: &IntegrityKey) -> Result<()> {
        let mut buffer = [0; 512];
        let method = match self.step {
            Step::Challenge | Step::Allocate => Method::ALLOCATE,
            Step::CreatePermission => Method::CREATE_PERMISSION,
            Step::ChannelBind | Step::Open => Method::CHANNEL_BIND,
        };
        let mut writer = Writer::new(&mut buffer, Class::Request, method, self.transaction)?;
        match self.step {
            Step::Challenge | Step::Allocate => {
                writer.u32(attribute::REQUESTED_TRANSPORT, TRANSPORT_UDP)?;
            }
            Step::CreatePermission => writer.xor_address(attribute::XOR_PEER_ADDRESS, peer)?,
            Step::ChannelBind | Step::Open => {
                writer.u32(attribute::CHANNEL_NUMBER, u32::from(CHANNEL) << 16)?;
                writer.xor_address(attribute::XOR_PEER_ADDRESS, peer)?;
            }
        }
        if self.step != Step::Challenge {
            writer.attribute(attribute::USERNAME, USER.as_bytes())?;
            writer.attribute(attribute::REALM, REALM.as_bytes())?;
            writer.attribute(attribute::NONCE, &self.nonce)?;
            writer.integrity_sha1(key)?;
        }
        let length = writer.finish();
        self.due = Instant::now() + FIRST_TIMEOUT * 2u32.pow(self.attempts);
        self.attempts += 1;
        self.socket.send(&buffer[..length]).context("sending to the server")?;
        Ok(())
    }

    fn take(&mut self, message: &Message<'_>) -> Result<()> {
        let refused = message.find(attribute::ERROR_CODE).map(error_code).transpose()?;
        self.step = match (self.step, refused) {
            (Step::Challenge, Some((401, _))) => {
                self.nonce = message.find(attribute::NONCE).context("401 without NONCE")?.to_vec();
                Step::Allocate
            }
            (step, Some((code, reason))) => bail!("{step:?} refused: {code} {reason}"),
            (Step::Challenge | Step::Allocate, None) => {
                let relayed =
                    message.find(attribute::XOR_RELAYED_ADDRESS).context("no XOR-RELAYED-ADDRESS")?;
                self.relayed = Some(xor_address(relayed, &self.transaction)?);
                Step::CreatePermission
            }
            (Step::CreatePermission, None) => Step::ChannelBind,
            (Step::ChannelBind | Step::Open, None) => Step::Open,
        };
        Ok(())
    }

    fn into_session(self) -> Result<Session> {
        let relayed = self.relayed.context("an allocation without relayed address")?;
        Ok(Session { socket: self.socket, relayed })
    }
}

fn client_socket(index: usize, server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Topology::client_address(index), 0))?;
    sys::set_buffers(&socket, BUFFER_BYTES)?;
    hide_from_gro(&socket, true)?;
    socket.set_nonblocking(true)?;
    socket.connect(server)?;
    Ok(socket)
}

/// Whether the kernel may not merge what `socket` sends: it leaves datagrams without a checksum alone.
pub(crate) fn hide_from_gro(socket: &UdpSocket, hidden: bool) -> io::Result<()> {
    sys::set_option(socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, i32::from(hidden))
}
