//! Who may use the relay: static users and time-limited credentials, side by side in one realm.
//!
//! A time-limited credential needs no database: whoever knows a shared [`Secret`] mints a username that carries its
//! expiry time and a password that is an HMAC of that username (draft-uberti-behave-turn-rest, as coturn's
//! `use-auth-secret`). A [`Directory`] holds what is valid in a realm and answers what a username may stand for;
//! whoever checks a message does so with the keys it names. A username may say more than that: see [`Claims`]. What is
//! good no longer although its time is not over is told by [`Revocations`]. Pure: the time is an argument.

mod candidate;
mod claims;
#[cfg(feature = "server")]
pub(crate) mod der;
mod directory;
mod explain;
#[cfg(feature = "server")]
pub mod jwt;
mod opaque_string;
mod revocation;
mod secret;
mod time_limited;
pub mod webhook;

pub use candidate::{Candidate, CandidateKey, Candidates, Validity};
pub use claims::{
    CLASS_CHARS_MAX, Claims, Expiry, LABEL_CHARS_MAX, USER_BYTES_MAX, Wish, WishError, is_class, is_label,
};
pub use directory::{
    DEFAULT_SEPARATOR, Directory, DirectoryBuilder, DirectoryError, REALM_CHARS_MAX, SECRETS_MAX,
    USERNAME_BYTES_MAX, UserSecret,
};
pub use explain::{Claimed, Hint, Verdict, explain};
pub use opaque_string::{OpaqueStringError, prepare_opaque_string};
pub use revocation::{PLAIN_LIFE_MAX, REVOCATIONS_MAX, Revocation, Revocations};
pub use secret::{KeyId, KeyIdError, PASSWORD_BYTES, Password, Secret};
pub use time_limited::{Credential, TimeLimited, mint, parse_time_limited, time_limited_username};
