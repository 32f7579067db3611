//! A running `iceway serve` with a directory of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStderr, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use iceway::cluster::sha256;
use serde_json::Value;

use crate::http::{Answer, Request};

/// How long anything that must happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A directory that is removed in the end.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("iceway-access-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file and says where it is, as TOML writes it. A new file in the place of an old one.
    pub(crate) fn write(&self, name: &str, content: &str) -> String {
        fs::write(self.path("new"), content).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
        format!("{:?}", self.path(name).display().to_string())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The text of a key whose id is `id`.
pub(crate) fn key_text(id: &str) -> String {
    format!("iw_{id}_{}", id.repeat(43).get(..43).unwrap())
}

/// The server's process; ended when it is dropped.
pub(crate) struct Server {
    child: Child,
    log: Arc<(Mutex<Vec<String>>, Condvar)>,
    pub(crate) http: SocketAddr,
    pub(crate) directory: Directory,
}

impl Server {
    /// With these lines of keys (`id scopes networks`) and the rest of a configuration.
    pub(crate) fn start(keys: &[&str], rest: &str) -> Self {
        Self::start_in(Directory::new(), keys, rest)
    }

    pub(crate) fn start_in(directory: Directory, keys: &[&str], rest: &str) -> Self {
        let lines: Vec<String> = keys.iter().map(|line| key_line(line)).collect();
        let keys_file = directory.write("api-keys", &lines.join("\n"));
        let rest = if rest.contains("[api]") {
            rest.replace("[api]", &format!("[api]\nkeys_file = {keys_file}"))
        } else {
            format!("{rest}\n[api]\nkeys_file = {keys_file}\n")
        };
        directory.write("iceway.toml", &rest);
        let mut child = Command::new(env!("CARGO_BIN_EXE_iceway"))
            .args(["serve", "--listen-udp=127.0.0.1:0", "--listen-tcp=127.0.0.1:0", "--runtime-shards=1"])
            .args(["--http-listen=127.0.0.1:0", "--log-level=trace", "--config"])
            .arg(directory.path("iceway.toml"))
            .env_clear()
            .env("ICEWAY_AUTH_SECRET", "a secret of many characters")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = follow(child.stderr.take().unwrap());
        let mut server = Self { child, log, http: SocketAddr::from(([127, 0, 0, 1], 0)), directory };
        let line = server.logged("Listening for HTTP.");
        server.http = line["address"].as_str().unwrap().parse().unwrap();
        server.logged("Ready.");
        server
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        self.log.0.lock().unwrap().join("\n")
    }

    /// Waits for a line of the log.
    pub(crate) fn logged(&self, message: &str) -> Value {
        self.logged_again(message, 0)
    }

    /// Waits for one more than so many.
    fn logged_again(&self, message: &str, before: usize) -> Value {
        let find = |lines: &[String]| {
            let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.filter(|line| line["message"] == message).nth(before)
        };
        let (lines, more) = &*self.log;
        let lines = lines.lock().unwrap();
        let (lines, _) = more.wait_timeout_while(lines, PATIENCE, |lines| find(lines).is_none()).unwrap();
        find(&lines).unwrap_or_else(|| panic!("{message} in {}", lines.join("\n")))
    }

    /// Has it read its configuration again.
    pub(crate) fn reload(&self) {
        let before = self.log().matches("\"Reloaded.\"").count();
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
        self.logged_again("Reloaded.", before);
    }

    /// Sends a request on a connection of its own.
    pub(crate) fn send(&self, request: &Request) -> Answer {
        request.send(self.http)
    }

    /// `GET` with this bearer.
    pub(crate) fn get(&self, path: &str, bearer: &str) -> Answer {
        self.send(&Request::get(path).bearer(bearer))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn key_line(line: &str) -> String {
    let (id, rest) = line.split_once(' ').unwrap();
    let hash: String = sha256(&key_text(id)).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{id} {hash} {rest}")
}

/// The value of a metric.
pub(crate) fn metric(server: &Server, series: &str) -> u64 {
    let text = server.send(&Request::get("/metrics")).body;
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} in {text}")).parse().unwrap()
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
