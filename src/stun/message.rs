//! A message that has been validated.

use std::fmt;

use super::{
    Class, IntegrityError, IntegrityKey, Method, ParseError, TransactionId, attribute,
    header::{class_of, method_of},
    is_comprehension_required, padding,
    walk::{Landmarks, walk},
};

/// A STUN message: borrowed bytes that have been validated once.
///
/// Header, lengths, padding and FINGERPRINT are known to be right. Integrity is not: call [`Message::check_sha1`] or
/// [`Message::check_sha256`] with the key that belongs to the sender. Attributes that follow MESSAGE-INTEGRITY are not
/// protected by it and are invisible, except MESSAGE-INTEGRITY-SHA256 and FINGERPRINT; behind MESSAGE-INTEGRITY-SHA256
/// only FINGERPRINT is seen (RFC 8489 §14.5, §14.6).
#[derive(Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    transaction_id: TransactionId,
    message_type: u16,
    landmarks: Landmarks,
}

/// Which integrity attributes a message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Integrity {
    /// Neither.
    None,
    /// MESSAGE-INTEGRITY.
    Sha1,
    /// MESSAGE-INTEGRITY-SHA256.
    Sha256,
    /// Both, MESSAGE-INTEGRITY first.
    Both,
}

impl<'a> Message<'a> {
    /// Validates a whole datagram, or a whole frame of a stream, as a message.
    ///
    /// # Errors
    /// A [`ParseError`] says what is wrong; such a message is discarded without an answer (RFC 8489 §6.3).
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let landmarks = walk(bytes, |_, _, _| ())?;
        // The walk has seen a whole header.
        let Some(header) = bytes.first_chunk::<20>() else {
            return Err(ParseError::TooShort { bytes: bytes.len() });
        };
        let mut transaction_id = [0; 12];
        transaction_id.copy_from_slice(&header[8..]);
        Ok(Self {
            bytes,
            transaction_id,
            message_type: u16::from_be_bytes([header[0], header[1]]),
            landmarks,
        })
    }

    /// Request, indication, success or error.
    #[must_use]
    #[inline]
    pub const fn class(&self) -> Class {
        class_of(self.message_type)
    }

    /// What it is about.
    #[must_use]
    #[inline]
    pub const fn method(&self) -> Method {
        method_of(self.message_type)
    }

    /// Which transaction it belongs to.
    #[must_use]
    #[inline]
    pub const fn transaction_id(&self) -> TransactionId {
        self.transaction_id
    }

    /// The whole message.
    #[must_use]
    #[inline]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The visible attributes in order, as type and value without padding.
    #[must_use]
    #[inline]
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes { rest: self.bytes.get(20..).unwrap_or_default(), seen: Landmarks::default() }
    }

    /// The value of the first visible attribute of this type; later ones count only where an RFC says so
    /// (RFC 8489 §14).
    #[must_use]
    #[inline]
    pub fn find(&self, attribute: u16) -> Option<&'a [u8]> {
        self.attributes().find_map(|(found, value)| (found == attribute).then_some(value))
    }

    /// Whether there was a FINGERPRINT; it was right.
    #[must_use]
    #[inline]
    pub const fn has_fingerprint(&self) -> bool {
        self.landmarks.fingerprint != 0
    }

    /// Which integrity attributes there are; says nothing about their being right.
    #[must_use]
    #[inline]
    pub const fn integrity(&self) -> Integrity {
        match (self.landmarks.sha1 != 0, self.landmarks.sha256 != 0) {
            (false, false) => Integrity::None,
            (true, false) => Integrity::Sha1,
            (false, true) => Integrity::Sha256,
            (true, true) => Integrity::Both,
        }
    }

    /// Checks MESSAGE-INTEGRITY in constant time (RFC 8489 §14.5).
    ///
    /// # Errors
    /// [`IntegrityError`]; a server answers with 401 (RFC 8489 §9.2.4).
    pub fn check_sha1(&self, key: &IntegrityKey) -> Result<(), IntegrityError> {
        let (preceding, value) = self.integrity_at(self.landmarks.sha1)?;
        key.verify_sha1(preceding, value)
    }

    /// Checks MESSAGE-INTEGRITY-SHA256 in constant time; it may be cut to 16 bytes or more (RFC 8489 §14.6).
    ///
    /// # Errors
    /// [`IntegrityError`]; a server answers with 401 (RFC 8489 §9.2.4).
    pub fn check_sha256(&self, key: &IntegrityKey) -> Result<(), IntegrityError> {
        let (preceding, value) = self.integrity_at(self.landmarks.sha256)?;
        key.verify_sha256(preceding, value)
    }

    /// The visible comprehension-required attributes that `known` does not accept, each once, at most 16; they go
    /// into the UNKNOWN-ATTRIBUTES of a 420 (RFC 8489 §6.3.1).
    #[must_use]
    pub fn unknown_required(&self, known: impl Fn(u16) -> bool) -> UnknownAttributes {
        let mut unknown = UnknownAttributes { types: [0; UnknownAttributes::MAX], count: 0 };
        for (attribute, _) in self.attributes() {
            if is_comprehension_required(attribute) && !known(attribute) {
                unknown.add(attribute);
            }
        }
        unknown
    }

    /// What precedes the integrity attribute at `offset`, and its value.
    fn integrity_at(&self, offset: u32) -> Result<(&'a [u8], &'a [u8]), IntegrityError> {
        if offset == 0 {
            return Err(IntegrityError::Missing);
        }
        let (preceding, rest) =
            self.bytes.split_at_checked(offset as usize).ok_or(IntegrityError::Missing)?;
        let (_, value) = split_attribute(rest).ok_or(IntegrityError::Missing)?.0;
        Ok((preceding, value))
    }
}

