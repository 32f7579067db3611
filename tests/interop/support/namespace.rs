//! Network namespaces of our own, so that tests can have routers and NATs without touching the machine's network.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

/// A named network namespace with its loopback up; removed when dropped.
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    pub(crate) fn new(role: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("iceway-{}-{number}-{role}", std::process::id());
        run("ip", &["netns", "add", &name]);
        let namespace = Self { name };
        namespace.run("ip link set lo up");
        namespace
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Joins two namespaces by a cable with an address (CIDR) on each end; the interface has the same name on both.
    pub(crate) fn link(&self, address: &str, other: &Self, other_address: &str, interface: &str) {
        run(
            "ip",
            &[
                "link",
                "add",
                interface,
                "netns",
                &self.name,
                "type",
                "veth",
                "peer",
                "name",
                interface,
                "netns",
                &other.name,
            ],
        );
        for (namespace, address) in [(self, address), (other, other_address)] {
            namespace.run(&format!("ip address add {address} dev {interface}"));
            namespace.run(&format!("ip link set {interface} up"));
        }
    }

    /// Runs a command line, split at spaces, inside; it must succeed.
    pub(crate) fn run(&self, line: &str) {
        let words: Vec<&str> = ["netns", "exec", &self.name].into_iter().chain(line.split(' ')).collect();
        run("ip", &words);
    }

    /// A command that will run inside.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Calls `action` on a thread inside; sockets it opens stay there for good.
    pub(crate) fn enter<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let file = File::open(format!("/run/netns/{}", self.name)).unwrap();
                setns(file.as_raw_fd(), CloneFlags::CLONE_NEWNET).unwrap();
                action()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = Command::new("ip").args(["netns", "delete", &self.name]).status() {
            eprintln!("network namespace {} remains: {error}", self.name);
        }
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {}: {output:?}", arguments.join(" "));
}
