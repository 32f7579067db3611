//! Starts at which no public address is found.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::SOON;
use crate::support::server::TestDirectory;
use crate::support::{Process, ports};

/// A server that asks where nobody answers.
fn start(directory: &TestDirectory, name: &str, more: &[&str]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iceway"));
    let silent = format!("stun:127.0.0.1:{}", ports::free_port());
    command.args(["serve", "--http-listen", "off", "--listen-tcp", "", "--listen-udp", "127.0.0.1:0"]);
    command
        .args(["--relay-external", &silent])
        .args(more)
        .env("ICEWAY_HTTP_CONTROL_SOCKET", directory.path().join(name));
    Process::start(command, directory.path(), name)
}

#[test]
fn a_start_without_a_public_address_waits_and_fails_with_what_to_do() {
    let directory = TestDirectory::new("public-refusal");
    let mut alone = start(&directory, "alone", &[]);
    let mut told = start(&directory, "told", &["--relay-external", "203.0.113.5"]);
    let mut stopped = start(&directory, "stopped", &[]);

    told.wait_until("ready", Duration::from_secs(8), |log| {
        log.contains("is running") || log.contains("Ready.")
    });
    let status = format!("/proc/{}/status", stopped.id());
    stopped.wait_until("listening for signals", SOON, |_| {
        catches_term(&std::fs::read_to_string(&status).unwrap())
    });
    stopped.signal(Signal::SIGTERM);
    assert!(stopped.wait(Duration::from_secs(5)).success(), "a signal ends the wait");

    let status = alone.wait(SOON);
    assert_eq!(status.code(), Some(1));
    let log = alone.output();
    let line = log.lines().find(|line| line.contains("no public address is found within 10 s")).expect(&log);
    for words in
        ["relay.external (flag --relay-external)", "does not answer 127.0.0.1", "write the address itself"]
    {
        assert!(line.contains(words), "{words}: {line}");
    }
}

/// Whether a process handles SIGTERM itself, by its /proc/PID/status.
fn catches_term(status: &str) -> bool {
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
    u64::from_str_radix(caught, 16).unwrap() >> (Signal::SIGTERM as u64 - 1) & 1 == 1
}

/// As Kubernetes writes status.hostIPs of a node with both families.
#[test]
fn a_list_of_the_downward_api_is_taken_from_the_environment() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iceway"));
    command.args(["check", "--show"]).env("ICEWAY_RELAY_EXTERNAL", "203.0.113.5,2001:db8::5");
    command.env("ICEWAY_RELAY_ADDRESSES", "127.0.0.1,::1");
    let output = command.output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains(r#"external = ["203.0.113.5", "2001:db8::5"]"#), "{shown}");
    assert!(shown.contains(r#"addresses = ["127.0.0.1", "::1"]"#), "{shown}");
}
