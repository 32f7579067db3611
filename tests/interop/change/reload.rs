//! A configuration that is read again under load: nobody notices but those it is for.

use std::time::Duration;

use serde_json::json;

use super::{client, json_of, setup, traffic::Talk};
use crate::signal_support::{Client as Caller, Issuer, Node};

/// How often the configuration is read again.
const RELOADS: u32 = 12;

#[tokio::test]
async fn reloads_cost_no_datagram_no_allocation_and_no_session() {
    let issuer = Issuer::new();
    let node = Node::start(&issuer, setup());
    let mut ann = Caller::open(&node, &issuer.token("ann", "web")).await;
    let mut bob = Caller::open(&node, &issuer.token("bob", "web")).await;
    let talk = Talk::begin([client(&node, &node), client(&node, &node)]);

    for round in 0..RELOADS {
        match round % 4 {
            0 => node.reload_with("peers.deny", &format!("[\"198.51.{round}.0/24\"]")),
            1 => node.reload_with("limits.allocations_per_user", &(100 + round).to_string()),
            2 => node.reload_with("auth.secret", &format!("\"another secret, number {round}, for all\"")),
            _ => {
                let report = json_of(node.post("/v1/reload?dryRun=false", &json!({})), 200);
                assert_eq!(report["dryRun"], false, "{report}");
            }
        }
        let to = json!({ "session": bob.session() });
        ann.send(json!({ "type": "message", "to": to, "data": { "number": round } })).await;
        assert_eq!(bob.expect("message").await["data"]["number"], round);
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    node.replace_file("iceway.toml", "[log\nlevel = \"loud\"\n");
    let refused = json_of(node.post("/v1/reload", &json!({})), 409);
    assert_eq!(refused["code"], "configuration_invalid", "{refused}");

    let mut told = talk.end();
    told.is_whole();
    assert_eq!(node.metric("iceway_relayed_datagrams_total", &["to_peer"]), told.sent as f64);
    assert_eq!(node.metric("iceway_allocations", &[]), 2.0);
    assert_eq!(node.metric("iceway_channels", &[]), 2.0);
    let closed = node.metric("iceway_allocations_closed_total", &[]);
    assert_eq!(closed, 0.0);
    ann.expect_silence(Duration::from_millis(100)).await;
    // The secret their credentials were made with has gone: what is up needs it no more.
    for client in &mut told.clients {
        assert_eq!(client.refresh(0), Ok(0));
    }
}
