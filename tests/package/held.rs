//! A thread of another process that stands still.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        ptrace,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// A signal would stop all threads of a process: this one is held as a debugger would, until it is ended.
pub(crate) struct Held(Pid);

impl Held {
    pub(crate) fn thread(process: u32, name: &str) -> Self {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
        let mut paths = tasks.map(|task| task.unwrap().path());
        let is_called = |path: &PathBuf| fs::read_to_string(path.join("comm")).unwrap().trim() == name;
        let path = paths.find(is_called).unwrap_or_else(|| panic!("no thread is called {name}"));
        let thread = Pid::from_raw(path.file_name().unwrap().to_str().unwrap().parse().unwrap());
        ptrace::seize(thread, ptrace::Options::empty()).unwrap();
        ptrace::interrupt(thread).unwrap();
        waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        Self(thread)
    }

    /// Waits until somebody else has killed it. Only then can its process be gone: whoever holds a thread is told first.
    pub(crate) fn killed(self, time_max: Duration) {
        let deadline = Instant::now() + time_max;
        while Instant::now() < deadline {
            let status = waitpid(self.0, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG)).unwrap();
            if matches!(status, WaitStatus::Signaled(..) | WaitStatus::Exited(..)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the thread still lives");
    }
}
