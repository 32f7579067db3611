//! Numbers nobody can guess, drawn from the key of this run.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// HMAC-SHA256 of a counter under the key of this run.
pub(super) struct Random {
    mac: Hmac<Sha256>,
    drawn: u64,
}

impl Random {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        // A key of any length is taken.
        let mac = Hmac::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()));
        Self { mac, drawn: 0 }
    }

    /// 256 bits.
    pub(super) fn token(&mut self) -> [u8; 32] {
        self.drawn += 1;
        let mut mac = self.mac.clone();
        mac.update(&self.drawn.to_be_bytes());
        mac.finalize().into_bytes().into()
    }

    /// 128 bits.
    pub(super) fn number(&mut self) -> u128 {
        let mut half = [0; 16];
        for (to, from) in half.iter_mut().zip(self.token()) {
            *to = from;
        }
        u128::from_be_bytes(half)
    }

    /// Seeds of a hash function, so that nobody outside can choose keys that collide.
    pub(super) fn hasher(&mut self) -> ahash::RandomState {
        let (a, b) = (self.number(), self.number());
        ahash::RandomState::with_seeds((a >> 64) as u64, a as u64, (b >> 64) as u64, b as u64)
    }
}

/// The key stays out of logs.
impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Random").field("drawn", &self.drawn).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_drawn_twice_and_a_key_draws_the_same_again() {
        let (mut one, mut same, mut other) =
            (Random::new(&[1; 32]), Random::new(&[1; 32]), Random::new(&[2; 32]));
        let first = one.token();
        assert_eq!(first, same.token());
        assert_ne!(first, other.token());
        assert_ne!(first, one.token());
    }
}
