//! Requests and answers, as little as a test needs.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::Value;

use crate::server::PATIENCE;

/// What is sent.
#[derive(Clone)]
pub(crate) struct Request {
    method: &'static str,
    path: String,
    headers: String,
    body: String,
}

impl Request {
    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn new(method: &'static str, path: &str) -> Self {
        Self { method, path: path.to_owned(), headers: String::new(), body: String::new() }
    }

    pub(crate) fn post(path: &str, json: &str) -> Self {
        let mut request = Self::new("POST", path).header("Content-Type", "application/json");
        json.clone_into(&mut request.body);
        request
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    pub(crate) fn bearer(self, text: &str) -> Self {
        self.header("Authorization", &format!("Bearer {text}"))
    }

    fn bytes(&self) -> Vec<u8> {
        let Self { method, path, headers, body } = self;
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}{length}\r\n{body}")
            .into_bytes()
    }

    pub(crate) fn send(&self, server: SocketAddr) -> Answer {
        self.send_on(connect(server))
    }

    pub(crate) fn send_on(&self, mut stream: impl Read + Write) -> Answer {
        stream.write_all(&self.bytes()).unwrap();
        Answer::read(stream)
    }

    /// Over TLS; an error of the handshake is one of reading or writing.
    pub(crate) fn send_tls(&self, server: SocketAddr, config: &Arc<ClientConfig>) -> std::io::Result<Answer> {
        let name = "localhost".try_into().unwrap();
        let session = ClientConnection::new(Arc::clone(config), name).unwrap();
        let mut stream = StreamOwned::new(session, connect(server));
        stream.write_all(&self.bytes())?;
        stream.flush()?;
        let mut text = Vec::new();
        match stream.read_to_end(&mut text) {
            Ok(_) => {}
            Err(error) if text.is_empty() => return Err(error),
            Err(_) => {}
        }
        Ok(Answer::parse(&text))
    }
}

pub(crate) fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What comes back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    /// Reads until the server closes.
    pub(crate) fn read(mut stream: impl Read) -> Self {
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        Self::parse(&text)
    }

    fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Self { status, headers, body: body.to_owned() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// The `code` of a problem, which must be written as one.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.header("cache-control"), "no-store", "{self:?}");
        let document = self.json();
        assert_eq!(document["status"], self.status);
        assert_eq!(document["instance"], self.header("x-request-id"));
        if self.status == 401 {
            assert!(self.header("www-authenticate").starts_with("Bearer realm=\"iceway\""), "{self:?}");
        }
        document["code"].as_str().unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}
