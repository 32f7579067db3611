//! A backend that receives webhooks over real HTTP, and can be down, slow, or of another mind.

use std::{
    collections::HashMap,
    io::{self, BufRead as _, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use iceway::credentials::webhook::{self, WebhookSecret};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

/// How long anything that must happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What the backend does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It answers with this status.
    Answer(u16),
    /// It reads and says nothing.
    Silent,
    /// Nobody listens.
    Down,
}

/// A request whose signature is right.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) body: Value,
    /// How it was answered.
    pub(crate) status: u16,
    /// How many signatures it carried.
    pub(crate) signatures: usize,
}

/// The backend.
pub(crate) struct Receiver {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    tls: Option<Arc<ServerConfig>>,
    secrets: Vec<WebhookSecret>,
}

struct State {
    mode: Mode,
    /// Statuses for what is about these calls, whatever the mode is.
    special: HashMap<String, u16>,
    seen: Vec<Seen>,
    /// Requests that were not signed as they should be.
    forged: usize,
    is_over: bool,
    /// How long each answer takes.
    delay: Duration,
    /// Requests being answered, and the most there were at once.
    busy: (usize, usize),
}

impl Receiver {
    pub(crate) fn start(mode: Mode) -> Self {
        Self::with(mode, None, &[SECRET])
    }

    pub(crate) fn with(mode: Mode, tls: Option<Arc<ServerConfig>>, secrets: &[&str]) -> Self {
        let port = crate::support_redis::free_port();
        let state = State {
            mode,
            special: HashMap::new(),
            seen: Vec::new(),
            forged: 0,
            is_over: false,
            delay: Duration::ZERO,
            busy: (0, 0),
        };
        let secrets = secrets.iter().map(|secret| WebhookSecret::parse(secret).unwrap()).collect();
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), tls, secrets });
        let own = Arc::clone(&shared);
        thread::spawn(move || listen(port, &own));
        let receiver = Self { port, shared };
        receiver.until_listening();
        receiver
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://localhost:{}/rtc/events", self.port)
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.shared.state.lock().unwrap().mode = mode;
        self.until_listening();
    }

    pub(crate) fn set_delay(&self, delay: Duration) {
        self.shared.state.lock().unwrap().delay = delay;
    }

    /// Answers what is about one call in a way of its own.
    pub(crate) fn set_for(&self, call: &str, status: u16) {
        self.shared.state.lock().unwrap().special.insert(call.to_owned(), status);
    }

    /// The most requests that were being answered at once.
    pub(crate) fn busiest(&self) -> usize {
        self.shared.state.lock().unwrap().busy.1
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        let state = self.shared.state.lock().unwrap();
        assert_eq!(state.forged, 0, "every request is signed");
        state.seen.clone()
    }

    pub(crate) fn forged(&self) -> usize {
        self.shared.state.lock().unwrap().forged
    }

    /// What was taken, in its order, each event once.
    pub(crate) fn taken(&self) -> Vec<Seen> {
        let mut ids = std::collections::HashSet::new();
        let taken = self.seen().into_iter().filter(|seen| seen.status == 200);
        taken.filter(|seen| ids.insert(seen.id.clone())).collect()
    }

    /// Waits until so many different events were taken.
    pub(crate) fn wait_taken(&self, count: usize) -> Vec<Seen> {
        self.wait(|receiver| receiver.taken().len() >= count);
        self.taken()
    }

    /// Waits until such an event was taken.
    pub(crate) fn wait_for(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        self.wait(|receiver| receiver.taken().iter().any(|seen| is_it(&seen.body)));
        self.taken().into_iter().map(|seen| seen.body).find(is_it).unwrap()
    }

    /// Waits until so many requests came, however they were answered.
    pub(crate) fn wait_seen(&self, count: usize) {
        self.wait(|receiver| receiver.seen().len() >= count);
    }

    fn wait(&self, is_there: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_there(self) {
            assert!(Instant::now() < deadline, "{} requests: {:#?}", self.seen().len(), self.seen().last());
            let state = self.shared.state.lock().unwrap();
            drop(self.shared.changed.wait_timeout(state, Duration::from_millis(50)).unwrap());
        }
    }

    fn until_listening(&self) {
        let deadline = Instant::now() + PATIENCE;
        let is_down = self.shared.state.lock().unwrap().mode == Mode::Down;
        while TcpStream::connect(("127.0.0.1", self.port)).is_ok() == is_down {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Ok(mut state) = self.shared.state.lock() {
            state.is_over = true;
        }
    }
}

fn listen(port: u16, shared: &Arc<Shared>) {
    let mut listener: Option<TcpListener> = None;
    loop {
        let (mode, is_over) = {
            let state = shared.state.lock().unwrap();
            (state.mode, state.is_over)
        };
        if is_over {
            return;
        }
        if mode == Mode::Down {
            listener = None;
            thread::sleep(Duration::from_millis(2));
            continue;
        }
        let open = listener.get_or_insert_with(|| {
            let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        });
        match open.accept() {
            Ok((stream, _)) => {
                let shared = Arc::clone(shared);
                thread::spawn(move || drop(serve(stream, &shared)));
            }
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    match &shared.tls {
        Some(tls) => {
            let connection = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
            answer(StreamOwned::new(connection, stream), shared)
        }
        None => answer(stream, shared),
    }
}

fn answer(stream: impl Read + Write, shared: &Shared) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (headers, body) = read(&mut stream)?;
        let (status, delay) = {
            let mut state = shared.state.lock().unwrap();
            if state.mode == Mode::Down || state.is_over {
                return Ok(());
            }
            state.busy.0 += 1;
            state.busy.1 = state.busy.1.max(state.busy.0);
            let status = take(&mut state, shared, &headers, &body);
            (status, state.delay)
        };
        thread::sleep(delay);
        shared.state.lock().unwrap().busy.0 -= 1;
        shared.changed.notify_all();
        let Some(status) = status else {
            thread::sleep(PATIENCE);
            return Ok(());
        };
        let answer = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: 2\r\n\r\nok");
        stream.get_mut().write_all(answer.as_bytes())?;
        stream.get_mut().flush()?;
    }
}

/// Notes a request, and says how it is answered.
fn take(state: &mut State, shared: &Shared, headers: &HashMap<String, String>, body: &[u8]) -> Option<u16> {
    let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
    let (id, signature) = (header("webhook-id"), header("webhook-signature"));
    let timestamp = header("webhook-timestamp").parse().unwrap_or_default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    if webhook::verify(&shared.secrets, (&id, timestamp, &signature), body, now).is_err()
        || header("content-type") != "application/json"
    {
        state.forged += 1;
        return Some(401);
    }
    let body: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(body["id"], id.as_str());
    let special = body["call"]["id"].as_str().and_then(|call| state.special.get(call).copied());
    let status = match (special, state.mode) {
        (Some(status), _) | (None, Mode::Answer(status)) => Some(status),
        (None, Mode::Silent | Mode::Down) => None,
    };
    let signatures = signature.split(' ').count();
    state.seen.push(Seen { id, body, status: status.unwrap_or(0), signatures });
    status
}

fn read(stream: &mut BufReader<impl Read>) -> io::Result<(HashMap<String, String>, Vec<u8>)> {
    let mut headers = HashMap::new();
    let mut first = String::new();
    if stream.read_line(&mut first)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    assert!(first.starts_with("POST /rtc/events HTTP/1.1"), "{first}");
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((headers, body))
}
