//! Sealing: AES-256-GCM under keys derived from the cluster key, so that whoever reads Redis learns nothing and whoever
//! writes there forges nothing.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};
use zeroize::Zeroizing;

use crate::{cluster::derive::derive_key, config::SecretBytes};

const SALT: &[u8] = b"iceway cluster";
/// Tells which of the keys sealed; says nothing about it.
const KEY_ID_BYTES: usize = 4;
const TAG_BYTES: usize = 16;
/// Of a name's code: enough that no two names meet.
const CODE_BYTES: usize = 16;

/// Why something sealed cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OpenError {
    /// Another key sealed it: one this node was not given.
    #[error("it was sealed with another cluster key")]
    OtherKey,
    /// It is not what was sealed, or not in its place.
    #[error("it is damaged or forged")]
    Forged,
}

/// The keys of the cluster: the first seals, all open.
pub(super) struct Keys(Vec<SecretBytes>);

impl Keys {
    pub(super) fn new(keys: &[SecretBytes]) -> Self {
        Self(keys.to_vec())
    }

    /// A key for one purpose, the same on all nodes.
    pub(super) fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        self.0.first().map_or_else(|| Zeroizing::new([0; 32]), |key| derive_key(key.expose(), SALT, purpose))
    }

    /// What seals for one purpose.
    pub(super) fn sealer(&self, purpose: &str) -> Sealer {
        let keys = self.0.iter().filter_map(|key| {
            let secret = derive_key(key.expose(), SALT, purpose);
            let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &secret[..]).ok()?);
            let mut id = [0; KEY_ID_BYTES];
            id.copy_from_slice(derive_key(key.expose(), SALT, "key id").get(..KEY_ID_BYTES)?);
            Some((id, cipher))
        });
        Sealer { keys: keys.collect(), random: SystemRandom::new() }
    }

    /// What stands for a name in Redis, where the name itself is nobody's business; one for each key.
    pub(super) fn codes(&self, purpose: &str, name: &str) -> Vec<String> {
        let code = |key: &SecretBytes| {
            let secret = derive_key(key.expose(), SALT, purpose);
            let code = derive_key(&secret[..], SALT, name);
            URL_SAFE_NO_PAD.encode(code.get(..CODE_BYTES).unwrap_or_default())
        };
        self.0.iter().map(code).collect()
    }

    /// The first of [`codes`](Self::codes).
    pub(super) fn code(&self, purpose: &str, name: &str) -> String {
        self.codes(purpose, name).into_iter().next().unwrap_or_default()
    }
}

/// Seals and opens for one purpose.
pub(super) struct Sealer {
    keys: Vec<([u8; KEY_ID_BYTES], LessSafeKey)>,
    random: SystemRandom,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// Seals `plain` so that it opens with the same `place` alone. `None` if the system gives no random bytes.
    pub(super) fn seal(&self, place: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        self.seal_with(place, nonce, plain)
    }

    /// The same with a number that this key seals with only once: for keys that seal so much that random numbers might
    /// meet.
    pub(super) fn seal_numbered(&self, place: &[u8], number: u64, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        nonce.get_mut(NONCE_LEN - 8..)?.copy_from_slice(&number.to_be_bytes());
        self.seal_with(place, nonce, plain)
    }

    fn seal_with(&self, place: &[u8], nonce: [u8; NONCE_LEN], plain: &[u8]) -> Option<Vec<u8>> {
        let (id, key) = self.keys.first()?;
        let mut sealed = Vec::with_capacity(KEY_ID_BYTES + NONCE_LEN + plain.len() + TAG_BYTES);
        sealed.extend_from_slice(id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let text = sealed.get_mut(KEY_ID_BYTES + NONCE_LEN..)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(place), text).ok()?;
        sealed.extend_from_slice(tag.as_ref());
        Some(sealed)
    }

    /// Opens what was sealed for this `place`.
    pub(super) fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (id, rest) = sealed.split_at_checked(KEY_ID_BYTES).ok_or(OpenError::Forged)?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN).ok_or(OpenError::Forged)?;
        let (_, key) = self.keys.iter().find(|(known, _)| known == id).ok_or(OpenError::OtherKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError::Forged)?;
        let mut text = Zeroizing::new(text.to_vec());
        let length =
            key.open_in_place(nonce, Aad::from(place), &mut text).map_err(|_| OpenError::Forged)?.len();
        text.truncate(length);
        Ok(text)
    }

    /// Whether something was sealed with the key that seals now, and not with the one before.
    pub(super) fn is_fresh(&self, sealed: &[u8]) -> bool {
        self.keys.first().is_some_and(|(id, _)| sealed.starts_with(id))
    }
}

/// Names joined so that no two lists make the same bytes.
pub(super) fn place(names: &[&[u8]]) -> Vec<u8> {
    let mut place = Vec::new();
    for name in names {
        place.extend_from_slice(&(name.len() as u64).to_be_bytes());
        place.extend_from_slice(name);
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: &[u8]) -> Keys {
        Keys::new(&keys.iter().map(|&byte| SecretBytes::new(&[byte; 32])).collect::<Vec<_>>())
    }

    #[test]
    fn what_was_sealed_opens_in_its_place_alone() {
        let sealer = keys(&[1]).sealer("rows");
        let sealed = sealer.seal(b"here", b"text").unwrap();
        assert_eq!(sealer.open(b"here", &sealed).unwrap()[..], *b"text");
        assert_eq!(sealer.open(b"there", &sealed), Err(OpenError::Forged));
        assert_eq!(keys(&[1]).sealer("bus").open(b"here", &sealed), Err(OpenError::Forged));
    }

    #[test]
    fn no_bit_of_it_can_be_changed() {
        let sealer = keys(&[1]).sealer("rows");
        let sealed = sealer.seal(b"here", b"text").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(sealer.open(b"here", &changed).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(sealer.open(b"here", &sealed[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn the_second_key_still_opens() {
        let old = keys(&[1]).sealer("rows");
        let both = keys(&[2, 1]).sealer("rows");
        let sealed = old.seal(b"", b"text").unwrap();
        assert_eq!(both.open(b"", &sealed).unwrap()[..], *b"text");
        assert!(!both.is_fresh(&sealed));
        let resealed = both.seal(b"", b"text").unwrap();
        assert!(both.is_fresh(&resealed));
        assert_eq!(old.open(b"", &resealed), Err(OpenError::OtherKey));
    }

    #[test]
    fn joined_names_are_never_the_same_for_different_lists() {
        assert_ne!(place(&[b"ab", b"c"]), place(&[b"a", b"bc"]));
        assert_ne!(place(&[b"ab"]), place(&[b"ab", b""]));
    }
}
