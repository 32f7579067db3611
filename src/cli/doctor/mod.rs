//! `iceway doctor`: what is wrong, and how to mend it.

mod addresses;
mod certificate;
mod clock;
mod command;
mod finding;
mod greet;
mod http;
mod inside;
mod link;
mod plan;
mod policy;
mod reach;
mod redis;
mod relay;
mod report;
mod running;
mod server;
mod signaling;
mod system;
mod target;
mod tls;

use std::{
    io::{IsTerminal as _, stdout},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use clap::ArgMatches;

pub(super) use command::doctor;
pub(super) use finding::{Check, Level};
use plan::Plan;
use report::Report;
pub(super) use running::Examination;

use super::{exit::Failure, terminal};
use crate::config;

/// Looks, says what it found, and answers whether that is good.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let begun = Instant::now();
    let limit = limit(matches)?;
    let plan = Plan::of(matches)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the system refuses an event queue")?;
    let (about, findings) = runtime.block_on(plan.carry_out(limit));
    // A resolver that hangs must not hold it up.
    runtime.shutdown_background();
    let report = Report::new(about, findings, begun.elapsed());
    let strict = matches.get_flag("strict");
    if matches.get_flag("json") {
        terminal::say(&report.json(strict));
    } else {
        let colours = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
        terminal::say(&report.text(colours));
    }
    if report.is_good(strict) { Ok(()) } else { Err(Failure::Answered) }
}

fn limit(matches: &ArgMatches) -> anyhow::Result<Duration> {
    let text = matches.get_one::<String>("timeout").map_or("20s", String::as_str);
    config::duration(text)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| anyhow!("--timeout {text:?} is not a duration; write one such as 20s"))
}
