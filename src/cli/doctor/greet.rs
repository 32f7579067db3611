//! The first words to a server, in our own STUN: whether it answers at all, who it thinks we are, and what it says to
//! somebody without a credential. The `turn` crate's client says too little when something is wrong.

use std::{io, net::SocketAddr, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::link::Link;
use crate::stun::{
    Class, HEADER_BYTES, Message, Method, TransactionId, Writer, attribute, error_code, text, xor_address,
};

/// UDP that is not answered by then is not.
const ANSWER_MAX: Duration = Duration::from_millis(3500);
/// The first retransmission; each further one waits twice as long.
const RETRANSMIT_FIRST: Duration = Duration::from_millis(300);
/// A message is far smaller.
const MESSAGE_BYTES_MAX: usize = 2048;
const UDP: u8 = 17;

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Silence {
    #[error("nothing listens there: the packet is refused")]
    Refused,
    #[error("no answer")]
    Silent,
    #[error("the connection is closed without an answer")]
    Closed,
    #[error("what answers is no STUN server")]
    Foreign,
}

/// What a server said to a Binding request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Greeting {
    /// Who it thinks we are.
    pub(super) mapped: Option<SocketAddr>,
    pub(super) took: Duration,
}

/// What it said to an Allocate request without a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Welcome {
    /// Who are you? With the realm.
    Challenge(String),
    /// Come in: an open relay.
    Open,
    /// Another error, with its reason phrase.
    Refused(u16, String),
}

/// # Errors
/// See [`Silence`].
pub(super) async fn bind(link: &Link) -> Result<Greeting, Silence> {
    let id = transaction();
    let mut request = [0; HEADER_BYTES];
    let length = Writer::new(&mut request, Class::Request, Method::BINDING, id).map(Writer::finish);
    let request = request.get(..length.unwrap_or_default()).unwrap_or_default();
    let started = Instant::now();
    let answer = ask(link, request, id).await?;
    let took = started.elapsed();
    let message = Message::parse(&answer).map_err(|_| Silence::Foreign)?;
    let mapped = message.find(attribute::XOR_MAPPED_ADDRESS);
    Ok(Greeting { mapped: mapped.and_then(|value| xor_address(value, &id).ok()), took })
}

/// # Errors
/// See [`Silence`].
pub(super) async fn knock(link: &Link) -> Result<Welcome, Silence> {
    let id = transaction();
    let mut buffer = [0; 64];
    let written = Writer::new(&mut buffer, Class::Request, Method::ALLOCATE, id).and_then(|mut writer| {
        writer.requested_transport(UDP)?;
        Ok(writer.finish())
    });
    let request = buffer.get(..written.unwrap_or_default()).unwrap_or_default();
    let answer = ask(link, request, id).await?;
    let message = Message::parse(&answer).map_err(|_| Silence::Foreign)?;
    if message.class() == Class::Success {
        return Ok(Welcome::Open);
    }
    let error = message.find(attribute::ERROR_CODE).and_then(|value| error_code(value).ok());
    let (code, reason) = error.ok_or(Silence::Foreign)?;
    if code == 401 {
        let realm = message.find(attribute::REALM).and_then(|value| text(value, MESSAGE_BYTES_MAX).ok());
        return Ok(Welcome::Challenge(realm.unwrap_or_default().to_owned()));
    }
    Ok(Welcome::Refused(code, reason.to_owned()))
}

/// The answer to a request, which is sent again until there is one.
async fn ask(link: &Link, request: &[u8], id: TransactionId) -> Result<Vec<u8>, Silence> {
    let over = Instant::now() + ANSWER_MAX;
    let is_datagram = link.as_any().is::<tokio::net::UdpSocket>();
    let mut wait = RETRANSMIT_FIRST;
    while Instant::now() < over {
        link.send(request).await.map_err(|error| broken(&error))?;
        let until = if is_datagram { over.min(Instant::now() + wait) } else { over };
        wait *= 2;
        match timeout_at(until, answer_to(link, id)).await {
            Ok(answer) => return answer,
            Err(_) => continue,
        }
    }
    Err(Silence::Silent)
}

async fn answer_to(link: &Link, id: TransactionId) -> Result<Vec<u8>, Silence> {
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    loop {
        let length = link.recv(&mut buffer).await.map_err(|error| broken(&error))?;
        let bytes = buffer.get(..length).unwrap_or_default();
        let message = Message::parse(bytes).map_err(|_| Silence::Foreign)?;
        if message.transaction_id() == id {
            return Ok(bytes.to_vec());
        }
    }
}

fn broken(error: &webrtc_util::Error) -> Silence {
    let webrtc_util::Error::Io(error) = error else { return Silence::Closed };
    let is = |kind| error.0.kind() == kind;
    if is(io::ErrorKind::ConnectionRefused) {
        Silence::Refused
    } else if is(io::ErrorKind::InvalidData) {
        Silence::Foreign
    } else {
        Silence::Closed
    }
}

fn transaction() -> TransactionId {
    let mut id = TransactionId::default();
    // Without randomness it is one that can be guessed, which harms nobody here.
    getrandom::fill(&mut id).unwrap_or_default();
    id
}
