//! Calls between nodes, and nodes that die in the middle of them.

use iceway::signaling::{NodeName, Outcome};
use serde_json::json;

use super::*;

/// Several nodes with links that take no time and lose nothing.
struct Nodes {
    worlds: Vec<World>,
    dead: Vec<usize>,
}

/// Time for links to say what they put off.
const SETTLED: Duration = Duration::from_millis(60);

impl Nodes {
    fn new(count: u8) -> Self {
        Self::with(count, &unlimited())
    }

    fn with(count: u8, options: &Options) -> Self {
        let worlds = (1..=count).map(|number| World::node(options.clone(), number)).collect();
        let mut nodes = Self { worlds, dead: Vec::new() };
        for node in 0..usize::from(count) {
            for other in (0..usize::from(count)).filter(|other| *other != node) {
                let world = &mut nodes.worlds[node];
                world.server.handle_node_up(world.now, &name(other), 1);
            }
        }
        nodes.settle();
        nodes
    }

    fn settle(&mut self) {
        self.advance(SETTLED);
    }

    /// Time passes on all nodes together, and packets arrive at once.
    fn advance(&mut self, by: Duration) {
        let end = self.worlds[0].now.monotonic.after(by);
        loop {
            while self.exchange() {}
            let living = (0..self.worlds.len()).filter(|node| !self.dead.contains(node));
            let next = living.filter_map(|node| self.worlds[node].server.deadline()).min();
            let next = next.filter(|next| *next <= end).unwrap_or(end);
            for world in &mut self.worlds {
                let left = next.since(world.now.monotonic);
                world.advance(left);
            }
            if next == end && !self.exchange() {
                return;
            }
        }
    }

    /// Hands all packets on; whether there were any.
    fn exchange(&mut self) -> bool {
        let mut was_any = false;
        for node in 0..self.worlds.len() {
            self.worlds[node].pump();
            while let Some((to, run, bytes)) = self.worlds[node].packets.pop_front() {
                let to = (0..self.worlds.len()).find(|other| name(*other) == to).unwrap();
                if self.dead.contains(&to) || self.dead.contains(&node) {
                    continue;
                }
                was_any = true;
                let world = &mut self.worlds[to];
                world.server.handle_link(world.now, &name(node), run, &bytes);
                world.pump();
            }
        }
        was_any
    }

    /// A node dies; the others hear of it later.
    fn kill(&mut self, node: usize) {
        self.dead.push(node);
    }

    /// The others hear that it died.
    fn bury(&mut self, node: usize) {
        for other in (0..self.worlds.len()).filter(|other| *other != node) {
            let world = &mut self.worlds[other];
            world.server.handle_node_down(world.now, &name(node));
            world.pump();
        }
        self.settle();
    }

    fn phone(&mut self, node: usize, user: &str, device: &str) -> (usize, Phone) {
        let phone = self.worlds[node].phone_at(user, device);
        self.settle();
        (node, phone)
    }

    fn send(&mut self, (node, phone): &(usize, Phone), frame: Value) {
        self.worlds[*node].send(phone, frame);
        self.settle();
    }

    fn ask(&mut self, of: &(usize, Phone), frame: Value) -> Value {
        self.send(of, frame.clone());
        let mut skipped = Vec::new();
        let reply = loop {
            let came =
                self.worlds[of.0].next(&of.1).unwrap_or_else(|| panic!("an answer to {frame}: {skipped:?}"));
            if came["re"] == frame["id"] {
                break came;
            }
            skipped.push(came);
        };
        // What came before is looked at by `frames`, which must not miss it.
        self.worlds[of.0].put_back(&of.1, skipped);
        reply
    }

    fn frames(&mut self, (node, phone): &mut (usize, Phone), types: &[&str]) -> Vec<Value> {
        self.worlds[*node].frames_are(phone, types)
    }

    /// The steps of a call that any node told, by their numbers, which have no gap and are told once.
    fn steps(&self, call: &str) -> Vec<&'static str> {
        let mut steps: Vec<(u32, CallStep)> = Vec::new();
        for event in self.worlds.iter().flat_map(|world| &world.events) {
            if let EventKind::Call { step, call: record } = &event.kind
                && record.id.as_str() == call
            {
                steps.push((record.sequence, *step));
            }
        }
        steps.sort_by_key(|(sequence, _)| *sequence);
        let numbers: Vec<_> = steps.iter().map(|(sequence, _)| *sequence as usize).collect();
        assert_eq!(numbers, (1..=steps.len()).collect::<Vec<_>>(), "{steps:?}");
        steps.into_iter().map(|(_, step)| step.as_str()).collect()
    }
}

