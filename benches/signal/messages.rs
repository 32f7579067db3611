//! Messages from one session to another: as many as go, or at a given pace.

use std::{
    hint,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    histogram::Histogram,
    server::Server,
    session::{Session, hello, open_all, text},
};

/// Bytes of a message with its envelope.
const MESSAGE: usize = 1024;
/// Messages of a pair that are under way when everything runs flat out.
const WINDOW: u64 = 8;

/// How a measurement is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) pairs: usize,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// How long what is under way at the end may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was measured.
pub(crate) struct Measured {
    received: u64,
    elapsed: Duration,
    /// Processor time of the server's processes.
    spent: Duration,
    /// From when a message was due to its arrival.
    pub(crate) latency: Histogram,
}

impl Measured {
    pub(crate) fn per_second(&self) -> f64 {
        self.received as f64 / self.elapsed.as_secs_f64()
    }

    /// Messages per second of the server's processor time.
    pub(crate) fn per_core(&self) -> f64 {
        self.received as f64 / self.spent.as_secs_f64()
    }
}

/// One that sends and one that receives.
struct Pair {
    from: Session,
    to: Session,
    under_way: u64,
}

/// Some messages of each pair under way at any time.
///
/// # Errors
/// A connection fails or a message is missing.
pub(crate) fn flat_out(server: &Server, plan: &Plan) -> Result<Measured> {
    run(server, plan, None)
}

/// So many messages per second, whatever becomes of the earlier ones; latency counts from when each was due.
///
/// # Errors
/// As [`flat_out`].
pub(crate) fn paced(server: &Server, plan: &Plan, per_second: f64) -> Result<Measured> {
    ensure!(per_second > 1.0, "the server passed on nothing flat out");
    run(server, plan, Some(Duration::from_secs_f64(1.0 / per_second)))
}

fn run(server: &Server, plan: &Plan, interval: Option<Duration>) -> Result<Measured> {
    let mut pairs = open_pairs(server, plan.pairs)?;
    let padding = "x".repeat(MESSAGE - 100);
    let begin = Instant::now();
    let mut measured = None;
    let (mut next, mut turn) = (begin, 0);
    loop {
        let now = Instant::now();
        if now.duration_since(begin) >= plan.warm_up && measured.is_none() {
            measured = Some((now, server.spent()?, Measured::empty()));
        }
        if let Some((start, before, result)) = &mut measured
            && now.duration_since(*start) >= plan.measured
        {
            let mut result = std::mem::replace(result, Measured::empty());
            result.elapsed = now.duration_since(*start);
            result.spent = server.spent()?.saturating_sub(*before);
            drain(&mut pairs, begin)?;
            return Ok(result);
        }
        for pair in &mut pairs {
            let result = measured.as_mut().map(|(_, _, result)| result);
            receive(pair, begin, result)?;
            while interval.is_none() && pair.under_way < WINDOW {
                send(pair, begin, Instant::now(), &padding)?;
            }
        }
        while let Some(interval) = interval
            && next <= Instant::now()
        {
            let count = pairs.len();
            let pair = pairs.get_mut(turn % count).context("a pair")?;
            send(pair, begin, next, &padding)?;
            turn += 1;
            next += interval;
        }
        hint::spin_loop();
    }
}

/// Every message that was sent arrives.
fn drain(pairs: &mut [Pair], begin: Instant) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while pairs.iter().any(|pair| pair.under_way > 0) {
        let missing: u64 = pairs.iter().map(|pair| pair.under_way).sum();
        ensure!(Instant::now() < deadline, "{missing} messages did not arrive");
        for pair in &mut *pairs {
            receive(pair, begin, None)?;
        }
    }
    Ok(())
}

fn open_pairs(server: &Server, count: usize) -> Result<Vec<Pair>> {
    let last = server.addresses.len() - 1;
    let from: Vec<_> = (0..count).map(|at| hello(server, &format!("from-{at}"), 0)).collect();
    let to: Vec<_> = (0..count).map(|at| hello(server, &format!("to-{at}"), last)).collect();
    let pairs = open_all(server, &from)?.into_iter().zip(open_all(server, &to)?);
    let pairs: Vec<Pair> = pairs.map(|(from, to)| Pair { from, to, under_way: 0 }).collect();
    if server.kind.has_two_nodes() {
        // A node hears of the sessions of another within a moment.
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(pairs)
}

fn send(pair: &mut Pair, begin: Instant, due: Instant, padding: &str) -> Result<()> {
    let stamp = due.duration_since(begin).as_nanos() as u64;
    let message = pair.to.message(&format!("{stamp:020}{padding}"));
    pair.under_way += 1;
    pair.from.send(&message)
}

fn receive(pair: &mut Pair, begin: Instant, mut result: Option<&mut Measured>) -> Result<()> {
    pair.from.poll(|_| Ok(()))?;
    let Pair { to, under_way, .. } = pair;
    to.poll(|frame| {
        let Some(data) = text(frame, "data") else { return Ok(()) };
        let stamp: u64 = data.get(..20).context("a message without a stamp")?.parse()?;
        *under_way = under_way.checked_sub(1).context("a message came twice")?;
        if let Some(result) = &mut result {
            result.received += 1;
            result.latency.record((begin.elapsed().as_nanos() as u64).saturating_sub(stamp));
        }
        Ok(())
    })
}

impl Measured {
    fn empty() -> Self {
        Self { received: 0, elapsed: Duration::ZERO, spent: Duration::ZERO, latency: Histogram::new() }
    }
}
