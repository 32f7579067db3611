//! What seeing the quality of calls in passing costs: nanoseconds per relayed packet of RTP, where nothing is measured,
//! one allocation of a hundred, and all.

use std::{hint::black_box, time::Instant as Stopwatch};

use iceway::{
    stun::channel_data_header,
    turn::{ClientOutcome, Datagrams, Direction, PeerOutcome, QualityOptions, Server},
};

use super::{Flow, NOW, PAYLOAD, flow, server_with};

/// Calls at once.
const FLOWS: usize = 64;
/// Packets in a row that are timed together.
const PACKETS: usize = 6_400;

/// Relays media past a server that measures one of `sample` allocations.
pub(super) fn measure(repeats: usize) {
    println!("\n{:<38}{:>14}{:>14}", "ns per packet, quality.sample", "to peer", "to client");
    for sample in [0, 100, 1] {
        let mut calls = Calls::new(sample);
        let [up, down] = [Calls::up, Calls::down].map(|relay| calls.best(relay, repeats));
        println!("{:<38}{up:>14.1}{down:>14.1}", format!("{sample}, {FLOWS} allocations"));
    }
}

struct Calls {
    server: Server,
    flows: Vec<Flow>,
    origin: Stopwatch,
    next: usize,
    sequence: u16,
    payload: [u8; PAYLOAD.len()],
}

impl Calls {
    fn new(sample: u32) -> Self {
        let mut server = server_with(QualityOptions { sample, ..QualityOptions::default() });
        let payload = rtp();
        let flows = (0..FLOWS).map(|index| {
            let mut flow = flow(&mut server, index);
            flow.channel_data = [&channel_data_header(0x4000, payload.len() as u16)[..], &payload].concat();
            flow
        });
        let flows = flows.collect();
        Self { server, flows, origin: Stopwatch::now(), next: 0, sequence: 0, payload }
    }

    fn best(&mut self, relay: fn(&mut Self), repeats: usize) -> f64 {
        let mut best = f64::MAX;
        for _ in 0..repeats.max(1) {
            let start = Stopwatch::now();
            for _ in 0..PACKETS {
                relay(self);
            }
            best = best.min(start.elapsed().as_nanos() as f64 / PACKETS as f64);
        }
        best
    }

    /// The next call, whose streams go on by one packet each time round.
    fn turn(&mut self) -> usize {
        self.next += 1;
        if self.next >= self.flows.len() {
            self.next = 0;
            self.sequence = self.sequence.wrapping_add(1);
        }
        self.next
    }

    // Both do what the sockets' side of the server does.

    fn up(&mut self) {
        let turn = self.turn();
        let flow = &mut self.flows[turn];
        flow.channel_data[6..8].copy_from_slice(&self.sequence.to_be_bytes());
        let datagram = black_box(&flow.channel_data[..]);
        let outcome = self.server.handle_client_datagram(NOW, flow.from, datagram);
        let ClientOutcome::Relay { socket, payload, .. } = outcome else { panic!("{outcome:?}") };
        if self.server.is_observed(socket) {
            let at = self.origin.elapsed().as_micros() as u64;
            self.server.observe(at, socket, Direction::ToPeer, &datagram[payload]);
        }
    }

    fn down(&mut self) {
        let turn = self.turn();
        let Flow { socket, on_channel, .. } = self.flows[turn];
        self.payload[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        let datagrams = Datagrams::one(PAYLOAD.len());
        let outcome = self.server.handle_peer_datagrams(NOW, socket, black_box(on_channel), datagrams);
        assert!(matches!(black_box(outcome), PeerOutcome::Relay { .. }));
        if self.server.is_observed(socket) {
            let at = self.origin.elapsed().as_micros() as u64;
            self.server.observe(at, socket, Direction::ToClient, black_box(&self.payload));
        }
    }
}

/// A packet of a voice.
fn rtp() -> [u8; PAYLOAD.len()] {
    let mut packet = PAYLOAD;
    packet[..12].copy_from_slice(&[0x80, 111, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
    packet
}
