//! A bounded table of what was seen lately.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

/// Keeps at least the `half` names that were asked for last, and at most twice as many. Forgetting costs nothing at the
/// time: two generations take turns.
#[derive(Debug)]
pub(in crate::api) struct Recent<K, V> {
    current: HashMap<K, V>,
    previous: HashMap<K, V>,
    half: usize,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    pub(in crate::api) fn new(half: usize) -> Self {
        Self { current: HashMap::new(), previous: HashMap::new(), half }
    }

    /// What is kept under this name; it is then among the newest.
    pub(in crate::api) fn get<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if !self.current.contains_key(key) {
            let (key, value) = self.previous.remove_entry(key)?;
            self.insert(key, value);
        }
        self.current.get_mut(key)
    }

    /// Keeps a value.
    pub(in crate::api) fn insert(&mut self, key: K, value: V) {
        if self.current.len() >= self.half && !self.current.contains_key(&key) {
            self.previous = std::mem::take(&mut self.current);
        }
        self.current.insert(key, value);
    }

    /// Forgets what is not to be kept.
    pub(in crate::api) fn retain(&mut self, mut is_kept: impl FnMut(&K, &V) -> bool) {
        self.current.retain(|key, value| is_kept(key, value));
        self.previous.retain(|key, value| is_kept(key, value));
    }

    /// Forgets everything.
    pub(in crate::api) fn clear(&mut self) {
        self.current.clear();
        self.previous.clear();
    }

    /// How many there are.
    #[cfg(test)]
    pub(in crate::api) fn len(&self) -> usize {
        self.current.len() + self.previous.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_forgotten() {
        let mut recent = Recent::new(10);
        recent.insert(0, "kept");
        for number in 1..1000 {
            recent.insert(number, "passing");
            assert_eq!(recent.get(&0), Some(&mut "kept"), "after {number}");
            assert!(recent.len() <= 20);
        }
        assert_eq!(recent.get(&1), None);
        assert!(recent.get(&999).is_some());
    }
}
