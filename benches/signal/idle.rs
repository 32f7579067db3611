//! What a session costs that says nothing, and what it costs to open one.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    server::Server,
    session::{Hello, Session, hello, open_all},
};

/// Sessions that are there before memory is looked at.
const BEFORE: usize = 200;
/// Sessions that are opened and closed at once.
const ROUND: usize = 256;

/// What an idle session costs.
pub(crate) struct Idle {
    /// Of the process.
    pub(crate) bytes: f64,
    /// Processor time per second, in microseconds.
    pub(crate) microseconds: f64,
}

/// Opens so many sessions and leaves them alone for some time. What the server does without any is not counted.
///
/// # Errors
/// One is closed.
pub(crate) fn measure(server: &Server, count: usize, time: Duration) -> Result<Idle> {
    let names: Vec<_> = (0..BEFORE + count).map(|at| hello(server, &format!("idle-{at}"), 0)).collect();
    let (before, rest) = names.split_at(BEFORE);
    let own = spent_in(server, time / 5, &mut [])?;
    let mut sessions = open_all(server, before)?;
    leave_alone(&mut sessions, Duration::from_millis(500))?;
    let resident = server.resident_bytes()?;
    sessions.extend(open_all(server, rest)?);
    leave_alone(&mut sessions, Duration::from_secs(1))?;
    let bytes = (server.resident_bytes()?.saturating_sub(resident)) as f64 / count as f64;
    let share = (spent_in(server, time, &mut sessions)? - own).max(0.0);
    Ok(Idle { bytes, microseconds: share * 1e6 / sessions.len() as f64 })
}

/// The share of a processor that the server takes while its sessions are left alone.
fn spent_in(server: &Server, time: Duration, sessions: &mut [Session]) -> Result<f64> {
    let (before, begin) = (server.spent()?, Instant::now());
    leave_alone(sessions, time)?;
    let spent = server.spent()?.saturating_sub(before);
    Ok(spent.as_secs_f64() / begin.elapsed().as_secs_f64())
}

/// Opens and closes sessions for some time; how many per second of the server's processor time, and per second.
///
/// # Errors
/// One is refused.
pub(crate) fn new_sessions(server: &Server, time: Duration) -> Result<(f64, f64)> {
    let (mut elapsed, mut spent, mut count) = (Duration::ZERO, Duration::ZERO, 0);
    while elapsed < time {
        let hello = |at| hello(server, &format!("new-{count}-{at}"), 0);
        let hellos: Vec<Hello> = (0..ROUND).map(hello).collect();
        let (before, begin) = (server.spent()?, Instant::now());
        let mut sessions = open_all(server, &hellos)?;
        for session in &mut sessions {
            if server.kind.is_iceway() {
                session.send(r#"{"type":"bye"}"#)?;
            }
        }
        drop(sessions);
        elapsed += begin.elapsed();
        // The closing belongs to it.
        thread::sleep(Duration::from_millis(20));
        spent += server.spent()?.saturating_sub(before);
        count += ROUND;
    }
    Ok((count as f64 / spent.as_secs_f64(), count as f64 / elapsed.as_secs_f64()))
}

/// Answers pings, and nothing else.
pub(crate) fn leave_alone(sessions: &mut [Session], time: Duration) -> Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < time {
        for session in &mut *sessions {
            session.poll(|_| Ok(()))?;
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
