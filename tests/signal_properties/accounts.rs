//! Every message is accounted for: through sockets that die silently, resumptions on any node, and bytes between nodes
//! that are lost, doubled and late. Whoever is told that the session goes on has all of it, in order and once.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};
use serde_json::json;

use super::{
    cases,
    world::{USERS, World},
};

/// Who listens; the last of [`USERS`] but one talks.
const LISTENERS: usize = 2;
const TALKER: usize = 2;

/// A client that resumes elsewhere has its welcome after a second, whatever the network does.
const RESUME_STEPS_MAX: u32 = 20;
const RESUME_STEP: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
enum Step {
    /// The talker says the next number to a listener.
    Talk(usize),
    /// From now on nothing reaches a listener.
    Deafen(usize),
    /// Its socket ends, and it resumes on this node.
    Resume(usize, usize),
    Acknowledge(usize),
    Pass(u64),
    /// What is first under way between nodes arrives, is lost, doubled, or comes later.
    Arrive,
    Lose,
    Double,
    Delay,
}

/// Somebody who listens.
struct Listener {
    client: u64,
    /// The number of the next message to it.
    next: u64,
    /// The first number that the present session must bring.
    from: Option<u64>,
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn no_message_is_lost_doubled_or_out_of_order(
        nodes in 1..4_usize, is_honest: bool, steps in vec(step(), 1..200),
    ) {
        let mut world = World::new(nodes);
        world.settle();
        let talker = greet(&mut world, 0, TALKER);
        let mut listeners: Vec<Listener> = (0..LISTENERS)
            .map(|at| Listener { client: greet(&mut world, nodes - 1, at), next: 0, from: Some(0) })
            .collect();
        for step in &steps {
            run(&mut world, talker, &mut listeners, nodes, step);
            if is_honest {
                world.settle();
            }
        }
        #[allow(clippy::needless_range_loop)]
        for at in 0..LISTENERS {
            resume(&mut world, &mut listeners[at], at, 0, is_honest);
        }
        // Whatever was lost is sent again.
        for _ in 0..30 {
            world.pass(Duration::from_millis(600));
            world.settle();
        }
        for listener in &listeners {
            check(&world, listener)?;
        }
    }
}

#[test]
fn a_client_that_resumes_waits_a_second_though_the_way_of_its_session_is_blocked() {
    let mut world = World::new(3);
    world.settle();
    let client = greet(&mut world, 0, 0);
    let client = come_again(&mut world, client, 0, 1);
    // What the third node says is lost: the fence too, that it sends when it hears of the move.
    while !world.under_way.is_empty() {
        for (from, to, bytes) in std::mem::take(&mut world.under_way) {
            if from != 2 {
                world.deliver(from, to, &bytes);
            }
        }
    }
    assert_eq!(world.clients[&client].welcome["resumed"], true);
    let client = come_again(&mut world, client, 0, 2);
    for _ in 0..RESUME_STEPS_MAX {
        assert!(world.clients[&client].welcome.is_null(), "it waits for its session");
        world.pass(RESUME_STEP);
    }
    let welcome = &world.clients[&client].welcome;
    assert_eq!((&welcome["resumed"], &welcome["reason"]), (&json!(false), &json!("unknown")), "{welcome}");
}

fn run(world: &mut World, talker: u64, listeners: &mut [Listener], nodes: usize, step: &Step) {
    match *step {
        Step::Talk(at) => {
            let session = world.clients[&listeners[at].client].session.clone();
            let number = listeners[at].next;
            let message = json!({ "id": format!("m{at}-{number}"), "type": "message", "to": { "session": session }, "data": number });
            let before = world.clients[&talker].oks;
            world.say(talker, &message.to_string());
            // Only what was taken must arrive.
            listeners[at].next += u64::from(world.clients[&talker].oks > before);
        }
        Step::Deafen(at) => world.clients.get_mut(&listeners[at].client).unwrap().is_deaf = true,
        Step::Resume(at, node) => resume(world, &mut listeners[at], at, node % nodes, false),
        Step::Acknowledge(at) => {
            let client = listeners[at].client;
            let ack = json!({ "type": "ack", "seq": world.clients[&client].seq });
            world.say(client, &ack.to_string());
        }
        Step::Pass(milliseconds) => world.pass(Duration::from_millis(milliseconds)),
        Step::Arrive | Step::Lose | Step::Double | Step::Delay if world.under_way.is_empty() => {}
        Step::Arrive => {
            let (from, to, bytes) = world.under_way.remove(0);
            world.deliver(from, to, &bytes);
        }
        Step::Lose => drop(world.under_way.remove(0)),
        Step::Double => {
            let (from, to, bytes) = world.under_way.remove(0);
            world.deliver(from, to, &bytes);
            world.deliver(from, to, &bytes);
        }
        Step::Delay => {
            let late = world.under_way.remove(0);
            world.under_way.push(late);
        }
    }
}

