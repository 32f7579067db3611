//! Several signaling relays and a bus that delays, loses and breaks, under virtual time, over many seeds.
//!
//! `SIGNAL_SEED=7 cargo test --test signal_nodes` runs one seed of each; `SIGNAL_SEEDS=1000` so many.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing)]

mod chance;
mod cluster;
#[path = "../signal_support_core/grants.rs"]
mod grants;
mod moves;
mod net;
mod phone;

use std::collections::{BTreeMap, BTreeSet};

use cluster::{Cluster, Happening};
use iceway::signaling::CallStep;
use serde_json::json;

/// How long after the death of a node what was under way then may be missing.
const TROUBLE: u64 = 25_000;

#[test]
fn nodes_that_lose_nothing_deliver_all() {
    sweep(40, |cluster| cluster.net.loss = 0, |_, _| {});
}

#[test]
fn lossy_slow_links_deliver_all() {
    sweep(100, |cluster| (cluster.net.loss, cluster.net.delay) = (150, 120), |_, _| {});
}

#[test]
fn phones_that_wander_between_nodes_miss_nothing() {
    sweep(
        150,
        |cluster| (cluster.net.loss, cluster.net.delay) = (50, 80),
        |cluster, phone| {
            if cluster.chance.one_in(15) {
                let after = cluster.chance.below(1500);
                cluster.drop_socket(phone, after);
            }
        },
    );
}

#[test]
fn nodes_that_are_cut_off_deliver_later() {
    sweep(
        100,
        |cluster| cluster.net.loss = 20,
        |cluster, phone| {
            if cluster.chance.one_in(150) {
                let node = cluster.chance.below(cluster.nodes.len() as u64) as usize;
                let millis = 200 + cluster.chance.below(30_000);
                cluster.cut(node, millis);
            }
            if cluster.chance.one_in(60) {
                cluster.drop_socket(phone, 300);
            }
        },
    );
}

#[test]
fn nodes_that_die_take_only_their_own_along() {
    sweep(
        100,
        |cluster| cluster.net.loss = 20,
        |cluster, phone| {
            if cluster.chance.one_in(250) && cluster.living().len() > 1 {
                let living = cluster.living();
                let node = cluster.chance.pick(&living).unwrap();
                cluster.crash(node);
                let after = 1000 + cluster.chance.below(30_000);
                cluster.plan(after, Happening::Start(node));
            }
            if cluster.chance.one_in(40) {
                cluster.drop_socket(phone, 500);
            }
        },
    );
}

#[test]
fn nodes_that_drain_leave_nothing_behind() {
    sweep(
        100,
        |cluster| cluster.net.loss = 20,
        |cluster, phone| {
            if cluster.chance.one_in(200) && cluster.living().len() > 1 {
                let living = cluster.living();
                let node = cluster.chance.pick(&living).unwrap();
                cluster.drain(node);
            }
            if cluster.chance.one_in(60) {
                let after = cluster.chance.below(8000);
                cluster.drop_socket(phone, after);
            }
        },
    );
}

/// Runs so many seeds, each with another cluster, and looks whether all is as promised afterwards.
fn sweep(seeds: u64, prepare: impl Fn(&mut Cluster), trouble: impl Fn(&mut Cluster, usize)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("SIGNAL_SEED");
    let seeds = if first.is_some() { 1 } else { number("SIGNAL_SEEDS").unwrap_or(seeds) };
    let mut resumes = BTreeMap::new();
    let (mut messages, mut calls) = (0, 0);
    for seed in (0..seeds).map(|seed| first.unwrap_or(seed)) {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let nodes = 2 + (seed % 4) as usize;
            let mut cluster = Cluster::new(seed, nodes, 8);
            prepare(&mut cluster);
            run(&mut cluster, &trouble);
            check(&cluster);
            cluster
        }));
        let cluster = outcome.unwrap_or_else(|_| panic!("seed {seed}"));
        for how in cluster.phones.iter().flat_map(|phone| &phone.resumes) {
            *resumes.entry(how.clone()).or_insert(0) += 1;
        }
        calls += cluster.steps.iter().filter(|(_, step, ..)| is_end(*step)).count();
        messages += cluster
            .phones
            .iter()
            .flat_map(|phone| phone.lives.values())
            .map(|life| life.got.len())
            .sum::<usize>();
    }
    println!("{seeds} seeds: {messages} messages arrived, {calls} calls ended, sessions went on {resumes:?}");
}

