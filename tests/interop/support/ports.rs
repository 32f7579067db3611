//! Ports for servers and counterparts, all below the kernel's ephemeral range (32768 and up), where a passing client
//! socket of any process could sit.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU16, Ordering};

const SINGLE: RangeInclusive<u16> = 10_000..=15_999;
const RELAY_FIRST: u16 = 16_000;
const RELAY_BLOCKS: u16 = 40;
/// The size of one server's relay port range: more than the most demanding test, 200 allocations, needs.
const RELAY_BLOCK: u16 = 400;

/// A port that no UDP or TCP socket of this machine has, on either address family.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = SINGLE.end() - SINGLE.start() + 1;
    for _ in 0..count {
        let offset = (start().wrapping_mul(37)).wrapping_add(NEXT.fetch_add(7, Ordering::Relaxed)) % count;
        let port = SINGLE.start() + offset;
        if is_free(port) {
            return port;
        }
    }
    panic!("no free port in {SINGLE:?}");
}

/// Relay ports for one server at a time, also across test processes.
pub(crate) struct RelayRange {
    pub(crate) first: u16,
    pub(crate) last: u16,
    /// Listens on the first port for as long as the range is taken; UDP does not mind.
    _mark: TcpListener,
}

impl RelayRange {
    pub(crate) fn take() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        for _ in 0..RELAY_BLOCKS {
            let block = start().wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % RELAY_BLOCKS;
            let first = RELAY_FIRST + block * RELAY_BLOCK;
            if let Ok(mark) = TcpListener::bind((Ipv4Addr::LOCALHOST, first)) {
                return Self { first, last: first + RELAY_BLOCK - 1, _mark: mark };
            }
        }
        panic!("every block of relay ports is taken");
    }
}

fn is_free(port: u16) -> bool {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
        && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
        && UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).is_ok()
        && TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).is_ok()
}

/// Where this process begins to look, so that test processes running side by side rarely meet.
fn start() -> u16 {
    (std::process::id() % 6_000) as u16
}
