//! What a datagram, or the start of a stream, is by its first byte (RFC 7983 §7).

/// What the first byte says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 0 to 3: a STUN message.
    Stun,
    /// 64 to 79: ChannelData; and up to 127, for the channel numbers of RFC 5766. Whether those are served is for the
    /// caller to decide.
    ChannelData,
    /// 20 to 63: a TLS or DTLS record. A handshake begins with 22.
    Tls,
    /// Anything else.
    Other,
}

/// Tells what starts with `first_byte`.
#[must_use]
#[inline]
pub const fn kind(first_byte: u8) -> Kind {
    match first_byte {
        0..=3 => Kind::Stun,
        20..=63 => Kind::Tls,
        64..=127 => Kind::ChannelData,
        4..=19 | 128..=255 => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, kind};

    #[test]
    fn every_first_byte_has_the_kind_of_rfc_7983() {
        for byte in 0..=255_u8 {
            let expected = if byte < 4 {
                Kind::Stun
            } else if (20..64).contains(&byte) {
                Kind::Tls
            } else if (64..128).contains(&byte) {
                Kind::ChannelData
            } else {
                Kind::Other
            };
            assert_eq!(kind(byte), expected, "first byte {byte}");
        }
    }
}
