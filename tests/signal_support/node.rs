//! A running `iceway serve` with a directory of its own.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use sha2::Digest as _;

use super::{
    Issuer, PATIENCE,
    issuer::{AUDIENCE, ISSUER},
};

/// An API key that every node here has, for everything.
pub(crate) const API_KEY: &str = "iw_signal00_A-key-of-43-characters-for-black-box-tests_";
const SCOPES: &str = "issue,revoke,admin,read,signal";
/// What nodes of one cluster seal their messages with.
pub(crate) const CLUSTER_KEY: &str = "VGhpcnR5LXR3by1ieXRlcy1vZi1hLWNsdXN0ZXIta2V5IQ==";

/// How a node differs from the usual one: keys of the configuration and their values, as TOML.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    keys: BTreeMap<String, String>,
    redis: Option<String>,
    program: Option<PathBuf>,
    before: Vec<String>,
}

impl Setup {
    pub(crate) fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.keys.insert(key.to_owned(), value.to_string());
        self
    }

    /// Without limits on how often clients do what: tests are faster than people, and all from one address.
    pub(crate) fn unlimited(self) -> Self {
        let zero = [
            "connects_per_second",
            "frames_per_second",
            "bytes_per_second",
            "descriptions_per_second",
            "candidates_per_second",
            "offers_per_minute",
            "offers_per_hour",
            "callees_per_hour",
            "ringing_per_user",
            "offers_per_pair",
            "offers_per_callee",
            "joins_per_minute",
            "errors_per_minute",
        ];
        let setup = zero.into_iter().fold(self, |setup, name| setup.with(&format!("signal.{name}"), 0));
        setup
            .with("signal.unauthenticated_per_address_max", 1_000_000)
            .with("signal.unauthenticated_max", 1_000_000)
    }

    /// As a node of a cluster, under this name, with the Redis at this URL.
    pub(crate) fn in_cluster(mut self, id: &str, redis: &str) -> Self {
        self.redis = Some(redis.to_owned());
        self.with("node.id", format!("{id:?}")).with("redis.url", format!("{redis:?}"))
    }

    /// Another binary than the one just built.
    pub(crate) fn program(mut self, program: &Path) -> Self {
        self.program = Some(program.to_owned());
        self
    }

    /// Run by this command, such as `taskset -c 0`.
    pub(crate) fn run_by(mut self, words: &[&str]) -> Self {
        self.before = words.iter().map(|&word| word.to_owned()).collect();
        self
    }
}

/// The node's process; ended when it is dropped, and with the thread that started it.
pub(crate) struct Node {
    child: Child,
    log: Arc<(Mutex<Vec<String>>, Condvar)>,
    pub(crate) http: SocketAddr,
    directory: PathBuf,
}

impl Node {
    /// Starts one that takes tokens of this issuer, and waits until it is ready.
    pub(crate) fn start(issuer: &Issuer, setup: Setup) -> Self {
        let directory = scratch();
        let mut keys = usual_keys(issuer, &directory);
        if setup.redis.is_some() {
            let file = write_secret(&directory, "cluster-key", &format!("{CLUSTER_KEY}\n"));
            keys.insert("redis.cluster_key_file".to_owned(), file);
        }
        keys.extend(setup.keys);
        let lines: Vec<String> = keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        fs::write(directory.join("iceway.toml"), lines.concat()).unwrap();
        let program = setup.program.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_iceway")));
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).args(setup.before).arg(program);
        command.args(["serve", "--config"]).arg(directory.join("iceway.toml")).env_clear();
        for name in ["PATH", "INTEROP_RUN"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("setpriv (util-linux) starts it");
        let log = follow(child.stderr.take().unwrap());
        let mut node = Self { child, log, http: SocketAddr::from(([127, 0, 0, 1], 0)), directory };
        let line = node.logged("Listening for HTTP.");
        node.http = line["address"].as_str().unwrap().parse().unwrap();
        node.logged("Ready.");
        node
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        // An error means that it has ended already.
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }

    /// Sends a signal, such as TERM to have it drain.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Replaces a file of its directory.
    pub(crate) fn replace_file(&self, name: &str, content: &str) {
        write_secret(&self.directory, name, content);
    }

    /// Changes a key of its configuration and has it read again.
    pub(crate) fn reload_with(&self, key: &str, value: &str) {
        let path = self.directory.join("iceway.toml");
        let text = fs::read_to_string(&path).unwrap();
        let kept = text.lines().filter(|line| line.split(" = ").next() != Some(key));
        let lines: Vec<String> = kept.map(str::to_owned).chain([format!("{key} = {value}")]).collect();
        fs::write(&path, lines.join("\n")).unwrap();
        self.signal(Signal::SIGHUP);
        self.logged("Reloaded.");
    }

