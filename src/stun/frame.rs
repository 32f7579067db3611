//! Messages on a byte stream (RFC 8489 §6.2.2, RFC 8656 §12.5).

use super::{HEADER_BYTES, MAGIC_COOKIE, padding};

/// The most that [`next_frame`] asks a caller to buffer: a STUN message with the largest length field.
pub const FRAME_BYTES_MAX: usize = HEADER_BYTES + 0xFFFC;

/// What the start of a buffered stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A whole message.
    Complete {
        /// The message is the first `bytes` bytes.
        bytes: usize,
        /// The next one starts here: ChannelData is padded to a multiple of four.
        consumed: usize,
    },
    /// More must arrive.
    Incomplete {
        /// How many bytes must be buffered, with those that are, before it is worth asking again: exact when the
        /// header is there, the length of the header before.
        needed: usize,
    },
    /// Not STUN: the stream can't be read any further and is to be closed.
    Invalid(FrameError),
}

/// Why a stream can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Neither a STUN message nor ChannelData starts with this byte.
    #[error("neither a STUN message nor ChannelData starts with {first_byte:#04x}")]
    FirstByte {
        /// The byte.
        first_byte: u8,
    },
    /// What looks like a STUN message lacks the magic cookie.
    #[error("the magic cookie 0x2112a442 is missing")]
    Cookie,
    /// The length of a STUN message is not a multiple of four.
    #[error("the length {claimed} is not a multiple of 4")]
    Length {
        /// The length field.
        claimed: usize,
    },
}

/// Finds the first message in what has been buffered of a stream. Only framing is checked; the message itself is for
/// [`super::Message::parse`] or [`super::parse_channel_data`].
#[must_use]
pub fn next_frame(buffered: &[u8]) -> Frame {
    match buffered.first() {
        None => Frame::Incomplete { needed: CHANNEL_DATA_HEADER_BYTES },
        Some(0x00..=0x3F) => stun_frame(buffered),
        Some(0x40..=0x7F) => channel_data_frame(buffered),
        Some(&first_byte) => Frame::Invalid(FrameError::FirstByte { first_byte }),
    }
}

const CHANNEL_DATA_HEADER_BYTES: usize = 4;

fn stun_frame(buffered: &[u8]) -> Frame {
    // What is wrong is told as soon as it can be seen, so that a stranger can't make us wait for the rest.
    let length = buffered.get(2..4).and_then(|field| field.try_into().ok()).map(u16::from_be_bytes);
    if let Some(length) = length.filter(|length| !length.is_multiple_of(4)) {
        return Frame::Invalid(FrameError::Length { claimed: usize::from(length) });
    }
    let cookie = buffered.get(4..).unwrap_or_default();
    if cookie.iter().zip(MAGIC_COOKIE.to_be_bytes()).any(|(&found, expected)| found != expected) {
        return Frame::Invalid(FrameError::Cookie);
    }
    let Some(length) = length.filter(|_| buffered.len() >= HEADER_BYTES) else {
        return Frame::Incomplete { needed: HEADER_BYTES };
    };
    complete(buffered, HEADER_BYTES + usize::from(length))
}

fn channel_data_frame(buffered: &[u8]) -> Frame {
    let Some(&[_, _, high, low]) = buffered.first_chunk::<CHANNEL_DATA_HEADER_BYTES>() else {
        return Frame::Incomplete { needed: CHANNEL_DATA_HEADER_BYTES };
    };
    complete(buffered, CHANNEL_DATA_HEADER_BYTES + usize::from(u16::from_be_bytes([high, low])))
}

fn complete(buffered: &[u8], bytes: usize) -> Frame {
    let consumed = bytes + padding(bytes);
    if buffered.len() < consumed {
        Frame::Incomplete { needed: consumed }
    } else {
        Frame::Complete { bytes, consumed }
    }
}
