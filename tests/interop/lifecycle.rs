//! Signals: a bounded drain at the end, and certificates that change while calls run.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::client::Received;
use crate::support::server::{TestDirectory, get};
use crate::support::{Client, Server, Setup, Tool};

const SOON: Duration = Duration::from_secs(5);
/// How soon a changed file must have been noticed without being told.
const NOTICED: Duration = Duration::from_secs(20);

#[test]
fn draining_answers_refreshes_relays_and_ends_with_the_last_allocation() {
    let mut server = Server::start(Setup::default());
    let (mut first, mut second) = (Client::new(server.address()), Client::new(server.address()));
    let relays = [first.allocate().unwrap(), second.allocate().unwrap()];
    first.bind_channel(0x4000, relays[1]).unwrap();
    second.bind_channel(0x4001, relays[0]).unwrap();

    server.process.signal(Signal::SIGTERM);
    server.process.wait_until("draining", SOON, |_| matches!(get(server.http, "/readyz"), Some((503, _))));
    assert_eq!(server.metric("iceway_draining", &[]), 1.0);
    assert!(Client::new(server.address()).allocate().is_err(), "new allocations are refused");
    assert_eq!(first.refresh(600), Ok(600));
    assert_eq!(second.refresh(600), Ok(600));
    first.send_channel(0x4000, b"still here");
    assert_eq!(second.receive(SOON), Some(Received::Channel(0x4001, b"still here".to_vec())));

    first.refresh(0).unwrap();
    assert_eq!(server.process.exit(), None, "one allocation is left");
    second.refresh(0).unwrap();
    assert_eq!(server.process.wait(SOON).code(), Some(0));
}

#[test]
fn sighup_swaps_the_certificate_and_a_bad_one_keeps_the_old() {
    let mut server = Server::start(Setup::default());
    assert_eq!(served_certificate(&server), "first");
    server.authority.issue("second");
    server.process.signal(Signal::SIGHUP);
    until(SOON, || served_certificate(&server) == "second");

    std::fs::write(server.authority.certificate_path(), "no certificate").unwrap();
    server.process.signal(Signal::SIGHUP);
    server.process.wait_until("complaining", SOON, |log| log.contains("The certificate in use stays."));
    assert_eq!(served_certificate(&server), "second");
}

#[test]
fn a_changed_certificate_is_noticed_without_a_signal() {
    let server = Server::start(Setup::default());
    server.authority.issue("second");
    until(NOTICED, || served_certificate(&server) == "second");
}

/// The common name of what the TLS listener shows, as openssl verifies it.
fn served_certificate(server: &Server) -> String {
    let directory = TestDirectory::new("openssl");
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &SocketAddr::from(([127, 0, 0, 1], server.tls_port)).to_string()]);
    command.args(["-verify_return_error", "-CAfile"]).arg(server.authority.path());
    let run = Tool::run(command, directory.path(), "openssl", SOON * 2);
    assert!(run.status.success(), "{}", run.output);
    let subject = run.output.lines().find_map(|line| line.strip_prefix("subject=CN = "));
    subject.unwrap_or_else(|| panic!("no subject in {}", run.output)).to_owned()
}

fn until(limit: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {limit:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
