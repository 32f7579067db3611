//! A running `iceway serve` with an API key for every scope.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, channel},
    },
    time::Duration,
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    client::SECRET,
    http::{Answer, request},
};

/// How long anything that must happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Scopes with the id of the key that has them.
const KEYS: [(&str, &str); 5] = [
    ("testadmin", "admin"),
    ("testissue", "issue"),
    ("testrevoke", "revoke"),
    ("testread1", "read"),
    ("testboth1", "issue,revoke"),
];

/// The server's process; ended when it is dropped.
pub(crate) struct Server {
    child: Child,
    log: Arc<Mutex<String>>,
    directory: PathBuf,
    pub(crate) udp: SocketAddr,
    pub(crate) http: SocketAddr,
}

/// The text of the key with this scope.
pub(crate) fn key(scope: &str) -> String {
    let (id, _) = KEYS.iter().find(|(_, known)| *known == scope).unwrap();
    let random: String = scope.chars().filter(char::is_ascii_alphanumeric).cycle().take(43).collect();
    format!("iw_{id}_{random}")
}

/// The id of the key with this scope.
pub(crate) fn key_id(scope: &str) -> &'static str {
    KEYS.iter().find(|(_, known)| *known == scope).unwrap().0
}

fn scratch() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("iceway-endpoints-{}-{number}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    path
}

impl Server {
    /// Starts one with these flags beside what every test needs, and waits until it is ready.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let directory = scratch();
        let mut lines = String::new();
        for (id, scopes) in KEYS {
            let hash: String = Sha256::digest(key(scopes)).iter().map(|byte| format!("{byte:02x}")).collect();
            lines.push_str(&format!("{id} {hash} {scopes}\n"));
        }
        let keys = directory.join("keys");
        fs::write(&keys, lines).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_iceway"));
        command
            .arg("serve")
            .args(["--listen-udp=127.0.0.1:0", "--listen-tcp=127.0.0.1:0", "--http-listen=127.0.0.1:0"])
            .args(["--runtime-shards=1", "--node-id=n1", "--node-region=eu", "--node-host=turn.example.org"])
            .args(["--api-rate-per-user=0", "--api-rate-per-caller=0", "--api-authentication-failures=0"])
            .args(["--log-level=debug", "--log-format=json", "--runtime-drain-timeout=0"])
            .arg(format!("--api-keys-file={}", keys.display()))
            .args(flags)
            .env_clear()
            .env("ICEWAY_AUTH_SECRET", SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let lines = follow(child.stderr.take().unwrap(), Arc::clone(&log));
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { child, log, directory, udp: nowhere, http: nowhere };
        loop {
            let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("not ready: {}", server.log()));
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            let address = || line["address"].as_str().unwrap().parse().unwrap();
            match line["message"].as_str() {
                Some("Listening.") if line["transport"] == "udp" => server.udp = address(),
                Some("Listening for HTTP.") => server.http = address(),
                Some("Ready.") => return server,
                _ => {}
            }
        }
    }

    /// All that was logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn get(&self, scope: &str, path: &str) -> Answer {
        self.ask("GET", scope, path, None)
    }

    pub(crate) fn delete(&self, scope: &str, path: &str) -> Answer {
        self.ask("DELETE", scope, path, None)
    }

    pub(crate) fn post(&self, scope: &str, path: &str, body: &Value) -> Answer {
        self.post_text(scope, path, &body.to_string())
    }

    pub(crate) fn post_text(&self, scope: &str, path: &str, body: &str) -> Answer {
        self.ask("POST", scope, path, Some(body))
    }

    fn ask(&self, method: &str, scope: &str, path: &str, body: Option<&str>) -> Answer {
        let bearer = format!("Bearer {}", key(scope));
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        request(self.http, method, path, &headers, body)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended long ago.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_dir_all(&self.directory));
    }
}

fn follow(stream: impl Read + Send + 'static, log: Arc<Mutex<String>>) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            log.lock().unwrap().push_str(&format!("{line}\n"));
            // Nobody listens once it is ready; the log goes on.
            drop(sender.send(line));
        }
    });
    lines
}
