//! HTTP as a caller speaks it, without a library that would mend what is sent.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    /// A header field, or nothing.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.head.lines().filter_map(|line| line.split_once(": "));
        found.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body, if this is the status.
    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.header("x-request-id").is_some_and(|id| !id.is_empty()), "{self:?}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// Checks that this is a problem document of this status and code, and gives what it says of fields.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str) -> Vec<(String, String)> {
        let document = self.is(status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!(
            (document["code"].as_str(), document["status"].as_u64()),
            (Some(code), Some(status.into()))
        );
        assert_eq!(document["instance"].as_str(), self.header("x-request-id"), "{self:?}");
        let text = |error: &Value, name: &str| error[name].as_str().unwrap().to_owned();
        let errors = document["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| (text(error, "pointer"), text(error, "detail"))).collect()
    }
}

/// Sends these bytes, and reads until the server closes.
pub(crate) fn raw(server: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may close before it has read everything.
    drop(stream.write_all(request));
    let mut bytes = Vec::new();
    drop(stream.read_to_end(&mut bytes));
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// One request with these further header fields.
pub(crate) fn request(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
) -> Answer {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(body) = body {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body.unwrap_or_default());
    raw(server, text.as_bytes())
}
