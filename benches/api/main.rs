//! Measures how many credentials the API issues per second of processor time, beside a bare handler and other servers
//! on the same core in the same run. See `benches/README.md` for what the numbers mean.

mod bare;
mod connection;
#[path = "../relay/histogram.rs"]
#[allow(dead_code, reason = "shared with the relay benchmark")]
mod histogram;
mod load;
#[allow(dead_code, reason = "shared with the other benchmarks")]
mod machine;
mod report;
mod server;

use std::{io::Write, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Parser;

use crate::{
    load::Plan,
    report::Table,
    server::{Kind, Server},
};

/// Measures the credential API over keep-alive connections. Needs two processors and `taskset`; uses nginx and
/// redis-server as peers where they are installed.
#[derive(Clone, Debug, Parser)]
#[command(name = "api")]
struct Arguments {
    /// A look in half a minute: one short round.
    #[arg(long)]
    quick: bool,
    /// Rounds; in each, every server is measured once.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Measured seconds of each load.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Keep-alive connections, one request at a time on each.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=60))]
    connections: u16,
    /// Measure only this: native, uberti, bare, native-tls, bare-tls, nginx or redis; may be repeated.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// The iceway to measure instead of the one just built.
    #[arg(long, value_name = "PROGRAM")]
    iceway: Option<PathBuf>,
    /// Run as the bare handler on this address.
    #[arg(long, hide = true)]
    serve_bare: Option<std::net::SocketAddr>,
    /// With this certificate and key.
    #[arg(long, hide = true, num_args = 2)]
    tls: Option<Vec<PathBuf>>,
    /// Given by cargo to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.serve_bare {
        Some(address) => bare::serve(address, arguments.tls.as_deref()),
        None => run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing else is left to tell it to.
            drop(writeln!(std::io::stderr(), "api benchmark: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let iceway = arguments.iceway.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_iceway")));
    let mut out = std::io::stdout();
    write!(out, "{}", machine::describe("api", &[("iceway", &iceway)])?)?;
    let _priority = machine::Priority::raise();
    machine::pin_this_process()?;
    let (rounds, seconds) = if arguments.quick { (1, 1) } else { (arguments.rounds, arguments.seconds) };
    let plan = Plan {
        connections: arguments.connections.into(),
        warm_up: Duration::from_millis(300),
        measured: Duration::from_secs(seconds),
    };
    let mut table = Table::default();
    for _ in 0..rounds {
        for kind in Kind::ALL {
            if !arguments.only.is_empty() && !arguments.only.iter().any(|only| only == kind.name()) {
                continue;
            }
            let Some(server) = Server::start(kind, &iceway)? else { continue };
            let flat_out = load::flat_out(&server, &plan)?;
            let half = load::paced(&server, &plan, flat_out.per_second() / 2.0)?;
            table.add(kind, &flat_out, &half);
        }
    }
    write!(out, "\n{table}")?;
    Ok(())
}
