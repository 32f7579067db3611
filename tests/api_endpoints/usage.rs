//! `/v1/usage`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{client::Client, process::Server};

/// Asks until it is so.
fn eventually(ask: impl Fn() -> Value, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = ask();
        if is_so(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{answer}");
        std::thread::yield_now();
    }
}

fn allocate(server: &Server, user: &str, label: &str) -> Client {
    let request = json!({ "user": user, "label": label });
    let answer = server.post("issue", "/v1/turn/credentials", &request).is(201);
    let entry = answer["iceServers"].as_array().unwrap().last().unwrap();
    let text = |name: &str| entry[name].as_str().unwrap().to_owned();
    let mut client = Client::with(server.udp, &text("username"), &text("credential"));
    client.allocate().unwrap();
    client
}

#[test]
fn what_is_up_and_what_has_ended_is_summed_and_recorded() {
    let server = Server::start(&[]);
    let _one = allocate(&server, "ann", "call:1");
    let _other = allocate(&server, "bob", "call:1");
    let usage = server.get("read", "/v1/usage?user=ann").is(200);
    assert_eq!((&usage["live"]["allocations"], &usage["ended"]["allocations"]), (&json!(1), &json!(0)));
    assert_eq!(server.get("read", "/v1/usage?label=call:1").is(200)["live"]["allocations"], 2);

    server.post("revoke", "/v1/turn/revocations", &json!({ "label": "call:1" })).is(201);
    let ended = |query: &str| {
        eventually(
            || server.get("read", &format!("/v1/usage{query}")).is(200),
            |usage| usage["live"]["allocations"] == 0 && usage["ended"]["allocations"].as_u64() > Some(0),
        )
    };
    assert_eq!(ended("?user=ann")["ended"]["allocations"], 1);
    let everybody = eventually(
        || server.get("read", "/v1/usage?from=2020-01-01").is(200),
        |usage| usage["ended"]["allocations"] == 2,
    );
    assert_eq!((&everybody["from"], &everybody["unanswered"]), (&json!("2020-01-01"), &json!([])));
    assert_eq!(
        server.get("read", "/v1/usage?to=2020-01-01&from=2020-01-01").is(200)["ended"]["allocations"],
        0
    );

    let records = eventually(
        || server.get("read", "/v1/usage/records").is(200),
        |page| page["records"].as_array().unwrap().len() == 2,
    );
    let record = &records["records"][0];
    assert_eq!(
        (&record["reason"], &record["label"], &record["node"]),
        (&json!("revoked"), &json!("call:1"), &json!("n1"))
    );
    let cursor = record["cursor"].as_str().unwrap();
    let page = server.get("read", &format!("/v1/usage/records?after={cursor}&limit=1")).is(200);
    assert_eq!((page["records"].as_array().unwrap().len(), &page["hasMore"]), (1, &json!(false)));

    let acknowledge = "/v1/usage/records/acknowledge";
    let taken = server.post("admin", acknowledge, &json!({ "upTo": cursor })).is(200);
    assert_eq!(taken["acknowledged"], 1);
    assert_eq!(server.get("read", "/v1/usage/records").is(200)["records"].as_array().unwrap().len(), 1);
    server.post("admin", acknowledge, &json!({ "upTo": "no cursor" })).is_problem(400, "cursor_invalid");
    server.post("admin", acknowledge, &json!({})).is_problem(422, "field_missing");
    assert_eq!(ended("?user=ann")["ended"]["allocations"], 1, "sums stay");
}
