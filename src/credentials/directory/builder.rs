//! Making a directory, and what can be wrong with one.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use super::{
    super::{KeyId, Secret},
    DEFAULT_SEPARATOR, Directory, REALM_CHARS_MAX, SECRETS_MAX, USERNAME_BYTES_MAX, UserSecret,
};

/// Collects what goes into a [`Directory`].
#[derive(Debug)]
pub struct DirectoryBuilder {
    realm: String,
    users: Vec<(String, UserSecret)>,
    secrets: Vec<Secret>,
    minting: Option<KeyId>,
    separator: char,
}

impl DirectoryBuilder {
    pub(super) const fn new(realm: String) -> Self {
        Self { realm, users: Vec::new(), secrets: Vec::new(), minting: None, separator: DEFAULT_SEPARATOR }
    }

    /// Adds a static user.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, secret: UserSecret) -> Self {
        self.users.push((name.into(), secret));
        self
    }

    /// Adds a secret for time-limited credentials.
    #[must_use]
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// Sets which secret mints. Default: the first one.
    #[must_use]
    pub fn mint_with(mut self, id: KeyId) -> Self {
        self.minting = Some(id);
        self
    }

    /// Sets what stands between timestamp and user. Default: [`DEFAULT_SEPARATOR`].
    #[must_use]
    pub const fn separator(mut self, separator: char) -> Self {
        self.separator = separator;
        self
    }

    /// Checks everything together.
    ///
    /// # Errors
    /// The first [`DirectoryError`] found.
    pub fn build(self) -> Result<Directory, DirectoryError> {
        let Self { realm, users: listed, secrets, minting, separator } = self;
        let chars = realm.chars().count();
        if chars == 0 || chars > REALM_CHARS_MAX {
            return Err(DirectoryError::Realm(chars));
        }
        if separator.is_ascii_digit() || separator == '~' {
            return Err(DirectoryError::Separator(separator));
        }
        check_secrets(&secrets)?;
        let minting = match minting {
            None => 0,
            Some(id) => secrets
                .iter()
                .position(|secret| *secret.id() == id)
                .ok_or(DirectoryError::UnknownKeyId(id))?,
        };
        let supports_sha256 = listed.iter().all(|(_, secret)| matches!(secret, UserSecret::Password(_)));
        let mut users = HashMap::with_capacity(listed.len());
        let mut userhashes = HashMap::with_capacity(listed.len());
        for (name, secret) in listed {
            if name.is_empty() || name.len() > USERNAME_BYTES_MAX {
                return Err(DirectoryError::UserName(name.len()));
            }
            userhashes.insert(userhash(&name, &realm), name.as_str().into());
            if users.insert(name.as_str().into(), secret).is_some() {
                return Err(DirectoryError::DuplicateUser(name));
            }
        }
        Ok(Directory { realm, users, userhashes, secrets, minting, separator, supports_sha256 })
    }
}

/// What is wrong with a [`Directory`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The realm is empty or too long.
    #[error("a realm has 1 to 127 characters, this one has {0}")]
    Realm(usize),
    /// The separator would be read as part of the timestamp, or as what stands between claims.
    #[error("the username separator {0:?} is a digit or '~': choose another character, such as ':'")]
    Separator(char),
    /// A user's name is empty or too long.
    #[error("a user name has 1 to 508 bytes, one has {0}")]
    UserName(usize),
    /// A user is there twice.
    #[error("user {0:?} is listed twice: remove one of them")]
    DuplicateUser(String),
    /// A secret's id is there twice.
    #[error("two secrets have the id {0}: give one of them another")]
    DuplicateKeyId(KeyId),
    /// The secret that shall mint is not there.
    #[error("there is no secret {0} to mint with: add it, or name another")]
    UnknownKeyId(KeyId),
    /// A secret is empty, so that everybody could guess it.
    #[error("secret {0} is empty: anybody could make credentials with it")]
    EmptySecret(KeyId),
    /// More than [`SECRETS_MAX`].
    #[error("at most 16 secrets are valid at once, there are {0}: remove retired ones")]
    TooManySecrets(usize),
}

fn check_secrets(secrets: &[Secret]) -> Result<(), DirectoryError> {
    if secrets.len() > SECRETS_MAX {
        return Err(DirectoryError::TooManySecrets(secrets.len()));
    }
    for (index, secret) in secrets.iter().enumerate() {
        if secret.is_empty() {
            return Err(DirectoryError::EmptySecret(secret.id().clone()));
        }
        if secrets.iter().take(index).any(|earlier| earlier.id() == secret.id()) {
            return Err(DirectoryError::DuplicateKeyId(secret.id().clone()));
        }
    }
    Ok(())
}

/// How a user is named by who does not want to be read (RFC 8489 §14.4).
pub(super) fn userhash(username: &str, realm: &str) -> [u8; 32] {
    Sha256::new().chain_update(username).chain_update(b":").chain_update(realm).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_id(id: &str) -> KeyId {
        KeyId::new(id).unwrap()
    }

    #[test]
    fn a_directory_that_cannot_work_is_refused() {
        let secret = |id: &str, bytes: &[u8]| Secret::new(key_id(id), bytes);
        let user = |b: DirectoryBuilder, name: &str| b.user(name, UserSecret::Password("p".into()));
        let error = |b: DirectoryBuilder| b.build().map(|_| ()).unwrap_err();
        let new = || Directory::builder("r");

        assert_eq!(error(Directory::builder("")), DirectoryError::Realm(0));
        assert_eq!(error(Directory::builder("é".repeat(128))), DirectoryError::Realm(128));
        assert!(Directory::builder("é".repeat(127)).build().is_ok());
        assert_eq!(error(new().separator('0')), DirectoryError::Separator('0'));
        assert_eq!(error(new().separator('~')), DirectoryError::Separator('~'));
        assert_eq!(error(new().mint_with(key_id("k"))), DirectoryError::UnknownKeyId(key_id("k")));
        assert_eq!(error(user(new(), "")), DirectoryError::UserName(0));
        assert_eq!(error(user(new(), &"a".repeat(509))), DirectoryError::UserName(509));
        assert_eq!(error(user(user(new(), "a"), "a")), DirectoryError::DuplicateUser("a".into()));
        assert_eq!(error(new().secret(secret("k", b""))), DirectoryError::EmptySecret(key_id("k")));
        let twice = new().secret(secret("k", b"1")).secret(secret("k", b"2"));
        assert_eq!(error(twice), DirectoryError::DuplicateKeyId(key_id("k")));
        let many = (0..17).fold(new(), |b, n| b.secret(secret(&format!("k{n}"), b"1")));
        assert_eq!(error(many), DirectoryError::TooManySecrets(17));
    }
}
