//! The wire format of STUN and TURN (RFC 8489, RFC 8656): borrowed views that are validated once, and writers into a
//! caller's buffer.
//!
//! Nothing here allocates memory, does I/O, reads a clock or draws randomness. Whatever comes from outside is taken as
//! hostile: every function is total, and a malformed input is a typed error.
//!
//! | to | use |
//! |---|---|
//! | tell what a datagram or the start of a stream is | [`kind`] |
//! | cut a byte stream into messages | [`next_frame`] |
//! | read a message | [`Message::parse`], then [`Message::find`] and the decoders of [`value`] |
//! | read a Send indication on the way to a peer | [`SendIndication::parse`] |
//! | check or make integrity | [`IntegrityKey`], [`long_term_key_md5`], [`long_term_key_sha256`], [`userhash`] |
//! | write a message | [`Writer`] |
//! | write what goes before a peer's payload | [`channel_data_header`], [`data_indication_header`] |

pub mod attribute;
mod channel_data;
mod demultiplex;
mod frame;
mod header;
mod indication;
mod integrity;
mod long_term;
mod message;
pub mod value;
mod walk;
mod writer;

pub use attribute::is_comprehension_required;
pub use channel_data::{
    CHANNEL_NUMBER_MAX, CHANNEL_NUMBER_MAX_LEGACY, CHANNEL_NUMBER_MIN, ChannelDataError, channel_data_header,
    parse_channel_data,
};
pub use demultiplex::{Kind, kind};
pub use frame::{FRAME_BYTES_MAX, Frame, FrameError, next_frame};
pub use header::{Class, HEADER_BYTES, MAGIC_COOKIE, Method, TransactionId};
pub use indication::{
    DATA_INDICATION_HEADER_MAX, SendIndication, SendIndicationError, data_indication_header,
    is_send_indication,
};
pub use integrity::{IntegrityError, IntegrityKey};
pub use long_term::{long_term_key_md5, long_term_key_sha256, userhash};
pub use message::{Attributes, Integrity, Message, UnknownAttributes};
pub use value::{
    AddressFamily, AttributeError, Icmp, address, address_error_code, address_family, channel_number,
    error_code, even_port, icmp, password_algorithms, requested_transport, reservation_token, text,
    u32_value, unknown_attributes, xor_address,
};
pub use walk::ParseError;
pub use writer::{BufferTooSmall, Writer};

/// The number of zero bytes that bring `bytes` to a multiple of four (RFC 8489 §14, RFC 8656 §12.5); 0 to 3.
#[must_use]
pub const fn padding(bytes: usize) -> usize {
    bytes.wrapping_neg() & 3
}

#[cfg(test)]
mod tests {
    use super::padding;

    #[test]
    fn padding_completes_to_a_multiple_of_four() {
        assert_eq!([0, 1, 2, 3, 4, 5, 65_535].map(padding), [0, 3, 2, 1, 0, 3, 1]);
        assert_eq!(padding(usize::MAX), 1);
    }
}
