//! Ports below the kernel's ephemeral range, where a passing client socket of any process could sit.

use std::{
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    sync::atomic::{AtomicU16, Ordering},
};

/// Apart from the ports that other tests draw; what is 10000 above them is below 32768 too, and is the port of the
/// bus of a Redis Cluster.
const RANGE: Range<u16> = 22_100..22_700;
/// Beside them, for whoever needs many.
const MORE: Range<u16> = 4_000..9_000;

/// A TCP port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    free_in(&MORE, is_free)
}

/// A TCP port that nobody listens on, nor 10000 above it.
pub(super) fn free_port_with_bus() -> u16 {
    free_in(&RANGE, |port| is_free(port) && is_free(port + 10_000))
}

fn free_in(range: &Range<u16>, is_free: impl Fn(u16) -> bool) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = range.end - range.start;
    // Test processes running side by side begin at different places, so that they rarely meet.
    let start = (std::process::id() % u32::from(count)) as u16;
    for _ in 0..count {
        let offset = start.wrapping_mul(7).wrapping_add(NEXT.fetch_add(11, Ordering::Relaxed)) % count;
        if is_free(range.start + offset) {
            return range.start + offset;
        }
    }
    panic!("no free port in {range:?}");
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
        && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}
