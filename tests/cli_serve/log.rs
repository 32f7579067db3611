//! What the log tells of clients, and what it never tells.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use crate::{
    client::{Client, SECRET, USER},
    process::Server,
};

/// Allocates once with a credential and fails once; what was logged until the end, and what may not be in it.
fn log_of_two_clients(flags: &[&str], fails: bool) -> (String, Vec<String>) {
    let mut server = Server::start(flags);
    let mut client = Client::new(server.udp);
    let relayed = client.allocate().unwrap();
    let mut stranger = Client::with(server.udp, "9999999999:mallory-of-old", "guess-of-mallory");
    if fails {
        assert_eq!(stranger.allocate(), Err(401));
    }
    let scanner = TcpStream::connect(server.tcp).unwrap();
    let scanner_address = scanner.local_addr().unwrap();
    (&scanner).write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    // It is closed, which may be seen as a reset.
    drop((&scanner).read_to_end(&mut Vec::new()));
    server.signal("TERM");
    let of_clients = [
        client.username.clone(),
        USER.to_owned(),
        "mallory-of-old".to_owned(),
        client.address().to_string(),
        stranger.address().to_string(),
        scanner_address.to_string(),
        relayed.to_string(),
    ];
    let secrets = [SECRET.to_owned(), client.password.clone(), "guess-of-mallory".to_owned()];
    server.logged("Ended.");
    let (status, log, out) = server.ended();
    assert_eq!((status.code(), out.as_str()), (Some(0), ""));
    for secret in &secrets {
        assert!(!log.contains(secret), "{secret} is in\n{log}");
    }
    (log, of_clients.to_vec())
}

#[test]
fn at_info_nothing_says_who_a_client_is() {
    let (log, of_clients) = log_of_two_clients(&["--runtime-drain-timeout=0"], false);
    for word in of_clients {
        assert!(!log.contains(&word), "{word} is in\n{log}");
    }
}

#[test]
fn failed_authentication_is_a_warning_with_its_reason() {
    let (log, _) = log_of_two_clients(&["--runtime-drain-timeout=0"], true);
    let line = log.lines().find(|line| line.contains("Authentication failed.")).unwrap();
    assert!(line.contains("\"level\":\"WARN\"") && line.contains("\"reason\":\"wrong_password\""), "{line}");
    assert!(line.contains("mallory-of-old"), "{line}");
}

#[test]
fn at_debug_the_life_of_an_allocation_is_told() {
    let (log, of_clients) = log_of_two_clients(&["--runtime-drain-timeout=0", "--log-level=debug"], true);
    for message in ["Allocation created.", "Allocation closed."] {
        let line =
            log.lines().find(|line| line.contains(message)).unwrap_or_else(|| panic!("{message} in\n{log}"));
        assert!(line.contains(&of_clients[3]), "{line}");
    }
}

#[test]
fn redacted_not_even_trace_says_who_a_client_is() {
    let flags = ["--runtime-drain-timeout=0", "--log-filter=iceway=trace", "--log-redact"];
    let (log, of_clients) = log_of_two_clients(&flags, true);
    assert!(log.contains("Allocation created.") && log.contains("Connection ended."), "{log}");
    for word in &of_clients[..6] {
        assert!(!log.contains(word), "{word} is in\n{log}");
    }
}
