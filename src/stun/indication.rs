//! The two indications that carry payload (RFC 8656 §11).

use std::{net::SocketAddr, ops::Range};

use super::{
    AttributeError, Class, MAGIC_COOKIE, Method, ParseError, TransactionId, attribute,
    header::message_type,
    is_comprehension_required, padding,
    value::{xor, xor_address},
    walk::walk,
    writer::encode_address,
};

const SEND_INDICATION: u16 = message_type(Class::Indication, Method::SEND);
const DATA_INDICATION: u16 = message_type(Class::Indication, Method::DATA);

/// The most that [`data_indication_header`] writes: 48 bytes with an IPv6 peer, 36 with an IPv4 one.
pub const DATA_INDICATION_HEADER_MAX: usize = 48;

/// Whether a datagram has the message type of a Send indication.
#[must_use]
#[inline]
pub fn is_send_indication(datagram: &[u8]) -> bool {
    datagram.first_chunk::<2>() == Some(&SEND_INDICATION.to_be_bytes())
}

/// A Send indication (RFC 8656 §11.1), validated as [`super::Message::parse`] does and taken apart in the same walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendIndication {
    /// XOR-PEER-ADDRESS.
    pub peer: SocketAddr,
    /// Where the value of DATA is in the datagram. It may be empty.
    pub payload: Range<usize>,
    /// Whether DONT-FRAGMENT is there.
    pub dont_fragment: bool,
}

/// Why a Send indication is dropped (RFC 8656 §11.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendIndicationError {
    /// Not a well-formed message.
    #[error(transparent)]
    Malformed(#[from] ParseError),
    /// Another class or method.
    #[error("the message type is {message_type:#06x}, not that of a Send indication")]
    OtherMessage {
        /// What is there.
        message_type: u16,
    },
    /// An unknown comprehension-required attribute (RFC 8489 §6.3.2).
    #[error("attribute {attribute:#06x} is not understood")]
    Unknown {
        /// Which.
        attribute: u16,
    },
    /// XOR-PEER-ADDRESS is missing.
    #[error("XOR-PEER-ADDRESS is missing")]
    NoPeer,
    /// XOR-PEER-ADDRESS can't be decoded.
    #[error("XOR-PEER-ADDRESS: {0}")]
    Peer(AttributeError),
    /// DATA is missing.
    #[error("DATA is missing")]
    NoData,
}

impl SendIndication {
    /// Reads a Send indication. Of several equal attributes the first counts; integrity attributes are not checked,
    /// since indications are not authenticated with long-term credentials (RFC 8489 §9.2).
    ///
    /// # Errors
    /// [`SendIndicationError`]; the indication is dropped.
    #[inline]
    pub fn parse(datagram: &[u8]) -> Result<Self, SendIndicationError> {
        let mut peer = None;
        let mut payload = None;
        let mut dont_fragment = false;
        let mut unknown = None;
        walk(datagram, |found, offset, value| match found {
            attribute::XOR_PEER_ADDRESS => {
                peer.get_or_insert(value);
            }
            attribute::DATA => {
                payload.get_or_insert(offset..offset + value.len());
            }
            attribute::DONT_FRAGMENT => dont_fragment = true,
            _ if !is_comprehension_required(found) || is_authentication(found) => {}
            _ => {
                unknown.get_or_insert(found);
            }
        })?;
        let (Some(&message_type), Some(transaction_id)) =
            (datagram.first_chunk::<2>(), datagram.get(8..).and_then(<[u8]>::first_chunk))
        else {
            return Err(ParseError::TooShort { bytes: datagram.len() }.into());
        };
        let message_type = u16::from_be_bytes(message_type);
        if message_type != SEND_INDICATION {
            return Err(SendIndicationError::OtherMessage { message_type });
        }
        if let Some(attribute) = unknown {
            return Err(SendIndicationError::Unknown { attribute });
        }
        let peer = xor_address(peer.ok_or(SendIndicationError::NoPeer)?, transaction_id)
            .map_err(SendIndicationError::Peer)?;
        Ok(Self { peer, payload: payload.ok_or(SendIndicationError::NoData)?, dont_fragment })
    }
}

/// What clients may add to any message to authenticate it.
const fn is_authentication(attribute: u16) -> bool {
    matches!(
        attribute,
        attribute::USERNAME
            | attribute::USERHASH
            | attribute::REALM
            | attribute::NONCE
            | attribute::PASSWORD_ALGORITHM
            | attribute::MESSAGE_INTEGRITY
            | attribute::MESSAGE_INTEGRITY_SHA256
    )
}

/// Writes a Data indication up to, not including, the payload: header, XOR-PEER-ADDRESS and the header of DATA
/// (RFC 8656 §11.3). Returns how many bytes that is: 36 or 48. After it go the payload and [`padding`] zero bytes,
/// on datagrams as well.
///
/// Returns 0, and nothing is to be sent, if a message can't be that large: above 65,516 bytes of payload from an IPv4
/// peer, 65,504 from an IPv6 one. Only the latter can happen on a network, and only in fragments.
#[must_use]
#[inline]
pub fn data_indication_header(
    buffer: &mut [u8; DATA_INDICATION_HEADER_MAX],
    peer: SocketAddr,
    transaction_id: &TransactionId,
    payload_bytes: u16,
) -> usize {
    let mut address = [0; 20];
    let address_bytes = encode_address(&mut address, xor(peer, transaction_id));
    let payload = usize::from(payload_bytes);
    let Ok(length) = u16::try_from(8 + address_bytes + payload + padding(payload)) else { return 0 };
    buffer[..2].copy_from_slice(&DATA_INDICATION.to_be_bytes());
    buffer[2..4].copy_from_slice(&length.to_be_bytes());
    buffer[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    buffer[8..20].copy_from_slice(transaction_id);
    buffer[20..22].copy_from_slice(&attribute::XOR_PEER_ADDRESS.to_be_bytes());
    buffer[22..24].copy_from_slice(&(address_bytes as u16).to_be_bytes());
    buffer[24..44].copy_from_slice(&address);
    let data = 24 + address_bytes;
    if let Some(place) = buffer.get_mut(data..data + 4) {
        place[..2].copy_from_slice(&attribute::DATA.to_be_bytes());
        place[2..].copy_from_slice(&payload_bytes.to_be_bytes());
    }
    data + 4
}
