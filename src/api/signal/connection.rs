//! One socket: frames in, frames out.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{
    SinkExt as _, StreamExt as _,
    future::{BoxFuture, FutureExt as _},
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Notify,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        error::{CapacityError, ProtocolError},
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};

use super::{Guest, corked::Corked, hub::Hub};
use crate::{
    api::Service,
    signaling::{Client, CloseCode, ConnectionId, Decision, Frame, Identity, Next, Written},
};

type Stream = WebSocketStream<Corked<TokioIo<Upgraded>>>;

/// Of what is read at once. It stays with each socket.
const READ_BYTES: usize = 1024;
/// What is handed to the core at once, at most.
const TAKE_MAX: usize = 32;
/// The same in bytes, but for the last frame.
const TAKE_BYTES: usize = 64 << 10;
/// By how much a frame may be too large to be read and refused, rather than broken off.
const FRAME_MARGIN_BYTES: usize = 4096;
/// How long a close frame may take, and the other side's answer to it.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(2);
/// What is read and dropped of a client that is being closed, so that it gets to see why.
const GOODBYE_BYTES_MAX: usize = 4 << 20;
/// How long the handshake may take until the socket is ours.
const UPGRADE_TIME_MAX: Duration = Duration::from_secs(10);

/// A socket on its way to being one.
pub(super) struct Opening {
    pub(super) service: Service,
    pub(super) upgrade: OnUpgrade,
    pub(super) guest: Guest,
    pub(super) identity: Option<Box<Identity>>,
}

struct Connection {
    service: Service,
    hub: Arc<Hub>,
    id: ConnectionId,
    guest: Arc<Guest>,
    stream: Stream,
    wake: Arc<Notify>,
    /// What came and is not handed in yet. It is empty, and nothing more is read, before it is waited.
    came: VecDeque<Came>,
    /// The answer that the last frame waits for.
    deciding: Option<BoxFuture<'static, Decision>>,
    /// No frame is to be handed in until the core says otherwise.
    is_waiting: bool,
    /// When the client was asked whether it is there; until it answers.
    pinged: Option<Instant>,
}

/// What the socket brings; `None` at its end.
type Came = Option<Result<Message, Error>>;

/// Why a socket ends.
enum End {
    /// Tell the client.
    Close(CloseCode),
    /// It said so itself, or is gone.
    Gone,
}

impl Opening {
    /// Waits until the socket is open, and then carries its frames until it ends.
    pub(super) async fn run(self) {
        let Ok(Ok(upgraded)) = timeout(UPGRADE_TIME_MAX, self.upgrade).await else { return };
        let hub = Arc::clone(&self.service.signal.hub);
        let largest =
            self.service.settings.load().config.signal.options.limits.frame_bytes + FRAME_MARGIN_BYTES;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(largest))
            .max_frame_size(Some(largest));
        let io = Corked::new(TokioIo::new(upgraded));
        let stream = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        let (id, wake) = (hub.name(), Arc::new(Notify::new()));
        hub.add(id, Arc::clone(&wake));
        let client = Client { address: self.guest.network() };
        let opened = hub.with(|server, now| server.handle_open(now, id, client, self.identity));
        let guest = Arc::new(self.guest);
        let (service, came) = (self.service, VecDeque::new());
        let mut connection = Connection {
            service,
            hub,
            id,
            guest,
            stream,
            wake,
            came,
            deciding: None,
            is_waiting: false,
            pinged: None,
        };
        let end = match opened {
            Ok(()) => connection.carry().await,
            Err(code) => End::Close(code),
        };
        // What is done at the end alone takes no memory of those that are idle.
        connection.finish(end).boxed().await;
    }
}

impl Connection {
    /// Until one of both sides ends it.
    async fn carry(&mut self) -> End {
        let mut frames = Vec::new();
        loop {
            let is_reading = self.deciding.is_none() && !self.is_waiting;
            let done = tokio::select! {
                () = self.wake.notified() => self.write(&mut frames).await,
                decision = decided(&mut self.deciding) => {
                    self.deciding = None;
                    let next = self.hub.with(|server, now| server.handle_decision(now, self.id, decision));
                    self.go_on(next);
                    Ok(())
                }
                came = self.stream.next(), if is_reading => {
                    self.take(came);
                    Ok(())
                }
            };
            if let Err(end) = done.and_then(|()| self.hand_in()) {
                return end;
            }
        }
    }

