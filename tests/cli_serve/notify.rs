//! What a service manager is told, over a real notify socket.

use std::{
    fs,
    io::ErrorKind,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        ptrace,
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};

use crate::{
    client::{Client, SECRET},
    http::get,
    process::{FREE_PORTS, PATIENCE, Server, iceway},
};

/// The service manager's side.
struct Manager {
    socket: UnixDatagram,
    address: String,
    path: Option<PathBuf>,
}

impl Manager {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("iceway-notify-{}-{name}", std::process::id()));
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, address: path.to_str().unwrap().to_owned(), path: Some(path) }
    }

    fn without_a_file(name: &str) -> Self {
        let name = format!("iceway-notify-{}-{name}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Self { socket, address: format!("@{name}"), path: None }
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut command = iceway(&[&["serve"], &FREE_PORTS[..], flags].concat());
        command.env("ICEWAY_AUTH_SECRET", SECRET).env("NOTIFY_SOCKET", &self.address);
        command
    }

    /// The next datagram; `None` if there is none for so long.
    fn told_within(&self, time_max: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(time_max.max(Duration::from_millis(1)))).unwrap();
        let mut datagram = [0; 1024];
        match self.socket.recv(&mut datagram) {
            Ok(length) => Some(String::from_utf8(datagram[..length].to_vec()).unwrap()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits for a datagram with this in it.
    fn told(&self, wanted: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut others = Vec::new();
        while let Some(told) = self.told_within(deadline.saturating_duration_since(Instant::now())) {
            if told.contains(wanted) {
                return told;
            }
            others.push(told);
        }
        panic!("{wanted} is not in {others:#?}");
    }

    fn forget(&self) {
        while self.told_within(Duration::ZERO).is_some() {}
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            drop(fs::remove_file(path));
        }
    }
}

#[test]
fn ready_is_the_first_word_and_true() {
    for manager in [Manager::new("ready"), Manager::without_a_file("ready")] {
        let server = Server::launch(manager.command(&[]));
        assert!(manager.told_within(PATIENCE).unwrap().starts_with("READY=1\n"));
        Client::new(server.udp).allocate().unwrap();
        assert!(get(server.http, "/readyz").starts_with("HTTP/1.1 200 "));
        manager.told("STATUS=Serving: 1 allocations, 0 signaling sockets.");
    }
}

#[test]
fn a_server_that_cannot_listen_is_never_ready() {
    let first = Server::start(&[]);
    let manager = Manager::new("taken");
    let output = manager.command(&[&format!("--listen-tcp={}", first.tcp)]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(manager.told_within(Duration::ZERO), None);
}

#[test]
fn a_reload_is_announced_and_its_end_too() {
    let manager = Manager::new("reload");
    let file = std::env::temp_dir().join(format!("iceway-notify-{}.toml", std::process::id()));
    fs::write(&file, "# nothing yet\n").unwrap();
    let server = Server::launch(manager.command(&["--config", file.to_str().unwrap()]));
    manager.told("READY=1\n");
    let mut before = 0;
    for (text, end) in
        [("# still nothing\n", "STATUS=Reloaded."), ("[log]\nlevel = 5\n", "STATUS=Not reloaded: ")]
    {
        fs::write(&file, text).unwrap();
        server.signal("HUP");
        let reloading = manager.told("RELOADING=1\nMONOTONIC_USEC=");
        let clock = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
        let clock: u64 = clock.parse().unwrap();
        assert!(clock > before, "{clock}");
        before = clock;
        let ready = manager.told("READY=1\n");
        assert!(ready.contains(end), "{ready}");
    }
    fs::remove_file(file).unwrap();
}

#[test]
fn the_end_is_announced_and_asks_for_time_while_calls_go_on() {
    let manager = Manager::new("stop");
    let mut command = manager.command(&["--runtime-drain-timeout=1h"]);
    command.env("WATCHDOG_USEC", "500000");
    let server = Server::launch(command);
    let mut client = Client::new(server.udp);
    client.allocate().unwrap();
    server.signal("TERM");
    manager.told("STOPPING=1\n");
    manager.told("STATUS=Stopping: 1 allocations, 0 signaling sockets.\nEXTEND_TIMEOUT_USEC=15000000\n");
    assert!(manager.told("EXTEND_TIMEOUT_USEC=15000000").contains("WATCHDOG=1"), "it lives while it ends");
    client.refresh(0).unwrap();
    assert!(manager.told("STATUS=Ending.").contains("EXTEND_TIMEOUT_USEC=40000000"));
    assert_eq!(server.ended().0.code(), Some(0));
}

#[test]
fn the_watchdog_hears_nothing_while_a_thread_hangs() {
    let manager = Manager::new("watchdog");
    let mut command = manager.command(&["--http-threads=2"]);
    command.env("WATCHDOG_USEC", "1000000");
    let mut server = Server::launch(command);
    for (thread, name) in [("relay-0", "shard 0"), ("iceway-http-1", "iceway-http-1")] {
        manager.forget();
        manager.told("WATCHDOG=1");
        let stopped = Stopped::thread(server.id(), thread);
        assert_eq!(server.logged("Do not answer")["threads"], name);
        manager.forget();
        // Longer than it would have been waited for.
        assert_eq!(manager.told_within(Duration::from_millis(1500)), None, "{thread}");
        drop(stopped);
        manager.told("WATCHDOG=1");
        server.logged("All threads answer again.");
    }
}

/// One thread of another process, which stands still until this is dropped.
struct Stopped(Pid);

impl Stopped {
    /// A stop by signal would stop all threads: this one is held as a debugger would.
    fn thread(process: u32, name: &str) -> Self {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
        let paths: Vec<PathBuf> = tasks.map(|task| task.unwrap().path()).collect();
        let called = |path: &PathBuf| fs::read_to_string(path.join("comm")).unwrap().trim().to_owned();
        let path = paths.iter().find(|path| called(path) == name);
        let path =
            path.unwrap_or_else(|| panic!("{name} in {:?}", paths.iter().map(called).collect::<Vec<_>>()));
        let thread = Pid::from_raw(path.file_name().unwrap().to_str().unwrap().parse().unwrap());
        ptrace::seize(thread, ptrace::Options::empty()).unwrap();
        ptrace::interrupt(thread).unwrap();
        waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        Self(thread)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // The process may have been ended meanwhile.
        let _detached = ptrace::detach(self.0, None);
    }
}
