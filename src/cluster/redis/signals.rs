//! What the signaling relays of nodes say to each other: many small packets, each for one run of one node.
//!
//! They go over the same channels as everything else, but in frames and a queue of their own, so that no heartbeat ever
//! waits behind them. What waits for a node goes together: the busier the bus is, the larger its frames are. Packets may
//! get lost, and the relays send them again; no frame is taken twice, and none from or for anybody else.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use futures_util::future::join_all;
use redis::{RedisError, RedisResult};
use tokio::sync::Notify;

use super::{
    commands::Commands,
    counters::Counters,
    frame::{self, Destination, Header},
    keys::{self, NODE_LEASE},
    seal::{Keys, Sealer},
    shared::{Shared, lock},
};
use crate::cluster::{NodeId, SignalHandler, clock::unix_millis};

/// Bytes that may wait to be sent; then packets are lost.
const QUEUE_BYTES_MAX: usize = 32 << 20;
/// Packets that may wait.
const QUEUE_MAX: usize = 65_536;
/// Bytes of one frame: more packets go in another one.
const FRAME_BYTES: usize = 256 << 10;
/// Bytes that go out with one round trip.
const ROUND_BYTES: usize = 4 << 20;

/// What is said to the relays of other nodes, and what the relay of this one is told of them.
pub(super) struct Signals {
    waiting: Mutex<Waiting>,
    wake: Notify,
    /// Counts the frames of this run.
    sent: AtomicU64,
    sealer: Sealer,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Waiting {
    packets: VecDeque<(NodeId, u64, Bytes)>,
    bytes: usize,
}

/// What the relay of this node knows. Whoever tells it holds the lock: so it learns everything in one order.
#[derive(Default)]
struct Told {
    handler: Option<Arc<dyn SignalHandler>>,
    nodes: HashMap<NodeId, u64>,
    /// Since when the bus works.
    bus: Option<Instant>,
}

/// The purpose of the key that seals what a run of a node says.
pub(super) fn purpose(source: &str, incarnation: u64) -> String {
    format!("signal {incarnation:016x} {source}")
}

impl Signals {
    pub(super) fn new(keys: &Keys, own: &str, incarnation: u64) -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Notify::new(),
            sent: AtomicU64::new(0),
            sealer: keys.sealer(&purpose(own, incarnation)),
            told: Mutex::default(),
        }
    }

    /// Tells `handler` from now on, first of all what there is.
    pub(super) fn connect(&self, handler: Arc<dyn SignalHandler>, nodes: &[(NodeId, u64)]) {
        let mut told = lock(&self.told);
        handler.bus(told.bus.is_some());
        told.handler = Some(handler);
        told.nodes = HashMap::new();
        told.review(nodes);
    }

    /// Says whether the bus works.
    pub(super) fn set_bus(&self, is_up: bool) {
        let mut told = lock(&self.told);
        if told.bus.is_some() == is_up {
            return;
        }
        told.bus = is_up.then(Instant::now);
        if let Some(handler) = &told.handler {
            handler.bus(is_up);
        }
        drop(told);
        if !is_up {
            *lock(&self.waiting) = Waiting::default();
        }
    }

    /// Says which nodes there are; asked for under the lock, so that what is told last is what is known last.
    pub(super) fn review(&self, nodes: impl FnOnce() -> Vec<(NodeId, u64)>) {
        lock(&self.told).review(&nodes());
    }

    /// A node has left.
    pub(super) fn left(&self, node: &str) {
        let mut told = lock(&self.told);
        if told.nodes.remove(node).is_some()
            && let Some(handler) = &told.handler
        {
            handler.node_down(node);
        }
    }

    /// Hands packets of a run of a node over, if the relay knows of that.
    fn received(&self, node: &str, run: u64, packets: Packets<'_>) {
        let told = lock(&self.told);
        if told.nodes.get(node) != Some(&run) {
            return;
        }
        if let Some(handler) = &told.handler {
            packets.for_each(|packet| handler.received(node, run, packet));
        }
    }

    /// Adds a packet for a run of a node. `false`: it is lost.
    pub(super) fn push(&self, node: &str, run: u64, packet: Bytes) -> bool {
        let mut waiting = lock(&self.waiting);
        let is_full = waiting.packets.len() >= QUEUE_MAX || waiting.bytes + packet.len() > QUEUE_BYTES_MAX;
        if is_full || packet.len() > FRAME_BYTES {
            return false;
        }
        waiting.bytes += packet.len();
        waiting.packets.push_back((node.to_owned(), run, packet));
        drop(waiting);
        self.wake.notify_one();
        true
    }

    /// What goes out next: of each run of each node a few bodies of frames, in order.
    fn take(&self) -> Vec<(NodeId, u64, Vec<u8>)> {
        let mut bodies: BTreeMap<(NodeId, u64), Vec<Vec<u8>>> = BTreeMap::new();
        let mut waiting = lock(&self.waiting);
        let mut bytes = 0;
        while bytes < ROUND_BYTES
            && let Some((node, run, packet)) = waiting.packets.pop_front()
        {
            waiting.bytes -= packet.len();
            bytes += packet.len();
            let bodies = bodies.entry((node, run)).or_default();
            match bodies.last_mut() {
                Some(body) if body.len() + packet.len() <= FRAME_BYTES => add_packet(body, &packet),
                Some(_) | None => {
                    let mut body = Vec::with_capacity(packet.len() + 4);
                    add_packet(&mut body, &packet);
                    bodies.push(body);
                }
            }
        }
        drop(waiting);
        let frames = bodies
            .into_iter()
            .flat_map(|((node, run), bodies)| bodies.into_iter().map(move |body| (node.clone(), run, body)));
        frames.collect()
    }
}

