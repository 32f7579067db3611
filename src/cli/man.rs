//! `iceway man`: the manual, from the same table as the command line.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::{Arg, ArgMatches, Command, value_parser};
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use super::{command, exit::EXIT_CODES, exit::Failure, terminal};

/// More flags than these would bury the name of a command in its synopsis.
const SYNOPSIS_FLAGS_MAX: usize = 8;

const SIGNALS: [(&str, &str); 4] = [
    (
        "SIGTERM, SIGINT",
        "End: send new clients to other nodes, wait for allocations that are up, at most for runtime.drain_timeout. A second one ends at \
         once.",
    ),
    ("SIGUSR1", "Send clients elsewhere and serve on what is up, as `iceway drain` does."),
    (
        "SIGHUP",
        "Read configuration, API keys and certificates again. What is wrong is logged, and changes nothing.",
    ),
    ("SIGABRT", "Sent by the watchdog of systemd when a thread no longer answers."),
];

const FILES: [(&str, &str); 6] = [
    (
        "/etc/iceway/iceway.toml",
        "The configuration of the service; every key with its default and what it does.",
    ),
    (
        "/etc/iceway/credentials/",
        "Secrets of the service, readable for root alone. Each file is called like the key it is for, such as \
         auth.secret_file, tls.certificate or redis.password_file, and is read when the service starts.",
    ),
    ("/var/lib/iceway/iceway.redb", "What outlives a restart: revocations, stored secrets, API keys, usage."),
    (
        "/usr/lib/sysctl.d/50-iceway.conf",
        "Limits of the kernel that let sockets have the buffers they ask for.",
    ),
    (
        "/usr/share/iceway/",
        "Alert rules for Prometheus and a dashboard for Grafana: prometheus/iceway.rules.yml, grafana/iceway.json.",
    ),
    (
        "/usr/share/doc/iceway/",
        "The reference of every key, metric, reason and error; a drop-in for ports below 1024.",
    ),
];

const ENVIRONMENT: [(&str, &str); 4] = [
    ("ICEWAY_CONFIG", "The configuration file, as --config names it."),
    (
        "ICEWAY_SECTION_NAME",
        "The key section.name: ICEWAY_RELAY_PORT_MIN is relay.port_min. Wins over the file; flags win over it.",
    ),
    (
        "CREDENTIALS_DIRECTORY, STATE_DIRECTORY, RUNTIME_DIRECTORY",
        "Set by systemd: where secrets are, where the store is kept, where the control socket is.",
    ),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC",
        "Set by systemd: who is told that the server is ready, reloads, lives and stops.",
    ),
];

const EXAMPLES: [(&str, &str); 5] = [
    ("iceway", "Serve with defaults and print a credential to try it with."),
    ("iceway check -c /etc/iceway/iceway.toml", "Say everything that is wrong with a configuration."),
    ("systemctl reload iceway", "Check the changed configuration and take it over; calls go on."),
    (
        "iceway credentials mint --auth-secret-file /etc/iceway/credentials/auth.secret_file --user alice",
        "Make a credential by hand, as root.",
    ),
    ("curl -s http://127.0.0.1:9641/metrics", "What the server counts, for Prometheus."),
];

/// Prints the page of the program, or writes every page into a directory.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let pages = pages()?;
    let Some(directory) = matches.get_one::<PathBuf>("directory") else {
        if let Some(page) = pages.first() {
            terminal::say(&page.text);
        }
        return Ok(());
    };
    let refused = || format!("cannot write into {}", directory.display());
    fs::create_dir_all(directory).with_context(refused)?;
    for page in pages {
        fs::write(directory.join(page.name), page.text).with_context(refused)?;
    }
    Ok(())
}

/// The command and what it takes.
pub(super) fn man() -> Command {
    Command::new("man")
        .about("Print the manual page, or write the page of every command into a directory")
        .long_about(
            "Print the manual page, or write the page of every command into a directory. `iceway man | man -l -`\n\
             shows it; the Debian package installs them all.",
        )
        .arg(
            Arg::new("directory")
                .value_name("DIRECTORY")
                .value_parser(value_parser!(PathBuf))
                .help("Where to write iceway.1, iceway-serve.1 and so on; made if it is not there"),
        )
}

