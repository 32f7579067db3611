//! Frames of all types in any order from some clients: no panic, whole JSON, numbers without a gap.

use std::time::Duration;

use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Value, json};

use super::{
    cases,
    frames::mangled,
    world::{USERS, World},
};

/// One step of a script.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Open(usize),
    Hello(Index, usize, u8),
    Resume(Index, Index),
    Say(Index, Talk),
    Mangled(Index, String),
    Decide(Index, bool),
    Close(Index),
    Pass(u32),
}

/// What is said, with names that others use too.
#[derive(Clone, Debug)]
pub(crate) struct Talk {
    kind: usize,
    has_id: bool,
    id: u8,
    user: usize,
    room: u8,
    call: u8,
    whom: Index,
    ack: Option<u64>,
    choice: u8,
    size: u16,
}

#[test]
fn people_on_one_node_and_on_two_hear_one_another() {
    for nodes in [1, 2] {
        let mut world = World::new(nodes);
        world.settle();
        let people = [world.open(0), world.open(1)];
        for (id, user) in people.iter().zip(USERS) {
            world.say(*id, &json!({ "id": "h", "type": "hello", "v": 1, "token": user }).to_string());
            world.decide(*id, true);
            world.settle();
        }
        let session = world.clients[&people[1]].session.clone();
        for data in 0..3 {
            let message = json!({ "type": "message", "to": { "session": session }, "data": data });
            world.say(people[0], &message.to_string());
            world.pass(Duration::from_millis(60));
            world.settle();
        }
        assert_eq!(world.clients[&people[1]].seq, 3, "on {nodes} nodes");
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn frames_in_any_order_are_answered_or_refused(steps in vec(step(), 1..120)) {
        let mut world = World::new(1);
        play(&mut world, &steps);
    }

    #[test]
    fn frames_in_any_order_on_two_nodes_are_answered_or_refused(steps in vec(step(), 1..120)) {
        let mut world = World::new(2);
        for step in &steps {
            play(&mut world, std::slice::from_ref(step));
            world.settle();
        }
    }
}

/// Plays a script.
pub(crate) fn play(world: &mut World, steps: &[Step]) {
    for step in steps {
        match step {
            Step::Open(node) => drop(world.open(*node)),
            Step::Hello(who, user, device) => {
                let hello = json!({
                    "id": "h", "type": "hello", "v": 1, "token": USERS[user % USERS.len()],
                    "device": format!("d{device}"),
                });
                say(world, who, &hello.to_string());
                decide(world, who, true);
            }
            Step::Resume(who, whose) => {
                let Some(id) = pick(world, whose) else { continue };
                let got = &world.clients[&id];
                let resume = json!({
                    "session": got.session, "token": got.resume_token, "epoch": got.epoch, "seq": got.seq,
                });
                let seq = got.seq;
                for user in USERS {
                    let hello =
                        json!({ "id": "h", "type": "hello", "v": 1, "token": user, "resume": resume });
                    if let Some(id) = pick(world, who)
                        && let Some(got) = world.clients.get_mut(&id)
                        && got.session.is_empty()
                    {
                        got.seq = seq;
                        say(world, who, &hello.to_string());
                        decide(world, who, true);
                    }
                }
            }
            Step::Say(who, talk) => {
                let text = talk.text(world);
                say(world, who, &text);
            }
            Step::Mangled(who, text) => say(world, who, text),
            Step::Decide(who, is_allowed) => decide(world, who, *is_allowed),
            Step::Close(who) => drop(pick(world, who).map(|id| world.close(id))),
            Step::Pass(milliseconds) => world.pass(Duration::from_millis((*milliseconds).into())),
        }
    }
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let who = any::<Index>;
    prop_oneof![
        2 => (0..2_usize).prop_map(Step::Open),
        4 => (who(), 0..4_usize, 0..2_u8).prop_map(|(who, user, device)| Step::Hello(who, user, device)),
        1 => (who(), who()).prop_map(|(who, whose)| Step::Resume(who, whose)),
        16 => (who(), talk()).prop_map(|(who, talk)| Step::Say(who, talk)),
        1 => (who(), mangled()).prop_map(|(who, text)| Step::Mangled(who, text)),
        4 => (who(), prop::bool::weighted(0.8)).prop_map(|(who, is_allowed)| Step::Decide(who, is_allowed)),
        1 => who().prop_map(Step::Close),
        3 => prop_oneof![0..200_u32, 1000..30_000_u32, Just(200_000)].prop_map(Step::Pass),
    ]
}

fn talk() -> impl Strategy<Value = Talk> {
    let names = (0..4_usize, 0..3_u8, 0..4_u8, any::<Index>());
    let rest = (prop::option::weighted(0.3, 0..20_u64), any::<u8>(), prop_oneof![0..40_u16, 500..3000_u16]);
    (0..18_usize, any::<bool>(), 0..40_u8, names, rest).prop_map(
        |(kind, has_id, id, (user, room, call, whom), (ack, choice, size))| Talk {
            kind,
            has_id,
            id,
            user,
            room,
            call,
            whom,
            ack,
            choice,
            size,
        },
    )
}

impl Talk {
    fn text(&self, world: &World) -> String {
        let session =
            pick(world, &self.whom).map_or_else(String::new, |id| world.clients[&id].session.clone());
        let (user, room, call) = (USERS[self.user], format!("r{}", self.room), format!("c{}", self.call));
        let to = match self.choice % 4 {
            0 => json!({ "user": user }),
            1 => json!({ "session": session }),
            2 => json!({ "room": room }),
            _ => json!({ "role": "sfu", "room": room }),
        };
        let data = json!({ "sdp": "x".repeat(self.size.into()) });
        let is_odd = self.choice % 2 == 1;
        let mut frame: Value = match self.kind {
            0 => json!({ "type": "message", "to": to, "data": data, "receipt": is_odd }),
            1 => json!({ "type": "join", "room": room, "state": data }),
            2 => json!({ "type": "leave", "room": room }),
            3 => {
                json!({ "type": "presence", "watch": [user, "dave"], "set": if is_odd { "dnd" } else { "online" } })
            }
            4 | 5 => {
                json!({ "type": "call-offer", "call": call, "to": to, "media": ["audio"], "ttl": 20, "data": data })
            }
            6 => json!({ "type": "call-ringing", "call": call }),
            7 | 8 => json!({ "type": "call-answer", "call": call, "data": data }),
            9 => {
                json!({ "type": "call-reject", "call": call, "scope": if is_odd { "user" } else { "device" } })
            }
            10 => json!({ "type": "call-hangup", "call": call, "reason": "user" }),
            11 => {
                json!({ "type": "ice-candidate", "call": call, "candidates": [{ "candidate": "c" }], "end": is_odd })
            }
            12 => json!({ "type": "renegotiate", "call": call, "restart": is_odd, "data": data }),
            13 => json!({ "type": "call-rejoin", "call": call }),
            14 => json!({ "type": "ack", "seq": self.choice % 30 }),
            15 => json!({ "type": "ice-servers" }),
            16 => json!({ "type": "load", "load": f64::from(self.choice) / 255.0 }),
            _ if self.choice < 8 => json!({ "type": "bye" }),
            _ => json!({ "type": "ping", "t": self.choice }),
        };
        if self.has_id {
            frame["id"] = json!(format!("i{}", self.id));
        }
        if let Some(ack) = self.ack {
            frame["ack"] = json!(ack);
        }
        frame.to_string()
    }
}

fn pick(world: &World, which: &Index) -> Option<u64> {
    let ids: Vec<u64> = world.clients.keys().copied().collect();
    (!ids.is_empty()).then(|| ids[which.index(ids.len())])
}

fn say(world: &mut World, who: &Index, text: &str) {
    if let Some(id) = pick(world, who) {
        world.say(id, text);
    }
}

fn decide(world: &mut World, who: &Index, is_allowed: bool) {
    if let Some(id) = pick(world, who) {
        world.decide(id, is_allowed);
    }
}
