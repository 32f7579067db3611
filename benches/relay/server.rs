//! The servers under test as processes.

use std::{
    fmt,
    fs::{self, File},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    client::{self, PASSWORD, REALM, USER},
    processor::Meter,
    topology::{LISTEN, PEER, RELAY, SERVER_PROCESSOR, Topology},
};

const PORT: u16 = 3478;
const RELAY_PORTS: (u16, u16) = (20_000, 59_999);
/// What coturn asks for on its listening socket, compiled in.
const LISTEN_BUFFER_BYTES: usize = 2 << 20;
const START_WAIT: Duration = Duration::from_secs(10);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Iceway,
    Coturn,
}

impl Kind {
    /// In the order they are reported.
    pub(crate) const ALL: [Self; 2] = [Self::Iceway, Self::Coturn];
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Iceway => "iceway",
            Self::Coturn => "coturn",
        })
    }
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) iceway: PathBuf,
    pub(crate) coturn: PathBuf,
}

/// A running server; ends with this value, and with this process however that ends.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    receive_threads: Vec<i32>,
}

impl Server {
    /// Starts a server and waits until it answers. Call it on the main thread: the child dies with its thread.
    ///
    /// # Errors
    /// When the program is missing, ends early or does not answer within 10 s; says where its output is.
    pub(crate) fn start(kind: Kind, programs: &Programs, topology: &Topology) -> Result<Self> {
        let log = scratch(&format!("{kind}.log"))?;
        let output = File::create(&log)?;
        let mut command = match kind {
            Kind::Iceway => iceway(&programs.iceway)?,
            Kind::Coturn => coturn(&programs.coturn),
        };
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        topology.server.place(&mut command, SERVER_PROCESSOR);
        let child = command.spawn().with_context(|| format!("starting {kind}: {command:?}"))?;
        let mut server = Self {
            child,
            address: SocketAddr::new(IpAddr::V4(LISTEN), PORT),
            receive_threads: topology.receive_threads().to_vec(),
        };
        server.wait_until_ready(topology).with_context(|| format!("{kind} (output in {})", log.display()))?;
        Ok(server)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Measures this process and the receive path.
    pub(crate) fn meter(&self) -> Meter {
        Meter::new(self.child.id(), &self.receive_threads)
    }

    fn wait_until_ready(&mut self, topology: &Topology) -> Result<()> {
        // Ahead of whatever else this machine does; absent where the kernel does not group sessions.
        let group = format!("/proc/{}/autogroup", self.child.id());
        if Path::new(&group).exists() {
            fs::write(group, "-20")?;
        }
        let started = Instant::now();
        while started.elapsed() < START_WAIT {
            if let Some(status) = self.child.try_wait()? {
                bail!("ended at once: {status}");
            }
            if client::answers(topology, self.address)? {
                return Ok(());
            }
        }
        bail!("does not answer on {} after {} s", self.address, START_WAIT.as_secs())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if the process is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn iceway(program: &Path) -> Result<Command> {
    let (port_min, port_max) = RELAY_PORTS;
    let users = scratch("users")?;
    fs::write(&users, format!("{USER}:{PASSWORD}\n"))?;
    let configuration = format!(
        r#"
[listen]
udp = ["{LISTEN}:{PORT}"]
tcp = []
tls = []
[relay]
addresses = ["{RELAY}"]
port_min = {port_min}
port_max = {port_max}
[auth]
realm = "{REALM}"
users_file = "{users}"
[peers]
allow = ["{PEER}/32"]
[runtime]
shards = 1
socket_buffer_bytes = {LISTEN_BUFFER_BYTES}
[log]
level = "warn"
"#,
        users = users.display(),
    );
    let path = scratch("iceway.toml")?;
    fs::write(&path, configuration)?;
    let mut command = Command::new(program);
    command.arg("serve").arg("--config").arg(path);
    Ok(command)
}

/// One relay thread, no database, no TLS, no TCP, no command-line interface, no log; static user, no quotas. Its
/// socket buffers are compiled in (see README).
fn coturn(program: &Path) -> Command {
    let (port_min, port_max) = RELAY_PORTS;
    let mut command = Command::new(program);
    command.args(["-n", "-m", "1", "--lt-cred-mech", "--no-tls", "--no-dtls", "--no-tcp", "--no-cli"]);
    command.args(["--no-stdout-log", "--simple-log", "--log-file", "/dev/null"]);
    command.args(["--listening-ip", &LISTEN.to_string(), "--relay-ip", &RELAY.to_string()]);
    command.args(["--listening-port", &PORT.to_string()]);
    command.args(["--min-port", &port_min.to_string(), "--max-port", &port_max.to_string()]);
    command.args(["--realm", REALM, "--user", &format!("{USER}:{PASSWORD}")]);
    command.args(["--pidfile", "/dev/null"]);
    command
}

/// A path in the build directory's scratch folder.
fn scratch(name: &str) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("relay-benchmark");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    Ok(folder.join(name))
}