fn run(cluster: &mut Cluster, trouble: &impl Fn(&mut Cluster, usize)) {
    cluster.advance(6000);
    for _ in 0..400 {
        let pause = cluster.chance.below(120);
        cluster.advance(pause);
        let phone = cluster.chance.below(cluster.phones.len() as u64) as usize;
        act(cluster, phone);
        trouble(cluster, phone);
    }
    cluster.advance(15_000);
    hang_up(cluster);
    // Everything that was cut off or dead comes back, and all that was under way arrives.
    cluster.net.loss = 0;
    for second in 0..200 {
        cluster.advance(1000);
        for phone in 0..cluster.phones.len() {
            cluster.acknowledge(phone);
        }
        // Of calls that could not be hung up when nodes had just died.
        if second == 60 {
            hang_up(cluster);
        }
    }
}

/// All phones hang up.
fn hang_up(cluster: &mut Cluster) {
    for phone in 0..cluster.phones.len() {
        for call in cluster.phones[phone].calls.clone().into_keys() {
            let hangup = cluster.phones[phone].about("call-hangup", &call);
            cluster.send(phone, &hangup);
        }
    }
}

fn act(cluster: &mut Cluster, phone: usize) {
    if !cluster.phones[phone].is_welcome {
        return;
    }
    let sessions: Vec<String> = cluster
        .phones
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != phone)
        .filter_map(|(_, phone)| phone.session.clone())
        .collect();
    let frame = match cluster.chance.below(16) {
        12..=15 => return call(cluster, phone),
        0 => {
            let status = cluster.chance.pick(&["online", "away", "dnd"]);
            json!({"type": "presence", "set": status})
        }
        1 => match cluster.phones[phone].room.take() {
            Some(room) => json!({"type": "leave", "room": room}),
            None => {
                let room = format!("r{}", cluster.chance.below(3));
                cluster.phones[phone].room = Some(room.clone());
                json!({"type": "join", "room": room})
            }
        },
        2 => return cluster.acknowledge(phone),
        _ => {
            // Several at once, so that they are close together on their way.
            let to = sessions[cluster.chance.below(sessions.len() as u64) as usize].clone();
            for _ in 0..=cluster.chance.below(3) {
                let Some(frame) = cluster.phones[phone].message(&to) else { return };
                cluster.send(phone, &frame);
            }
            return;
        }
    };
    let frame = cluster.phones[phone].request(frame);
    cluster.send(phone, &frame);
}

/// A phone does something about its calls, or calls somebody.
fn call(cluster: &mut Cluster, phone: usize) {
    let known = cluster.phones[phone].calls.iter().next().map(|(call, is_active)| (call.clone(), *is_active));
    let frame = match (known, cluster.chance.below(6)) {
        (Some((call, false)), 0..=2) => cluster.phones[phone].about("call-answer", &call),
        (Some((call, false)), 3) => cluster.phones[phone].about("call-ringing", &call),
        (Some((call, false)), 4) => cluster.phones[phone].about("call-reject", &call),
        (Some((call, _)), 5) => cluster.phones[phone].about("call-hangup", &call),
        (Some((_, true)), 0..=4) => return,
        (Some(_), 6..) => return,
        (None, _) => {
            let other = cluster.chance.below(cluster.phones.len() as u64) as usize;
            let user = cluster.phones[other].user.clone();
            if other == phone {
                return;
            }
            let Some(frame) = cluster.phones[phone].offer(&user) else { return };
            frame
        }
    };
    cluster.send(phone, &frame);
}

