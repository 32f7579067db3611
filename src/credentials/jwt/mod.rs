//! Tokens that somebody else signed: JSON Web Tokens (RFC 7519) as signed compact serialisations (RFC 7515), with the
//! advice of RFC 8725.
//!
//! Verification comes first and knows only keys and algorithms: [`Token::parse`], [`KeySet::candidates`],
//! [`Token::verify`]. What a verified token says is judged after that by [`Rules::check`]. Pure: the time is an argument,
//! and keys are handed in. A key has exactly one type, so a public key is never taken for a shared secret.

mod algorithm;
mod claims;
mod error;
mod jwk;
mod key;
mod pem;
mod token;

pub use algorithm::Algorithm;
pub use claims::{Claims, Rules};
pub use error::{KeySetError, TokenError};
pub use key::{KeySet, VerifyingKey};
pub use token::{TOKEN_BYTES_MAX, Token};
