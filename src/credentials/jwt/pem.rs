//! Public keys in PEM: `BEGIN PUBLIC KEY`, an X.509 SubjectPublicKeyInfo (RFC 5280 §4.1.2.7, RFC 8410).

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    KeySetError,
    jwk::rsa,
    key::{KeySet, Material, VerifyingKey},
};
use crate::credentials::der;

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

const ED25519: &[u8] = &[0x2B, 0x65, 0x70];
const EC_PUBLIC_KEY: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
const PRIME256V1: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
const RSA_ENCRYPTION: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];

/// Reads every public key of the text.
pub(super) fn read_keys(text: &str) -> Result<Vec<VerifyingKey>, KeySetError> {
    if text.contains("PRIVATE KEY-----") {
        return Err(KeySetError::Private);
    }
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some((_, block)) = rest.split_once(BEGIN) {
        let Some((body, after)) = block.split_once(END) else {
            return Err(KeySetError::Malformed("a PUBLIC KEY has no end".into()));
        };
        rest = after;
        let body: String = body.split_ascii_whitespace().collect();
        let der =
            STANDARD.decode(body).map_err(|_| KeySetError::Malformed("a PUBLIC KEY is not base64".into()))?;
        keys.extend(public_key(&der));
        if keys.len() > KeySet::KEYS_MAX {
            return Err(KeySetError::TooMany { count: keys.len(), max: KeySet::KEYS_MAX });
        }
    }
    if rest.len() == text.len() {
        let advice =
            "there is no BEGIN PUBLIC KEY; `openssl x509 -pubkey -noout` takes the key out of a certificate";
        return Err(KeySetError::Malformed(advice.into()));
    }
    Ok(keys)
}

/// `None` for a key of another type.
fn public_key(info: &[u8]) -> Option<VerifyingKey> {
    let (info, _) = der::element(info, der::SEQUENCE)?;
    let (algorithm, rest) = der::element(info, der::SEQUENCE)?;
    let (bits, _) = der::element(rest, der::BIT_STRING)?;
    let (&unused, key) = bits.split_first()?;
    if unused != 0 {
        return None;
    }
    let (name, parameters) = der::element(algorithm, der::OBJECT_IDENTIFIER)?;
    let material = if name == ED25519 {
        Material::Ed25519(key.try_into().ok()?)
    } else if name == EC_PUBLIC_KEY {
        let (curve, _) = der::element(parameters, der::OBJECT_IDENTIFIER)?;
        if curve != PRIME256V1 || key.first() != Some(&4) {
            return None;
        }
        Material::P256(key.try_into().ok()?)
    } else if name == RSA_ENCRYPTION {
        let (key, _) = der::element(key, der::SEQUENCE)?;
        let (n, rest) = der::unsigned(key)?;
        let (e, _) = der::unsigned(rest)?;
        rsa(n, e)?
    } else {
        return None;
    };
    Some(VerifyingKey::new(None, None, material))
}
