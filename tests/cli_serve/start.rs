//! What is said at the start, and what keeps it from starting.

use std::{
    net::{TcpListener, UdpSocket},
    process::{Child, Command},
};

use crate::{
    client::{Client, SECRET},
    process::{FREE_PORTS, PATIENCE, Server, follow, iceway},
};

/// A server without secret and users, ended when it is dropped.
struct Trial(Child);

impl Trial {
    /// Starts it: what it says until the last line.
    fn start(mut command: Command) -> (Vec<String>, Self) {
        let mut child = command.spawn().unwrap();
        let lines = follow(child.stdout.take().unwrap());
        let trial = Self(child);
        let mut said = Vec::new();
        loop {
            let line =
                lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("the banner ends after {said:#?}"));
            let is_last = line.contains("Ctrl-C ends.");
            said.push(line);
            if is_last {
                return (said, trial);
            }
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn between(said: &[String], start: &str, end: &str) -> String {
    let from = said
        .iter()
        .position(|line| line.starts_with(start))
        .unwrap_or_else(|| panic!("{start} in {said:#?}"));
    let length = said[from + 1..].iter().position(|line| line == end).unwrap();
    said[from + 1..from + 1 + length].join("\n")
}

#[test]
fn with_nothing_configured_it_says_all_that_is_needed_to_try_it() {
    let (said, _trial) = Trial::start(iceway(&FREE_PORTS));

    let listening = between(&said, "Listening for clients on", "");
    assert!(listening.contains("udp  127.0.0.1:") && listening.contains("tcp  127.0.0.1:"), "{listening}");
    assert!(between(&said, "Relaying from UDP ports 49152 to 65535 of", "").starts_with("  127.0.0.1"));
    assert!(between(&said, "Metrics and health", "").contains("/metrics"));
    let ice_servers = between(&said, "A credential to try it", "");
    let ice_servers: serde_json::Value = serde_json::from_str(&ice_servers).unwrap();
    let (username, password) = (&ice_servers[0]["username"], &ice_servers[0]["credential"]);
    let (username, password) = (username.as_str().unwrap(), password.as_str().unwrap());
    let try_it = between(&said, "Try it from this machine", "");
    assert!(
        try_it.contains("turnutils_stunclient -p ")
            && try_it.contains(&format!("-u {username} -w {password} "))
    );
    assert!(said.iter().any(|line| line.contains("iceway serve --auth-secret-file")), "{said:#?}");

    let udp = listening.split("udp  ").nth(1).unwrap().split_whitespace().next().unwrap();
    let relayed = Client::with(udp.parse().unwrap(), username, password).allocate().unwrap();
    assert!(relayed.ip().is_loopback());
    assert_eq!(Client::with(udp.parse().unwrap(), username, "guess").allocate(), Err(401));
}

#[test]
fn where_standard_output_is_a_log_no_credential_is_said() {
    let mut command = iceway(&FREE_PORTS);
    command.env("JOURNAL_STREAM", "8:1234");
    let mut server = Server::launch(command);
    server.signal("TERM");
    server.logged("Ended.");
    let (status, log, out) = server.ended();
    assert_eq!((status.code(), out.as_str()), (Some(0), ""));
    assert!(log.contains("only credentials of the API work, and only until the process ends."), "{log}");
}

#[test]
fn a_configured_server_is_brief_and_says_nothing_on_standard_output() {
    let server = Server::start(&[]);
    let ready = server.read_back("Ready.");
    assert_eq!(ready["level"], "INFO");
    assert_eq!(ready["version"], env!("CARGO_PKG_VERSION"));
    server.signal("INT");
    let (status, log, out) = server.ended();
    assert_eq!((status.code(), out.as_str()), (Some(0), ""));
    assert!(!log.contains(SECRET), "{log}");
}

#[test]
fn a_port_that_is_taken_names_the_key_that_chooses_it() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (tcp, udp) =
        (tcp.local_addr().map(|a| (a, tcp)).unwrap(), udp.local_addr().map(|a| (a, udp)).unwrap());
    for (flag, expected) in [
        (format!("--http-listen={}", tcp.0), format!("cannot listen for HTTP on {}; set http.listen", tcp.0)),
        (format!("--listen-tcp={}", tcp.0), format!("cannot listen on tcp {}: ", tcp.0)),
        (format!("--listen-udp={}", udp.0), format!("cannot listen on udp {}: ", udp.0)),
    ] {
        let name = flag.split('=').next().unwrap();
        let others = FREE_PORTS.iter().filter(|other| !other.starts_with(name));
        let flags: Vec<&str> = others.copied().chain([flag.as_str()]).collect();
        let output = iceway(&flags).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains(&expected) && err.contains(name), "{err}\n  lacks\n{expected} and {name}");
    }
}

#[test]
fn a_certificate_that_is_none_is_a_wrong_configuration() {
    let tls = ["--tls-certificate=/dev/null", "--tls-private-key=/dev/null"];
    for command in ["serve", "check"] {
        let output = iceway(&[&[command], &FREE_PORTS[..], &tls].concat()).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{err}");
        assert!(err.contains("/dev/null holds no certificate"), "{err}");
    }
}

#[test]
fn a_relay_address_of_another_machine_is_a_wrong_configuration() {
    let output =
        iceway(&[&FREE_PORTS[..], &["--relay-addresses=127.0.0.1,203.0.113.77"]].concat()).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{err}");
    assert!(
        err.contains("relay.addresses (flag --relay-addresses): 203.0.113.77 cannot be bound: "),
        "{err}"
    );
}

#[test]
fn a_second_server_on_the_same_port_does_not_start() {
    let first = Server::start(&[]);
    for (key, address) in [("--listen-udp", first.udp), ("--listen-tcp", first.tcp)] {
        let flag = format!("{key}={address}");
        let others = FREE_PORTS.iter().filter(|other| !other.starts_with(key));
        let flags: Vec<&str> = others.copied().chain([flag.as_str()]).collect();
        let output = iceway(&flags).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains(&format!(" {address}: ")) && err.contains(key), "{err}");
    }
}