    /// Writes all there is.
    async fn write(&mut self, frames: &mut Vec<String>) -> Result<(), End> {
        loop {
            let id = self.id;
            let (written, is_waiting, has_more) = self.hub.with(|server, now| {
                let written = server.poll_connection(now, id, frames);
                (written, server.is_waiting(id), server.has_frames(id))
            });
            self.is_waiting = is_waiting;
            let mut is_woken = false;
            if !frames.is_empty() {
                is_woken |= self.send(frames.drain(..).map(Message::from)).await?;
            }
            match written {
                Written::Open => {}
                Written::Ping => {
                    self.pinged = Some(Instant::now());
                    is_woken |= self.send([Message::Ping(Bytes::new())].into_iter()).await?;
                }
                Written::Close(code) => return Err(End::Close(code)),
            }
            if !is_woken && !has_more {
                // What is idle holds no memory.
                frames.shrink_to(0);
                return Ok(());
            }
        }
    }

    /// Unless the core gives the socket up meanwhile: a client that does not read. Answers whether it was woken meanwhile.
    async fn send(&mut self, messages: impl Iterator<Item = Message>) -> Result<bool, End> {
        let (stream, hub, wake, id) = (&mut self.stream, &self.hub, &self.wake, self.id);
        let mut sending = pin!(async {
            for message in messages {
                stream.feed(message).await?;
            }
            stream.flush().await
        });
        let mut is_woken = false;
        loop {
            tokio::select! {
                biased;
                sent = &mut sending => return sent.map(|()| is_woken).map_err(|_| End::Gone),
                () = wake.notified() => {
                    is_woken = true;
                    if let Some(code) = hub.look(|server| server.closing(id)) {
                        return Err(End::Close(code));
                    }
                }
            }
        }
    }

    /// With what came, takes what else is there already: the core gets it at once.
    fn take(&mut self, first: Came) {
        let mut next = Some(first);
        let mut bytes = 0;
        while let Some(came) = next {
            bytes += came.as_ref().and_then(|came| came.as_ref().ok()).map_or(0, Message::len);
            let is_more = matches!(came, Some(Ok(_))) && bytes < TAKE_BYTES;
            self.came.push_back(came);
            next =
                if is_more && self.came.len() < TAKE_MAX { self.stream.next().now_or_never() } else { None };
        }
    }

    /// Hands in what came, as far as the core wants it now.
    fn hand_in(&mut self) -> Result<(), End> {
        while self.deciding.is_none() && !self.is_waiting && !self.came.is_empty() {
            let is_text = |came: &&Came| matches!(came, Some(Ok(Message::Text(_))));
            let count = self.came.iter().take_while(is_text).count();
            if count > 0 {
                self.hand_in_texts(count);
            } else if let Some(came) = self.came.pop_front() {
                self.heard(came)?;
            }
        }
        if self.came.is_empty() {
            self.came = VecDeque::new();
        }
        Ok(())
    }

    /// Hands in the first frames, but for those after one that has to be waited for.
    fn hand_in_texts(&mut self, count: usize) {
        let texts = self.came.iter().take(count).filter_map(|came| match came {
            Some(Ok(Message::Text(text))) => Some((Frame::read(text), text.len())),
            Some(_) | None => None,
        });
        let frames: Vec<_> = texts.collect();
        let id = self.id;
        let (taken, next) = self.hub.with(|server, now| {
            for (taken, (frame, bytes)) in frames.into_iter().enumerate() {
                let next = server.handle_frame(now, id, frame, bytes);
                if !matches!(next, Next::More) {
                    return (taken + 1, next);
                }
            }
            (count, Next::More)
        });
        self.came.drain(..taken);
        self.go_on(next);
    }

