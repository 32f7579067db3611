//! A connection that must get on.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::write_through::write_through;

/// How long what may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// From the first byte of a request to the end of its headers.
    headers: Duration,
    /// Without a request.
    idle: Duration,
    /// How often is looked while a request is answered: its body and its answer have bounds of their own.
    busy: Duration,
}

impl Times {
    pub(super) const USUAL: Self = Self {
        headers: Duration::from_secs(5),
        idle: Duration::from_secs(60),
        busy: Duration::from_secs(60),
    };
}

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing has come of a request yet.
    Idle = 0,
    /// A part of its headers has.
    Headers = 1,
    /// It is answered.
    Busy = 2,
    /// It is no connection for requests any more, and whoever has it now looks after it.
    Upgraded = 3,
}

/// How far a connection has come, known to both who reads it and who answers.
#[derive(Clone, Debug)]
pub(super) struct Pace(Arc<State>);

#[derive(Debug)]
struct State {
    times: Times,
    start: Instant,
    /// Milliseconds after `start` and the phase that began then, in the two lowest bits.
    since: AtomicU64,
}

impl Pace {
    pub(super) fn new(times: Times) -> Self {
        Self(Arc::new(State { times, start: Instant::now(), since: AtomicU64::new(0) }))
    }

    /// A request has come.
    pub(super) fn busy(&self) {
        self.begin(Phase::Busy);
    }

    /// It is answered.
    pub(super) fn idle(&self) {
        self.begin(Phase::Idle);
    }

    /// Another protocol is spoken from now on.
    pub(super) fn upgraded(&self) {
        self.begin(Phase::Upgraded);
    }

    fn begin(&self, phase: Phase) {
        let millis = u64::try_from(self.0.start.elapsed().as_millis()).unwrap_or(u64::MAX >> 2);
        self.0.since.store(millis << 2 | phase as u64, Ordering::Relaxed);
    }

    fn phase(&self) -> Phase {
        match self.0.since.load(Ordering::Relaxed) & 3 {
            0 => Phase::Idle,
            1 => Phase::Headers,
            2 => Phase::Busy,
            _ => Phase::Upgraded,
        }
    }

    /// When it has taken too long.
    fn deadline(&self) -> Instant {
        let since = self.0.start + Duration::from_millis(self.0.since.load(Ordering::Relaxed) >> 2);
        since
            + match self.phase() {
                Phase::Idle => self.0.times.idle,
                Phase::Headers => self.0.times.headers,
                Phase::Busy | Phase::Upgraded => self.0.times.busy,
            }
    }
}

/// A stream that fails when its caller takes too long for the headers of a request, or sends none. It sets its timer
/// seldom, not with each request.
pub(super) struct Paced<S> {
    stream: S,
    pace: Pace,
    /// None once another protocol is spoken.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, pace: Pace) -> Self {
        let timer = Some(Box::pin(sleep_until(Instant::now() + pace.0.times.headers)));
        Self { stream, pace, timer }
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.pace.phase() == Phase::Upgraded {
            self.timer = None;
        }
        let Some(timer) = &mut self.timer else { return Ok(()) };
        while timer.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            let deadline = self.pace.deadline();
            if deadline <= now {
                if self.pace.phase() != Phase::Busy {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                self.pace.busy();
            }
            // While it waits for headers, it has to wake early enough for them.
            let next = self.pace.deadline().min(now + self.pace.0.times.headers);
            timer.as_mut().reset(next);
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(result) => {
                if buffer.filled().len() > before && self.pace.phase() == Phase::Idle {
                    self.pace.begin(Phase::Headers);
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                self.check(context)?;
                Poll::Pending
            }
        }
    }
}

write_through!(Paced);

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
        time::timeout,
    };

    use super::*;

    const TIMES: Times = Times {
        headers: Duration::from_millis(100),
        idle: Duration::from_millis(400),
        busy: Duration::from_millis(400),
    };

    /// How long a caller is waited for who has sent so much.
    async fn waits_for(bytes: &[u8]) -> Duration {
        let (mut client, server) = duplex(64);
        let mut paced = Paced::new(server, Pace::new(TIMES));
        client.write_all(bytes).await.unwrap();
        let start = Instant::now();
        let mut buffer = vec![0; bytes.len()];
        paced.read_exact(&mut buffer).await.unwrap();
        let error = paced.read(&mut [0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        start.elapsed()
    }

    #[tokio::test]
    async fn headers_have_less_time_than_silence() {
        let headers = waits_for(b"GET").await;
        assert!((TIMES.headers..TIMES.idle).contains(&headers), "{headers:?}");
        assert!(waits_for(b"").await >= TIMES.idle);
    }

    #[tokio::test]
    async fn another_protocol_has_all_the_time_it_wants() {
        let pace = Pace::new(TIMES);
        let (_client, server) = duplex(64);
        let mut paced = Paced::new(server, pace.clone());
        pace.upgraded();
        assert!(timeout(3 * TIMES.idle, paced.read(&mut [0; 64])).await.is_err());
        assert!(paced.timer.is_none());
    }

    #[tokio::test]
    async fn a_request_that_is_answered_is_not_hurried_and_the_next_one_is() {
        let pace = Pace::new(TIMES);
        let (_client, server) = duplex(64);
        let mut paced = Paced::new(server, pace.clone());
        pace.busy();
        let mut buffer = [0; 64];
        assert!(timeout(3 * TIMES.busy, paced.read(&mut buffer)).await.is_err());
        pace.idle();
        let start = Instant::now();
        assert_eq!(paced.read(&mut buffer).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() <= TIMES.idle + TIMES.headers + Duration::from_millis(300));
    }
}
