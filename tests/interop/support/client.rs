//! A small TURN client over UDP whose messages come from the `stun` crate, for what no ready-made client does on
//! command: sending from a given socket, repeating, forging.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use stun::attributes::{ATTR_MESSAGE_INTEGRITY, ATTR_NONCE, ATTR_REALM, ATTR_USERNAME, AttrType};
use stun::error_code::ErrorCodeAttribute;
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{
    CLASS_INDICATION, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, Getter, METHOD_ALLOCATE, METHOD_CHANNEL_BIND,
    METHOD_CREATE_PERMISSION, METHOD_DATA, METHOD_REFRESH, METHOD_SEND, Message, MessageType, Method, Setter,
};
use stun::xoraddr::XorMappedAddress;

use super::server::{REALM, USER};

pub(crate) const LIFETIME: u16 = 0x000D;
pub(crate) const XOR_PEER_ADDRESS: u16 = 0x0012;
pub(crate) const DATA: u16 = 0x0013;
pub(crate) const XOR_RELAYED_ADDRESS: u16 = 0x0016;
pub(crate) const REQUESTED_TRANSPORT: u16 = 0x0019;
const CHANNEL_NUMBER: u16 = 0x000C;

/// REQUESTED-TRANSPORT for UDP.
pub(crate) const UDP: [u8; 4] = [17, 0, 0, 0];

const ANSWER_LIMIT: Duration = Duration::from_secs(5);
const RETRANSMISSION: Duration = Duration::from_millis(500);

/// One attribute of a request.
pub(crate) enum Attribute {
    Raw(u16, Vec<u8>),
    Peer(SocketAddr),
}

/// What came from a peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Channel(u16, Vec<u8>),
    Data(SocketAddr, Vec<u8>),
}

pub(crate) struct Client {
    socket: UdpSocket,
    username: String,
    password: String,
    realm: String,
    nonce: Option<Vec<u8>>,
    from_peers: VecDeque<Received>,
}

impl Client {
    /// The static user's client, on a new socket of 127.0.0.1.
    pub(crate) fn new(server: SocketAddr) -> Self {
        Self::on(UdpSocket::bind("127.0.0.1:0").unwrap(), server)
    }

    /// The static user's client on `socket`.
    pub(crate) fn on(socket: UdpSocket, server: SocketAddr) -> Self {
        socket.connect(server).unwrap();
        let (username, password) = (USER.0.to_owned(), USER.1.to_owned());
        Self { socket, username, password, realm: REALM.to_owned(), nonce: None, from_peers: VecDeque::new() }
    }

    /// The same with another credential.
    pub(crate) fn with_credential(self, username: String, password: String) -> Self {
        Self { username, password, ..self }
    }

    /// The same with the nonce that another client was given.
    pub(crate) fn with_nonce_of(self, other: &Self) -> Self {
        Self { nonce: other.nonce.clone(), ..self }
    }

    /// The same for a server of another realm.
    pub(crate) fn with_realm(self, realm: &str) -> Self {
        Self { realm: realm.to_owned(), ..self }
    }

    /// Talks to another server from now on, from the same address and with what it knows.
    pub(crate) fn move_to(&self, server: SocketAddr) {
        self.socket.connect(server).unwrap();
    }

    pub(crate) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// The relayed transport address, or the error code.
    pub(crate) fn allocate(&mut self) -> Result<SocketAddr, u16> {
        let answer = self.request(METHOD_ALLOCATE, &[Attribute::Raw(REQUESTED_TRANSPORT, UDP.to_vec())])?;
        Ok(address(&answer, XOR_RELAYED_ADDRESS))
    }

    /// The lifetime that was granted.
    pub(crate) fn refresh(&mut self, seconds: u32) -> Result<u32, u16> {
        let wanted = Attribute::Raw(LIFETIME, seconds.to_be_bytes().to_vec());
        let answer = self.request(METHOD_REFRESH, &[wanted])?;
        let value = answer.get(AttrType(LIFETIME)).unwrap();
        Ok(u32::from_be_bytes(value.try_into().unwrap()))
    }

    pub(crate) fn permit(&mut self, peer: IpAddr) -> Result<(), u16> {
        self.request(METHOD_CREATE_PERMISSION, &[Attribute::Peer(SocketAddr::new(peer, 0))]).map(drop)
    }

    pub(crate) fn bind_channel(&mut self, number: u16, peer: SocketAddr) -> Result<(), u16> {
        let number = Attribute::Raw(CHANNEL_NUMBER, [number.to_be_bytes(), [0, 0]].concat());
        self.request(METHOD_CHANNEL_BIND, &[number, Attribute::Peer(peer)]).map(drop)
    }

    /// A Send indication.
    pub(crate) fn send(&self, peer: SocketAddr, payload: &[u8]) {
        let attributes = [Attribute::Peer(peer), Attribute::Raw(DATA, payload.to_vec())];
        let indication = message(MessageType::new(METHOD_SEND, CLASS_INDICATION), &attributes);
        self.socket.send(&indication.raw).unwrap();
    }

    /// ChannelData.
    pub(crate) fn send_channel(&self, number: u16, payload: &[u8]) {
        let length = u16::try_from(payload.len()).unwrap();
        let datagram = [&number.to_be_bytes(), &length.to_be_bytes(), payload].concat();
        self.socket.send(&datagram).unwrap();
    }

