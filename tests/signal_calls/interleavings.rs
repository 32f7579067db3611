//! Whatever order frames, sockets and time come in, what was promised holds.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use super::*;

const USERS: [&str; 3] = ["ann", "bob", "cy"];
const DEVICES: usize = 6;
const CALLS: usize = 4;

/// What somebody does next. Devices and calls are numbers.
#[derive(Clone, Debug)]
enum Step {
    Offer { device: usize, call: usize, to: usize },
    Ringing { device: usize, call: usize },
    Answer { device: usize, call: usize },
    Reject { device: usize, call: usize, is_device_only: bool },
    Hangup { device: usize, call: usize },
    Candidate { device: usize, call: usize },
    Renegotiate { device: usize, call: usize },
    Rejoin { device: usize, call: usize },
    Drop { device: usize },
    Resume { device: usize },
    Leave { device: usize },
    Wait { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let (device, call) = (0..DEVICES, 0..CALLS);
    let pair = (device.clone(), call.clone());
    prop_oneof![
        4 => (device.clone(), call, 0..USERS.len()).prop_map(|(device, call, to)| Step::Offer { device, call, to }),
        2 => pair.clone().prop_map(|(device, call)| Step::Ringing { device, call }),
        5 => pair.clone().prop_map(|(device, call)| Step::Answer { device, call }),
        2 => (pair.clone(), any::<bool>()).prop_map(|((device, call), is_device_only)| {
            Step::Reject { device, call, is_device_only }
        }),
        2 => pair.clone().prop_map(|(device, call)| Step::Hangup { device, call }),
        4 => pair.clone().prop_map(|(device, call)| Step::Candidate { device, call }),
        1 => pair.clone().prop_map(|(device, call)| Step::Renegotiate { device, call }),
        1 => pair.prop_map(|(device, call)| Step::Rejoin { device, call }),
        2 => device.clone().prop_map(|device| Step::Drop { device }),
        3 => device.clone().prop_map(|device| Step::Resume { device }),
        1 => device.prop_map(|device| Step::Leave { device }),
        3 => prop_oneof![0..2000_u64, 10_000..70_000_u64].prop_map(|millis| Step::Wait { millis }),
    ]
}

/// A device, all sessions it had, and all that they were told.
struct Device {
    phone: Phone,
    is_connected: bool,
    told: Vec<(String, Value)>,
}

struct Play {
    world: World,
    devices: Vec<Device>,
    /// What was sent: its type and its call.
    requests: Vec<(String, String)>,
}

impl Play {
    fn new() -> Self {
        let mut world = world();
        let device = |index: usize| Device {
            phone: world.phone_at(USERS[index % USERS.len()], &format!("d{index}")),
            is_connected: true,
            told: Vec::new(),
        };
        let devices = (0..DEVICES).map(device).collect();
        Self { world, devices, requests: Vec::new() }
    }

    fn run(&mut self, step: &Step) {
        let simple = |kind: &str, call: &usize| json!({"type": kind, "call": name(*call)});
        match step {
            Step::Offer { device, call, to } => self.send(*device, offer(&name(*call), USERS[*to])),
            Step::Ringing { device, call } => self.send(*device, simple("call-ringing", call)),
            Step::Answer { device, call } => self.send(*device, answer(&name(*call))),
            Step::Reject { device, call, is_device_only } => {
                let scope = if *is_device_only { "device" } else { "user" };
                self.send(*device, reject(&name(*call), "declined", scope));
            }
            Step::Hangup { device, call } => self.send(*device, hangup(&name(*call), "user")),
            Step::Candidate { device, call } => self.send(*device, candidate(&name(*call), "c")),
            Step::Renegotiate { device, call } => {
                let mut frame = simple("renegotiate", call);
                frame["data"] = json!(1);
                self.send(*device, frame);
            }
            Step::Rejoin { device, call } => self.send(*device, rejoin(&name(*call))),
            Step::Drop { device } => self.drop(*device),
            Step::Resume { device } => self.resume(*device),
            Step::Leave { device } => self.send(*device, json!({"type": "bye"})),
            Step::Wait { millis } => self.world.advance(Duration::from_millis(*millis)),
        }
        self.read();
    }

    fn send(&mut self, device: usize, mut frame: Value) {
        frame["id"] = json!(self.requests.len().to_string());
        let text = |name: &str| frame[name].as_str().unwrap_or_default().to_owned();
        self.requests.push((text("type"), text("call")));
        let device = &self.devices[device];
        if device.is_connected {
            self.world.send(&device.phone, frame);
        }
    }

    fn drop(&mut self, device: usize) {
        self.read();
        self.world.drop_socket(&self.devices[device].phone);
        self.devices[device].is_connected = false;
    }

