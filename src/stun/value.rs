//! Decoders of attribute values. All are total: a malformed value is an error, never a panic.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{MAGIC_COOKIE, TransactionId, padding};

/// Why the value of an attribute can't be used. A server answers a request with 400 (RFC 8489 §6.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttributeError {
    /// The value is shorter or longer than the attribute allows.
    #[error("the value has {bytes} bytes, which this attribute does not allow")]
    Length {
        /// How many there are.
        bytes: usize,
    },
    /// An address family other than IPv4 (1) and IPv6 (2). TURN has the code 440 for it.
    #[error("address family {family:#04x} is neither IPv4 (0x01) nor IPv6 (0x02)")]
    Family {
        /// What is there.
        family: u8,
    },
    /// The text is not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// The class of an error code is not 3 to 6, or its number above 99.
    #[error("error class {class} with number {number} is not between 300 and 699")]
    ErrorCode {
        /// The hundreds.
        class: u8,
        /// The rest.
        number: u8,
    },
}

/// An address family as the attributes of RFC 8656 name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum AddressFamily {
    /// 0x01.
    Ipv4 = 1,
    /// 0x02.
    Ipv6 = 2,
}

impl AddressFamily {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(_) => Self::Ipv4,
            SocketAddr::V6(_) => Self::Ipv6,
        }
    }

    const fn from_byte(byte: u8) -> Result<Self, AttributeError> {
        match byte {
            1 => Ok(Self::Ipv4),
            2 => Ok(Self::Ipv6),
            family => Err(AttributeError::Family { family }),
        }
    }
}

/// The value of ICMP (RFC 8656 §18.13): type in 7 bits, code in 9, as the RFC draws them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// ICMP or ICMPv6 type, below 128.
    pub kind: u8,
    /// Its code, below 512.
    pub code: u16,
    /// The MTU of "packet too big"; otherwise zero.
    pub data: u32,
}

impl Icmp {
    /// The eight bytes of the value.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        let kind_and_code = ((self.kind as u16 & 0x7F) << 9 | (self.code & 0x1FF)).to_be_bytes();
        let data = self.data.to_be_bytes();
        [0, 0, kind_and_code[0], kind_and_code[1], data[0], data[1], data[2], data[3]]
    }
}

/// Decodes XOR-MAPPED-ADDRESS, XOR-PEER-ADDRESS or XOR-RELAYED-ADDRESS (RFC 8489 §14.2).
///
/// # Errors
/// [`AttributeError::Length`] and [`AttributeError::Family`].
#[inline]
pub fn xor_address(value: &[u8], transaction_id: &TransactionId) -> Result<SocketAddr, AttributeError> {
    Ok(xor(address(value)?, transaction_id))
}

/// Decodes MAPPED-ADDRESS, ALTERNATE-SERVER, RESPONSE-ORIGIN or OTHER-ADDRESS (RFC 8489 §14.1).
///
/// # Errors
/// [`AttributeError::Length`] and [`AttributeError::Family`].
#[inline]
pub fn address(value: &[u8]) -> Result<SocketAddr, AttributeError> {
    let wrong_length = AttributeError::Length { bytes: value.len() };
    let Some((head, rest)) = value.split_first_chunk::<4>() else { return Err(wrong_length) };
    let port = u16::from_be_bytes([head[2], head[3]]);
    match AddressFamily::from_byte(head[1])? {
        AddressFamily::Ipv4 => {
            let octets = <[u8; 4]>::try_from(rest).map_err(|_| wrong_length)?;
            Ok(SocketAddr::from((Ipv4Addr::from(octets), port)))
        }
        AddressFamily::Ipv6 => {
            let octets = <[u8; 16]>::try_from(rest).map_err(|_| wrong_length)?;
            Ok(SocketAddr::from((Ipv6Addr::from(octets), port)))
        }
    }
}

/// Decodes LIFETIME (in seconds), CONNECTION-ID and other numbers of 32 bits.
///
/// # Errors
/// [`AttributeError::Length`].
pub fn u32_value(value: &[u8]) -> Result<u32, AttributeError> {
    exactly(value).map(u32::from_be_bytes)
}

/// Decodes ERROR-CODE into code (300 to 699) and reason phrase (RFC 8489 §14.8).
///
/// # Errors
/// [`AttributeError::Length`], [`AttributeError::ErrorCode`], [`AttributeError::NotUtf8`].
pub fn error_code(value: &[u8]) -> Result<(u16, &str), AttributeError> {
    let Some((head, reason)) = value.split_first_chunk::<4>() else {
        return Err(AttributeError::Length { bytes: value.len() });
    };
    let (class, number) = (head[2] & 0x07, head[3]);
    if !(3..=6).contains(&class) || number > 99 {
        return Err(AttributeError::ErrorCode { class, number });
    }
    Ok((u16::from(class) * 100 + u16::from(number), text(reason, TEXT_BYTES_MAX)?))
}

/// How long REALM, NONCE, SOFTWARE and reason phrases may be, in bytes, for a receiver (RFC 8489 §14.8 to §14.14).
pub const TEXT_BYTES_MAX: usize = 763;

/// How long USERNAME may be, in bytes, for a receiver: senders stop at 508, those of RFC 5389 did not
/// (RFC 8489 §14.3).
pub const USERNAME_BYTES_MAX: usize = 763;

