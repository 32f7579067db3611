//! Runs iceway and coturn in turn over the same simulated network and prints what each packet and each allocation
//! costs them, as ratios. See `benches/README.md` for what the numbers mean.

mod arguments;
mod client;
mod histogram;
mod load;
#[path = "../api/machine.rs"]
#[allow(dead_code, reason = "shared with the other benchmarks")]
mod machine;
mod needs;
mod processor;
mod relaying;
mod report;
mod scenario;
mod server;
mod set_up;
mod stamp;
mod sys;
mod topology;

use std::{io::Write, process::ExitCode};

use anyhow::Result;
use clap::Parser;

use crate::{arguments::Arguments, scenario::Bench, topology::Topology};

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing else is left to tell it to.
            drop(writeln!(std::io::stderr(), "relay benchmark: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let programs = needs::check(arguments)?;
    let scenarios = scenario::chosen(arguments)?;
    let head = machine::describe("relay", &[("iceway", &programs.iceway), ("coturn", &programs.coturn)])?;
    let _priority = machine::Priority::raise();
    let topology = Topology::new()?;
    sys::pin(0, topology::LOAD_PROCESSOR)?;
    let bench = Bench { arguments, programs, topology };
    let mut out = std::io::stdout();
    write!(out, "{head}")?;
    for scenario in scenarios {
        write!(out, "\n{}", scenario.run(&bench)?)?;
        out.flush()?;
    }
    Ok(())
}
