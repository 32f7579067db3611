//! Whose an allocation is, and what it is called.

use std::{fmt, num::NonZeroU16, sync::Arc};

use crate::credentials::{Claims, KeyId};

/// Bits of an [`AllocationId`] that count allocations; those above are its slot.
const COUNT_BITS: u32 = 40;
/// So many allocations at a time have an id.
pub(super) const SLOTS_MAX: u32 = 1 << (u64::BITS - COUNT_BITS);

/// Names an allocation of one [`Server`](super::Server), live or gone: a number that is not used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AllocationId(pub u64);

impl AllocationId {
    /// The `count`th allocation there ever was, in this slot. Where it is need not be kept beside its name.
    pub(super) const fn new(slot: u32, count: u64) -> Self {
        Self((slot as u64) << COUNT_BITS | count & ((1 << COUNT_BITS) - 1))
    }

    /// How many there had been with it.
    pub(super) const fn count(self) -> u64 {
        self.0 & ((1 << COUNT_BITS) - 1)
    }

    pub(super) const fn slot(self) -> u32 {
        (self.0 >> COUNT_BITS) as u32
    }
}

impl fmt::Display for AllocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whose an allocation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user: the username without its expiry time and claims. A bare timestamp is its own user.
    pub user: Arc<str>,
    /// What the credential is labelled with.
    pub label: Option<Box<str>>,
    /// The secret it was made with; `None` for users with a password of their own.
    pub key_id: Option<KeyId>,
}

/// Where in a username that was proved the user and the claims are: they are read again when they are asked for, which
/// is seldom, rather than kept for every allocation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UserPart(Option<(u16, u16)>);

impl UserPart {
    /// The username is the user and claims nothing.
    pub(super) const WHOLE: Self = Self(None);

    /// `part` is the beginning or the end of `username`. A bare timestamp has none: it is its own user.
    pub(super) fn of(username: &str, part: &str) -> Self {
        let start = if username.ends_with(part) { username.len() - part.len() } else { 0 };
        match (u16::try_from(start), u16::try_from(start + part.len())) {
            (Ok(start), Ok(end)) if !part.is_empty() => Self(Some((start, end))),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => Self::WHOLE,
        }
    }

    /// What the username it was made for says.
    pub(super) fn claims(self, username: &str) -> Claims<'_> {
        let part = self.0.and_then(|(start, end)| username.get(usize::from(start)..usize::from(end)));
        part.map_or_else(|| Claims::plain(username), Claims::read)
    }
}

/// Names a secret in [`Keys`], in two bytes; or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyRef(Option<NonZeroU16>);

/// The secrets that allocations live by, and how many each has.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<(KeyId, usize)>);

impl Keys {
    /// Counts one more allocation under a secret. What has none any more makes room, so that there are hardly more than
    /// the secrets that are valid at once.
    pub(super) fn count(&mut self, key_id: Option<&KeyId>) -> KeyRef {
        let Some(key_id) = key_id else { return KeyRef::default() };
        let known = self.0.iter().position(|(known, count)| known == key_id && *count > 0);
        let place =
            known.or_else(|| self.0.iter().position(|(_, count)| *count == 0)).unwrap_or(self.0.len());
        let Some(named) = u16::try_from(place + 1).ok().and_then(NonZeroU16::new) else {
            return KeyRef::default();
        };
        match self.0.get_mut(place) {
            Some((known, count)) => {
                known.clone_from(key_id);
                *count += 1;
            }
            None => self.0.push((key_id.clone(), 1)),
        }
        KeyRef(Some(named))
    }

    /// Counts one less.
    pub(super) fn uncount(&mut self, key: KeyRef) {
        let Some(named) = key.0 else { return };
        if let Some((_, count)) = self.0.get_mut(usize::from(named.get()) - 1) {
            debug_assert!(*count > 0, "{key:?} was never counted");
            *count = count.saturating_sub(1);
        }
    }

    pub(super) fn get(&self, key: KeyRef) -> Option<&KeyId> {
        self.0.get(usize::from(key.0?.get()) - 1).map(|(id, _)| id)
    }

    /// Those with allocations.
    pub(super) fn in_use(&self) -> impl Iterator<Item = &(KeyId, usize)> {
        self.0.iter().filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_its_slot_and_no_two_are_alike() {
        let ids = [(0, 1), (0, 2), (7, 2), (SLOTS_MAX - 1, u64::MAX)];
        let made = ids.map(|(slot, count)| AllocationId::new(slot, count));

        assert_eq!(made.map(AllocationId::slot), [0, 0, 7, SLOTS_MAX - 1]);
        assert!(made.is_sorted() && made[1] != made[2]);
    }

    #[test]
    fn secrets_are_counted_and_make_room() {
        let id = |name: &str| KeyId::new(name).unwrap();
        let mut keys = Keys::default();
        let (a, b) = (keys.count(Some(&id("a"))), keys.count(Some(&id("b"))));
        assert_eq!(keys.count(Some(&id("a"))), a);
        assert_eq!(keys.count(None), KeyRef::default());
        assert_eq!(
            (keys.get(a), keys.get(b), keys.get(KeyRef::default())),
            (Some(&id("a")), Some(&id("b")), None)
        );

        keys.uncount(a);
        keys.uncount(a);
        keys.uncount(KeyRef::default());
        assert_eq!(keys.in_use().cloned().collect::<Vec<_>>(), [(id("b"), 1)]);
        for step in 0..100 {
            let next = keys.count(Some(&id(&format!("c{step}"))));
            keys.uncount(next);
        }
        assert_eq!((keys.0.len(), size_of::<KeyRef>()), (2, 2));
    }

    #[test]
    fn the_user_part_is_found_on_either_side_of_the_timestamp() {
        let user = |username: &'static str, part: &str| UserPart::of(username, part).claims(username).user;

        assert_eq!(user("17:bob", "bob"), "bob");
        assert_eq!(user("bob:17", "bob"), "bob");
        assert_eq!(user("17:17", "17"), "17");
        assert_eq!(user("17", ""), "17");
        assert_eq!(user("17:bob~1~k~5~desk~~", "bob~1~k~5~desk~~"), "bob");
    }

    #[test]
    fn a_name_that_is_not_time_limited_claims_nothing() {
        let name = "bob~1~k~5~desk~~";

        assert_eq!(UserPart::WHOLE.claims(name), Claims::plain(name));
        assert!(size_of::<UserPart>() <= 6);
    }
}
