//! A stream of which much is read at once, without holding memory for it.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

use crate::write_through::write_through;

/// What is read with one call of the system.
const PIECE_BYTES: usize = 32 << 10;
/// Whoever asks for so much reads by itself.
const LARGE_BYTES: usize = 8 << 10;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE_BYTES].into());
}

/// A stream that is read in large pieces, however little is asked for: of thousands of idle connections each can have a
/// small buffer, and those that are busy cost few calls of the system nonetheless. What is read and not taken is held, at
/// most one piece.
#[derive(Debug)]
pub(super) struct Wide<S> {
    stream: S,
    held: Vec<u8>,
    taken: usize,
}

impl<S> Wide<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, held: Vec::new(), taken: 0 }
    }

    /// Gives what is held; `false` if that is nothing.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let rest = self.held.get(self.taken..).unwrap_or_default();
        if rest.is_empty() {
            return false;
        }
        let (now, later) = rest.split_at(rest.len().min(buffer.remaining()));
        buffer.put_slice(now);
        if later.is_empty() {
            (self.held, self.taken) = (Vec::new(), 0);
        } else {
            self.taken += now.len();
        }
        true
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wide<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.give(buffer) {
            return Poll::Ready(Ok(()));
        }
        if buffer.remaining() >= LARGE_BYTES {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut piece = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut piece))?;
            let piece = piece.filled();
            let (now, later) = piece.split_at(piece.len().min(buffer.remaining()));
            buffer.put_slice(now);
            self.held.extend_from_slice(later);
            Poll::Ready(Ok(()))
        })
    }
}

write_through!(Wide);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn all_arrives_in_order_however_little_is_asked_for() {
        let sent: Vec<u8> = (0..3 * PIECE_BYTES).map(|byte| (byte * 31) as u8).collect();
        for asked in [1000, LARGE_BYTES, PIECE_BYTES + 1] {
            let (mut writer, stream) = duplex(2 * PIECE_BYTES);
            let bytes = sent.clone();
            let writing = tokio::spawn(async move { writer.write_all(&bytes).await });
            let mut wide = Wide::new(stream);
            let (mut came, mut buffer) = (Vec::new(), vec![0; asked]);
            while let count @ 1.. = wide.read(&mut buffer).await.unwrap() {
                came.extend_from_slice(&buffer[..count]);
                assert!(wide.held.len() <= PIECE_BYTES);
            }
            writing.await.unwrap().unwrap();
            assert!(came == sent, "{asked} at once");
            assert_eq!(wide.held.capacity(), 0);
        }
    }

    #[tokio::test]
    async fn what_came_is_read_at_once() {
        let (mut writer, stream) = duplex(PIECE_BYTES);
        writer.write_all(&[7; 5000]).await.unwrap();
        let mut wide = Wide::new(stream);
        assert_eq!(wide.read(&mut [0; 100]).await.unwrap(), 100);
        assert_eq!(wide.held.len() - wide.taken, 4900);
    }
}
