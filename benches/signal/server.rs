//! The servers under test as processes, each on one processor.

use std::{
    env, fmt,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};

use crate::{
    machine::SERVER_PROCESSOR,
    signal_support::{Issuer, Node, Setup},
    support_redis::Redis,
};

const START_LIMIT: Duration = Duration::from_secs(20);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Kind {
    Iceway,
    Bare,
    Ws,
    SocketIo,
    IcewayTls,
    BareTls,
    IcewayTwo,
    BareTwo,
    SocketIoTwo,
}

impl Kind {
    /// In the order they are measured and reported.
    pub(crate) const ALL: [Self; 9] = [
        Self::Iceway,
        Self::Bare,
        Self::Ws,
        Self::SocketIo,
        Self::IcewayTls,
        Self::BareTls,
        Self::IcewayTwo,
        Self::BareTwo,
        Self::SocketIoTwo,
    ];

    /// The bare relay to compare it with.
    pub(crate) const fn beside(self) -> Option<Self> {
        match self {
            Self::Iceway | Self::Ws | Self::SocketIo => Some(Self::Bare),
            Self::IcewayTls => Some(Self::BareTls),
            Self::IcewayTwo | Self::SocketIoTwo => Some(Self::BareTwo),
            Self::Bare | Self::BareTls | Self::BareTwo => None,
        }
    }

    /// What the command line calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Iceway => "iceway",
            Self::Bare => "bare",
            Self::Ws => "ws",
            Self::SocketIo => "socket.io",
            Self::IcewayTls => "iceway-tls",
            Self::BareTls => "bare-tls",
            Self::IcewayTwo => "iceway-2",
            Self::BareTwo => "bare-2",
            Self::SocketIoTwo => "socket.io-2",
        }
    }

    pub(crate) const fn is_iceway(self) -> bool {
        matches!(self, Self::Iceway | Self::IcewayTls | Self::IcewayTwo)
    }

    pub(crate) const fn is_socket_io(self) -> bool {
        matches!(self, Self::SocketIo | Self::SocketIoTwo)
    }

    /// Whether it asks idle sockets whether they are there.
    pub(crate) const fn has_heartbeat(self) -> bool {
        self.is_iceway() || self.is_socket_io()
    }

    /// Whether messages go from one node to another.
    pub(crate) const fn has_two_nodes(self) -> bool {
        matches!(self, Self::IcewayTwo | Self::BareTwo | Self::SocketIoTwo)
    }

    const fn has_tls(self) -> bool {
        matches!(self, Self::IcewayTls | Self::BareTls)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Iceway => "iceway",
            Self::Bare => "bare axum relay",
            Self::Ws => "`ws` on Node.js",
            Self::SocketIo => "Socket.IO on Node.js",
            Self::IcewayTls => "iceway, TLS",
            Self::BareTls => "bare axum relay, TLS",
            Self::IcewayTwo => "iceway, two nodes",
            Self::BareTwo => "bare axum relay, two nodes",
            Self::SocketIoTwo => "Socket.IO with its Redis adapter, two nodes",
        })
    }
}

/// A running server, one process or two. Ends with this value.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    /// Of each process.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) issuer: Issuer,
    /// A node of ours.
    nodes: Vec<Node>,
    peers: Vec<Peer>,
    redis: Option<Redis>,
}

/// A process that is no node of ours.
struct Peer(Child);

