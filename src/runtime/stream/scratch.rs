//! The buffers that all connections of a shard share for the length of one turn.

use crate::stun::FRAME_BYTES_MAX;

/// How much one read may bring.
const READ_BYTES: usize = 16 * 1024;

/// The most that may wait for the rest of a TLS record or handshake message (rustls refuses larger ones).
const RECORD_BYTES: usize = 64 * 1024 + 1024;

/// Room for the largest message in TLS records.
const ENCRYPTED_BYTES: usize = FRAME_BYTES_MAX + 1024;

/// The buffers that all connections of a shard share for the length of one turn.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Messages received.
    pub(crate) plain: Buffer,
    /// TLS records received.
    pub(crate) wire: Buffer,
    /// Queued bytes in one piece.
    joined: Box<[u8]>,
    /// TLS records to send.
    encrypted: Box<[u8]>,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self {
            plain: Buffer::new(FRAME_BYTES_MAX + RECORD_BYTES + READ_BYTES),
            wire: Buffer::new(RECORD_BYTES + READ_BYTES),
            joined: vec![0; FRAME_BYTES_MAX].into_boxed_slice(),
            encrypted: vec![0; ENCRYPTED_BYTES].into_boxed_slice(),
        }
    }

    /// Where queued bytes are joined, and where they are encrypted to.
    pub(crate) fn encryption(&mut self) -> (&mut [u8], &mut [u8]) {
        (&mut self.joined, &mut self.encrypted)
    }
}

/// A buffer that is filled at its end and emptied from its start.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new(capacity: usize) -> Self {
        Self { bytes: vec![0; capacity].into_boxed_slice(), start: 0, end: 0 }
    }

    /// Starts a turn with what an earlier one left over.
    pub(crate) fn load(&mut self, left_over: &[u8]) {
        self.start = 0;
        self.end = 0;
        self.append(left_over);
    }

    /// Ends a turn: what was not used is kept in `left_over`, which holds no memory if there is nothing to keep.
    pub(crate) fn save(&mut self, left_over: &mut Vec<u8>) {
        let unused = &self.bytes[self.start..self.end];
        if unused.is_empty() {
            *left_over = Vec::new();
        } else {
            left_over.clear();
            left_over.reserve_exact(unused.len());
            left_over.extend_from_slice(unused);
        }
        self.start = 0;
        self.end = 0;
    }

    /// What was filled in and not used yet.
    pub(crate) fn unused(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The same, for decryption in place.
    pub(crate) fn unused_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Marks the first `bytes` of [`Self::unused`] as used.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
    }

    /// Where one read may put what it brings; tell [`Self::fill`] how much that was.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let end = (self.end + READ_BYTES).min(self.bytes.len());
        &mut self.bytes[self.end..end]
    }

    /// The first `bytes` of [`Self::room`] are filled.
    pub(crate) fn fill(&mut self, bytes: usize) {
        self.end = (self.end + bytes).min(self.bytes.len());
    }

    /// Copies `bytes` to the end; false if they do not fit.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> bool {
        let Some(room) = self.bytes.get_mut(self.end..self.end + bytes.len()) else { return false };
        room.copy_from_slice(bytes);
        self.end += bytes.len();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_over_is_kept_and_nothing_else() {
        let mut buffer = Buffer::new(64);
        let mut kept = Vec::new();
        buffer.load(&kept);
        assert!(buffer.append(b"abcdef"));
        buffer.consume(4);
        buffer.save(&mut kept);
        assert_eq!(kept, b"ef");

        buffer.load(&kept);
        buffer.room()[..2].copy_from_slice(b"gh");
        buffer.fill(2);
        assert_eq!(buffer.unused(), b"efgh");
        buffer.consume(100);
        buffer.save(&mut kept);
        assert_eq!(kept.capacity(), 0);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut buffer = Buffer::new(4);
        assert!(buffer.append(b"abcd"));
        assert!(!buffer.append(b"e"));
        assert!(buffer.room().is_empty());
    }
}
