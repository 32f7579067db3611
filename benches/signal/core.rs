//! What a message costs before any socket: read, checked, numbered, kept, made into text, acknowledged.

use std::time::{Duration, Instant as Clock};

use anyhow::{Context, Result};
use iceway::signaling::{
    CallGrants, CallMode, Client, ConnectionId, Frame, Grants, Identity, Instant, NodeName, Now, Options,
    Output, Role, Server, Setup, UserId,
};

use crate::session::text;

const SESSIONS: u64 = 64;
/// A message with its envelope.
const BYTES: usize = 1024;

/// Nanoseconds per 1-kB message, of so many.
///
/// # Errors
/// A session is not welcomed.
pub(crate) fn nanoseconds(messages: u64) -> Result<f64> {
    let mut relay = Relay { server: server(), millis: 1_000_000, frames: Vec::new(), woken: Vec::new() };
    let names: Vec<String> = (0..SESSIONS).map(|id| relay.open(id)).collect::<Result<_>>()?;
    let padding = "x".repeat(BYTES - 90);
    let texts: Vec<String> = names
        .iter()
        .map(|name| format!(r#"{{"type":"message","to":{{"session":"{name}"}},"data":"{padding}"}}"#))
        .collect();
    let mut seqs = vec![0_u64; texts.len()];
    let begin = Clock::now();
    for number in 0..messages {
        // By turns, and never to itself.
        let (from, to) = (number % SESSIONS, ((number * 7 + 1) % SESSIONS) as usize);
        let text = texts.get(to).context("a session")?;
        relay.say(from, text);
        let Some(seq) = seqs.get_mut(to) else { continue };
        *seq += 1;
        if *seq % 16 == 0 {
            let ack = format!(r#"{{"type":"ack","seq":{seq}}}"#);
            relay.say(to as u64, &ack);
        }
        relay.millis += u64::from(number % 100 == 0);
    }
    let spent: Duration = begin.elapsed();
    Ok(spent.as_nanos() as f64 / messages as f64)
}

struct Relay {
    server: Server,
    millis: u64,
    frames: Vec<String>,
    woken: Vec<ConnectionId>,
}

impl Relay {
    fn now(&self) -> Now {
        Now { monotonic: Instant::from_millis(self.millis), unix_millis: 1_790_000_000_000 + self.millis }
    }

    /// The name of the session.
    fn open(&mut self, id: u64) -> Result<String> {
        let client = Client { address: [127, 0, 0, 1].into() };
        let identity = Box::new(identity(id)?);
        let refused = self.server.handle_open(self.now(), ConnectionId(id), client, Some(identity));
        anyhow::ensure!(refused.is_ok(), "the relay refuses a socket");
        self.say(id, r#"{"id":"1","type":"hello","v":1}"#);
        let welcome = self.frames.first().context("no welcome")?;
        Ok(text(welcome.as_bytes(), "session").context("a welcome without a session")?.to_owned())
    }

    fn say(&mut self, id: u64, text: &str) {
        let now = self.now();
        drop(self.server.handle_frame(now, ConnectionId(id), Frame::read(text), text.len()));
        while let Some(output) = self.server.poll_output() {
            if let Output::Wake(connection) = output {
                self.woken.push(connection);
            }
        }
        self.frames.clear();
        for connection in self.woken.drain(..) {
            self.server.poll_connection(now, connection, &mut self.frames);
        }
        std::hint::black_box(&self.frames);
    }
}

fn server() -> Server {
    let mut options = Options::default();
    let limits = &mut options.limits;
    (limits.frames_per_second, limits.bytes_per_second) = (0, 0);
    (limits.connects_per_address, limits.unauthenticated_per_address) = (0, 10_000);
    let key = zeroize::Zeroizing::new([7; 32]);
    Server::new(Setup { options, node: NodeName("bench".into()), run: 1, key })
}

fn identity(id: u64) -> Result<Identity> {
    let call = CallGrants { mode: CallMode::Any, to: Vec::new() };
    Ok(Identity {
        user: UserId::parse(&format!("u-{id}")).context("a user")?,
        device: Some("bench".into()),
        expires: None,
        token_id: None,
        grants: Grants {
            role: Role::User,
            rooms: Vec::new(),
            ask_rooms: false,
            call,
            presence: true,
            message: true,
            sessions_max: 10,
            turn: None,
        },
        ice_servers: None,
    })
}