/// Shows no attribute values: they name users and addresses.
impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("class", &self.class())
            .field("method", &self.method())
            .field("transaction_id", &self.transaction_id)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

/// The visible attributes of a message, in order; see [`Message::attributes`].
#[derive(Clone)]
pub struct Attributes<'a> {
    rest: &'a [u8],
    seen: Landmarks,
}

/// Shows types and lengths, no values.
impl fmt::Debug for Attributes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.clone().map(|(attribute, value)| (attribute, value.len()))).finish()
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (found, rest) = split_attribute(self.rest)?;
            self.rest = rest;
            if !self.seen.shows(found.0) {
                continue;
            }
            match found.0 {
                attribute::MESSAGE_INTEGRITY => self.seen.sha1 = 1,
                attribute::MESSAGE_INTEGRITY_SHA256 => self.seen.sha256 = 1,
                _ => {}
            }
            return Some(found);
        }
    }
}

/// The unknown comprehension-required attributes of a message; see [`Message::unknown_required`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UnknownAttributes {
    types: [u16; Self::MAX],
    count: usize,
}

impl UnknownAttributes {
    /// More than this many are not listed: an answer never grows with what a stranger sends.
    pub const MAX: usize = 16;

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Their types, in the order of the message.
    #[must_use]
    pub fn as_slice(&self) -> &[u16] {
        self.types.get(..self.count).unwrap_or_default()
    }

    fn add(&mut self, attribute: u16) {
        if self.as_slice().contains(&attribute) {
            return;
        }
        if let Some(free) = self.types.get_mut(self.count) {
            *free = attribute;
            self.count += 1;
        }
    }
}

impl fmt::Debug for UnknownAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

/// Type and value.
type Attribute<'a> = (u16, &'a [u8]);

/// Takes one attribute off the front.
#[inline(always)]
fn split_attribute(bytes: &[u8]) -> Option<(Attribute<'_>, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let (value, rest) = rest.split_at_checked(length)?;
    Some(((u16::from_be_bytes([head[0], head[1]]), value), rest.get(padding(length)..).unwrap_or_default()))
}
