//! Live allocations: revoked, listed, closed, drained, billed.

use std::time::Instant;

use serde_json::json;

use crate::{
    api::{Caller, start},
    client::Client,
    scratch::Scratch,
};

fn closed(caller: &Caller, reason: &str) -> String {
    let series = format!("iceway_allocations_closed_total{{reason=\"{reason}\"}} ");
    let answer = crate::api::text(caller.server, "/metrics");
    answer.lines().find_map(|line| line.strip_prefix(&series)).unwrap().to_owned()
}

#[test]
fn a_revoked_user_is_cut_at_once_and_others_are_not() {
    let scratch = Scratch::new();
    let (server, caller) = start(&scratch, &[]);
    let mut bob = caller.client(server.udp, "bob", Some("call:1"));
    let mut carol = caller.client(server.udp, "carol", None);
    let mut plain = Client::new(server.udp);
    for client in [&mut bob, &mut carol, &mut plain] {
        client.allocate().unwrap();
    }

    let begun = Instant::now();
    let answer = caller.post("/v1/turn/revocations", json!({ "user": "bob" }));
    assert!(begun.elapsed().as_millis() < 1000, "{:?}", begun.elapsed());
    assert_eq!(answer["cut"], 1, "{answer}");
    assert_eq!(answer["nodes"], json!([{ "id": "n1", "cut": 1 }]));
    assert_eq!(closed(&caller, "revoked"), "1");
    assert_eq!(bob.refresh(600), Err(401));
    assert_eq!(bob.allocate(), Err(401));
    assert_eq!(plain.refresh(600), Ok(()));

    let answer = caller.post("/v1/turn/revocations", json!({ "keyId": "default" }));
    assert_eq!(answer["cut"], 2, "{answer}");
    assert_eq!((carol.refresh(600), plain.refresh(600)), (Err(401), Err(401)));

    // Whoever is let in again needs a new credential, and gets it at once.
    caller.client(server.udp, "bob", None).allocate().unwrap();
}

#[test]
fn allocations_are_listed_with_what_they_relay_and_closed_by_their_id() {
    let scratch = Scratch::new();
    let (server, caller) = start(&scratch, &[]);
    let mut bob = caller.client(server.udp, "bob", Some("call:1"));
    let relayed = bob.allocate().unwrap();
    let mut carol = caller.client(server.udp, "carol", None);
    carol.allocate().unwrap();

    let page = caller.get("/v1/allocations?label=call:1");
    assert_eq!(page["allocations"].as_array().unwrap().len(), 1, "{page}");
    let listed = &page["allocations"][0];
    assert_eq!(
        (&listed["node"], &listed["user"], &listed["label"]),
        (&json!("n1"), &json!("bob"), &json!("call:1"))
    );
    assert_eq!((&listed["transport"], &listed["keyId"]), (&json!("udp"), &json!("default")));
    assert_eq!((&listed["client"], &listed["relayed"]), (&json!(bob.address()), &json!([relayed])));
    assert!(listed["expires"].as_u64() > listed["created"].as_u64());
    assert_eq!(caller.get("/v1/allocations")["allocations"].as_array().unwrap().len(), 2);
    assert_eq!(caller.get("/v1/allocations?user=nobody")["allocations"], json!([]));

    let path = format!("/v1/allocations/{}", listed["id"].as_str().unwrap());
    assert_eq!(caller.ask("DELETE", &path, None).0, 204);
    assert_eq!(caller.ask("DELETE", &path, None).0, 404);
    assert_eq!(caller.ask("DELETE", "/v1/allocations/n1:9-9", None).0, 404);
    assert_eq!(closed(&caller, "closed"), "1");
    assert_eq!((bob.refresh(600), carol.refresh(600)), (Err(437), Ok(())));
}

#[test]
fn a_node_that_is_drained_through_the_api_keeps_its_calls_and_takes_no_others() {
    let scratch = Scratch::new();
    let (mut server, caller) = start(&scratch, &[]);
    let mut bob = caller.client(server.udp, "bob", None);
    bob.allocate().unwrap();
    let node = caller.wait_for("/v1/nodes", |nodes| nodes["nodes"][0]["allocations"] == 1);
    assert_eq!((&node["nodes"][0]["id"], &node["nodes"][0]["state"]), (&json!("n1"), &json!("serving")));
    let udp = format!("turn:127.0.0.1:{}?transport=udp", server.udp.port());
    assert!(node["nodes"][0]["uris"].as_array().unwrap().contains(&json!(udp)), "{node}");

    let answer = caller.post("/v1/nodes/n1/drain", json!({}));
    assert_eq!(answer["allocations"], 1, "{answer}");
    server.logged("Draining, as asked through the API");
    assert_eq!(Client::new(server.udp).allocate(), Err(508));
    assert_eq!(bob.refresh(600), Ok(()));
    let answer = crate::api::text(caller.server, "/readyz");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("draining"), "{answer}");
    caller.wait_for("/v1/nodes", |nodes| nodes["nodes"][0]["state"] == "draining");

    assert_eq!(bob.refresh(0), Ok(()));
    server.signal("TERM");
    server.logged("Ended.");
}

#[test]
fn every_ended_allocation_is_a_record_until_it_is_taken() {
    let scratch = Scratch::new();
    let (server, caller) = start(&scratch, &[]);
    let mut bob = caller.client(server.udp, "bob", Some("call:1"));
    bob.allocate().unwrap();
    bob.refresh(0).unwrap();
    let mut plain = Client::new(server.udp);
    plain.allocate().unwrap();
    plain.refresh(0).unwrap();

    let page = caller.wait_for("/v1/usage/records", |page| page["records"].as_array().unwrap().len() == 2);
    let [first, second] = page["records"].as_array().unwrap().as_slice() else { panic!("{page}") };
    assert_eq!(
        (&first["user"], &first["label"], &first["node"]),
        (&json!("bob"), &json!("call:1"), &json!("n1"))
    );
    assert_eq!((&first["reason"], &first["transport"]), (&json!("refreshed"), &json!("udp")));
    assert!(first["started"].as_u64() <= first["ended"].as_u64());
    assert_ne!(first["id"], second["id"]);
    assert_eq!((&second["user"], &second["label"]), (&json!("alice-in-wonderland"), &json!(null)));
    assert_eq!(caller.get("/v1/usage?user=bob")["ended"]["allocations"], 1);
    assert!(crate::api::text(caller.server, "/metrics").contains("\niceway_usage_records_pending 2\n"));

    let taken = json!({ "upTo": first["cursor"] });
    assert_eq!(caller.post("/v1/usage/records/acknowledge", taken)["acknowledged"], 1);
    let rest = caller.get("/v1/usage/records");
    assert_eq!(rest["records"].as_array().unwrap().len(), 1);
    assert_eq!(rest["records"][0]["id"], second["id"]);
    assert_eq!(caller.get("/v1/usage?user=bob")["ended"]["allocations"], 1, "totals stay");
}