impl Server {
    /// Starts a server and waits until it listens; `None` if it is one of others and not installed.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start(kind: Kind, iceway: &Path) -> Result<Option<Self>> {
        let certificate = kind.has_tls().then(certificate).transpose()?;
        let tls =
            certificate.as_ref().map(|certificate| client_config(&certificate.authority)).transpose()?;
        let redis = kind.has_two_nodes().then(Redis::start);
        let (nodes, peers) = (Vec::new(), Vec::new());
        let mut server =
            Self { kind, addresses: Vec::new(), tls, issuer: Issuer::new(), nodes, peers, redis };
        for number in 0..if kind.has_two_nodes() { 2 } else { 1 } {
            if kind.is_iceway() {
                server.add_node(iceway, number, certificate.as_ref());
            } else if !server.add_peer(number, certificate.as_ref())? {
                return Ok(None);
            }
        }
        server.wait_until_met();
        Ok(Some(server))
    }

    /// The processes under test, Redis not among them.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let nodes = self.nodes.iter().map(Node::pid);
        nodes.chain(self.peers.iter().map(|peer| peer.0.id())).collect()
    }

    /// Processor time of all threads, exact to the nanosecond, blind to other processes.
    pub(crate) fn spent(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for id in self.processes() {
            for task in fs::read_dir(format!("/proc/{id}/task"))? {
                let text = fs::read_to_string(task?.path().join("schedstat"))?;
                let time: u64 = text.split_whitespace().next().context("schedstat")?.parse()?;
                nanoseconds += time;
            }
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// The memory that the first process holds.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let id = self.processes().first().copied().context("a process")?;
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS")?;
        Ok(line.split_whitespace().nth(1).context("VmRSS")?.parse::<u64>()? * 1024)
    }

    /// Where the WebSocket is.
    pub(crate) const fn path(&self) -> &'static str {
        if self.kind.is_socket_io() { "/socket.io/?EIO=4&transport=websocket" } else { "/v1/signal" }
    }

    fn add_node(&mut self, program: &Path, number: usize, certificate: Option<&Certificate>) {
        let mut setup =
            Setup::default().unlimited().program(program).run_by(&["taskset", "-c", SERVER_PROCESSOR]);
        if let Some(certificate) = certificate {
            setup = setup
                .with("tls.certificate", format!("{:?}", certificate.file))
                .with("tls.private_key", format!("{:?}", certificate.key));
        }
        if let Some(redis) = &self.redis {
            setup = setup.in_cluster(&format!("n{}", number + 1), &redis.url());
        }
        let node = Node::start(&self.issuer, setup);
        self.addresses.push(node.http);
        self.nodes.push(node);
    }

    /// Whether it is installed.
    fn add_peer(&mut self, number: usize, certificate: Option<&Certificate>) -> Result<bool> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let redis = self.redis.as_ref().map(Redis::url);
        let mut command = match self.kind {
            Kind::Ws => node_js("ws.js")?,
            Kind::SocketIo | Kind::SocketIoTwo => node_js("socketio.js")?,
            Kind::Bare | Kind::BareTls | Kind::BareTwo => Some(pinned(&env::current_exe()?)),
            Kind::Iceway | Kind::IcewayTls | Kind::IcewayTwo => bail!("no peer"),
        };
        let Some(command) = &mut command else { return Ok(false) };
        if matches!(self.kind, Kind::Bare | Kind::BareTls | Kind::BareTwo) {
            command.arg("--serve-bare").arg(address.to_string());
            if let Some(certificate) = certificate {
                command.arg("--tls").arg(&certificate.file).arg(&certificate.key);
            }
            if let Some(redis) = redis {
                command.arg("--redis").arg(redis).arg(number.to_string());
            }
        } else {
            command.arg(address.port().to_string()).args(redis);
        }
        let output = File::create(scratch("peer.log")?)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let mut peer = Peer(command.spawn().with_context(|| format!("{command:?}"))?);
        peer.wait_until_it_listens(address).with_context(|| self.kind.to_string())?;
        self.peers.push(peer);
        self.addresses.push(address);
        Ok(true)
    }

    fn wait_until_met(&self) {
        let deadline = Instant::now() + START_LIMIT;
        while !self.nodes.iter().all(|node| node.known_nodes() == self.nodes.len().max(1))
            && Instant::now() < deadline
        {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Peer {
    fn wait_until_it_listens(&mut self, address: SocketAddr) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.0.try_wait()? {
                bail!("it ended: {status}; see {}", scratch("peer.log")?.display());
            }
            if Instant::now() > deadline {
                bail!("it does not listen");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail only if the process is gone already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A script of `peers/`, if Node.js is there and npm gets what it needs.
fn node_js(script: &str) -> Result<Option<Command>> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/signal/peers");
    let folder = scratch("peers")?;
    fs::create_dir_all(&folder)?;
    for name in ["package.json", script] {
        fs::copy(own.join(name), folder.join(name))?;
    }
    if !folder.join("node_modules/ws").exists() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]).current_dir(&folder);
        if !npm.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
            return Ok(None);
        }
    }
    let mut command = pinned(Path::new("node"));
    command.arg(folder.join(script)).current_dir(folder).env("NODE_ENV", "production");
    Ok(Some(command))
}

/// `program` on the servers' processor, ended with this process.
fn pinned(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "taskset", "-c", SERVER_PROCESSOR]).arg(program);
    command
}

/// A certificate for localhost in files, and who signed it.
struct Certificate {
    file: PathBuf,
    key: PathBuf,
    authority: CertificateDer<'static>,
}

fn certificate() -> Result<Certificate> {
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let (file, key) = (scratch("certificate.pem")?, scratch("key.pem")?);
    fs::write(&file, signed.cert.pem())?;
    fs::write(&key, signed.signing_key.serialize_pem())?;
    Ok(Certificate { file, key, authority: signed.cert.der().clone() })
}

fn client_config(authority: &CertificateDer<'static>) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Every client is somebody else: none resumes the session of another.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A path in the build directory's scratch folder.
fn scratch(name: &str) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("signal-benchmark");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    Ok(folder.join(name))
}
