//! Usernames that carry their expiry time.

use std::time::Duration;

use super::{Claims, DEFAULT_SEPARATOR, KeyId, Password, Secret};

/// A username `expires<separator>user`; the separator is left out if there is no user.
#[must_use]
pub fn time_limited_username(expires: u64, user: &str, separator: char) -> String {
    if user.is_empty() { expires.to_string() } else { format!("{expires}{separator}{user}") }
}

/// What a time-limited username says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimited<'a> {
    /// The last second, since the Unix epoch, at which the credential is valid.
    pub expires: u64,
    /// Whose it is: the rest of the name. May be empty.
    pub user: &'a str,
}

impl TimeLimited<'_> {
    /// No credential is meant to outlive the year 5138: such an expiry time was most likely given in milliseconds.
    #[must_use]
    pub const fn looks_like_milliseconds(&self) -> bool {
        self.expires >= 100_000_000_000
    }
}

/// Reads a time-limited username by coturn's rules.
///
/// The name is split at the first separator. If what is before it is a number, that is the expiry time and the rest
/// is the user; else, if what is after it is a number, the other way round. Without a separator the whole name must
/// be a number, and the user is empty. `None` if no number is found, or one beyond 64 bits.
#[must_use]
pub fn parse_time_limited(username: &str, separator: char) -> Option<TimeLimited<'_>> {
    let Some((before, after)) = username.split_once(separator) else {
        return Some(TimeLimited { expires: number(username)?, user: "" });
    };
    if is_number(before) {
        return Some(TimeLimited { expires: number(before)?, user: after });
    }
    Some(TimeLimited { expires: number(after)?, user: before })
}

/// A freshly made credential. The password is not shown by `Debug`.
#[derive(Clone, Debug)]
pub struct Credential {
    /// To be given as `username`.
    pub username: String,
    /// To be given as `credential`.
    pub password: Password,
    /// The last second, since the Unix epoch, at which it may be used.
    pub expires: u64,
    /// The secret it was made with.
    pub key_id: KeyId,
}

/// Makes a credential for `user` that is valid for `ttl` (whole seconds) from `now` (seconds since the Unix epoch),
/// with the [default separator](DEFAULT_SEPARATOR). See [`Directory::mint`](super::Directory::mint) for another one.
#[must_use]
pub fn mint(secret: &Secret, user: &str, ttl: Duration, now: u64) -> Credential {
    mint_plain(secret, user, DEFAULT_SEPARATOR, ttl, now)
}

pub(super) fn mint_plain(
    secret: &Secret,
    user: &str,
    separator: char,
    ttl: Duration,
    now: u64,
) -> Credential {
    let expires = now.saturating_add(ttl.as_secs());
    let mut claims = Claims::read(user);
    if !claims.is_plain() {
        // Whoever may choose a user's name may not claim anything by it: said in full, the name is the user again.
        claims = Claims { key_id: Some(secret.id().as_str()), issued: Some(now), ..Claims::plain(user) };
    }
    let username = time_limited_username(expires, &claims.to_string(), separator);
    let password = secret.password(&username);
    Credential { username, password, expires, key_id: secret.id().clone() }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn number(text: &str) -> Option<u64> {
    // `parse` alone would take a sign.
    if is_number(text) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::credentials::KeyId;

    fn parsed(username: &str) -> Option<(u64, &str)> {
        parse_time_limited(username, ':').map(|t| (t.expires, t.user))
    }

    #[test]
    fn the_timestamp_may_stand_before_or_after_the_user_or_alone() {
        assert_eq!(parsed("1700000000:bob"), Some((1_700_000_000, "bob")));
        assert_eq!(parsed("bob:1700000000"), Some((1_700_000_000, "bob")));
        assert_eq!(parsed("1700000000"), Some((1_700_000_000, "")));
        assert_eq!(parsed("1700000000:"), Some((1_700_000_000, "")));
        assert_eq!(parsed(":1700000000"), Some((1_700_000_000, "")));
    }

    #[test]
    fn only_the_first_separator_counts() {
        assert_eq!(parsed("17:a:b"), Some((17, "a:b")));
        assert_eq!(parsed("17:18"), Some((17, "18")));
        assert_eq!(parsed("a:b:17"), None);
    }

    #[test]
    fn a_name_without_a_number_is_not_time_limited() {
        for name in
            ["", ":", "bob", "bob:", ":bob", "bob:alice", "+17:bob", "-1", "1 7:bob", "١٧:bob", "0x10:bob"]
        {
            assert_eq!(parsed(name), None, "{name:?}");
        }
    }

    #[test]
    fn milliseconds_are_a_number_too_and_look_like_it() {
        let name = parse_time_limited("1763829600000:bob", ':').unwrap();

        assert_eq!(name.expires, 1_763_829_600_000);
        assert!(name.looks_like_milliseconds());
        assert!(!parse_time_limited("1763829600:bob", ':').unwrap().looks_like_milliseconds());
    }

    #[test]
    fn a_number_beyond_64_bits_is_no_timestamp() {
        assert_eq!(parsed("18446744073709551615:bob"), Some((u64::MAX, "bob")));
        assert_eq!(parsed("18446744073709551616:bob"), None);
        assert_eq!(parsed(&format!("{}:bob", "9".repeat(500))), None);
    }

    #[test]
    fn another_separator_leaves_colons_to_the_user() {
        assert_eq!(parse_time_limited("17|a:b", '|'), Some(TimeLimited { expires: 17, user: "a:b" }));
        assert_eq!(parse_time_limited("17→x", '→'), Some(TimeLimited { expires: 17, user: "x" }));
    }

    #[test]
    fn a_minted_credential_reads_back_and_does_not_overflow() {
        let secret = Secret::new(KeyId::new("k").unwrap(), b"s");

        let credential = mint(&secret, "bob", Duration::from_secs(60), 1000);

        assert_eq!(credential.username, "1060:bob");
        assert_eq!(credential.expires, 1060);
        assert_eq!(credential.password.as_str(), secret.password("1060:bob").as_str());
        assert_eq!(mint(&secret, "", Duration::MAX, 1000).username, u64::MAX.to_string());
    }

    #[test]
    fn a_user_whose_name_looks_like_claims_gets_none() {
        let secret = Secret::new(KeyId::new("k").unwrap(), b"s");

        let credential = mint(&secret, "bob~1~k~5~~gold~a", Duration::from_secs(60), 1000);

        let name = parse_time_limited(&credential.username, ':').unwrap();
        let claims = Claims::read(name.user);
        assert_eq!((claims.user, claims.class), ("bob~1~k~5~~gold~a", None));
    }

    proptest! {
        #[test]
        fn names_round_trip(expires: u64, user in "[^:]{0,40}") {
            let name = time_limited_username(expires, &user, ':');
            prop_assert_eq!(parse_time_limited(&name, ':'), Some(TimeLimited { expires, user: &user }));
        }

        #[test]
        fn any_text_is_read_without_a_panic(name in ".{0,80}", separator: char) {
            let read = parse_time_limited(&name, separator);
            prop_assert!(read.is_none_or(|read| name.contains(read.user)));
        }
    }
}
