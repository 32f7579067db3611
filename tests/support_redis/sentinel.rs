//! A master, a replica and three sentinels that fail over within about three seconds.

use std::{path::Path, sync::Arc, time::Duration};

use super::{Authority, Options, Redis, Scratch, ports, process::Process, wait_for};

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
    tls_ports: Vec<u16>,
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
        let mut options = options.clone();
        if options.tls {
            options.authority.get_or_insert_with(|| Arc::new(Authority::new()));
            options.lines.push("tls-replication yes".to_owned());
        }
        let service = |redis: &Redis| if options.tls { redis.tls_port() } else { redis.port() };
        let first = Redis::start_with(options.clone());
        let mut of_second = options.clone();
        of_second.lines.push(format!("replicaof 127.0.0.1 {}", service(&first)));
        of_second.lines.push("repl-diskless-sync-delay 0".to_owned());
        let second = Redis::start_with(of_second);
        let directory = Scratch::new("sentinel");
        let mut processes = Vec::new();
        let (mut ports, mut tls_ports) = (Vec::new(), Vec::new());
        for number in 0..3 {
            let port = ports::free_port();
            let name = format!("sentinel-{number}");
            let mut lines = vec![
                format!("port {port}"),
                "bind 127.0.0.1".to_owned(),
                format!("dir {}", directory.path().display()),
                format!("sentinel monitor {MASTER} 127.0.0.1 {} 2", service(&first)),
                format!("sentinel auth-user {MASTER} harness"),
                format!("sentinel auth-pass {MASTER} only-for-the-harness"),
                format!("sentinel down-after-milliseconds {MASTER} 1000"),
                format!("sentinel failover-timeout {MASTER} 4000"),
            ];
            let tls_port = ports::free_port();
            if let Some(authority) = options.authority.as_ref().filter(|_| options.tls) {
                lines.push(format!("tls-port {tls_port}"));
                lines.push(format!("tls-cert-file {}", authority.server_certificate.display()));
                lines.push(format!("tls-key-file {}", authority.server_key.display()));
                lines.push(format!("tls-ca-cert-file {}", authority.certificate.display()));
                lines.push("tls-auth-clients yes".to_owned());
                lines.push("tls-replication yes".to_owned());
            }
            tls_ports.push(tls_port);
            let file = directory.write(&format!("{name}.conf"), lines.join("\n") + "\n");
            let arguments = [file.display().to_string()];
            processes.push(Process::start(Path::new("redis-sentinel"), &arguments, directory.path(), &name));
            ports.push(port);
        }
        let sentinels =
            Self { first, second, ports, tls_ports, _processes: processes, _directory: directory };
        sentinels.wait_until_known();
        sentinels
    }

    /// `redis+sentinel://…/mymaster`.
    pub(crate) fn url(&self) -> String {
        let hosts: Vec<String> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis+sentinel://{}/{MASTER}", hosts.join(","))
    }

    /// `rediss+sentinel://…/mymaster`; only with [`Options::tls`].
    pub(crate) fn tls_url(&self) -> String {
        let hosts: Vec<String> = self.tls_ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("rediss+sentinel://{}/{MASTER}", hosts.join(","))
    }

    /// The port, with TLS the one for it, of who the first sentinel says is the master.
    pub(crate) fn master_port(&self) -> u16 {
        let (_, port): (String, String) =
            self.ask(self.ports[0], &["SENTINEL", "get-master-addr-by-name", MASTER]).unwrap();
        port.parse().unwrap()
    }

    /// The server that is the master now.
    pub(crate) fn master(&self) -> &Redis {
        if self.is_first(self.master_port()) { &self.first } else { &self.second }
    }

    /// Kills the master and returns when the sentinels name the other one.
    pub(crate) fn fail_over(&self) {
        let before = self.master_port();
        self.master().kill();
        wait_for("the sentinels name another master", LIMIT, || self.master_port() != before);
    }

    fn is_first(&self, port: u16) -> bool {
        port == self.first.port() || self.first.try_tls_port() == Some(port)
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
