//! As much of DER (X.690) as keys and certificates need.

pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;

/// Splits the contents of the element that `input` starts with from what follows it.
pub(crate) fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = input.split_first()?;
    if first != tag {
        return None;
    }
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7F))?;
        if digits.len() > 4 {
            return None;
        }
        (digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit)), rest)
    };
    rest.split_at_checked(length)
}

/// An unsigned integer without leading zeros.
pub(crate) fn unsigned(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut digits, rest) = element(input, INTEGER)?;
    while let Some((0, shorter)) = digits.split_first() {
        digits = shorter;
    }
    Some((digits, rest))
}