/// Every call is answered once at most, and ends: none is left that nobody keeps.
fn check_calls(cluster: &Cluster) {
    let mut calls: BTreeMap<&str, Vec<(CallStep, usize, u64)>> = BTreeMap::new();
    for (call, step, node, at) in &cluster.steps {
        calls.entry(call).or_default().push((*step, *node, *at));
    }
    for (call, steps) in calls {
        let is_near = |(_, _, at): &(CallStep, usize, u64)| {
            cluster.troubles.iter().any(|trouble| trouble.abs_diff(*at) < 2 * TROUBLE)
        };
        let answers = steps.iter().filter(|(step, ..)| *step == CallStep::Answered).count();
        let ends = steps.iter().filter(|(step, ..)| is_end(*step)).count();
        let (_, node, at) = steps[0];
        assert!(ends >= 1 || !cluster.is_remembered(node, at), "{call} never ends: {steps:?}");
        if !steps.iter().any(is_near) {
            assert!(answers <= 1 && ends == 1, "{call} is answered and ended once: {steps:?}");
        }
    }
}

fn is_end(step: CallStep) -> bool {
    match step {
        CallStep::Created | CallStep::PushNeeded | CallStep::Ringing | CallStep::Answered => false,
        CallStep::Rejected | CallStep::Cancelled | CallStep::Missed | CallStep::Ended | CallStep::Failed => {
            true
        }
    }
}

fn check(cluster: &Cluster) {
    check_calls(cluster);
    let whole = whole_sessions(cluster);
    for phone in &cluster.phones {
        assert!(phone.is_welcome, "{} is there", phone.user);
        assert_eq!(phone.unanswered(), Vec::<&serde_json::Value>::new(), "{} waits for nothing", phone.user);
        for (session, life) in &phone.lives {
            in_order(session, &life.got);
            all_arrived(cluster, session, &whole, life);
        }
    }
    let living = cluster.living();
    for pair in living.windows(2) {
        assert_eq!(cluster.knows(pair[0]), cluster.knows(pair[1]), "nodes {} and {}", pair[0], pair[1]);
    }
    let sessions: BTreeSet<&String> =
        cluster.phones.iter().filter_map(|phone| phone.session.as_ref()).collect();
    assert_eq!(sessions.len(), cluster.phones.len());
    let known = cluster.knows(living[0]);
    let there = known.iter().filter(|line| line.contains(" at ")).count();
    assert_eq!(there, sessions.len(), "nobody else is there: {known:?}");
}

/// Sessions that live at the end and never missed anything, with whose they are.
fn whole_sessions(cluster: &Cluster) -> BTreeMap<&str, usize> {
    let whole = cluster.phones.iter().enumerate().filter_map(|(number, phone)| {
        let session = phone.session.as_deref()?;
        (!phone.lives[session].is_broken).then_some((session, number))
    });
    whole.collect()
}

/// First in, first out, from each sender, and nothing twice.
fn in_order(session: &str, got: &[(String, u64)]) {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for (from, number) in got {
        let before = last.insert(from, *number).unwrap_or_default();
        assert!(*number > before, "{session} got {number} of {from} after {before}");
    }
}

fn all_arrived(cluster: &Cluster, session: &str, whole: &BTreeMap<&str, usize>, life: &phone::Life) {
    if !whole.contains_key(session) {
        return;
    }
    for (to, number, at) in &life.accepted {
        let is_near = |trouble: &u64| trouble.abs_diff(*at) < TROUBLE;
        let Some(receiver) = whole.get(to.as_str()) else { continue };
        if cluster.troubles.iter().any(is_near) {
            continue;
        }
        let got = &cluster.phones[*receiver].lives[to].got;
        let has_it = got.iter().any(|(from, known)| from == session && known == number);
        assert!(has_it, "{to} misses {number} of {session}, sent at {at}");
    }
}
