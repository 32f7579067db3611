//! Repeatable randomness: a failing test prints its seed, and `INTEROP_SEED` replays it.

use std::time::{SystemTime, UNIX_EPOCH};

/// A xorshift generator.
pub(crate) struct Random {
    state: u64,
    seed: u64,
}

impl Random {
    pub(crate) fn new() -> Self {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into();
        let chosen = std::env::var("INTEROP_SEED").ok().map(|seed| seed.parse().unwrap());
        let seed: u64 = chosen.unwrap_or_else(clock);
        Self { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, seed }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 11) as usize % bound
    }

    pub(crate) fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    /// Noise, or one of `templates` with something wrong.
    pub(crate) fn mangled(&mut self, templates: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.one_of(templates).clone();
        match self.below(8) {
            0 => {
                let length = self.below(1500);
                return self.bytes(length);
            }
            // Flipped bits.
            1..=3 => {
                for _ in 0..=self.below(6) {
                    let at = self.below(bytes.len());
                    bytes[at] ^= 1 << self.below(8);
                }
            }
            4 => bytes.truncate(self.below(bytes.len())),
            5 => {
                let length = self.below(300);
                bytes.extend(self.bytes(length));
            }
            // A length in the header, or in the first attribute, that is not true.
            6 => {
                let at = *self.one_of(&[2, 3, 22, 23]);
                let byte = self.bytes(1)[0];
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            // Far too long.
            _ => bytes.resize(self.below(60_000) + 1, 0x55),
        }
        bytes
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("repeat with INTEROP_SEED={}", self.seed);
        }
    }
}