fn name(node: usize) -> NodeName {
    NodeName(format!("n{}", node + 1).into())
}

#[test]
fn a_call_goes_between_nodes() {
    let mut nodes = Nodes::new(2);
    let (mut ann, mut bob) = (nodes.phone(0, "ann", ""), nodes.phone(1, "bob", ""));
    assert_eq!(nodes.ask(&ann, offer("c_1", "bob"))["delivered"], 1);
    nodes.send(&ann, candidate("c_1", "early"));
    nodes.send(&bob, ringing("c_1"));
    nodes.send(&bob, candidate("c_1", "held"));
    assert_eq!(nodes.ask(&bob, answer("c_1"))["type"], "ok");
    nodes.send(&bob, candidate("c_1", "free"));
    nodes.frames(&mut bob, &["call-offer", "ice-candidate"]);
    nodes.frames(&mut ann, &["call-ringing", "call-answer", "ice-candidate", "ice-candidate"]);
    let again = json!({"id": "n", "type": "renegotiate", "call": "c_1", "restart": true, "data": 1});
    assert_eq!(nodes.ask(&bob, again)["type"], "ok");
    nodes.frames(&mut ann, &["renegotiate"]);
    assert_eq!(nodes.ask(&bob, hangup("c_1", "user"))["type"], "ok");
    nodes.frames(&mut ann, &["call-hangup"]);
    assert_eq!(nodes.ask(&bob, candidate_asked("c_1"))["code"], "call-ended");
    assert_eq!(nodes.steps("c_1"), ["created", "ringing", "answered", "ended"]);
    assert!(nodes.worlds[1].events.iter().all(|event| !matches!(event.kind, EventKind::Call { .. })));
}

fn candidate_asked(call: &str) -> Value {
    let mut frame = candidate(call, "late");
    frame["id"] = json!("late");
    frame
}

#[test]
fn of_devices_on_three_nodes_that_answer_at_once_one_wins() {
    let mut nodes = Nodes::new(3);
    let ann = nodes.phone(0, "ann", "");
    let mut devices: Vec<_> = (0..3).map(|node| nodes.phone(node, "bob", &node.to_string())).collect();
    assert_eq!(nodes.ask(&ann, offer("c_1", "bob"))["delivered"], 3);
    for (node, phone) in &devices {
        nodes.worlds[*node].send(phone, answer("c_1"));
    }
    nodes.settle();
    let mut won = 0;
    for device in &mut devices {
        let frames = nodes.worlds[device.0].frames(&mut device.1);
        let is_winner = frames.iter().any(|frame| frame["re"] == "answer-c_1" && frame["type"] == "ok");
        let is_told = frames.iter().any(|frame| frame["reason"] == "answered-elsewhere");
        assert_ne!(is_winner, is_told, "{frames:?}");
        won += usize::from(is_winner);
    }
    assert_eq!(won, 1);
    assert_eq!(nodes.steps("c_1"), ["created", "answered"]);
}

#[test]
fn crossed_offers_of_two_nodes_become_one_call_each() {
    let mut nodes = Nodes::new(2);
    for number in 0..100 {
        let (a, b) = (format!("a{number}"), format!("b{number}"));
        let (mut ann, mut bob) = (nodes.phone(0, &a, ""), nodes.phone(1, &b, ""));
        let (low, high) = (format!("c{number}-1"), format!("c{number}-2"));
        let (of_ann, of_bob) = if number % 3 == 0 { (&high, &low) } else { (&low, &high) };
        // Neither node has heard of the other's offer.
        nodes.worlds[0].send(&ann.1, offer(of_ann, &b));
        nodes.worlds[1].send(&bob.1, offer(of_bob, &a));
        nodes.settle();
        let (loser, winner) = if number % 3 == 0 { (&mut ann, &mut bob) } else { (&mut bob, &mut ann) };
        let told = nodes.worlds[loser.0].frames(&mut loser.1);
        let glare = told.iter().find(|frame| frame["reason"] == "glare").expect("the loser is told");
        assert_eq!((&glare["call"], &glare["winner"]), (&json!(high), &json!(low)));
        assert!(told.iter().any(|frame| frame["type"] == "call-offer" && frame["call"] == *low));
        assert_eq!(nodes.ask(loser, answer(&low))["type"], "ok");
        let rang = nodes.worlds[winner.0].frames(&mut winner.1);
        assert!(rang.iter().any(|frame| frame["type"] == "call-cancelled" && frame["call"] == *high));
        assert!(rang.iter().any(|frame| frame["type"] == "call-answer" && frame["call"] == *low));
        assert_eq!(nodes.steps(&low), ["created", "answered"]);
        assert_eq!(nodes.steps(&high), ["created", "cancelled"]);
    }
}

