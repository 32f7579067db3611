//! Signatures of webhooks, as the Standard Webhooks specification has them: `v1,` and the base64 of an HMAC-SHA256 over
//! the id, the time and the body.
//!
//! See <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// The header that names the message; the same at every attempt.
pub const ID_HEADER: &str = "webhook-id";
/// The header with the time of the attempt, in seconds since the Unix epoch.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The header with the signatures, separated by spaces.
pub const SIGNATURE_HEADER: &str = "webhook-signature";
/// How far a timestamp may be from the reader's clock, in seconds.
pub const TOLERANCE_SECONDS: u64 = 300;
/// Secrets at once: the new one and the one before it.
pub const SECRETS_MAX: usize = 2;

/// What begins a secret that is written in base64.
const PREFIX: &str = "whsec_";
/// The version of these signatures.
const VERSION: &str = "v1,";
const SECRET_BYTES_MIN: usize = 24;
const SECRET_BYTES_MAX: usize = 64;

/// What sender and receiver of webhooks share. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Zeroizing<Vec<u8>>);

/// Why a text is no secret of webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookSecretError {
    /// It has not the length it should have.
    #[error("a webhook secret has 24 to 64 bytes, written whsec_ and base64; this one has {0} bytes")]
    Length(usize),
    /// What follows `whsec_` cannot be read.
    #[error("what follows whsec_ is base64")]
    Base64,
}

/// Why a webhook is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// It was signed too long ago, or ahead of this clock.
    #[error("its time is more than {TOLERANCE_SECONDS} s away")]
    Time,
    /// No signature is by one of the secrets.
    #[error("no signature is by a known secret")]
    Signature,
}

impl WebhookSecret {
    /// Reads `whsec_` and base64; any other text is taken as it is.
    ///
    /// # Errors
    /// If it is too short, too long, or not base64.
    pub fn parse(text: &str) -> Result<Self, WebhookSecretError> {
        let bytes = match text.strip_prefix(PREFIX) {
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| WebhookSecretError::Base64)?,
            None => text.as_bytes().to_vec(),
        };
        let bytes = Zeroizing::new(bytes);
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes.len()) {
            return Err(WebhookSecretError::Length(bytes.len()));
        }
        Ok(Self(bytes))
    }

    /// What is signed with.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(..)")
    }
}

/// The signature of a message sent at `timestamp` (seconds since the Unix epoch): `v1,` and base64.
#[must_use]
pub fn sign(secret: &[u8], id: &str, timestamp: u64, body: &[u8]) -> String {
    let mut text = VERSION.to_owned();
    STANDARD.encode_string(mac(secret, id, timestamp, body), &mut text);
    text
}

/// The signatures by every secret, as the header has them: a receiver that knows any of them takes the message.
#[must_use]
pub fn sign_with_all(secrets: &[WebhookSecret], id: &str, timestamp: u64, body: &[u8]) -> String {
    let signatures: Vec<String> =
        secrets.iter().map(|secret| sign(secret.as_bytes(), id, timestamp, body)).collect();
    signatures.join(" ")
}

/// Whether a message is by somebody who knows one of the secrets, and of about `now` (seconds since the Unix epoch).
///
/// Signatures of other versions are passed over.
///
/// # Errors
/// See [`WebhookError`].
pub fn verify(
    secrets: &[WebhookSecret],
    (id, timestamp, signatures): (&str, u64, &str),
    body: &[u8],
    now: u64,
) -> Result<(), WebhookError> {
    if now.abs_diff(timestamp) > TOLERANCE_SECONDS {
        return Err(WebhookError::Time);
    }
    let given: Vec<Vec<u8>> = signatures
        .split(' ')
        .filter_map(|signature| STANDARD.decode(signature.strip_prefix(VERSION)?).ok())
        .collect();
    let is_signed = secrets.iter().any(|secret| {
        let expected = mac(secret.as_bytes(), id, timestamp, body);
        given.iter().any(|given| bool::from(given.as_slice().ct_eq(&expected)))
    });
    is_signed.then_some(()).ok_or(WebhookError::Signature)
}

