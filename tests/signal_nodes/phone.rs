//! A client that counts what it sends and what it gets.

use std::collections::BTreeMap;

use iceway::signaling::ConnectionId;
use serde_json::{Value, json};

/// What became of one session.
#[derive(Default)]
pub(crate) struct Life {
    /// Messages that were answered `ok`: to which session, their number, and when.
    pub(crate) accepted: Vec<(String, u64, u64)>,
    /// Messages that came: from which session, and their number.
    pub(crate) got: Vec<(String, u64)>,
    /// Whether frames were lost, and the client was told.
    pub(crate) is_broken: bool,
}

/// A client.
pub(crate) struct Phone {
    pub(crate) user: String,
    pub(crate) socket: Option<(usize, ConnectionId)>,
    /// Whether the socket has been welcomed.
    pub(crate) is_welcome: bool,
    pub(crate) session: Option<String>,
    epoch: String,
    token: String,
    pub(crate) seq: u64,
    /// Requests without an answer, in order.
    pending: BTreeMap<u64, Value>,
    count: u64,
    pub(crate) lives: BTreeMap<String, Life>,
    /// How sessions went on: `whole`, `gap`, `unknown`, …
    pub(crate) resumes: Vec<String>,
    pub(crate) room: Option<String>,
    /// Calls it knows of, and whether they are answered.
    pub(crate) calls: BTreeMap<String, bool>,
}

impl Phone {
    pub(crate) fn new(user: String) -> Self {
        Self {
            user,
            socket: None,
            is_welcome: false,
            session: None,
            epoch: String::new(),
            token: String::new(),
            seq: 0,
            pending: BTreeMap::new(),
            count: 0,
            lives: BTreeMap::new(),
            resumes: Vec::new(),
            room: None,
            calls: BTreeMap::new(),
        }
    }

    /// The first frame of a new socket.
    pub(crate) fn hello(&self) -> Value {
        let mut hello = json!({"id": "hello", "type": "hello", "v": 1, "token": self.user});
        if let Some(session) = &self.session {
            hello["resume"] =
                json!({"session": session, "token": self.token, "epoch": self.epoch, "seq": self.seq});
        }
        hello
    }

    /// A message to a session, to be sent if there is a socket.
    pub(crate) fn message(&mut self, to: &str) -> Option<Value> {
        let session = self.session.clone()?;
        self.count += 1;
        let data = json!({"from": session, "number": self.count});
        Some(self.request(json!({"type": "message", "to": {"session": to}, "data": data})))
    }

    /// Calls a user.
    pub(crate) fn offer(&mut self, user: &str) -> Option<Value> {
        let session = self.session.as_deref()?;
        let call = format!("c_{}-{}", session.trim_start_matches("s_"), self.count);
        self.calls.insert(call.clone(), false);
        let data = json!({"type": "offer", "sdp": "v=0"});
        Some(self.request(
            json!({"type": "call-offer", "call": call, "to": {"user": user}, "media": ["audio"], "ttl": 20, "data": data}),
        ))
    }

    /// A request about a call.
    pub(crate) fn about(&mut self, kind: &str, call: &str) -> Value {
        let mut frame = json!({"type": kind, "call": call});
        if kind == "call-answer" {
            frame["data"] = json!({"type": "answer", "sdp": "v=0"});
            self.calls.insert(call.to_owned(), true);
        }
        self.request(frame)
    }

    /// A request, which is sent again until it is answered.
    pub(crate) fn request(&mut self, mut frame: Value) -> Value {
        self.count += 1;
        frame["id"] = json!(self.count.to_string());
        self.pending.insert(self.count, frame.clone());
        frame
    }

    pub(crate) fn ack(&self) -> Value {
        json!({"type": "ack", "seq": self.seq})
    }

    /// A frame came: what the client then sends.
    pub(crate) fn take(&mut self, now: u64, frame: &Value) -> Vec<Value> {
        if let Some(seq) = frame["seq"].as_u64() {
            if seq <= self.seq {
                return Vec::new();
            }
            assert_eq!(seq, self.seq + 1, "a gap before {frame}");
            self.seq = seq;
        }
        match frame["type"].as_str().expect("a type") {
            "welcome" => return self.welcomed(frame),
            "message" => self.got(frame),
            "ok" | "error" => self.answered(now, frame),
            "call-offer" => {
                self.calls.insert(call_of(frame), false);
            }
            "call-answer" => {
                self.calls.insert(call_of(frame), true);
            }
            "call-cancelled" | "call-hangup" | "call-reject" => {
                self.calls.remove(&call_of(frame));
            }
            _ => {}
        }
        Vec::new()
    }

    fn welcomed(&mut self, welcome: &Value) -> Vec<Value> {
        let text = |name: &str| welcome[name].as_str().expect(name).to_owned();
        self.is_welcome = true;
        let session = text("session");
        let is_same = self.session.as_deref() == Some(&session);
        let is_whole = welcome["resumed"] == true;
        if self.session.is_some() {
            let how = if is_whole { "whole" } else { welcome["reason"].as_str().unwrap_or("new") };
            self.resumes.push(how.to_owned());
        }
        if !is_whole {
            self.seq = 0;
        }
        (self.epoch, self.token) = (text("epoch"), text("resumeToken"));
        let life = self.lives.entry(session.clone()).or_default();
        life.is_broken |= is_same && !is_whole;
        self.session = Some(session);
        if !is_same {
            // Another session: what the old one asked for is not known there.
            self.pending.clear();
            self.room = None;
            self.calls.clear();
        }
        self.pending.values().cloned().collect()
    }

    fn got(&mut self, frame: &Value) {
        let data = &frame["data"];
        let from = data["from"].as_str().expect("a sender").to_owned();
        let number = data["number"].as_u64().expect("a number");
        let session = self.session.clone().expect("a session");
        self.lives.entry(session).or_default().got.push((from, number));
    }

    fn answered(&mut self, now: u64, frame: &Value) {
        let Some(id) = frame["re"].as_str().and_then(|id| id.parse().ok()) else { return };
        let Some(request) = self.pending.remove(&id) else { return };
        let is_message = request["type"] == "message";
        // What could not be done just now can be done later, but for an offer.
        let is_over = frame["code"] != "unavailable" || request["type"] == "call-offer";
        if let (true, true, Some(call)) = (frame["type"] == "error", is_over, request["call"].as_str()) {
            self.calls.remove(call);
        }
        if frame["type"] == "ok" && is_message {
            let to = request["to"]["session"].as_str().expect("a session").to_owned();
            let number = request["data"]["number"].as_u64().expect("a number");
            let session = self.session.clone().expect("a session");
            self.lives.entry(session).or_default().accepted.push((to, number, now));
        }
    }

    /// Requests that were not answered.
    pub(crate) fn unanswered(&self) -> Vec<&Value> {
        self.pending.values().collect()
    }
}

fn call_of(frame: &Value) -> String {
    frame["call"].as_str().expect("a call").to_owned()
}
