use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::{Algorithm, TokenError, VerifyingKey};

/// The longest token that is looked at.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

/// What `typ` may say (RFC 9068 §2.1): anything else was made for another purpose.
const TYPES: [&str; 4] = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"];

/// A token that is well-formed, and nothing more: what it says counts only once it is verified.
pub struct Token<'a> {
    algorithm: Algorithm,
    key_id: Option<Box<str>>,
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

impl std::fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl<'a> Token<'a> {
    /// Takes a token apart and looks at its header.
    ///
    /// # Errors
    /// [`TokenError::Malformed`], or [`TokenError::AlgorithmRefused`] for `none`, unknown algorithms, and those that are
    /// not in `allowed`.
    pub fn parse(text: &'a str, allowed: &[Algorithm]) -> Result<Self, TokenError> {
        let malformed = TokenError::Malformed;
        if text.len() > TOKEN_BYTES_MAX {
            return Err(malformed("it is longer than 8192 bytes"));
        }
        let Some((signed, signature)) = text.rsplit_once('.') else {
            return Err(malformed("it is no JSON Web Token: there is no dot in it"));
        };
        let Some((header, payload)) = signed.split_once('.') else {
            return Err(malformed("it is no JSON Web Token: it has two parts instead of three"));
        };
        if payload.contains('.') {
            return Err(malformed(
                "it has more than three parts; encrypted tokens are not taken, send a signed one",
            ));
        }
        let header = decode(header).ok_or(malformed("its header is not base64url"))?;
        let header: Header =
            serde_json::from_slice(&header).map_err(|_| malformed("its header is not that of a token"))?;
        let algorithm = Algorithm::from_name(&header.alg)
            .filter(|algorithm| allowed.contains(algorithm))
            .ok_or_else(|| TokenError::AlgorithmRefused(shown(&header.alg)))?;
        if header.crit.is_some() {
            return Err(malformed("its header has `crit`, and none of the extensions it may name is known"));
        }
        if header.typ.is_some_and(|name| !TYPES.contains(&name.to_ascii_lowercase().as_str())) {
            return Err(malformed("its `typ` says that it was made for another purpose"));
        }
        let signature = decode(signature).ok_or(malformed("its signature is not base64url"))?;
        Ok(Self { algorithm, key_id: header.kid.map(Into::into), signed, payload, signature })
    }

    /// How it is signed.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The name of the key it is signed with.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// What it says, if one of these keys signed it.
    ///
    /// # Errors
    /// [`TokenError::SignatureWrong`], or [`TokenError::Malformed`] if the payload is not base64url.
    pub fn verify<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k VerifyingKey>,
    ) -> Result<Vec<u8>, TokenError> {
        let is_proved =
            keys.into_iter().any(|key| key.verify(self.algorithm, self.signed.as_bytes(), &self.signature));
        if !is_proved {
            return Err(TokenError::SignatureWrong);
        }
        decode(self.payload).ok_or(TokenError::Malformed("its payload is not base64url"))
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The name of an algorithm, as far as it is one: it comes from a stranger.
fn shown(name: &str) -> Box<str> {
    const CHARS_MAX: usize = 16;
    let is_name = !name.is_empty()
        && name.len() <= CHARS_MAX
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-+_".contains(c));
    if is_name { format!("`{name}`").into() } else { "it names".into() }
}

#[cfg(test)]
mod tests;
