//! What is valid in a realm.

mod builder;

use std::{collections::HashMap, fmt, time::Duration};

use zeroize::Zeroize as _;

pub use self::builder::{DirectoryBuilder, DirectoryError};
use super::{
    Candidates, Claims, Credential, Secret, Validity, Wish, parse_time_limited, time_limited::mint_plain,
};

/// What stands between the timestamp and the user of a time-limited username unless configured otherwise.
pub const DEFAULT_SEPARATOR: char = ':';
/// The most secrets a directory takes: each may cost an HMAC per Allocate.
pub const SECRETS_MAX: usize = 16;
/// The most characters of a realm (RFC 8489 §14.9).
pub const REALM_CHARS_MAX: usize = 127;
/// The most bytes of a username (RFC 8489 §14.3: fewer than 509).
pub const USERNAME_BYTES_MAX: usize = 508;

/// What is known of a static user. Wiped on drop, not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum UserSecret {
    /// The password: works with MD5 and SHA-256.
    Password(String),
    /// MD5 of `username:realm:password` (coturn's `0x…` form): works with MD5 only.
    Md5([u8; 16]),
}

impl fmt::Debug for UserSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(***)",
            Self::Md5(_) => "Md5(***)",
        })
    }
}

impl Drop for UserSecret {
    fn drop(&mut self) {
        match self {
            Self::Password(password) => password.zeroize(),
            Self::Md5(key) => key.zeroize(),
        }
    }
}

/// The static users and the secrets of one realm, side by side. Read only; replaced as a whole on reload.
#[derive(Debug)]
pub struct Directory {
    realm: String,
    users: HashMap<Box<str>, UserSecret>,
    userhashes: HashMap<[u8; 32], Box<str>>,
    secrets: Vec<Secret>,
    /// The place of the secret that mints.
    minting: usize,
    separator: char,
    supports_sha256: bool,
}

impl Directory {
    /// Starts an empty directory of `realm`.
    #[must_use]
    pub fn builder(realm: impl Into<String>) -> DirectoryBuilder {
        DirectoryBuilder::new(realm.into())
    }

    /// The realm.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// What stands between timestamp and user.
    #[must_use]
    pub const fn separator(&self) -> char {
        self.separator
    }

    /// The secrets, in the order they were given.
    #[must_use]
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// The secret that mints; `None` if there is no secret.
    #[must_use]
    pub fn minting(&self) -> Option<&Secret> {
        self.secrets.get(self.minting)
    }

    /// The secret with this id.
    #[must_use]
    pub fn secret(&self, id: &str) -> Option<&Secret> {
        self.secrets.iter().find(|secret| secret.id().as_str() == id)
    }

