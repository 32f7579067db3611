//! SIGHUP, and secrets that change, under live allocations.

use std::fs;

use serde_json::json;

use crate::{
    api::{Caller, new_key, start},
    client::Client,
    process::{FREE_PORTS, Server, iceway},
    scratch::{Scratch, flag},
};

const OLD: &str = "north-of-the-old-secret-01";
const NEW: &str = "south-of-the-new-secret-02";

fn credential(secret: &str) -> (String, String) {
    let arguments = ["credentials", "mint", "--user=carol", "--json"];
    let output = iceway(&arguments).env("ICEWAY_AUTH_SECRET", secret).output().unwrap();
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    (made["username"].as_str().unwrap().to_owned(), made["password"].as_str().unwrap().to_owned())
}

fn client(server: &Server, secret: &str) -> Client {
    let (username, password) = credential(secret);
    Client::with(server.udp, &username, &password)
}

#[test]
fn secrets_of_the_configuration_change_and_what_is_up_goes_on() {
    let scratch = Scratch::new();
    let secrets = scratch.write("secrets", OLD);
    let command = iceway(&[&["serve", &flag("auth-secret-file", &secrets)], &FREE_PORTS[..]].concat());
    let mut server = Server::launch(command);
    let mut up = client(&server, OLD);
    up.allocate().unwrap();
    assert_eq!(client(&server, NEW).allocate(), Err(401));

    fs::write(&secrets, NEW).unwrap();
    server.signal("HUP");
    server.logged("Reloaded.");

    client(&server, NEW).allocate().unwrap();
    assert_eq!(client(&server, OLD).allocate(), Err(401));
    assert_eq!(up.refresh(600), Ok(()));
}

#[test]
fn secrets_are_rotated_through_the_api_and_the_old_one_shows_who_still_uses_it() {
    let scratch = Scratch::new();
    let (server, caller) = start(&scratch, &[]);
    let mut up = caller.client(server.udp, "bob", None);
    up.allocate().unwrap();

    let rotated = caller.post("/v1/turn/secrets/rotate", json!({}));
    let active = rotated["active"]["id"].as_str().unwrap().to_owned();
    assert_ne!(active, "default");

    let mut fresh = caller.client(server.udp, "bob", None);
    assert!(fresh.username.contains(&active), "{}", fresh.username);
    fresh.allocate().unwrap();
    assert_eq!(up.refresh(600), Ok(()));
    // A secret that is retiring is good for what was made with it.
    Client::new(server.udp).allocate().unwrap();
    let secrets = caller.get("/v1/turn/secrets");
    let live = |id: &str| {
        let secrets = secrets["secrets"].as_array().unwrap();
        secrets.iter().find(|secret| secret["id"] == id).unwrap()["allocations"].clone()
    };
    assert_eq!((live("default"), live(&active)), (json!(2), json!(1)), "{secrets}");
}

#[test]
fn keys_of_the_file_come_and_go_with_sighup() {
    let scratch = Scratch::new();
    let (mut server, first) = start(&scratch, &[]);
    let (key, line) = new_key("read");
    let second = Caller { key, ..first.clone() };
    assert_eq!(second.ask("GET", "/v1/nodes", None).0, 401);

    scratch.write("keys", &line);
    server.signal("HUP");
    server.logged("Reloaded.");
    assert_eq!(second.ask("GET", "/v1/nodes", None).0, 200);
    assert_eq!(second.ask("POST", "/v1/turn/revocations", Some(&json!({ "user": "bob" }))).0, 403);
    assert_eq!(first.ask("GET", "/v1/nodes", None).0, 401);

    scratch.write("keys", "not a key\n");
    server.signal("HUP");
    let line = server.logged("Not reloaded: ");
    assert!(line["message"].as_str().unwrap().contains("line 1"), "{line}");
    assert_eq!(second.ask("GET", "/v1/nodes", None).0, 200);
}
