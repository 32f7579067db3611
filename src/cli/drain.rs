//! `iceway drain`, and how far a drain is in the log.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use clap::ArgMatches;
use serde_json::Value;

use super::{
    control_client::{Answer, ControlClient},
    exit::Failure,
    terminal,
};
use crate::{api::Service, cluster::DrainProgress, config};

/// How often is looked how far it is.
const LOOK_PERIOD: Duration = Duration::from_millis(500);
/// How often is said that nothing changes.
const SAY_PERIOD: Duration = Duration::from_secs(10);
/// For how long a server may not answer while it is waited for: it may be busy, or Redis away.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Has a node drain, or serve again.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let client = ControlClient::of(matches)?;
    let node = match matches.get_one::<String>("node") {
        Some(node) => node.clone(),
        None => own_name(&client)?,
    };
    let path = format!("/v1/nodes/{node}/drain");
    if matches.get_flag("undo") {
        client.delete(&path)?.success()?;
        terminal::say(&format!("{node} serves again.\n"));
        return Ok(());
    }
    let progress = Progress::of(&client.post(&path, None)?.success()?);
    terminal::say(&progress.line(&node));
    if progress.has_no_taker && !progress.is_drained {
        terminal::say("No other node can take clients: new ones are refused (508).\n");
    }
    if matches.get_flag("wait") {
        let time_max = matches.get_one::<Duration>("timeout").copied();
        Waiting { client: &client, node: &node, seen: progress, silent: None }.until_drained(time_max)
    } else {
        Ok(())
    }
}

/// Reads what `--timeout` says.
pub(super) fn time(text: &str) -> Result<Duration, &'static str> {
    config::duration(text).ok_or("not a duration such as 30s or 10m")
}

/// Reads what `--node` says: it becomes part of a path.
pub(super) fn node_id(text: &str) -> Result<String, &'static str> {
    let is_id = (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    is_id.then(|| text.to_owned()).ok_or("names of nodes are 1 to 64 of A-Z a-z 0-9 . _ -")
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    drains: bool,
    is_drained: bool,
    /// The process ends after it.
    is_ending: bool,
    has_no_taker: bool,
    allocations: u64,
    sockets: u64,
    seconds_left: u64,
}

impl Progress {
    fn of(answer: &Value) -> Self {
        let number = |name: &str| answer[name].as_u64().unwrap_or(0);
        Self {
            drains: answer["state"] == "draining",
            is_drained: answer["drained"] == true,
            is_ending: answer["ending"] == true,
            has_no_taker: answer["takers"] == 0,
            allocations: number("allocations"),
            sockets: number("sockets"),
            seconds_left: number("secondsLeft"),
        }
    }

    fn line(self, node: &str) -> String {
        let Self { is_drained, allocations, sockets, seconds_left, .. } = self;
        if is_drained {
            return format!("{node} is drained.\n");
        }
        let what = format!("{node} drains: {allocations} allocations, {sockets} signaling sockets");
        match seconds_left {
            0 => format!("{what}; its time is over\n"),
            _ => format!("{what}, {seconds_left} s left\n"),
        }
    }

    const fn left(self) -> (u64, u64) {
        (self.allocations, self.sockets)
    }
}

/// Waits for a node.
struct Waiting<'a> {
    client: &'a ControlClient,
    node: &'a str,
    seen: Progress,
    /// Since when it does not answer.
    silent: Option<Instant>,
}