struct Page {
    name: String,
    text: String,
}

/// That of the program first.
fn pages() -> anyhow::Result<Vec<Page>> {
    let mut program = command::command().disable_help_subcommand(true);
    program.build();
    let mut pages = vec![page(&program)?];
    let mut commands: Vec<&Command> = program.get_subcommands().collect();
    while let Some(command) = commands.pop() {
        pages.push(page(command)?);
        commands.extend(command.get_subcommands());
    }
    Ok(pages)
}

fn page(command: &Command) -> anyhow::Result<Page> {
    let is_program = command.get_name() == "iceway";
    let serves = is_program || command.get_name() == "serve";
    let called = command.get_bin_name().unwrap_or("iceway").to_owned();
    let mut shown = command.clone();
    if is_program {
        shown = shown.override_usage("iceway [OPTIONS]\niceway COMMAND [OPTIONS]");
    } else if command.get_arguments().count() > SYNOPSIS_FLAGS_MAX {
        shown = shown.override_usage(format!("{called} [OPTIONS]"));
    }
    let man = Man::new(shown).source(concat!("iceway ", env!("CARGO_PKG_VERSION"))).manual("iceway");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut text)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let mut more = Roff::default();
    if serves {
        list(&mut more, "SIGNALS", &SIGNALS);
        list(&mut more, "FILES", &FILES);
        list(&mut more, "ENVIRONMENT", &ENVIRONMENT);
    }
    let exits: Vec<(String, &str)> =
        EXIT_CODES.iter().map(|(exit, meaning)| (exit.code().to_string(), *meaning)).collect();
    list(&mut more, "EXIT STATUS", &exits);
    if is_program {
        list(&mut more, "EXAMPLES", &EXAMPLES);
    }
    see_also(&mut more, command, is_program);
    more.to_writer(&mut text)?;
    let text = String::from_utf8(text).context("a manual page is text")?;
    Ok(Page { name: man.get_filename(), text: in_ascii(&text) })
}

/// Other characters as troff writes them, whatever encoding it takes its input for.
fn in_ascii(text: &str) -> String {
    let mut ascii = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() {
            ascii.push(character);
        } else {
            ascii.push_str(&format!("\\[u{:04X}]", u32::from(character)));
        }
    }
    ascii
}

fn list<T: AsRef<str>>(page: &mut Roff, heading: &str, items: &[(T, &str)]) {
    page.control("SH", [heading]);
    for (name, meaning) in items {
        page.control("TP", []);
        page.text([bold(name.as_ref())]);
        page.text([roman(*meaning)]);
    }
}

fn see_also(page: &mut Roff, command: &Command, is_program: bool) {
    let mut others: Vec<String> = command
        .get_subcommands()
        .map(|below| below.get_display_name().unwrap_or_else(|| below.get_name()).to_owned())
        .collect();
    if !is_program {
        others.insert(0, "iceway".to_owned());
    }
    page.control("SH", ["SEE ALSO"]);
    let mut line = Vec::new();
    for (number, other) in others.into_iter().enumerate() {
        if number > 0 {
            line.push(roman(", "));
        }
        line.extend([bold(other), roman("(1)")]);
    }
    page.text(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_flags_and_how_it_ends() {
        let pages = pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
        for name in ["iceway.1", "iceway-serve.1", "iceway-credentials-mint.1", "iceway-healthcheck.1"] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        for page in &pages {
            assert!(page.text.is_ascii(), "{}", page.name);
            assert!(page.text.contains("\n.SH \"EXIT STATUS\"\n"), "{}", page.name);
        }
        let serve = pages.iter().find(|page| page.name == "iceway-serve.1").unwrap();
        assert!(serve.text.contains("\\-\\-relay\\-port\\-min"), "{}", serve.text);
        assert!(!serve.text.contains("static-auth-secret ="), "no secret is shown");
    }
}