    fn heard(&mut self, came: Came) -> Result<(), End> {
        let id = self.id;
        match came {
            Some(Ok(message @ (Message::Ping(_) | Message::Pong(_)))) => {
                if message.is_pong()
                    && let Some(pinged) = self.pinged.take()
                {
                    self.service.signal.counters.ponged(pinged.elapsed());
                }
                self.hub.with(|server, now| server.handle_alive(now, id));
            }
            Some(Ok(Message::Binary(_))) => self.violated(CloseCode::UnsupportedData),
            // Texts are handed in together.
            Some(Ok(Message::Text(_))) => {}
            Some(Ok(Message::Close(_) | Message::Frame(_))) | None => return Err(End::Gone),
            Some(Err(Error::Capacity(CapacityError::MessageTooLong { .. }))) => {
                self.violated(CloseCode::TooLarge);
                return Err(End::Close(CloseCode::TooLarge));
            }
            // Clients that lose their network say nothing, and come back.
            Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => return Err(End::Gone),
            // Nothing more can be read after that.
            Some(Err(Error::Protocol(_) | Error::Utf8(_))) => {
                self.violated(CloseCode::BadProtocol);
                return Err(End::Close(CloseCode::BadProtocol));
            }
            Some(Err(error)) => {
                tracing::trace!(%error, "A socket broke.");
                return Err(End::Gone);
            }
        }
        Ok(())
    }

    fn violated(&self, code: CloseCode) {
        self.hub.with(|server, now| server.handle_violation(now, self.id, code));
    }

    fn go_on(&mut self, next: Next) {
        match next {
            Next::More => {}
            Next::Wait => self.is_waiting = true,
            Next::Ask(ask) => {
                let (service, guest) = (self.service.clone(), Arc::clone(&self.guest));
                self.deciding = Some(async move { service.decide(*ask, &guest).await }.boxed());
            }
        }
    }

    async fn finish(mut self, end: End) {
        self.hub.remove(self.id);
        if let End::Close(code) = end {
            let frame = CloseFrame { code: code.code().into(), reason: reason(code).into() };
            // Whoever does not read it does not want to know.
            if timeout(GOODBYE_TIME_MAX, self.goodbye(frame)).await.is_err() {
                tracing::trace!("A socket did not take its close frame.");
            }
        }
    }

    /// What the client still sends is read, or else the system would take back what was written.
    async fn goodbye(&mut self, frame: CloseFrame) {
        if self.stream.send(Message::Close(Some(frame))).await.is_err() {
            return;
        }
        let io = self.stream.get_mut();
        if io.shutdown().await.is_err() {
            return;
        }
        let (mut scratch, mut rest) = (vec![0; 1024], GOODBYE_BYTES_MAX);
        while let Ok(count @ 1..) = io.read(&mut scratch).await {
            let Some(left) = rest.checked_sub(count) else { return };
            rest = left;
        }
    }
}

/// Never, if nothing is to be decided.
async fn decided(deciding: &mut Option<BoxFuture<'static, Decision>>) -> Decision {
    match deciding {
        Some(deciding) => deciding.await,
        None => std::future::pending().await,
    }
}

/// For people who look at the close frame: what the code says.
const fn reason(code: CloseCode) -> &'static str {
    match code {
        CloseCode::Normal => "bye",
        CloseCode::GoingAway => "going away",
        CloseCode::Internal => "internal",
        CloseCode::Draining => "draining",
        CloseCode::NoPong => "no-pong",
        CloseCode::Slow => "slow",
        CloseCode::WriteError => "write-error",
        CloseCode::Moved => "moved",
        CloseCode::SessionExpired => "session-expired",
        CloseCode::EpochReset => "epoch-reset",
        CloseCode::TokenExpired => "token-expired",
        CloseCode::StateInvalidated => "state-invalidated",
        CloseCode::BadProtocol => "bad-protocol",
        CloseCode::Unauthorized => "unauthorized",
        CloseCode::UnsupportedData => "unsupported-data",
        CloseCode::Forbidden => "forbidden",
        CloseCode::HelloTimeout => "hello-timeout",
        CloseCode::Replaced => "replaced",
        CloseCode::TooLarge => "too-large",
        CloseCode::Abusive => "abusive",
        CloseCode::ConnectionLimit => "connection-limit",
    }
}