/// Ends the socket of a client and says a hello that resumes its session on this node.
fn come_again(world: &mut World, client: u64, user: usize, node: usize) -> u64 {
    let got = &world.clients[&client];
    let (seq, data) = (got.seq, got.data.clone());
    let hello = json!({
        "id": "h", "type": "hello", "v": 1, "token": USERS[user],
        "resume": { "session": got.session, "token": got.resume_token, "epoch": got.epoch, "seq": seq },
    });
    world.close(client);
    let client = world.open(node);
    let got = world.clients.get_mut(&client).unwrap();
    (got.seq, got.data) = (seq, data);
    world.say(client, &hello.to_string());
    world.decide(client, true);
    client
}

/// The same, until there is a welcome.
fn resume(world: &mut World, listener: &mut Listener, at: usize, node: usize, is_honest: bool) {
    if world.clients[&listener.client].session.is_empty() {
        return;
    }
    let client = come_again(world, listener.client, at, node);
    for _ in 0..RESUME_STEPS_MAX {
        if !world.clients[&client].welcome.is_null() {
            break;
        }
        // Another node is asked; it answers, or the time is over.
        if is_honest || world.under_way.len() > 20 {
            world.settle();
        } else if !world.under_way.is_empty() {
            let (from, to, bytes) = world.under_way.remove(0);
            world.deliver(from, to, &bytes);
        }
        world.pass(RESUME_STEP);
    }
    let got = world.clients.get_mut(&client).unwrap();
    assert!(!got.welcome.is_null(), "neither resumed nor begun anew");
    if got.welcome["resumed"] != true {
        let reason = got.welcome["reason"].as_str().unwrap_or_default();
        assert!(["gap", "expired", "unknown", "epoch"].contains(&reason), "{}", got.welcome);
        got.data.clear();
        listener.from = None;
    }
    listener.client = client;
}

/// What came is a run of numbers without a gap, and up to the last one if the listener could hear it.
fn check(world: &World, listener: &Listener) -> Result<(), TestCaseError> {
    let got = &world.clients[&listener.client];
    let numbers: Vec<u64> = got.data.iter().filter_map(serde_json::Value::as_u64).collect();
    let first = listener.from.or_else(|| numbers.first().copied()).unwrap_or(listener.next);
    let expected: Vec<u64> = (first..listener.next).collect();
    // The socket may have been closed meanwhile, by its heartbeat or because it reads too slowly.
    if got.is_open && !got.is_deaf {
        prop_assert_eq!(&numbers, &expected);
    } else {
        prop_assert!(expected.starts_with(&numbers), "{:?} of {:?}", numbers, expected);
    }
    Ok(())
}

fn greet(world: &mut World, node: usize, user: usize) -> u64 {
    let client = world.open(node);
    let hello = json!({ "id": "h", "type": "hello", "v": 1, "token": USERS[user], "device": USERS[user] });
    world.say(client, &hello.to_string());
    world.decide(client, true);
    world.settle();
    assert!(!world.clients[&client].welcome.is_null());
    client
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..LISTENERS;
    prop_oneof![
        8 => who.clone().prop_map(Step::Talk),
        1 => who.clone().prop_map(Step::Deafen),
        2 => (who.clone(), 0..3_usize).prop_map(|(who, node)| Step::Resume(who, node)),
        2 => who.prop_map(Step::Acknowledge),
        2 => prop_oneof![1..100_u64, 500..2000_u64].prop_map(Step::Pass),
        6 => Just(Step::Arrive),
        1 => Just(Step::Lose),
        1 => Just(Step::Double),
        1 => Just(Step::Delay),
    ]
}
