//! One connection: TLS or not, then requests.

use std::{net::SocketAddr, os::fd::AsFd as _, sync::Arc, time::Duration};

use axum::http::StatusCode;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    front::{Front, Link},
    pace::{Pace, Paced, Times},
    wide::Wide,
};
use crate::runtime::{
    alternative_names,
    descriptors::{self, Purpose},
};

/// Until the first byte has come, and until TLS is negotiated.
const OPENING_TIME_MAX: Duration = Duration::from_secs(10);
/// Request line and headers together.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// After that a connection is asked to close, so that none is held for ever by a caller that does not read.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(300);
/// How long it then has to finish.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(5);
/// The first byte of a TLS connection: a handshake record (RFC 8446 §5.1). No request line begins like that.
const TLS_HANDSHAKE: u8 = 0x16;

/// An accepted connection.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) front: Front,
}

impl Connection {
    /// Answers its requests until it ends. What goes wrong is the caller's affair: a connection closed early, or
    /// headers that are none.
    pub(super) async fn answer(self) {
        // Answers are written whole: waiting for more would only delay them.
        if let Err(error) = self.stream.set_nodelay(true) {
            tracing::trace!(%error, "An HTTP connection was gone at once.");
            return;
        }
        let link = Link::of(self.peer, descriptors::is_left_free(self.stream.as_fd(), Purpose::Signal));
        match timeout(OPENING_TIME_MAX, is_tls(&self.stream)).await {
            Ok(Some(true)) => self.answer_tls(link).await,
            Ok(Some(false)) => serve(Wide::new(self.stream), self.front, link).await,
            // Nothing came.
            Ok(None) | Err(_) => {}
        }
    }

    async fn answer_tls(self, link: Link) {
        let config = match self.front.tls_config() {
            Ok(Some(config)) => config,
            // There is no certificate: closing is all that can be said.
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, "HTTPS cannot be served.");
                return;
            }
        };
        let handshake = TlsAcceptor::from(config).accept(Wide::new(self.stream));
        match timeout(OPENING_TIME_MAX, handshake).await {
            Ok(Ok(stream)) => {
                let certificate = certificate_names(&stream);
                serve(stream, self.front, link.over_tls(certificate)).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "A TLS handshake failed on the HTTP listener."),
            Err(_) => tracing::debug!("A TLS handshake took too long on the HTTP listener."),
        }
    }
}

/// `None` if the connection ended before its first byte.
async fn is_tls(stream: &TcpStream) -> Option<bool> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1..) => Some(first == [TLS_HANDSHAKE]),
        Ok(0) | Err(_) => None,
    }
}

/// The names in the client's certificate, which the handshake has verified.
fn certificate_names(stream: &TlsStream<Wide<TcpStream>>) -> Option<Arc<[Box<str>]>> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    Some(alternative_names(certificate).into())
}

/// Answers the requests on a stream until it ends.
pub(super) async fn serve<S>(stream: S, front: Front, link: Link)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let pace = Pace::new(Times::USUAL);
    let link = Arc::new(link);
    let answering = pace.clone();
    let service = service_fn(move |request| {
        answering.busy();
        let (front, link, pace) = (front.clone(), Arc::clone(&link), answering.clone());
        async move {
            let answer = front.answer(request, &link).await;
            match &answer {
                Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => pace.upgraded(),
                Ok(_) | Err(_) => pace.idle(),
            }
            answer
        }
    });
    let connection = http1::Builder::new()
        .max_buf_size(HEADER_BYTES_MAX)
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(Paced::new(stream, pace)), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = timeout(CONNECTION_TIME_MAX, connection.as_mut()).await;
    let result = match ended {
        Ok(result) => result,
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            timeout(GOODBYE_TIME_MAX, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = result {
        tracing::trace!(%error, "An HTTP connection ended early.");
    }
}
