//! The world around a server is wrong: descriptors run out, the clock jumps, Redis answers garbage. Each is named on one
//! line with its mend, what is up goes on, and all is well again when the cause is gone.

mod clock;
mod clock_signaling;
mod descriptors;
mod redis;
mod stranger;

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::client::Received;
use crate::support::{Client, Server};

const SOON: Duration = Duration::from_secs(5);

/// Two clients that talk to each other over the relay.
struct Call {
    sides: [Client; 2],
    sent: u32,
}

impl Call {
    fn begin(server: &Server) -> Self {
        Self::of([(); 2].map(|()| Client::new(server.address())))
    }

    fn of(mut sides: [Client; 2]) -> Self {
        let relays: Vec<SocketAddr> = sides.iter_mut().map(|side| side.allocate().unwrap()).collect();
        sides[0].bind_channel(0x4000, relays[1]).unwrap();
        sides[1].bind_channel(0x4001, relays[0]).unwrap();
        Self { sides, sent: 0 }
    }

    /// Data passes both relays and refreshes are granted.
    #[track_caller]
    fn goes_on(&mut self) {
        self.sent += 1;
        let data = self.sent.to_be_bytes();
        self.sides[0].send_channel(0x4000, &data);
        assert_eq!(self.sides[1].receive(SOON), Some(Received::Channel(0x4001, data.to_vec())));
        for side in &mut self.sides {
            assert_eq!(side.refresh(600), Ok(600));
        }
    }

    fn end(mut self) {
        for side in &mut self.sides {
            side.refresh(0).unwrap();
        }
    }
}

/// How many lines of the log have this.
fn lines(server: &Server, words: &str) -> Vec<String> {
    server.process.output().lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
}
