//! What the benchmark needs of the machine, and what it says about it.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, Result, bail};

use crate::{
    arguments::Arguments,
    server::{Kind, Programs},
    sys,
};

/// This process's scheduling group.
const GROUP: &str = "/proc/self/autogroup";

/// Checks everything the run will need and finds the programs.
///
/// # Errors
/// Says what is missing and how to get it.
pub(crate) fn check(arguments: &Arguments) -> Result<Programs> {
    if !sys::is_root() {
        bail!("network namespaces and real-time threads need root: run it with sudo");
    }
    let processors = thread::available_parallelism()?.get();
    if processors < 2 {
        bail!("{processors} processor: one for the server and one for the load are needed");
    }
    for (program, package) in [("ip", "iproute2"), ("ethtool", "ethtool")] {
        find(Path::new(program)).with_context(|| missing(Path::new(program), package))?;
    }
    let servers = arguments.servers();
    let coturn = match find(&arguments.coturn) {
        Some(path) => path,
        None if servers.contains(&Kind::Coturn) => bail!(missing(&arguments.coturn, "coturn")),
        None => arguments.coturn.clone(),
    };
    let iceway = arguments.iceway.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_iceway")));
    let descriptors = sys::raise_descriptor_limit()?;
    let needed = arguments.allocations() as u64 + 500;
    if descriptors < needed {
        bail!("{descriptors} open files allowed, {needed} needed: raise the hard limit (ulimit -Hn)");
    }
    Ok(Programs { iceway, coturn })
}

/// Who ran what, where and when: the head of the report.
pub(crate) fn describe(programs: &Programs) -> Result<String> {
    let processor = fs::read_to_string("/proc/cpuinfo")?
        .lines()
        .find_map(|line| {
            line.strip_prefix("model name").map(|rest| rest.trim_matches([' ', '\t', ':']).to_owned())
        })
        .unwrap_or_else(|| "unknown processor".to_owned());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let command: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    Ok(format!(
        "machine: {count} × {processor}, Linux {kernel}, load {load}\n\
         date: {date}\n\
         command: cargo bench --bench relay -- {command}\n\
         iceway: {iceway}\n\
         coturn: {coturn}\n",
        count = thread::available_parallelism()?,
        kernel = kernel.trim(),
        load = load.split_whitespace().next().unwrap_or("?"),
        date = first_line(Path::new("date"), &["-u", "+%Y-%m-%d %H:%M UTC"]),
        command = command.join(" "),
        iceway = first_line(&programs.iceway, &["--version"]),
        coturn = first_line(&programs.coturn, &["--version"]),
    ))
}

/// Precedence of this process over others on a busy machine, while the value lives.
pub(crate) struct Priority {
    before: Option<String>,
}

impl Priority {
    /// Raises it where the kernel groups processes by session; elsewhere it changes nothing.
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

fn missing(program: &Path, package: &str) -> String {
    let program = program.display();
    format!("`{program}` is not installed: apt-get install --no-install-recommends {package}")
}

fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.exists().then(|| program.to_owned());
    }
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.exists())
}

fn first_line(program: &Path, arguments: &[&str]) -> String {
    let output: io::Result<_> = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or_else(|| "?".to_owned())
}
