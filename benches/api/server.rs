//! The servers under test as processes, each on one processor.

use std::{
    env, fmt,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustls::pki_types::CertificateDer;
use sha2::Digest;

use crate::{connection::Protocol, machine::SERVER_PROCESSOR};

const START_LIMIT: Duration = Duration::from_secs(20);
const KEY: &str = "iw_benchmrk_A-key-of-43-characters-for-the-benchmarks--";

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Kind {
    Native,
    Uberti,
    Bare,
    NativeTls,
    BareTls,
    Nginx,
    Redis,
}

impl Kind {
    /// In the order they are measured and reported.
    pub(crate) const ALL: [Self; 7] =
        [Self::Native, Self::Uberti, Self::Bare, Self::NativeTls, Self::BareTls, Self::Nginx, Self::Redis];

    /// The bare handler to compare it with.
    pub(crate) const fn beside(self) -> Option<Self> {
        match self {
            Self::Native | Self::Uberti => Some(Self::Bare),
            Self::NativeTls => Some(Self::BareTls),
            Self::Bare | Self::BareTls | Self::Nginx | Self::Redis => None,
        }
    }

    /// What the command line calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Uberti => "uberti",
            Self::Bare => "bare",
            Self::NativeTls => "native-tls",
            Self::BareTls => "bare-tls",
            Self::Nginx => "nginx",
            Self::Redis => "redis",
        }
    }

    const fn has_tls(self) -> bool {
        matches!(self, Self::NativeTls | Self::BareTls)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Native => "iceway, native form",
            Self::Uberti => "iceway, draft-uberti form",
            Self::Bare => "bare axum handler, JSON in and out",
            Self::NativeTls => "iceway, native form, HTTPS",
            Self::BareTls => "bare axum handler, HTTPS",
            Self::Nginx => "nginx, `return 201`",
            Self::Redis => "redis-server, GET",
        })
    }
}

/// A running server, and how it is asked. Ends with this value.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) request: Vec<u8>,
    /// Who signed its certificate; absent without TLS.
    pub(crate) authority: Option<CertificateDer<'static>>,
}

