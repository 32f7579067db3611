//! What the benchmark says about the machine, and where on it things run.

use std::{env, fs, path::Path, process::Command, thread};

use anyhow::{Context, Result, ensure};

/// The processor that servers run on.
pub(crate) const SERVER_PROCESSOR: &str = "0";
/// The processor of the load.
const LOAD_PROCESSOR: &str = "1";
/// This process's scheduling group.
const GROUP: &str = "/proc/self/autogroup";

/// Who ran what, where and when: the head of the report. Programs say their version themselves.
pub(crate) fn describe(bench: &str, programs: &[(&str, &Path)]) -> Result<String> {
    let processor = fs::read_to_string("/proc/cpuinfo")?
        .lines()
        .find_map(|line| {
            line.strip_prefix("model name").map(|rest| rest.trim_matches([' ', '\t', ':']).to_owned())
        })
        .unwrap_or_else(|| "unknown processor".to_owned());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let command: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let version = |(name, program): &(&str, &Path)| {
        format!("{name}: {}\n", first_line(&program.display().to_string(), &["--version"]))
    };
    Ok(format!(
        "machine: {count} × {processor}, Linux {kernel}, load {load} before\ndate: {date}\n\
         command: cargo bench --bench {bench} -- {command}\n{versions}",
        count = thread::available_parallelism()?,
        kernel = kernel.trim(),
        load = load.split_whitespace().next().unwrap_or("?"),
        date = first_line("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        command = command.join(" "),
        versions = programs.iter().map(version).collect::<String>(),
    ))
}

/// Precedence of this process and its children over others on a busy machine, while the value lives.
pub(crate) struct Priority {
    before: Option<String>,
}

impl Priority {
    /// Raises it where the kernel groups processes by session and lets us; elsewhere it changes nothing.
    pub(crate) fn raise() -> Self {
        let before = fs::read_to_string(GROUP)
            .ok()
            .and_then(|text| text.split_whitespace().last().map(str::to_owned))
            .filter(|_| fs::write(GROUP, "-20").is_ok());
        Self { before }
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        if let Some(nice) = &self.before {
            // It was writable before; if no longer, there is nothing to be done.
            drop(fs::write(GROUP, nice));
        }
    }
}

/// Puts this process on the processor of the load.
pub(crate) fn pin_this_process() -> Result<()> {
    ensure!(thread::available_parallelism()?.get() >= 2, "one processor for the server and one for the load");
    let id = std::process::id().to_string();
    let status = Command::new("taskset").args(["-cp", LOAD_PROCESSOR, &id]).output();
    ensure!(status.context("taskset (util-linux)")?.status.success(), "taskset refuses");
    Ok(())
}

/// Lets this process and its children have as many sockets as they may have at all.
pub(crate) fn raise_descriptor_limit() -> Result<()> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find(|line| line.starts_with("Max open files")).context("Max open files")?;
    let most = line.split_whitespace().nth(4).context("Max open files")?;
    let id = std::process::id().to_string();
    let status = Command::new("prlimit").args(["--pid", &id, &format!("--nofile={most}:{most}")]).status();
    ensure!(status.context("prlimit (util-linux)")?.success(), "prlimit refuses");
    Ok(())
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or_else(|| "?".to_owned())
}
