//! Answers remembered by their idempotency keys, on this node alone.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::Remembered;

/// Keys remembered at once; when there are more, what ends first is forgotten.
const KEYS_MAX: usize = 10_000;
/// Bytes of values remembered at once.
const BYTES_MAX: usize = 32 << 20;

/// Values by key, each for a while.
#[derive(Debug, Default)]
pub(super) struct Memory {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    values: HashMap<String, (Instant, Vec<u8>)>,
    /// The same keys by the instant they end at.
    ends: BTreeSet<(Instant, String)>,
    bytes: usize,
}

impl Memory {
    /// Keeps `value` unless there is one: then that one is answered.
    pub(super) fn remember(&self, key: &str, value: Vec<u8>, ttl: Duration, now: Instant) -> Remembered {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.end(now);
        if let Some((_, earlier)) = kept.values.get(key) {
            return Remembered::Earlier(earlier.clone());
        }
        kept.keep(key, value, ttl, now);
        Remembered::New
    }

    /// Replaces what is kept under `key`.
    pub(super) fn replace(&self, key: &str, value: Vec<u8>, ttl: Duration, now: Instant) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.end(now);
        kept.keep(key, value, ttl, now);
    }
}

impl Kept {
    fn keep(&mut self, key: &str, value: Vec<u8>, ttl: Duration, now: Instant) {
        self.forget(key);
        let Some(end) = now.checked_add(ttl) else { return };
        self.bytes += value.len();
        self.values.insert(key.to_owned(), (end, value));
        self.ends.insert((end, key.to_owned()));
        while self.values.len() > KEYS_MAX || self.bytes > BYTES_MAX {
            let Some((_, first)) = self.ends.first().cloned() else { break };
            self.forget(&first);
        }
    }

    fn end(&mut self, now: Instant) {
        while let Some((_, key)) = self.ends.first().filter(|(end, _)| *end <= now).cloned() {
            self.forget(&key);
        }
    }

    fn forget(&mut self, key: &str) {
        if let Some((end, value)) = self.values.remove(key) {
            self.bytes -= value.len();
            self.ends.remove(&(end, key.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_first_value_stays_until_it_is_replaced_or_over() {
        let (memory, start) = (Memory::default(), Instant::now());
        assert_eq!(memory.remember("k", b"1".to_vec(), MINUTE, start), Remembered::New);
        assert_eq!(memory.remember("k", b"2".to_vec(), MINUTE, start), Remembered::Earlier(b"1".to_vec()));
        memory.replace("k", b"3".to_vec(), MINUTE, start);
        assert_eq!(memory.remember("k", Vec::new(), MINUTE, start), Remembered::Earlier(b"3".to_vec()));
        assert_eq!(memory.remember("k", b"4".to_vec(), MINUTE, start + MINUTE), Remembered::New);
    }

    #[test]
    fn keys_and_bytes_are_bounded() {
        let (memory, start) = (Memory::default(), Instant::now());
        for n in 0..KEYS_MAX + 1 {
            memory.remember(&n.to_string(), Vec::new(), MINUTE, start + Duration::from_micros(n as u64));
        }
        assert_eq!(memory.kept.lock().unwrap().values.len(), KEYS_MAX);
        assert_eq!(memory.remember("0", Vec::new(), MINUTE, start), Remembered::New, "the first one went");

        memory.remember("large", vec![0; BYTES_MAX], MINUTE * 2, start);
        memory.remember("larger", vec![0; BYTES_MAX], MINUTE * 3, start);
        let kept = memory.kept.lock().unwrap();
        assert_eq!((kept.values.len(), kept.ends.len(), kept.bytes), (1, 1, BYTES_MAX));
    }
}
