//! The commands; wires everything.

mod api_keys;
mod api_keys_command;
mod banner;
mod check;
mod clock;
mod command;
mod completions;
mod control;
mod control_client;
mod credentials;
mod doctor;
mod drain;
mod exit;
mod explain;
mod fault;
mod healthcheck;
mod keeper;
mod known;
mod man;
mod meanings;
mod notify;
mod public;
mod reference;
mod reload;
mod serve;
mod serving;
mod sessions;
mod table;
mod terminal;
mod trial;

use std::{ffi::OsString, process::ExitCode};

use clap::ArgMatches;

pub use exit::{EXIT_CODES, Exit};
pub use reference::reference;

use crate::{
    api::utc,
    config::{Config, ConfigError, Sources, given_flags},
    runtime::TlsError,
};
use exit::Failure;

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = with_default_command(std::env::args_os().collect());
    let matches = match command::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(answer) => return answer_of_parser(&answer),
    };
    let result = match matches.subcommand() {
        Some(("serve", matches)) => serve::run(&sources(matches)),
        Some(("check", matches)) => check::run(&sources(matches), matches.get_flag("show")),
        Some(("credentials", matches)) => credentials::run(matches),
        Some(("api-keys", matches)) => api_keys::run(matches),
        Some(("doctor", matches)) => doctor::run(matches),
        Some(("drain", matches)) => drain::run(matches),
        Some(("sessions", matches)) => sessions::run(matches),
        Some(("explain", matches)) => explain::run(matches),
        Some(("reload", matches)) => reload::run(matches),
        Some(("healthcheck", matches)) => healthcheck::run(&sources(matches)),
        Some(("completions", matches)) => completions::run(matches),
        Some(("man", matches)) => man::run(matches),
        // The parser lets no other through.
        Some(_) | None => Ok(()),
    };
    match result {
        Ok(()) => Exit::Ok.into(),
        Err(failure) => {
            terminal::complain(&failure.to_string());
            failure.exit().into()
        }
    }
}

/// `iceway` and `iceway --flag …` serve.
fn with_default_command(mut arguments: Vec<OsString>) -> Vec<OsString> {
    const OF_THE_PROGRAM: [&str; 4] = ["-h", "--help", "-V", "--version"];
    let first = arguments.get(1).map(|first| first.to_string_lossy().into_owned());
    let serves =
        first.is_none_or(|first| first.starts_with('-') && !OF_THE_PROGRAM.contains(&first.as_str()));
    if serves {
        arguments.insert(1.min(arguments.len()), "serve".into());
    }
    arguments
}

fn answer_of_parser(answer: &clap::Error) -> ExitCode {
    let text = answer.render();
    if answer.use_stderr() {
        terminal::complain_raw(&text.to_string());
        return Exit::Usage.into();
    }
    terminal::say(&text.to_string());
    Exit::Ok.into()
}

/// What the flags of a command, the environment and the named file say.
fn sources(matches: &ArgMatches) -> Sources {
    let mut sources = Sources::of_this_process();
    sources.file = matches.get_one::<std::path::PathBuf>("config").cloned();
    sources.flags = given_flags(matches);
    sources
}

/// Whether nodes share a Redis.
const fn has_redis(config: &Config) -> bool {
    config.redis.url.is_some()
}

/// Seconds since the Unix epoch.
fn now_unix() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Configuration(error.to_string())
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        Self::Configuration(error.to_string())
    }
}
