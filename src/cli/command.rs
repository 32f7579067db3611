//! The command line.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgGroup, Command, value_parser};

use crate::config::{FILE_VARIABLE, flags};

/// Every command with its flags; those of the configuration come from the table of keys.
pub(super) fn command() -> Command {
    Command::new("iceway")
        .version(env!("CARGO_PKG_VERSION"))
        // One line per flag; paragraphs are broken where they are written.
        .term_width(0)
        .about("A TURN and STUN server: relays media between clients that cannot reach one another")
        .long_about(
            "A TURN and STUN server: relays media between clients that cannot reach one another.\n\n\
             Without a command it serves; without any configuration it serves safely on port 3478 and prints\n\
             a credential to try it with. `iceway serve --help` explains every setting.",
        )
        .after_help("Exit codes: 0 done, 1 failed, 2 command line not understood, 78 configuration wrong.")
        .subcommand_required(true)
        .subcommand(serve())
        .subcommand(check())
        .subcommand(credentials())
        .subcommand(super::api_keys_command::api_keys())
        .subcommand(super::sessions::command())
        .subcommand(super::explain::command())
        .subcommand(reload())
        .subcommand(super::doctor::doctor())
        .subcommand(drain())
        .subcommand(healthcheck())
        .subcommand(super::completions::completions())
        .subcommand(super::man::man())
}

fn serve() -> Command {
    Command::new("serve")
        .about("Serve until SIGTERM or SIGINT (the default command)")
        .long_about(
            "Serve until SIGTERM or SIGINT.\n\n\
             SIGTERM and SIGINT send new clients to other nodes, wait for allocations that are up\n\
             (runtime.drain_timeout) and end; a second one ends at once. SIGUSR1 sends clients elsewhere and\n\
             serves on what is up. SIGHUP reads configuration, API keys and certificates again.\n\n\
             Every setting can be given by flag, by environment or in a file, in this order of precedence.\n\
             Without a secret and without users, a secret and an API key are generated until the process\n\
             ends, and a credential that is valid for 24 hours is printed.",
        )
        .arg(config())
        .args(flags(&[]))
}

fn check() -> Command {
    Command::new("check")
        .about("Check the configuration and list everything that is wrong")
        .long_about(
            "Check the configuration and list everything that is wrong, with the key, where it was written and\n\
             what to do. Takes the same flags and environment as `serve`; nothing is started and no port is\n\
             bound.",
        )
        .arg(config())
        .arg(
            Arg::new("show")
                .long("show")
                .action(ArgAction::SetTrue)
                .help("Print every value and where it came from; secrets as ***"),
        )
        .args(flags(&[]))
}

fn credentials() -> Command {
    Command::new("credentials")
        .about("Make a time-limited credential, or find out why one fails")
        .subcommand_required(true)
        .subcommand(mint())
        .subcommand(verify())
}

fn mint() -> Command {
    Command::new("mint")
        .about("Make a time-limited credential for a user")
        .long_about(
            "Make a time-limited credential for a user with the first configured secret (auth.secret_file or\n\
             ICEWAY_AUTH_SECRET). Needs no running server: whoever knows the secret can issue credentials.",
        )
        .arg(
            Arg::new("user")
                .long("user")
                .value_name("USER")
                .default_value("")
                .hide_default_value(true)
                .help("Whose credential it is; quotas count by this name"),
        )
        .arg(
            Arg::new("ttl")
                .long("ttl")
                .value_name("DURATION")
                .default_value("1h")
                .help("How long it is valid, such as 30m or 24h"),
        )
        .arg(
            Arg::new("host")
                .long("host")
                .value_name("NAME")
                .help("Name or address of the server in the URIs; else it is found from the configuration"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON for programs"))
        .arg(config())
        .args(flags(&["auth", "store", "redis"]))
}

fn verify() -> Command {
    Command::new("verify")
        .about("Say whether a credential works, and if not, why")
        .long_about(
            "Say whether a credential works now with the configured secrets and users, and those that servers\n\
             have stored (store.path, unless a server holds it; redis.url), and if not, why: expired since when,\n\
             revoked by what, made with none of the secrets, or an unknown user. Exit code 0 if it works,\n\
             else 1.\n\n\
             The password is read from standard input unless it is given otherwise.",
        )
        .arg(Arg::new("username").long("username").value_name("USERNAME").required(true).help("As the client sends it"))
        .arg(
            Arg::new("password-file")
                .long("password-file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Read the password from the first line of this file"),
        )
        .arg(
            Arg::new("password")
                .long("password")
                .value_name("PASSWORD")
                .help("The password; other users of this machine can see it"),
        )
        .group(ArgGroup::new("given").args(["password", "password-file"]))
        .arg(config())
        .args(flags(&["auth", "store", "redis"]))
}

fn reload() -> Command {
    Command::new("reload")
        .about("Have a running server read its configuration again, or say what that would change")
        .long_about(
            "Have a running server read its configuration, secrets, users, API keys and certificates again, as\n\
             SIGHUP does, and print what changed and what needs a restart. Calls that are up go on. If anything\n\
             is wrong nothing changes: every error is printed, and the exit code is 78.",
        )
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .action(ArgAction::SetTrue)
                .help("Only print what would change"),
        )
        .args(super::control_client::server_flags())
}

fn drain() -> Command {
    Command::new("drain")
        .about("Have a running server send its clients elsewhere, before maintenance")
        .long_about(
            "Have a running server send its clients elsewhere, before maintenance, as SIGUSR1 does: calls that\n\
             are up go on; new allocations are redirected to other nodes, no credential names the node any more,\n\
             and sessions of the signaling relay go to other nodes with fresh ICE servers. Does not end the\n\
             server: SIGTERM does, when it is drained or runtime.drain_timeout is over. --undo takes it back.\n\n\
             With --wait, exit code 1 says that something was left when the time was over, that the server ended\n\
             before, that somebody undid the drain, or that nobody answers any more.",
        )
        .arg(
            Arg::new("wait")
                .long("wait")
                .action(ArgAction::SetTrue)
                .help("Wait until nothing is left, and say how far it is"),
        )
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("DURATION")
                .value_parser(super::drain::time)
                .requires("wait")
                .help("Wait no longer than this, such as 10m; runtime.drain_timeout of the server unless given"),
        )
        .arg(
            Arg::new("undo")
                .long("undo")
                .action(ArgAction::SetTrue)
                .conflicts_with("wait")
                .help("Take new clients again"),
        )
        .arg(
            Arg::new("node")
                .long("node")
                .value_name("ID")
                .value_parser(super::drain::node_id)
                .help("Which node; the one that is asked unless given"),
        )
        .args(super::control_client::server_flags())
}

fn healthcheck() -> Command {
    Command::new("healthcheck")
        .about("Ask the server of this configuration whether it is ready; for containers")
        .long_about(
            "Ask the server of this configuration, over its HTTP listener, whether it is ready. Exit code 0 if\n\
             it is, else 1 with the reason.",
        )
        .arg(config())
        .args(flags(&["http"]))
}

pub(super) fn config() -> Arg {
    Arg::new("config")
        .long("config")
        .short('c')
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Configuration file (TOML)")
        .long_help(format!(
            "Configuration file in TOML. Without it there is none: every setting has a default.\n\
             Environment: {FILE_VARIABLE}."
        ))
}
