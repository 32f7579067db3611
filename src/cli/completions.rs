//! `iceway completions`.

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use super::{command, exit::Failure, terminal};

/// Prints what a shell needs to complete commands and flags.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    // The parser demands one.
    if let Some(shell) = matches.get_one::<Shell>("shell") {
        let mut script = Vec::new();
        clap_complete::generate(*shell, &mut command::command(), "iceway", &mut script);
        terminal::say(&String::from_utf8_lossy(&script));
    }
    Ok(())
}

/// The command and what it takes.
pub(super) fn completions() -> Command {
    Command::new("completions")
        .about("Print completions for a shell")
        .long_about(
            "Print completions for a shell. The Debian package installs those of bash, zsh and fish; elsewhere:\n\n\
             iceway completions bash > /etc/bash_completion.d/iceway\n\
             iceway completions zsh > /usr/local/share/zsh/site-functions/_iceway\n\
             iceway completions fish > /etc/fish/completions/iceway.fish",
        )
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(value_parser!(Shell))
                .help("Which shell"),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_learns_commands_and_flags() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command::command(), "iceway", &mut script);
            let script = String::from_utf8(script).unwrap();
            for word in ["serve", "healthcheck", "relay-port-min", "password-file"] {
                assert!(script.contains(word), "{word} for {shell}");
            }
        }
    }
}
