//! Processor time and memory of processes and kernel threads, from /proc.

use std::{
    fs, io,
    ops::{Add, Sub},
    path::Path,
};

/// Nanoseconds of processor time of the machine the server stands for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    /// The server's threads, in user space and in system calls.
    pub(crate) server_ns: u64,
    /// The kernel threads that carry packets from the server's devices to its sockets.
    pub(crate) receive_ns: u64,
}

impl Spent {
    pub(crate) fn total_ns(self) -> u64 {
        self.server_ns + self.receive_ns
    }
}

impl Sub for Spent {
    type Output = Self;
    fn sub(self, earlier: Self) -> Self {
        Self {
            server_ns: self.server_ns.saturating_sub(earlier.server_ns),
            receive_ns: self.receive_ns.saturating_sub(earlier.receive_ns),
        }
    }
}

impl Add for Spent {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { server_ns: self.server_ns + other.server_ns, receive_ns: self.receive_ns + other.receive_ns }
    }
}

/// What is measured while a server is under load.
pub(crate) struct Meter {
    server: u32,
    receive_threads: Vec<i32>,
}

impl Meter {
    pub(crate) fn new(server: u32, receive_threads: &[i32]) -> Self {
        Self { server, receive_threads: receive_threads.to_vec() }
    }

    /// Everything spent since the tasks began. `sum_exec_runtime`, exact to the nanosecond, blind to other processes.
    pub(crate) fn read(&self) -> io::Result<Spent> {
        let mut spent = Spent::default();
        for task in fs::read_dir(format!("/proc/{}/task", self.server))? {
            spent.server_ns += run_time_ns(&task?.path())?;
        }
        for thread in &self.receive_threads {
            spent.receive_ns += run_time_ns(Path::new(&format!("/proc/{thread}")))?;
        }
        Ok(spent)
    }

    /// The server's resident set in bytes.
    pub(crate) fn resident_bytes(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server))?;
        let kibibytes = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|number| number.parse::<u64>().ok());
        kibibytes.map(|number| number * 1024).ok_or_else(|| io::Error::other("no VmRSS in /proc/…/status"))
    }
}

/// The ids of kernel threads whose name begins with `prefix`.
pub(crate) fn kernel_threads(prefix: &str) -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end while we look.
        let Ok(name) = fs::read_to_string(entry.path().join("comm")) else { continue };
        if name.starts_with(prefix) {
            found.push(id);
        }
    }
    Ok(found)
}

fn run_time_ns(task: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(task.join("schedstat"))?;
    text.split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| io::Error::other("unreadable schedstat"))
}