#[test]
fn a_callee_whose_node_dies_while_it_rings_answers_elsewhere() {
    let mut nodes = Nodes::new(3);
    let (mut ann, _bob) = (nodes.phone(0, "ann", ""), nodes.phone(1, "bob", ""));
    nodes.ask(&ann, offer("c_1", "bob"));
    nodes.send(&ann, candidate("c_1", "kept"));
    nodes.kill(1);
    nodes.bury(1);
    assert_eq!(nodes.steps("c_1"), ["created", "push_needed"]);
    let mut again = nodes.phone(2, "bob", "");
    nodes.frames(&mut again, &["call-offer", "ice-candidate"]);
    assert_eq!(nodes.ask(&again, answer("c_1"))["type"], "ok");
    nodes.frames(&mut ann, &["call-answer"]);
}

#[test]
fn a_call_whose_node_dies_goes_on_at_the_answerers() {
    let mut nodes = Nodes::new(3);
    let (ann, mut bob) = (nodes.phone(0, "ann", ""), nodes.phone(1, "bob", ""));
    nodes.ask(&ann, offer("c_1", "bob"));
    assert_eq!(nodes.ask(&bob, answer("c_1"))["type"], "ok");
    nodes.frames(&mut bob, &["call-offer"]);
    nodes.kill(0);
    nodes.bury(0);
    assert_eq!(nodes.frames(&mut bob, &["call-peer"])[0]["state"], "away");
    let mut again = nodes.phone(2, "ann", "");
    let reply = nodes.ask(&again, rejoin("c_1"));
    assert_eq!(
        (&reply["type"], &reply["state"], &reply["polite"]),
        (&json!("ok"), &json!("active"), &json!(false))
    );
    assert_eq!(nodes.frames(&mut bob, &["call-peer"])[0]["state"], "back");
    nodes.send(&bob, candidate("c_1", "x"));
    nodes.frames(&mut again, &["ice-candidate"]);
    assert_eq!(nodes.ask(&again, hangup("c_1", "user"))["type"], "ok");
    nodes.frames(&mut bob, &["call-hangup"]);
    assert_eq!(nodes.steps("c_1"), ["created", "answered", "ended"]);
}

#[test]
fn a_call_whose_node_dies_while_it_rings_is_offered_again_elsewhere() {
    let mut nodes = Nodes::new(3);
    let (ann, mut bob) = (nodes.phone(0, "ann", ""), nodes.phone(1, "bob", ""));
    nodes.ask(&ann, offer("c_1", "bob"));
    nodes.send(&bob, ringing("c_1"));
    nodes.frames(&mut bob, &["call-offer"]);
    nodes.kill(0);
    nodes.bury(0);
    nodes.advance(seconds(10));
    let mut again = nodes.phone(2, "ann", "");
    assert_eq!(nodes.ask(&again, offer("c_1", "bob"))["delivered"], 1);
    nodes.frames(&mut bob, &["call-offer"]);
    assert_eq!(nodes.ask(&bob, answer("c_1"))["type"], "ok");
    nodes.frames(&mut again, &["call-answer"]);
    assert_eq!(nodes.steps("c_1"), ["created", "ringing", "answered"]);
}

#[test]
fn a_caller_with_a_new_session_on_another_node_offers_again_to_the_node_that_has_the_call() {
    let mut nodes = Nodes::new(3);
    let (ann, mut bob) = (nodes.phone(0, "ann", ""), nodes.phone(1, "bob", ""));
    nodes.ask(&ann, offer("c_1", "bob"));
    nodes.worlds[0].drop_socket(&ann.1);
    nodes.settle();
    let mut again = nodes.phone(2, "ann", "");
    assert_eq!(nodes.ask(&again, offer("c_1", "bob"))["delivered"], 1);
    assert_eq!(nodes.ask(&bob, answer("c_1"))["type"], "ok");
    nodes.frames(&mut bob, &["call-offer"]);
    nodes.frames(&mut again, &["call-answer"]);
    let renegotiate = json!({"id": "n", "type": "renegotiate", "call": "c_1", "data": 1});
    assert_eq!(nodes.ask(&again, renegotiate)["type"], "ok");
    nodes.frames(&mut bob, &["renegotiate"]);
}

