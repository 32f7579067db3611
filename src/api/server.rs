//! The HTTP listener's thread, with a bound on everything a caller can hold.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpStream,
    sync::{Semaphore, oneshot},
    time::{sleep, timeout},
};

use super::{Service, routes::router};

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 64;
/// From the first byte of a request to the end of its headers, and between requests.
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);
/// Request line and headers together.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// After that a connection is asked to close, so that none is held for ever by a caller that does not read.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(300);
/// How long it then has to finish.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(5);
/// How long to wait after the system refused a connection, for want of descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The running HTTP listener. Ends when it is dropped.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl HttpServer {
    /// The address, with the actual port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("The HTTP thread had panicked.");
        }
    }
}

/// Answers on `listener` in a thread of its own.
///
/// # Errors
/// The system refuses a thread or its event queue.
pub fn serve(listener: TcpListener, service: Service) -> io::Result<HttpServer> {
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    let thread = thread::Builder::new().name("iceway-http".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                result = accept(listener, router(service)) => {
                    if let Err(error) = result {
                        tracing::error!(%error, "The HTTP listener ended.");
                    }
                }
                _ = stopped => {}
            }
        });
    })?;
    Ok(HttpServer { address, stop: Some(stop), thread: Some(thread) })
}

async fn accept(listener: TcpListener, router: Router) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&free).acquire_owned().await else { return Ok(()) };
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    answer(stream, router).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "An HTTP connection could not be accepted.");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What goes wrong here is the caller's affair: a connection closed early, or headers that are none.
async fn answer(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
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
