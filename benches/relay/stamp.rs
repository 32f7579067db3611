//! What the load generator writes into each packet to know it again.

/// Bytes at the head of a packet's application data.
pub(crate) const STAMP_BYTES: usize = 16;

const MAGIC: u32 = 0x6963_6577;

/// When a packet was sent, and in which measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) phase: u32,
    /// Since the start of the phase.
    pub(crate) sent_ns: u64,
}

impl Stamp {
    /// Writes it to the head of `payload`, if there is room.
    pub(crate) fn write(self, payload: &mut [u8]) {
        let Some(head) = payload.first_chunk_mut::<STAMP_BYTES>() else { return };
        head[..4].copy_from_slice(&MAGIC.to_be_bytes());
        head[4..8].copy_from_slice(&self.phase.to_be_bytes());
        head[8..].copy_from_slice(&self.sent_ns.to_be_bytes());
    }

    /// Reads it back; `None` for anything else.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let (magic, rest) = payload.split_first_chunk::<4>()?;
        let (phase, rest) = rest.split_first_chunk::<4>()?;
        let sent_ns = rest.first_chunk::<8>()?;
        (u32::from_be_bytes(*magic) == MAGIC)
            .then(|| Self { phase: u32::from_be_bytes(*phase), sent_ns: u64::from_be_bytes(*sent_ns) })
    }
}
