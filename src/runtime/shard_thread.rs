//! The thread of a shard: a current-thread runtime that waits for sockets, streams and commands.

use std::{
    cell::RefCell,
    io,
    net::{TcpListener, UdpSocket},
    os::fd::OwnedFd,
    rc::Rc,
    sync::{Arc, mpsc as std_mpsc},
    thread::JoinHandle,
};

use tokio::{
    io::unix::AsyncFd,
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::LocalSet,
};

use super::{
    clock::Clock,
    handle::Command,
    shard::Shard,
    start::Told,
    stream::{self, StreamAdmission, StreamSetup, Streams},
    tls::TlsStore,
};
use crate::{
    config,
    credentials::Revocations,
    turn::{ListenerId, Server, Setup},
};

/// What a shard's thread is started with.
pub(super) struct ShardSetup {
    pub(super) core: Setup,
    pub(super) udp: Vec<(ListenerId, UdpSocket)>,
    pub(super) streams: Vec<(ListenerId, TcpListener)>,
    pub(super) tls: Option<Arc<TlsStore>>,
    pub(super) stream_limits: config::Streams,
    pub(super) admission: Arc<StreamAdmission>,
    pub(super) relay_buffer_bytes: usize,
    pub(super) clock: Clock,
    pub(super) told: Told,
}

/// Starts the thread of shard `number`. Returns once it serves.
///
/// # Errors
/// The system gives no thread, epoll instance or timer.
pub(super) fn spawn(
    number: usize,
    setup: ShardSetup,
) -> io::Result<(JoinHandle<()>, UnboundedSender<Command>)> {
    let (commands, received) = mpsc::unbounded_channel();
    let (started, is_started) = std_mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("relay-{number}")).spawn(move || {
        if let Err(error) = run(setup, received, &started) {
            tracing::error!(%error, shard = number, "A relay thread ended.");
            // If it had started before, nobody listens any more.
            let _heard = started.try_send(Err(error));
        }
    })?;
    is_started.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))?;
    Ok((thread, commands))
}

fn run(
    setup: ShardSetup,
    commands: UnboundedReceiver<Command>,
    started: &std_mpsc::SyncSender<io::Result<()>>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let server = Server::new(setup.core);
        let shard = Shard::new(server, setup.udp, setup.relay_buffer_bytes, setup.clock, setup.told)?;
        let readiness = shard.readiness()?;
        let shard = Rc::new(RefCell::new(shard));
        let setup = StreamSetup {
            listeners: setup.streams,
            tls: setup.tls,
            limits: setup.stream_limits,
            admission: setup.admission,
        };
        let streams = stream::serve_streams(&shard, setup)?;
        // The receiver waits for exactly this.
        let _heard = started.try_send(Ok(()));
        serve(&shard, &readiness, &streams, commands).await?;
        shard.borrow_mut().close_all();
        streams.close();
        streams.closed().await;
        Ok(())
    })
}

async fn serve(
    shard: &RefCell<Shard>,
    readiness: &AsyncFd<OwnedFd>,
    streams: &Streams,
    mut commands: UnboundedReceiver<Command>,
) -> io::Result<()> {
    loop {
        tokio::select! {
            biased;
            command = commands.recv() => {
                let Some(command) = command else { return Ok(()) };
                if obey(shard, streams, command).await? {
                    return Ok(());
                }
            }
            ready = readiness.readable() => {
                let mut ready = ready?;
                let busy = shard.borrow_mut().turns()?;
                if busy {
                    // Streams and commands get their turn.
                    tokio::task::yield_now().await;
                } else {
                    ready.clear_ready();
                }
            }
        }
    }
}

/// Does what it is told. Answers whether that was to end.
async fn obey(shard: &RefCell<Shard>, streams: &Streams, command: Command) -> io::Result<bool> {
    // Whoever asked may have given up waiting for an answer.
    match command {
        Command::Snapshot(answer) => drop(answer.send(shard.borrow().snapshot(streams.counters()))),
        Command::Reload(rules) => shard.borrow_mut().reload(rules),
        Command::SetRelayAddresses(addresses) => shard.borrow_mut().set_relay_addresses(addresses),
        Command::SetDirectory(directory) => shard.borrow_mut().set_directory(directory),
        Command::Revoke(revocations, answer) => drop(answer.send(revoke(shard, revocations).await?)),
        Command::List(query, answer) => drop(answer.send(shard.borrow().list(&query))),
        Command::Close(id, answer) => drop(answer.send(shard.borrow_mut().close_allocation(id))),
        Command::KeyIdsInUse(answer) => drop(answer.send(shard.borrow().key_ids_in_use())),
        Command::Found(id, key) => shard.borrow_mut().found(id, key),
        Command::Drain(alternates) => shard.borrow_mut().start_drain(alternates),
        Command::StopDrain => shard.borrow_mut().stop_drain(),
        Command::Shutdown => return Ok(true),
    }
    Ok(false)
}

/// Ends what is revoked, with packets and streams in between. Answers how many allocations that were.
async fn revoke(shard: &RefCell<Shard>, revocations: Arc<Revocations>) -> io::Result<usize> {
    let mut cut = shard.borrow_mut().set_revocations(revocations);
    let mut ended = cut.ended;
    while !cut.is_done {
        shard.borrow_mut().turns()?;
        tokio::task::yield_now().await;
        cut = shard.borrow_mut().go_on_revoking();
        ended += cut.ended;
    }
    Ok(ended)
}
