//! The HTTP listener's threads, with a bound on everything a caller can hold.

mod connection;
mod control;
mod front;
mod pace;
mod threads;
mod tls;
mod wide;
mod within;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::AsFd as _,
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    time::sleep,
};

pub use self::control::{ControlError, ControlListener, ControlServer, serve_control};
pub use self::threads::HttpThreads;
pub use self::within::Within;
use self::{connection::Connection, front::Front};
use super::{Service, routes::router};
use crate::runtime::descriptors::{self, Purpose};

/// How long to wait after the system refused a connection, for want of descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The running HTTP listener. Ends when it is dropped.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    threads: Vec<thread::JoinHandle<()>>,
    reached: HttpThreads,
}

impl HttpServer {
    /// The address, with the actual port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its threads, to be asked whether they answer.
    #[must_use]
    pub fn threads(&self) -> HttpThreads {
        self.reached.clone()
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("An HTTP thread had panicked.");
            }
        }
    }
}

/// Answers on `listener` in threads of its own, as many as `http.threads` says.
///
/// # Errors
/// The system refuses a thread, its event queue or random bytes.
pub fn serve(listener: TcpListener, service: Service) -> io::Result<HttpServer> {
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let http = service.access.rules().http.clone();
    let front = Front::new(router(service.clone()), &service)?;
    let free = Arc::new(Semaphore::new(http.connections_max));
    let (stop, stopped) = watch::channel(false);
    let mut server = HttpServer { address, stop, threads: Vec::new(), reached: HttpThreads::default() };
    for number in 0..http.threads {
        let acceptor = Acceptor {
            listener: listener.try_clone()?,
            front: front.clone(),
            free: Arc::clone(&free),
            stopped: stopped.clone(),
            beside: (number == 0).then(|| service.clone()),
        };
        let name = if number == 0 { "iceway-http".to_owned() } else { format!("iceway-http-{number}") };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        server.reached.add(&name, runtime.handle());
        let thread = thread::Builder::new().name(name).spawn(move || runtime.block_on(acceptor.run()))?;
        server.threads.push(thread);
    }
    Ok(server)
}

/// One thread's share of the listener.
struct Acceptor {
    listener: TcpListener,
    front: Front,
    /// Places for connections, of all threads together.
    free: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
    /// What one of the threads runs beside.
    beside: Option<Service>,
}

impl Acceptor {
    async fn run(mut self) {
        let mut stopped = self.stopped.clone();
        if let Some(service) = self.beside.take() {
            tokio::spawn(service.run_signaling());
        }
        tokio::select! {
            result = self.accept() => {
                if let Err(error) = result {
                    tracing::error!(%error, "The HTTP listener ended.");
                }
            }
            // Either it is told to, or nobody is left who could tell.
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    }

    async fn accept(&mut self) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener.try_clone()?)?;
        loop {
            let Ok(place) = Arc::clone(&self.free).acquire_owned().await else { return Ok(()) };
            match listener.accept().await {
                // A connection that is closed at once is better than one that nobody answers.
                Ok((stream, _)) if descriptors::must_stay_free(stream.as_fd(), Purpose::Http) => drop(stream),
                Ok((stream, peer)) => {
                    let connection = Connection { stream, peer, front: self.front.clone() };
                    tokio::spawn(async move {
                        connection.answer().await;
                        drop(place);
                    });
                }
                Err(error) => {
                    descriptors::is_shortage(&error, Purpose::Http);
                    tracing::debug!(%error, "An HTTP connection could not be accepted.");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}
