//! `iceway api-keys`, and the key of a trial.

use std::process::Child;

use serde_json::Value;

use crate::{
    api::{Caller, new_key, start},
    client::Client,
    process::{FREE_PORTS, PATIENCE, Server, follow, iceway},
    scratch::{Scratch, flag},
};

fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = iceway(&[&["api-keys"], arguments].concat()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_first_key_is_made_before_the_server_starts() {
    let scratch = Scratch::new();
    let store = flag("store-path", &scratch.path("iceway.redb"));
    let create = [
        "create",
        "--name=the backend",
        "--scopes=issue,read",
        "--networks=127.0.0.0/8",
        "--ttl=90d",
        &store,
    ];
    let (code, out, err) = run(&create);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("the server knows it from its next start on"), "{out}");
    let key = out.lines().next().unwrap().to_owned();
    let id = key.split('_').nth(1).unwrap();

    let (_, list, _) = run(&["list", &store]);
    assert!(list.contains(id) && list.contains("the backend") && list.contains("127.0.0.0/8"), "{list}");
    assert!(!list.contains(&key), "{list}");

    let server = Server::start(&[&store]);
    let caller = Caller { server: server.http, key: key.clone() };
    caller.client(server.udp, "bob", None).allocate().unwrap();
    assert_eq!(caller.ask("POST", "/v1/turn/secrets/rotate", None).0, 403);

    // The server holds the file now.
    let (code, _, err) = run(&["list", &store]);
    assert!(code == 1 && err.contains("a running server holds") && err.contains("GET /v1/api-keys"), "{err}");
    let (code, out, _) = run(&["create", "--name=two", "--scopes=admin", &store]);
    assert!(
        code == 0 && out.contains("Not kept: a running server holds") && out.contains("api.keys_file"),
        "{out}"
    );

    drop(server);
    let (code, out, _) = run(&["revoke", id, &store]);
    assert_eq!((code, out), (0, format!("Key {id} is revoked.\n")));
    let (code, _, err) = run(&["revoke", id, &store]);
    assert!(code == 1 && err.contains("there is no API key"), "{err}");
    let server = Server::start(&[&store]);
    assert_eq!(Caller { server: server.http, ..caller }.ask("GET", "/v1/nodes", None).0, 401);
}

#[test]
fn what_a_key_cannot_be_is_said() {
    for (arguments, fault) in [
        (&["create", "--name=", "--scopes=issue"][..], "1 to 128 characters"),
        (&["create", "--name=x", "--scopes=write"], "there is no scope \"write\""),
        (&["create", "--name=x", "--scopes=issue", "--networks=10.0.0.0/33"], "is no network"),
        (&["create", "--name=x", "--scopes=issue", "--ttl=soon"], "is not a duration"),
        (&["list"], "no store.path and no redis.url are configured"),
        (&["revoke", "abcdefgh"], "no store.path and no redis.url are configured"),
    ] {
        let (code, out, err) = run(arguments);
        assert_eq!((code, out.as_str()), (1, ""), "{arguments:?}: {err}");
        assert!(err.contains(fault), "{arguments:?}: {err}");
    }
    let (code, _, _) = run(&["create", "--name=x"]);
    assert_eq!(code, 2);
    let (_, help, _) = run(&["create", "--help"]);
    assert!(help.contains("Example: iceway api-keys create") && help.contains("ICEWAY_STORE_PATH"), "{help}");
}

#[test]
fn keys_are_shown_once_and_never_logged() {
    let scratch = Scratch::new();
    let (server, caller) = start(&scratch, &["--log-filter=trace"]);
    caller.client(server.udp, "bob", None).allocate().unwrap();
    let (guess, _) = new_key("admin");
    assert_eq!(Caller { key: guess.clone(), ..caller.clone() }.ask("GET", "/v1/nodes", None).0, 401);
    server.signal("TERM");
    server.signal("TERM");
    let (_, log, out) = server.ended();
    for key in [&caller.key, &guess] {
        let secret = key.rsplit('_').next().unwrap();
        assert!(!log.contains(secret) && !out.contains(secret), "{log}");
    }
}

/// A server without configuration, ended when it is dropped.
struct Trial(Child);

impl Drop for Trial {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn the_curl_line_of_a_trial_yields_a_credential_that_works() {
    let mut trial = Trial(iceway(&FREE_PORTS).spawn().unwrap());
    let lines = follow(trial.0.stdout.take().unwrap());
    let mut said = Vec::new();
    while !said.last().is_some_and(|line: &String| line.contains("Ctrl-C ends.")) {
        said.push(lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{said:#?}")));
    }
    let from = said.iter().position(|line| line.trim().starts_with("curl ")).unwrap();
    let curl = said[from..from + 3].join("\n");
    let answer = std::process::Command::new("sh").args(["-c", &curl]).output().unwrap().stdout;
    let answer: Value = serde_json::from_slice(&answer)
        .unwrap_or_else(|_| panic!("{curl}\n{}", String::from_utf8_lossy(&answer)));
    let entry = answer["iceServers"].as_array().unwrap().iter().find(|entry| entry["username"].is_string());
    let entry = entry.unwrap_or_else(|| panic!("{answer}"));
    let udp = said.iter().find_map(|line| line.trim().strip_prefix("udp  ")).unwrap();
    let (username, password) = (entry["username"].as_str().unwrap(), entry["credential"].as_str().unwrap());
    let relayed = Client::with(udp.trim().parse().unwrap(), username, password).allocate();
    assert!(relayed.unwrap().ip().is_loopback());
}
