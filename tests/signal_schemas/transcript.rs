//! Conversations as text: what clients do, and what they get.
//!
//! | line | what |
//! |---|---|
//! | `# …` | a remark |
//! | `open ann` | a socket of hers is opened |
//! | `drop ann` | it breaks |
//! | `wait 5` | seconds pass |
//! | `tokens 90` | those taken from now on live so many seconds |
//! | `sfu mix` | that user is a media server |
//! | `drain 20` | the node ends within so many seconds |
//! | `ann > {…}` | she sends this; `$session.ben` and the like stand for what welcomes told |
//! | `ann < {…}` | she gets this; `closed 4401`: her socket is closed |

use std::{collections::BTreeMap, time::Duration};

use iceway::signaling::{ConnectionId, Grants, Role};
use serde_json::Value;

use crate::support::{World, everything};

/// What a welcome tells that is different each time.
const NAMES: [&str; 3] = ["session", "epoch", "resumeToken"];

pub(crate) struct Transcript {
    lines: Vec<String>,
}

impl Transcript {
    pub(crate) fn read(text: &str) -> Self {
        Self { lines: text.lines().map(str::to_owned).collect() }
    }

    /// Does what clients do, and writes down what they get.
    pub(crate) fn play(&self) -> String {
        let mut played =
            Played { world: World::new(), sockets: BTreeMap::new(), values: Vec::new(), out: String::new() };
        for line in &self.lines {
            if !line.contains(" < ") || line.starts_with('#') {
                played.line(line);
            }
        }
        played.out
    }

    /// Every frame, with whose it is.
    pub(crate) fn frames(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.lines.iter().filter(|line| !line.starts_with('#')).filter_map(|line| {
            if let Some((_, frame)) = line.split_once(" > ") {
                // A session has a form of its own.
                let session = iceway::signaling::SessionId(1).to_string();
                let words =
                    frame.split('"').map(|word| if word.starts_with("$session.") { &session } else { word });
                return Some(("client", words.collect::<Vec<_>>().join("\"")));
            }
            line.split_once(" < ")
                .filter(|(_, frame)| frame.starts_with('{'))
                .map(|(_, frame)| ("server", frame.to_owned()))
        })
    }
}

struct Played {
    world: World,
    sockets: BTreeMap<String, ConnectionId>,
    /// Values with what stands for them.
    values: Vec<(String, String)>,
    out: String,
}

impl Played {
    fn line(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
        if line.is_empty() || line.starts_with('#') {
            return;
        }
        if let Some(name) = line.strip_prefix("open ") {
            let connection = self.world.open().unwrap();
            self.sockets.insert(name.to_owned(), connection);
        } else if let Some(name) = line.strip_prefix("drop ") {
            let connection = self.sockets.remove(name).unwrap();
            self.world.drop_socket(connection);
        } else if let Some(seconds) = line.strip_prefix("wait ") {
            self.world.advance(Duration::from_secs(seconds.parse().unwrap()));
        } else if let Some(seconds) = line.strip_prefix("tokens ") {
            self.world.token_life = Some(Duration::from_secs(seconds.parse().unwrap()));
        } else if let Some(user) = line.strip_prefix("sfu ") {
            let grants = Grants { role: Role::Sfu, ..everything() };
            self.world.grants.insert(user.to_owned(), grants);
        } else if let Some(seconds) = line.strip_prefix("drain ") {
            self.world.server.drain(self.world.now, Duration::from_secs(seconds.parse().unwrap()));
            self.world.pump();
        } else if let Some((name, frame)) = line.split_once(" > ") {
            let text =
                self.values.iter().fold(frame.to_owned(), |text, (value, name)| text.replace(name, value));
            self.world.send_text(self.sockets[name], &text);
        } else {
            panic!("not a line of a transcript: {line}");
        }
        self.collect();
    }

    fn collect(&mut self) {
        for (name, connection) in self.sockets.clone() {
            while let Some(frame) = self.world.next(connection) {
                self.learn(&name, &frame);
                let text = frame.to_string();
                let text =
                    self.values.iter().rev().fold(text, |text, (value, name)| text.replace(value, name));
                self.out.push_str(&format!("{name} < {text}\n"));
            }
            if let Some(code) = self.world.closed(connection) {
                self.sockets.remove(&name);
                self.out.push_str(&format!("{name} < closed {}\n", code.code()));
            }
        }
    }

    fn learn(&mut self, name: &str, frame: &Value) {
        if frame["type"] != "welcome" {
            return;
        }
        for member in NAMES {
            let value = frame[member].as_str().unwrap();
            let title = format!("${member}.{name}");
            if self.values.iter().all(|(known, _)| known != value) {
                self.values.retain(|(_, known)| *known != title);
                self.values.push((value.to_owned(), title));
            }
        }
    }
}
