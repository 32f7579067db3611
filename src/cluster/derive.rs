//! Keys for one purpose each, from one key.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// HKDF-SHA256 (RFC 5869) of `key` with `salt`, expanded once for `purpose`.
#[must_use]
pub fn derive_key(key: &[u8], salt: &[u8], purpose: &str) -> Zeroizing<[u8; 32]> {
    let extracted = Zeroizing::new(mac(salt, &[key]));
    Zeroizing::new(mac(&extracted[..], &[purpose.as_bytes(), &[1]]))
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        (0..hexadecimal.len() / 2)
            .map(|n| u8::from_str_radix(&hexadecimal[2 * n..2 * n + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn it_is_the_hkdf_of_rfc_5869() {
        // Test cases 1 and 3 of RFC 5869 appendix A, the first 32 bytes of 42; the infos are f0…f9, which is no text,
        // and empty.
        let key = [0x0b; 22];
        let expected = bytes("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
        assert_eq!(derive_key(&key, b"", "")[..], expected[..]);
        let extracted = mac(&bytes("000102030405060708090a0b0c"), &[&key]);
        let expanded = mac(&extracted, &[&bytes("f0f1f2f3f4f5f6f7f8f9"), &[1]]);
        let expected = bytes("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
        assert_eq!(expanded[..], expected[..]);
    }

    #[test]
    fn each_purpose_has_a_key_of_its_own() {
        assert_ne!(derive_key(b"key", b"salt", "nonce"), derive_key(b"key", b"salt", "rows"));
        assert_ne!(derive_key(b"key", b"salt", "nonce"), derive_key(b"key", b"tlas", "nonce"));
    }
}
