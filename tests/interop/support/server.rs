//! The server under test: the `iceway` binary with a configuration file in a directory of its own.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Digest;

use super::http::{Http, Reply};
use super::ports::{RelayRange, free_port};
use super::{Authority, Process};

/// The secret of time-limited credentials that every server here has.
pub(crate) const SECRET: &str = "interop-secret-of-32-characters!";
/// The realm of every server here.
pub(crate) const REALM: &str = "interop.test";
/// The static user and its password.
pub(crate) const USER: (&str, &str) = ("alice", "interop-password");

const START_LIMIT: Duration = Duration::from_secs(20);

/// An API key that every server here has, for everything.
pub(crate) const API_KEY: &str = "iw_interop0_A-key-of-43-characters-for-black-box-tests_";

/// How a server differs from the usual one: keys of the configuration file and their values, as TOML.
#[derive(Clone)]
pub(crate) struct Setup {
    keys: BTreeMap<String, String>,
    ip: Ipv4Addr,
}

impl Default for Setup {
    fn default() -> Self {
        Self { keys: BTreeMap::new(), ip: Ipv4Addr::LOCALHOST }
    }
}

impl Setup {
    /// An empty value leaves the key out.
    pub(crate) fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.keys.insert(key.to_owned(), value.to_string());
        self
    }

    /// Serves on this address of 127.0.0.0/8 instead of 127.0.0.1.
    pub(crate) fn on(self, ip: Ipv4Addr) -> Self {
        Self { ip, ..self }
    }

    /// Lets clients reach peers on this machine, which the default policy denies.
    pub(crate) fn loopback_peers(self) -> Self {
        self.with("peers.allow", r#"["127.0.0.0/8", "::1/128"]"#)
    }
}

/// A running server on free ports of a loopback address and `::1`, or of another address.
pub(crate) struct Server {
    pub(crate) process: Process,
    ip: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    pub(crate) authority: Authority,
    pub(crate) http: SocketAddr,
    // Given back when the server ends.
    relay: RelayRange,
    directory: TestDirectory,
}

impl Server {
    pub(crate) fn start(setup: Setup) -> Self {
        Self::start_with(Command::new(env!("CARGO_BIN_EXE_iceway")), setup)
    }

    /// Starts `program`, which must run the binary with the arguments it is given.
    pub(crate) fn start_with(program: Command, setup: Setup) -> Self {
        let directory = TestDirectory::new("server");
        let authority = Authority::new(directory.path());
        authority.issue("first");
        let (port, tls_port, http_port) = (free_port(), free_port(), free_port());
        let users = directory.path().join("users");
        std::fs::write(&users, format!("{}:{}\n", USER.0, USER.1)).unwrap();
        std::fs::set_permissions(&users, PermissionsExt::from_mode(0o600)).unwrap();
        let keys_file = directory.path().join("api-keys");
        std::fs::write(&keys_file, api_key_line()).unwrap();
        let relay = RelayRange::take();
        let files = Files { users: &users, api_keys: &keys_file, authority: &authority };
        let mut keys = usual_keys(setup.ip, [port, tls_port, http_port], &relay, &files);
        keys.extend(setup.keys);
        let http = keys["http.listen"].trim_matches('"').parse().unwrap();
        keys.retain(|_, value| !value.is_empty());
        let lines: Vec<String> = keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        std::fs::write(directory.path().join("iceway.toml"), lines.concat()).unwrap();
        let process = run(program, directory.path(), http, "iceway");
        Self { process, ip: setup.ip, port, tls_port, authority, http, relay, directory }
    }

    /// Ends it with `kill -9`; [`restart`](Self::restart) brings it back.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again with the same configuration, on the same ports, once it has ended.
    pub(crate) fn restart(&mut self) {
        let program = Command::new(env!("CARGO_BIN_EXE_iceway"));
        self.process = run(program, self.directory.path(), self.http, "iceway-again");
    }

    /// The plain listener of UDP and TCP.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.ip), self.port)
    }

    /// A GET of the API with the key for everything.
    pub(crate) fn get(&self, path: &str) -> Reply {
        Http::get(self.http, path).key(API_KEY).send()
    }

    /// A POST of the API with the key for everything.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        Http::post(self.http, path).key(API_KEY).json(body).send()
    }

    /// The ports of relayed addresses.
    pub(crate) fn relay_ports(&self) -> std::ops::RangeInclusive<u16> {
        self.relay.first..=self.relay.last
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
        let values: Vec<f64> = values(&page, name, labels);
        assert!(!values.is_empty(), "no series of {name} with {labels:?} in:\n{page}");
        values.iter().sum()
    }
}

fn values(page: &str, name: &str, labels: &[&str]) -> Vec<f64> {
    let series = page.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    });
    series.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
}

/// Starts the binary with the configuration file of `directory`, its output in `log`, and waits until it is ready.
fn run(mut program: Command, directory: &Path, http: SocketAddr, log: &str) -> Process {
    program.arg("serve").arg("--config").arg(directory.join("iceway.toml"));
    // The tester's own configuration must not reach the server.
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"ICEWAY_") {
            program.env_remove(name);
        }
    }
    let mut process = Process::start(program, directory, log);
    process.wait_until("ready", START_LIMIT, |_| matches!(get(http, "/readyz"), Some((200, _))));
    process
}

/// The line of `api.keys_file` for [`API_KEY`].
fn api_key_line() -> String {
    let id = API_KEY.split('_').nth(1).unwrap();
    let hash: String = sha2::Sha256::digest(API_KEY).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{id} {hash} issue,revoke,admin,read\n")
}

/// Files of a server.
struct Files<'a> {
    users: &'a Path,
    api_keys: &'a Path,
    authority: &'a Authority,
}

/// The configuration that tests start from. Dotted keys, so that a test can add any key.
fn usual_keys(
    ip: Ipv4Addr,
    ports: [u16; 3],
    relay: &RelayRange,
    files: &Files<'_>,
) -> BTreeMap<String, String> {
    let [port, tls_port, http_port] = ports;
    let Files { users, api_keys, authority } = files;
    let both = |port| format!(r#"["{ip}:{port}", "[::1]:{port}"]"#);
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
        ("api.keys_file", format!("{api_keys:?}")),
        // Tests ask faster than anybody may.
        ("api.rate_per_caller", "0".to_owned()),
        ("api.rate_per_user", "0".to_owned()),
        ("http.listen", format!("\"{ip}:{http_port}\"")),
        ("log.level", "\"debug\"".to_owned()),
        ("log.format", "\"text\"".to_owned()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// One HTTP request without a key; `None` if nothing answers.
pub(crate) fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let reply = Http::get(address, path).try_send().ok()?;
    Some((reply.status, reply.body))
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
    password_by(SECRET, username)
}

/// The same by another secret.
pub(crate) fn password_by(secret: &str, username: &str) -> String {
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(secret.as_bytes()).unwrap();
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
