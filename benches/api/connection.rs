//! One keep-alive connection of the load, polled without waiting.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use rustls::{ClientConfig, ClientConnection, RootCertStore, pki_types::ServerName};

use crate::server::Server;

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    /// Redis's; bulk strings only.
    Resp,
}

/// A connection with at most one request under way.
pub(crate) struct Connection {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    protocol: Protocol,
    received: Vec<u8>,
    /// When the request that is under way was due.
    due: Option<Instant>,
}

impl Connection {
    /// Connects, over TLS where the server has it.
    pub(crate) fn open(server: &Server) -> Result<Self> {
        let mut stream = TcpStream::connect(server.address)?;
        stream.set_nodelay(true)?;
        let tls = match &server.authority {
            None => None,
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.clone())?;
                let provider = Arc::new(rustls::crypto::ring::default_provider());
                let config = ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()?
                    .with_root_certificates(roots)
                    .with_no_client_auth();
                let mut tls = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost")?)?;
                while tls.is_handshaking() {
                    tls.complete_io(&mut stream).context("TLS handshake")?;
                }
                Some(Box::new(tls))
            }
        };
        stream.set_nonblocking(true)?;
        Ok(Self { stream, tls, protocol: server.protocol, received: Vec::with_capacity(8192), due: None })
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.due.is_none()
    }

    /// Sends a request that was due at an instant.
    pub(crate) fn send(&mut self, request: &[u8], due: Instant) -> Result<()> {
        match &mut self.tls {
            None => self.stream.write_all(request)?,
            Some(tls) => {
                tls.writer().write_all(request)?;
                while tls.wants_write() {
                    tls.write_tls(&mut self.stream)?;
                }
            }
        }
        self.due = Some(due);
        Ok(())
    }

    /// When the request whose answer is complete now was due.
    pub(crate) fn poll(&mut self) -> Result<Option<Instant>> {
        if self.due.is_none() || !self.receive()? {
            return Ok(None);
        }
        let Some(length) = answer_length(&self.received, self.protocol)? else { return Ok(None) };
        if self.received.len() < length {
            return Ok(None);
        }
        ensure!(self.received.len() == length, "more than one answer to one request");
        self.received.clear();
        Ok(self.due.take())
    }

    /// Whether anything came.
    fn receive(&mut self) -> Result<bool> {
        let mut buffer = [0; 16 << 10];
        let result = match &mut self.tls {
            None => self.stream.read(&mut buffer),
            Some(tls) => match tls.read_tls(&mut self.stream) {
                Ok(0) => Ok(0),
                Ok(_) => {
                    tls.process_new_packets()?;
                    tls.reader().read(&mut buffer)
                }
                Err(error) => Err(error),
            },
        };
        match result {
            Ok(0) => bail!("the server closed the connection"),
            Ok(length) => {
                self.received.extend_from_slice(buffer.get(..length).unwrap_or_default());
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(io_error(error)),
        }
    }
}

fn io_error(error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("reading an answer")
}

/// The length of the first answer; `None` while its head is not complete.
fn answer_length(received: &[u8], protocol: Protocol) -> Result<Option<usize>> {
    let end = match protocol {
        Protocol::Http => find(received, b"\r\n\r\n").map(|at| at + 4),
        Protocol::Resp => find(received, b"\r\n").map(|at| at + 2),
    };
    let Some(head) = end.and_then(|end| received.get(..end)) else { return Ok(None) };
    let text = std::str::from_utf8(head).context("head of an answer")?;
    let body: usize = match protocol {
        Protocol::Http => {
            ensure!(
                text.starts_with("HTTP/1.1 20"),
                "the server answers {}",
                String::from_utf8_lossy(received)
            );
            let length = text.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            });
            length.context("an answer without Content-Length")?
        }
        Protocol::Resp => {
            let length = text.strip_prefix('$').and_then(|rest| rest.trim_end().parse::<usize>().ok());
            length.with_context(|| format!("Redis answers {text}"))? + 2
        }
    };
    Ok(Some(head.len() + body))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
