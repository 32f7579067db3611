//! The core in a hostile world, under a virtual clock.
//!
//! Each seed makes a configuration, one or two shards, clients of every kind, peers, attackers, a bad network, sockets
//! that fail to bind, slow look-ups, clock jumps, reloads and drains. After every step the core's own invariants must
//! hold, and all that it did must be what an independent [model](model::Model) allows.
//!
//! `ICEWAY_SIMULATION_SEEDS=n` runs `n` seeds, `ICEWAY_SIMULATION_SEED=s` only seed `s`.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod chance;
mod client;
#[path = "../counting_allocator/mod.rs"]
mod counting_allocator;
mod deliver;
mod driver;
mod flood;
mod invariants;
mod model;
mod people;
mod setup;
mod trouble;
mod wire;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use counting_allocator::CountingAllocator;
use iceway::turn::Counters;
use world::World;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Enough for a few seconds in a debug build.
const SEEDS: u64 = 150;
const STEPS: u64 = 1_500;

#[test]
fn whatever_happens_the_core_does_only_what_it_was_asked_and_allowed_to() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds = match number("ICEWAY_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ICEWAY_SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    let mut sum = Counters::default();
    for seed in seeds {
        for server in run(seed).servers {
            sum.merge(server.counters());
        }
    }
    print(&sum);
}

/// What the seeds led to, for whoever wants to know whether they lead anywhere (`--nocapture`).
fn print(sum: &Counters) {
    println!("to peers {:?}, to clients {:?}", sum.to_peers, sum.to_clients);
    println!("created {:?}", sum.created.iter().collect::<Vec<_>>());
    println!("closed {:?}", sum.closed.iter().collect::<Vec<_>>());
    println!("drops {:?}", sum.drops.iter().collect::<Vec<_>>());
    println!("refusals {:?}", sum.refusals.iter().collect::<Vec<_>>());
    println!("quotas {:?}, binds {:?}", sum.quota_refusals, sum.binds_failed);
    for (request, code, count) in sum.responses.iter().filter(|(_, _, count)| *count > 0) {
        println!("{request:?} {code:?} {count}");
    }
}

fn run(seed: u64) -> World {
    let mut world = World::new(seed);
    let mut step = 0;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        while step < STEPS && world.step() {
            step += 1;
        }
        world.finish();
    }));
    if let Err(panic) = outcome {
        eprintln!("seed {seed}, step {step}, at {} ms: ICEWAY_SIMULATION_SEED={seed} replays it", world.now);
        resume_unwind(panic);
    }
    world
}
