//! The load: every connection always busy, or requests at a given pace.

use std::{
    fs, hint,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{connection::Connection, histogram::Histogram, server::Server};

/// How a measurement is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) connections: usize,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// What was measured.
pub(crate) struct Measured {
    answers: u64,
    elapsed: Duration,
    /// Processor time of the server.
    spent: Duration,
    /// From when a request was due to the end of its answer.
    pub(crate) latency: Histogram,
}

impl Measured {
    pub(crate) fn per_second(&self) -> f64 {
        self.answers as f64 / self.elapsed.as_secs_f64()
    }

    /// Answers per second of the server's processor time.
    pub(crate) fn per_core(&self) -> f64 {
        self.answers as f64 / self.spent.as_secs_f64()
    }
}

/// A request under way on every connection at any time.
///
/// # Errors
/// A connection fails, or an answer is not a success.
pub(crate) fn flat_out(server: &Server, plan: &Plan) -> Result<Measured> {
    run(server, plan, None)
}

/// So many requests per second, whatever becomes of the earlier ones; latency counts from when each was due.
///
/// # Errors
/// As [`flat_out`].
pub(crate) fn paced(server: &Server, plan: &Plan, per_second: f64) -> Result<Measured> {
    ensure!(per_second > 1.0, "the server answered nothing flat out");
    run(server, plan, Some(Duration::from_secs_f64(1.0 / per_second)))
}

fn run(server: &Server, plan: &Plan, interval: Option<Duration>) -> Result<Measured> {
    let mut connections: Vec<Connection> =
        (0..plan.connections).map(|_| Connection::open(server)).collect::<Result<_>>()?;
    let mut measured = None;
    let begin = Instant::now();
    let mut next = begin;
    loop {
        let mut now = Instant::now();
        if now.duration_since(begin) >= plan.warm_up && measured.is_none() {
            measured = Some((now, spent(server)?, Measured::empty()));
        }
        if let Some((start, before, result)) = &mut measured
            && now.duration_since(*start) >= plan.measured
        {
            let mut result = std::mem::replace(result, Measured::empty());
            result.elapsed = now.duration_since(*start);
            result.spent = spent(server)?.saturating_sub(*before);
            return Ok(result);
        }
        for connection in &mut connections {
            if let Some(due) = connection.poll()? {
                now = Instant::now();
                if let Some((_, _, result)) = &mut measured {
                    result.answers += 1;
                    result.latency.record(now.duration_since(due).as_nanos() as u64);
                }
            }
            if !connection.is_idle() {
                continue;
            }
            match interval {
                None => connection.send(&server.request, Instant::now())?,
                Some(interval) if next <= now => {
                    connection.send(&server.request, next)?;
                    next += interval;
                }
                Some(_) => {}
            }
        }
        hint::spin_loop();
    }
}

impl Measured {
    fn empty() -> Self {
        Self { answers: 0, elapsed: Duration::ZERO, spent: Duration::ZERO, latency: Histogram::new() }
    }
}

/// Processor time of all threads of the server, exact to the nanosecond, blind to other processes.
fn spent(server: &Server) -> Result<Duration> {
    let mut nanoseconds = 0;
    for id in server.processes()? {
        for task in fs::read_dir(format!("/proc/{id}/task"))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let time: u64 = text.split_whitespace().next().context("schedstat")?.parse()?;
            nanoseconds += time;
        }
    }
    Ok(Duration::from_nanos(nanoseconds))
}
