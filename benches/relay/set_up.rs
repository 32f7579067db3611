//! Opening allocations, and what they cost while idle.

use std::{thread, time::Duration, time::Instant};

use anyhow::{Context, Result};

use crate::{
    client,
    processor::Spent,
    report::{Aim, Better, Comparison, Row},
    scenario::Bench,
    server::{Kind, Server},
    topology::{Moderation, PEER, Wire},
};

/// The scenario's name.
pub(crate) const NAME: &str = "set-up";

/// Where allocations point; nothing is sent there.
const PEER_PORT: u16 = 9;
/// After the last allocation, before memory is read.
const SETTLE: Duration = Duration::from_millis(300);

#[derive(Clone, Copy)]
struct Measured {
    allocations: f64,
    seconds: f64,
    spent: Spent,
    resident_bytes: f64,
}

/// Starts each server afresh in every round and opens all allocations.
pub(crate) fn run(bench: &Bench<'_>) -> Result<Comparison> {
    bench.topology.set_wire(Wire::SinglePackets)?;
    bench.topology.set_moderation(Moderation::Everywhere)?;
    let mut measured = Kind::ALL.map(|_| Vec::new());
    for _ in 0..bench.arguments.rounds() {
        for (kind, of) in Kind::ALL.into_iter().zip(&mut measured) {
            if bench.arguments.servers().contains(&kind) {
                of.push(measure(bench, kind).with_context(|| format!("{NAME}: {kind}"))?);
            }
        }
    }
    let about = format!(
        "{} allocations, 64 at a time: 401, Allocate, CreatePermission, ChannelBind with HMAC; then idle",
        bench.arguments.allocations()
    );
    Ok(compare(&about, &measured))
}

fn measure(bench: &Bench<'_>, kind: Kind) -> Result<Measured> {
    let server = Server::start(kind, &bench.programs, &bench.topology)?;
    let meter = server.meter();
    let (spent, resident, started) = (meter.read()?, meter.resident_bytes()?, Instant::now());
    let count = bench.arguments.allocations();
    let sessions = client::open(&bench.topology, server.address(), (PEER, PEER_PORT).into(), count)?;
    let (seconds, spent) = (started.elapsed().as_secs_f64(), meter.read()? - spent);
    thread::sleep(SETTLE);
    let grown = meter.resident_bytes()?.saturating_sub(resident);
    drop(sessions);
    Ok(Measured { allocations: count as f64, seconds, spent, resident_bytes: grown as f64 })
}

fn compare(about: &str, measured: &[Vec<Measured>; 2]) -> Comparison {
    let mut comparison = Comparison::new(NAME, about);
    let row = |label, better, value: &dyn Fn(&Measured) -> f64| {
        Row::new(label, better, measured.each_ref().map(|of| of.iter().map(value).collect()))
    };
    let per_processor_second = row("allocations per processor second", Better::Higher, &|of| {
        of.allocations * 1e9 / of.spent.total_ns() as f64
    });
    comparison.add(per_processor_second.aim(Some(Aim::Ratio(3.5))));
    comparison.add(row("– processor time, µs each", Better::Lower, &|of| {
        of.spent.total_ns() as f64 / 1e3 / of.allocations
    }));
    comparison.add(row("– of it server, µs each", Better::Lower, &|of| {
        of.spent.server_ns as f64 / 1e3 / of.allocations
    }));
    comparison.add(row("allocations per second", Better::Higher, &|of| of.allocations / of.seconds));
    let memory = row("resident memory, bytes each", Better::Lower, &|of| of.resident_bytes / of.allocations);
    comparison.add(memory.aim(Some(Aim::AtMost(1024.0))));
    comparison
}
