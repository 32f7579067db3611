//! A TURN client of a few lines, over any byte stream.

use std::{net::SocketAddr, sync::Arc};

use iceway::stun::{
    self, AddressFamily, Class, Frame, IntegrityKey, Message, Method, TransactionId, Writer, attribute,
    next_frame, padding,
};
use rustls::ClientConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::node::{PASSWORD, REALM, TestNode, USER};

/// One client with at most one allocation.
pub(crate) struct Client<S> {
    pub(crate) stream: S,
    received: Vec<u8>,
    key: IntegrityKey,
    nonce: Vec<u8>,
    transactions: u64,
    /// Whatever came while an answer was waited for.
    pub(crate) early: Vec<Vec<u8>>,
    /// Writes byte by byte.
    pub(crate) trickles: bool,
}

/// Connects with TCP.
pub(crate) async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    // A connection that is refused may be reset before this.
    stream.set_nodelay(true).ok();
    stream
}

/// Connects with TLS and trusts the node's authority.
pub(crate) async fn connect_tls(node: &TestNode, address: SocketAddr) -> TlsStream<TcpStream> {
    connect_tls_with(node.authority().client_config(), address).await.unwrap()
}

/// Connects with TLS.
pub(crate) async fn connect_tls_with(
    config: impl Into<Arc<ClientConfig>>,
    address: SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = "localhost".try_into().unwrap();
    TlsConnector::from(config.into()).connect(name, connect(address).await).await
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn new(stream: S) -> Self {
        let key = IntegrityKey::new(&stun::long_term_key_md5(USER, REALM, PASSWORD));
        Self {
            stream,
            received: Vec::new(),
            key,
            nonce: Vec::new(),
            transactions: 0,
            early: Vec::new(),
            trickles: false,
        }
    }

    /// Allocates an IPv4 address and answers it.
    pub(crate) async fn allocate(&mut self) -> SocketAddr {
        self.allocate_family(AddressFamily::Ipv4).await
    }

    /// Allocates an address of `family` and answers it.
    pub(crate) async fn allocate_family(&mut self, family: AddressFamily) -> SocketAddr {
        let answer = self
            .request(Method::ALLOCATE, |writer| {
                writer.requested_transport(17).unwrap();
                writer.address_family(attribute::REQUESTED_ADDRESS_FAMILY, family).unwrap();
            })
            .await
            .unwrap();
        let message = Message::parse(&answer).unwrap();
        let relayed = message.find(attribute::XOR_RELAYED_ADDRESS).unwrap();
        stun::xor_address(relayed, &message.transaction_id()).unwrap()
    }

    /// Refreshes for `seconds`.
    pub(crate) async fn refresh(&mut self, seconds: u32) {
        self.request(Method::REFRESH, |writer| writer.u32(attribute::LIFETIME, seconds).unwrap())
            .await
            .unwrap();
    }

    /// Permits `peer`.
    pub(crate) async fn permit(&mut self, peer: SocketAddr) {
        self.request(Method::CREATE_PERMISSION, |writer| {
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer).unwrap();
        })
        .await
        .unwrap();
    }

    /// Binds `number` to `peer`.
    pub(crate) async fn bind_channel(&mut self, number: u16, peer: SocketAddr) {
        self.request(Method::CHANNEL_BIND, |writer| {
            writer.channel_number(number).unwrap();
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer).unwrap();
        })
        .await
        .unwrap();
    }

    /// Asks for the reflexive address.
    pub(crate) async fn binding(&mut self) -> SocketAddr {
        let transaction_id = self.next_transaction();
        self.write(&binding_request(transaction_id)).await;
        let answer = self.answer(transaction_id).await;
        let message = Message::parse(&answer).unwrap();
        stun::xor_address(message.find(attribute::XOR_MAPPED_ADDRESS).unwrap(), &transaction_id).unwrap()
    }

    /// Sends `payload` to `peer` in a Send indication.
    pub(crate) async fn send_indication(&mut self, peer: SocketAddr, payload: &[u8]) {
        let mut buffer = vec![0; payload.len() + 100];
        let transaction_id = self.next_transaction();
        let mut writer = Writer::new(&mut buffer, Class::Indication, Method::SEND, transaction_id).unwrap();
        writer.xor_address(attribute::XOR_PEER_ADDRESS, peer).unwrap();
        writer.attribute(attribute::DATA, payload).unwrap();
        let bytes = writer.finish();
        self.write(&buffer[..bytes]).await;
    }

    /// Writes bytes as they are.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let pieces = if self.trickles { 1 } else { bytes.len() };
        for piece in bytes.chunks(pieces.max(1)) {
            self.stream.write_all(piece).await.unwrap();
            self.stream.flush().await.unwrap();
        }
    }

    /// The next message, padding included; what came early first.
    pub(crate) async fn receive(&mut self) -> Vec<u8> {
        if self.early.is_empty() { self.receive_message().await } else { self.early.remove(0) }
    }

    async fn receive_message(&mut self) -> Vec<u8> {
        loop {
            match next_frame(&self.received) {
                Frame::Complete { consumed, .. } => return self.received.drain(..consumed).collect(),
                Frame::Incomplete { .. } => {
                    let read = self.stream.read_buf(&mut self.received).await.unwrap();
                    assert!(read > 0, "the server closed the connection");
                }
                Frame::Invalid(error) => panic!("the server's stream is broken: {error}"),
            }
        }
    }

    /// Sends an authenticated request, again with a fresh nonce if asked to, and awaits its answer.
    async fn request(&mut self, method: Method, fill: impl Fn(&mut Writer<'_>)) -> Result<Vec<u8>, u16> {
        for _ in 0..3 {
            let mut buffer = [0; 1000];
            let transaction_id = self.next_transaction();
            let mut writer = Writer::new(&mut buffer, Class::Request, method, transaction_id).unwrap();
            fill(&mut writer);
            if !self.nonce.is_empty() {
                writer.attribute(attribute::USERNAME, USER.as_bytes()).unwrap();
                writer.attribute(attribute::REALM, REALM.as_bytes()).unwrap();
                writer.attribute(attribute::NONCE, &self.nonce).unwrap();
                writer.integrity_sha1(&self.key).unwrap();
            }
            let bytes = writer.finish();
            self.write(&buffer[..bytes]).await;
            let answer = self.answer(transaction_id).await;
            let message = Message::parse(&answer).unwrap();
            if message.class() == Class::Success {
                message.check_sha1(&self.key).expect("a success is authenticated");
                return Ok(answer);
            }
            let (code, _) = stun::error_code(message.find(attribute::ERROR_CODE).unwrap()).unwrap();
            if code != 438 && !(code == 401 && self.nonce.is_empty()) {
                return Err(code);
            }
            self.nonce = message.find(attribute::NONCE).unwrap().to_vec();
        }
        panic!("the server is never satisfied with its own nonce");
    }

    async fn answer(&mut self, transaction_id: TransactionId) -> Vec<u8> {
        loop {
            let message = self.receive_message().await;
            let is_answer = stun::kind(message[0]) == stun::Kind::Stun
                && Message::parse(&message).is_ok_and(|message| message.transaction_id() == transaction_id);
            if is_answer {
                return message;
            }
            self.early.push(message);
        }
    }

    fn next_transaction(&mut self) -> TransactionId {
        self.transactions += 1;
        let mut id = [0; 12];
        id[4..].copy_from_slice(&self.transactions.to_be_bytes());
        id
    }
}

/// A Binding request.
pub(crate) fn binding_request(transaction_id: TransactionId) -> Vec<u8> {
    let mut buffer = [0; 20];
    let bytes = Writer::new(&mut buffer, Class::Request, Method::BINDING, transaction_id).unwrap().finish();
    buffer[..bytes].to_vec()
}

/// A ChannelData message with its padding.
pub(crate) fn channel_data(number: u16, payload: &[u8]) -> Vec<u8> {
    let header = stun::channel_data_header(number, u16::try_from(payload.len()).unwrap());
    [&header[..], payload, &[0; 3][..padding(payload.len())]].concat()
}

/// The peer and the payload of a Data indication.
pub(crate) fn data(message: &[u8]) -> (SocketAddr, Vec<u8>) {
    let message = Message::parse(message).unwrap();
    assert_eq!((message.class(), message.method()), (Class::Indication, Method::DATA));
    let peer = message.find(attribute::XOR_PEER_ADDRESS).unwrap();
    let peer = stun::xor_address(peer, &message.transaction_id()).unwrap();
    (peer, message.find(attribute::DATA).unwrap().to_vec())
}
