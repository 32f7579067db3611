//! Keys and hashes of long-term credentials (RFC 8489 §9.2, §14.4, §18.5.1).
//!
//! All take text that has been prepared already. A USERNAME and a REALM in a message are prepared by whoever sent them
//! (RFC 8489 §14.3, §14.9); realm and passwords of our own are prepared once, when they are read from a configuration,
//! as RFC 8265's OpaqueString.

use md5::Md5;
use sha2::{Digest, Sha256};

/// The key of password algorithm MD5: `MD5(username ":" realm ":" password)` (RFC 8489 §18.5.1.1).
#[must_use]
pub fn long_term_key_md5(username: &str, realm: &str, password: &str) -> [u8; 16] {
    joined::<Md5>(&[username, realm, password]).finalize().into()
}

/// The key of password algorithm SHA-256: `SHA-256(username ":" realm ":" password)` (RFC 8489 §18.5.1.2).
#[must_use]
pub fn long_term_key_sha256(username: &str, realm: &str, password: &str) -> [u8; 32] {
    joined::<Sha256>(&[username, realm, password]).finalize().into()
}

/// The value of USERHASH: `SHA-256(username ":" realm)` (RFC 8489 §14.4).
#[must_use]
pub fn userhash(username: &str, realm: &str) -> [u8; 32] {
    joined::<Sha256>(&[username, realm]).finalize().into()
}

/// Hashes the parts with colons between them.
fn joined<D: Digest>(parts: &[&str]) -> D {
    let mut digest = D::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            digest.update(b":");
        }
        digest.update(part);
    }
    digest
}
