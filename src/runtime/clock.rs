//! The clocks and the randomness that the core is handed.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::turn::{Instant, Now, Random};

/// Both clocks. Cheap to copy; copies agree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock whose monotonic time starts now.
    pub(super) fn start() -> Self {
        Self { origin: std::time::Instant::now() }
    }

    /// Microseconds on the monotonic clock, for what is finer than a deadline.
    pub(super) fn micros(self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Reads both clocks.
    pub(super) fn now(self) -> Now {
        let elapsed = self.origin.elapsed().as_millis();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Now { monotonic: Instant::from_millis(u64::try_from(elapsed).unwrap_or(u64::MAX)), unix }
    }
}

/// The system's randomness, fetched a few hundred bytes at a time.
pub(super) struct SystemRandom {
    buffer: [u8; 512],
    used: usize,
}

impl SystemRandom {
    /// Nothing fetched yet.
    pub(super) const fn new() -> Self {
        Self { buffer: [0; 512], used: 512 }
    }
}

impl Random for SystemRandom {
    /// # Panics
    /// If the system has no randomness to give: nothing can be authenticated safely then.
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.used == self.buffer.len() {
                let filled = getrandom::fill(&mut self.buffer);
                assert!(filled.is_ok(), "the system gives no random bytes (getrandom): {filled:?}");
                self.used = 0;
            }
            let fresh = self.buffer.get_mut(self.used);
            // What was handed out is not kept.
            *byte = fresh.map(std::mem::take).unwrap_or_default();
            self.used += 1;
        }
    }
}

impl std::fmt::Debug for SystemRandom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SystemRandom")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_differ_across_refills() {
        let mut random = SystemRandom::new();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..200 {
            let mut bytes = [0; 12];
            random.fill(&mut bytes);
            assert!(seen.insert(bytes));
        }
    }
}
