//! A machine with systemd, on top of this one.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long anything that must happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Ended when it is dropped.
pub(crate) struct Machine {
    child: Child,
    /// Its process 1, as it is numbered out here.
    process: u32,
}

/// How a command ended.
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    /// Of both streams.
    pub(crate) text: String,
}

impl Machine {
    /// Boots; sees `files` as /mnt.
    pub(crate) fn boot(files: &Path) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/package/machine");
        let mut command = Command::new(script);
        let log = fs::File::create(files.with_extension("log")).unwrap();
        command.arg(files).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let process = line.trim().strip_prefix("process ").and_then(|number| number.parse().ok());
        let machine = Self { child, process: process.unwrap_or_else(|| panic!("no machine: {line:?}")) };
        machine.until("test -S /run/systemd/private && systemctl is-active basic.target", |answer| {
            answer.code == Some(0)
        });
        // The index of manual pages takes longer than everything else.
        machine.done("rm -f /var/lib/man-db/auto-update");
        machine
    }

    /// Runs a shell script.
    pub(crate) fn run(&self, script: &str) -> Answer {
        let output = self.command(script).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        Answer { code: output.status.code(), text: String::from_utf8_lossy(&text).into_owned() }
    }

    /// Runs a shell script that must succeed: what it says.
    pub(crate) fn done(&self, script: &str) -> String {
        let answer = self.run(script);
        assert_eq!(answer.code, Some(0), "{script}\n{}\n{}", answer.text, self.journal());
        answer.text.trim().to_owned()
    }

    /// Repeats a script until its answer is as wanted.
    pub(crate) fn until(&self, script: &str, is_it: impl Fn(&Answer) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.run(script);
            if is_it(&answer) {
                return answer.text.trim().to_owned();
            }
            assert!(Instant::now() < deadline, "{script}: {}\n{}", answer.text, self.journal());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What systemd and the service said last.
    pub(crate) fn journal(&self) -> String {
        self.run("journalctl --no-pager --lines 60 --output cat --unit iceway").text
    }

    /// One property of the service.
    pub(crate) fn property(&self, name: &str) -> String {
        self.done(&format!("systemctl show iceway --property {name} --value"))
    }

    /// The service's main process, as it is numbered out here.
    pub(crate) fn process_outside(&self) -> u32 {
        let inside = self.property("MainPID");
        let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/pid")).ok();
        let ours = namespace(&self.process.to_string());
        let numbers =
            fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
        let mut found =
            numbers.filter(|number| number.starts_with(|c: char| c.is_ascii_digit())).filter(|number| {
                let status = fs::read_to_string(format!("/proc/{number}/status")).unwrap_or_default();
                let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
                ids.split_whitespace().last() == Some(inside.as_str()) && namespace(number) == ours
            });
        found.next().unwrap().parse().unwrap()
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.process.to_string(), "--all", "--"]);
        command.args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"]);
        command.args(["DEBIAN_FRONTEND=noninteractive", "timeout", "60", "bash", "-c", script]);
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The script ends with its input, and takes the machine along.
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}