fn mac(secret: &[u8], id: &str, timestamp: u64, body: &[u8]) -> [u8; 32] {
    // HMAC takes keys of any length: `new_from_slice` never refuses one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return [0; 32] };
    mac.update(id.as_bytes());
    mac.update(b".");
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    // The vector that the libraries of the specification share.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: u64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secret(text: &str) -> WebhookSecret {
        WebhookSecret::parse(text).unwrap()
    }

    #[test]
    fn the_published_vector_is_signed_alike() {
        assert_eq!(sign(secret(SECRET).as_bytes(), ID, AT, BODY), SIGNATURE);
        assert_eq!(verify(&[secret(SECRET)], (ID, AT, SIGNATURE), BODY, AT), Ok(()));
    }

    #[test]
    fn during_a_rotation_either_secret_will_do() {
        let other = secret("an-older-secret-of-some-length");
        let both = sign_with_all(&[secret(SECRET), other.clone()], ID, AT, BODY);
        assert_eq!(both.split(' ').count(), 2);
        assert!(both.starts_with(SIGNATURE));
        for known in [secret(SECRET), other] {
            assert_eq!(verify(&[known], (ID, AT, &both), BODY, AT), Ok(()));
        }
        assert_eq!(
            verify(&[secret("a-secret-nobody-signed-with")], (ID, AT, &both), BODY, AT),
            Err(WebhookError::Signature)
        );
    }

    #[test]
    fn signatures_of_other_versions_are_passed_over() {
        let several = format!("v1a,AAAA v2,{} v1,!!! {SIGNATURE}", &SIGNATURE[3..]);
        assert_eq!(verify(&[secret(SECRET)], (ID, AT, &several), BODY, AT), Ok(()));
        for wrong in ["", "v1,", "v1", &SIGNATURE[3..], &SIGNATURE.replace("v1", "v2")] {
            let verified = verify(&[secret(SECRET)], (ID, AT, wrong), BODY, AT);
            assert_eq!(verified, Err(WebhookError::Signature), "{wrong}");
        }
    }

    #[test]
    fn what_was_signed_cannot_be_changed() {
        let with = [secret(SECRET)];
        let signed = |id: &str, at: u64, body: &[u8]| verify(&with, (id, at, SIGNATURE), body, AT);
        assert_eq!(signed("msg_other", AT, BODY), Err(WebhookError::Signature));
        assert_eq!(signed(ID, AT + 1, BODY), Err(WebhookError::Signature));
        assert_eq!(signed(ID, AT, br#"{"test": 2432232315}"#), Err(WebhookError::Signature));
    }

    #[test]
    fn what_is_old_or_ahead_is_refused() {
        let with = [secret(SECRET)];
        for now in [AT - TOLERANCE_SECONDS, AT + TOLERANCE_SECONDS] {
            assert_eq!(verify(&with, (ID, AT, SIGNATURE), BODY, now), Ok(()));
        }
        for now in [0, AT - TOLERANCE_SECONDS - 1, AT + TOLERANCE_SECONDS + 1, u64::MAX] {
            assert_eq!(verify(&with, (ID, AT, SIGNATURE), BODY, now), Err(WebhookError::Time));
        }
    }

    #[test]
    fn secrets_have_a_length_and_are_not_shown() {
        assert_eq!(WebhookSecret::parse("whsec_AAAA"), Err(WebhookSecretError::Length(3)));
        assert_eq!(WebhookSecret::parse("whsec_ä"), Err(WebhookSecretError::Base64));
        assert_eq!(WebhookSecret::parse("short"), Err(WebhookSecretError::Length(5)));
        assert_eq!(WebhookSecret::parse(&"x".repeat(65)), Err(WebhookSecretError::Length(65)));
        assert_eq!(format!("{:?}", secret(SECRET)), "WebhookSecret(..)");
    }
}
