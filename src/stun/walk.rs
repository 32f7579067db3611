//! The one walk over a message that decides whether it is well formed.

use super::{HEADER_BYTES, MAGIC_COOKIE, attribute, padding};

/// Why bytes are not a STUN message. A server discards such a message without an answer (RFC 8489 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Not even a header.
    #[error("{bytes} bytes are fewer than the 20 of a STUN header")]
    TooShort {
        /// How many there are.
        bytes: usize,
    },
    /// The first two bits are not zero.
    #[error("the first byte {first_byte:#04x} does not start a STUN message: its top two bits must be zero")]
    NotStun {
        /// The first byte.
        first_byte: u8,
    },
    /// Bytes 4 to 7 are not the magic cookie (RFC 3489 clients, or not STUN at all).
    #[error("the magic cookie is {found:#010x}, not 0x2112a442")]
    Cookie {
        /// What is there.
        found: u32,
    },
    /// The length field does not match the number of bytes, or is not a multiple of four.
    #[error(
        "the length field says {claimed}, but {actual} bytes follow the header (a multiple of 4 is needed)"
    )]
    Length {
        /// The length field.
        claimed: usize,
        /// The bytes behind the header.
        actual: usize,
    },
    /// An attribute reaches beyond the message.
    #[error("attribute {attribute:#06x} claims {claimed} bytes, but {left} are left")]
    Truncated {
        /// Its type.
        attribute: u16,
        /// Its length field.
        claimed: usize,
        /// What the message has.
        left: usize,
    },
    /// An integrity attribute or FINGERPRINT has a length that its RFC does not allow.
    #[error("attribute {attribute:#06x} has an impossible length of {bytes} bytes")]
    AttributeLength {
        /// Its type.
        attribute: u16,
        /// Its length field.
        bytes: usize,
    },
    /// Something follows FINGERPRINT.
    #[error("FINGERPRINT is not the last attribute")]
    FingerprintNotLast,
    /// FINGERPRINT does not match: damaged, or not STUN.
    #[error("FINGERPRINT does not match the message")]
    BadFingerprint,
}

/// Where the attributes are that govern the others; an offset of 0 means "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Landmarks {
    /// MESSAGE-INTEGRITY's header.
    pub(super) sha1: u32,
    /// MESSAGE-INTEGRITY-SHA256's header.
    pub(super) sha256: u32,
    /// FINGERPRINT's header.
    pub(super) fingerprint: u32,
}

impl Landmarks {
    /// Whether an attribute at this point of the walk counts (RFC 8489 §14.5, §14.6).
    #[inline]
    pub(super) const fn shows(&self, attribute_type: u16) -> bool {
        if (self.sha1 | self.sha256) == 0 {
            return true;
        }
        attribute_type == attribute::FINGERPRINT
            || (attribute_type == attribute::MESSAGE_INTEGRITY_SHA256 && self.sha256 == 0)
    }
}

/// Checks header, attributes and FINGERPRINT of a message; calls `visit` with type, offset of the value and value of
/// each visible attribute in order. What was visited means nothing if an error is returned.
#[inline(always)]
pub(super) fn walk<'a>(
    bytes: &'a [u8],
    mut visit: impl FnMut(u16, usize, &'a [u8]),
) -> Result<Landmarks, ParseError> {
    let mut rest = check_header(bytes)?;
    let mut landmarks = Landmarks::default();
    while let Some((head, tail)) = rest.split_first_chunk::<4>() {
        let attribute_type = u16::from_be_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let Some((value, tail)) = tail.split_at_checked(length) else {
            return Err(ParseError::Truncated {
                attribute: attribute_type,
                claimed: length,
                left: tail.len(),
            });
        };
        let offset = bytes.len() - rest.len();
        if landmarks.shows(attribute_type) {
            if is_landmark(attribute_type) {
                note(&mut landmarks, attribute_type, offset, length, bytes.len())?;
            }
            visit(attribute_type, offset + 4, value);
        }
        // The message is a multiple of four bytes long, so the padding is there.
        rest = tail.get(padding(length)..).unwrap_or_default();
    }
    if landmarks.fingerprint != 0 {
        check_fingerprint(bytes, landmarks.fingerprint as usize)?;
    }
    Ok(landmarks)
}

/// The value FINGERPRINT has behind `preceding`, whose length field already covers it (RFC 8489 §14.7).
#[inline]
pub(super) fn fingerprint_of(preceding: &[u8]) -> u32 {
    crc32fast::hash(preceding) ^ 0x5354_554E
}

/// Returns what follows a well-formed header.
#[inline(always)]
fn check_header(bytes: &[u8]) -> Result<&[u8], ParseError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(ParseError::TooShort { bytes: bytes.len() });
    };
    if header[0] & 0xC0 != 0 {
        return Err(ParseError::NotStun { first_byte: header[0] });
    }
    let cookie = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    if cookie != MAGIC_COOKIE {
        return Err(ParseError::Cookie { found: cookie });
    }
    let claimed = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if claimed != rest.len() || !claimed.is_multiple_of(4) {
        return Err(ParseError::Length { claimed, actual: rest.len() });
    }
    Ok(rest)
}

#[inline]
const fn is_landmark(attribute_type: u16) -> bool {
    matches!(
        attribute_type,
        attribute::MESSAGE_INTEGRITY | attribute::MESSAGE_INTEGRITY_SHA256 | attribute::FINGERPRINT
    )
}

/// Records an integrity attribute or FINGERPRINT at `offset`.
fn note(
    landmarks: &mut Landmarks,
    attribute_type: u16,
    offset: usize,
    length: usize,
    message_bytes: usize,
) -> Result<(), ParseError> {
    let wrong_length = Err(ParseError::AttributeLength { attribute: attribute_type, bytes: length });
    // A message has at most 65,555 bytes.
    let at = u32::try_from(offset).unwrap_or(u32::MAX);
    match attribute_type {
        attribute::MESSAGE_INTEGRITY if length != 20 => wrong_length,
        attribute::MESSAGE_INTEGRITY => {
            landmarks.sha1 = at;
            Ok(())
        }
        attribute::MESSAGE_INTEGRITY_SHA256 if !(16..=32).contains(&length) || !length.is_multiple_of(4) => {
            wrong_length
        }
        attribute::MESSAGE_INTEGRITY_SHA256 => {
            landmarks.sha256 = at;
            Ok(())
        }
        _ if length != 4 => wrong_length,
        _ if offset + 8 != message_bytes => Err(ParseError::FingerprintNotLast),
        _ => {
            landmarks.fingerprint = at;
            Ok(())
        }
    }
}

fn check_fingerprint(bytes: &[u8], offset: usize) -> Result<(), ParseError> {
    let (Some(preceding), Some(value)) = (bytes.get(..offset), bytes.last_chunk::<4>()) else {
        return Err(ParseError::BadFingerprint);
    };
    if fingerprint_of(preceding) == u32::from_be_bytes(*value) {
        Ok(())
    } else {
        Err(ParseError::BadFingerprint)
    }
}
