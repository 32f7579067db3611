//! Accepting connections.

use std::{cell::RefCell, io, net::SocketAddr, os::fd::AsFd as _, rc::Rc, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tracing::{debug, warn};

use super::{
    StreamRelay,
    connection::Connection,
    context::Context,
    counters::{AcceptFailure, StreamRefusal},
};
use crate::{
    runtime::descriptors::{self, Purpose},
    telemetry::Private,
    turn::ListenerId,
};

/// A silent client is asked whether it is still there after this long …
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// … and again each time after this long …
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// … so many times.
const KEEPALIVE_PROBES: u32 = 3;

/// A client that has not acknowledged what was sent to it for this long is gone: as long as keepalive takes.
const UNACKNOWLEDGED: Duration = Duration::from_secs(75);

/// How much the kernel may hold that it has not sent yet. The rest waits in our queue, which is bounded, counted and
/// small, where the kernel would take megabytes from a client that is slow.
const KERNEL_UNSENT_BYTES: u32 = 32 * 1024;

/// The first and the longest pause after a failed accept.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Accepts connections for as long as the shard lives.
pub(crate) async fn accept<R: StreamRelay>(
    relay: Rc<RefCell<R>>,
    context: Rc<Context>,
    listener: ListenerId,
    socket: TcpListener,
) {
    let mut pause = PAUSES.0;
    loop {
        match socket.accept().await {
            Ok((stream, client)) => {
                pause = PAUSES.0;
                begin(&relay, &context, listener, stream, client);
            }
            Err(error) => {
                let failure = classify(&error);
                context.counters.borrow_mut().accept_failures.add(failure, 1);
                if failure == AcceptFailure::Aborted {
                    continue;
                }
                // Only the first of a series is worth a line; the counter has them all.
                if pause == PAUSES.0 && !descriptors::is_shortage(&error, Purpose::Stream) {
                    warn!(reason = failure.as_str(), %error, "Connections cannot be accepted; trying again.");
                }
                sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }
}

/// Admits a connection and spawns its task.
fn begin<R: StreamRelay>(
    relay: &Rc<RefCell<R>>,
    context: &Rc<Context>,
    listener: ListenerId,
    stream: TcpStream,
    client: SocketAddr,
) {
    context.counters.borrow_mut().accepted += 1;
    if descriptors::must_stay_free(stream.as_fd(), Purpose::Stream) {
        return refuse(context, &stream, client, StreamRefusal::Descriptors);
    }
    let admission = match context.admission.admit(client.ip()) {
        Ok(admission) => admission,
        Err(refusal) => return refuse(context, &stream, client, refusal),
    };
    if let Err(error) = set_options(&stream) {
        debug!(client = %Private(client), %error, "A connection was gone before it began.");
        return refuse(context, &stream, client, StreamRefusal::Gone);
    }
    let connection =
        Connection::new(Rc::clone(relay), Rc::clone(context), listener, (stream, client), admission);
    tokio::task::spawn_local(connection.run());
}

/// Closes a connection with a reset, which leaves nothing behind in the kernel.
fn refuse(context: &Context, stream: &TcpStream, client: SocketAddr, refusal: StreamRefusal) {
    context.counters.borrow_mut().refused.add(refusal, 1);
    if let Err(error) = SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
        debug!(client = %Private(client), %error, "A refused connection is closed in the slow way.");
    }
    debug!(client = %Private(client), reason = refusal.as_str(), "Connection refused.");
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    // Several queued messages already go out in one write; waiting for more would only delay media.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    socket.set_tcp_notsent_lowat(KERNEL_UNSENT_BYTES)
}

fn classify(error: &io::Error) -> AcceptFailure {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => AcceptFailure::Descriptors,
        Some(libc::ENOMEM | libc::ENOBUFS | libc::ENOSPC) => AcceptFailure::Memory,
        // Errors of the new connection that accept(2) passes on.
        Some(
            libc::ECONNABORTED
            | libc::EPROTO
            | libc::ENETDOWN
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::ENONET
            | libc::ENOPROTOOPT
            | libc::EPERM
            | libc::EINTR,
        ) => AcceptFailure::Aborted,
        Some(_) | None => AcceptFailure::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_the_reason_that_says_what_to_do() {
        let classified = |code| classify(&io::Error::from_raw_os_error(code));
        assert_eq!(classified(libc::EMFILE), AcceptFailure::Descriptors);
        assert_eq!(classified(libc::ENFILE), AcceptFailure::Descriptors);
        assert_eq!(classified(libc::ENOMEM), AcceptFailure::Memory);
        assert_eq!(classified(libc::ECONNABORTED), AcceptFailure::Aborted);
        assert_eq!(classified(libc::EINVAL), AcceptFailure::Other);
        assert_eq!(classify(&io::Error::other("x")), AcceptFailure::Other);
    }
}
