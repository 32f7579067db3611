//! JSON Web Keys: RFC 7517, RFC 7518 §6, RFC 8037 §2.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::{
    Algorithm, KeySetError,
    key::{KeySet, Material, VerifyingKey},
};

/// 2048 to 8192 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
const EXPONENT_BYTES_MAX: usize = 4;
const KEY_ID_BYTES_MAX: usize = 256;

#[derive(Deserialize)]
struct Set {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    /// Of private keys.
    d: Option<serde::de::IgnoredAny>,
    /// Of shared keys.
    k: Option<serde::de::IgnoredAny>,
}

/// Reads `{"keys": […]}` or a single key.
pub(super) fn read_set(text: &str) -> Result<Vec<VerifyingKey>, KeySetError> {
    let jwks = match serde_json::from_str::<Set>(text) {
        Ok(set) => set.keys,
        Err(error) => match serde_json::from_str::<Jwk>(text) {
            Ok(jwk) => vec![jwk],
            Err(_) => return Err(KeySetError::Malformed(error.to_string().into())),
        },
    };
    if jwks.len() > KeySet::KEYS_MAX {
        return Err(KeySetError::TooMany { count: jwks.len(), max: KeySet::KEYS_MAX });
    }
    if jwks.iter().any(|jwk| jwk.d.is_some() || jwk.k.is_some()) {
        return Err(KeySetError::Private);
    }
    Ok(jwks.into_iter().filter_map(Jwk::into_key).collect())
}

impl Jwk {
    /// `None` for a key of another type or for another use.
    fn into_key(self) -> Option<VerifyingKey> {
        let for_signatures = self.r#use.as_deref().is_none_or(|what| what == "sig")
            && self.key_ops.as_ref().is_none_or(|list| list.iter().any(|what| what == "verify"));
        if !for_signatures || self.kid.as_ref().is_some_and(|id| id.len() > KEY_ID_BYTES_MAX) {
            return None;
        }
        let algorithm = match self.alg.as_deref() {
            Some(name) => Some(Algorithm::from_name(name)?),
            None => None,
        };
        let material = match (self.kty.as_str(), self.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => Material::Ed25519(decode(self.x)?.try_into().ok()?),
            ("EC", Some("P-256")) => Material::P256(point(&decode(self.x)?, &decode(self.y)?)?),
            ("RSA", _) => rsa(&decode(self.n)?, &decode(self.e)?)?,
            (_, _) => return None,
        };
        Some(VerifyingKey::new(self.kid.map(Into::into), algorithm, material))
    }
}

/// `None` for a modulus or exponent that is not taken.
pub(super) fn rsa(n: &[u8], e: &[u8]) -> Option<Material> {
    let (n, e) = (without_zeros(n), without_zeros(e));
    let is_taken = MODULUS_BYTES.contains(&n.len()) && (1..=EXPONENT_BYTES_MAX).contains(&e.len());
    is_taken.then(|| Material::Rsa { n: n.into(), e: e.into() })
}

fn without_zeros(mut digits: &[u8]) -> &[u8] {
    while let Some((0, shorter)) = digits.split_first() {
        digits = shorter;
    }
    digits
}

fn point(x: &[u8], y: &[u8]) -> Option<[u8; 65]> {
    if x.len() != 32 || y.len() != 32 {
        return None;
    }
    [&[4], x, y].concat().try_into().ok()
}

fn decode(text: Option<String>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?).ok()
}
