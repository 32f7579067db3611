//! MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256 (RFC 8489 §14.5, §14.6).

use std::fmt;

use hmac::{
    EagerHash, Hmac, KeyInit, Mac,
    block_api::HmacCore,
    digest::{Output, block_api::CoreProxy},
};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The key of a user, ready for use: both HMACs have taken it in, so each check or signature saves hashing two blocks.
///
/// Made from a long-term key ([`super::long_term_key_md5`], [`super::long_term_key_sha256`]) or, for short-term
/// credentials, from the password. It is 144 bytes large whatever the key's length; who keeps many and uses them
/// seldom keeps the 16 or 32 bytes of the long-term key instead and makes one of these when it is needed.
#[derive(Clone)]
pub struct IntegrityKey {
    sha1: HmacCore<Sha1>,
    sha256: HmacCore<Sha256>,
}

/// Why an integrity attribute does not prove anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntegrityError {
    /// The message does not carry it.
    #[error("the message carries no such integrity attribute")]
    Missing,
    /// It was made with another key, or the message was changed.
    #[error("the integrity value does not match: another key, or a changed message")]
    Mismatch,
}

impl IntegrityKey {
    /// Takes in a key of any length (RFC 2104). It is wiped from memory when this is dropped.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self { sha1: core_of(key), sha256: core_of(key) }
    }

    /// Whether `value` is the MESSAGE-INTEGRITY of the message that starts with `preceding`.
    pub(super) fn verify_sha1(&self, preceding: &[u8], value: &[u8]) -> Result<(), IntegrityError> {
        verify(&self.hmac_sha1(preceding), value)
    }

    /// Whether `value` is the MESSAGE-INTEGRITY-SHA256, possibly cut short, of the message that starts with
    /// `preceding`.
    pub(super) fn verify_sha256(&self, preceding: &[u8], value: &[u8]) -> Result<(), IntegrityError> {
        let expected = self.hmac_sha256(preceding, value.len());
        verify(expected.get(..value.len()).unwrap_or_default(), value)
    }

    /// The value of a MESSAGE-INTEGRITY that follows `preceding`.
    pub(super) fn hmac_sha1(&self, preceding: &[u8]) -> [u8; 20] {
        hmac_of(&self.sha1, preceding, 20).into()
    }

    /// The value of a MESSAGE-INTEGRITY-SHA256 of `value_bytes` that follows `preceding`, before it is cut short.
    pub(super) fn hmac_sha256(&self, preceding: &[u8], value_bytes: usize) -> [u8; 32] {
        hmac_of(&self.sha256, preceding, value_bytes).into()
    }
}

impl fmt::Debug for IntegrityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IntegrityKey(..)")
    }
}

fn core_of<D: EagerHash>(key: &[u8]) -> HmacCore<D> {
    // Every length is accepted, so the second branch is never taken.
    HmacCore::new_from_slice(key).unwrap_or_else(|_| HmacCore::new(&Default::default()))
}

/// The HMAC over `preceding`, with the length field that the message would have if it ended behind an integrity value
/// of `value_bytes`.
fn hmac_of<D: EagerHash>(core: &HmacCore<D>, preceding: &[u8], value_bytes: usize) -> Output<Hmac<D>> {
    let mut hmac = Hmac::<D>::compose(core.clone(), Default::default());
    if let Some((header, attributes)) = preceding.split_first_chunk::<20>() {
        let mut header = *header;
        // A caller has made sure that it fits: the attribute is part of a message.
        let length = u16::try_from(attributes.len() + 4 + value_bytes).unwrap_or(u16::MAX);
        header[2..4].copy_from_slice(&length.to_be_bytes());
        hmac.update(&header);
        hmac.update(attributes);
    }
    hmac.finalize().into_bytes()
}

fn verify(expected: &[u8], value: &[u8]) -> Result<(), IntegrityError> {
    // An empty slice equals an empty slice; the walk has refused values that short.
    if !expected.is_empty() && bool::from(expected.ct_eq(value)) {
        Ok(())
    } else {
        Err(IntegrityError::Mismatch)
    }
}

#[cfg(test)]
mod tests {
    use super::{IntegrityError, IntegrityKey};

    #[test]
    fn a_key_takes_144_bytes_whatever_its_length() {
        assert_eq!(size_of::<IntegrityKey>(), 144);
    }

    #[test]
    fn keys_of_every_length_give_the_hmac_of_rfc_2104() {
        use hmac::{Hmac, KeyInit, Mac};
        let mut message = [0x5A; 60];
        message[2..4].copy_from_slice(&(40_u16 + 24).to_be_bytes());
        for length in [0, 1, 16, 32, 63, 64, 65, 128, 500] {
            let key = vec![0xA5; length];
            let mut expected = Hmac::<sha1::Sha1>::new_from_slice(&key).unwrap();
            expected.update(&message);
            let expected = expected.finalize().into_bytes();
            let ours = IntegrityKey::new(&key);
            assert_eq!(ours.hmac_sha1(&message), expected[..], "{length} bytes");
            assert_eq!(ours.verify_sha1(&message, &expected), Ok(()));
            assert_eq!(ours.verify_sha1(&message, &expected[..19]), Err(IntegrityError::Mismatch));
            assert_eq!(ours.verify_sha1(&message, &[]), Err(IntegrityError::Mismatch));
            assert_eq!(ours.verify_sha256(&message, &[]), Err(IntegrityError::Mismatch));
        }
    }
}
