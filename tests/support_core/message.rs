//! Messages as a client writes and reads them.

use std::net::SocketAddr;

use iceway::stun::{
    self, AddressFamily, Class, IntegrityKey, Message, Method, TransactionId, Writer, attribute,
};

/// A request or indication in the making.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) class: Class,
    pub(crate) method: Method,
    pub(crate) transaction_id: TransactionId,
    pub(crate) attributes: Vec<(u16, Vec<u8>)>,
    pub(crate) fingerprint: bool,
}

impl Request {
    pub(crate) fn new(method: Method) -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mut transaction_id = *b"test........";
        transaction_id[4..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        Self { class: Class::Request, method, transaction_id, attributes: Vec::new(), fingerprint: false }
    }

    pub(crate) fn allocate() -> Self {
        Self::new(Method::ALLOCATE).with(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
    }

    pub(crate) fn refresh(lifetime: u32) -> Self {
        Self::new(Method::REFRESH).lifetime(lifetime)
    }

    pub(crate) fn create_permission(peers: &[&str]) -> Self {
        peers.iter().fold(Self::new(Method::CREATE_PERMISSION), |request, peer| request.peer(peer))
    }

    pub(crate) fn channel_bind(number: u16, peer: &str) -> Self {
        let [high, low] = number.to_be_bytes();
        Self::new(Method::CHANNEL_BIND).with(attribute::CHANNEL_NUMBER, &[high, low, 0, 0]).peer(peer)
    }

    pub(crate) fn send(peer: &str, data: &[u8]) -> Self {
        let request = Self::new(Method::SEND).peer(peer).with(attribute::DATA, data);
        Self { class: Class::Indication, ..request }
    }

    pub(crate) fn with(mut self, attribute: u16, value: &[u8]) -> Self {
        self.attributes.push((attribute, value.to_vec()));
        self
    }

    pub(crate) fn without(mut self, attribute: u16) -> Self {
        self.attributes.retain(|(found, _)| *found != attribute);
        self
    }

    pub(crate) fn lifetime(self, seconds: u32) -> Self {
        self.with(attribute::LIFETIME, &seconds.to_be_bytes())
    }

    pub(crate) fn peer(self, peer: &str) -> Self {
        let value = xor_address(peer.parse().unwrap(), &self.transaction_id);
        self.with(attribute::XOR_PEER_ADDRESS, &value)
    }

    pub(crate) fn family(self, family: AddressFamily) -> Self {
        self.with(attribute::REQUESTED_ADDRESS_FAMILY, &[family as u8, 0, 0, 0])
    }

    pub(crate) fn also_ipv6(self) -> Self {
        self.with(attribute::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0])
    }

    pub(crate) fn even_port(self, reserve: bool) -> Self {
        self.with(attribute::EVEN_PORT, &[u8::from(reserve) << 7])
    }

    pub(crate) fn fingerprint(mut self) -> Self {
        self.fingerprint = true;
        self
    }

    /// The message without integrity.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.write(|_| ())
    }

    pub(crate) fn write(&self, sign: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut buffer = vec![0; 70_000];
        let mut writer = Writer::new(&mut buffer, self.class, self.method, self.transaction_id).unwrap();
        for (attribute, value) in &self.attributes {
            writer.attribute(*attribute, value).unwrap();
        }
        sign(&mut writer);
        if self.fingerprint {
            writer.fingerprint().unwrap();
        }
        let bytes = writer.finish();
        buffer.truncate(bytes);
        buffer
    }
}

fn xor_address(address: SocketAddr, transaction_id: &TransactionId) -> Vec<u8> {
    let mut buffer = [0; 64];
    let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, *transaction_id).unwrap();
    writer.xor_address(attribute::XOR_PEER_ADDRESS, address).unwrap();
    let bytes = writer.finish();
    buffer[24..bytes].to_vec()
}

/// A message from the server.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Message::parse(bytes).expect("the server writes well-formed messages");
        Self { bytes: bytes.to_vec() }
    }

    pub(crate) fn message(&self) -> Message<'_> {
        Message::parse(&self.bytes).unwrap()
    }

    pub(crate) fn is_success(&self) -> bool {
        self.message().class() == Class::Success
    }

    /// The error code; 0 for success.
    pub(crate) fn code(&self) -> u16 {
        let message = self.message();
        match message.class() {
            Class::Success => 0,
            Class::Error => {
                let (code, reason) = stun::error_code(message.find(attribute::ERROR_CODE).unwrap()).unwrap();
                assert_eq!(reason, "", "reason phrases are empty");
                code
            }
            other => panic!("not a response: {other:?}"),
        }
    }

    pub(crate) fn has(&self, attribute: u16) -> bool {
        self.message().find(attribute).is_some()
    }

    pub(crate) fn value(&self, attribute: u16) -> Vec<u8> {
        self.message()
            .find(attribute)
            .unwrap_or_else(|| panic!("attribute {attribute:#06x} is missing"))
            .to_vec()
    }

    pub(crate) fn types(&self) -> Vec<u16> {
        self.message().attributes().map(|(found, _)| found).collect()
    }

    pub(crate) fn lifetime(&self) -> u32 {
        stun::u32_value(&self.value(attribute::LIFETIME)).unwrap()
    }

    /// Every XOR-RELAYED-ADDRESS.
    pub(crate) fn relayed(&self) -> Vec<SocketAddr> {
        let message = self.message();
        let values = message.attributes().filter(|(found, _)| *found == attribute::XOR_RELAYED_ADDRESS);
        values.map(|(_, value)| stun::xor_address(value, &message.transaction_id()).unwrap()).collect()
    }

    pub(crate) fn address(&self, attribute: u16) -> SocketAddr {
        stun::xor_address(&self.value(attribute), &self.message().transaction_id()).unwrap()
    }

    pub(crate) fn is_signed_sha1(&self, key: &IntegrityKey) -> bool {
        self.message().check_sha1(key).is_ok() && !self.has(attribute::MESSAGE_INTEGRITY_SHA256)
    }

    pub(crate) fn is_signed_sha256(&self, key: &IntegrityKey) -> bool {
        self.message().check_sha256(key).is_ok() && !self.has(attribute::MESSAGE_INTEGRITY)
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let message = self.message();
        write!(formatter, "{:?} {:?} {:04x?}", message.class(), message.method(), self.types())
    }
}
