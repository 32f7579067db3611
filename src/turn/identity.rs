//! Whose an allocation is, and what it is called.

use std::{fmt, sync::Arc};

use crate::credentials::{Claims, KeyId};

/// Names an allocation of one [`Server`](super::Server): counts up from 1 and is never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AllocationId(pub u64);

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

#[cfg(test)]
mod tests {
    use super::*;

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