impl Server {
    /// Starts a server and waits until it listens; `None` if it is one of others and not installed.
    ///
    /// # Errors
    /// When it does not start; its output is in the build directory.
    pub(crate) fn start(kind: Kind, iceway: &Path) -> Result<Option<Self>> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let certificate = kind.has_tls().then(certificate).transpose()?;
        let command = match kind {
            Kind::Native | Kind::Uberti | Kind::NativeTls => {
                iceway_on(iceway, address, certificate.as_ref())?
            }
            Kind::Bare | Kind::BareTls => bare_on(address, certificate.as_ref())?,
            Kind::Nginx => nginx_on(address)?,
            Kind::Redis => redis_on(address)?,
        };
        if !is_installed(&command) {
            return Ok(None);
        }
        let child = spawn(command)?;
        let authority = certificate.map(|certificate| certificate.authority);
        let protocol = if kind == Kind::Redis { Protocol::Resp } else { Protocol::Http };
        let mut server = Self { child, address, protocol, request: request(kind), authority };
        server.wait_until_it_listens().with_context(|| format!("{kind}: see {}", log()))?;
        if kind == Kind::Redis {
            server.fill()?;
        }
        Ok(Some(server))
    }

    /// The process and its children.
    pub(crate) fn processes(&self) -> Result<Vec<u32>> {
        let own = self.child.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        let mut all = vec![own];
        all.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        Ok(all)
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended: {status}");
            }
            if Instant::now() > deadline {
                bail!("it does not listen");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Puts a value of an answer's size into Redis.
    fn fill(&self) -> Result<()> {
        use std::io::{Read, Write};
        let value = include_str!("answer.json").trim_end();
        let mut stream = TcpStream::connect(self.address)?;
        write!(stream, "*3\r\n$3\r\nSET\r\n$6\r\nanswer\r\n${}\r\n{value}\r\n", value.len())?;
        let mut ok = [0; 5];
        stream.read_exact(&mut ok)?;
        anyhow::ensure!(&ok == b"+OK\r\n", "Redis refuses SET");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if the process is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn request(kind: Kind) -> Vec<u8> {
    let http = |path: &str, content: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nContent-Type: {content}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let text = match kind {
        Kind::Native | Kind::NativeTls | Kind::Bare | Kind::BareTls | Kind::Nginx => {
            http("/v1/turn/credentials", "application/json", r#"{"user":"u-123","ttl":3600}"#)
        }
        Kind::Uberti => http("/turn", "application/x-www-form-urlencoded", "service=turn&username=u-123"),
        Kind::Redis => "*2\r\n$3\r\nGET\r\n$6\r\nanswer\r\n".to_owned(),
    };
    text.into_bytes()
}

/// One relay thread, no limits on a caller, no Redis.
fn iceway_on(program: &Path, address: SocketAddr, certificate: Option<&Certificate>) -> Result<Command> {
    let hash: String = sha2::Sha256::digest(KEY).iter().map(|byte| format!("{byte:02x}")).collect();
    let keys = scratch("api-keys")?;
    fs::write(&keys, format!("benchmrk {hash} issue\n"))?;
    let tls = certificate.map_or_else(String::new, |certificate| {
        format!("[tls]\ncertificate = {:?}\nprivate_key = {:?}\n", certificate.file, certificate.key)
    });
    let port = free_port()?;
    let configuration = format!(
        "[listen]\nudp = [\"127.0.0.1:{port}\"]\ntcp = [\"127.0.0.1:{port}\"]\ntls = []\n{tls}\
         [auth]\nsecret = \"a-secret-of-32-characters-or-more\"\n[http]\nlisten = \"{address}\"\n\
         [api]\nkeys_file = {keys:?}\nrate_per_caller = 0\nrate_per_user = 0\n\
         [runtime]\nshards = 1\n[log]\nlevel = \"warn\"\n"
    );
    let file = scratch("iceway.toml")?;
    fs::write(&file, configuration)?;
    let mut command = pinned(program);
    command.arg("serve").arg("--config").arg(file);
    Ok(command)
}

/// This program, as the bare handler.
fn bare_on(address: SocketAddr, certificate: Option<&Certificate>) -> Result<Command> {
    let mut command = pinned(&env::current_exe()?);
    command.arg("--serve-bare").arg(address.to_string());
    if let Some(certificate) = certificate {
        command.arg("--tls").arg(&certificate.file).arg(&certificate.key);
    }
    Ok(command)
}

/// One worker that reads nothing and answers a constant of the same size.
fn nginx_on(address: SocketAddr) -> Result<Command> {
    let answer = include_str!("answer.json").trim_end();
    let folder = scratch("nginx")?;
    fs::create_dir_all(&folder)?;
    let configuration = format!(
        "master_process off; daemon off; pid {folder}/pid; error_log {folder}/error.log;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {folder}/body;\n\
         proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;\n\
         scgi_temp_path {folder}/scgi;\n\
         server {{ listen {address}; default_type application/json; location / {{ return 201 '{answer}'; }} }} }}\n",
        folder = folder.display(),
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration)?;
    let mut command = pinned(Path::new("nginx"));
    command.arg("-c").arg(file);
    Ok(command)
}

fn redis_on(address: SocketAddr) -> Result<Command> {
    let mut command = pinned(Path::new("redis-server"));
    command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", ""]);
    Ok(command)
}

/// `program` on the servers' processor, ended with this process.
fn pinned(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "taskset", "-c", SERVER_PROCESSOR]).arg(program);
    command
}

fn is_installed(command: &Command) -> bool {
    let Some(program) = command.get_args().nth(5) else { return false };
    let program = Path::new(program);
    if program.components().count() > 1 {
        return program.exists();
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    let sbin = [PathBuf::from("/usr/sbin")];
    env::split_paths(&folders).chain(sbin).any(|folder| folder.join(program).exists())
}

fn spawn(mut command: Command) -> Result<Child> {
    let output = File::create(scratch("server.log")?)?;
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"ICEWAY_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    command.spawn().with_context(|| format!("{command:?}"))
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

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn log() -> String {
    scratch("server.log").map_or_else(|_| String::new(), |path| path.display().to_string())
}

/// A path in the build directory's scratch folder.
fn scratch(name: &str) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("api-benchmark");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    Ok(folder.join(name))
}
