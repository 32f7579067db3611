//! Messages, answers, receipts.

use serde_json::json;

use crate::support::World;

#[test]
fn two_clients_exchange_messages() {
    let mut world = World::new();
    let mut ann = world.phone("ann");
    let mut ben = world.phone_at("ben", "web");
    let answer = world
        .ask(&ann, json!({"id": "1", "type": "message", "to": {"user": "ben"}, "data": {"a": [1, null]}}));
    assert_eq!(answer, json!({"re": "1", "type": "ok", "delivered": 1}));
    let frames = world.frames_are(&mut ben, &["message"]);
    let from = json!({"user": "ann", "session": ann.session});
    assert_eq!(frames[0], json!({"seq": 1, "type": "message", "from": from, "data": {"a": [1, null]}}));
    world.send(&ben, json!({"type": "message", "to": {"session": ann.session}, "data": "ä\n"}));
    let frames = world.frames_are(&mut ann, &["message"]);
    assert_eq!(frames[0]["from"], json!({"user": "ben", "session": ben.session, "device": "web"}));
    assert_eq!(frames[0]["data"], "ä\n");
    assert!(world.frames(&mut ben).is_empty(), "nobody waits for an answer to a request without an id");
}
