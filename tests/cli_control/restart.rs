//! What outlives the process.

use serde_json::json;

use crate::{
    api::{Caller, start},
    client::Client,
    process::{Server, iceway},
    scratch::{Scratch, flag},
};

#[test]
fn killed_it_still_knows_what_it_acknowledged() {
    let scratch = Scratch::new();
    let store = flag("store-path", &scratch.path("iceway.redb"));
    let (server, caller) = start(&scratch, &[&store]);
    let mut bob = caller.client(server.udp, "bob", None);
    let carol = caller.client(server.udp, "carol", None);
    bob.allocate().unwrap();
    assert_eq!(caller.post("/v1/turn/revocations", json!({ "user": "bob" }))["cut"], 1);
    let records =
        caller.wait_for("/v1/usage/records", |page| !page["records"].as_array().unwrap().is_empty());
    let made = caller.post("/v1/api-keys", json!({ "name": "kept", "scopes": ["read"] }));
    let active = caller.post("/v1/turn/secrets/rotate", json!({}))["active"]["id"].clone();

    server.signal("KILL");
    drop(server);
    let keys = flag("api-keys-file", &scratch.path("keys"));
    let server = Server::start(&[&keys, "--node-id=n1", &store]);

    let kept = Caller { server: server.http, key: made["key"].as_str().unwrap().to_owned() };
    assert_eq!(kept.get("/v1/usage/records")["records"][0]["id"], records["records"][0]["id"]);
    assert_eq!(kept.get("/v1/turn/revocations")["revocations"].as_array().unwrap().len(), 1);
    assert!(
        kept.get("/v1/turn/secrets")["secrets"].as_array().unwrap().iter().any(|one| one["id"] == active)
    );
    let again = |client: &Client| Client::with(server.udp, &client.username, &client.password);
    assert_eq!(again(&bob).allocate(), Err(401));
    again(&carol).allocate().unwrap();
}

#[test]
fn the_end_of_the_process_is_the_end_of_every_allocation_and_billed() {
    let scratch = Scratch::new();
    let store = flag("store-path", &scratch.path("iceway.redb"));
    let (mut server, caller) = start(&scratch, &[&store, "--runtime-drain-timeout=0"]);
    let mut clients: Vec<Client> = (0..20).map(|_| caller.client(server.udp, "bob", None)).collect();
    for client in &mut clients {
        client.allocate().unwrap();
    }
    server.signal("TERM");
    server.logged("Ended.");
    assert_eq!(server.ended().0.code(), Some(0));

    let keys = flag("api-keys-file", &scratch.path("keys"));
    let server = Server::start(&[&keys, "--node-id=n1", &store]);
    let caller = Caller { server: server.http, ..caller };
    let page = caller.get("/v1/usage/records");
    let records = page["records"].as_array().unwrap();
    assert_eq!(records.len(), 20, "{page}");
    assert!(records.iter().all(|record| record["reason"] == "shutdown" && record["user"] == "bob"));
    assert_eq!(caller.get("/v1/usage?user=bob")["ended"]["allocations"], 20);
}

#[test]
fn a_store_that_cannot_be_used_is_named_with_what_to_do() {
    let scratch = Scratch::new();
    let damaged = flag("store-path", &scratch.write("damaged", "this is no store"));
    let output =
        iceway(&["serve", &damaged, "--http-listen=off", "--listen-udp=127.0.0.1:0"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("store.path") && said.contains("damaged"), "{said}");
}

#[test]
fn verifying_and_minting_know_what_servers_have_stored() {
    let scratch = Scratch::new();
    let store = flag("store-path", &scratch.path("iceway.redb"));
    let (server, caller) = start(&scratch, &[&store]);
    caller.post("/v1/turn/secrets/rotate", json!({}));
    let bob = caller.client(server.udp, "bob", None);
    let carol = caller.client(server.udp, "carol", None);
    caller.post("/v1/turn/revocations", json!({ "user": "bob" }));
    let verify = |client: &Client| {
        let (username, password) = (format!("--username={}", client.username), &client.password);
        let output = iceway(&["credentials", "verify", &username, "--password", password, &store]).output();
        let output = output.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout) + &text(output.stderr))
    };
    // The server holds the file, and nothing else is configured for the command.
    let (code, said) = verify(&carol);
    assert!(code == 1 && said.contains("a running server holds"), "{said}");

    server.signal("TERM");
    server.ended();

    let (code, said) = verify(&carol);
    assert!(code == 0 && said.contains("Valid until") && said.contains("\"carol\""), "{said}");
    let (code, said) = verify(&bob);
    assert!(code == 1 && said.contains("Revoked by") && said.contains("\"bob\""), "{said}");
    let mint = iceway(&["credentials", "mint", "--user=dave", "--host=localhost", &store]).output().unwrap();
    assert_eq!(mint.status.code(), Some(0), "{}", String::from_utf8_lossy(&mint.stderr));
}
