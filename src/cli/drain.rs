//! `iceway drain`, and how far a drain is in the log.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use clap::ArgMatches;
use serde_json::Value;

use super::{control_client::ControlClient, exit::Failure, terminal};
use crate::{api::Service, cluster::DrainProgress, config};

/// How often is looked how far it is.
const LOOK_PERIOD: Duration = Duration::from_millis(500);
/// How often is said that nothing changes.
const SAY_PERIOD: Duration = Duration::from_secs(10);

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
    let time_max = matches.get_one::<String>("timeout").map(|text| time(text)).transpose()?;
    let progress = Progress::of(&client.post(&path, None)?.success()?);
    terminal::say(&progress.line(&node));
    if matches.get_flag("wait") { wait(&client, &node, progress, time_max) } else { Ok(()) }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    drains: bool,
    is_drained: bool,
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
        format!(
            "{node} drains: {allocations} allocations, {sockets} signaling sockets, {seconds_left} s left\n"
        )
    }

    const fn left(self) -> (u64, u64) {
        (self.allocations, self.sockets)
    }
}

/// Until nothing is left, or the time is over: that of the command, else that of the server.
fn wait(
    client: &ControlClient,
    node: &str,
    mut seen: Progress,
    time_max: Option<Duration>,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let (mut said, mut said_at) = (seen, begun);
    while !seen.is_drained {
        let is_over = time_max.map_or(seen.seconds_left == 0, |time_max| begun.elapsed() >= time_max);
        if is_over {
            let (allocations, sockets) = seen.left();
            return Err(anyhow!(
                "{node} is not drained in time: {allocations} allocations and {sockets} signaling sockets are left; wait on \
                 with --wait --timeout, or end the server"
            )
            .into());
        }
        std::thread::sleep(LOOK_PERIOD);
        let answer = client.get(&format!("/v1/drain?node={node}"))?;
        seen = Progress::of(&answer.success()?);
        if !seen.drains {
            return Err(anyhow!("{node} serves again: somebody undid the drain").into());
        }
        let is_news = seen.left() != said.left() || seen.is_drained;
        if is_news || said_at.elapsed() >= SAY_PERIOD {
            terminal::say(&seen.line(node));
            (said, said_at) = (seen, Instant::now());
        }
    }
    Ok(())
}

/// The node that answers is the first it names.
fn own_name(client: &ControlClient) -> Result<String, Failure> {
    let nodes = client.get("/v1/nodes")?.success()?;
    let name = nodes["nodes"][0]["id"].as_str();
    Ok(name.ok_or_else(|| anyhow!("the server names no node; is it an iceway?"))?.to_owned())
}

fn time(text: &str) -> Result<Duration, Failure> {
    let fault = || anyhow!("--timeout {text} is not a duration such as 30s or 10m");
    Ok(config::duration(text).ok_or_else(fault)?)
}

/// Says in the log how far a drain is.
#[derive(Debug)]
pub(super) struct DrainWatch {
    said: Option<Instant>,
    is_over: bool,
}

impl DrainWatch {
    /// How often it wants to look.
    pub(super) const PERIOD: Duration = Duration::from_secs(1);

    /// Nothing has been said yet.
    pub(super) const fn new() -> Self {
        Self { said: None, is_over: false }
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
