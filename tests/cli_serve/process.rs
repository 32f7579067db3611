//! A running `iceway serve`, with everything it says.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use serde_json::Value;

/// How long anything that must happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The server's process; ended when it is dropped.
pub(crate) struct Server {
    child: Child,
    lines: Receiver<String>,
    /// Log lines that were read while waiting for others.
    read: VecDeque<String>,
    out: Receiver<String>,
    pub(crate) udp: SocketAddr,
    pub(crate) tcp: SocketAddr,
    pub(crate) http: SocketAddr,
}

/// Flags that listen on ports of loopback nobody else has.
pub(crate) const FREE_PORTS: [&str; 4] = [
    "--listen-udp=127.0.0.1:0",
    "--listen-tcp=127.0.0.1:0",
    "--http-listen=127.0.0.1:0",
    "--runtime-shards=1",
];

/// The binary with an environment of its own.
pub(crate) fn iceway(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iceway"));
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Server {
    /// Starts a server with a secret, and waits until it says that it is ready.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut command = iceway(&[&["serve"], &FREE_PORTS[..], flags].concat());
        command.env("ICEWAY_AUTH_SECRET", crate::client::SECRET);
        Self::launch(command)
    }

    /// Starts what logs in JSON at info or more.
    pub(crate) fn launch(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = follow(child.stderr.take().unwrap());
        let out = follow(child.stdout.take().unwrap());
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server =
            Self { child, lines, read: VecDeque::new(), out, udp: nowhere, tcp: nowhere, http: nowhere };
        server.udp = server.logged_with("Listening.", |line| line["transport"] == "udp");
        server.tcp = server.logged_with("Listening.", |line| line["transport"] == "tcp");
        server.http = server.logged_with("Listening for HTTP.", |_| true);
        server.logged("Ready.");
        server
    }

    fn logged_with(&mut self, message: &str, is_it: impl Fn(&Value) -> bool) -> SocketAddr {
        loop {
            let line = self.logged(message);
            if is_it(&line) {
                return line["address"].as_str().unwrap().parse().unwrap();
            }
        }
    }

    /// Waits for a log line with this message.
    pub(crate) fn logged(&mut self, message: &str) -> Value {
        loop {
            let line =
                self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{message} in {:#?}", self.read));
            self.read.push_back(line.clone());
            let parsed: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            if parsed["message"].as_str().is_some_and(|found| found.starts_with(message)) {
                return parsed;
            }
        }
    }

    /// A log line that has been read already.
    pub(crate) fn read_back(&self, message: &str) -> Value {
        let parsed = self.read.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
        parsed.into_iter().find(|line| line["message"] == message).unwrap()
    }

    /// As [`read_back`](Self::read_back), by how the message begins.
    pub(crate) fn read_back_starting(&self, beginning: &str) -> Value {
        let mut parsed = self.read.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
        parsed.find(|line| line["message"].as_str().is_some_and(|text| text.starts_with(beginning))).unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for the end. Everything that was logged, and everything on standard output.
    pub(crate) fn ended(mut self) -> (ExitStatus, String, String) {
        let mut rest: Vec<String> = Vec::new();
        // Both streams end with the process.
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            rest.push(line);
        }
        let log = self.read.drain(..).chain(rest).collect::<Vec<_>>().join("\n");
        let status = self.child.wait().unwrap();
        let out = self.out.iter().collect::<Vec<_>>().join("\n");
        (status, log, out)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended long ago.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The lines of a stream, as they come.
pub(crate) fn follow(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
