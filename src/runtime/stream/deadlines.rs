//! When a connection that does not do its part is closed.

use std::time::Duration;

use tokio::time::Instant;

use super::counters::StreamClose;
use crate::config;

/// How long a connection that is being closed may take to write what is queued.
const FLUSH: Duration = Duration::from_secs(2);

/// The time-outs of one connection.
///
/// A connection with an allocation and no message half received has none: it lives as long as its allocation, which
/// the client must refresh, and a client that vanished is found by TCP keepalive.
#[derive(Debug)]
pub(crate) struct Deadlines {
    /// Until the first byte and, with TLS, the end of the handshake.
    handshake: Option<Instant>,
    /// Until there must be an allocation.
    unauthenticated: Instant,
    /// Until the message that has begun must be complete.
    frame: Option<Instant>,
    /// Until everything must be written.
    flush: Option<Instant>,
    unauthenticated_timeout: Duration,
    frame_timeout: Duration,
}

impl Deadlines {
    /// Those of a connection accepted at `now`.
    pub(crate) fn new(limits: &config::Streams, now: Instant) -> Self {
        Self {
            handshake: Some(now + limits.handshake_timeout),
            unauthenticated: now + limits.unauthenticated_timeout,
            frame: None,
            flush: None,
            unauthenticated_timeout: limits.unauthenticated_timeout,
            frame_timeout: limits.frame_timeout,
        }
    }

    /// The first byte has come and the handshake, if there is one, is done.
    pub(crate) fn started(&mut self) {
        self.handshake = None;
    }

    /// After something was read: `partial` says that a message has begun and is not complete, `completed` that at
    /// least one was completed, so that what is partial now is another one.
    pub(crate) fn received(&mut self, partial: bool, completed: bool, now: Instant) {
        self.frame = match (partial, self.frame) {
            (false, _) => None,
            (true, Some(since)) if !completed => Some(since),
            (true, _) => Some(now + self.frame_timeout),
        };
    }

    /// From now on only the queue is written.
    pub(crate) fn closing(&mut self, now: Instant) {
        self.handshake = None;
        self.frame = None;
        self.flush = Some(now + FLUSH);
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Instant {
        if let Some(flush) = self.flush {
            return flush;
        }
        [self.handshake, self.frame].into_iter().flatten().fold(self.unauthenticated, Instant::min)
    }

    /// What has run out at `now`. `has_allocation` is asked only when it matters.
    ///
    /// Whether there is an allocation is looked at once per `unauthenticated_timeout`, not followed: a connection
    /// that never gets one is closed on time, one whose allocation ended at most one more time-out later.
    pub(crate) fn expired(&mut self, now: Instant, has_allocation: impl FnOnce() -> bool) -> Option<Expired> {
        if let Some(flush) = self.flush {
            return (flush <= now).then_some(Expired::Flush);
        }
        if self.handshake.is_some_and(|deadline| deadline <= now) {
            return Some(Expired::Close(StreamClose::HandshakeTimeout));
        }
        if self.frame.is_some_and(|deadline| deadline <= now) {
            return Some(Expired::Close(StreamClose::FrameTimeout));
        }
        if self.unauthenticated <= now {
            if !has_allocation() {
                return Some(Expired::Close(StreamClose::UnauthenticatedTimeout));
            }
            self.unauthenticated = now + self.unauthenticated_timeout;
        }
        None
    }
}

/// What to do about a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expired {
    /// Begin to close.
    Close(StreamClose),
    /// Drop what is still queued.
    Flush,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> config::Streams {
        config::Streams {
            handshake_timeout: 10 * SECOND,
            unauthenticated_timeout: 60 * SECOND,
            frame_timeout: 5 * SECOND,
            ..config::Streams::default()
        }
    }

    #[test]
    fn a_silent_connection_runs_into_the_handshake_timeout() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(&limits(), start);
        assert_eq!(deadlines.next(), start + 10 * SECOND);
        assert_eq!(deadlines.expired(start + 9 * SECOND, || false), None);
        assert_eq!(
            deadlines.expired(start + 10 * SECOND, || false),
            Some(Expired::Close(StreamClose::HandshakeTimeout))
        );
    }

    #[test]
    fn a_connection_without_an_allocation_is_closed_and_one_with_is_looked_at_again() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(&limits(), start);
        deadlines.started();
        assert_eq!(deadlines.next(), start + 60 * SECOND);
        assert_eq!(deadlines.expired(start + 60 * SECOND, || true), None);
        assert_eq!(deadlines.next(), start + 120 * SECOND);
        assert_eq!(
            deadlines.expired(start + 120 * SECOND, || false),
            Some(Expired::Close(StreamClose::UnauthenticatedTimeout))
        );
    }

    #[test]
    fn trickling_does_not_extend_the_time_for_a_message() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(&limits(), start);
        deadlines.started();
        deadlines.received(true, false, start);
        deadlines.received(true, false, start + 4 * SECOND);
        assert_eq!(
            deadlines.expired(start + 5 * SECOND, || true),
            Some(Expired::Close(StreamClose::FrameTimeout))
        );
    }

    #[test]
    fn each_message_has_its_own_time() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(&limits(), start);
        deadlines.started();
        deadlines.received(true, false, start);
        deadlines.received(true, true, start + 4 * SECOND);
        assert_eq!(deadlines.expired(start + 5 * SECOND, || true), None);
        assert_eq!(deadlines.next(), start + 9 * SECOND);
        deadlines.received(false, true, start + 6 * SECOND);
        assert_eq!(deadlines.next(), start + 60 * SECOND);
    }

    #[test]
    fn closing_leaves_only_the_time_to_flush() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(&limits(), start);
        deadlines.closing(start + SECOND);
        assert_eq!(deadlines.next(), start + SECOND + FLUSH);
        assert_eq!(deadlines.expired(start + SECOND + FLUSH, || false), Some(Expired::Flush));
    }
}
