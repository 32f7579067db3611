//! Sessions of the load, in the dialect of each server.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::{server::Server, socket::Socket};

/// Sessions that are set up at once.
const AT_ONCE: usize = 64;
/// Frames between two acknowledgements, as the protocol asks of clients.
const ACK_EVERY: u64 = 16;
const PATIENCE: Duration = Duration::from_secs(30);

/// Who opens a session, and with what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hello {
    /// Which of the server's processes.
    pub(crate) node: usize,
    /// The first frame of the client.
    pub(crate) frame: String,
    /// What a session that is resumed has seen.
    pub(crate) seq: u64,
}

/// A session with its socket.
pub(crate) struct Session {
    socket: Socket,
    /// As others name it.
    pub(crate) name: String,
    /// The answer to hello.
    pub(crate) welcome: String,
    /// The last stateful frame that came.
    pub(crate) seq: u64,
    acked: u64,
    acks: bool,
    is_socket_io: bool,
    /// Frames that came with the welcome.
    early: Vec<Vec<u8>>,
}

/// The hello of a user with a token of its own.
pub(crate) fn hello(server: &Server, user: &str, node: usize) -> Hello {
    let frame = if server.kind.is_socket_io() {
        "40".to_owned()
    } else {
        let token =
            if server.kind.is_iceway() { server.issuer.token(user, "bench") } else { user.to_owned() };
        format!(r#"{{"id":"1","type":"hello","v":1,"token":"{token}"}}"#)
    };
    Hello { node, frame, seq: 0 }
}

/// Opens a session for each, some at once.
///
/// # Errors
/// One is refused.
pub(crate) fn open_all(server: &Server, hellos: &[Hello]) -> Result<Vec<Session>> {
    let mut sessions = Vec::with_capacity(hellos.len());
    for some in hellos.chunks(AT_ONCE) {
        sessions.extend(open_some(server, some)?);
    }
    Ok(sessions)
}

fn open_some(server: &Server, hellos: &[Hello]) -> Result<Vec<Session>> {
    let connect = |hello: &Hello| {
        let address = server.addresses.get(hello.node).copied().context("no such node")?;
        Socket::connect(address, server.tls.as_ref(), server.path())
    };
    let mut sockets: Vec<Socket> = hellos.iter().map(connect).collect::<Result<_>>()?;
    for (socket, hello) in sockets.iter_mut().zip(hellos) {
        wait(|| socket.upgraded()).context("upgrade")?;
        socket.send(hello.frame.as_bytes())?;
    }
    let is_socket_io = server.kind.is_socket_io();
    let welcomed = |(mut socket, hello): (Socket, &Hello)| {
        let mut welcome = None;
        let mut early = Vec::new();
        wait(|| {
            socket.poll(|frame| {
                // Socket.IO says 0{…} first, the name of the session with 40{…}.
                if welcome.is_some() {
                    early.push(frame.to_vec());
                } else if !is_socket_io || frame.starts_with(b"40") {
                    welcome = Some(String::from_utf8_lossy(frame).into_owned());
                }
                Ok(())
            })?;
            Ok(welcome.is_some())
        })
        .context("welcome")?;
        let welcome = welcome.unwrap_or_default();
        let name = text(welcome.as_bytes(), if is_socket_io { "sid" } else { "session" });
        let name = name.with_context(|| format!("not welcome: {welcome}"))?.to_owned();
        let acks = server.kind.is_iceway();
        let seq = hello.seq;
        Ok(Session { socket, name, welcome, seq, acked: seq, acks, is_socket_io, early })
    };
    sockets.into_iter().zip(hellos).map(welcomed).collect()
}

impl Session {
    /// Sends a text frame as it is.
    pub(crate) fn send(&mut self, text: &str) -> Result<()> {
        self.socket.send(text.as_bytes())
    }

    /// Hands each frame to `each`; acknowledges what is to be acknowledged.
    ///
    /// # Errors
    /// The connection broke, a number is missing, or the server refuses something.
    pub(crate) fn poll(&mut self, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let Self { socket, seq, is_socket_io, .. } = self;
        let mut is_asked = false;
        let mut take = |frame: &[u8]| {
            if *is_socket_io && frame == b"2" {
                is_asked = true;
                return Ok(());
            }
            if let Some(found) = number(frame) {
                ensure!(found == *seq + 1, "frame {found} came after {seq}");
                *seq = found;
            }
            ensure!(!is_error(frame), "refused: {}", String::from_utf8_lossy(frame));
            each(frame)
        };
        for frame in std::mem::take(&mut self.early) {
            take(&frame)?;
        }
        socket.poll(take)?;
        if is_asked {
            self.socket.send(b"3")?;
        }
        if self.acks && self.seq >= self.acked + ACK_EVERY {
            self.ack()?;
        }
        Ok(())
    }

    /// Acknowledges everything.
    pub(crate) fn ack(&mut self) -> Result<()> {
        self.acked = self.seq;
        let ack = format!(r#"{{"type":"ack","seq":{}}}"#, self.seq);
        self.socket.send(ack.as_bytes())
    }

    /// The frame with which another session sends to this one.
    pub(crate) fn message(&self, data: &str) -> String {
        if self.is_socket_io {
            format!(r#"42["message",{{"to":{{"session":"{}"}},"data":"{data}"}}]"#, self.name)
        } else {
            format!(r#"{{"type":"message","to":{{"session":"{}"}},"data":"{data}"}}"#, self.name)
        }
    }
}

/// The `seq` of a stateful frame, which stands first.
fn number(frame: &[u8]) -> Option<u64> {
    let digits = frame.strip_prefix(br#"{"seq":"#)?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
}

/// Whether it is an `error`: its type stands after a number or the name of a request.
fn is_error(frame: &[u8]) -> bool {
    const TYPE: &[u8] = br#""type":"error""#;
    frame.get(..frame.len().min(128)).unwrap_or_default().windows(TYPE.len()).any(|window| window == TYPE)
}

/// The value of the first member of this name that is a string without escapes.
pub(crate) fn text<'a>(frame: &'a [u8], name: &str) -> Option<&'a str> {
    let key = format!("\"{name}\":\"");
    let at = frame.windows(key.len()).position(|window| window == key.as_bytes())? + key.len();
    let rest = frame.get(at..)?;
    std::str::from_utf8(rest.get(..rest.iter().position(|&byte| byte == b'"')?)?).ok()
}

/// Looks again and again until something is so.
pub(crate) fn wait(mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so()? {
        ensure!(Instant::now() < deadline, "nothing came for {PATIENCE:?}");
        std::hint::spin_loop();
    }
    Ok(())
}
