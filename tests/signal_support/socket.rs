//! A WebSocket to a node, before anything of the protocol is said on it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use serde_json::Value;
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, client::IntoClientRequest as _, protocol::WebSocketConfig},
};

use super::soon;

/// What came over a socket.
#[derive(Debug)]
pub(crate) enum Came {
    /// A text frame.
    Frame(Value),
    /// It was closed, with this code if there was one.
    Closed(Option<u16>),
}

/// An open WebSocket, read by a task of its own, so that pings are answered at any time.
pub(crate) struct Socket {
    sink: SplitSink<WebSocketStream<TcpStream>, Message>,
    came: mpsc::UnboundedReceiver<Came>,
    reading: watch::Sender<bool>,
    pings: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Socket {
    /// Opens one.
    pub(crate) async fn open(server: SocketAddr) -> Self {
        Self::open_from(Ipv4Addr::LOCALHOST.into(), server, &[]).await
    }

    /// Opens one from another address of this machine and with more headers.
    pub(crate) async fn open_from(
        from: IpAddr,
        server: SocketAddr,
        headers: &[(&'static str, &str)],
    ) -> Self {
        Self::try_open_from(from, server, headers).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same where it may be refused: then it answers what the server said.
    pub(crate) async fn try_open_from(
        from: IpAddr,
        server: SocketAddr,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, tokio_tungstenite::tungstenite::Error> {
        let path = format!("ws://{server}/v1/signal");
        Self::try_open_at(&path, from, server, headers).await
    }

    /// The same with a whole URL, such as one with a ticket.
    pub(crate) async fn try_open_at(
        url: &str,
        from: IpAddr,
        server: SocketAddr,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, tokio_tungstenite::tungstenite::Error> {
        let mut request = url.into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", "rtc-signal.v1".parse().unwrap());
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(from, 0))?;
        let stream = soon("a connection", socket.connect(server)).await?;
        stream.set_nodelay(true)?;
        let (stream, _) = {
            // Thousands of them must fit into a test.
            let config = WebSocketConfig::default().read_buffer_size(4096);
            soon("an upgrade", client_async_with_config(request, stream, Some(config))).await?
        };
        Ok(Self::over(stream))
    }

    fn over(stream: WebSocketStream<TcpStream>) -> Self {
        let (sink, stream) = stream.split();
        let (sender, came) = mpsc::unbounded_channel();
        let (reading, may_read) = watch::channel(true);
        let pings = Arc::default();
        let task = tokio::spawn(read(stream, sender, may_read, Arc::clone(&pings)));
        Self { sink, came, reading, pings, task }
    }

    /// Sends a text frame; a socket that is closed already takes it silently.
    pub(crate) async fn send(&mut self, frame: &Value) {
        self.send_message(Message::text(frame.to_string())).await;
    }

    /// Sends any message.
    pub(crate) async fn send_message(&mut self, message: Message) {
        // Whoever waits for an answer learns that it is closed.
        drop(soon("the server reads", self.sink.send(message)).await);
    }

    /// The next frame, or the end.
    pub(crate) async fn next(&mut self) -> Came {
        soon("a frame", self.came.recv()).await.unwrap_or(Came::Closed(None))
    }

    /// The next frame within a time; `None` if there was none.
    pub(crate) async fn next_within(&mut self, limit: Duration) -> Option<Came> {
        let came = tokio::time::timeout(limit, self.came.recv()).await.ok()?;
        Some(came.unwrap_or(Came::Closed(None)))
    }

    /// Reads on until the server closes; its code, 1006 if it said none.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            if let Came::Closed(code) = self.next().await {
                return code.unwrap_or(1006);
            }
        }
    }

    /// Stops taking anything from the system: soon the server cannot write. One more frame may still be read.
    pub(crate) fn stop_reading(&self) {
        self.reading.send_replace(false);
    }

    /// Reads on.
    pub(crate) fn read_on(&self) {
        self.reading.send_replace(true);
    }

    /// How many pings came.
    pub(crate) fn pings(&self) -> u32 {
        self.pings.load(Ordering::Relaxed)
    }
}

/// Gone without a closing handshake.
impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(
    mut stream: SplitStream<WebSocketStream<TcpStream>>,
    sender: mpsc::UnboundedSender<Came>,
    mut may_read: watch::Receiver<bool>,
    pings: Arc<AtomicU32>,
) {
    let mut code = None;
    loop {
        if may_read.wait_for(|may| *may).await.is_err() {
            return;
        }
        match stream.next().await {
            Some(Ok(Message::Text(text))) => {
                let frame = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"));
                // Nobody takes it only if the socket is dropped.
                drop(sender.send(Came::Frame(frame)));
            }
            Some(Ok(Message::Close(frame))) => code = frame.map(|frame| frame.code.into()),
            Some(Ok(Message::Ping(_))) => {
                pings.fetch_add(1, Ordering::Relaxed);
            }
            Some(Ok(Message::Binary(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(_)) | None => {
                drop(sender.send(Came::Closed(code)));
                return;
            }
        }
    }
}
