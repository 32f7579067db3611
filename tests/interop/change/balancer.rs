//! A load balancer as simple as one can be: each new connection goes to the first node that is ready.

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::support::server::get;

/// Ends when it is dropped; connections it made go on.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    ends: Arc<AtomicBool>,
}

/// A node: where it is asked whether it is ready, and where connections go.
pub(crate) type Backend = (SocketAddr, SocketAddr);

impl Balancer {
    pub(crate) fn start(backends: Vec<Backend>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::on(listener, backends)
    }

    /// On a socket whose address had to be known before.
    pub(crate) fn on(listener: TcpListener, backends: Vec<Backend>) -> Self {
        let address = listener.local_addr().unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if told.load(Ordering::Relaxed) {
                    break;
                }
                let backends = backends.clone();
                // A connection that breaks is its client's to make again.
                thread::spawn(move || drop(serve(client, &backends)));
            }
        });
        Self { address, ends }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // Wakes it up.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(client: TcpStream, backends: &[Backend]) -> io::Result<()> {
    let is_ready = |(http, _): &&Backend| get(*http, "/readyz").is_some_and(|(status, _)| status == 200);
    let Some((_, to)) = backends.iter().find(is_ready) else { return Ok(()) };
    let server = TcpStream::connect(to)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from, back) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || pass_on(from, server));
    pass_on(back, client);
    Ok(())
}

/// Until one of them is done; then so are both.
fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    // However it ends.
    drop(io::copy(&mut from, &mut to));
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}
