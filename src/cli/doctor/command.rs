//! The flags of `iceway doctor`.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, value_parser};

use crate::{cli::command::config, config::flags};

/// The key of the API, for containers.
pub(super) const KEY_VARIABLE: &str = "ICEWAY_DOCTOR_KEY";
/// A username to relay with.
pub(super) const USERNAME_VARIABLE: &str = "ICEWAY_DOCTOR_USERNAME";
/// Its password.
pub(super) const PASSWORD_VARIABLE: &str = "ICEWAY_DOCTOR_PASSWORD";
/// What all of them begin with; they are no keys of the configuration.
pub(super) const VARIABLES: &str = "ICEWAY_DOCTOR_";

pub(in crate::cli) fn doctor() -> Command {
    Command::new("doctor")
        .about("Find out what is wrong with a server, and how to mend it")
        .long_about(
            "Find out what is wrong with a server, and how to mend it.\n\n\
             Without any flag the running server of this machine looks at itself, as its own user and with what it\n\
             runs with (control socket). With --config or flags of `serve`, or without such a server, the node of that\n\
             configuration is looked at from inside. With --target or --server it looks at a server from outside, as\n\
             its clients do; with --config too it does both. A key with the scope admin shows what the server finds\n\
             itself (GET /v1/doctor) too.\n\n\
             Every transport is tried with real allocations that exchange packets. The credential is made with the\n\
             configured secret, or comes from the API (--key-file, ICEWAY_DOCTOR_KEY), or is given (--username,\n\
             --password-file, ICEWAY_DOCTOR_USERNAME, ICEWAY_DOCTOR_PASSWORD).\n\n\
             Exit code 0 if nothing fails, else 1; with --strict warnings count too. Nothing is changed.",
        )
        .args(outside())
        .args(evidence())
        .args(shape())
        .arg(config())
        .args(flags(&[]))
}

fn outside() -> [Arg; 6] {
    [
        Arg::new("target")
            .long("target")
            .value_name("URI")
            .action(ArgAction::Append)
            .help("Try this stun:, turn: or turns: URI; may be repeated"),
        Arg::new("server")
            .long("server")
            .value_name("URL")
            .help("Ask the API at this URL, and try the URIs it hands out unless --target names some"),
        Arg::new("key-file")
            .long("key-file")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Read an API key with the scope issue from the first line of this file"),
        Arg::new("username").long("username").value_name("NAME").help("Relay as this user"),
        Arg::new("password-file")
            .long("password-file")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .requires("username")
            .help("Read its password from the first line of this file"),
        Arg::new("origin")
            .long("origin")
            .value_name("ORIGIN")
            .help("Open the WebSocket as a page of this origin too"),
    ]
}

fn evidence() -> [Arg; 3] {
    [
        Arg::new("stun")
            .long("stun")
            .value_name("HOST[:PORT]")
            .action(ArgAction::Append)
            .help("Ask this STUN server outside for the public address; may be repeated"),
        Arg::new("peer")
            .long("peer")
            .value_name("URL")
            .action(ArgAction::Append)
            .help("Compare the clock with this HTTP server, such as another node; may be repeated"),
        Arg::new("ca-file")
            .long("ca-file")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("PEM file with authorities to judge certificates by, instead of the system's"),
    ]
}

fn shape() -> [Arg; 3] {
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    [
        switch("json", "Print JSON for programs; ids are listed in config/REFERENCE.md"),
        switch("strict", "Exit with 1 for warnings too"),
        Arg::new("timeout")
            .long("timeout")
            .value_name("DURATION")
            .default_value("20s")
            .help("Stop looking after this time"),
    ]
}
