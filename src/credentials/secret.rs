//! Shared secrets and the passwords made from them.

use std::{fmt, str::FromStr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use zeroize::Zeroize as _;

/// The name of a secret: 1 to 64 characters of `A–Z a–z 0–9 . _ -`. Not secret; shown in logs and answers. Cheap
/// to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Arc<str>);

impl KeyId {
    /// The most characters a key id may have.
    pub const CHARS_MAX: usize = 64;

    /// Checks and keeps `id`.
    ///
    /// # Errors
    /// [`KeyIdError`] if it is empty, too long, or has a character outside the set.
    pub fn new(id: &str) -> Result<Self, KeyIdError> {
        if id.is_empty() || id.len() > Self::CHARS_MAX {
            return Err(KeyIdError::Length(id.chars().count()));
        }
        id.chars()
            .find(|&c| !Self::allows(c))
            .map_or_else(|| Ok(Self(id.into())), |c| Err(KeyIdError::Character(c)))
    }

    /// Whether `id` is one.
    pub(super) fn is_valid(id: &str) -> bool {
        (1..=Self::CHARS_MAX).contains(&id.len()) && id.chars().all(Self::allows)
    }

    const fn allows(c: char) -> bool {
        c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(id: &str) -> Result<Self, KeyIdError> {
        Self::new(id)
    }
}

/// Why a text is no [`KeyId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyIdError {
    /// Empty or too long.
    #[error("a key id has 1 to 64 characters, this one has {0}")]
    Length(usize),
    /// A character outside the set.
    #[error("a key id has only letters, digits, '.', '_' and '-', this one has {0:?}")]
    Character(char),
}

/// A shared secret, kept only as the two HMAC-SHA1 states it leads to; they are wiped on drop.
#[derive(Clone)]
pub struct Secret {
    id: KeyId,
    keyed: Hmac<Sha1>,
    is_empty: bool,
}

impl Secret {
    /// Keys the HMAC with `bytes`. An empty secret is refused when a [`Directory`](super::Directory) is built.
    #[must_use]
    pub fn new(id: KeyId, bytes: &[u8]) -> Self {
        let keyed = Hmac::new_from_slice(bytes).expect("HMAC takes a key of any length");
        Self { id, keyed, is_empty: bytes.is_empty() }
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> &KeyId {
        &self.id
    }

    /// The password of `username` (the whole name, timestamp included): base64 of its HMAC-SHA1.
    #[must_use]
    pub fn password(&self, username: &str) -> Password {
        Password::encode(&self.mac(username.as_bytes()))
    }

    pub(super) fn mac(&self, bytes: &[u8]) -> [u8; 20] {
        self.keyed.clone().chain_update(bytes).finalize().into_bytes().into()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.is_empty
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("id", &self.id.as_str()).finish_non_exhaustive()
    }
}

/// The length of every [`Password`]: 20 bytes in padded base64.
pub const PASSWORD_BYTES: usize = 28;

/// The password of a time-limited username. On the stack, wiped on drop, not shown by `Debug`.
#[derive(Clone)]
pub struct Password([u8; PASSWORD_BYTES]);

impl Password {
    fn encode(mac: &[u8; 20]) -> Self {
        let mut text = [b'='; PASSWORD_BYTES];
        let written = STANDARD.encode_slice(mac, &mut text);
        debug_assert_eq!(written, Ok(PASSWORD_BYTES), "20 bytes are 28 characters");
        Self(text)
    }

    /// The password as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Base64 is ASCII, so this never falls back.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl AsRef<str> for Password {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(bytes: &[u8]) -> Secret {
        Secret::new(KeyId::new("k1").unwrap(), bytes)
    }

    #[test]
    fn a_password_is_the_base64_of_the_hmac_sha1_of_the_whole_username() {
        // openssl: printf '1433895918:ninefingers' | openssl dgst -sha1 -hmac north -binary | base64
        let password = secret(b"north").password("1433895918:ninefingers");

        assert_eq!(password.as_str(), "jy8hTxmOO7UtEKXqSkSlvakPVYA=");
        assert_eq!(password.as_ref().len(), PASSWORD_BYTES);
    }

    #[test]
    fn a_secret_longer_than_a_block_works_too() {
        // RFC 2202, test case 6: an 80-byte key.
        let mac = secret(&[0xaa; 80]).mac(b"Test Using Larger Than Block-Size Key - Hash Key First");

        assert_eq!(mac[..4], [0xaa, 0x4a, 0xe5, 0xe1]);
    }

    #[test]
    fn neither_secrets_nor_passwords_show_up_in_debug_output() {
        let secret = secret(b"north");
        let password = secret.password("x");

        assert_eq!(format!("{secret:?}"), "Secret { id: \"k1\", .. }");
        assert_eq!(format!("{password:?}"), "Password(***)");
    }

    #[test]
    fn key_ids_are_short_words() {
        assert!(KeyId::new("a").is_ok());
        assert!(KeyId::new(&"a".repeat(64)).is_ok());
        assert_eq!(KeyId::new(""), Err(KeyIdError::Length(0)));
        assert_eq!(KeyId::new(&"a".repeat(65)), Err(KeyIdError::Length(65)));
        assert_eq!("a b".parse::<KeyId>(), Err(KeyIdError::Character(' ')));
        assert_eq!(KeyId::new("ä"), Err(KeyIdError::Character('ä')));
        assert_eq!(KeyId::new("2026-11.prod_A").map(|id| id.to_string()), Ok("2026-11.prod_A".to_owned()));
    }
}
