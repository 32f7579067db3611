//! The commands that end by themselves, run as an operator runs them.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

const SECRET: &str = "north0123456789abcdef";

/// The binary with an environment of its own.
fn iceway(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iceway"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    outcome(iceway(arguments).output().unwrap())
}

fn with_secret(arguments: &[&str]) -> (i32, String, String) {
    outcome(iceway(arguments).env("ICEWAY_AUTH_SECRET", SECRET).output().unwrap())
}

fn outcome(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn scratch_file(name: &str, content: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("iceway-cli-{}-{name}", std::process::id()));
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn help_lists_the_commands_and_each_flag_on_one_line() {
    let (code, out, err) = run(&["-h"]);
    assert_eq!((code, err.as_str()), (0, ""));
    for command in ["serve", "check", "credentials", "api-keys", "healthcheck"] {
        assert!(out.lines().any(|line| line.trim_start().starts_with(command)), "{out}");
    }
    let (_, brief, _) = run(&["serve", "-h"]);
    let flags: Vec<&str> = brief.lines().filter(|line| line.trim_start().starts_with("--")).collect();
    assert!(flags.len() > 40, "{brief}");
    for flag in flags {
        assert!(flag.trim().split("  ").count() >= 2, "{flag:?} has no description on its line");
    }
}

#[test]
fn long_help_has_effect_default_environment_and_key() {
    let (code, out, _) = run(&["serve", "--help"]);
    assert_eq!(code, 0);
    let start = out.find("--relay-port-min <N>").unwrap();
    let text: String = out[start..].lines().take(9).map(|line| format!("{}\n", line.trim())).collect();
    assert_eq!(
        text,
        "--relay-port-min <N>\n\
         Lowest UDP port of relay sockets.\n\
         With relay.port_max this is the range a firewall must let in. Each allocation takes one\n\
         port per address family. The default is the range of RFC 8656; where the system gives its\n\
         own outgoing connections ports of the same range (net.ipv4.ip_local_port_range), a port\n\
         found in use is skipped.\n\
         Default: 49152. Environment: ICEWAY_RELAY_PORT_MIN. File: port_min in [relay].\n\
         \n\
         --relay-port-max <N>\n"
    );
}

#[test]
fn no_flag_takes_a_secret() {
    let (_, help, _) = run(&["serve", "--help"]);
    assert!(!help.contains("--auth-secret "), "{help}");
    let (code, _, err) = run(&["serve", "--auth-secret", SECRET]);
    assert_eq!(code, 2);
    assert!(err.contains("--auth-secret-file"), "{err}");
}

#[test]
fn the_version_is_that_of_the_package() {
    assert_eq!(run(&["--version"]), (0, format!("iceway {}\n", env!("CARGO_PKG_VERSION")), String::new()));
}

#[test]
fn what_the_command_line_does_not_know_ends_with_2() {
    for arguments in [&["serve", "--relay-port-mim", "1"][..], &["--relay-port-mim", "1"]] {
        let (code, out, err) = run(arguments);
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.contains("--relay-port-min"), "{err}");
    }
    assert_eq!(run(&["sirve"]).0, 2);
    assert_eq!(run(&["credentials"]).0, 2);
    assert_eq!(run(&["credentials", "verify"]).0, 2);
    assert_eq!(run(&["check", "--relay-port-min"]).0, 2);
}

#[test]
fn a_wrong_configuration_ends_with_78_and_names_everything() {
    let file = scratch_file("wrong.toml", "[relay]\nport_mim = 1\n[auth]\nrealm = \"\"\n");
    for command in ["check", "serve"] {
        let output = iceway(&[command, "--config", file.to_str().unwrap(), "--log-level", "loud"])
            .env("ICEWAY_HTTP_LISTEN", "here")
            .output();
        let (code, out, err) = outcome(output.unwrap());
        assert_eq!((code, out.as_str()), (78, ""), "{err}");
        assert!(err.starts_with("iceway: the configuration has 4 errors:\n"), "{err}");
        for expected in [
            "wrong.toml:2): is not a key; did you mean relay.port_min?",
            "wrong.toml:4): has 0 characters; write 1 to 127",
            "http.listen = \"here\" (environment ICEWAY_HTTP_LISTEN): ",
            "log.level = \"loud\" (flag --log-level): ",
        ] {
            assert!(err.contains(expected), "{err}\n  lacks\n{expected}");
        }
    }
    fs::remove_file(file).unwrap();
}

