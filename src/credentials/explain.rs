//! Why a credential works, or does not.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq as _;

use super::{Claims, Directory, Expiry, KeyId, Revocations, Secret, TimeLimited, UserSecret, Validity};

/// What [`explain`] found. `Display` says it in a sentence, without any secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It works now.
    Valid {
        /// Whose it is.
        user: String,
        /// The last second at which it works; `None` for a static user.
        expires: Option<u64>,
        /// The secret it was made with; `None` for a static user.
        key_id: Option<KeyId>,
        /// What its username claims beside the user.
        claimed: Claimed,
    },
    /// It would work, but it was revoked.
    Revoked {
        /// Whose it is.
        user: String,
        /// The secret it was made with.
        key_id: KeyId,
        /// What its username claims beside the user.
        claimed: Claimed,
        /// The [`Revocation`](super::Revocation) that hits it.
        by: Box<str>,
        /// The last second at which what that one hits was issued.
        issued_before: u64,
    },
    /// The password is right, but the time in the username is over.
    Expired {
        /// The last second at which it worked.
        since: u64,
        /// The secret it was made with.
        key_id: KeyId,
    },
    /// The password belongs to no secret, nor to the static user of this name.
    WrongPassword {
        /// Whether there is a static user of this name.
        is_user: bool,
        /// The secrets that were tried.
        tried: Vec<KeyId>,
        /// If the time in the username is over too: the last second before.
        expired_since: Option<u64>,
        /// The mistake that leads to just this password.
        hint: Option<Hint>,
    },
    /// Neither a static user nor a time-limited username.
    UnknownUser {
        /// Whether there are secrets at all, so that a username with a timestamp would do.
        has_secrets: bool,
    },
}

/// What a username claims beside the user; see [`Claims`]. `Display` lists what there is, each with a comma before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// What its issuer calls it.
    pub label: Option<String>,
    /// When it was made, in seconds since the Unix epoch.
    pub issued: Option<u64>,
    /// Which quotas apply.
    pub class: Option<String>,
    /// What its end means.
    pub expiry: Option<Expiry>,
}

impl From<Claims<'_>> for Claimed {
    fn from(claims: Claims<'_>) -> Self {
        let Claims { user: _, label, key_id: _, issued, class, expiry } = claims;
        Self { label: label.map(Into::into), issued, class: class.map(Into::into), expiry }
    }
}

impl fmt::Display for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(issued) = self.issued {
            write!(f, ", issued at {issued}")?;
        }
        if let Some(label) = &self.label {
            write!(f, ", label {label:?}")?;
        }
        if let Some(class) = &self.class {
            write!(f, ", quota class {class:?}")?;
        }
        self.expiry.map_or(Ok(()), |expiry| write!(f, ", expiry {}", expiry.as_str()))
    }
}

/// Common mistakes of those who make credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// The HMAC in hexadecimal instead of base64.
    Hexadecimal,
    /// Base64 without the final `=`, or in its URL-safe alphabet.
    OtherBase64,
    /// The HMAC of the user alone, without the timestamp.
    UserOnly,
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hexadecimal => "it is the right HMAC in hexadecimal: encode its 20 bytes in base64 instead",
            Self::OtherBase64 => {
                "it is the right HMAC in another base64: use the standard alphabet with padding"
            }
            Self::UserOnly => "it is the HMAC of the user alone: use the whole username, timestamp included",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valid { user, expires: None, .. } => write!(f, "valid: static user {user:?}"),
            Self::Valid { user, expires: Some(expires), key_id, claimed } => {
                let key_id = key_id.as_ref().map_or("", KeyId::as_str);
                write!(f, "valid: user {user:?}, until {expires}, made with secret {key_id}{claimed}")
            }
            Self::Revoked { user, key_id, claimed, by, issued_before } => write!(
                f,
                "revoked: user {user:?}, made with secret {key_id}{claimed}; revocation {by} ends what was issued up \
                 to {issued_before}"
            ),
            Self::Expired { since, key_id } => {
                write!(f, "expired: valid until {since}, made with secret {key_id}")
            }
            Self::WrongPassword { is_user, tried, expired_since, hint } => {
                write!(f, "wrong password:")?;
                if *is_user {
                    write!(f, " not the one of the static user;")?;
                }
                for key_id in tried {
                    write!(f, " not made with secret {key_id};")?;
                }
                if let Some(since) = expired_since {
                    write!(f, " expired since {since} besides;")?;
                }
                hint.map_or(Ok(()), |hint| write!(f, " {hint}"))
            }
            Self::UnknownUser { has_secrets: true } => {
                write!(f, "unknown user: neither a static user nor a username with a timestamp")
            }
            Self::UnknownUser { has_secrets: false } => {
                write!(f, "unknown user: not a static user, and no secret is configured")
            }
        }
    }
}

