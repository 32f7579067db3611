//! A TURN client of a few lines, over a blocking UDP socket.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use iceway::stun::{self, Class, IntegrityKey, Message, Method, TransactionId, Writer, attribute};

use crate::node::{PASSWORD, REALM, USER};

/// How long anything that must arrive may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How long to listen for what must not arrive, after something that must has shown that the server is done.
const SILENCE: Duration = Duration::from_millis(50);

/// One client with at most one allocation.
pub(crate) struct Client {
    socket: UdpSocket,
    username: String,
    key: IntegrityKey,
    nonce: Vec<u8>,
    transactions: u64,
    early: Vec<Incoming>,
}

/// What a client receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// ChannelData.
    Channel { number: u16, payload: Vec<u8> },
    /// A Data indication with data.
    Data { peer: SocketAddr, payload: Vec<u8> },
    /// A Data indication with an ICMP attribute.
    Icmp { peer: SocketAddr, kind: u8, code: u16 },
}

/// What an Allocate asks for beside UDP.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ask {
    /// REQUESTED-ADDRESS-FAMILY: 1 or 2.
    pub(crate) family: Option<u8>,
    /// ADDITIONAL-ADDRESS-FAMILY with IPv6.
    pub(crate) also_ipv6: bool,
}

/// The answer to a request: the attributes of a success, or an error code.
pub(crate) type Answer = Result<Vec<u8>, u16>;

impl Client {
    /// A client of `server`, at a port of its own.
    pub(crate) fn new(server: SocketAddr) -> Self {
        Self::with(server, USER, PASSWORD)
    }