    /// Whether nobody can be authenticated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.secrets.is_empty()
    }

    /// Whether the password of every user is known, so that each of them can use SHA-256 as well as MD5.
    #[must_use]
    pub const fn supports_sha256(&self) -> bool {
        self.supports_sha256
    }

    /// What `username` may stand for at `now_unix`, in seconds since the Unix epoch. No memory is allocated.
    ///
    /// A name can be both a static user and time-limited; then the static user is tried first. A name that claims a
    /// secret of this directory by its id is tried with that one alone.
    #[must_use]
    pub fn candidates<'d, 'u>(&'d self, username: &'u str, now_unix: u64) -> Candidates<'d, 'u> {
        let fixed = self.users.get(username);
        let validity = self.validity(username, now_unix);
        let secrets = match validity {
            Validity::Valid(name) => self.named(Claims::read(name.user).key_id),
            Validity::NotTimeLimited | Validity::Expired(_) => &self.secrets,
        };
        Candidates { username, fixed, validity, secrets }
    }

    /// The static user with this USERHASH: SHA-256 of `username:realm` (RFC 8489 §14.4).
    #[must_use]
    pub fn find_by_userhash(&self, userhash: &[u8; 32]) -> Option<&str> {
        self.userhashes.get(userhash).map(|name| &**name)
    }

    /// Makes a credential for `user` that says no more; `None` without a secret. See [`mint`](super::mint).
    ///
    /// A user whose name reads as [`Claims`] gets it in full, with the claims that any of ours has, so that a name
    /// never claims anything.
    #[must_use]
    pub fn mint(&self, user: &str, ttl: Duration, now: u64) -> Option<Credential> {
        self.minting().map(|secret| mint_plain(secret, user, self.separator, ttl, now))
    }

    /// Makes a credential that carries [`Claims`], issued at `issued` (seconds since the Unix epoch) and valid from
    /// then for the wished time. `None` without a secret, and for what [`Wish::check`] refuses.
    #[must_use]
    pub fn mint_claims(&self, wish: &Wish<'_>, issued: u64) -> Option<Credential> {
        wish.mint(self.minting()?, self.separator, issued)
    }

    pub(super) fn user(&self, name: &str) -> Option<&UserSecret> {
        self.users.get(name)
    }

    /// The secret that is claimed to be the right one, or all if it is not one of these.
    pub(super) fn named(&self, key_id: Option<&str>) -> &[Secret] {
        let place = key_id.and_then(|id| self.secrets.iter().position(|secret| secret.id().as_str() == id));
        place.and_then(|place| self.secrets.get(place..=place)).unwrap_or(&self.secrets)
    }

    fn validity<'u>(&self, username: &'u str, now_unix: u64) -> Validity<'u> {
        let parsed =
            if self.secrets.is_empty() { None } else { parse_time_limited(username, self.separator) };
        match parsed {
            None => Validity::NotTimeLimited,
            Some(name) if name.expires < now_unix => Validity::Expired(name),
            Some(name) => Validity::Valid(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::KeyId, builder::userhash, *};
    use crate::credentials::{Candidate, CandidateKey, TimeLimited};

    fn key_id(id: &str) -> KeyId {
        KeyId::new(id).unwrap()
    }

    fn directory() -> Directory {
        Directory::builder("iceway")
            .user("alice", UserSecret::Password("wonderland".into()))
            .user("2000", UserSecret::Md5([7; 16]))
            .secret(Secret::new(key_id("new"), b"north"))
            .secret(Secret::new(key_id("old"), b"south"))
            .build()
            .unwrap()
    }

    fn summary(candidates: Candidates<'_, '_>) -> Vec<(String, Option<u64>, Option<String>, bool)> {
        let line = |c: Candidate<'_, '_>| {
            (
                c.claims.user.to_owned(),
                c.expires,
                c.key_id.map(ToString::to_string),
                c.key.password().is_some(),
            )
        };
        candidates.iter().map(line).collect()
    }

    #[test]
    fn a_static_user_has_one_candidate() {
        let directory = directory();
        let candidates = directory.candidates("alice", 1000);

        assert_eq!(summary(candidates), [("alice".into(), None, None, true)]);
        assert!(matches!(candidates.iter().next().unwrap().key, CandidateKey::Password("wonderland")));
        assert_eq!(candidates.validity(), Validity::NotTimeLimited);
    }

    #[test]
    fn a_time_limited_name_has_a_candidate_for_each_secret() {
        let directory = directory();
        let candidates = directory.candidates("1000:bob", 1000);

        let new = ("bob".into(), Some(1000), Some("new".into()), true);
        let old = ("bob".into(), Some(1000), Some("old".into()), true);
        assert_eq!(summary(candidates), [new, old]);
        let passwords: Vec<_> = candidates.iter().map(|c| c.key.password().unwrap().to_owned()).collect();
        let expected: Vec<_> =
            directory.secrets().iter().map(|s| s.password("1000:bob").as_str().to_owned()).collect();
        assert_eq!(passwords, expected);
    }

    #[test]
    fn a_time_limited_name_is_valid_in_its_last_second_and_expired_after_it() {
        let directory = directory();

        assert!(matches!(directory.candidates("1000:bob", 1000).validity(), Validity::Valid(_)));
        let expired = directory.candidates("1000:bob", 1001);
        assert_eq!(expired.validity(), Validity::Expired(TimeLimited { expires: 1000, user: "bob" }));
        assert_eq!(expired.iter().count(), 0);
        assert!(!expired.is_unknown());
    }

    #[test]
    fn a_name_may_be_both_a_static_user_and_a_timestamp() {
        let directory = directory();

        let both = summary(directory.candidates("2000", 1000));
        assert_eq!(both.len(), 3);
        assert_eq!(both[0], ("2000".into(), None, None, false));
        assert_eq!(directory.candidates("2000", 3000).iter().count(), 1);
    }

    #[test]
    fn an_unknown_name_has_no_candidate() {
        let directory = directory();
        let candidates = directory.candidates("mallory", 1000);

        assert!(candidates.is_unknown());
        assert_eq!(candidates.iter().count(), 0);
    }

    #[test]
    fn without_a_secret_a_timestamp_is_only_a_name() {
        let directory =
            Directory::builder("r").user("9:x", UserSecret::Password("p".into())).build().unwrap();

        assert_eq!(directory.candidates("9:x", 1000).validity(), Validity::NotTimeLimited);
        assert_eq!(directory.candidates("9:x", 1000).iter().count(), 1);
        assert!(directory.candidates("9:y", 1000).is_unknown());
        assert!(directory.mint("x", Duration::from_secs(1), 1).is_none());
    }

    #[test]
    fn a_userhash_leads_to_its_static_user() {
        let directory = directory();

        let hash = userhash("alice", "iceway");
        assert_eq!(directory.find_by_userhash(&hash), Some("alice"));
        assert_eq!(directory.find_by_userhash(&userhash("alice", "other")), None);
    }

    #[test]
    fn a_userhash_is_the_one_of_rfc_8489() {
        // RFC 8489 appendix B.1: user and realm of the sample request.
        let hash = userhash("\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}", "example.org");

        let hexadecimal: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hexadecimal, "4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704");
    }

    #[test]
    fn the_first_secret_mints_with_the_configured_separator() {
        let directory =
            Directory::builder("r").secret(Secret::new(key_id("k"), b"s")).separator('|').build().unwrap();

        let credential = directory.mint("bob", Duration::from_secs(9), 1).unwrap();

        assert_eq!(credential.username, "10|bob");
        assert_eq!(directory.candidates("10|bob", 10).iter().count(), 1);
    }

    #[test]
    fn the_secret_that_mints_may_be_chosen_and_is_named() {
        let directory = Directory::builder("r")
            .secret(Secret::new(key_id("next"), b"1"))
            .secret(Secret::new(key_id("active"), b"2"))
            .mint_with(key_id("active"))
            .build()
            .unwrap();

        let plain = directory.mint("bob", Duration::from_secs(9), 1).unwrap();
        let wish = Wish { label: Some("desk"), ..Wish::new("bob", Duration::from_secs(9)) };
        let full = directory.mint_claims(&wish, 1).unwrap();

        assert_eq!((plain.key_id, plain.username.as_str()), (key_id("active"), "10:bob"));
        assert_eq!((full.key_id, full.username.as_str()), (key_id("active"), "10:bob~1~active~1~desk~~"));
    }

    #[test]
    fn a_name_that_claims_a_known_secret_is_tried_with_that_one_alone() {
        let directory = directory();
        let tried = |name: &str| -> Vec<String> {
            summary(directory.candidates(name, 1000)).into_iter().filter_map(|line| line.2).collect()
        };

        assert_eq!(tried("1000:bob~1~old~5~~~"), ["old"]);
        assert_eq!(tried("1000:bob~1~gone~5~~~"), ["new", "old"]);
        assert_eq!(summary(directory.candidates("1000:bob~1~old~5~~~", 1000))[0].0, "bob");
    }

    #[test]
    fn no_secret_shows_up_in_debug_output() {
        let text = format!(
            "{:?} {:?}",
            directory(),
            directory().candidates("2000", 1000).iter().collect::<Vec<_>>()
        );

        for hidden in ["wonderland", "[7, 7", "north", "south"] {
            assert!(!text.contains(hidden), "{hidden} in {text}");
        }
    }
}