impl Told {
    fn review(&mut self, nodes: &[(NodeId, u64)]) {
        let Some(handler) = &self.handler else { return };
        for (node, run) in nodes {
            if self.nodes.insert(node.clone(), *run) != Some(*run) {
                handler.node_up(node, *run);
            }
        }
        // While nobody could be heard nobody is missed, nor until all had the time to be heard again.
        if self.bus.is_none_or(|since| since.elapsed() < NODE_LEASE) {
            return;
        }
        let is_there = |name: &NodeId| nodes.iter().any(|(node, _)| node == name);
        let mut gone: Vec<NodeId> = self.nodes.keys().filter(|name| !is_there(name)).cloned().collect();
        gone.sort();
        for name in gone {
            self.nodes.remove(&name);
            handler.node_down(&name);
        }
    }
}

fn add_packet(body: &mut Vec<u8>, packet: &[u8]) {
    body.extend_from_slice(&u32::try_from(packet.len()).unwrap_or_default().to_be_bytes());
    body.extend_from_slice(packet);
}

/// The packets of a frame.
struct Packets<'a>(&'a [u8]);

impl<'a> Iterator for Packets<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let (packet, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        self.0 = rest;
        Some(packet)
    }
}

/// Seals and sends what waits for as long as the connection lasts. Answers why it no longer does.
pub(super) async fn send(shared: &Shared, commands: &Commands) -> String {
    loop {
        if let Err(error) = send_waiting(shared, commands).await {
            return format!("messages cannot be sent: {error}");
        }
        shared.signals.wake.notified().await;
    }
}

/// Sends what waits now.
pub(super) async fn send_waiting(shared: &Shared, commands: &Commands) -> Result<(), RedisError> {
    loop {
        let bodies = shared.signals.take();
        if bodies.is_empty() {
            return Ok(());
        }
        let seal = |(node, run, body): &(NodeId, u64, Vec<u8>)| seal(shared, node, *run, body);
        let frames: Vec<(String, Vec<u8>)> = bodies.iter().filter_map(seal).collect();
        let answers = join_all(frames.iter().map(|(channel, frame)| commands.publish(channel, frame))).await;
        answers.into_iter().collect::<RedisResult<Vec<_>>>()?;
    }
}

/// The channel and the frame for a run of a node.
fn seal(shared: &Shared, node: &str, run: u64, body: &[u8]) -> Option<(String, Vec<u8>)> {
    let signals = &shared.signals;
    let header = Header {
        source: shared.own.id.clone(),
        incarnation: shared.own.incarnation,
        sequence: signals.sent.fetch_add(1, Ordering::Relaxed) + 1,
        broadcast: 0,
        sent: unix_millis(),
    };
    let to = Destination::One(node.to_owned(), run);
    Some((keys::channel(node), frame::write_signal(&signals.sealer, &header, &to, body)?))
}

