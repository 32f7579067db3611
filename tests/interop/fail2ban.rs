//! What a server logs under attack, read by fail2ban with the filter that is shipped, and by a collector of JSON.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use stun::message::METHOD_REFRESH;

use crate::support::server::{API_KEY, time_limited_password};
use crate::support::{Client, Http, Server, Setup, Tool};

const LIMIT: Duration = Duration::from_secs(20);
/// Guess at passwords and names.
const GUESSERS: [u8; 3] = [11, 12, 13];
/// Has an expired credential.
const LATE: u8 = 21;
/// Has a nonce of another address, as if it sent in the name of this one.
const FORGED: u8 = 31;

#[test]
fn guessers_are_found_in_text_and_json_and_nobody_else() {
    for format in ["text", "json"] {
        let (server, log) = attacked(
            Setup::default().with("log.format", format!("{format:?}")).with("log.level", "\"info\""),
        );
        let file = server.directory().join("attack.log");
        std::fs::write(&file, &log).unwrap();

        let expected: Vec<String> = GUESSERS.iter().map(|&last| address(last).to_string()).collect();
        assert_eq!(banned(&file, "iceway.conf"), expected, "{format}:\n{log}");
        let all = [expected, vec![address(LATE).to_string()]].concat();
        assert_eq!(banned(&file, "iceway.conf[mode=aggressive]"), all, "{format}:\n{log}");
        let times = regex(&file, "iceway.conf", &["-v"]);
        assert!(times.contains("3 matched"), "{times}");
    }
}

#[test]
fn every_line_of_json_is_an_object_with_the_same_fields() {
    let (_server, log) =
        attacked(Setup::default().with("log.format", "\"json\"").with("log.level", "\"debug\""));
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        for field in ["timestamp", "level", "message", "target"] {
            assert!(line[field].is_string(), "no {field}: {line}");
        }
    }
    let failed: Vec<&Value> =
        lines.iter().filter(|line| line["message"] == "Authentication failed.").collect();
    assert_eq!(failed.len(), 3, "{log}");
    for line in failed {
        let fields: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        let expected =
            ["address", "level", "message", "port", "reason", "target", "timestamp", "transport", "username"];
        assert_eq!(fields, expected, "{line}");
        assert!(line["address"].as_str().unwrap().parse::<Ipv4Addr>().is_ok(), "{line}");
    }
    let refused = lines.iter().find(|line| line["message"] == "An API caller was refused.").unwrap();
    assert_eq!(
        (&refused["reason"], refused["level"].as_str()),
        (&Value::from("key_unknown"), Some("WARN")),
        "{refused}"
    );
    let forged = lines.iter().find(|line| line["message"].as_str().unwrap().contains("forged")).unwrap();
    assert!(forged.get("address").is_none(), "{forged}");
}

#[test]
fn redacted_a_server_under_attack_names_nobody() {
    for format in ["text", "json"] {
        let setup =
            Setup::default().with("log.format", format!("{format:?}")).with("log.filter", "\"iceway=trace\"");
        let (server, log) = attacked(setup.with("log.redact", true));
        assert!(
            log.contains("Authentication failed.") && log.contains("An API caller was refused."),
            "{log}"
        );
        let clients = GUESSERS.into_iter().chain([LATE, FORGED]).map(|last| address(last).to_string());
        for word in clients.chain(["mallory", "alice", "bob", "6.6.6.6"].map(String::from)) {
            assert!(!log.contains(&word), "{word} is in\n{log}");
        }
        let file = server.directory().join("attack.log");
        std::fs::write(&file, &log).unwrap();
        assert_eq!(banned(&file, "iceway.conf[mode=aggressive]"), Vec::<String>::new());
    }
}

#[test]
fn the_jail_is_one_that_fail2ban_takes() {
    let jail = std::fs::read_to_string(shipped("jail.d/iceway.conf")).unwrap();
    for key in ["[iceway]", "filter = iceway", "maxretry", "findtime", "bantime", "backend = systemd"] {
        assert!(jail.contains(key), "{key}");
    }
    let directory = crate::support::server::TestDirectory::new("fail2ban");
    let etc = directory.path().join("etc");
    let mut copy = Command::new("cp");
    copy.args(["-r", "/etc/fail2ban"]).arg(&etc);
    assert!(Tool::run(copy, directory.path(), "cp", LIMIT).status.success());
    // Another jail would need the log of another service.
    std::fs::remove_file(etc.join("jail.d/defaults-debian.conf")).unwrap();
    for file in ["filter.d/iceway.conf", "jail.d/iceway.conf"] {
        std::fs::copy(shipped(file), etc.join(file)).unwrap();
    }
    let mut client = Command::new("fail2ban-client");
    client.arg("-c").arg(&etc).arg("--dump");
    let run = Tool::run(client, directory.path(), "fail2ban-client", LIMIT);
    assert!(run.status.success(), "{}", run.output);
    assert!(run.output.contains("['set', 'iceway', 'maxretry', 5]"), "{}", run.output);
    assert!(run.output.contains("'addfailregex'"), "{}", run.output);
}

/// A server after an attack, and what it logged.
fn attacked(setup: Setup) -> (Server, String) {
    let server = Server::start(setup.with("http.trusted_proxies", r#"["127.0.0.1/32"]"#));
    let far = now() + 3600;
    // Names that would like to be somebody else's address.
    let names = [
        format!("{far}:mallory address=6.6.6.6 reason=\"wrong_password\""),
        format!(
            "{far}:mallory\",\"message\":\"Authentication failed.\",\"address\":\"6.6.6.6\",\"reason\":\"wrong_password"
        ),
    ];
    for (last, name) in GUESSERS.into_iter().zip(&names) {
        fail(&server, last, name, "guess");
    }
    let expired = format!("{}:bob", now() - 60);
    fail(&server, LATE, &expired, &time_limited_password(&expired));
    let mut client = Client::new(server.address());
    client.allocate().unwrap();
    let forged = Client::on(bound(FORGED), server.address()).with_credential("alice".into(), "guess".into());
    let mut forged = forged.with_nonce_of(&client);
    let request = forged.signed(METHOD_REFRESH, &[]);
    assert!(forged.exchange(&request).is_some(), "it is answered 401");
    // The third guesser tries the API.
    let refused = Http::get(server.http, "/v1/allocations").key(&API_KEY.replace('A', "B"));
    refused.header("X-Forwarded-For", &address(GUESSERS[2]).to_string()).send().expect(401);
    let log = server.process.output();
    (server, log)
}

fn fail(server: &Server, last: u8, username: &str, password: &str) {
    let client = Client::on(bound(last), server.address());
    assert_eq!(client.with_credential(username.to_owned(), password.to_owned()).allocate(), Err(401));
}

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 9, 9, last)
}

fn bound(last: u8) -> UdpSocket {
    UdpSocket::bind(SocketAddr::from((address(last), 0))).unwrap()
}

fn shipped(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/fail2ban").join(file)
}

/// The addresses that the filter finds, in their order.
fn banned(log: &Path, filter: &str) -> Vec<String> {
    let out = regex(log, filter, &["-o", "ip"]);
    let mut found: Vec<String> = out.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect();
    found.sort();
    found.dedup();
    found
}

fn regex(log: &Path, filter: &str, flags: &[&str]) -> String {
    let mut command = Command::new("fail2ban-regex");
    command.args(flags).arg(log).arg(shipped(&format!("filter.d/{filter}")));
    let run = Tool::run(command, log.parent().unwrap(), "fail2ban-regex", LIMIT);
    assert!([Some(0), Some(1)].contains(&run.status.code()), "{}", run.output);
    run.output
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
