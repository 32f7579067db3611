//! Numbered packets both ways through a relay, for as long as a test wants; every one is accounted for.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use super::Client;
use super::client::Received;

/// A packet each way every so often, like an audio stream that is sent twice as often.
const INTERVAL: Duration = Duration::from_millis(10);
/// After the last packet the rest may take so long.
const REST: Duration = Duration::from_secs(2);
const CHANNEL: u16 = 0x4000;
const PAYLOAD_BYTES: usize = 160;

/// A client that sends to its peer and is sent to, on a thread of its own.
pub(crate) struct Media {
    stop: Arc<AtomicBool>,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<Client>>,
}

/// What became of the packets.
#[derive(Debug, Default)]
struct State {
    up: Direction,
    down: Direction,
}

/// Packets of one direction: those that are under way, with the instant each was sent.
#[derive(Debug, Default)]
struct Direction {
    sent: u32,
    under_way: HashMap<u32, Instant>,
    /// When the youngest packet that arrived was sent.
    last_passed: Option<Instant>,
}

/// Sent and lost packets of both directions.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) sent: u32,
    pub(crate) lost: u32,
}

impl Media {
    /// Binds a channel to a peer of its own on 127.0.0.1 and begins. The client must have `relay` allocated.
    pub(crate) fn start(client: Client, relay: SocketAddr) -> Self {
        Self::start_every(INTERVAL, client, relay)
    }

    /// The same with a packet each way every `interval`.
    pub(crate) fn start_every(interval: Duration, mut client: Client, relay: SocketAddr) -> Self {
        let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        peer.set_nonblocking(true).unwrap();
        client.bind_channel(CHANNEL, peer.local_addr().unwrap()).unwrap();
        let (stop, state) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(State::default())));
        let thread = std::thread::spawn({
            let (stop, state) = (Arc::clone(&stop), Arc::clone(&state));
            move || {
                run(&mut client, &Peer { socket: peer, relay, interval }, &stop, &state);
                client
            }
        });
        Self { stop, state, thread: Some(thread) }
    }

    /// Waits until at least `count` packets more have passed each way.
    pub(crate) fn wait_for(&self, count: u32) {
        let passed = |direction: &Direction| direction.sent - direction.under_way.len() as u32;
        let (up, down) = self.with(|state| (passed(&state.up), passed(&state.down)));
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.with(|state| passed(&state.up) >= up + count && passed(&state.down) >= down + count) {
            assert!(Instant::now() < deadline, "media does not flow: {:?}", self.state);
            sleep(INTERVAL);
        }
    }

    /// When the last packet that passed, in either direction, was sent.
    pub(crate) fn last_passed(&self) -> Instant {
        self.with(|state| state.up.last_passed.max(state.down.last_passed)).expect("a packet passed")
    }

    /// Stops sending, waits for what is under way, and answers what became of it, and the client.
    pub(crate) fn stop(mut self) -> (Report, Client) {
        self.stop.store(true, Ordering::Relaxed);
        let client = self.thread.take().unwrap().join().unwrap();
        let report = self.with(|state| Report {
            sent: state.up.sent + state.down.sent,
            lost: (state.up.under_way.len() + state.down.under_way.len()) as u32,
        });
        (report, client)
    }

    fn with<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock().unwrap())
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The other end of the relay.
struct Peer {
    socket: UdpSocket,
    relay: SocketAddr,
    interval: Duration,
}

fn run(client: &mut Client, peer: &Peer, stop: &AtomicBool, state: &Mutex<State>) {
    let mut next = Instant::now();
    let mut end = None;
    loop {
        if end.is_none() && stop.load(Ordering::Relaxed) {
            end = Some(Instant::now() + REST);
        }
        if end.is_none() && Instant::now() >= next {
            next += peer.interval;
            let (up, down) = {
                let mut state = state.lock().unwrap();
                (state.up.next(), state.down.next())
            };
            client.send_channel(CHANNEL, &up);
            // Refused by the kernel while nobody has the relay's port: it counts as lost.
            drop(peer.socket.send_to(&down, peer.relay));
        }
        receive(client, peer, state);
        let is_empty = {
            let state = state.lock().unwrap();
            state.up.under_way.is_empty() && state.down.under_way.is_empty()
        };
        if end.is_some_and(|end| is_empty || Instant::now() > end) {
            return;
        }
    }
}

/// Takes what has come; waits a little for the client's side.
fn receive(client: &mut Client, peer: &Peer, state: &Mutex<State>) {
    let mut buffer = [0; 2000];
    while let Ok((length, _)) = peer.socket.recv_from(&mut buffer) {
        state.lock().unwrap().up.arrived(&buffer[..length]);
    }
    let mut limit = peer.interval / 4;
    while let Some(Received::Channel(CHANNEL, payload)) = client.receive(limit) {
        state.lock().unwrap().down.arrived(&payload);
        limit = Duration::from_micros(1);
    }
}

impl Direction {
    /// The next packet.
    fn next(&mut self) -> Vec<u8> {
        let mut packet = self.sent.to_be_bytes().to_vec();
        packet.resize(PAYLOAD_BYTES, 0x5A);
        self.under_way.insert(self.sent, Instant::now());
        self.sent += 1;
        packet
    }

    fn arrived(&mut self, packet: &[u8]) {
        assert_eq!(packet.len(), PAYLOAD_BYTES, "a packet came back changed");
        let number = u32::from_be_bytes(packet[..4].try_into().unwrap());
        let sent = self.under_way.remove(&number).expect("each packet comes once");
        self.last_passed = self.last_passed.max(Some(sent));
    }
}
