//! Everybody's socket is lost at once, messages go on, everybody comes back, to another node if there is one: every
//! frame must be there.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::{
    server::Server,
    session::{Hello, Session, hello, open_all, text, wait},
};

/// Messages to each session while it is away, and after.
const AWAY: usize = 3;
/// Sessions that send them.
const SENDERS: usize = 50;
/// How long what is missing may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// How it went.
pub(crate) struct Measured {
    pub(crate) sessions: usize,
    pub(crate) elapsed: Duration,
    pub(crate) spent: Duration,
    /// Frames that had to be there and were.
    pub(crate) frames: usize,
    pub(crate) lost: usize,
    /// What it takes the same server to welcome so many that are new.
    pub(crate) fresh: Duration,
}

/// Runs it.
///
/// # Errors
/// A session is not resumed.
pub(crate) fn measure(server: &Server, count: usize) -> Result<Measured> {
    let last = server.addresses.len() - 1;
    let senders: Vec<Hello> = (0..SENDERS).map(|at| hello(server, &format!("sender-{at}"), 0)).collect();
    let mut senders = open_all(server, &senders)?;
    let hellos: Vec<Hello> = (0..count).map(|at| hello(server, &format!("storm-{at}"), 0)).collect();
    let begin = Instant::now();
    let mut sessions = open_all(server, &hellos)?;
    let fresh = begin.elapsed();
    send_to_all(&mut senders, &sessions, "before")?;
    for session in &mut sessions {
        let mut came = 0;
        wait(|| {
            session.poll(|_| {
                came += 1;
                Ok(())
            })?;
            Ok(came >= 1)
        })?;
    }

    let resumes: Vec<Hello> = sessions
        .iter()
        .zip(&hellos)
        .map(|(session, hello)| resume(session, hello, last))
        .collect::<Result<_>>()?;
    let addresses: Vec<String> = sessions.iter().map(|session| session.message("lost")).collect();
    drop(sessions);
    for message in ["1", "2", "3"].iter().take(AWAY) {
        for (at, address) in addresses.iter().enumerate() {
            let text = address.replacen("\"lost\"", &format!("\"{message}\""), 1);
            let turn = at % senders.len();
            let sender = senders.get_mut(turn).context("a sender")?;
            sender.send(&text)?;
            if at % 256 == 0 {
                senders.iter_mut().try_for_each(|sender| sender.poll(|_| Ok(())))?;
            }
        }
    }
    // A request is answered after the messages before it were taken.
    settle(&mut senders)?;

    let (before, begin) = (server.spent()?, Instant::now());
    let mut sessions = open_all(server, &resumes)?;
    let mut lost = 0;
    let deadline = Instant::now() + PATIENCE;
    for session in &mut sessions {
        ensure!(session.welcome.contains(r#""resumed":true"#), "not resumed: {}", session.welcome);
        lost += missing(session, deadline)?;
    }
    let (elapsed, spent) = (begin.elapsed(), server.spent()?.saturating_sub(before));
    Ok(Measured { sessions: count, elapsed, spent, frames: count * AWAY, lost, fresh })
}

fn send_to_all(senders: &mut [Session], sessions: &[Session], data: &str) -> Result<()> {
    let count = senders.len();
    for (at, session) in sessions.iter().enumerate() {
        let message = session.message(data);
        senders.get_mut(at % count).context("a sender")?.send(&message)?;
    }
    Ok(())
}

fn settle(senders: &mut [Session]) -> Result<()> {
    for sender in senders {
        sender.send(r#"{"type":"ping","t":"settled"}"#)?;
        let mut is_settled = false;
        wait(|| {
            sender.poll(|frame| {
                is_settled |= text(frame, "t") == Some("settled");
                Ok(())
            })?;
            Ok(is_settled)
        })?;
    }
    Ok(())
}

/// The hello with which a session is resumed at a node.
fn resume(session: &Session, hello: &Hello, node: usize) -> Result<Hello> {
    let part =
        |name| text(session.welcome.as_bytes(), name).with_context(|| format!("{name} in the welcome"));
    let resume = json!({
        "session": session.name, "token": part("resumeToken")?, "epoch": part("epoch")?, "seq": session.seq,
    });
    let frame = hello.frame.strip_suffix('}').context("an object")?;
    let frame = format!(r#"{frame},"resume":{resume}}}"#);
    Ok(Hello { node, frame, seq: session.seq })
}

/// How many of the messages of the time away are not there, in order.
fn missing(session: &mut Session, deadline: Instant) -> Result<usize> {
    let mut came = Vec::new();
    while came.len() < AWAY && Instant::now() < deadline {
        session.poll(|frame| {
            came.extend(text(frame, "data").map(str::to_owned));
            Ok(())
        })?;
    }
    Ok(["1", "2", "3"]
        .iter()
        .enumerate()
        .filter(|(at, data)| came.get(*at).map(String::as_str) != Some(data))
        .count())
}
