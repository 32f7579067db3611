//! Connections that read no more than a Redis has to say.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::FutureExt as _;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisError, RedisFuture, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster_async::Connect,
};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    task::AbortHandle,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::bounds::Bounds;
use crate::write_through::write_through;

/// How long connecting to a server of a Cluster may take; whoever waits for it may give up sooner.
const CLUSTER_CONNECT_MAX: Duration = Duration::from_secs(5);

/// A connection to one server. Clones share it; it ends with the last.
#[derive(Clone)]
pub(super) struct Guarded {
    connection: MultiplexedConnection,
    /// None for those that the library drives.
    _driver: Option<Arc<Driver>>,
}

/// The task that reads and writes; ends when it is dropped.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Guarded {
    /// Connects, over TLS if there is a configuration for that, and says hello.
    pub(super) async fn connect(
        (host, port): (&str, u16),
        tls: Option<Arc<rustls::ClientConfig>>,
        settings: &RedisConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> RedisResult<Self> {
        let stream = TcpStream::connect((host, port)).await?;
        // Messages already go out together where they can.
        stream.set_nodelay(true)?;
        let Some(tls) = tls else { return Self::begin(stream, settings, config).await };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| {
            RedisError::from((ErrorKind::InvalidClientConfig, "no name of a server", error.to_string()))
        })?;
        let stream = TlsConnector::from(tls).connect(name, stream).await?;
        Self::begin(stream, settings, config).await
    }

    async fn begin(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        settings: &RedisConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> RedisResult<Self> {
        let stream = Bounded { stream, bounds: Bounds::default() };
        let (connection, driver) = MultiplexedConnection::new_with_config(settings, stream, config).await?;
        let driver = tokio::spawn(driver).abort_handle();
        Ok(Self { connection, _driver: Some(Arc::new(Driver(driver))) })
    }

    pub(super) async fn subscribe(&mut self, channel: &str) -> RedisResult<()> {
        self.connection.subscribe(channel).await
    }

    pub(super) async fn unsubscribe(&mut self, channel: &str) -> RedisResult<()> {
        self.connection.unsubscribe(channel).await
    }
}

impl ConnectionLike for Guarded {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        self.connection.req_packed_command(command)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.connection.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}

impl Connect for Guarded {
    /// To a server of a Cluster. The library knows the certificates of one over TLS and does not tell them: that server
    /// has proved who it is, and is taken at its word.
    fn connect_with_config<'a, T>(info: T, config: AsyncConnectionConfig) -> RedisFuture<'a, Self>
    where
        T: IntoConnectionInfo + Send + 'a,
    {
        async move {
            let info = info.into_connection_info()?;
            if let ConnectionAddr::Tcp(host, port) = info.addr() {
                let connecting = Self::connect((host, *port), None, info.redis_settings(), config);
                let Ok(connected) = timeout(CLUSTER_CONNECT_MAX, connecting).await else {
                    return Err(io::Error::from(io::ErrorKind::TimedOut).into());
                };
                return connected;
            }
            let connection =
                Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await?;
            Ok(Self { connection, _driver: None })
        }
        .boxed()
    }
}

/// A stream that ends when what comes is no answer of a Redis, or has no end.
struct Bounded<S> {
    stream: S,
    bounds: Bounds,
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if matches!(read, Poll::Ready(Ok(()))) {
            let news = buffer.filled().get(before..).unwrap_or_default();
            if let Err(unbounded) = self.bounds.follow(news) {
                // The kind by which the library takes a connection for lost.
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, unbounded)));
            }
        }
        read
    }
}

write_through!(Bounded);
