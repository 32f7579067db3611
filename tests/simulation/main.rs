//! The core in a hostile world, under a virtual clock.
//!
//! Each seed makes a configuration, one or two shards, clients of every kind, peers, attackers, a bad network, sockets
//! that fail to bind, slow look-ups, clock jumps, reloads, revocations, changed secrets, closings and drains. After every step the core's own invariants must
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
mod operator;
mod people;
mod places;
mod promise;
mod refusal;
mod revoked;
mod setup;
mod trouble;
mod wire;
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::Instant,
};

use counting_allocator::CountingAllocator;
use iceway::turn::Counters;
use world::World;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const SEEDS: u64 = 150;
const STEPS: u64 = 1_500;
/// A busy machine runs fewer seeds, but never fewer than some, unless it is told how many.
const SECONDS_MAX: u64 = 15;
const SEEDS_MIN: u64 = 20;

#[test]
fn whatever_happens_the_core_does_only_what_it_was_asked_and_allowed_to() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let wanted = number("ICEWAY_SIMULATION_SEEDS");
    let seeds = match number("ICEWAY_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..wanted.unwrap_or(SEEDS),
    };
    let start = Instant::now();
    let mut sum = Counters::default();
    for seed in seeds {
        if wanted.is_none() && (SEEDS_MIN..SEEDS).contains(&seed) && start.elapsed().as_secs() >= SECONDS_MAX
        {
            println!("stopped for lack of time before seed {seed}");
            break;
        }
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
