//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::Parser;

use crate::{load::Span, server::Kind};

/// Compares iceway's relay with coturn's in network namespaces of its own. Needs root, coturn, iproute2, ethtool and
/// two processors; touches no network outside.
#[derive(Clone, Debug, Parser)]
#[command(name = "relay")]
pub(crate) struct Arguments {
    /// A look at everything in a minute: one short round.
    #[arg(long)]
    quick: bool,
    /// Run only scenarios whose name begins with this (an unknown one lists them all); may be repeated.
    #[arg(long = "scenario", value_name = "NAME")]
    pub(crate) scenarios: Vec<String>,
    /// Rounds; in each, both servers run every measurement of a scenario.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Measured seconds per round, server and pace.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: Option<u32>,
    /// Run one server alone (for a profiler): iceway or coturn.
    #[arg(long, value_name = "SERVER", value_parser = parse_kind)]
    only: Option<Kind>,
    /// The iceway to measure instead of the one just built.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) iceway: Option<PathBuf>,
    /// The coturn to measure.
    #[arg(long, value_name = "PROGRAM", default_value = "turnserver")]
    pub(crate) coturn: PathBuf,
    /// Given by cargo to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    /// Rounds of relaying scenarios.
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 4 })
    }

    /// How long one measurement takes.
    pub(crate) fn span(&self) -> Span {
        let (warm_up, measured) = if self.quick { (150, 500) } else { (250, 800) };
        let measured = self.seconds.map_or(measured, |seconds| u64::from(seconds) * 1000);
        Span { warm_up: Duration::from_millis(warm_up), measured: Duration::from_millis(measured) }
    }

    /// Allocations opened to measure set-up and memory.
    pub(crate) fn allocations(&self) -> usize {
        if self.quick { 2_000 } else { 10_000 }
    }

    /// The servers to run.
    pub(crate) fn servers(&self) -> Vec<Kind> {
        Kind::ALL.into_iter().filter(|kind| self.only.is_none_or(|only| only == *kind)).collect()
    }
}

fn parse_kind(name: &str) -> Result<Kind, String> {
    Kind::ALL
        .into_iter()
        .find(|kind| kind.to_string() == name)
        .ok_or_else(|| format!("`{name}` is neither iceway nor coturn"))
}