impl Waiting<'_> {
    /// Until nothing is left, or the time is over: that of the command, else that of the server.
    fn until_drained(mut self, time_max: Option<Duration>) -> Result<(), Failure> {
        let begun = Instant::now();
        let (mut said, mut said_at) = (self.seen, begun);
        while !self.seen.is_drained {
            let is_over =
                time_max.map_or(self.seen.seconds_left == 0, |time_max| begun.elapsed() >= time_max);
            if is_over {
                return Err(self.late());
            }
            std::thread::sleep(LOOK_PERIOD);
            if !self.look()? {
                continue;
            }
            let node = self.node;
            if !self.seen.drains {
                return Err(anyhow!("{node} serves again: somebody undid the drain").into());
            }
            let is_news = self.seen.left() != said.left() || self.seen.is_drained;
            if is_news || said_at.elapsed() >= SAY_PERIOD {
                terminal::say(&self.seen.line(node));
                (said, said_at) = (self.seen, Instant::now());
            }
        }
        Ok(())
    }

    /// Asks how far it is; `false` if there is no answer just now.
    fn look(&mut self) -> Result<bool, Failure> {
        let asked = self.client.get(&format!("/v1/drain?node={}", self.node));
        let is_gone = asked.as_ref().is_ok_and(|answer| answer.status == 404);
        match asked.and_then(Answer::success) {
            Ok(answer) => {
                (self.seen, self.silent) = (Progress::of(&answer), None);
                Ok(true)
            }
            Err(_) if self.seen.is_ending && (is_gone || self.has_been_silent(2 * LOOK_PERIOD)) => {
                Err(self.ended())
            }
            Err(failure) if is_gone || self.has_been_silent(SILENCE_MAX) => Err(failure),
            Err(_) => Ok(false),
        }
    }

    fn has_been_silent(&mut self, time: Duration) -> bool {
        self.silent.get_or_insert_with(Instant::now).elapsed() >= time
    }

    fn late(&self) -> Failure {
        let (node, (allocations, sockets)) = (self.node, self.seen.left());
        anyhow!(
            "{node} is not drained in time: {allocations} allocations and {sockets} signaling sockets are left; wait on \
             with --wait --timeout, or end the server"
        )
        .into()
    }

    /// What was left a moment before is not known to have gone by itself.
    fn ended(&self) -> Failure {
        let (node, (allocations, sockets)) = (self.node, self.seen.left());
        anyhow!("{node} has ended; {allocations} allocations and {sockets} signaling sockets were left just before")
            .into()
    }
}

/// The node that answers is the first it names.
fn own_name(client: &ControlClient) -> Result<String, Failure> {
    let nodes = client.get("/v1/nodes")?.success()?;
    let name = nodes["nodes"][0]["id"].as_str();
    Ok(name.ok_or_else(|| anyhow!("the server names no node; is it an iceway?"))?.to_owned())
}

/// Says in the log how far a drain is.
#[derive(Debug)]
pub(super) struct DrainWatch {
    said: Option<Instant>,
    is_over: bool,
    is_late: bool,
}

impl DrainWatch {
    /// How often it wants to look.
    pub(super) const PERIOD: Duration = Duration::from_secs(1);

    /// Nothing has been said yet.
    pub(super) const fn new() -> Self {
        Self { said: None, is_over: false, is_late: false }
    }

    /// Looks and says what is worth saying. Sessions whose clients have not come back when all others are gone are
    /// handed to other nodes.
    pub(super) async fn look(&mut self, service: &Service) {
        if !service.node.is_draining() {
            *self = Self::new();
            return;
        }
        let progress = service.drain_progress().await;
        let DrainProgress { allocations, sockets, seconds_left, .. } = progress;
        if progress.is_over() != self.is_over {
            self.is_over = progress.is_over();
            if self.is_over && !progress.is_final {
                service.signaling_drained(Duration::ZERO).await;
                tracing::info!("Drained: nothing is left here.");
            }
        } else if progress.is_late() && !progress.is_final && !self.is_late {
            (self.is_late, self.said) = (true, Some(Instant::now()));
            service.count_late_drain();
            tracing::warn!(
                allocations,
                sockets,
                "The time to drain (runtime.drain_timeout) is over: what is left goes on until it ends by itself, or with \
                 the server (SIGTERM)."
            );
        } else if !self.is_over && self.said.is_none_or(|said| said.elapsed() >= SAY_PERIOD) {
            // What begins is said by whoever begins it.
            if self.said.is_some() {
                tracing::info!(allocations, sockets, seconds_left, "Still draining.");
            }
            self.said = Some(Instant::now());
        }
    }

    /// The same until it is dropped.
    pub(super) async fn keep_looking(&mut self, service: &Service) {
        loop {
            tokio::time::sleep(Self::PERIOD).await;
            self.look(service).await;
        }
    }
}