/// Takes a frame that came, if it is one of these; `false` if it is not.
pub(super) fn take(shared: &Shared, frame: &[u8]) -> bool {
    let Some((header, bytes, sealed)) = Header::read_signal(frame) else { return false };
    let to = Destination::One(shared.own.id.clone(), shared.own.incarnation);
    // Of a run that is not known (yet) nothing can be said: neither that it is forged nor that it is not.
    let sealer = shared.registry.signal_sealer(&shared.keys, &header.source, header.incarnation);
    let Some(sealer) = sealer else { return true };
    let opened = frame::open_signal(&sealer, bytes, sealed, &to)
        .filter(|_| shared.registry.admit_signal(&header, unix_millis()).is_ok());
    match opened {
        Some(body) => shared.signals.received(&header.source, header.incarnation, Packets(&body)),
        None => Counters::add(&shared.counters.frames_refused),
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::SecretBytes;

    fn signals() -> Signals {
        Signals::new(&Keys::new(&[SecretBytes::new(&[7; 32])]), "a", 5)
    }

    #[derive(Default)]
    struct Log(Mutex<Vec<String>>);

    impl Log {
        fn take(&self) -> Vec<String> {
            std::mem::take(&mut lock(&self.0))
        }

        fn add(&self, line: String) {
            lock(&self.0).push(line);
        }
    }

    impl SignalHandler for Log {
        fn node_up(&self, node: &str, run: u64) {
            self.add(format!("up {node} {run}"));
        }

        fn node_down(&self, node: &str) {
            self.add(format!("down {node}"));
        }

        fn received(&self, node: &str, run: u64, bytes: &[u8]) {
            self.add(format!("{} from {node} {run}", String::from_utf8_lossy(bytes)));
        }

        fn bus(&self, is_up: bool) {
            self.add(format!("bus {is_up}"));
        }
    }

    fn nodes(nodes: &[(&str, u64)]) -> Vec<(NodeId, u64)> {
        nodes.iter().map(|(node, run)| ((*node).to_owned(), *run)).collect()
    }

    #[test]
    fn a_relay_is_told_what_there_is_and_then_what_changes() {
        let (signals, log) = (signals(), Arc::new(Log::default()));
        signals.connect(Arc::clone(&log) as _, &nodes(&[("b", 1)]));
        signals.set_bus(true);
        signals.set_bus(true);
        signals.review(|| nodes(&[("b", 2), ("c", 1)]));
        assert_eq!(log.take(), ["bus false", "up b 1", "bus true", "up b 2", "up c 1"]);
        // The bus has only just begun to work: who is not heard yet is not missed.
        signals.review(|| nodes(&[("c", 1)]));
        signals.set_bus(false);
        signals.left("c");
        signals.left("c");
        assert_eq!(log.take(), ["bus false", "down c"]);
    }

    #[test]
    fn only_those_that_are_there_are_heard() {
        let (signals, log) = (signals(), Arc::new(Log::default()));
        signals.connect(Arc::clone(&log) as _, &nodes(&[("b", 2)]));
        log.take();
        let mut body = Vec::new();
        add_packet(&mut body, b"one");
        add_packet(&mut body, b"two");
        for (node, run) in [("b", 1), ("c", 2), ("b", 2)] {
            signals.received(node, run, Packets(&body));
        }
        assert_eq!(log.take(), ["one from b 2", "two from b 2"]);
    }

    #[test]
    fn packets_for_a_node_go_together_in_order_and_what_waits_is_bounded() {
        let signals = signals();
        for (node, packet) in [("b", "1"), ("c", "2"), ("b", "3")] {
            assert!(signals.push(node, 1, Bytes::from_static(packet.as_bytes())));
        }
        let taken = signals.take();
        let found: Vec<(&str, Vec<&[u8]>)> =
            taken.iter().map(|(node, _, body)| (node.as_str(), Packets(body).collect())).collect();
        assert_eq!(found, [("b", vec![&b"1"[..], b"3"]), ("c", vec![&b"2"[..]])]);
        let packet = Bytes::from(vec![0; 60 << 10]);
        let count =
            std::iter::repeat_with(|| signals.push("b", 1, packet.clone())).take_while(|&is| is).count();
        assert_eq!(count, QUEUE_BYTES_MAX / packet.len());
        assert!(signals.take().iter().all(|(_, _, body)| body.len() <= FRAME_BYTES + 64));
    }

    proptest! {
        #[test]
        fn garbage_has_no_packets_beyond_its_end(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let total: usize = Packets(&bytes).map(|packet| packet.len() + 4).sum();
            prop_assert!(total <= bytes.len());
        }
    }
}
