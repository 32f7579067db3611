//! What the benchmark needs of the machine.

use std::{
    env,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result, bail};

use crate::{
    arguments::Arguments,
    server::{Kind, Programs},
    sys,
};

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
