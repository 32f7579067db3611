use std::fmt;

use ring::{hmac, signature};

use super::{Algorithm, KeySetError, TokenError, jwk, pem};

/// A token without a `kid` is tried with so many keys at most.
const TRIED_MAX: usize = 4;
/// RFC 7518 §3.2: as many bytes as the hash has.
const SHARED_SECRET_BYTES_MIN: usize = 32;

/// A key that proves tokens.
#[derive(Clone)]
pub struct VerifyingKey {
    id: Option<Box<str>>,
    /// The only algorithm it may be used with, if it says one.
    algorithm: Option<Algorithm>,
    material: Material,
}

/// What a key is made of. Its type fixes the algorithms it can be used with.
#[derive(Clone)]
pub(super) enum Material {
    Ed25519([u8; 32]),
    /// Uncompressed: 4, x, y.
    P256([u8; 65]),
    /// Modulus and exponent, big-endian, without leading zeros.
    Rsa {
        n: Box<[u8]>,
        e: Box<[u8]>,
    },
    Shared(hmac::Key),
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.material {
            Material::Ed25519(_) => "Ed25519",
            Material::P256(_) => "P-256",
            Material::Rsa { .. } => "RSA",
            Material::Shared(_) => "shared",
        };
        f.debug_struct("VerifyingKey").field("id", &self.id).field("kind", &kind).finish_non_exhaustive()
    }
}

impl VerifyingKey {
    pub(super) const fn new(id: Option<Box<str>>, algorithm: Option<Algorithm>, material: Material) -> Self {
        Self { id, algorithm, material }
    }

    /// A secret that is shared with the issuer, for HS256.
    ///
    /// # Errors
    /// It is shorter than 32 bytes.
    pub fn shared(secret: &[u8]) -> Result<Self, KeySetError> {
        if secret.len() < SHARED_SECRET_BYTES_MIN {
            return Err(KeySetError::SecretTooShort { bytes: secret.len() });
        }
        let material = Material::Shared(hmac::Key::new(hmac::HMAC_SHA256, secret));
        Ok(Self::new(None, Some(Algorithm::Hs256), material))
    }

    /// Its `kid`.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether signatures of this algorithm can be proved with it.
    #[must_use]
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        let by_type = match (&self.material, algorithm) {
            (Material::Ed25519(_), Algorithm::EdDsa)
            | (Material::P256(_), Algorithm::Es256)
            | (Material::Rsa { .. }, Algorithm::Rs256 | Algorithm::Ps256)
            | (Material::Shared(_), Algorithm::Hs256) => true,
            (
                Material::Ed25519(_) | Material::P256(_) | Material::Rsa { .. } | Material::Shared(_),
                Algorithm::EdDsa | Algorithm::Es256 | Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::Hs256,
            ) => false,
        };
        by_type && self.algorithm.is_none_or(|own| own == algorithm)
    }

    /// Whether `signed` was signed so by the owner of the key. The HMAC is compared in constant time.
    pub(super) fn verify(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        match (&self.material, algorithm) {
            (Material::Ed25519(key), _) => {
                signature::UnparsedPublicKey::new(&signature::ED25519, key).verify(signed, signature).is_ok()
            }
            (Material::P256(key), _) => {
                signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, key)
                    .verify(signed, signature)
                    .is_ok()
            }
            (Material::Rsa { n, e }, algorithm) => {
                let parameters = if algorithm == Algorithm::Ps256 {
                    &signature::RSA_PSS_2048_8192_SHA256
                } else {
                    &signature::RSA_PKCS1_2048_8192_SHA256
                };
                signature::RsaPublicKeyComponents { n, e }.verify(parameters, signed, signature).is_ok()
            }
            (Material::Shared(key), _) => hmac::verify(key, signed, signature).is_ok(),
        }
    }
}

/// Keys of one issuer.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<VerifyingKey>,
}

impl KeySet {
    /// The most keys that one set may hold.
    pub const KEYS_MAX: usize = 64;

    /// Reads a JWK set, a single JWK (RFC 7517), or public keys in PEM. Keys of other types and for other uses are
    /// passed over.
    ///
    /// # Errors
    /// See [`KeySetError`].
    pub fn parse(text: &str) -> Result<Self, KeySetError> {
        let keys =
            if text.trim_start().starts_with('{') { jwk::read_set(text)? } else { pem::read_keys(text)? };
        if keys.is_empty() { Err(KeySetError::Empty) } else { Ok(Self { keys }) }
    }

    /// Adds a key.
    pub fn push(&mut self, key: VerifyingKey) {
        if self.keys.len() < Self::KEYS_MAX {
            self.keys.push(key);
        }
    }

    /// Whether one of them has this `kid`.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id() == Some(id))
    }

    /// How many keys there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that may have signed a token with this `alg` and `kid`: one with that `kid`, or, where the token or the
    /// key names none, each that fits.
    ///
    /// # Errors
    /// [`TokenError::KeyUnknown`] if there is none, or too many to try.
    pub fn candidates(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
    ) -> Result<Vec<&VerifyingKey>, TokenError> {
        if let Some(id) = id {
            let mut named = self.keys.iter().filter(|key| key.id() == Some(id)).peekable();
            if named.peek().is_some() {
                let fitting: Vec<_> = named.filter(|key| key.fits(algorithm)).take(TRIED_MAX).collect();
                if fitting.is_empty() {
                    return Err(TokenError::KeyUnknown("the key of its `kid` is for another algorithm"));
                }
                return Ok(fitting);
            }
        }
        let nameless = |key: &&VerifyingKey| id.is_none() || key.id.is_none();
        let fitting: Vec<_> =
            self.keys.iter().filter(nameless).filter(|key| key.fits(algorithm)).take(TRIED_MAX + 1).collect();
        match (fitting.len(), id) {
            (0, Some(_)) => Err(TokenError::KeyUnknown("none has its `kid`")),
            (0, None) => Err(TokenError::KeyUnknown("it names no `kid`, and no key is for its algorithm")),
            (count, _) if count > TRIED_MAX => {
                Err(TokenError::KeyUnknown("it names no `kid`, and more than 4 keys are for its algorithm"))
            }
            (_, _) => Ok(fitting),
        }
    }
}