    /// Whether the process has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        self.log.0.lock().unwrap().join("\n")
    }

    /// Waits for a line of the log.
    pub(crate) fn logged(&self, message: &str) -> Value {
        let find = |lines: &[String]| {
            let lines = lines.iter().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.into_iter().find(|line| line["message"] == message)
        };
        let (lines, more) = &*self.log;
        let lines = lines.lock().unwrap();
        let (lines, _) = more.wait_timeout_while(lines, PATIENCE, |lines| find(lines).is_none()).unwrap();
        find(&lines).unwrap_or_else(|| panic!("{message} in {}", lines.join("\n")))
    }

    /// A GET of the API with the key for everything.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.request("GET", path, "")
    }

    /// A POST of the API with the key for everything.
    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, String) {
        self.request("POST", path, &body.to_string())
    }

    /// Any request of the API with the key for everything; the status and the body.
    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nAuthorization: Bearer {API_KEY}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.http,
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("{head}")), body.to_owned())
    }

    /// The sum of all series of a metric whose labels contain every one of `labels` (`reason="x"`); 0 if there is none.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let (_, page) = self.get("/metrics");
        let series = page.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        series.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// The nodes that it can reach, itself among them.
    pub(crate) fn known_nodes(&self) -> usize {
        let (_, body) = self.get("/v1/nodes");
        let answer: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{body}"));
        answer["nodes"].as_array().map_or(0, Vec::len)
    }

    /// The memory it holds, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Processor time of all its threads.
    pub(crate) fn processor_time(&self) -> Duration {
        let mut nanoseconds = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap() {
            // A thread may end meanwhile.
            let text = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap_or_default();
            nanoseconds += text.split(' ').next().and_then(|time| time.parse::<u64>().ok()).unwrap_or(0);
        }
        Duration::from_nanos(nanoseconds)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            // What every node says when it starts explains no failure.
            let lines: Vec<&str> = log.lines().filter(|line| !line.contains(r#""level":"INFO""#)).collect();
            let tail = lines.get(lines.len().saturating_sub(40)..).unwrap_or_default();
            // The only place a failed test can tell it.
            drop(writeln!(std::io::stderr(), "--- the node wrote:\n{}\n---", tail.join("\n")));
        }
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// The configuration that tests start from. Dotted keys, so that a test can add any.
fn usual_keys(issuer: &Issuer, directory: &Path) -> BTreeMap<String, String> {
    let hash: String = sha2::Sha256::digest(API_KEY).iter().map(|byte| format!("{byte:02x}")).collect();
    let keys_file = write_secret(directory, "api-keys", &format!("signal00 {hash} {SCOPES}\n"));
    let jwks = write_secret(directory, "jwks.json", &issuer.jwks());
    [
        ("listen.udp", r#"["127.0.0.1:0"]"#.to_owned()),
        ("listen.tcp", "[]".to_owned()),
        ("listen.tls", "[]".to_owned()),
        ("runtime.shards", "1".to_owned()),
        ("auth.realm", r#""signal.test""#.to_owned()),
        ("auth.secret", r#""a secret of thirty-two characters""#.to_owned()),
        ("api.keys_file", keys_file),
        ("api.rate_per_caller", "0".to_owned()),
        ("api.rate_per_user", "0".to_owned()),
        ("jwt.issuer", format!("{ISSUER:?}")),
        ("jwt.audience", format!("[{AUDIENCE:?}]")),
        ("jwt.keys_file", jwks),
        ("http.listen", r#""127.0.0.1:0""#.to_owned()),
        ("log.level", r#""info""#.to_owned()),
        ("log.format", r#""json""#.to_owned()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// Writes a file only its owner can read and says where it is, as TOML writes it.
fn write_secret(directory: &Path, name: &str, content: &str) -> String {
    let path = directory.join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    format!("{:?}", path.display().to_string())
}

fn scratch() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("iceway-signal-{}-{number}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    path
}

/// Keeps every line as it comes.
fn follow(stream: ChildStderr) -> Arc<(Mutex<Vec<String>>, Condvar)> {
    let log = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
    let kept = Arc::clone(&log);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            kept.0.lock().unwrap().push(line);
            kept.1.notify_all();
        }
    });
    log
}
