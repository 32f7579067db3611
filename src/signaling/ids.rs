//! Names.

use std::{fmt, sync::Arc};

/// One socket of this node; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A session: 128 random bits, `s_` and 22 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u128);

/// A call: chosen by the caller, 1 to 64 of `A-Z a-z 0-9 . _ : -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(Arc<str>);

/// A room: 1 to 128 bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(Arc<str>);

/// A user, as `sub` of a token names it: 1 to 256 bytes without control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Arc<str>);

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(pub Arc<str>);

const CALL_BYTES_MAX: usize = 64;
const ROOM_BYTES_MAX: usize = 128;
const USER_BYTES_MAX: usize = 256;

impl SessionId {
    /// The session that a text names.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix("s_")?).ok()?;
        Some(Self(u128::from_be_bytes(bytes.try_into().ok()?)))
    }
}

impl SessionId {
    /// Appends it as it is written.
    pub(super) fn push_to(self, out: &mut Vec<u8>) {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let mut text = [0; 22];
        let length = URL_SAFE_NO_PAD.encode_slice(self.0.to_be_bytes(), &mut text).unwrap_or_default();
        out.extend_from_slice(b"s_");
        out.extend_from_slice(text.get(..length).unwrap_or_default());
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(24);
        self.push_to(&mut text);
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl CallId {
    /// `None` if it is too long or has other characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        let is_call = (1..=CALL_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_fine);
        is_call.then(|| Self(text.into()))
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RoomId {
    /// `None` if it is empty, too long or has control characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        is_name(text, ROOM_BYTES_MAX).then(|| Self(text.into()))
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl UserId {
    /// `None` if it is empty, too long or has control characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        is_name(text, USER_BYTES_MAX).then(|| Self(text.into()))
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names of users do not get into logs by accident.
impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserId(..)")
    }
}

fn is_name(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_read_as_it_is_written() {
        for number in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            let text = SessionId(number).to_string();
            assert_eq!(text.len(), 24);
            assert_eq!(SessionId::parse(&text), Some(SessionId(number)));
        }
        for wrong in ["", "s_", "s_AAAA", "AAAAAAAAAAAAAAAAAAAAAA", "s_AAAAAAAAAAAAAAAAAAAAA!"] {
            assert_eq!(SessionId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_are_bounded() {
        assert!(CallId::parse("c_01J.x:y-Z").is_some());
        for wrong in ["", "a b", "ä", &"c".repeat(CALL_BYTES_MAX + 1)] {
            assert_eq!(CallId::parse(wrong), None, "{wrong}");
        }
        assert!(RoomId::parse(&"r".repeat(ROOM_BYTES_MAX)).is_some());
        assert!(RoomId::parse(&"r".repeat(ROOM_BYTES_MAX + 1)).is_none());
        assert!(UserId::parse("zoë@example.org").is_some());
        assert!(UserId::parse("a\nb").is_none());
    }
}
