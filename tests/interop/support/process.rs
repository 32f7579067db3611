//! Child processes that never outlive their test, and what they wrote.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{panicking, sleep};
use std::time::{Duration, Instant};

/// How often a child that cannot be waited for otherwise is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// A process in the background. Killed when dropped; its output is shown if the test fails.
pub(crate) struct Process {
    child: Child,
    name: String,
    output: PathBuf,
}

impl Process {
    /// Starts `command` with both outputs in `directory`.
    pub(crate) fn start(mut command: Command, directory: &Path, name: &str) -> Self {
        let output = directory.join(format!("{name}.log"));
        let file = File::create(&output).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start ({error}); tests/install installs it"));
        Self { child, name: name.to_owned(), output }
    }

    /// Everything written so far.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// `None` while it runs.
    pub(crate) fn exit(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for `ready`; the process must live that long.
    pub(crate) fn wait_until(&mut self, what: &str, limit: Duration, mut ready: impl FnMut(&str) -> bool) {
        let deadline = Instant::now() + limit;
        while !ready(&self.output()) {
            if let Some(status) = self.exit() {
                panic!("{} ended ({status}) before it was {what}", self.name);
            }
            assert!(Instant::now() < deadline, "{} is not {what} after {limit:?}", self.name);
            sleep(POLL);
        }
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.exit() {
                return status;
            }
            assert!(Instant::now() < deadline, "{} still runs after {limit:?}", self.name);
            sleep(POLL);
        }
    }

    /// Waits for the process to end by itself, but not longer.
    pub(crate) fn wait_at_most(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.exit().is_none() && Instant::now() < deadline {
            sleep(POLL);
        }
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.pid(), signal).unwrap();
    }

    /// Ends it with `kill -9`.
    pub(crate) fn kill(&mut self) {
        // An error means that it has ended already.
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }

    /// The memory it holds, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line =
            status.lines().find(|line| line.starts_with("VmRSS:")).expect("a running process has VmRSS");
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if panicking() {
            eprintln!("--- {} wrote:\n{}---", self.name, tail(&self.output()));
        }
    }
}

/// A tool that runs to its end.
pub(crate) struct Tool {
    pub(crate) status: ExitStatus,
    /// Standard output and error together.
    pub(crate) output: String,
}

impl Tool {
    /// Runs `command`; it must end within `limit`.
    pub(crate) fn run(command: Command, directory: &Path, name: &str, limit: Duration) -> Self {
        Self::of(Process::start(command, directory, name), limit)
    }

    /// The same for one that has been started.
    pub(crate) fn of(mut process: Process, limit: Duration) -> Self {
        let status = process.wait(limit);
        Self { status, output: process.output() }
    }
}

/// The end of a long output.
fn tail(output: &str) -> &str {
    const SHOWN: usize = 12_000;
    let mut start = output.len().saturating_sub(SHOWN);
    while !output.is_char_boundary(start) {
        start += 1;
    }
    &output[start..]
}
