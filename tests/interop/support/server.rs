//! The server under test: the `iceway` binary with a configuration file in a directory of its own.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};

use super::ports::{RelayRange, free_port};
use super::{Authority, Process};

/// The secret of time-limited credentials that every server here has.
pub(crate) const SECRET: &str = "interop-secret-of-32-characters!";
/// The realm of every server here.
pub(crate) const REALM: &str = "interop.test";
/// The static user and its password.
pub(crate) const USER: (&str, &str) = ("alice", "interop-password");

const START_LIMIT: Duration = Duration::from_secs(20);

/// How a server differs from the usual one: keys of the configuration file and their values, as TOML.
#[derive(Default)]
pub(crate) struct Setup(BTreeMap<String, String>);

impl Setup {
    pub(crate) fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.0.insert(key.to_owned(), value.to_string());
        self
    }

    /// Lets clients reach peers on this machine, which the default policy denies.
    pub(crate) fn loopback_peers(self) -> Self {
        self.with("peers.allow", r#"["127.0.0.0/8", "::1/128"]"#)
    }
}

/// A running server on free ports of both loopback addresses, or of another address.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    pub(crate) authority: Authority,
    pub(crate) http: SocketAddr,
    // Given back when the server ends.
    _relay: RelayRange,
    directory: TestDirectory,
}

impl Server {
    pub(crate) fn start(setup: Setup) -> Self {
        Self::start_with(Command::new(env!("CARGO_BIN_EXE_iceway")), setup)
    }

    /// Starts `program`, which must run the binary with the arguments it is given.
    pub(crate) fn start_with(mut program: Command, setup: Setup) -> Self {
        let directory = TestDirectory::new("server");
        let authority = Authority::new(directory.path());
        authority.issue("first");
        let (port, tls_port, http_port) = (free_port(), free_port(), free_port());
        let users = directory.path().join("users");
        std::fs::write(&users, format!("{}:{}\n", USER.0, USER.1)).unwrap();
        std::fs::set_permissions(&users, PermissionsExt::from_mode(0o600)).unwrap();
        let relay = RelayRange::take();
        let mut keys = usual_keys([port, tls_port, http_port], &relay, &authority, &users);
        keys.extend(setup.0);
        let http = keys["http.listen"].trim_matches('"').parse().unwrap();
        let file = directory.path().join("iceway.toml");
        let lines: Vec<String> = keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        std::fs::write(&file, lines.concat()).unwrap();
        program.arg("serve").arg("--config").arg(file);
        // The tester's own configuration must not reach the server.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"ICEWAY_") {
                program.env_remove(name);
            }
        }
        let mut process = Process::start(program, directory.path(), "iceway");
        process.wait_until("ready", START_LIMIT, |_| matches!(get(http, "/readyz"), Some((200, _))));
        Self { process, port, tls_port, authority, http, _relay: relay, directory }
    }

    /// The plain listener on 127.0.0.1.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port)
    }

    /// Where tools run for this server may write.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The whole page of metrics.
    pub(crate) fn metrics(&self) -> String {
        let (status, body) = get(self.http, "/metrics").expect("the HTTP listener answers");
        assert_eq!(status, 200, "/metrics: {body}");
        body
    }

    /// The sum of all series of a metric whose labels contain every one of `labels` (`reason="x"`).
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let page = self.metrics();
        let series = page.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        let values: Vec<f64> = series.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        assert!(!values.is_empty(), "no series of {name} with {labels:?} in:\n{page}");
        values.iter().sum()
    }
}

/// The configuration that tests start from. Dotted keys, so that a test can add any key.
fn usual_keys(
    ports: [u16; 3],
    relay: &RelayRange,
    authority: &Authority,
    users: &Path,
) -> BTreeMap<String, String> {
    let [port, tls_port, http_port] = ports;
    let both = |port| format!(r#"["127.0.0.1:{port}", "[::1]:{port}"]"#);
    [
        ("listen.udp", both(port)),
        ("listen.tcp", both(port)),
        ("listen.tls", both(tls_port)),
        ("relay.port_min", relay.first.to_string()),
        ("relay.port_max", relay.last.to_string()),
        ("tls.certificate", format!("{:?}", authority.certificate_path())),
        ("tls.private_key", format!("{:?}", authority.key_path())),
        ("auth.realm", format!("{REALM:?}")),
        ("auth.secret", format!("{SECRET:?}")),
        ("auth.users_file", format!("{users:?}")),
        ("http.listen", format!("\"127.0.0.1:{http_port}\"")),
        ("log.level", "\"debug\"".to_owned()),
        ("log.format", "\"text\"".to_owned()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// One HTTP request; `None` if nothing answers.
pub(crate) fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// Username and password of a credential that is good for an hour.
pub(crate) fn time_limited_credential(user: &str) -> (String, String) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let username = format!("{}:{user}", now + 3600);
    let password = time_limited_password(&username);
    (username, password)
}

/// The password that belongs to a time-limited username, worked out without the code under test.
pub(crate) fn time_limited_password(username: &str) -> String {
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(username.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// A directory under `target/` that goes when the test passes and stays when it fails.
pub(crate) struct TestDirectory(PathBuf);

impl TestDirectory {
    pub(crate) fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("interop-{}-{number}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestDirectory {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // What remains is under target/ and harms nobody.
            drop(std::fs::remove_dir_all(&self.0));
        }
    }
}
