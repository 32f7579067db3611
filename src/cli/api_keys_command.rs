//! The flags of `iceway api-keys`.

use clap::{Arg, ArgAction, Command};

use super::command::config;
use crate::config::flags;

/// The sections of the configuration that say where API keys are.
const SECTIONS: [&str; 4] = ["api", "store", "redis", "node"];

pub(super) fn api_keys() -> Command {
    Command::new("api-keys")
        .about("Make, list and revoke the keys of callers of the API")
        .long_about(
            "Make, list and revoke the keys of callers of the API. Only hashes of keys are kept.\n\n\
             They work on the file of store.path while no server holds it, and on Redis if one is configured.\n\
             A running server without Redis is asked through its API instead (/v1/api-keys), by somebody whose\n\
             key has the scope admin; `create` can also make a key for api.keys_file.",
        )
        .subcommand_required(true)
        .subcommand(create())
        .subcommand(list())
        .subcommand(revoke())
}

fn create() -> Command {
    Command::new("create")
        .about("Make a key and print it, this once")
        .long_about(
            "Make a key and print it, this once: it is kept nowhere.\n\n\
             Its hash goes into the file of store.path, or, while a server holds that, through Redis to all\n\
             nodes. Where neither can be, the line for api.keys_file is printed, and what to do with it; a\n\
             server that reads such a file takes over a new line on SIGHUP.\n\n\
             Example: iceway api-keys create --name backend --scopes issue,revoke --config iceway.toml",
        )
        .arg(
            Arg::new("name")
                .long("name")
                .value_name("NAME")
                .required(true)
                .help("Whose key it is, for people: 1 to 128 characters"),
        )
        .arg(
            Arg::new("scopes")
                .long("scopes")
                .value_name("SCOPE")
                .value_delimiter(',')
                .required(true)
                .help("What it may be used for: issue, revoke, read, signal, admin; commas separate")
                .long_help(
                    "What it may be used for; commas separate.\n\
                     issue: make credentials. revoke: revoke them. read: see allocations, nodes, usage, metrics.\n\
                     admin: everything, so also secrets, API keys, draining, ending allocations.",
                ),
        )
        .arg(
            Arg::new("networks")
                .long("networks")
                .value_name("NETWORK")
                .value_delimiter(',')
                .help("Where it may be used from, such as 10.0.0.0/8; everywhere unless given"),
        )
        .arg(
            Arg::new("ttl")
                .long("ttl")
                .value_name("DURATION")
                .help("How long it is valid, such as 90d; until it is revoked unless given"),
        )
        .arg(json())
        .arg(config())
        .args(flags(&SECTIONS))
}

fn list() -> Command {
    Command::new("list")
        .about("List the keys: names, scopes, networks, ends; never the keys themselves")
        .long_about(
            "List the keys of the store and of api.keys_file: names, scopes, networks, when they end. Keys\n\
             themselves are kept nowhere.",
        )
        .arg(json())
        .arg(config())
        .args(flags(&SECTIONS))
}

fn revoke() -> Command {
    Command::new("revoke")
        .about("Revoke a key")
        .long_about(
            "Revoke a key. Whoever has it is refused from now on; credentials made with it stay good.",
        )
        .arg(Arg::new("id").value_name("ID").required(true).help("The key's id, as `list` shows it"))
        .arg(config())
        .args(flags(&SECTIONS))
}

fn json() -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON for programs")
}
