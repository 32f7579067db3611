//! Traffic through open allocations, from one thread that is every client and the peer.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    client::{self, BUFFER_BYTES, CHANNEL, Session},
    histogram::Histogram,
    processor::{Meter, Spent},
    stamp::{STAMP_BYTES, Stamp},
    sys::{self, Epoll, UDP_GRO, UDP_SEGMENT},
    topology::{PEER, Topology},
};

const CHANNEL_HEADER_BYTES: usize = 4;
/// Packets sent between two looks at what has arrived.
const TURN_PACKETS: u64 = 64;
/// How far the load generator may fall behind its rate before it gives up catching up, packets.
const DEBT_MAX: u64 = 4096;
/// A closed loop that receives nothing for this long takes what is missing for lost.
const STALL: Duration = Duration::from_millis(20);
/// How long stragglers are waited for.
const DRAIN: Duration = Duration::from_millis(250);

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the clients to the peer.
    Up,
    /// From the peer to the clients.
    Down,
    /// From the clients to the peer and back.
    Echo,
}

/// What sets the pace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// Packets per second, whatever becomes of them.
    Rate(u32),
    /// So many packets on their way at any time: as fast as the server can without loss.
    Window(u32),
}

/// Shape of the traffic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) direction: Direction,
    /// Bytes of application data per packet, at least [`STAMP_BYTES`].
    pub(crate) payload_bytes: usize,
    /// Consecutive packets of one flow before the next flow's turn. Sent as one object if more than 1.
    pub(crate) burst: usize,
}

/// How long to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// What came of it.
#[derive(Clone)]
pub(crate) struct Outcome {
    pub(crate) seconds: f64,
    /// Packets sent in the measured time.
    pub(crate) sent: u64,
    /// Of these, packets that arrived (with [`Direction::Echo`]: came back).
    pub(crate) delivered: u64,
    /// Packets the server relayed in the measured time.
    pub(crate) relayed: u64,
    pub(crate) spent: Spent,
    /// From sending to arrival (with [`Direction::Echo`]: the way there and back).
    pub(crate) latency: Histogram,
}

/// Open allocations and the peer's socket.
pub(crate) struct Flows {
    sessions: Vec<Session>,
    peer: UdpSocket,
    clients_ready: Epoll,
    shape: Shape,
    phases: u32,
}

impl Flows {
    /// Opens `count` allocations on `server`.
    pub(crate) fn open(topology: &Topology, server: SocketAddr, count: usize, shape: Shape) -> Result<Self> {
        let peer = peer_socket(topology)?;
        let sessions = client::open(topology, server, peer.local_addr()?, count)?;
        let clients_ready = Epoll::new()?;
        let bursts = shape.burst > 1;
        for (index, session) in sessions.iter().enumerate() {
            clients_ready.watch(&session.socket, index)?;
            if bursts {
                client::hide_from_gro(&session.socket, false)?;
                let frame = (CHANNEL_HEADER_BYTES + shape.payload_bytes) as i32;
                sys::set_option(&session.socket, libc::SOL_UDP, UDP_SEGMENT, frame)?;
                sys::set_option(&session.socket, libc::SOL_UDP, UDP_GRO, 1)?;
            }
        }
        client::hide_from_gro(&peer, !bursts)?;
        if bursts {
            sys::set_option(&peer, libc::SOL_UDP, UDP_SEGMENT, shape.payload_bytes as i32)?;
            sys::set_option(&peer, libc::SOL_UDP, UDP_GRO, 1)?;
        }
        Ok(Self { sessions, peer, clients_ready, shape, phases: 0 })
    }

    /// Sends for the time asked and measures.
    pub(crate) fn run(&mut self, pace: Pace, span: Span, meter: &Meter) -> Result<Outcome> {
        self.phases += 1;
        Phase::new(self, pace, span).run(meter)
    }
}

/// One measurement.
struct Phase<'f> {
    flows: &'f mut Flows,
    pace: Pace,
    start: Instant,
    /// Nanoseconds after `start` between which is measured.
    window_ns: (u64, u64),
    sent_ever: u64,
    arrived_ever: u64,
    last_arrival_ns: u64,
    next_flow: usize,
    /// A burst as clients, or the peer, send it.
    frames: Vec<u8>,
    inbox: Vec<u8>,
    ready: Vec<usize>,
    outcome: Outcome,
}

impl<'f> Phase<'f> {
    fn new(flows: &'f mut Flows, pace: Pace, span: Span) -> Self {
        let begin = span.warm_up.as_nanos() as u64;
        Self {
            pace,
            start: Instant::now(),
            window_ns: (begin, begin + span.measured.as_nanos() as u64),
            sent_ever: 0,
            arrived_ever: 0,
            last_arrival_ns: 0,
            next_flow: 0,
            frames: burst_template(flows.shape),
            inbox: vec![0; 65_536],
            ready: Vec::new(),
            outcome: Outcome {
                seconds: 0.0,
                sent: 0,
                delivered: 0,
                relayed: 0,
                spent: Spent::default(),
                latency: Histogram::new(),
            },
            flows,
        }
    }

    fn run(mut self, meter: &Meter) -> Result<Outcome> {
        let (begin, end) = self.window_ns;
        self.send_until(begin)?;
        let (spent, started) = (meter.read()?, self.now());
        self.send_until(end)?;
        self.outcome.spent = meter.read()? - spent;
        let finished = self.now();
        self.outcome.seconds = (finished - started) as f64 / 1e9;
        let drained = finished + DRAIN.as_nanos() as u64;
        while self.now() < drained {
            self.receive()?;
        }
        Ok(self.outcome)
    }

