//! How a connection writes what is queued.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context as TaskContext, Poll, ready},
};

use tokio::{io::AsyncWrite, net::TcpStream};

use super::{StreamRelay, connection::Connection};

impl<R: StreamRelay> Connection<R> {
    /// Writes until nothing is queued or the client takes no more; as many messages as there are go out in one write.
    pub(super) fn poll_send(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        if self.tls.is_some() { self.poll_send_records(cx) } else { self.poll_send_plain(cx) }
    }

    fn poll_send_plain(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        while !self.queue.is_empty() {
            let socket = &mut self.socket;
            let written = self.queue.drain(|slices| into_result(poll_write(socket, cx, slices)));
            match written {
                Ok(_) => {}
                Err(stop) => return stop.map(Err),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_send_records(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        let context = Rc::clone(&self.context);
        let Some(tls) = &mut self.tls else { return Poll::Ready(Ok(())) };
        loop {
            while !tls.outgoing().is_empty() {
                let written = ready!(poll_write(&mut self.socket, cx, &[IoSlice::new(tls.outgoing())]))?;
                tls.sent(written);
            }
            if !tls.can_send() {
                return Poll::Ready(Ok(()));
            }
            if self.queue.is_empty() {
                if self.reason.is_none() || tls.is_close_notified() {
                    return Poll::Ready(Ok(()));
                }
                tls.notify_close();
                continue;
            }
            let mut scratch = context.scratch.borrow_mut();
            let (joined, encrypted) = scratch.encryption();
            let mut bytes = 0;
            self.queue.drain(|slices| {
                let (taken, written) =
                    tls.encrypt(join(slices, joined), encrypted).map_err(io::Error::other)?;
                bytes = written;
                Ok::<_, io::Error>(taken)
            })?;
            // Nothing was encrypted: a record of TLS itself goes first.
            if bytes == 0 {
                continue;
            }
            let records = encrypted.get(..bytes).unwrap_or_default();
            let written = match poll_write(&mut self.socket, cx, &[IoSlice::new(records)]) {
                Poll::Ready(result) => result?,
                Poll::Pending => 0,
            };
            tls.keep_unsent(records.get(written..).unwrap_or_default());
        }
    }
}

/// The first bytes of `slices` in one piece, at most as many as `joined` holds.
fn join<'a>(slices: &'a [IoSlice<'_>], joined: &'a mut [u8]) -> &'a [u8] {
    if let [only] = slices {
        return &only[..only.len().min(joined.len())];
    }
    let mut end = 0;
    for slice in slices {
        let bytes = slice.len().min(joined.len() - end);
        joined[end..end + bytes].copy_from_slice(&slice[..bytes]);
        end += bytes;
    }
    &joined[..end]
}

/// Writes once.
fn poll_write(
    socket: &mut TcpStream,
    cx: &mut TaskContext<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let written = ready!(Pin::new(socket).poll_write_vectored(cx, slices))?;
    Poll::Ready(if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) })
}

/// What stops a loop is the error.
fn into_result(written: Poll<io::Result<usize>>) -> Result<usize, Poll<io::Error>> {
    match written {
        Poll::Ready(Ok(bytes)) => Ok(bytes),
        Poll::Ready(Err(error)) => Err(Poll::Ready(error)),
        Poll::Pending => Err(Poll::Pending),
    }
}