/// Decodes text of at most `max_bytes`: USERNAME, REALM, NONCE, SOFTWARE.
///
/// # Errors
/// [`AttributeError::Length`] and [`AttributeError::NotUtf8`].
pub fn text(value: &[u8], max_bytes: usize) -> Result<&str, AttributeError> {
    if value.len() > max_bytes {
        return Err(AttributeError::Length { bytes: value.len() });
    }
    std::str::from_utf8(value).map_err(|_| AttributeError::NotUtf8)
}

/// Decodes PASSWORD-ALGORITHMS, or PASSWORD-ALGORITHM with its one entry, into algorithm numbers (1 is MD5, 2 is
/// SHA-256) and their parameters (RFC 8489 §14.11). What is cut short is left out.
pub fn password_algorithms(value: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = value;
    std::iter::from_fn(move || {
        let (head, tail) = rest.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let (parameters, tail) = tail.split_at_checked(length)?;
        rest = tail.get(padding(length)..).unwrap_or_default();
        Some((u16::from_be_bytes([head[0], head[1]]), parameters))
    })
}

/// Decodes UNKNOWN-ATTRIBUTES into types (RFC 8489 §14.13). An odd byte at the end is left out.
pub fn unknown_attributes(value: &[u8]) -> impl Iterator<Item = u16> {
    value.as_chunks::<2>().0.iter().copied().map(u16::from_be_bytes)
}

/// Decodes CHANNEL-NUMBER (RFC 8656 §18.1). Whether the number is in the range is for the caller to judge.
///
/// # Errors
/// [`AttributeError::Length`].
pub fn channel_number(value: &[u8]) -> Result<u16, AttributeError> {
    exactly(value).map(|[high, low, _, _]| u16::from_be_bytes([high, low]))
}

/// Decodes REQUESTED-ADDRESS-FAMILY or ADDITIONAL-ADDRESS-FAMILY (RFC 8656 §18.6, §18.11).
///
/// # Errors
/// [`AttributeError::Length`]; [`AttributeError::Family`], which TURN answers with 440.
pub fn address_family(value: &[u8]) -> Result<AddressFamily, AttributeError> {
    exactly(value).and_then(|[family, _, _, _]| AddressFamily::from_byte(family))
}

/// Decodes EVEN-PORT: whether the next port is to be reserved too (RFC 8656 §18.7).
///
/// # Errors
/// [`AttributeError::Length`].
pub fn even_port(value: &[u8]) -> Result<bool, AttributeError> {
    exactly(value).map(|[flags]| flags & 0x80 != 0)
}

/// Decodes REQUESTED-TRANSPORT: an IP protocol number, 17 for UDP (RFC 8656 §18.8).
///
/// # Errors
/// [`AttributeError::Length`].
pub fn requested_transport(value: &[u8]) -> Result<u8, AttributeError> {
    exactly(value).map(|[protocol, _, _, _]| protocol)
}

/// Decodes RESERVATION-TOKEN (RFC 8656 §18.10).
///
/// # Errors
/// [`AttributeError::Length`].
pub fn reservation_token(value: &[u8]) -> Result<[u8; 8], AttributeError> {
    exactly(value)
}

/// Decodes ADDRESS-ERROR-CODE (RFC 8656 §18.12) into family, code and reason phrase.
///
/// # Errors
/// [`AttributeError::Family`] and those of [`error_code`].
pub fn address_error_code(value: &[u8]) -> Result<(AddressFamily, u16, &str), AttributeError> {
    let (code, reason) = error_code(value)?;
    let family = AddressFamily::from_byte(value.first().copied().unwrap_or_default())?;
    Ok((family, code, reason))
}

/// Decodes ICMP (RFC 8656 §18.13).
///
/// # Errors
/// [`AttributeError::Length`].
pub fn icmp(value: &[u8]) -> Result<Icmp, AttributeError> {
    exactly(value).map(|[_, _, high, low, d0, d1, d2, d3]| Icmp {
        kind: high >> 1,
        code: u16::from_be_bytes([high & 1, low]),
        data: u32::from_be_bytes([d0, d1, d2, d3]),
    })
}

/// Hides an address from rewriting middleboxes, or shows it again (RFC 8489 §14.2): the port and an IPv4 address are
/// combined with the magic cookie, an IPv6 address with cookie and transaction id.
#[inline]
pub(super) fn xor(address: SocketAddr, transaction_id: &TransactionId) -> SocketAddr {
    let port = address.port() ^ (MAGIC_COOKIE >> 16) as u16;
    match address {
        SocketAddr::V4(v4) => {
            let ip = u32::from(*v4.ip()) ^ MAGIC_COOKIE;
            SocketAddr::from((Ipv4Addr::from(ip), port))
        }
        SocketAddr::V6(v6) => {
            let mut mask = [0; 16];
            mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
            mask[4..].copy_from_slice(transaction_id);
            let ip = u128::from(*v6.ip()) ^ u128::from_be_bytes(mask);
            SocketAddr::from((Ipv6Addr::from(ip), port))
        }
    }
}

fn exactly<const BYTES: usize>(value: &[u8]) -> Result<[u8; BYTES], AttributeError> {
    value.try_into().map_err(|_| AttributeError::Length { bytes: value.len() })
}
