//! The bare command in an empty directory: what it prints is enough to try it.

use std::process::Command;
use std::time::Duration;

use crate::support::namespace::Namespace;
use crate::support::server::TestDirectory;
use crate::support::{Process, Tool};

#[test]
fn the_bare_command_prints_commands_that_work() {
    // A machine of its own: the usual ports are free there, and nobody's environment configures anything.
    let machine = Namespace::new("first-run");
    machine.run("ip address add 10.9.8.7/32 dev lo");
    let (home, notes) = (TestDirectory::new("empty"), TestDirectory::new("first-run"));
    let mut command = machine.command(env!("CARGO_BIN_EXE_iceway"));
    // By the mark tests/run finds what is left behind.
    let kept = std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "INTEROP_RUN");
    command.current_dir(home.path()).env_clear().envs(kept).env("HOME", home.path());
    let mut server = Process::start(command, notes.path(), "iceway");
    server.wait_until("explaining itself", Duration::from_secs(20), |output| {
        output.contains("turnutils_uclient")
    });

    let explanation = server.output();
    for line in ["turnutils_stunclient ", "turnutils_uclient "] {
        let line = explanation.lines().map(str::trim).find(|words| words.starts_with(line)).unwrap();
        let (program, arguments) = line.split_once(' ').unwrap();
        let mut command: Command = machine.command(program);
        command.args(arguments.split(' '));
        let run = Tool::run(command, notes.path(), program, Duration::from_secs(60));
        assert!(run.status.success(), "{line}: {}", run.output);
        if program == "turnutils_uclient" {
            // Two clients with a pair of sessions each, five messages a session.
            assert!(run.output.contains("tot_send_msgs=20, tot_recv_msgs=20"), "{line}: {}", run.output);
        } else {
            assert!(run.output.contains("reflexive addr: 10.9.8.7:"), "{line}: {}", run.output);
        }
    }
    let (_, curl) = explanation.split_once("curl ").expect("the API is shown");
    let curl = curl.lines().take_while(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n");
    let mut command = machine.command("bash");
    command.args(["-euc", &format!("curl --fail-with-body {curl}")]);
    let run = Tool::run(command, notes.path(), "curl", Duration::from_secs(20));
    assert!(run.status.success() && run.output.contains(r#""iceServers":["#), "{curl}: {}", run.output);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "nothing is left in the directory");
}
