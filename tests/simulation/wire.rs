//! The client's side of the wire.

use std::net::SocketAddr;

use iceway::stun::{
    AddressFamily, Class, IntegrityKey, Message, Method, Writer, attribute, long_term_key_md5,
    long_term_key_sha256,
};

use crate::people::{Login, REALM};

/// Which of the ways of RFC 8489 §9.2 a client signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signing {
    /// As RFC 5389: MD5 key, SHA-1, no algorithm named.
    Legacy,
    /// MD5 key, named, SHA-256 integrity.
    Md5,
    /// SHA-256 key and integrity.
    Sha256,
    /// The same, with USERHASH instead of USERNAME.
    Userhash,
}

impl Signing {
    pub(crate) const ALL: [Self; 4] = [Self::Legacy, Self::Md5, Self::Sha256, Self::Userhash];
}

/// One attribute of a request.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Raw(u16, Vec<u8>),
    Address(u16, SocketAddr),
}

impl Part {
    pub(crate) fn lifetime(seconds: u32) -> Self {
        Self::Raw(attribute::LIFETIME, seconds.to_be_bytes().into())
    }

    pub(crate) fn peer(peer: SocketAddr) -> Self {
        Self::Address(attribute::XOR_PEER_ADDRESS, peer)
    }

    pub(crate) fn channel(number: u16) -> Self {
        let [high, low] = number.to_be_bytes();
        Self::Raw(attribute::CHANNEL_NUMBER, vec![high, low, 0, 0])
    }

    pub(crate) fn udp() -> Self {
        Self::Raw(attribute::REQUESTED_TRANSPORT, vec![17, 0, 0, 0])
    }

    pub(crate) fn family(kind: u16, family: AddressFamily) -> Self {
        Self::Raw(kind, vec![family as u8, 0, 0, 0])
    }
}

/// What a client needs to sign.
pub(crate) struct Signature<'a> {
    pub(crate) login: &'a Login,
    pub(crate) signing: Signing,
    pub(crate) nonce: &'a [u8],
    /// PASSWORD-ALGORITHMS as the server sent it.
    pub(crate) algorithms: &'a [u8],
}

pub(crate) fn message(
    class: Class,
    method: Method,
    id: [u8; 12],
    parts: &[Part],
    signature: Option<&Signature<'_>>,
    with_fingerprint: bool,
) -> Vec<u8> {
    let mut buffer = vec![0; 4096];
    let mut writer = Writer::new(&mut buffer, class, method, id).unwrap();
    for part in parts {
        match part {
            Part::Raw(kind, value) => writer.attribute(*kind, value).unwrap(),
            Part::Address(kind, address) => writer.xor_address(*kind, *address).unwrap(),
        }
    }
    if let Some(signature) = signature {
        sign(&mut writer, signature);
    }
    if with_fingerprint {
        writer.fingerprint().unwrap();
    }
    let bytes = writer.finish();
    buffer.truncate(bytes);
    buffer
}

fn sign(writer: &mut Writer<'_>, signature: &Signature<'_>) {
    let Signature { login, signing, nonce, algorithms } = signature;
    let offered = |writer: &mut Writer<'_>, chosen: u16| {
        writer.password_algorithms(attribute::PASSWORD_ALGORITHM, &[chosen]).unwrap();
    };
    if *signing == Signing::Userhash {
        writer.attribute(attribute::USERHASH, &iceway::stun::userhash(&login.username, REALM)).unwrap();
    } else {
        writer.attribute(attribute::USERNAME, login.username.as_bytes()).unwrap();
    }
    writer.attribute(attribute::REALM, REALM.as_bytes()).unwrap();
    writer.attribute(attribute::NONCE, nonce).unwrap();
    let md5 = IntegrityKey::new(&long_term_key_md5(&login.username, REALM, &login.password));
    if *signing == Signing::Legacy {
        return writer.integrity_sha1(&md5).unwrap();
    }
    writer.attribute(attribute::PASSWORD_ALGORITHMS, algorithms).unwrap();
    if *signing == Signing::Md5 {
        offered(writer, 1);
        return writer.integrity_sha256(&md5).unwrap();
    }
    offered(writer, 2);
    let key = IntegrityKey::new(&long_term_key_sha256(&login.username, REALM, &login.password));
    writer.integrity_sha256(&key).unwrap();
}

/// Whether the integrity of `message` is the one of this username and password.
pub(crate) fn is_signed_by(message: &Message<'_>, username: &str, password: &str) -> bool {
    let md5 = IntegrityKey::new(&long_term_key_md5(username, REALM, password));
    if message.check_sha1(&md5).is_ok() || message.check_sha256(&md5).is_ok() {
        return true;
    }
    let sha256 = IntegrityKey::new(&long_term_key_sha256(username, REALM, password));
    message.check_sha256(&sha256).is_ok()
}

pub(crate) fn channel_data(number: u16, payload: &[u8], is_padded: bool) -> Vec<u8> {
    let mut bytes = iceway::stun::channel_data_header(number, payload.len() as u16).to_vec();
    bytes.extend_from_slice(payload);
    if is_padded {
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}
