//! What a username may stand for.

use std::fmt;

use super::{Claims, KeyId, Password, Secret, TimeLimited, UserSecret};

/// What the time in a username says, as far as it is meant to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity<'u> {
    /// The name carries no time, or there is no secret it could have been made with.
    NotTimeLimited,
    /// Valid up to and including `expires`.
    Valid(TimeLimited<'u>),
    /// Over since `expires`. No secret is tried.
    Expired(TimeLimited<'u>),
}

/// The answer of [`Directory::candidates`].
#[derive(Clone, Copy, Debug)]
pub struct Candidates<'d, 'u> {
    pub(super) username: &'u str,
    pub(super) fixed: Option<&'d UserSecret>,
    pub(super) validity: Validity<'u>,
    pub(super) secrets: &'d [Secret],
}

impl<'d, 'u> Candidates<'d, 'u> {
    /// What the time in the username says.
    #[must_use]
    pub const fn validity(&self) -> Validity<'u> {
        self.validity
    }

    /// Whether there is a static user of this name.
    #[must_use]
    pub const fn is_static(&self) -> bool {
        self.fixed.is_some()
    }

    /// Whether there is no static user of this name and it is not time-limited either.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.fixed.is_none() && self.validity == Validity::NotTimeLimited
    }

    /// Each key the message may be signed with, the likeliest first. The passwords of time-limited names are computed
    /// one by one as they are asked for.
    pub fn iter(&self) -> impl Iterator<Item = Candidate<'d, 'u>> + use<'d, 'u> {
        let Self { username, fixed, validity, secrets } = *self;
        let fixed = fixed.map(|secret| {
            let key = match secret {
                UserSecret::Password(password) => CandidateKey::Password(password),
                UserSecret::Md5(key) => CandidateKey::Md5(key),
            };
            Candidate { claims: Claims::plain(username), expires: None, key_id: None, key }
        });
        let limited = match validity {
            Validity::Valid(name) => Some(name),
            Validity::NotTimeLimited | Validity::Expired(_) => None,
        };
        let limited = limited.into_iter().flat_map(move |name| {
            let claims = Claims::read(name.user);
            secrets.iter().map(move |secret| Candidate {
                claims,
                expires: Some(name.expires),
                key_id: Some(secret.id()),
                key: CandidateKey::Derived(secret.password(username)),
            })
        });
        fixed.into_iter().chain(limited)
    }
}

/// One way a username may be authenticated.
#[derive(Clone, Debug)]
pub struct Candidate<'d, 'u> {
    /// Who it is, and what the name says beside that. For static users the whole username and nothing else; the user
    /// is empty if the username is a bare timestamp.
    pub claims: Claims<'u>,
    /// The last second at which the credential is valid; `None` for static users.
    pub expires: Option<u64>,
    /// The secret it was made with; `None` for static users.
    pub key_id: Option<&'d KeyId>,
    /// What the long-term key is made from.
    pub key: CandidateKey<'d>,
}

/// What the long-term key of RFC 8489 §9.2.2 is made from. Not shown by `Debug`.
#[derive(Clone)]
pub enum CandidateKey<'d> {
    /// A static user's password.
    Password(&'d str),
    /// The MD5 key itself: SHA-256 is not possible.
    Md5(&'d [u8; 16]),
    /// The password of a time-limited name.
    Derived(Password),
}

impl CandidateKey<'_> {
    /// The password, where it is known.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        match self {
            Self::Password(password) => Some(password),
            Self::Derived(password) => Some(password.as_str()),
            Self::Md5(_) => None,
        }
    }
}

impl fmt::Debug for CandidateKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(***)",
            Self::Md5(_) => "Md5(***)",
            Self::Derived(_) => "Derived(***)",
        })
    }
}