    /// The next thing a peer sent, if it comes within `limit`.
    pub(crate) fn receive(&mut self, limit: Duration) -> Option<Received> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(received) = self.from_peers.pop_front() {
                return Some(received);
            }
            // A response without its request, as a late one is, is of no use.
            drop(self.datagram(deadline)?);
        }
    }

    /// Does the request with the credential, answering challenges; `Err` is the error code.
    pub(crate) fn request(&mut self, method: Method, attributes: &[Attribute]) -> Result<Message, u16> {
        for _ in 0..3 {
            let request = self.signed(method, attributes);
            let answer = self.exchange(&request).expect("the server answers");
            let Some(code) = error_code(&answer) else { return Ok(answer) };
            let challenged = code == 438 || (code == 401 && !request.contains(ATTR_MESSAGE_INTEGRITY));
            if !challenged {
                return Err(code);
            }
            self.nonce = Some(answer.get(ATTR_NONCE).expect("a challenge has a nonce"));
        }
        panic!("challenged again and again");
    }

    /// A request as this client sends it: signed once there is a nonce.
    pub(crate) fn signed(&self, method: Method, attributes: &[Attribute]) -> Message {
        let mut request = message(MessageType::new(method, CLASS_REQUEST), attributes);
        if let Some(nonce) = &self.nonce {
            request.add(ATTR_USERNAME, self.username.as_bytes());
            request.add(ATTR_REALM, self.realm.as_bytes());
            request.add(ATTR_NONCE, nonce);
            let (username, realm, password) = (&self.username, &self.realm, &self.password);
            let key =
                MessageIntegrity::new_long_term_integrity(username.clone(), realm.clone(), password.clone());
            key.add_to(&mut request).unwrap();
        }
        FINGERPRINT.add_to(&mut request).unwrap();
        request
    }

    /// Sends a request, repeating it until its response comes.
    pub(crate) fn exchange(&mut self, request: &Message) -> Option<Message> {
        let give_up = Instant::now() + ANSWER_LIMIT;
        while Instant::now() < give_up {
            // Refused while nobody listens: the next try may find the server.
            drop(self.socket.send(&request.raw));
            let again = Instant::now() + RETRANSMISSION;
            while let Some(answer) = self.datagram(again) {
                if answer.is_some_and_transaction(request) {
                    return answer;
                }
            }
        }
        None
    }

    /// Receives one datagram. `None` at the deadline; `Some(None)` if it was from a peer and has been put aside.
    fn datagram(&mut self, deadline: Instant) -> Option<Option<Message>> {
        let mut buffer = [0; 65_536];
        let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        self.socket.set_read_timeout(Some(left)).unwrap();
        let bytes = match self.socket.recv(&mut buffer) {
            Ok(length) => &buffer[..length],
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
            Err(_) => return Some(None),
        };
        if bytes[0] >= 0x40 {
            let number = u16::from_be_bytes([bytes[0], bytes[1]]);
            let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
            self.from_peers.push_back(Received::Channel(number, bytes[4..4 + length].to_vec()));
            return Some(None);
        }
        let answer = parse(bytes);
        if answer.typ == MessageType::new(METHOD_DATA, CLASS_INDICATION) {
            let payload = answer.get(AttrType(DATA)).unwrap();
            self.from_peers.push_back(Received::Data(address(&answer, XOR_PEER_ADDRESS), payload));
            return Some(None);
        }
        Some(Some(answer))
    }
}

trait Answers {
    fn is_some_and_transaction(&self, request: &Message) -> bool;
}

impl Answers for Option<Message> {
    fn is_some_and_transaction(&self, request: &Message) -> bool {
        self.as_ref().is_some_and(|answer| answer.transaction_id == request.transaction_id)
    }
}

/// A message without credentials.
pub(crate) fn message(kind: MessageType, attributes: &[Attribute]) -> Message {
    let mut message = Message::new();
    message.set_type(kind);
    message.new_transaction_id().unwrap();
    message.write_header();
    for attribute in attributes {
        match attribute {
            Attribute::Raw(number, value) => message.add(AttrType(*number), value),
            Attribute::Peer(peer) => XorMappedAddress { ip: peer.ip(), port: peer.port() }
                .add_to_as(&mut message, AttrType(XOR_PEER_ADDRESS))
                .unwrap(),
        }
    }
    message
}

/// Parses what the server sent; it must be well-formed.
pub(crate) fn parse(bytes: &[u8]) -> Message {
    let mut message = Message::new();
    message
        .unmarshal_binary(bytes)
        .unwrap_or_else(|error| panic!("not a STUN message ({error}): {bytes:02x?}"));
    message
}

/// The error code of an error response.
pub(crate) fn error_code(answer: &Message) -> Option<u16> {
    if answer.typ.class == CLASS_SUCCESS_RESPONSE {
        return None;
    }
    let mut code = ErrorCodeAttribute::default();
    code.get_from(answer).expect("an error response has a code");
    Some(code.code.0)
}

/// An XOR-coded address attribute; it must be there.
pub(crate) fn address(message: &Message, attribute: u16) -> SocketAddr {
    let mut value = XorMappedAddress::default();
    value.get_from_as(message, AttrType(attribute)).unwrap();
    SocketAddr::new(value.ip, value.port)
}
