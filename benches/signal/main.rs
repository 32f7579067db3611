//! Measures the signaling relay over real sockets, beside a bare relay on the same libraries and well-known ones on the
//! same core in the same run. See `benches/README.md` for what the numbers mean.

#![allow(dead_code, clippy::print_stderr, clippy::unwrap_used, reason = "shared with the black-box tests")]

mod bare;
mod calls;
mod core;
#[path = "../relay/histogram.rs"]
mod histogram;
mod idle;
#[path = "../api/machine.rs"]
mod machine;
mod messages;
mod report;
mod server;
mod session;
#[path = "../../tests/signal_support/mod.rs"]
mod signal_support;
mod socket;
mod storm;
#[path = "../../tests/support_redis/mod.rs"]
mod support_redis;

use std::{
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::{
    messages::Plan,
    report::Report,
    server::{Kind, Server},
};

/// What no idle session may take with `--check`, whatever the build.
const IDLE_BYTES_MAX: f64 = 64.0 * 1024.0;
/// Messages through the core alone.
const CORE: u64 = 300_000;
/// The same with `--quick`.
const QUICK_CORE: u64 = 10_000;
/// Idle sessions with `--quick`.
const QUICK_IDLE: usize = 500;
/// Sessions of the storm with `--quick`.
const QUICK_STORM: usize = 500;
/// Longer than the time between two heartbeats.
const IDLE_TIME: Duration = Duration::from_secs(30);
/// For those that do nothing with idle sockets.
const IDLE_TIME_SHORT: Duration = Duration::from_secs(3);

/// Measures the signaling relay. Needs two processors, `taskset` and redis-server; uses `ws` and Socket.IO as peers where
/// Node.js and npm are there.
#[derive(Clone, Debug, Parser)]
#[command(name = "signal")]
struct Arguments {
    /// A look in a minute: one short round, few sessions.
    #[arg(long)]
    quick: bool,
    /// Rounds; in each, every server is measured once, but idle sessions only in the first.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Measured seconds of each load.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Pairs of sessions that talk, and that call one another.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pairs: u16,
    /// Idle sessions.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u16).range(100..=19_000))]
    idle: u16,
    /// Sessions whose sockets are lost at once.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u16).range(100..=19_000))]
    storm: u16,
    /// Measure only these servers: iceway, bare, ws, socket.io, iceway-tls, bare-tls, iceway-2, bare-2, socket.io-2; may be
    /// repeated.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Measure only this of them: core, messages, idle, new, calls, storm; may be repeated.
    #[arg(long, value_name = "NAME")]
    measure: Vec<String>,
    /// Fail if a session takes much more memory than it should: for tests. What is lost or refused fails always.
    #[arg(long)]
    check: bool,
    /// The iceway to measure instead of the one just built.
    #[arg(long, value_name = "PROGRAM")]
    iceway: Option<PathBuf>,
    /// Run as the bare relay on this address.
    #[arg(long, hide = true)]
    serve_bare: Option<SocketAddr>,
    /// With this certificate and key.
    #[arg(long, hide = true, num_args = 2)]
    tls: Option<Vec<PathBuf>>,
    /// With this Redis, as node 0 or 1.
    #[arg(long, hide = true, num_args = 2)]
    redis: Option<Vec<String>>,
    /// Given by cargo to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.serve_bare {
        Some(address) => serve_bare(address, &arguments),
        None => run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing else is left to tell it to.
            drop(writeln!(std::io::stderr(), "signal benchmark: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    fn wants(&self, what: &str) -> bool {
        self.measure.is_empty() || self.measure.iter().any(|only| only == what)
    }

    fn idle(&self) -> usize {
        if self.quick { QUICK_IDLE } else { self.idle.into() }
    }

    fn idle_time(&self, kind: Kind) -> Duration {
        if self.quick || !kind.has_heartbeat() { IDLE_TIME_SHORT } else { IDLE_TIME }
    }
}

fn serve_bare(address: SocketAddr, arguments: &Arguments) -> Result<()> {
    let redis = match arguments.redis.as_deref() {
        None => None,
        Some([url, node]) => Some((url.clone(), node.parse().context("the node's number")?)),
        Some(_) => anyhow::bail!("--redis wants a URL and a number"),
    };
    bare::serve(&bare::Options { address, tls: arguments.tls.clone(), redis })
}

fn run(arguments: &Arguments) -> Result<()> {
    let iceway = arguments.iceway.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_iceway")));
    let mut out = std::io::stdout();
    write!(out, "{}", machine::describe("signal", &[("iceway", &iceway)])?)?;
    let _priority = machine::Priority::raise();
    machine::pin_this_process()?;
    machine::raise_descriptor_limit()?;
    let mut report = Report::default();
    for round in 0..if arguments.quick { 1 } else { arguments.rounds } {
        if arguments.wants("core") {
            report.add_core(core::nanoseconds(if arguments.quick { QUICK_CORE } else { CORE })?);
        }
        for kind in Kind::ALL {
            if arguments.only.is_empty() || arguments.only.iter().any(|only| only == kind.name()) {
                measure(arguments, round, kind, &iceway, &mut report).with_context(|| kind.to_string())?;
            }
        }
    }
    write!(out, "\n{report}")?;
    Ok(())
}

/// One round of one server; each measurement has a fresh one.
fn measure(arguments: &Arguments, round: u32, kind: Kind, iceway: &Path, report: &mut Report) -> Result<()> {
    let start = |what: &str| if arguments.wants(what) { Server::start(kind, iceway) } else { Ok(None) };
    let time = Duration::from_secs(if arguments.quick { 1 } else { arguments.seconds });
    if let Some(server) = start("messages")? {
        let warm_up = Duration::from_millis(500);
        let plan = Plan { pairs: arguments.pairs.into(), warm_up, measured: time };
        let flat_out = messages::flat_out(&server, &plan).context("messages, flat out")?;
        let half = messages::paced(&server, &plan, flat_out.per_second() / 2.0).context("messages, paced")?;
        report.add_messages(kind, &flat_out, &half);
    }
    // It takes long, and changes little.
    if round == 0
        && !kind.has_two_nodes()
        && let Some(server) = start("idle")?
    {
        let idle = idle::measure(&server, arguments.idle(), arguments.idle_time(kind)).context("idle")?;
        report.add_idle(kind, &idle);
        let is_fine = idle.bytes < IDLE_BYTES_MAX;
        ensure!(is_fine || !arguments.check, "an idle session takes {:.0} bytes", idle.bytes);
    }
    if !kind.has_two_nodes()
        && let Some(server) = start("new")?
    {
        report.add_new_sessions(kind, idle::new_sessions(&server, time).context("new")?);
    }
    if kind.is_iceway()
        && let Some(server) = start("calls")?
    {
        report.add_calls(kind, &calls::measure(&server, arguments.pairs.into(), time).context("calls")?);
    }
    if matches!(kind, Kind::Iceway | Kind::IcewayTwo)
        && let Some(server) = start("storm")?
    {
        let count = if arguments.quick { QUICK_STORM } else { arguments.storm.into() };
        let storm = storm::measure(&server, count).context("storm")?;
        report.add_storm(kind, &storm);
        ensure!(storm.lost == 0, "{} frames were lost in the storm", storm.lost);
    }
    Ok(())
}
