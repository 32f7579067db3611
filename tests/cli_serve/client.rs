//! A TURN client of a few lines, over a blocking UDP socket.

use std::{
    net::{SocketAddr, UdpSocket},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use iceway::{
    credentials::{KeyId, Secret, mint},
    stun::{self, Class, IntegrityKey, Message, Method, Writer, attribute},
};

use crate::process::PATIENCE;

pub(crate) const SECRET: &str = "north0123456789abcdef";
pub(crate) const USER: &str = "alice-in-wonderland";

/// A client with a credential.
pub(crate) struct Client {
    socket: UdpSocket,
    pub(crate) username: String,
    pub(crate) password: String,
    realm: String,
    nonce: Vec<u8>,
    transactions: u8,
}

impl Client {
    /// With a credential of the tests' secret.
    pub(crate) fn new(server: SocketAddr) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let secret = Secret::new(KeyId::new("default").unwrap(), SECRET.as_bytes());
        let credential = mint(&secret, USER, Duration::from_secs(3600), now);
        Self::with(server, &credential.username, credential.password.as_str())
    }

    pub(crate) fn with(server: SocketAddr, username: &str, password: &str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let (username, password) = (username.to_owned(), password.to_owned());
        Self { socket, username, password, realm: String::new(), nonce: Vec::new(), transactions: 0 }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Allocates: the relayed address, or an error code.
    pub(crate) fn allocate(&mut self) -> Result<SocketAddr, u16> {
        let challenge = self.exchange(Method::ALLOCATE, |writer| writer.requested_transport(17).unwrap());
        let challenge = Message::parse(&challenge).unwrap();
        self.realm = String::from_utf8(challenge.find(attribute::REALM).unwrap().to_vec()).unwrap();
        self.nonce = challenge.find(attribute::NONCE).unwrap().to_vec();
        let answer = self.exchange(Method::ALLOCATE, |writer| writer.requested_transport(17).unwrap());
        let answer = succeeded(&answer)?;
        let value = answer.find(attribute::XOR_RELAYED_ADDRESS).unwrap();
        Ok(stun::xor_address(value, &answer.transaction_id()).unwrap())
    }

    /// Refreshes an allocation for so many seconds; 0 ends it.
    pub(crate) fn refresh(&mut self, seconds: u32) -> Result<(), u16> {
        let answer =
            self.exchange(Method::REFRESH, |writer| writer.u32(attribute::LIFETIME, seconds).unwrap());
        succeeded(&answer).map(|_| ())
    }

    /// A request, authenticated once there is a nonce, and its answer.
    fn exchange(&mut self, method: Method, fill: impl Fn(&mut Writer<'_>)) -> Vec<u8> {
        self.transactions += 1;
        let mut buffer = [0; 1200];
        let mut writer = Writer::new(&mut buffer, Class::Request, method, [self.transactions; 12]).unwrap();
        fill(&mut writer);
        if !self.nonce.is_empty() {
            writer.attribute(attribute::USERNAME, self.username.as_bytes()).unwrap();
            writer.attribute(attribute::REALM, self.realm.as_bytes()).unwrap();
            writer.attribute(attribute::NONCE, &self.nonce).unwrap();
            let key = stun::long_term_key_md5(&self.username, &self.realm, &self.password);
            writer.integrity_sha1(&IntegrityKey::new(&key)).unwrap();
        }
        let bytes = writer.finish();
        self.socket.send(&buffer[..bytes]).unwrap();
        let mut answer = [0; 1500];
        let bytes = self.socket.recv(&mut answer).unwrap();
        answer[..bytes].to_vec()
    }
}

/// The answer, or its error code.
fn succeeded(answer: &[u8]) -> Result<Message<'_>, u16> {
    let answer = Message::parse(answer).unwrap();
    match answer.class() {
        Class::Success => Ok(answer),
        Class::Request | Class::Indication | Class::Error => {
            Err(stun::error_code(answer.find(attribute::ERROR_CODE).unwrap()).unwrap().0)
        }
    }
}
