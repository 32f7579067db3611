//! Ending sessions from outside.

use super::{SessionId, UserId};

/// Whose sessions end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoke {
    /// All of a user.
    User(UserId),
    /// All that came with this token (`jti`).
    Token(Box<str>),
    /// One.
    Session(SessionId),
}
