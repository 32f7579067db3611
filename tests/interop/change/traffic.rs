//! Two clients that talk through their relays without a pause, and what becomes of each datagram.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::support::{Client, client::Received};

/// Datagrams that each sends before both look at what came.
const BURST: u32 = 8;
/// Between bursts.
const PAUSE: Duration = Duration::from_millis(4);
/// What has not come by then is lost.
const LATE: Duration = Duration::from_secs(2);
const CHANNEL: u16 = 0x4000;

/// A conversation that goes on until it is told to end.
pub(super) struct Talk {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Told>,
}

/// How it went.
pub(super) struct Told {
    pub(super) clients: [Client; 2],
    /// Datagrams of both.
    pub(super) sent: u64,
    pub(super) received: u64,
    /// The longest that a burst took to come.
    pub(super) slowest: Duration,
}

impl Talk {
    /// Allocates for both, binds channels to one another, and begins.
    pub(super) fn begin(mut clients: [Client; 2]) -> Self {
        let relays = clients.each_mut().map(|client| client.allocate().unwrap());
        clients[0].bind_channel(CHANNEL, relays[1]).unwrap();
        clients[1].bind_channel(CHANNEL, relays[0]).unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let thread = std::thread::spawn(move || talk(clients, &told));
        Self { ends, thread }
    }

    /// Ends it.
    pub(super) fn end(self) -> Told {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

impl Told {
    /// Every datagram must have come, once and in order.
    #[track_caller]
    pub(super) fn is_whole(&self) {
        assert_eq!(self.sent, self.received, "lost on the way");
        assert!(self.sent > 1000, "only {} datagrams were sent", self.sent);
        eprintln!("{} datagrams relayed, the slowest burst took {:?}", self.sent, self.slowest);
    }
}

fn talk(mut clients: [Client; 2], ends: &AtomicBool) -> Told {
    let (mut number, mut received, mut slowest) = (0, 0, Duration::ZERO);
    while !ends.load(Ordering::Relaxed) {
        let begun = Instant::now();
        for place in 0..BURST {
            for client in &clients {
                client.send_channel(CHANNEL, &(number + place).to_be_bytes());
            }
        }
        for client in &mut clients {
            for place in 0..BURST {
                match client.receive(LATE) {
                    Some(Received::Channel(CHANNEL, payload)) => {
                        assert_eq!(payload, (number + place).to_be_bytes(), "in order and once");
                        received += 1;
                    }
                    Some(other) => panic!("{other:?}"),
                    None => break,
                }
            }
        }
        number += BURST;
        slowest = slowest.max(begun.elapsed());
        std::thread::sleep(PAUSE);
    }
    Told { clients, sent: 2 * u64::from(number), received, slowest }
}