/// Says what the server would make of `username` and `password` at `now` (seconds since the Unix epoch), and why.
#[must_use]
pub fn explain(directory: &Directory, username: &str, password: &str, now: u64) -> Verdict {
    let user = directory.user(username);
    if user.is_some_and(|secret| is_password_of(secret, directory.realm(), username, password)) {
        let (user, claimed) = (username.to_owned(), Claimed::default());
        return Verdict::Valid { user, expires: None, key_id: None, claimed };
    }
    let (name, is_expired) = match directory.candidates(username, now).validity() {
        Validity::Valid(name) => (name, false),
        Validity::Expired(name) => (name, true),
        Validity::NotTimeLimited if user.is_some() => {
            return Verdict::WrongPassword {
                is_user: true,
                tried: Vec::new(),
                expired_since: None,
                hint: None,
            };
        }
        Validity::NotTimeLimited => {
            return Verdict::UnknownUser { has_secrets: !directory.secrets().is_empty() };
        }
    };
    explain_time_limited(directory, username, password, name, is_expired)
}

impl Verdict {
    /// The same, unless the credential is valid and one of these revocations hits it at `now`.
    #[must_use]
    pub fn unless_revoked(self, revocations: &Revocations, username: &str, now: u64) -> Self {
        let Self::Valid { user, expires: Some(expires), key_id: Some(key_id), claimed } = self else {
            return self;
        };
        let claims = Claims {
            user: &user,
            label: claimed.label.as_deref(),
            key_id: None,
            issued: claimed.issued,
            class: None,
            expiry: None,
        };
        let hit = revocations.hit(username, &claims, Some(&key_id), expires, now);
        match hit.map(|row| (row.id.clone(), row.issued_before)) {
            Some((by, issued_before)) => Self::Revoked { user, key_id, claimed, by, issued_before },
            None => Self::Valid { user, expires: Some(expires), key_id: Some(key_id), claimed },
        }
    }
}

fn explain_time_limited(
    directory: &Directory,
    username: &str,
    password: &str,
    name: TimeLimited<'_>,
    is_expired: bool,
) -> Verdict {
    let claims = Claims::read(name.user);
    let secrets = directory.named(claims.key_id);
    let right = secrets.iter().find(|s| same(s.password(username).as_str().as_bytes(), password.as_bytes()));
    match right {
        Some(secret) if is_expired => Verdict::Expired { since: name.expires, key_id: secret.id().clone() },
        Some(secret) => Verdict::Valid {
            user: claims.user.to_owned(),
            expires: Some(name.expires),
            key_id: Some(secret.id().clone()),
            claimed: claims.into(),
        },
        None => Verdict::WrongPassword {
            is_user: directory.user(username).is_some(),
            tried: secrets.iter().map(|s| s.id().clone()).collect(),
            expired_since: is_expired.then_some(name.expires),
            hint: secrets.iter().find_map(|s| hint(s, username, name.user, password)),
        },
    }
}

fn is_password_of(secret: &UserSecret, realm: &str, username: &str, password: &str) -> bool {
    match secret {
        UserSecret::Password(expected) => same(expected.as_bytes(), password.as_bytes()),
        UserSecret::Md5(key) => same(key, &Md5::digest(format!("{username}:{realm}:{password}"))),
    }
}

fn hint(secret: &Secret, username: &str, user: &str, password: &str) -> Option<Hint> {
    let mac = secret.mac(username.as_bytes());
    let hexadecimal: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    if same(hexadecimal.as_bytes(), password.to_ascii_lowercase().as_bytes()) {
        return Some(Hint::Hexadecimal);
    }
    let url_safe = password.trim_end_matches('=').replace('+', "-").replace('/', "_");
    if same(URL_SAFE_NO_PAD.encode(mac).as_bytes(), url_safe.as_bytes()) {
        return Some(Hint::OtherBase64);
    }
    same(secret.password(user).as_str().as_bytes(), password.as_bytes()).then_some(Hint::UserOnly)
}

fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Revocation;

    fn directory() -> Directory {
        let secret = |id, bytes: &[u8]| Secret::new(KeyId::new(id).unwrap(), bytes);
        Directory::builder("iceway")
            .user("alice", UserSecret::Password("wonderland".into()))
            .user("carol", UserSecret::Md5(Md5::digest("carol:iceway:pw").into()))
            .secret(secret("new", b"north"))
            .secret(secret("old", b"south"))
            .build()
            .unwrap()
    }

    fn made_with(secret: usize, username: &str) -> String {
        directory().secrets()[secret].password(username).as_str().to_owned()
    }

    fn said(username: &str, password: &str, now: u64) -> String {
        explain(&directory(), username, password, now).to_string()
    }

    #[test]
    fn a_static_user_with_the_right_password_is_valid() {
        assert_eq!(said("alice", "wonderland", 1), "valid: static user \"alice\"");
        assert_eq!(said("carol", "pw", 1), "valid: static user \"carol\"");
    }

    #[test]
    fn a_static_user_with_another_password_is_not() {
        for user in ["alice", "carol"] {
            assert_eq!(said(user, "x", 1), "wrong password: not the one of the static user;");
        }
    }

    #[test]
    fn a_time_limited_credential_names_the_secret_it_was_made_with() {
        let verdict = explain(&directory(), "1000:bob", &made_with(1, "1000:bob"), 1000);

        let old = KeyId::new("old").unwrap();
        let claimed = Claimed::default();
        assert_eq!(
            verdict,
            Verdict::Valid { user: "bob".into(), expires: Some(1000), key_id: Some(old), claimed }
        );
    }

    #[test]
    fn what_a_username_claims_is_told() {
        let name = "1000:bob~1~old~400~desk~gold~s";

        assert_eq!(
            said(name, &made_with(1, name), 500),
            "valid: user \"bob\", until 1000, made with secret old, issued at 400, label \"desk\", \
             quota class \"gold\", expiry strict"
        );
        assert_eq!(said(name, &made_with(0, name), 500), "wrong password: not made with secret old;");
    }

    #[test]
    fn a_revoked_credential_says_by_what() {
        let bob = |issued_before| Revocation {
            id: "r1".into(),
            username: None,
            user: Some("bob".into()),
            label: None,
            key_id: None,
            issued_before,
            expires: 2000,
            cut: true,
        };
        let said = |name: &str, password: &str, issued_before| {
            let revocations = Revocations::new([bob(issued_before)]);
            explain(&directory(), name, password, 500).unless_revoked(&revocations, name, 500).to_string()
        };
        let name = "1000:bob~1~old~400~desk~~";

        assert_eq!(
            said(name, &made_with(1, name), 400),
            "revoked: user \"bob\", made with secret old, issued at 400, label \"desk\"; revocation r1 ends what was \
             issued up to 400"
        );
        assert!(said(name, &made_with(1, name), 399).starts_with("valid: "));
        assert!(said("1000:bob", &made_with(1, "1000:bob"), 0).starts_with("revoked: "));
        assert!(said("alice", "wonderland", 400).starts_with("valid: "));
        assert!(said(name, "x", 400).starts_with("wrong password: "));
    }

    #[test]
    fn an_expired_credential_says_since_when() {
        let password = made_with(0, "1000:bob");

        assert_eq!(said("1000:bob", &password, 1001), "expired: valid until 1000, made with secret new");
    }

    #[test]
    fn a_wrong_password_lists_what_was_tried() {
        let expected = "wrong password: not made with secret new; not made with secret old;";
        assert_eq!(said("1000:bob", "x", 1), expected);
        assert_eq!(said("1000:bob", "x", 1001), format!("{expected} expired since 1000 besides;"));
    }

    #[test]
    fn usual_mistakes_are_recognised() {
        let hint = |password: &str| {
            let Verdict::WrongPassword { hint, .. } = explain(&directory(), "1000:bob", password, 1) else {
                panic!("{password} is not wrong")
            };
            hint
        };
        let right = made_with(0, "1000:bob");
        let mac = directory().secrets()[0].mac(b"1000:bob");
        let hexadecimal: String = mac.iter().map(|byte| format!("{byte:02X}")).collect();

        assert_eq!(hint(&hexadecimal), Some(Hint::Hexadecimal));
        assert_eq!(hint(right.trim_end_matches('=')), Some(Hint::OtherBase64));
        assert_eq!(hint(&made_with(1, "bob")), Some(Hint::UserOnly));
        assert_eq!(hint("x"), None);
    }

    #[test]
    fn an_unknown_name_says_what_would_do() {
        assert_eq!(
            said("bob", "x", 1),
            "unknown user: neither a static user nor a username with a timestamp"
        );
        let empty = Directory::builder("r").build().unwrap();
        assert_eq!(
            explain(&empty, "1000:bob", "x", 1).to_string(),
            "unknown user: not a static user, and no secret is configured"
        );
    }
}
