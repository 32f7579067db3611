//! One redis-server or valkey-server.

use std::{
    net::TcpStream,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use redis::Value;

use super::{Authority, Program, Scratch, ports, process::Process, wait_for};

const START_LIMIT: Duration = Duration::from_secs(20);
const COMMAND_LIMIT: Duration = Duration::from_secs(5);
/// The user the tests themselves give commands as.
const HARNESS_PASSWORD: &str = "only-for-the-harness";

/// What a server is started with beyond the defaults: no file is written, everybody may do everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Which server.
    pub(crate) program: Program,
    /// Listens for TLS too, on a port of its own, and asks for a client certificate.
    pub(crate) tls: bool,
    /// Whose certificates it has; `None`: an authority of its own.
    pub(crate) authority: Option<Arc<Authority>>,
    /// Lines of its configuration file, such as `user iceway on >secret ~iceway:* …` or `requirepass secret`.
    pub(crate) lines: Vec<String>,
}

/// A running redis-server; killed when dropped.
pub(crate) struct Redis {
    program: Program,
    process: Mutex<Option<Process>>,
    directory: Scratch,
    port: u16,
    tls_port: Option<u16>,
    authority: Option<Arc<Authority>>,
}

impl Redis {
    /// An empty server that nobody needs a password for.
    pub(crate) fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// The same with a configuration.
    pub(crate) fn start_with(options: Options) -> Self {
        Self::start_on(options, ports::free_port)
    }

    pub(super) fn start_on(options: Options, next_port: fn() -> u16) -> Self {
        // Between finding a port free and listening on it another process may take it.
        for _ in 0..5 {
            let port = next_port();
            let redis = Self::prepare(port, &options);
            if redis.run() {
                return redis;
            }
        }
        panic!("redis-server does not start on any of five ports: apt-get install redis-server");
    }

    fn prepare(port: u16, options: &Options) -> Self {
        let directory = Scratch::new("redis");
        let authority =
            options.tls.then(|| options.authority.clone().unwrap_or_else(|| Arc::new(Authority::new())));
        let tls_port = authority.is_some().then(ports::free_port);
        let mut lines = vec![
            format!("port {port}"),
            "bind 127.0.0.1".to_owned(),
            "save \"\"".to_owned(),
            "appendonly no".to_owned(),
            format!("dir {}", directory.path().display()),
            format!("user harness on >{HARNESS_PASSWORD} ~* &* +@all"),
        ];
        if let (Some(authority), Some(tls_port)) = (&authority, tls_port) {
            lines.push(format!("tls-port {tls_port}"));
            lines.push(format!("tls-cert-file {}", authority.server_certificate.display()));
            lines.push(format!("tls-key-file {}", authority.server_key.display()));
            lines.push(format!("tls-ca-cert-file {}", authority.certificate.display()));
            lines.push("tls-auth-clients yes".to_owned());
        }
        lines.extend(options.program.debug_line());
        lines.extend(options.lines.iter().cloned());
        directory.write("redis.conf", lines.join("\n"));
        Self { program: options.program, process: Mutex::new(None), directory, port, tls_port, authority }
    }

    /// Whether it came up; it did not if its port was taken meanwhile.
    fn run(&self) -> bool {
        let arguments = [self.directory.path().join("redis.conf").display().to_string()];
        let mut process =
            Process::start(&self.program.path(), &arguments, self.directory.path(), "redis-server");
        let deadline = Instant::now() + START_LIMIT;
        while self.try_command(&["PING"]).is_err() {
            if process.has_ended() {
                let log = process.log();
                let is_taken = log.contains("Address already in use");
                assert!(
                    is_taken,
                    "redis-server ended (apt-get install redis-server redis-sentinel redis-tools):\n{log}"
                );
                return false;
            }
            assert!(Instant::now() < deadline, "redis-server does not answer:\n{}", process.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        *self.process.lock().unwrap() = Some(process);
        true
    }

    /// Its TCP port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:<port>`.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// `redis://<user>:<password>@127.0.0.1:<port>`.
    pub(crate) fn url_as(&self, user: &str, password: &str) -> String {
        format!("redis://{user}:{password}@127.0.0.1:{}", self.port)
    }

    /// Its port for TLS; only with [`Options::tls`].
    pub(crate) fn tls_port(&self) -> u16 {
        self.tls_port.expect("started with TLS")
    }

    pub(super) fn try_tls_port(&self) -> Option<u16> {
        self.tls_port
    }

    /// `rediss://…`; only with [`Options::tls`].
    pub(crate) fn tls_url(&self) -> String {
        format!("rediss://127.0.0.1:{}", self.tls_port())
    }

    /// Whose certificates it takes; only with [`Options::tls`].
    pub(crate) fn authority(&self) -> &Authority {
        self.authority.as_deref().expect("started with TLS")
    }

    /// Sends a command as a user who may do everything.
    pub(crate) fn command(&self, words: &[&str]) -> Value {
        self.try_command(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The same, where it may fail.
    pub(crate) fn try_command(&self, words: &[&str]) -> redis::RedisResult<Value> {
        self.try_command_as("harness", HARNESS_PASSWORD, words)
    }

    /// Sends a command as another user.
    pub(crate) fn try_command_as(
        &self,
        user: &str,
        password: &str,
        words: &[&str],
    ) -> redis::RedisResult<Value> {
        let client = redis::Client::open(self.url_as(user, password))?;
        let mut connection = client.get_connection_with_timeout(COMMAND_LIMIT)?;
        connection.set_read_timeout(Some(COMMAND_LIMIT))?;
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(word);
        }
        command.query(&mut connection)
    }

    /// A command's answer as text.
    pub(crate) fn text(&self, words: &[&str]) -> String {
        redis::from_redis_value(self.command(words)).unwrap()
    }

    /// All keys there are, sorted.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = redis::from_redis_value(self.command(&["KEYS", "*"])).unwrap();
        keys.sort();
        keys
    }

    /// How often each command was given so far, from `INFO commandstats`; the harness' own are among them.
    pub(crate) fn command_counts(&self) -> std::collections::BTreeMap<String, u64> {
        let text = self.text(&["INFO", "commandstats"]);
        text.lines()
            .filter_map(|line| {
                let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
                Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
            })
            .collect()
    }

    /// How many connections were accepted so far, those of the harness among them.
    pub(crate) fn connections_received(&self) -> u64 {
        let text = self.text(&["INFO", "stats"]);
        let line = text.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.unwrap().parse().unwrap()
    }

    /// Hangs it: it keeps its connections and answers nothing.
    pub(crate) fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Ends [`pause`](Self::pause).
    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// `kill -9`.
    pub(crate) fn kill(&self) {
        drop(self.process.lock().unwrap().take());
        wait_for("its port is closed", Duration::from_secs(5), || {
            TcpStream::connect(("127.0.0.1", self.port)).is_err()
        });
    }

    /// Kills it if it runs and starts it again: empty, on the same port.
    pub(crate) fn restart(&self) {
        self.kill();
        assert!(self.run(), "port {} was taken while the server was down", self.port);
    }

    fn signal(&self, signal: Signal) {
        self.process.lock().unwrap().as_ref().expect("it runs").signal(signal);
    }
}