#[test]
fn a_call_that_nobody_goes_on_with_ends_once_and_everywhere() {
    let mut nodes = Nodes::new(3);
    let (ann, mut bob) = (nodes.phone(0, "ann", ""), nodes.phone(1, "bob", ""));
    let cy = nodes.phone(0, "cy", "");
    let dan = nodes.phone(0, "dan", "");
    nodes.ask(&ann, offer("c_1", "bob"));
    nodes.frames(&mut bob, &["call-offer"]);
    nodes.ask(&cy, offer("c_2", "dan"));
    nodes.ask(&dan, answer("c_2"));
    nodes.kill(0);
    nodes.bury(0);
    nodes.advance(seconds(21));
    assert_eq!(nodes.frames(&mut bob, &["call-cancelled"])[0]["reason"], "caller-hangup");
    assert_eq!(nodes.steps("c_1"), ["created", "cancelled"]);
    assert_eq!(nodes.steps("c_2"), ["created", "answered", "failed"]);
    let outcomes: u64 = nodes.worlds[1..]
        .iter()
        .flat_map(|world| world.server.call_figures().outcomes())
        .filter(|(outcome, _)| matches!(outcome, Outcome::Cancelled | Outcome::Failed))
        .map(|(_, count)| count)
        .sum();
    assert_eq!(outcomes, 2);
    assert_eq!(nodes.ask(&bob, answer("c_1"))["code"], "call-ended");
}

#[test]
fn limits_hold_over_all_nodes() {
    let mut options = unlimited();
    options.limits.offers_per_pair = 1;
    options.limits.ringing_per_user = 2;
    options.limits.declined_delay = seconds(30);
    let mut nodes = Nodes::with(2, &options);
    let (here, there) = (nodes.phone(0, "ann", "web"), nodes.phone(1, "ann", "phone"));
    assert_eq!(nodes.ask(&here, offer("c_1", "bob"))["type"], "ok");
    assert_eq!(nodes.ask(&there, offer("c_2", "bob"))["code"], "rate-limited");
    assert_eq!(nodes.ask(&there, offer("c_3", "cy"))["type"], "ok");
    assert_eq!(nodes.ask(&here, offer("c_4", "dan"))["code"], "limit-exceeded");
    let bob = nodes.phone(1, "bob", "");
    assert_eq!(nodes.ask(&bob, reject("c_1", "declined", "user"))["type"], "ok");
    nodes.ask(&there, hangup("c_3", "user"));
    assert_eq!(nodes.ask(&there, offer("c_5", "bob"))["code"], "rate-limited");
}

#[test]
fn an_id_that_another_node_has_is_not_given_twice() {
    let mut nodes = Nodes::new(2);
    let (ann, eve) = (nodes.phone(0, "ann", ""), nodes.phone(1, "eve", ""));
    assert_eq!(nodes.ask(&ann, offer("c_1", "bob"))["type"], "ok");
    assert_eq!(nodes.ask(&eve, offer("c_1", "cy"))["code"], "duplicate");
}

#[test]
fn a_caller_that_resumes_on_another_node_takes_its_call_along() {
    let mut nodes = Nodes::new(3);
    let (ann, mut bob) = (nodes.phone(0, "ann", ""), nodes.phone(1, "bob", ""));
    nodes.ask(&ann, offer("c_1", "bob"));
    nodes.send(&ann, candidate("c_1", "kept"));
    nodes.worlds[0].drop_socket(&ann.1);
    nodes.settle();
    let connection = nodes.worlds[2].open().unwrap();
    let hello = json!({"id": "again", "type": "hello", "v": 1, "token": "ann", "resume": {
        "session": ann.1.session, "token": ann.1.resume_token, "epoch": ann.1.epoch, "seq": 0}});
    nodes.worlds[2].send(connection, hello);
    nodes.advance(seconds(2));
    let welcome = nodes.worlds[2].next(connection).unwrap();
    assert_eq!((&welcome["type"], &welcome["resumed"]), (&json!("welcome"), &json!(true)));
    // The node it was on is not needed any more.
    nodes.kill(0);
    nodes.bury(0);
    let mut late = nodes.phone(1, "bob", "late");
    nodes.frames(&mut late, &["call-offer", "ice-candidate"]);
    nodes.frames(&mut bob, &["call-offer", "ice-candidate"]);
    assert_eq!(nodes.ask(&bob, answer("c_1"))["type"], "ok");
    let mut ann = (2, Phone { connection, ..ann.1 });
    nodes.frames(&mut ann, &["call-answer"]);
    assert_eq!(nodes.ask(&ann, hangup("c_1", "user"))["type"], "ok");
    assert_eq!(nodes.steps("c_1"), ["created", "answered", "ended"]);
}
