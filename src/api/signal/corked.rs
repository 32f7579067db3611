//! A stream that keeps what is written until it is flushed.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// From here on what is written goes out without a flush.
const HELD_BYTES_MAX: usize = 64 << 10;

/// A stream that keeps what is written until it is flushed: many frames are one call of the system and one TLS record.
/// Nothing is held between two flushes, not even memory.
#[derive(Debug)]
pub(super) struct Corked<S> {
    stream: S,
    held: Vec<u8>,
    written: usize,
}

impl<S> Corked<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, held: Vec::new(), written: 0 }
    }
}

impl<S: AsyncWrite + Unpin> Corked<S> {
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.held.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        self.written = 0;
        self.held = Vec::new();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Corked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.held.len() >= HELD_BYTES_MAX {
            ready!(self.poll_drain(context))?;
        }
        self.held.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn nothing_goes_out_before_the_flush_and_all_of_it_then() {
        let (mut reader, stream) = duplex(16);
        let mut corked = Corked::new(stream);
        corked.write_all(&[7; 100]).await.unwrap();
        let early = tokio::time::timeout(std::time::Duration::from_millis(20), reader.read_u8()).await;
        assert!(early.is_err());
        let reading = tokio::spawn(async move {
            let mut bytes = [0; 100];
            reader.read_exact(&mut bytes).await.map(|_| bytes)
        });
        corked.flush().await.unwrap();
        assert_eq!(reading.await.unwrap().unwrap(), [7; 100]);
        assert_eq!(corked.held.capacity(), 0);
    }
}
