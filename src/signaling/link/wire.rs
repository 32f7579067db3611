//! Numbers, names and texts as bytes. What is read comes from another node, but is believed only as far as it fits.

use bytes::Bytes;

/// Appends to a buffer.
#[derive(Debug, Default)]
pub(in crate::signaling) struct Writer {
    bytes: Vec<u8>,
}

/// Takes from the front of what came. Every method is `None` when that is not there, or beyond its bound.
#[derive(Clone, Copy, Debug)]
pub(in crate::signaling) struct Reader<'a> {
    rest: &'a [u8],
}

/// Seven bits a byte: so many bytes has the longest number.
const NUMBER_BYTES_MAX: u32 = 10;

impl Writer {
    pub(in crate::signaling) fn byte(&mut self, byte: u8) -> &mut Self {
        self.bytes.push(byte);
        self
    }

    pub(in crate::signaling) fn flag(&mut self, flag: bool) -> &mut Self {
        self.byte(u8::from(flag))
    }

    /// Seven bits a byte, the lowest first.
    pub(in crate::signaling) fn number(&mut self, mut number: u64) -> &mut Self {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8)
    }

    pub(in crate::signaling) fn id(&mut self, id: u128) -> &mut Self {
        self.bytes.extend_from_slice(&id.to_be_bytes());
        self
    }

    pub(in crate::signaling) fn blob(&mut self, blob: &[u8]) -> &mut Self {
        self.number(blob.len() as u64);
        self.bytes.extend_from_slice(blob);
        self
    }

    pub(in crate::signaling) fn text(&mut self, text: &str) -> &mut Self {
        self.blob(text.as_bytes())
    }

    /// Nothing, or one thing.
    pub(in crate::signaling) fn option<T>(
        &mut self,
        option: Option<T>,
        write: impl FnOnce(&mut Self, T),
    ) -> &mut Self {
        self.flag(option.is_some());
        if let Some(some) = option {
            write(self, some);
        }
        self
    }

    /// How many, and each.
    pub(in crate::signaling) fn list<T>(
        &mut self,
        list: impl ExactSizeIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        self.number(list.len() as u64);
        list.for_each(|item| write(self, item));
        self
    }

    pub(in crate::signaling) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(in crate::signaling) fn into_bytes(self) -> Bytes {
        self.bytes.into()
    }
}

impl<'a> Reader<'a> {
    pub(in crate::signaling) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(in crate::signaling) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are not read yet.
    pub(in crate::signaling) const fn left(&self) -> usize {
        self.rest.len()
    }

    pub(in crate::signaling) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    pub(in crate::signaling) fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            2.. => None,
        }
    }

    pub(in crate::signaling) fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for place in 0..NUMBER_BYTES_MAX {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if part.leading_zeros() < 7 * place {
                return None;
            }
            number |= part << (7 * place);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(in crate::signaling) fn small<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(self.number()?).ok()
    }

    pub(in crate::signaling) fn id(&mut self) -> Option<u128> {
        let (first, rest) = self.rest.split_first_chunk::<16>()?;
        self.rest = rest;
        Some(u128::from_be_bytes(*first))
    }

    pub(in crate::signaling) fn blob(&mut self, bytes_max: usize) -> Option<&'a [u8]> {
        let length: usize = self.small()?;
        if length > bytes_max {
            return None;
        }
        let (blob, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(blob)
    }

    pub(in crate::signaling) fn text(&mut self, bytes_max: usize) -> Option<&'a str> {
        std::str::from_utf8(self.blob(bytes_max)?).ok()
    }

    /// Bytes of their own: what came is not kept for the sake of a part of it.
    pub(in crate::signaling) fn bytes(&mut self, bytes_max: usize) -> Option<Bytes> {
        self.blob(bytes_max).map(Bytes::copy_from_slice)
    }

    pub(in crate::signaling) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        Some(if self.flag()? { Some(read(self)?) } else { None })
    }

    pub(in crate::signaling) fn list<T>(
        &mut self,
        max: usize,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count: usize = self.small()?;
        // Each takes a byte at least: nothing is reserved for what cannot come.
        if count > max || count > self.rest.len() {
            return None;
        }
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            list.push(read(self)?);
        }
        Some(list)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_is_read_as_it_is_written(number: u64) {
            let mut writer = Writer::default();
            writer.number(number);
            let mut reader = Reader::new(writer.as_bytes());
            prop_assert_eq!(reader.number(), Some(number));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn no_garbage_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes);
            while !reader.is_empty() {
                if reader.number().is_none() || reader.text(8).is_none() {
                    break;
                }
                drop(reader.list(1 << 40, |reader| reader.option(Reader::id)));
            }
        }
    }

    #[test]
    fn what_is_beyond_a_bound_is_not_read() {
        let mut writer = Writer::default();
        writer.text("abcd").list([1, 2, 3].into_iter(), |writer, number| {
            writer.number(number);
        });
        assert_eq!(Reader::new(writer.as_bytes()).text(3), None);
        let mut reader = Reader::new(writer.as_bytes());
        assert_eq!(reader.text(4), Some("abcd"));
        assert_eq!(reader.list(2, Reader::number), None);
        assert_eq!(Reader::new(&[0xff; 11]).number(), None);
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).number(), None);
    }
}
