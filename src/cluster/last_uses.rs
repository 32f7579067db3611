//! When API keys were last used.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{ApiKeyId, ApiKeys};

/// When each key was last used on this node. Bounded by the number of keys.
#[derive(Debug, Default)]
pub(super) struct LastUses {
    uses: Mutex<HashMap<ApiKeyId, LastUse>>,
}

/// Seconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
struct LastUse {
    at: u64,
    /// Which of its uses is in the file.
    written: u64,
}

impl LastUses {
    /// Those that the file knows.
    pub(super) fn of(written: Vec<(ApiKeyId, u64)>) -> Self {
        let uses = written.into_iter().map(|(id, at)| (id, LastUse { at, written: at }));
        Self { uses: Mutex::new(uses.collect()) }
    }

    /// Notes a use of a key that there is.
    pub(super) fn note(&self, id: &str, keys: &ApiKeys, now: u64) {
        let Some(key) = keys.find(id) else { return };
        let mut uses = self.lock();
        match uses.get_mut(id) {
            Some(last) => last.at = last.at.max(now),
            None => drop(uses.insert(key.id.clone(), LastUse { at: now, written: 0 })),
        }
    }

    /// When a key was last used.
    pub(super) fn of_key(&self, id: &str) -> Option<u64> {
        self.lock().get(id).map(|last| last.at)
    }

    /// What the file does not know yet, which counts as written then. Keys that are no more are forgotten.
    pub(super) fn take_unwritten(&self, keys: &ApiKeys) -> Vec<(ApiKeyId, u64)> {
        let mut uses = self.lock();
        uses.retain(|id, _| keys.find(id).is_some());
        let unwritten = uses.iter_mut().filter(|(_, last)| last.at > last.written);
        unwritten
            .map(|(id, last)| {
                last.written = last.at;
                (id.clone(), last.at)
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ApiKeyId, LastUse>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{ApiKey, Scopes};

    fn keys(ids: &[&str]) -> ApiKeys {
        let key = |id: &&str| ApiKey {
            id: (*id).to_owned(),
            name: String::new(),
            sha256: [0; 32],
            scopes: Scopes::default(),
            networks: Vec::new(),
            created: 0,
            expires: None,
        };
        ApiKeys::new(ids.iter().map(key), &[])
    }

    #[test]
    fn a_use_is_written_once_and_forgotten_with_its_key() {
        let uses = LastUses::of(vec![("old".to_owned(), 5)]);
        uses.note("new", &keys(&["new", "old"]), 9);
        uses.note("new", &keys(&["new", "old"]), 7);
        uses.note("none", &keys(&["new", "old"]), 9);

        assert_eq!((uses.of_key("new"), uses.of_key("old"), uses.of_key("none")), (Some(9), Some(5), None));
        assert_eq!(uses.take_unwritten(&keys(&["new", "old"])), [("new".to_owned(), 9)]);
        assert_eq!(uses.take_unwritten(&keys(&["new"])), []);
        assert_eq!(uses.of_key("old"), None);
    }
}
