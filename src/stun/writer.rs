//! Writing a message into a caller's buffer.

use std::net::SocketAddr;

use super::{
    AddressFamily, Class, HEADER_BYTES, Icmp, IntegrityKey, MAGIC_COOKIE, Method, TransactionId, attribute,
    header::message_type, padding, value::xor, walk::fingerprint_of,
};

/// The buffer has no room for what was to be written, or the message would be longer than its length field can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message needs at least {needed} bytes, and there is room for {room}: give a larger buffer")]
pub struct BufferTooSmall {
    /// The bytes that the message would have by then.
    pub needed: usize,
    /// The bytes that it may have.
    pub room: usize,
}

/// Writes one message, attribute by attribute.
///
/// Nothing is written by a call that fails, so the message stays whole. The order is the caller's to keep: integrity
/// after all other attributes, SHA-1 before SHA-256, FINGERPRINT last.
#[derive(Debug)]
pub struct Writer<'b> {
    buffer: &'b mut [u8],
    transaction_id: TransactionId,
    /// How much of the buffer is written; a multiple of four.
    bytes: usize,
}

impl<'b> Writer<'b> {
    /// Writes the header.
    ///
    /// # Errors
    /// [`BufferTooSmall`] below 20 bytes.
    pub fn new(
        buffer: &'b mut [u8],
        class: Class,
        method: Method,
        transaction_id: TransactionId,
    ) -> Result<Self, BufferTooSmall> {
        let room = buffer.len();
        let Some(header) = buffer.first_chunk_mut::<HEADER_BYTES>() else {
            return Err(BufferTooSmall { needed: HEADER_BYTES, room });
        };
        header[..2].copy_from_slice(&message_type(class, method).to_be_bytes());
        header[2..4].fill(0);
        header[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        header[8..].copy_from_slice(&transaction_id);
        Ok(Self { buffer, transaction_id, bytes: HEADER_BYTES })
    }

    /// Writes an attribute with this value.
    ///
    /// # Errors
    /// [`BufferTooSmall`].
    #[inline]
    pub fn attribute(&mut self, attribute: u16, value: &[u8]) -> Result<(), BufferTooSmall> {
        self.reserve(attribute, value.len())?.copy_from_slice(value);
        Ok(())
    }

    /// Writes LIFETIME, CONNECTION-ID or another number of 32 bits.
    ///
    /// # Errors
    /// [`BufferTooSmall`].
    pub fn u32(&mut self, attribute: u16, value: u32) -> Result<(), BufferTooSmall> {
        self.attribute(attribute, &value.to_be_bytes())
    }

    /// Writes XOR-MAPPED-ADDRESS, XOR-PEER-ADDRESS or XOR-RELAYED-ADDRESS (RFC 8489 §14.2).
    ///
    /// # Errors
    /// [`BufferTooSmall`].
    pub fn xor_address(&mut self, attribute: u16, address: SocketAddr) -> Result<(), BufferTooSmall> {
        self.address(attribute, xor(address, &self.transaction_id))
    }

    /// Writes MAPPED-ADDRESS, ALTERNATE-SERVER, RESPONSE-ORIGIN or OTHER-ADDRESS (RFC 8489 §14.1).
    ///
    /// # Errors
    /// [`BufferTooSmall`].
    pub fn address(&mut self, attribute: u16, address: SocketAddr) -> Result<(), BufferTooSmall> {
        let mut value = [0; 20];
        let bytes = encode_address(&mut value, address);
        self.attribute(attribute, value.get(..bytes).unwrap_or_default())
    }

    /// Writes ERROR-CODE. `code` is 300 to 699, `reason` shorter than 128 characters (RFC 8489 §14.8).
    ///
    /// # Errors
    /// [`BufferTooSmall`].
    pub fn error_code(&mut self, code: u16, reason: &str) -> Result<(), BufferTooSmall> {
        self.coded(attribute::ERROR_CODE, 0, code, reason)
    }

    /// Writes ADDRESS-ERROR-CODE (RFC 8656 §18.12).
    ///
    /// # Errors
    /// [`BufferTooSmall`].
    pub fn address_error_code(
        &mut self,
        family: AddressFamily,
        code: u16,
        reason: &str,
    ) -> Result<(), BufferTooSmall> {
        self.coded(attribute::ADDRESS_ERROR_CODE, family as u8, code, reason)
    }

    /// Writes UNKNOWN-ATTRIBUTES (RFC 8489 §14.13).
    ///
    /// # Errors
    /// [`BufferTooSmall`].
    pub fn unknown_attributes(&mut self, types: &[u16]) -> Result<(), BufferTooSmall> {
        let value = self.reserve(attribute::UNKNOWN_ATTRIBUTES, types.len().saturating_mul(2))?;
        for (place, unknown) in value.as_chunks_mut::<2>().0.iter_mut().zip(types) {
            *place = unknown.to_be_bytes();
        }
        Ok(())
    }

    /// Writes PASSWORD-ALGORITHMS, or PASSWORD-ALGORITHM if that is `attribute`, without parameters
    /// (RFC 8489 §14.11, §14.12).
    ///
    /// # Errors
    /// [`BufferTooSmall`].
    pub fn password_algorithms(&mut self, attribute: u16, algorithms: &[u16]) -> Result<(), BufferTooSmall> {
        let value = self.reserve(attribute, algorithms.len().saturating_mul(4))?;
        for (place, algorithm) in value.as_chunks_mut::<4>().0.iter_mut().zip(algorithms) {
            let [high, low] = algorithm.to_be_bytes();
            *place = [high, low, 0, 0];
        }
        Ok(())
    }

    /// Writes CHANNEL-NUMBER (RFC 8656 §18.1).
    ///
    /// # Errors
    /// [`BufferTooSmall`].
    pub fn channel_number(&mut self, number: u16) -> Result<(), BufferTooSmall> {
        self.u32(attribute::CHANNEL_NUMBER, u32::from(number) << 16)
    }

    /// Writes REQUESTED-ADDRESS-FAMILY or ADDITIONAL-ADDRESS-FAMILY (RFC 8656 §18.6, §18.11).
    ///
    /// # Errors
    /// [`BufferTooSmall`].
    pub fn address_family(&mut self, attribute: u16, family: AddressFamily) -> Result<(), BufferTooSmall> {
        self.attribute(attribute, &[family as u8, 0, 0, 0])
    }

    /// Writes REQUESTED-TRANSPORT (RFC 8656 §18.8); 17 is UDP.
    ///
    /// # Errors
    /// [`BufferTooSmall`].
    pub fn requested_transport(&mut self, protocol: u8) -> Result<(), BufferTooSmall> {
        self.attribute(attribute::REQUESTED_TRANSPORT, &[protocol, 0, 0, 0])
    }

    /// Writes EVEN-PORT (RFC 8656 §18.7).
    ///
    /// # Errors
    /// [`BufferTooSmall`].
    pub fn even_port(&mut self, reserve_next: bool) -> Result<(), BufferTooSmall> {
        self.attribute(attribute::EVEN_PORT, &[u8::from(reserve_next) << 7])
    }

    /// Writes ICMP (RFC 8656 §18.13).
    ///
    /// # Errors
    /// [`BufferTooSmall`].
    pub fn icmp(&mut self, icmp: Icmp) -> Result<(), BufferTooSmall> {
        self.attribute(attribute::ICMP, &icmp.to_bytes())
    }

    /// Writes MESSAGE-INTEGRITY over all before it (RFC 8489 §14.5).
    ///
    /// # Errors
    /// [`BufferTooSmall`].
    pub fn integrity_sha1(&mut self, key: &IntegrityKey) -> Result<(), BufferTooSmall> {
        let preceding = self.bytes;
        self.reserve(attribute::MESSAGE_INTEGRITY, 20)?;
        let hmac = key.hmac_sha1(self.buffer.get(..preceding).unwrap_or_default());
        self.overwrite(preceding + 4, &hmac);
        Ok(())
    }

    /// Writes MESSAGE-INTEGRITY-SHA256, all 32 bytes, over all before it (RFC 8489 §14.6).
    ///
    /// # Errors
    /// [`BufferTooSmall`].
    pub fn integrity_sha256(&mut self, key: &IntegrityKey) -> Result<(), BufferTooSmall> {
        let preceding = self.bytes;
        self.reserve(attribute::MESSAGE_INTEGRITY_SHA256, 32)?;
        let hmac = key.hmac_sha256(self.buffer.get(..preceding).unwrap_or_default(), 32);
        self.overwrite(preceding + 4, &hmac);
        Ok(())
    }

    /// Writes FINGERPRINT over all before it (RFC 8489 §14.7).
    ///
    /// # Errors
    /// [`BufferTooSmall`].
    pub fn fingerprint(&mut self) -> Result<(), BufferTooSmall> {
        let preceding = self.bytes;
        self.reserve(attribute::FINGERPRINT, 4)?;
        self.write_length();
        let crc = fingerprint_of(self.buffer.get(..preceding).unwrap_or_default());
        self.overwrite(preceding + 4, &crc.to_be_bytes());
        Ok(())
    }

    /// Completes the header and returns how many bytes the message has.
    #[must_use]
    pub fn finish(mut self) -> usize {
        self.write_length();
        self.bytes
    }

    /// ERROR-CODE and ADDRESS-ERROR-CODE differ in the first byte only.
    fn coded(&mut self, attribute: u16, first: u8, code: u16, reason: &str) -> Result<(), BufferTooSmall> {
        debug_assert!((300..700).contains(&code), "error code {code}");
        let [class, number] = [(code / 100) as u8 & 7, (code % 100) as u8];
        let value = self.reserve(attribute, 4 + reason.len())?;
        if let Some((head, phrase)) = value.split_first_chunk_mut::<4>() {
            *head = [first, 0, class, number];
            phrase.copy_from_slice(reason.as_bytes());
        }
        Ok(())
    }

    /// Writes an attribute's header and padding, and returns the place for its value.
    #[inline]
    fn reserve(&mut self, attribute: u16, length: usize) -> Result<&mut [u8], BufferTooSmall> {
        let end = self.bytes.saturating_add(4).saturating_add(length);
        let needed = end.saturating_add(padding(length));
        let room = self.buffer.len().min(HEADER_BYTES + 0xFFFC);
        let too_small = BufferTooSmall { needed, room };
        if needed > room {
            return Err(too_small);
        }
        let place = self.buffer.get_mut(self.bytes..needed).ok_or(too_small)?;
        let (head, place) = place.split_first_chunk_mut::<4>().ok_or(too_small)?;
        let (value, zeros) = place.split_at_mut_checked(length).ok_or(too_small)?;
        head[..2].copy_from_slice(&attribute.to_be_bytes());
        head[2..].copy_from_slice(&(length as u16).to_be_bytes());
        zeros.fill(0);
        self.bytes = needed;
        Ok(value)
    }

    fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.buffer.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn write_length(&mut self) {
        let length = (self.bytes - HEADER_BYTES) as u16;
        self.overwrite(2, &length.to_be_bytes());
    }
}

/// Writes the value of an address attribute; returns its length, 8 or 20.
#[inline]
pub(super) fn encode_address(value: &mut [u8; 20], address: SocketAddr) -> usize {
    value[0] = 0;
    value[1] = AddressFamily::of(address) as u8;
    value[2..4].copy_from_slice(&address.port().to_be_bytes());
    match address {
        SocketAddr::V4(v4) => {
            value[4..8].copy_from_slice(&v4.ip().octets());
            8
        }
        SocketAddr::V6(v6) => {
            value[4..20].copy_from_slice(&v6.ip().octets());
            20
        }
    }
}
