//! coturn's STUN client: Binding over both address families.

use std::process::Command;
use std::time::Duration;

use crate::support::{Server, Setup, Tool};

#[test]
fn binding_tells_the_address_it_was_asked_from() {
    let server = Server::start(Setup::default());
    for address in ["127.0.0.1", "::1"] {
        let mut command = Command::new("turnutils_stunclient");
        command.args(["-p", &server.port.to_string(), address]);
        let run = Tool::run(command, server.directory(), "stunclient", Duration::from_secs(20));
        assert!(run.status.success(), "{}", run.output);
        let reflexive = run.output.lines().find(|line| line.contains("UDP reflexive addr:"));
        assert!(reflexive.is_some_and(|line| line.contains(address)), "{address}: {}", run.output);
    }
}