    fn resume(&mut self, index: usize) {
        let device = &mut self.devices[index];
        if device.is_connected && self.world.closed(&device.phone).is_none() {
            return;
        }
        self.world.resume(&mut device.phone);
        device.is_connected = true;
    }

    fn read(&mut self) {
        for device in &mut self.devices {
            let session = device.phone.session.clone();
            let frames = self.world.frames(&mut device.phone);
            device.told.extend(frames.into_iter().map(|frame| (session.clone(), frame)));
            if self.world.closed(&device.phone).is_some() {
                device.is_connected = false;
            }
        }
    }

    /// Everybody comes back, and what rings has its time.
    fn end(&mut self) {
        for index in 0..DEVICES {
            self.resume(index);
        }
        self.read();
        self.world.advance(seconds(200));
        for index in 0..DEVICES {
            self.resume(index);
        }
        self.read();
    }

    fn check(&self) {
        let mut by_call: BTreeMap<String, Vec<(CallStep, CallRecord)>> = BTreeMap::new();
        for event in &self.world.events {
            if let EventKind::Call { step, call } = &event.kind {
                by_call.entry(call.id.as_str().to_owned()).or_default().push((*step, (**call).clone()));
            }
        }
        for (call, steps) in &by_call {
            for life in lives(steps) {
                check_life(call, life);
            }
        }
        for device in &self.devices {
            self.check_told(device);
        }
        let figures = self.world.server.call_figures();
        assert_eq!(figures.ringing, 0, "nothing rings for ever");
    }

    /// Candidates never come before their offer or answer; whatever rang was told of its end.
    fn check_told(&self, device: &Device) {
        let sessions: BTreeSet<&String> = device.told.iter().map(|(session, _)| session).collect();
        for session in sessions {
            let mut known: BTreeSet<&str> = BTreeSet::new();
            let mut open: BTreeSet<&str> = BTreeSet::new();
            for (_, frame) in device.told.iter().filter(|(of, _)| of == session) {
                let call = frame["call"].as_str().unwrap_or_default();
                match frame["type"].as_str().unwrap() {
                    "call-offer" => {
                        known.insert(call);
                        open.insert(call);
                    }
                    "call-answer" => {
                        known.insert(call);
                    }
                    "ok" => match self.request(frame) {
                        // Whoever rejoins has what it needs.
                        Some(("call-rejoin", call)) => drop(known.insert(call)),
                        Some(("call-answer" | "call-reject" | "call-hangup", call)) => {
                            open.remove(call);
                        }
                        Some(_) | None => {}
                    },
                    "ice-candidate" => assert!(known.contains(call), "{call} to {session}: {frame}"),
                    "call-cancelled" | "call-hangup" | "call-reject" => {
                        open.remove(call);
                    }
                    _ => {}
                }
            }
            // What an older session missed does not matter any more.
            if *session == device.phone.session {
                assert!(open.is_empty(), "{open:?} ring at {session} for ever");
            }
        }
    }

    /// The request that an answer is to.
    fn request(&self, answer: &Value) -> Option<(&str, &str)> {
        let index: usize = answer["re"].as_str()?.parse().ok()?;
        self.requests.get(index).map(|(kind, call)| (kind.as_str(), call.as_str()))
    }
}

/// The events of a call id, for each time it was used.
fn lives(steps: &[(CallStep, CallRecord)]) -> Vec<&[(CallStep, CallRecord)]> {
    let starts: Vec<usize> = (0..steps.len()).filter(|index| steps[*index].0 == CallStep::Created).collect();
    let ends = starts.iter().skip(1).copied().chain([steps.len()]);
    starts.iter().zip(ends).map(|(start, end)| &steps[*start..end]).collect()
}

fn check_life(call: &str, life: &[(CallStep, CallRecord)]) {
    let sequences: Vec<u32> = life.iter().map(|(_, record)| record.sequence).collect();
    assert_eq!(sequences, (1..=life.len() as u32).collect::<Vec<_>>(), "{call} is counted without gaps");
    let answers = life.iter().filter(|(step, _)| *step == CallStep::Answered).count();
    assert!(answers <= 1, "{call} was won {answers} times");
    let ends = life.iter().filter(|(_, record)| record.outcome.is_some()).count();
    assert!(ends <= 1, "{call} ended {ends} times");
    let is_over = life.last().is_some_and(|(_, record)| record.outcome.is_some());
    let is_active = life.last().is_some_and(|(_, record)| record.answered.is_some());
    assert!(is_over || is_active, "{call} is over, or somebody talks");
}

fn name(call: usize) -> String {
    format!("c_{call}")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn one_device_wins_everybody_hears_the_end_and_nothing_overtakes_its_offer(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut play = Play::new();
        for step in &steps {
            play.run(step);
        }
        play.end();
        play.check();
    }
}