    /// A client of `server` with a credential.
    pub(crate) fn with(server: SocketAddr, username: &str, password: &str) -> Self {
        let ip: IpAddr = server.ip();
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20).unwrap();
        let key = IntegrityKey::new(&stun::long_term_key_md5(username, REALM, password));
        Self {
            socket,
            username: username.to_owned(),
            key,
            nonce: Vec::new(),
            transactions: 0,
            early: Vec::new(),
        }
    }

    /// The client's own address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Allocates, and answers the relayed addresses.
    pub(crate) fn allocate(&mut self, ask: Ask) -> Result<Vec<SocketAddr>, u16> {
        let answer = self.request(Method::ALLOCATE, |writer| {
            writer.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0]).unwrap();
            if let Some(family) = ask.family {
                writer.attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]).unwrap();
            }
            if ask.also_ipv6 {
                writer.attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]).unwrap();
            }
        })?;
        let message = Message::parse(&answer).unwrap();
        let relayed = message
            .attributes()
            .filter(|(attribute, _)| *attribute == attribute::XOR_RELAYED_ADDRESS)
            .map(|(_, value)| stun::xor_address(value, &message.transaction_id()).unwrap());
        Ok(relayed.collect())
    }

    /// Allocates one address of the server's own family.
    pub(crate) fn allocate_one(&mut self) -> SocketAddr {
        let family = if self.address().is_ipv4() { 1 } else { 2 };
        self.allocate(Ask { family: Some(family), ..Ask::default() }).unwrap()[0]
    }

    /// Refreshes for `seconds`; 0 ends the allocation.
    pub(crate) fn refresh(&mut self, seconds: u32) -> Answer {
        self.request(Method::REFRESH, |writer| writer.u32(attribute::LIFETIME, seconds).unwrap())
    }

    /// Permits `peer`.
    pub(crate) fn permit(&mut self, peer: SocketAddr) -> Answer {
        self.request(Method::CREATE_PERMISSION, |writer| {
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer).unwrap();
        })
    }

    /// Binds `number` to `peer`.
    pub(crate) fn bind_channel(&mut self, number: u16, peer: SocketAddr) -> Answer {
        self.request(Method::CHANNEL_BIND, |writer| {
            writer.channel_number(number).unwrap();
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer).unwrap();
        })
    }

    /// A Binding request: the reflexive address.
    pub(crate) fn binding(&mut self) -> SocketAddr {
        let mut buffer = [0; 100];
        let transaction_id = self.next_transaction();
        let bytes =
            Writer::new(&mut buffer, Class::Request, Method::BINDING, transaction_id).unwrap().finish();
        self.send_raw(&buffer[..bytes]);
        let answer = self.await_answer(transaction_id);
        let message = Message::parse(&answer).unwrap();
        let value = message.find(attribute::XOR_MAPPED_ADDRESS).unwrap();
        stun::xor_address(value, &transaction_id).unwrap()
    }

    /// Sends ChannelData.
    pub(crate) fn send_channel(&self, number: u16, payload: &[u8]) {
        self.send_raw(&channel_data(number, payload));
    }

    /// Sends a Send indication.
    pub(crate) fn send_indication(&mut self, peer: SocketAddr, payload: &[u8], dont_fragment: bool) {
        let mut buffer = vec![0; payload.len() + 100];
        let transaction_id = self.next_transaction();
        let mut writer = Writer::new(&mut buffer, Class::Indication, Method::SEND, transaction_id).unwrap();
        writer.xor_address(attribute::XOR_PEER_ADDRESS, peer).unwrap();
        if dont_fragment {
            writer.attribute(attribute::DONT_FRAGMENT, &[]).unwrap();
        }
        writer.attribute(attribute::DATA, payload).unwrap();
        let bytes = writer.finish();
        self.send_raw(&buffer[..bytes]);
    }

    /// Sends bytes as they are.
    pub(crate) fn send_raw(&self, datagram: &[u8]) {
        self.socket.send(datagram).unwrap();
    }

    /// The next thing that arrives and is not an answer.
    pub(crate) fn receive(&mut self) -> Incoming {
        if !self.early.is_empty() {
            return self.early.remove(0);
        }
        incoming(&self.receive_datagram().expect("something arrives in time"))
    }

    /// Checks that the server has nothing more for this client.
    pub(crate) fn expect_silence(&mut self) {
        self.binding();
        assert_eq!(self.early, []);
        self.socket.set_read_timeout(Some(SILENCE)).unwrap();
        let received = self.receive_datagram();
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(received.is_err(), "unexpected: {received:?}");
    }

    /// Sends an authenticated request, again with a fresh nonce if asked to, and awaits its answer.
    fn request(&mut self, method: Method, fill: impl Fn(&mut Writer<'_>)) -> Answer {
        for _ in 0..3 {
            let mut buffer = [0; 1000];
            let transaction_id = self.next_transaction();
            let mut writer = Writer::new(&mut buffer, Class::Request, method, transaction_id).unwrap();
            fill(&mut writer);
            if !self.nonce.is_empty() {
                writer.attribute(attribute::USERNAME, self.username.as_bytes()).unwrap();
                writer.attribute(attribute::REALM, REALM.as_bytes()).unwrap();
                writer.attribute(attribute::NONCE, &self.nonce).unwrap();
                writer.integrity_sha1(&self.key).unwrap();
            }
            let bytes = writer.finish();
            self.send_raw(&buffer[..bytes]);
            let answer = self.await_answer(transaction_id);
            let message = Message::parse(&answer).unwrap();
            if message.class() == Class::Success {
                message.check_sha1(&self.key).expect("a success is authenticated");
                return Ok(answer);
            }
            let (code, _) = stun::error_code(message.find(attribute::ERROR_CODE).unwrap()).unwrap();
            let first = self.nonce.is_empty() && code == 401;
            if !first && code != 438 {
                return Err(code);
            }
            self.nonce = message.find(attribute::NONCE).unwrap().to_vec();
        }
        panic!("the server is never satisfied with its own nonce");
    }

    fn await_answer(&mut self, transaction_id: TransactionId) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let datagram = self.receive_datagram().expect("an answer arrives in time");
            let is_answer = stun::kind(datagram[0]) == stun::Kind::Stun
                && Message::parse(&datagram).is_ok_and(|message| message.transaction_id() == transaction_id);
            if is_answer {
                return datagram;
            }
            self.early.push(incoming(&datagram));
        }
        panic!("no answer came");
    }

    fn receive_datagram(&self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 65_536];
        let bytes = self.socket.recv(&mut buffer)?;
        buffer.truncate(bytes);
        Ok(buffer)
    }

    fn next_transaction(&mut self) -> TransactionId {
        self.transactions += 1;
        let mut id = [0; 12];
        id[..2].copy_from_slice(&self.address().port().to_be_bytes());
        id[4..].copy_from_slice(&self.transactions.to_be_bytes());
        id
    }
}

/// A ChannelData message.
pub(crate) fn channel_data(number: u16, payload: &[u8]) -> Vec<u8> {
    let header = stun::channel_data_header(number, u16::try_from(payload.len()).unwrap());
    [&header, payload].concat()
}

fn incoming(datagram: &[u8]) -> Incoming {
    if stun::kind(datagram[0]) == stun::Kind::ChannelData {
        let (number, payload) = stun::parse_channel_data(datagram).unwrap();
        return Incoming::Channel { number, payload: datagram[payload].to_vec() };
    }
    let message = Message::parse(datagram).unwrap();
    assert_eq!((message.class(), message.method()), (Class::Indication, Method::DATA));
    let peer = message.find(attribute::XOR_PEER_ADDRESS).unwrap();
    let peer = stun::xor_address(peer, &message.transaction_id()).unwrap();
    if let Some(icmp) = message.find(attribute::ICMP) {
        let icmp = stun::icmp(icmp).unwrap();
        return Incoming::Icmp { peer, kind: icmp.kind, code: icmp.code };
    }
    Incoming::Data { peer, payload: message.find(attribute::DATA).unwrap().to_vec() }
}
