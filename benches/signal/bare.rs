//! What the same libraries cost without any of iceway: a relay on axum's WebSocket that knows sessions by a number and
//! passes messages on. No tokens, no order numbers, no acknowledgements, no limits.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, Result};
use axum::{
    Router,
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, Utf8Bytes, WebSocket},
    },
    response::Response,
    routing::get,
};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use redis::AsyncTypedCommands as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::value::RawValue;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;

/// Frames that wait for one socket.
const WAITING: usize = 1024;
/// Bytes of axum's buffers; with its default of 128 KiB an idle socket would cost that.
const BUFFER: usize = 4096;

/// How it is run.
pub(crate) struct Options {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Vec<PathBuf>>,
    /// Another one like it is reached over this Redis: sessions of node 0 are even there, those of node 1 odd.
    pub(crate) redis: Option<(String, u64)>,
}

/// A frame of a client, and what is passed on.
#[derive(serde::Serialize, serde::Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    to: Option<To<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    from: Option<To<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct To<'a> {
    session: &'a str,
}

struct Relay {
    sessions: Mutex<HashMap<u64, mpsc::Sender<Utf8Bytes>>>,
    next: AtomicU64,
    /// The bus, and which node this is.
    bus: Option<(mpsc::Sender<(u64, Utf8Bytes)>, u64)>,
}

/// Serves until the process is killed, on one thread.
pub(crate) fn serve(options: &Options) -> Result<()> {
    let acceptor = options.tls.as_deref().map(acceptor).transpose()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let relay = Arc::new(Relay {
            sessions: Mutex::default(),
            next: AtomicU64::new(options.redis.as_ref().map_or(0, |(_, node)| *node)),
            bus: match &options.redis {
                None => None,
                Some((url, node)) => Some((publish(url, *node).await?, *node)),
            },
        });
        if let Some((url, node)) = &options.redis {
            tokio::spawn(subscribe(url.clone(), *node, Arc::clone(&relay)));
        }
        let router = Router::new().route("/v1/signal", get(upgrade)).with_state(relay);
        let listener = tokio::net::TcpListener::bind(options.address).await.context("binding")?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (router, acceptor) = (router.clone(), acceptor.clone());
            tokio::spawn(async move {
                // A connection that fails shows in the load.
                match acceptor {
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            answer_on(stream, router).await;
                        }
                    }
                    None => answer_on(stream, router).await,
                }
            });
        }
    })
}

async fn answer_on(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    drop(connection.await);
}

async fn upgrade(State(relay): State<Arc<Relay>>, upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .protocols(["rtc-signal.v1"])
        .read_buffer_size(BUFFER)
        .write_buffer_size(0)
        .on_upgrade(|socket| converse(relay, socket))
}

async fn converse(relay: Arc<Relay>, socket: WebSocket) {
    let step = if relay.bus.is_some() { 2 } else { 1 };
    let id = relay.next.fetch_add(step, Ordering::Relaxed);
    let (mut sink, mut stream) = socket.split();
    let (sender, mut waiting) = mpsc::channel::<Utf8Bytes>(WAITING);
    lock(&relay.sessions).insert(id, sender.clone());
    let write = async {
        while let Some(text) = waiting.recv().await {
            if sink.feed(Message::Text(text)).await.is_err() {
                return;
            }
            if waiting.is_empty() && sink.flush().await.is_err() {
                return;
            }
        }
    };
    let read = async {
        while let Some(Ok(message)) = stream.next().await {
            if let Message::Text(text) = message {
                relay.handle(id, &text, &sender).await;
            }
        }
    };
    tokio::select! { () = write => {}, () = read => {} }
    lock(&relay.sessions).remove(&id);
}

impl Relay {
    async fn handle(&self, id: u64, text: &str, own: &mpsc::Sender<Utf8Bytes>) {
        let Ok(frame) = serde_json::from_str::<Frame<'_>>(text) else { return };
        let name = id.to_string();
        if frame.kind == "hello" {
            let welcome = format!(r#"{{"re":"1","type":"welcome","session":"{name}"}}"#);
            // It fails if the socket is gone.
            drop(own.send(welcome.into()).await);
            return;
        }
        let Some(to) = frame.to.and_then(|to| to.session.parse::<u64>().ok()) else { return };
        let out = Frame { kind: frame.kind, to: None, from: Some(To { session: &name }), data: frame.data };
        let Ok(out) = serde_json::to_string(&out) else { return };
        match &self.bus {
            Some((bus, node)) if to % 2 != *node => drop(bus.send((to, out.into())).await),
            Some(_) | None => self.deliver(to, out.into()).await,
        }
    }

    async fn deliver(&self, to: u64, text: Utf8Bytes) {
        let peer = lock(&self.sessions).get(&to).cloned();
        if let Some(peer) = peer {
            drop(peer.send(text).await);
        }
    }
}

/// Publishes what goes to the other node, one command per message, as many under way as there are.
async fn publish(url: &str, node: u64) -> Result<mpsc::Sender<(u64, Utf8Bytes)>> {
    let connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let (sender, mut waiting) = mpsc::channel::<(u64, Utf8Bytes)>(WAITING);
    tokio::spawn(async move {
        while let Some((to, text)) = waiting.recv().await {
            let mut connection = connection.clone();
            // In order: the command is queued before the next is made.
            let channel = format!("bare:{}", 1 - node);
            let message = format!("{to} {text}");
            tokio::spawn(async move { drop(connection.publish(channel, message).await) });
        }
    });
    Ok(sender)
}

async fn subscribe(url: String, node: u64, relay: Arc<Relay>) -> Result<()> {
    let mut bus = redis::Client::open(url)?.get_async_pubsub().await?;
    bus.subscribe(format!("bare:{node}")).await?;
    let mut messages = bus.into_on_message();
    while let Some(message) = messages.next().await {
        let text: String = message.get_payload()?;
        if let Some((to, text)) = text.split_once(' ')
            && let Ok(to) = to.parse()
        {
            relay.deliver(to, text.into()).await;
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn acceptor(files: &[PathBuf]) -> Result<TlsAcceptor> {
    let [certificate, key] = files else { anyhow::bail!("--tls wants a certificate and a key") };
    let chain = vec![CertificateDer::from_pem_file(certificate)?];
    let key = PrivateKeyDer::from_pem_file(key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
