//! A master, a replica and three sentinels that fail over within about three seconds.

use std::time::Duration;

use super::{Options, Redis, Scratch, ports, process::Process, wait_for};

/// The name the sentinels know the master by.
const MASTER: &str = "mymaster";
const LIMIT: Duration = Duration::from_secs(30);

/// A master, its replica and their sentinels; all killed when dropped.
pub(crate) struct Sentinels {
    /// The master at first.
    pub(crate) first: Redis,
    /// The replica at first.
    pub(crate) second: Redis,
    ports: Vec<u16>,
    _processes: Vec<Process>,
    _directory: Scratch,
}

impl Sentinels {
    /// Starts all; the sentinels know one another and the replica when this returns.
    pub(crate) fn start() -> Self {
        Self::start_with(&Options::default())
    }

    /// The same with more configuration for both servers.
    pub(crate) fn start_with(options: &Options) -> Self {
        let first = Redis::start_with(options.clone());
        let mut of_second = options.clone();
        of_second.lines.push(format!("replicaof 127.0.0.1 {}", first.port()));
        of_second.lines.push("repl-diskless-sync-delay 0".to_owned());
        let second = Redis::start_with(of_second);
        let directory = Scratch::new("sentinel");
        let mut processes = Vec::new();
        let mut ports = Vec::new();
        for number in 0..3 {
            let port = ports::free_port();
            let name = format!("sentinel-{number}");
            let lines = [
                format!("port {port}"),
                "bind 127.0.0.1".to_owned(),
                format!("dir {}", directory.path().display()),
                format!("sentinel monitor {MASTER} 127.0.0.1 {} 2", first.port()),
                format!("sentinel auth-user {MASTER} harness"),
                format!("sentinel auth-pass {MASTER} only-for-the-harness"),
                format!("sentinel down-after-milliseconds {MASTER} 1000"),
                format!("sentinel failover-timeout {MASTER} 4000"),
            ];
            let file = directory.write(&format!("{name}.conf"), lines.join("\n") + "\n");
            let arguments = [file.display().to_string()];
            processes.push(Process::start("redis-sentinel", &arguments, directory.path(), &name));
            ports.push(port);
        }
        let sentinels = Self { first, second, ports, _processes: processes, _directory: directory };
        sentinels.wait_until_known();
        sentinels
    }

    /// `redis+sentinel://…/mymaster`.
    pub(crate) fn url(&self) -> String {
        let hosts: Vec<String> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis+sentinel://{}/{MASTER}", hosts.join(","))
    }

    /// Who the first sentinel says is the master.
    pub(crate) fn master_port(&self) -> u16 {
        let (_, port): (String, String) =
            self.ask(self.ports[0], &["SENTINEL", "get-master-addr-by-name", MASTER]).unwrap();
        port.parse().unwrap()
    }

    /// The server that is the master now.
    pub(crate) fn master(&self) -> &Redis {
        if self.master_port() == self.first.port() { &self.first } else { &self.second }
    }

    /// Kills the master and returns when the sentinels name the other one.
    pub(crate) fn fail_over(&self) {
        let before = self.master_port();
        self.master().kill();
        wait_for("the sentinels name another master", LIMIT, || self.master_port() != before);
    }

    fn wait_until_known(&self) {
        for &port in &self.ports {
            wait_for("a sentinel knows the others and the replica", LIMIT, || {
                let others: Vec<redis::Value> =
                    self.ask(port, &["SENTINEL", "sentinels", MASTER]).unwrap_or_default();
                let replicas: Vec<redis::Value> =
                    self.ask(port, &["SENTINEL", "replicas", MASTER]).unwrap_or_default();
                others.len() == 2 && replicas.len() == 1
            });
        }
        wait_for("the replica follows", LIMIT, || {
            self.second.text(&["INFO", "replication"]).contains("master_link_status:up")
        });
    }

    fn ask<T: redis::FromRedisValue>(&self, port: u16, words: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}"))?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(2))?;
        connection.set_read_timeout(Some(Duration::from_secs(2)))?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
    }
}
