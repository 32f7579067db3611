//! Who signs tokens: an issuer with an Ed25519 key of its own.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

/// `iss` of its tokens.
pub(crate) const ISSUER: &str = "https://auth.example/realms/m";
/// `aud` of its tokens.
pub(crate) const AUDIENCE: &str = "rtc-signal";

/// An issuer of tokens.
pub(crate) struct Issuer {
    key: Ed25519KeyPair,
}

impl Issuer {
    /// With a fresh key.
    pub(crate) fn new() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
        Self { key: Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap() }
    }

    /// The public key, as a set.
    pub(crate) fn jwks(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref());
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "test", "use": "sig", "alg": "EdDSA" }] })
            .to_string()
    }

    /// A token of a user at a device who may do everything a user can.
    pub(crate) fn token(&self, user: &str, device: &str) -> String {
        self.token_with(user, Self::grants(device))
    }

    /// The grants of [`token`](Self::token), to be changed.
    pub(crate) fn grants(device: &str) -> Value {
        json!({
            "device": device, "role": "user", "rooms": { "*": ["join", "send"] }, "call": { "mode": "any" },
            "presence": true, "message": true, "maxSessions": 10,
        })
    }

    /// A token of an hour with these grants.
    pub(crate) fn token_with(&self, user: &str, grants: Value) -> String {
        let now = unix_seconds();
        self.sign(&json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": user, "iat": now, "exp": now + 3600, "rtc": grants,
        }))
    }

    /// A token with exactly these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": "test" });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(text.as_bytes()));
        format!("{text}.{signature}")
    }
}

/// Seconds since the Unix epoch.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
