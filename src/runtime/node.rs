//! The relay of one process: its shards and how others reach them.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    thread::JoinHandle,
};

use super::{
    addresses,
    clock::{Clock, SystemRandom},
    descriptors,
    handle::{HandleShared, NodeHandle},
    listen::{self, ShardListeners},
    public::Found,
    reload::{Fixed, Rules},
    shard_thread::{self, ShardSetup},
    start::{Start, Told},
    stream::StreamAdmission,
    sys,
    tls::{TlsError, TlsStore},
};
use crate::{
    config::Config,
    credentials::Revocations,
    turn::{self, NonceKey, Ports, Setup, Shared, TotalBudget, Transport},
};

/// A running relay: one thread per shard.
#[derive(Debug)]
pub struct Node {
    listening: Vec<Listening>,
    handle: NodeHandle,
    threads: Vec<JoinHandle<()>>,
}

/// An address that clients are listened for at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// What is spoken there first of all; a TCP listener also takes TLS if there is a certificate.
    pub transport: Transport,
    /// The address, with the actual port.
    pub address: SocketAddr,
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listening address cannot be bound.
    #[error("cannot listen on {transport} {address}: {source}", transport = .transport.as_str())]
    Listen {
        /// What would have been spoken there.
        transport: Transport,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system refuses something else.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl StartError {
    fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// The sockets that clients send to, bound but not yet served: what arrives waits in the kernel.
#[derive(Debug)]
pub struct Listeners {
    listening: Vec<Listening>,
    by_shard: Vec<ShardListeners>,
    interfaces: Vec<IpAddr>,
    tls: Option<Arc<TlsStore>>,
    found: Found,
}

impl Listeners {
    /// Reads the certificate and binds every listener once for each shard.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn bind(config: &Config) -> Result<Self, StartError> {
        descriptors::raise(config);
        let tls = TlsStore::load(&config.tls)?;
        let interfaces =
            sys::interface_addresses().map_err(StartError::system("list this machine's addresses"))?;
        let shards = match config.runtime.shards {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            shards => shards,
        };
        let wanted = addresses::wanted(&config.listen, &interfaces);
        let (listening, by_shard) = listen::bind_all(&wanted, shards, config.runtime.socket_buffer_bytes)?;
        Ok(Self { listening, by_shard, interfaces, tls, found: Found::configured(&config.relay) })
    }

    /// Where clients are listened for, with the actual ports.
    #[must_use]
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// What is known of public addresses instead of what is written down.
    pub fn set_found(&mut self, found: Found) {
        self.found = found;
    }

    /// What is known of public addresses.
    #[must_use]
    pub const fn found(&self) -> &Found {
        &self.found
    }
}

impl Node {
    /// Binds every listener and starts the shards.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(config: &Config, start: Start) -> Result<Self, StartError> {
        Self::start_on(Listeners::bind(config)?, config, start)
    }

    /// Starts the shards behind listeners that were bound for the same configuration.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn start_on(listeners: Listeners, config: &Config, start: Start) -> Result<Self, StartError> {
        let Listeners { listening, by_shard, interfaces, tls, found } = listeners;
        let mut fixed = Fixed {
            listeners: listening.iter().map(|one| one.address).collect(),
            relay: config.relay.clone(),
            public: Vec::new(),
            interfaces,
        };
        fixed.set_found(&found);
        let cores = CoreParts::new(config, &fixed, &start);
        let admission = Arc::new(StreamAdmission::new(&config.streams));
        let clock = Clock::start();
        let mut threads = Vec::new();
        let mut commands = Vec::new();
        for (number, ShardListeners { udp, streams }) in by_shard.into_iter().enumerate() {
            let setup = ShardSetup {
                core: cores.setup(),
                udp,
                streams,
                tls: tls.clone(),
                stream_limits: config.streams.clone(),
                admission: Arc::clone(&admission),
                relay_buffer_bytes: config.runtime.relay_socket_buffer_bytes,
                clock,
                told: Told { shard: number, ended: start.ended.clone(), look_ups: start.look_ups.clone() },
            };
            let (thread, sender) =
                shard_thread::spawn(number, setup).map_err(StartError::system("start a relay thread"))?;
            threads.push(thread);
            commands.push(sender);
        }
        let handle =
            NodeHandle::new(HandleShared::new(commands, tls, fixed, &found, Arc::clone(&cores.shared)));
        Ok(Self { listening, handle, threads })
    }

    /// Where clients are listened for.
    #[must_use]
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// What other threads reach the node by.
    #[must_use]
    pub fn handle(&self) -> NodeHandle {
        self.handle.clone()
    }

    /// Waits until every shard has ended, after [`NodeHandle::shutdown`].
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("A relay thread ended in a panic.");
            }
        }
    }
}

/// What the cores of all shards are made of.
struct CoreParts {
    rules: Rules,
    revocations: Arc<Revocations>,
    shared: Arc<Shared>,
    nonce_key: NonceKey,
}

impl CoreParts {
    fn new(config: &Config, fixed: &Fixed, start: &Start) -> Self {
        let locals: Vec<_> = fixed.public.iter().map(|address| address.local).collect();
        let shared = Shared::new(
            Ports::new(&locals, config.relay.port_min, config.relay.port_max),
            TotalBudget::new(config.bandwidth.total),
        );
        shared.history.set_limits(config.explain);
        Self {
            rules: fixed.rules(config, Arc::clone(&start.directory)),
            revocations: Arc::clone(&start.revocations),
            shared: Arc::new(shared),
            nonce_key: start.nonce_key.clone(),
        }
    }

    fn setup(&self) -> turn::Setup {
        let Rules { options, directory, policy } = self.rules.clone();
        Setup {
            options,
            directory,
            revocations: Arc::clone(&self.revocations),
            policy,
            shared: Arc::clone(&self.shared),
            nonce_key: self.nonce_key.clone(),
            random: Box::new(SystemRandom::new()),
        }
    }
}