#[test]
fn check_says_yes_and_shows_where_each_value_came_from() {
    let file = scratch_file("good.toml", "[relay]\nport_min = 50000\n");
    let path = file.to_str().unwrap();
    let (code, out, err) = run(&["check", "--config", path]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with(&format!("{path} is correct.\nNo secret and no users are configured")), "{out}");

    let output = iceway(&["check", "--show", "--log-redact", "--relay-port-max=50001"])
        .env("ICEWAY_CONFIG", path)
        .env("ICEWAY_AUTH_SECRET", SECRET)
        .output();
    let (code, out, err) = outcome(output.unwrap());
    fs::remove_file(&file).unwrap();
    assert_eq!((code, err.as_str()), (0, ""));
    for line in [
        &format!("port_min = 50000  # {path}:2"),
        "port_max = 50001  # flag --relay-port-max",
        "secret = \"***\"  # environment ICEWAY_AUTH_SECRET",
        "redact = true  # flag --log-redact",
        "realm = \"iceway\"  # default",
        "# secret_file is not set",
    ] {
        assert!(out.lines().any(|shown| shown == line), "{line} is not in\n{out}");
    }
    assert!(!out.contains(SECRET));
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let mut child = iceway(&["check", "--show"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn verifying_tells_what_a_username_claims() {
    let username = "9999999999:bob~1~default~1700000000~desk~gold~s";
    // Made like the one of the expired credential below.
    let password = "JPOW72++rd89nTCvJNXsC1zJNfw=";
    let arguments = ["credentials", "verify", "--username", username, "--password", password];

    let (code, out, _) = with_secret(&arguments);

    assert_eq!(code, 0, "{out}");
    assert!(out.contains("for user \"bob\", made with secret default, issued 2023-11-14"), "{out}");
    assert!(out.contains("label \"desk\", quota class \"gold\", expiry strict."), "{out}");
}

#[test]
fn a_minted_credential_verifies() {
    let (code, out, _) = with_secret(&["credentials", "mint", "--user", "alice", "--ttl", "30m", "--json"]);
    assert_eq!(code, 0);
    let minted: serde_json::Value = serde_json::from_str(&out).unwrap();
    let text = |name: &str| minted[name].as_str().unwrap().to_owned();
    let (username, password) = (text("username"), text("password"));
    assert!(username.ends_with(":alice"));
    assert_eq!(minted["ttl"], 1800);
    assert_eq!(minted["iceServers"][0]["credential"], password.as_str());
    assert_eq!(minted["iceServers"][0]["urls"], minted["uris"]);

    let verify = ["credentials", "verify", "--username", &username];
    let mut child = iceway(&verify)
        .env("ICEWAY_AUTH_SECRET", SECRET)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{password}").unwrap();
    let (code, out, _) = outcome(child.wait_with_output().unwrap());
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("for user \"alice\", made with secret default."), "{out}");

    let file = scratch_file("password", &format!("{password}\n"));
    let by_file = [&verify[..], &["--password-file", file.to_str().unwrap()]].concat();
    assert_eq!(with_secret(&by_file).0, 0);
    fs::remove_file(file).unwrap();
}

#[test]
fn uris_follow_the_configuration() {
    let (_, out, _) = with_secret(&["credentials", "mint", "--host", "turn.example.org"]);
    for uri in ["stun:turn.example.org:3478", "turn:turn.example.org:3478?transport=tcp"] {
        assert!(out.lines().any(|line| line.trim().trim_start_matches("uris").trim() == uri), "{out}");
    }
    let output = iceway(&["credentials", "mint", "--json"])
        .env("ICEWAY_AUTH_SECRET", SECRET)
        .env("ICEWAY_LISTEN_UDP", "10.0.0.5:4000")
        .env("ICEWAY_LISTEN_TCP", "10.0.0.5:4001")
        .env("ICEWAY_RELAY_EXTERNAL", "203.0.113.5")
        .output();
    let (_, out, _) = outcome(output.unwrap());
    let minted: serde_json::Value = serde_json::from_str(&out).unwrap();
    let expected = [
        "stun:203.0.113.5:4000",
        "turn:203.0.113.5:4000?transport=udp",
        "turn:203.0.113.5:4001?transport=tcp",
    ];
    assert_eq!(minted["uris"], serde_json::json!(expected));
}

#[test]
fn a_credential_that_fails_is_explained() {
    let verify = |username: &str, password: &str| {
        with_secret(&["credentials", "verify", "--username", username, "--password", password])
    };
    // printf '1000:bob' | openssl dgst -sha1 -hmac north0123456789abcdef -binary | base64
    let (code, out, _) = verify("1000:bob", "vLnd5WJLedmMofRw3Si21HTmuVU=");
    assert_eq!(code, 1);
    assert!(out.starts_with("Expired since 1970-01-01 00:16:40 UTC ("), "{out}");
    assert!(
        out.contains("made with secret default. Mint a new one.\nSecrets that were tried: default.\n"),
        "{out}"
    );
    let (code, out, _) = verify("9999999999:bob", "wrong");
    assert_eq!((code, out.lines().next()), (1, Some("Wrong password: made with none of the secrets.")));
    let (code, out, _) = verify("bob", "wrong");
    assert_eq!(code, 1);
    assert!(out.starts_with("Unknown user: neither a static user nor"), "{out}");
    let (code, _, err) = run(&["credentials", "verify", "--username", "x", "--password", "y"]);
    assert_eq!(code, 1);
    assert!(err.contains("no secret is configured; give --auth-secret-file FILE"), "{err}");
    assert_eq!(with_secret(&["credentials", "mint", "--ttl", "soon"]).0, 1);
}

#[test]
fn healthcheck_without_a_server_says_whom_it_asked() {
    let (code, out, err) = run(&["healthcheck", "--http-listen", "127.0.0.1:1"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.starts_with("iceway: no answer from http://127.0.0.1:1/readyz: "), "{err}");
    let (code, _, err) = run(&["healthcheck", "--http-listen", "off"]);
    assert_eq!(code, 1);
    assert!(err.contains("http.listen is off"), "{err}");
}
