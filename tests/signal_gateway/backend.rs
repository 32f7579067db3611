//! A backend that is asked: a real HTTP server.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use iceway::credentials::webhook::{WebhookSecret, verify};
use serde_json::{Value, json};

use crate::signal_support::Setup;

/// What questions are signed with.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// How it answers.
#[derive(Clone, Debug)]
pub(crate) enum Manner {
    /// With this.
    Says(Value),
    /// With this, but late.
    Late(Value, Duration),
    /// With this status.
    Status(u16),
    /// With something that is no answer.
    Nonsense,
}

/// A backend; gone when it is dropped.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    manner: Mutex<Manner>,
    questions: Mutex<Vec<Value>>,
    traces: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

impl Backend {
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            manner: Mutex::new(manner),
            questions: Mutex::default(),
            traces: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let (stream, state) = (stream.unwrap(), Arc::clone(&shared));
                std::thread::spawn(move || state.serve(stream));
            }
        });
        Self { address, state }
    }

    /// From now on it answers like this.
    pub(crate) fn becomes(&self, manner: Manner) {
        *self.state.manner.lock().unwrap() = manner;
    }

    /// What it was asked so far.
    pub(crate) fn questions(&self) -> Vec<Value> {
        self.state.questions.lock().unwrap().clone()
    }

    /// The `traceparent` of each question; empty if it had none.
    pub(crate) fn traces(&self) -> Vec<String> {
        self.state.traces.lock().unwrap().clone()
    }

    /// A node that asks it.
    pub(crate) fn setup(&self) -> Setup {
        asking(self.address)
    }
}

/// A node that asks whoever is there.
pub(crate) fn asking(address: SocketAddr) -> Setup {
    let file =
        std::env::temp_dir().join(format!("iceway-authorize-{}-{}", std::process::id(), address.port()));
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    Setup::default()
        .with("signal.authorize_url", format!("\"http://{address}/rtc/authz\""))
        .with("signal.authorize_secret_file", format!("{:?}", file.display().to_string()))
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
        let file = std::env::temp_dir().join(format!(
            "iceway-authorize-{}-{}",
            std::process::id(),
            self.address.port()
        ));
        drop(std::fs::remove_file(file));
    }
}

impl State {
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut writer = stream;
        while let Some((headers, body)) = read_request(&mut reader) {
            let question: Value = serde_json::from_slice(&body).unwrap();
            let secrets = [WebhookSecret::parse(SECRET).unwrap()];
            let header = |name: &str| headers.get(name).map(String::as_str).unwrap_or_default();
            let at: u64 = header("webhook-timestamp").parse().unwrap();
            let signed = (header("webhook-id"), at, header("webhook-signature"));
            verify(&secrets, signed, &body, at).unwrap();
            assert_eq!(question["id"], header("webhook-id"));
            self.questions.lock().unwrap().push(question);
            self.traces.lock().unwrap().push(header("traceparent").to_owned());
            let manner = self.manner.lock().unwrap().clone();
            let (status, text) = match manner {
                Manner::Says(answer) => (200, answer.to_string()),
                Manner::Late(answer, delay) => {
                    std::thread::sleep(delay);
                    (200, answer.to_string())
                }
                Manner::Status(status) => (status, "{}".to_owned()),
                Manner::Nonsense => (200, "yes".to_owned()),
            };
            let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n{text}", text.len());
            if writer.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(BTreeMap<String, String>, Vec<u8>)> {
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some((headers, body))
}

/// Leave for so many seconds.
pub(crate) fn yes(ttl: u64) -> Manner {
    Manner::Says(json!({ "allow": true, "ttl": ttl, "reason": null, "attrs": { "displayName": "Ann" } }))
}

/// A no.
pub(crate) fn no() -> Manner {
    Manner::Says(json!({ "allow": false, "reason": "not-contacts" }))
}
