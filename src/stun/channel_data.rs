//! ChannelData (RFC 8656 §12.4).

use std::ops::Range;

/// The first channel number.
pub const CHANNEL_NUMBER_MIN: u16 = 0x4000;
/// The last channel number (RFC 8656 §12).
pub const CHANNEL_NUMBER_MAX: u16 = 0x4FFF;
/// The last channel number of RFC 5766.
pub const CHANNEL_NUMBER_MAX_LEGACY: u16 = 0x7FFF;

/// Why a datagram is not ChannelData. It is dropped (RFC 8656 §12.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelDataError {
    /// Not even a header.
    #[error("{bytes} bytes are fewer than the 4 of a ChannelData header")]
    TooShort {
        /// How many there are.
        bytes: usize,
    },
    /// Not between 0x4000 and 0x7FFF.
    #[error("{number:#06x} is no channel number")]
    Number {
        /// What is there.
        number: u16,
    },
    /// The length field claims more than there is.
    #[error("the length field says {claimed}, but only {actual} bytes follow the header")]
    Length {
        /// The length field.
        claimed: usize,
        /// The bytes behind the header.
        actual: usize,
    },
}

/// The header of ChannelData. On a stream the payload is followed by [`super::padding`] zero bytes; on UDP it need
/// not be.
#[must_use]
#[inline]
pub const fn channel_data_header(number: u16, payload_bytes: u16) -> [u8; 4] {
    let (number, length) = (number.to_be_bytes(), payload_bytes.to_be_bytes());
    [number[0], number[1], length[0], length[1]]
}

/// Reads ChannelData from a datagram, or from a frame of a stream: the channel number (0x4000 to 0x7FFF) and where the
/// payload is. What follows it is padding: RFC 8656 §12.6 discards a datagram only if it is too short.
///
/// # Errors
/// [`ChannelDataError`].
#[inline]
pub fn parse_channel_data(datagram: &[u8]) -> Result<(u16, Range<usize>), ChannelDataError> {
    let Some((head, rest)) = datagram.split_first_chunk::<4>() else {
        return Err(ChannelDataError::TooShort { bytes: datagram.len() });
    };
    let number = u16::from_be_bytes([head[0], head[1]]);
    if !(CHANNEL_NUMBER_MIN..=CHANNEL_NUMBER_MAX_LEGACY).contains(&number) {
        return Err(ChannelDataError::Number { number });
    }
    let claimed = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if claimed > rest.len() {
        return Err(ChannelDataError::Length { claimed, actual: rest.len() });
    }
    Ok((number, 4..4 + claimed))
}
