//! One WebSocket of the load, polled without waiting. Frames go out masked with zeros, which the server has to unmask
//! like any other and which costs the load nothing.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// Read at once.
const CHUNK: usize = 32 << 10;

/// A WebSocket; nothing on it waits.
pub(crate) struct Socket {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// What came and is not taken yet.
    received: Vec<u8>,
    /// What the system did not take yet.
    unsent: Vec<u8>,
    is_open: bool,
}

impl Socket {
    /// Connects and asks for the upgrade; its answer is to be taken with [`upgraded`](Self::upgraded).
    ///
    /// # Errors
    /// The server does not listen, or TLS fails.
    pub(crate) fn connect(server: SocketAddr, tls: Option<&Arc<ClientConfig>>, path: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(server).context("connecting")?;
        stream.set_nodelay(true)?;
        let tls = match tls {
            None => None,
            Some(config) => {
                let mut tls = ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost")?)?;
                while tls.is_handshaking() {
                    tls.complete_io(&mut stream).context("TLS handshake")?;
                }
                Some(Box::new(tls))
            }
        };
        stream.set_nonblocking(true)?;
        let mut socket = Self { stream, tls, received: Vec::new(), unsent: Vec::new(), is_open: false };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: rtc-signal.v1\r\n\r\n"
        );
        socket.write(request.as_bytes())?;
        Ok(socket)
    }

    /// Whether the upgrade was answered by now.
    ///
    /// # Errors
    /// It was refused.
    pub(crate) fn upgraded(&mut self) -> Result<bool> {
        if self.is_open {
            return Ok(true);
        }
        self.receive()?;
        let Some(end) = self.received.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(false);
        };
        ensure!(
            self.received.starts_with(b"HTTP/1.1 101"),
            "refused: {}",
            String::from_utf8_lossy(&self.received)
        );
        self.received.drain(..end + 4);
        self.is_open = true;
        Ok(true)
    }

    /// Sends a text frame.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) fn send(&mut self, text: &[u8]) -> Result<()> {
        self.send_frame(TEXT, text)
    }

    /// Hands each text frame that came to `each`; pings are answered.
    ///
    /// # Errors
    /// The connection broke or the server closed it.
    pub(crate) fn poll(&mut self, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.flush()?;
        if !self.receive()? {
            return Ok(());
        }
        let mut received = std::mem::take(&mut self.received);
        let mut at = 0;
        while let Some((kind, payload, length)) = frame(received.get(at..).unwrap_or_default())? {
            at += length;
            match kind {
                TEXT => each(payload)?,
                PING => self.send_frame(PONG, payload)?,
                PONG => {}
                CLOSE => {
                    let code = payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]));
                    bail!("the server closed with {code:?}");
                }
                _ => bail!("a frame of kind {kind}"),
            }
        }
        received.drain(..at);
        if received.is_empty() && received.capacity() > CHUNK {
            received = Vec::new();
        }
        self.received = received;
        Ok(())
    }

    fn send_frame(&mut self, kind: u8, payload: &[u8]) -> Result<()> {
        let mut head = [0x80 | kind, 0, 0, 0, 0, 0, 0, 0];
        // Without payloads beyond 64 KiB; the mask is zero.
        let length = u16::try_from(payload.len()).context("a frame beyond 64 KiB")?;
        let head_length = if length < 126 {
            head[1] = 0x80 | length as u8;
            6
        } else {
            head[1] = 0x80 | 126;
            head[2..4].copy_from_slice(&length.to_be_bytes());
            8
        };
        let mut whole = Vec::with_capacity(head_length + payload.len());
        whole.extend_from_slice(head.get(..head_length).unwrap_or_default());
        whole.extend_from_slice(payload);
        self.write(&whole)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(bytes)?;
            return self.flush();
        }
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return self.flush();
        }
        match self.stream.write(bytes) {
            Ok(written) => self.unsent.extend_from_slice(bytes.get(written..).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.unsent.extend_from_slice(bytes),
            Err(error) => return Err(error).context("writing"),
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                match tls.write_tls(&mut self.stream) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error).context("writing"),
                }
            }
            return Ok(());
        }
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("writing"),
            }
        }
        Ok(())
    }

    /// Whether anything came.
    fn receive(&mut self) -> Result<bool> {
        let mut buffer = [0; CHUNK];
        let result = match &mut self.tls {
            None => self.stream.read(&mut buffer),
            Some(tls) => match tls.read_tls(&mut self.stream) {
                Ok(0) => Ok(0),
                Ok(_) => {
                    tls.process_new_packets()?;
                    return self.take_decrypted(&mut buffer);
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
            Err(error) => Err(error).context("reading"),
        }
    }

    fn take_decrypted(&mut self, buffer: &mut [u8]) -> Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(false) };
        let mut any = false;
        loop {
            match tls.reader().read(buffer) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(length) => {
                    self.received.extend_from_slice(buffer.get(..length).unwrap_or_default());
                    any = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(any),
                Err(error) => return Err::<bool, io::Error>(error).context("reading"),
            }
        }
    }
}

/// Kind, payload and whole length of the first frame; `None` while it is not complete.
fn frame(bytes: &[u8]) -> Result<Option<(u8, &[u8], usize)>> {
    let (Some(&first), Some(&second)) = (bytes.first(), bytes.get(1)) else { return Ok(None) };
    ensure!(first & 0xf0 == 0x80, "a fragmented or compressed frame");
    ensure!(second & 0x80 == 0, "a masked frame from the server");
    let (start, length) = match second {
        126 => match bytes.get(2..4) {
            Some(length) => (4, usize::from(u16::from_be_bytes([length[0], length[1]]))),
            None => return Ok(None),
        },
        127 => match bytes.get(2..10).and_then(|length| length.try_into().ok()) {
            Some(length) => (10, usize::try_from(u64::from_be_bytes(length))?),
            None => return Ok(None),
        },
        short => (2, usize::from(short)),
    };
    let Some(payload) = bytes.get(start..start + length) else { return Ok(None) };
    Ok(Some((first & 0x0f, payload, start + length)))
}
