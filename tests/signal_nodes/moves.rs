//! What is held back, and what is lost, while sessions move and nodes lose each other.

use iceway::signaling::{NodeName, Now, Server};
use serde_json::Value;

use crate::{
    cluster::{Cluster, name},
    in_order,
};

/// As many as wait for one session before requests are refused.
const HELD_MAX: usize = 256;

#[test]
fn who_sends_to_a_session_that_moves_is_refused_before_too_much_waits() {
    // The first node learns of the move, but the old way never ends.
    let mut cluster = moved_while_blocked((0, 1));
    send_many(&mut cluster, 0, 1);
    let accepted = accepted(&cluster, 0);
    assert_eq!(accepted, HELD_MAX, "the rest is refused");
    assert_eq!(cluster.phones[0].unanswered(), Vec::<&Value>::new());
    assert_eq!(got(&cluster, 1), 0, "they wait");
    arrives(&mut cluster, 1, accepted);
}

#[test]
fn a_session_that_has_moved_is_refused_before_too_much_of_it_waits() {
    // The first node does not learn of the move: it may still get something from the old one.
    let mut cluster = moved_while_blocked((1, 0));
    send_many(&mut cluster, 1, 0);
    let accepted = accepted(&cluster, 1);
    assert_eq!(accepted, HELD_MAX, "the rest is refused");
    assert_eq!(got(&cluster, 0), 0, "they wait");
    arrives(&mut cluster, 0, accepted);
}

#[test]
fn a_session_is_told_that_it_missed_something_even_if_that_is_lost_as_well() {
    let mut cluster = three_nodes();
    let (session, node) = (session(&cluster, 1), NodeName(name(1).into()));
    let run = cluster.nodes[1].run;
    cluster.net.blocked.insert((0, 1));
    let message = cluster.phones[0].message(&session).unwrap();
    cluster.send(0, &message);
    assert_eq!(accepted(&cluster, 0), 1);
    // Twice: the second time what is lost is that something was.
    for _ in 0..2 {
        cluster.tell(0, |server: &mut Server, now: Now| server.handle_node_down(now, &node));
        cluster.tell(0, |server: &mut Server, now: Now| server.handle_node_up(now, &node, run));
        cluster.advance(300);
    }
    assert!(!cluster.phones[1].lives[&session].is_broken);
    cluster.net.blocked.clear();
    cluster.advance(20_000);
    assert_eq!(got(&cluster, 1), 0);
    assert!(cluster.phones[1].lives[&session].is_broken, "it begins anew");
}

/// Two phones at the first two of three nodes.
/// The second phone goes from the second node to the third while nothing arrives from one node at another.
fn moved_while_blocked(way: (usize, usize)) -> Cluster {
    let mut cluster = three_nodes();
    cluster.net.blocked.insert(way);
    cluster.drop_socket(1, 60_000);
    cluster.connect_to(1, 2);
    cluster.advance(500);
    cluster
}

fn three_nodes() -> Cluster {
    let mut cluster = Cluster::new(1, 3, 0);
    cluster.advance(3000);
    for phone in 0..2 {
        cluster.add_phone();
        cluster.connect_to(phone, phone);
    }
    cluster.advance(1000);
    cluster
}

fn session(cluster: &Cluster, phone: usize) -> String {
    cluster.phones[phone].session.clone().expect("a session")
}

fn send_many(cluster: &mut Cluster, from: usize, to: usize) {
    let session = session(cluster, to);
    for _ in 0..2 * HELD_MAX {
        let message = cluster.phones[from].message(&session).expect("a session");
        cluster.send(from, &message);
    }
}

fn accepted(cluster: &Cluster, phone: usize) -> usize {
    cluster.phones[phone].lives.values().map(|life| life.accepted.len()).sum()
}

fn got(cluster: &Cluster, phone: usize) -> usize {
    cluster.phones[phone].lives.values().map(|life| life.got.len()).sum()
}

/// Once the way is free all that was accepted arrives, in order.
fn arrives(cluster: &mut Cluster, phone: usize, count: usize) {
    cluster.net.blocked.clear();
    for _ in 0..10 {
        cluster.advance(1000);
        cluster.acknowledge(phone);
    }
    let session = session(cluster, phone);
    let life = &cluster.phones[phone].lives[&session];
    assert!(!life.is_broken);
    assert_eq!(life.got.len(), count);
    in_order(&session, &life.got);
}