    fn send_until(&mut self, end_ns: u64) -> Result<()> {
        loop {
            let now = self.now();
            if now >= end_ns {
                return Ok(());
            }
            let burst = self.flows.shape.burst as u64;
            let mut budget = self.budget(now).min(TURN_PACKETS.max(burst));
            while budget >= burst {
                self.send_burst()?;
                budget -= burst;
            }
            self.receive()?;
        }
    }

    /// How many packets are due.
    fn budget(&mut self, now: u64) -> u64 {
        match self.pace {
            Pace::Rate(rate) => {
                let due = (now as f64 * f64::from(rate) / 1e9) as u64;
                // Too slow a load generator shifts its schedule; the rate reported is what was really sent.
                let debt = due.saturating_sub(self.sent_ever);
                self.sent_ever += debt.saturating_sub(DEBT_MAX);
                debt.min(DEBT_MAX)
            }
            Pace::Window(window) => {
                let under_way = self.sent_ever.saturating_sub(self.arrived_ever);
                if now.saturating_sub(self.last_arrival_ns) > STALL.as_nanos() as u64 {
                    self.arrived_ever = self.sent_ever;
                    self.last_arrival_ns = now;
                }
                u64::from(window).saturating_sub(under_way)
            }
        }
    }

    fn send_burst(&mut self) -> Result<()> {
        let shape = self.flows.shape;
        let stamp = Stamp { phase: self.flows.phases, sent_ns: self.now() };
        let header = if shape.direction == Direction::Down { 0 } else { CHANNEL_HEADER_BYTES };
        for frame in self.frames.chunks_mut(header + shape.payload_bytes) {
            if let Some(payload) = frame.get_mut(header..) {
                stamp.write(payload);
            }
        }
        let session = &self.flows.sessions[self.next_flow];
        self.next_flow = (self.next_flow + 1) % self.flows.sessions.len();
        let sent = match shape.direction {
            Direction::Down => self.flows.peer.send_to(&self.frames, session.relayed),
            Direction::Up | Direction::Echo => session.socket.send(&self.frames),
        };
        let burst = shape.burst as u64;
        self.sent_ever += burst;
        if self.in_window(stamp.sent_ns) {
            self.outcome.sent += burst;
        }
        match sent {
            Ok(_) => Ok(()),
            // Counts as lost.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error).context("sending a packet"),
        }
    }

    fn receive(&mut self) -> Result<()> {
        if self.flows.shape.direction != Direction::Down {
            for _ in 0..TURN_PACKETS {
                if !self.receive_at_peer()? {
                    break;
                }
            }
        }
        if self.flows.shape.direction != Direction::Up {
            let mut ready = std::mem::take(&mut self.ready);
            ready.clear();
            self.flows.clients_ready.wait(0, &mut ready)?;
            for &index in &ready {
                let received = self.flows.sessions[index].socket.recv(&mut self.inbox);
                if let Some(length) = unless_empty(received)? {
                    self.take(length, CHANNEL_HEADER_BYTES, true);
                }
            }
            self.ready = ready;
        }
        Ok(())
    }

    fn receive_at_peer(&mut self) -> Result<bool> {
        if self.flows.shape.direction == Direction::Up {
            let Some(length) = unless_empty(self.flows.peer.recv(&mut self.inbox))? else { return Ok(false) };
            self.take(length, 0, true);
            return Ok(true);
        }
        let Some((length, from)) = unless_empty(self.flows.peer.recv_from(&mut self.inbox))? else {
            return Ok(false);
        };
        self.take(length, 0, false);
        // A full buffer loses the packet, and it is counted as lost.
        unless_empty(self.flows.peer.send_to(&self.inbox[..length], from))?;
        Ok(true)
    }

    /// Counts what arrived in one receive: one packet, or several of one flow, all of one size. At its destination
    /// (`last_stop`) a packet's journey ends.
    fn take(&mut self, length: usize, header: usize, last_stop: bool) {
        let now = self.now();
        let frame = header + self.flows.shape.payload_bytes;
        for packet in self.inbox[..length].chunks(frame) {
            let stamp = packet.get(header..).and_then(Stamp::read);
            let Some(stamp) = stamp.filter(|stamp| stamp.phase == self.flows.phases) else { continue };
            if (self.window_ns.0..self.window_ns.1).contains(&now) {
                self.outcome.relayed += 1;
            }
            if !last_stop {
                continue;
            }
            self.arrived_ever += 1;
            self.last_arrival_ns = now;
            if (self.window_ns.0..self.window_ns.1).contains(&stamp.sent_ns) {
                self.outcome.delivered += 1;
                self.outcome.latency.record(now.saturating_sub(stamp.sent_ns));
            }
        }
    }

    fn in_window(&self, at_ns: u64) -> bool {
        (self.window_ns.0..self.window_ns.1).contains(&at_ns)
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

fn burst_template(shape: Shape) -> Vec<u8> {
    debug_assert!(shape.payload_bytes >= STAMP_BYTES);
    let mut frame = Vec::new();
    if shape.direction != Direction::Down {
        frame.extend(iceway::stun::channel_data_header(CHANNEL, shape.payload_bytes as u16));
    }
    frame.resize(frame.len() + shape.payload_bytes, 0);
    frame.repeat(shape.burst)
}

fn peer_socket(topology: &Topology) -> Result<UdpSocket> {
    let socket = topology.peer.run(|| {
        let socket = UdpSocket::bind((IpAddr::V4(PEER), 0))?;
        sys::set_buffers(&socket, BUFFER_BYTES)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
    socket.context("opening the peer's socket")
}

fn unless_empty<T>(received: io::Result<T>) -> Result<Option<T>> {
    match received {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error).context("receiving a packet"),
    }
}
