//! SIGTERM, SIGINT and SIGHUP.

use std::{fs, path::PathBuf};

use crate::{
    client::{Client, SECRET},
    http::get,
    process::{FREE_PORTS, Server, iceway},
};

#[test]
fn sigterm_ends_at_once_when_nothing_is_relayed() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(&["--runtime-drain-timeout=1h"]);
        server.signal(signal);
        server.logged("Ended.");
        assert_eq!(server.ended().0.code(), Some(0));
    }
}

#[test]
fn sigterm_waits_for_allocations_and_a_second_one_does_not() {
    let mut server = Server::start(&["--runtime-drain-timeout=1h"]);
    let mut client = Client::new(server.udp);
    client.allocate().unwrap();

    server.signal("TERM");
    assert_eq!(server.logged("Draining")["allocations"], 1);
    let ready = get(server.http, "/readyz");
    assert!(ready.starts_with("HTTP/1.1 503 ") && ready.contains("\"code\":\"not_ready\""), "{ready}");
    assert!(ready.contains("draining: new allocations are refused"), "{ready}");
    assert!(get(server.http, "/healthz").starts_with("HTTP/1.1 200 "));
    assert!(get(server.http, "/metrics").contains("\niceway_draining 1\n"));
    assert_eq!(Client::new(server.udp).allocate(), Err(508));
    assert_eq!(client.refresh(600), Ok(()), "what is up goes on");

    server.signal("TERM");
    server.logged("Ending at once.");
    server.logged("Ended.");
    assert_eq!(server.ended().0.code(), Some(0));
}

#[test]
fn draining_ends_when_its_time_is_over() {
    let mut server = Server::start(&["--runtime-drain-timeout=1s"]);
    Client::new(server.udp).allocate().unwrap();
    server.signal("TERM");
    assert_eq!(
        server
            .logged("The time to drain (runtime.drain_timeout) is over: what is left ends with the server.")
            ["allocations"],
        1
    );
    assert_eq!(server.ended().0.code(), Some(0));
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("iceway-signals-{}-{name}", std::process::id()))
}

#[test]
fn sighup_takes_over_users_and_secrets_and_names_what_needs_a_restart() {
    let (file, users) = (scratch("iceway.toml"), scratch("users"));
    let named = format!("[auth]\nusers_file = {users:?}\n");
    fs::write(&users, "bob:builder-of-things\n").unwrap();
    fs::write(&file, &named).unwrap();
    let mut server =
        Server::launch(iceway(&[&["--config", file.to_str().unwrap()], &FREE_PORTS[..]].concat()));
    let allocate =
        |server: &Server, user: &str, password: &str| Client::with(server.udp, user, password).allocate();
    assert!(allocate(&server, "bob", "builder-of-things").is_ok());
    assert_eq!(allocate(&server, "carol", "singer-of-carols"), Err(401));

    fs::write(&users, "carol:singer-of-carols\n").unwrap();
    fs::write(&file, format!("{named}[relay]\nport_max = 60000\n")).unwrap();
    server.signal("HUP");
    assert_eq!(server.logged("Changed, but takes effect only after a restart.")["key"], "relay.port_max");
    server.logged("Reloaded.");
    assert!(allocate(&server, "carol", "singer-of-carols").is_ok());
    assert_eq!(allocate(&server, "bob", "builder-of-things"), Err(401));

    fs::write(&file, "[auth]\nrealm = 5\nreelm = 6\n[log]\nlevel = \"loud\"\n").unwrap();
    server.signal("HUP");
    let not = server.logged("Not reloaded");
    assert_eq!((not["level"].as_str(), not["key"].as_str()), (Some("ERROR"), Some("auth.reelm")));
    assert_eq!(server.logged("Not reloaded")["key"], "log.level");
    assert!(allocate(&server, "carol", "singer-of-carols").is_ok());
    fs::remove_file(file).unwrap();
    fs::remove_file(users).unwrap();
}

#[test]
fn sighup_changes_the_log_level_and_keeps_a_generated_secret() {
    let file = scratch("level.toml");
    fs::write(&file, "# nothing yet\n").unwrap();
    let mut command = iceway(&[&["--config", file.to_str().unwrap()], &FREE_PORTS[..]].concat());
    command.env("JOURNAL_STREAM", "1:1");
    let mut server = Server::launch(command);
    server.signal("HUP");
    server.logged("Reloaded.");
    fs::write(&file, "[log]\nlevel = \"debug\"\n").unwrap();
    server.signal("HUP");
    server.logged("Reloaded.");
    assert_eq!(Client::with(server.udp, "9999999999:bob", SECRET).allocate(), Err(401));
    server.logged("Authentication failed.");
    fs::remove_file(file).unwrap();
}
