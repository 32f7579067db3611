//! A small HTTP client: one request, one connection.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// The server gives up on other nodes after a second.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A request; nothing is sent before [`send`](Self::send).
#[derive(Clone, Debug)]
pub(crate) struct Http {
    address: SocketAddr,
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Http {
    pub(crate) fn get(address: SocketAddr, path: impl Into<String>) -> Self {
        Self::new("GET", address, path)
    }

    pub(crate) fn post(address: SocketAddr, path: impl Into<String>) -> Self {
        Self::new("POST", address, path)
    }

    pub(crate) fn delete(address: SocketAddr, path: impl Into<String>) -> Self {
        Self::new("DELETE", address, path)
    }

    fn new(method: &'static str, address: SocketAddr, path: impl Into<String>) -> Self {
        Self { address, method, path: path.into(), headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With an API key.
    pub(crate) fn key(self, key: &str) -> Self {
        self.header("Authorization", &format!("Bearer {key}"))
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub(crate) fn form(self, body: &str) -> Self {
        self.body("application/x-www-form-urlencoded", body.to_owned())
    }

    fn body(self, kind: &str, body: String) -> Self {
        Self { body: body.into_bytes(), ..self.header("Content-Type", kind) }
    }

    /// Sends it and reads the answer.
    pub(crate) fn send(&self) -> Reply {
        self.try_send().unwrap_or_else(|error| panic!("{} {}: {error}", self.method, self.path))
    }

    /// The same, where nobody may be listening.
    pub(crate) fn try_send(&self) -> std::io::Result<Reply> {
        let mut stream = TcpStream::connect_timeout(&self.address, CONNECT_LIMIT)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        let mut request = format!("{} {} HTTP/1.0\r\nHost: {}\r\n", self.method, self.path, self.address);
        for (name, value) in &self.headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("Content-Length: {}\r\n\r\n", self.body.len());
        stream.write_all(&[request.as_bytes(), &self.body].concat())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Reply::parse(&answer).ok_or_else(|| std::io::Error::other(format!("not an HTTP answer: {answer:?}")))
    }
}

/// What came back.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Reply {
    fn parse(answer: &str) -> Option<Self> {
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split_whitespace().nth(1)?.parse().ok()?;
        Some(Self { status, head: head.to_owned(), body: body.to_owned() })
    }

    /// The same, which must have this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n\n{}", self.head, self.body)
    }
}
