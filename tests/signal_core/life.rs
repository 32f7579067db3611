//! Heartbeats, tokens, ICE servers, the end of sessions and of the node.

use std::time::Duration;

use iceway::signaling::{CloseCode, PushReason, Revoke, SessionId, UserId};
use serde_json::json;

use crate::support::World;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_silent_client_is_asked_and_then_closed() {
    let mut world = World::new();
    let (ann, ben) = (world.phone("ann"), world.phone("ben"));
    world.fall_silent(&ben);
    world.advance(20 * SECOND);
    world.send(&ann, json!({"type": "ping"}));
    world.advance(5 * SECOND);
    assert_eq!((world.pings(&ann), world.pings(&ben)), (0, 1));
    world.advance(10 * SECOND);
    assert_eq!((world.closed(&ann), world.closed(&ben)), (None, Some(CloseCode::NoPong)));
    world.advance(300 * SECOND);
    assert_eq!(world.closed(&ann), None, "who answers stays");
}

#[test]
fn a_ping_comes_back_as_it_was() {
    let mut world = World::new();
    let mut ann = world.phone("ann");
    world.send(&ann, json!({"type": "ping", "t": {"a": [1]}}));
    world.send(&ann, json!({"type": "ping", "id": "9"}));
    let frames = world.frames(&mut ann);
    assert_eq!(frames, [json!({"type": "pong", "t": {"a": [1]}}), json!({"type": "pong", "re": "9"})]);
}

#[test]
fn a_token_that_ends_is_told_and_then_closes() {
    let mut world = World::new();
    world.token_life = Some(900 * SECOND);
    let (mut ann, mut ben) = (world.phone("ann"), world.phone("ben"));
    world.advance(839 * SECOND);
    world.frames_are(&mut ann, &[]);
    world.advance(SECOND);
    assert_eq!(world.frames(&mut ann), [json!({"type": "token-expiring", "in": 60})]);
    world.frames_are(&mut ben, &["token-expiring"]);
    let answer = world.ask(&ben, json!({"id": "r", "type": "auth-refresh", "token": "ben"}));
    assert_eq!((&answer["type"], &answer["tokenExpiresIn"]), (&json!("ok"), &json!(900)));
    world.advance(84 * SECOND);
    assert_eq!(world.closed(&ann), None, "within the grace");
    world.advance(SECOND);
    assert_eq!(world.closed(&ann), Some(CloseCode::TokenExpired));
    assert_eq!(world.closed(&ben), None);
    assert_eq!(world.resume(&mut ann)["reason"], "unknown", "such a session is over");
    world.frames_are(&mut ben, &[]);
}

#[test]
fn a_refresh_with_another_users_token_is_refused() {
    let mut world = World::new();
    let ann = world.phone("ann");
    assert_eq!(
        world.ask(&ann, json!({"id": "1", "type": "auth-refresh", "token": "ben"}))["code"],
        "forbidden"
    );
    let answer = world.ask(&ann, json!({"id": "2", "type": "auth-refresh", "token": "!token-expired"}));
    assert_eq!(answer["code"], "token-expired");
    assert_eq!(world.closed(&ann), None);
    world.send(&ann, json!({"id": "3", "type": "auth-refresh", "token": "!forbidden"}));
    assert_eq!(world.closed(&ann), Some(CloseCode::Forbidden));
}

#[test]
fn ice_servers_are_made_anew_before_they_end() {
    let mut world = World::new();
    world.ice_life = 100 * SECOND;
    let mut ann = world.phone("ann");
    world.advance(79 * SECOND);
    world.frames_are(&mut ann, &[]);
    world.advance(SECOND);
    let frames = world.frames_are(&mut ann, &["ice-servers"]);
    assert_eq!((&frames[0]["reason"], &frames[0]["iceTtl"]), (&json!("refresh"), &json!(100)));
    let answer = world.ask(&ann, json!({"id": "1", "type": "ice-servers"}));
    assert!(answer["iceServers"][0]["urls"].is_array());
    world.advance(79 * SECOND);
    world.frames_are(&mut ann, &[]);
    world.server.push_ice_servers(world.now, PushReason::Revoked, Some(&UserId::parse("ann").unwrap()));
    world.pump();
    let frames = world.frames_are(&mut ann, &["ice-servers"]);
    assert_eq!(frames[0]["reason"], "revoked");
}

#[test]
fn who_says_bye_is_gone_at_once() {
    let mut world = World::new();
    let mut ann = world.phone("ann");
    let answer = world.ask(&ann, json!({"id": "b", "type": "bye"}));
    assert_eq!(answer["type"], "ok");
    assert_eq!(world.closed(&ann), Some(CloseCode::Normal));
    assert_eq!(world.resume(&mut ann)["reason"], "unknown");
    assert_eq!(world.event_kinds(), ["session.connected", "session.disconnected bye", "session.connected"]);
}

#[test]
fn a_node_that_drains_tells_its_clients_and_closes_them_one_after_the_other() {
    let mut world = World::new();
    let mut phones: Vec<_> = (0..10).map(|index| world.phone(&format!("user-{index}"))).collect();
    let guest = world.open().unwrap();
    world.server.drain(world.now, 10 * SECOND);
    world.pump();
    assert_eq!(world.closed(guest), Some(CloseCode::Draining));
    assert_eq!(world.open(), Err(CloseCode::Draining));
    let frames = world.frames_are(&mut phones[0], &["draining", "ice-servers"]);
    assert_eq!(frames[0], json!({"type": "draining", "reconnectWithin": 10, "jitter": 7}));
    assert_eq!(frames[1]["reason"], "drain");
    world.advance(5 * SECOND);
    let closed = |world: &World| phones.iter().filter(|phone| world.closed(*phone).is_some()).count();
    assert_eq!(closed(&world), 5);
    world.advance(5 * SECOND);
    assert_eq!(closed(&world), 10);
    assert!(phones.iter().all(|phone| world.closed(phone) == Some(CloseCode::Draining)));
    assert!(world.event_kinds().contains(&"node.draining".to_owned()));
}

#[test]
fn sessions_end_from_outside_by_user_token_or_name() {
    let mut world = World::new();
    let (ann, ben, cleo, dan) =
        (world.phone("ann"), world.phone("ben"), world.phone("cleo"), world.phone("dan"));
    world.drop_socket(&dan);
    let user = |name: &str| Revoke::User(UserId::parse(name).unwrap());
    assert_eq!(world.server.revoke(world.now, &user("ann")), 1);
    assert_eq!(world.server.revoke(world.now, &Revoke::Token("jti-ben".into())), 1);
    assert_eq!(world.server.revoke(world.now, &Revoke::Session(SessionId::parse(&cleo.session).unwrap())), 1);
    assert_eq!(world.server.revoke(world.now, &user("dan")), 1);
    assert_eq!(world.server.revoke(world.now, &user("nobody")), 0);
    world.pump();
    assert_eq!(world.closed(&ann), Some(CloseCode::Forbidden));
    assert_eq!(world.closed(&ben), Some(CloseCode::StateInvalidated));
    assert_eq!(world.closed(&cleo), Some(CloseCode::StateInvalidated));
    let gauges = world.server.gauges();
    assert_eq!((gauges.attached, gauges.detached), (0, 0));
}
