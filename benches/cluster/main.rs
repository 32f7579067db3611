//! Measures three nodes and one Redis on one machine: how long after a revocation the last relay it cuts still passes
//! packets, and how many commands the nodes give Redis when nothing happens. See `benches/README.md`.

#![allow(
    dead_code,
    unused_imports,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "shared with the black-box tests"
)]

#[path = "../api/machine.rs"]
mod machine;
#[path = "../../tests/interop/support/mod.rs"]
mod support;
#[path = "../../tests/support_redis/mod.rs"]
mod support_redis;

use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    process::ExitCode,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::Parser;
use serde_json::json;

use crate::{
    support::{Media, nodes::Cluster},
    support_redis::Options,
};

/// Flows send this often, so what is measured is exact to that.
const INTERVAL: Duration = Duration::from_millis(1);
/// How long to look for packets that still pass.
const WATCH: Duration = Duration::from_millis(600);

/// Measures revocation across three nodes, and what they ask of Redis. Needs redis-server.
#[derive(Clone, Debug, Parser)]
#[command(name = "cluster")]
struct Arguments {
    /// Revocations to measure.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    revocations: u32,
    /// Seconds of idleness to count Redis's commands in.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    idle: u64,
    /// Given by cargo to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing else is left to tell it to.
            drop(writeln!(std::io::stderr(), "cluster benchmark: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let mut out = std::io::stdout();
    write!(out, "{}", machine::describe("cluster", &[("iceway", Path::new(env!("CARGO_BIN_EXE_iceway")))])?)?;
    let _priority = machine::Priority::raise();
    let cluster = Cluster::start_with(Options::default(), |setup| setup.with("log.level", "\"warn\""));
    let mut cut = Distribution::default();
    let mut answered = Distribution::default();
    for number in 0..arguments.revocations {
        let (last_passed, answer) = revoke(&cluster, number)?;
        cut.0.push(last_passed);
        answered.0.push(answer);
    }
    writeln!(
        out,
        "\n| milliseconds after the request was sent | median | 90 % | 99 % | most |\n|---|---:|---:|---:|---:|"
    )?;
    writeln!(out, "| the last packet that passed any of three relays was sent | {cut}")?;
    writeln!(out, "| the answer, with how many were cut | {answered}")?;
    out.flush()?;
    write!(out, "\n{}", idle_commands(&cluster, Duration::from_secs(arguments.idle)))?;
    Ok(())
}

/// Media through all three nodes with one credential; revoked at one of them. Milliseconds until the last packet that
/// passed, and until the answer.
fn revoke(cluster: &Cluster, number: u32) -> Result<(f64, f64)> {
    let at = number as usize % 3;
    let user = format!("user-{number}");
    let issued = cluster.issue(at, json!({ "user": user, "ttl": 600 }));
    let flows: Vec<Media> = (0..3)
        .map(|node| {
            let mut client = cluster.client(node, &issued);
            let relay = client.allocate().unwrap();
            Media::start_every(INTERVAL, client, relay)
        })
        .collect();
    for flow in &flows {
        flow.wait_for(20);
    }
    let begin = Instant::now();
    let answer =
        cluster.nodes[(at + 1) % 3].post("/v1/turn/revocations", &json!({ "user": user })).expect(201);
    let answered = begin.elapsed();
    ensure!(answer.json()["cut"] == 3, "not three relays were cut: {answer:?}");
    sleep(WATCH.saturating_sub(begin.elapsed()));
    let last = flows.iter().map(Media::last_passed).max().unwrap_or(begin);
    ensure!(last.elapsed() > WATCH / 2, "a relay still passes packets after {:?}", begin.elapsed());
    Ok((milliseconds(last.saturating_duration_since(begin)), milliseconds(answered)))
}

/// A table of the commands per node and second while nothing happens.
fn idle_commands(cluster: &Cluster, idle: Duration) -> String {
    // What the last revocation left behind.
    sleep(Duration::from_secs(5));
    let before = cluster.redis.command_counts();
    let begin = Instant::now();
    sleep(idle);
    let after = cluster.redis.command_counts();
    let node_seconds = begin.elapsed().as_secs_f64() * cluster.nodes.len() as f64;
    // The commands this benchmark gave itself.
    let own = ["info", "auth", "hello", "client|setinfo"];
    let counts: BTreeMap<&str, f64> = after
        .iter()
        .filter(|(name, _)| !own.contains(&name.as_str()))
        .map(|(name, count)| (name.as_str(), (count - before.get(name).unwrap_or(&0)) as f64 / node_seconds))
        .filter(|(_, rate)| *rate > 0.0)
        .collect();
    let mut table = "| Redis command | per node and second, idle |\n|---|---:|\n".to_owned();
    for (name, rate) in &counts {
        table += &format!("| `{name}` | {rate:.2} |\n");
    }
    table + &format!("| all | {:.2} |\n", counts.values().sum::<f64>())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Values of many rounds.
#[derive(Default)]
struct Distribution(Vec<f64>);

impl std::fmt::Display for Distribution {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let index = (sorted.len() as f64 * share).ceil() as usize;
            sorted.get(index.saturating_sub(1)).copied().unwrap_or(f64::NAN)
        };
        write!(formatter, "{:.1} | {:.1} | {:.1} | {:.1} |", at(0.5), at(0.9), at(0.99), at(1.0))
    }
}
