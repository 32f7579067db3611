//! Whatever happens to sockets: every message arrives once and in order, or its receiver is told of a gap.

use std::{collections::BTreeMap, time::Duration};

use iceway::signaling::Options;
use proptest::prelude::*;
use serde_json::json;

use crate::support::{Phone, World};

const CLIENTS: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Action {
    /// A client sends the next number to another.
    Send(usize, usize),
    /// A client reads all that came.
    Read(usize),
    /// It reads, and says so.
    Acknowledge(usize),
    /// Its socket breaks with what it did not read.
    Drop(usize),
    /// It comes back, and sends again what was not answered.
    Resume(usize),
    Wait(u64),
}

fn action() -> impl Strategy<Value = Action> {
    let client = || 0..CLIENTS;
    prop_oneof![
        6 => (client(), client()).prop_map(|(from, to)| Action::Send(from, to)),
        3 => client().prop_map(Action::Read),
        2 => client().prop_map(Action::Acknowledge),
        1 => client().prop_map(Action::Drop),
        2 => client().prop_map(Action::Resume),
        1 => (0..3000_u64).prop_map(Action::Wait),
    ]
}

/// The world, and what everybody sent and got.
struct Model {
    world: World,
    phones: Vec<Phone>,
    online: [bool; CLIENTS],
    /// Requests without an answer, by sender: id and receiver.
    open: [BTreeMap<u64, (usize, u64)>; CLIENTS],
    requests: u64,
    sent: BTreeMap<(usize, usize), u64>,
    /// The last number each got of each.
    got: BTreeMap<(usize, usize), u64>,
    /// Whether a receiver was told of a gap since it last got something of that sender.
    gap: BTreeMap<(usize, usize), bool>,
    gaps: usize,
}

impl Model {
    fn new(ring_frames: usize) -> Self {
        let options = Options { ring_frames, ..Options::default() };
        let mut world = World::with(options);
        let phones = (0..CLIENTS).map(|index| world.phone(&format!("user-{index}"))).collect();
        Self {
            world,
            phones,
            online: [true; CLIENTS],
            open: Default::default(),
            requests: 0,
            sent: BTreeMap::new(),
            got: BTreeMap::new(),
            gap: BTreeMap::new(),
            gaps: 0,
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Send(from, to) if from != to && self.is_online(from) => {
                self.requests += 1;
                let number = self.sent.entry((from, to)).or_default();
                *number += 1;
                let open = (to, *number);
                self.open[from].insert(self.requests, open);
                self.request(from, self.requests, open);
            }
            Action::Send(..) => {}
            Action::Read(client) => self.read(client),
            Action::Acknowledge(client) => {
                self.read(client);
                if self.is_online(client) {
                    let seq = self.phones[client].seq;
                    self.world.send(&self.phones[client], json!({"type": "ack", "seq": seq}));
                }
            }
            Action::Drop(client) => {
                if self.is_online(client) {
                    self.world.drop_socket(&self.phones[client]);
                    self.online[client] = false;
                }
            }
            Action::Resume(client) => self.resume(client),
            Action::Wait(millis) => self.world.advance(Duration::from_millis(millis)),
        }
    }

    /// Closed by the relay counts as gone.
    fn is_online(&mut self, client: usize) -> bool {
        if self.online[client] && self.world.closed(&self.phones[client]).is_some() {
            self.read(client);
            self.world.drop_socket(&self.phones[client]);
            self.online[client] = false;
        }
        self.online[client]
    }

    fn request(&mut self, from: usize, id: u64, (to, number): (usize, u64)) {
        let frame = json!({"id": id.to_string(), "type": "message", "to": {"user": format!("user-{to}")},
            "data": [from, number]});
        self.world.send(&self.phones[from], frame);
    }

    fn read(&mut self, client: usize) {
        if !self.online[client] {
            return;
        }
        for frame in self.world.frames(&mut self.phones[client]) {
            match frame["type"].as_str().unwrap() {
                "ok" | "error" => {
                    let id = frame["re"].as_str().unwrap().parse().unwrap();
                    assert!(frame["type"] == "ok" || frame["code"] == "rate-limited", "{frame}");
                    let (to, number) = self.open[client].remove(&id).expect("answered once");
                    assert_eq!(frame["type"], "ok", "{number} to {to}");
                }
                "message" => {
                    let from = usize::try_from(frame["data"][0].as_u64().unwrap()).unwrap();
                    let number = frame["data"][1].as_u64().unwrap();
                    let last = self.got.insert((from, client), number).unwrap_or_default();
                    let is_after_gap = self.gap.insert((from, client), false).unwrap_or_default();
                    assert!(number == last + 1 || (is_after_gap && number > last), "{last} then {number}");
                }
                other => panic!("{other}"),
            }
        }
    }

    fn resume(&mut self, client: usize) {
        if self.is_online(client) {
            return;
        }
        let welcome = self.world.resume(&mut self.phones[client]);
        self.online[client] = true;
        if welcome["resumed"] != true {
            assert_eq!(welcome["reason"], "gap", "{welcome}");
            self.gaps += 1;
            for from in 0..CLIENTS {
                self.gap.insert((from, client), true);
            }
        }
        for (id, open) in self.open[client].clone() {
            self.request(client, id, open);
        }
    }

    /// All come back and read: nothing may be missing then.
    fn settle(&mut self) {
        for _ in 0..20 {
            for client in 0..CLIENTS {
                self.resume(client);
                self.act(Action::Acknowledge(client));
            }
        }
        for client in 0..CLIENTS {
            assert!(self.open[client].is_empty(), "all is answered");
        }
        for (&(from, to), &number) in &self.sent {
            let got = self.got.get(&(from, to)).copied().unwrap_or_default();
            let is_gap = self.gap.get(&(from, to)).copied().unwrap_or_default();
            assert!(got == number || is_gap, "{from} to {to}: {got} of {number}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn with_a_ring_that_suffices_nothing_is_lost_or_doubled(actions in prop::collection::vec(action(), 1..120)) {
        let mut model = Model::new(256);
        actions.into_iter().for_each(|action| model.act(action));
        model.settle();
        prop_assert_eq!(model.gaps, 0);
    }

    #[test]
    fn with_a_small_ring_what_is_lost_is_told(actions in prop::collection::vec(action(), 1..200)) {
        let mut model = Model::new(3);
        actions.into_iter().for_each(|action| model.act(action));
        model.settle();
    }
}

#[test]
fn the_model_meets_gaps() {
    let mut model = Model::new(3);
    model.act(Action::Drop(1));
    (0..10).for_each(|_| model.act(Action::Send(0, 1)));
    model.settle();
    assert_eq!(model.gaps, 1);
}
