//! Properties of the codec over generated and mangled input.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use iceway::stun::{
    AddressFamily, Class, Frame, HEADER_BYTES, Icmp, Integrity, IntegrityError, IntegrityKey, Kind, Message,
    Method, ParseError, SendIndication, SendIndicationError, Writer, address, address_error_code,
    address_family, attribute, channel_data_header, channel_number, data_indication_header, error_code,
    even_port, icmp, is_comprehension_required, is_send_indication, kind, next_frame, padding,
    parse_channel_data, password_algorithms, requested_transport, reservation_token, text, u32_value,
    unknown_attributes, xor_address,
};
use proptest::{collection::vec, prelude::*, sample::Index};

/// An attribute with the meaning its RFC gives it.
#[derive(Clone, Debug, PartialEq)]
enum Attribute {
    Opaque(u16, Vec<u8>),
    Number(u32),
    XorAddress(u16, SocketAddr),
    Address(u16, SocketAddr),
    ErrorCode(u16, String),
    AddressErrorCode(AddressFamily, u16, String),
    Unknown(Vec<u16>),
    PasswordAlgorithms(Vec<u16>),
    Channel(u16),
    Family(u16, AddressFamily),
    Transport(u8),
    EvenPort(bool),
    Token([u8; 8]),
    Icmp(u8, u16, u32),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_written_is_read_back(
        method in 0_u16..0x1000, class in class(), id in any::<[u8; 12]>(),
        attributes in vec(attribute(), 0..12), sign_sha1: bool, sign_sha256: bool, fingerprint: bool, key in vec(any::<u8>(), 1..100),
    ) {
        let key = IntegrityKey::new(&key);
        let mut buffer = [0xAA; 4096];
        let mut writer = Writer::new(&mut buffer, class, Method(method), id).unwrap();
        attributes.iter().for_each(|attribute| attribute.write(&mut writer));
        if sign_sha1 { writer.integrity_sha1(&key).unwrap() }
        if sign_sha256 { writer.integrity_sha256(&key).unwrap() }
        if fingerprint { writer.fingerprint().unwrap() }
        let bytes = writer.finish();

        let message = Message::parse(&buffer[..bytes]).unwrap();
        prop_assert_eq!((message.class(), message.method(), message.transaction_id()), (class, Method(method), id));
        let read = message.attributes().take(attributes.len());
        for ((attribute, value), written) in read.zip(&attributes) {
            prop_assert_eq!(&Attribute::read(attribute, value, &id, written), written);
        }
        let signed = usize::from(sign_sha1) + usize::from(sign_sha256) + usize::from(fingerprint);
        prop_assert_eq!(message.attributes().count(), attributes.len() + signed);
        prop_assert_eq!(message.has_fingerprint(), fingerprint);
        prop_assert_eq!(message.check_sha1(&key).is_ok(), sign_sha1);
        prop_assert_eq!(message.check_sha256(&key).is_ok(), sign_sha256);
        prop_assert_eq!(message.integrity(), match (sign_sha1, sign_sha256) {
            (false, false) => Integrity::None,
            (true, false) => Integrity::Sha1,
            (false, true) => Integrity::Sha256,
            (true, true) => Integrity::Both,
        });
        let other = IntegrityKey::new(b"another key");
        prop_assert_eq!(message.check_sha1(&other).is_err(), true);
        prop_assert_eq!(message.check_sha256(&other).is_err(), true);
        // Behind the message nothing was touched.
        prop_assert!(buffer[bytes..].iter().all(|&byte| byte == 0xAA));
    }

    #[test]
    fn a_writer_without_room_fails_and_leaves_a_whole_message(attributes in vec(attribute(), 1..8), room in 0_usize..400) {
        let key = IntegrityKey::new(b"key");
        let mut buffer = [0xAA; 512];
        let (usable, beyond) = buffer.split_at_mut(room);
        if let Ok(mut writer) = Writer::new(usable, Class::Success, Method::ALLOCATE, [7; 12]) {
            let written = attributes.iter().filter(|attribute| attribute.try_write(&mut writer).is_ok()).count();
            let signed = usize::from(writer.integrity_sha1(&key).is_ok()) + usize::from(writer.fingerprint().is_ok());
            let bytes = writer.finish();
            prop_assert!(bytes <= room);
            prop_assert_eq!(Message::parse(&usable[..bytes]).unwrap().attributes().count(), written + signed);
        } else {
            prop_assert!(room < HEADER_BYTES);
        }
        prop_assert!(beyond.iter().all(|&byte| byte == 0xAA));
    }

    #[test]
    fn bytes_of_any_kind_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        exercise(&bytes);
    }

    #[test]
    fn mangled_messages_never_panic(
        attributes in vec(attribute(), 0..8), sign: bool,
        flips in vec(any::<(Index, u8)>(), 0..6), cut in any::<Index>(), keep_length: bool, tail in vec(any::<u8>(), 0..9),
    ) {
        let mut bytes = message_of(&attributes, sign);
        for (at, bits) in flips { let at = at.index(bytes.len()); bytes[at] ^= bits; }
        bytes.truncate(cut.index(bytes.len() + 1));
        bytes.extend(tail);
        if keep_length && bytes.len() >= HEADER_BYTES {
            // So that the length is right, and the walk gets to see the damage.
            let length = (bytes.len() - HEADER_BYTES) as u16;
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
        }
        exercise(&bytes);
    }

    #[test]
    fn a_part_of_a_message_is_not_a_message(attributes in vec(attribute(), 0..8), sign: bool, cut in any::<Index>()) {
        let bytes = message_of(&attributes, sign);
        let part = &bytes[..cut.index(bytes.len())];
        let short = matches!(Message::parse(part), Err(ParseError::TooShort { .. } | ParseError::Length { .. }));
        prop_assert!(short);
    }

    #[test]
    fn an_attribute_longer_than_the_rest_is_refused(attributes in vec(attribute(), 0..4), excess in 1_u16..1000) {
        let mut bytes = message_of(&attributes, false);
        bytes.extend([0x80, 0x22, 0, 0, 1, 2, 3, 4]);
        let length = (bytes.len() - HEADER_BYTES) as u16;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        let at = bytes.len() - 6;
        bytes[at..at + 2].copy_from_slice(&(4 + excess).to_be_bytes());
        prop_assert_eq!(
            Message::parse(&bytes).unwrap_err(),
            ParseError::Truncated { attribute: 0x8022, claimed: usize::from(4 + excess), left: 4 }
        );
    }

    #[test]
    fn sha256_values_may_be_cut_to_sixteen_bytes_in_steps_of_four(attributes in vec(attribute(), 0..4), length in 0_usize..40) {
        let key = IntegrityKey::new(b"a key");
        let mut bytes = message_of(&attributes, false);
        let preceding = bytes.len();
        // The length field is part of what is signed, so the value must be made for the length it is cut to.
        let value = cut_sha256(&bytes, b"a key", length);
        bytes.extend(attribute::MESSAGE_INTEGRITY_SHA256.to_be_bytes());
        bytes.extend((length as u16).to_be_bytes());
        bytes.extend(&value);
        bytes.resize(bytes.len() + padding(length), 0);
        let total = (bytes.len() - HEADER_BYTES) as u16;
        bytes[2..4].copy_from_slice(&total.to_be_bytes());

        let allowed = (16..=32).contains(&length) && length % 4 == 0;
        match Message::parse(&bytes) {
            Ok(message) => {
                prop_assert!(allowed);
                prop_assert_eq!(message.check_sha256(&key), Ok(()));
                let mut damaged = bytes.clone();
                damaged[preceding + 4] ^= 1;
                prop_assert_eq!(Message::parse(&damaged).unwrap().check_sha256(&key), Err(IntegrityError::Mismatch));
            }
            Err(error) => {
                prop_assert!(!allowed);
                prop_assert_eq!(error, ParseError::AttributeLength { attribute: 0x001C, bytes: length });
            }
        }
    }

    #[test]
    fn a_send_indication_is_what_the_general_parser_makes_of_it(
        attributes in vec(prop_oneof![2 => send_attribute(), 1 => attribute()], 0..6), fingerprint: bool, method in prop_oneof![9 => Just(6_u16), 1 => 0_u16..16],
    ) {
        let mut buffer = [0; 4096];
        let mut writer = Writer::new(&mut buffer, Class::Indication, Method(method), [9; 12]).unwrap();
        attributes.iter().for_each(|attribute| attribute.write(&mut writer));
        if fingerprint { writer.fingerprint().unwrap() }
        let length = writer.finish();
        let bytes = &buffer[..length];
        let message = Message::parse(bytes).unwrap();

        prop_assert_eq!(is_send_indication(bytes), method == 6);
        let unknown = message.unknown_required(|attribute| SEND_KNOWS.contains(&attribute));
        match SendIndication::parse(bytes) {
            Ok(indication) => {
                prop_assert_eq!((method, unknown.is_empty()), (6, true));
                let peer = message.find(attribute::XOR_PEER_ADDRESS).unwrap();
                prop_assert_eq!(Ok(indication.peer), xor_address(peer, &[9; 12]));
                prop_assert_eq!(Some(&bytes[indication.payload]), message.find(attribute::DATA));
                prop_assert_eq!(indication.dont_fragment, message.find(attribute::DONT_FRAGMENT).is_some());
            }
            Err(SendIndicationError::OtherMessage { .. }) => prop_assert!(method != 6),
            Err(SendIndicationError::Unknown { attribute }) => prop_assert_eq!(unknown.as_slice()[0], attribute),
            Err(SendIndicationError::NoPeer) => prop_assert!(message.find(attribute::XOR_PEER_ADDRESS).is_none()),
            Err(SendIndicationError::NoData) => prop_assert!(message.find(attribute::DATA).is_none()),
            Err(error) => {
                let peer = message.find(attribute::XOR_PEER_ADDRESS).unwrap();
                prop_assert!(xor_address(peer, &[9; 12]).is_err(), "{}", error);
            }
        }
    }

    #[test]
    fn a_data_indication_carries_its_payload(peer in socket_address(), id in any::<[u8; 12]>(), payload in vec(any::<u8>(), 0..1500)) {
        let mut header = [0xAA; 48];
        let bytes = data_indication_header(&mut header, peer, &id, payload.len() as u16);
        prop_assert_eq!(bytes, if peer.is_ipv4() { 36 } else { 48 });
        let indication = [&header[..bytes], &payload, &[0; 3][..padding(payload.len())]].concat();

        let message = Message::parse(&indication).unwrap();
        prop_assert_eq!((message.class(), message.method(), message.transaction_id()), (Class::Indication, Method::DATA, id));
        prop_assert_eq!(xor_address(message.find(attribute::XOR_PEER_ADDRESS).unwrap(), &id), Ok(peer));
        prop_assert_eq!(message.find(attribute::DATA), Some(&payload[..]));
        prop_assert_eq!(message.attributes().count(), 2);
    }

    #[test]
    fn channel_data_carries_its_payload(number in 0x4000_u16..0x8000, payload in vec(any::<u8>(), 0..1500), trailing in 0_usize..8) {
        let mut datagram = [&channel_data_header(number, payload.len() as u16)[..], &payload].concat();
        datagram.resize(datagram.len() + trailing, 0xFF);
        let (read, range) = parse_channel_data(&datagram).unwrap();
        prop_assert_eq!(read, number);
        prop_assert_eq!(&datagram[range], &payload[..]);
        for cut in 0..4 + payload.len() {
            prop_assert!(parse_channel_data(&datagram[..cut]).is_err());
        }
    }

}

const SEND_KNOWS: [u16; 10] = [
    attribute::XOR_PEER_ADDRESS,
    attribute::DATA,
    attribute::DONT_FRAGMENT,
    attribute::USERNAME,
    attribute::USERHASH,
    attribute::REALM,
    attribute::NONCE,
    attribute::PASSWORD_ALGORITHM,
    attribute::MESSAGE_INTEGRITY,
    attribute::MESSAGE_INTEGRITY_SHA256,
];

impl Attribute {
    fn write(&self, writer: &mut Writer<'_>) {
        self.try_write(writer).unwrap();
    }

    fn try_write(&self, writer: &mut Writer<'_>) -> Result<(), iceway::stun::BufferTooSmall> {
        match self {
            Self::Opaque(attribute, value) => writer.attribute(*attribute, value),
            Self::Number(number) => writer.u32(attribute::LIFETIME, *number),
            Self::XorAddress(attribute, address) => writer.xor_address(*attribute, *address),
            Self::Address(attribute, address) => writer.address(*attribute, *address),
            Self::ErrorCode(code, reason) => writer.error_code(*code, reason),
            Self::AddressErrorCode(family, code, reason) => writer.address_error_code(*family, *code, reason),
            Self::Unknown(types) => writer.unknown_attributes(types),
            Self::PasswordAlgorithms(algorithms) => {
                writer.password_algorithms(attribute::PASSWORD_ALGORITHMS, algorithms)
            }
            Self::Channel(number) => writer.channel_number(*number),
            Self::Family(attribute, family) => writer.address_family(*attribute, *family),
            Self::Transport(protocol) => writer.requested_transport(*protocol),
            Self::EvenPort(reserve_next) => writer.even_port(*reserve_next),
            Self::Token(token) => writer.attribute(attribute::RESERVATION_TOKEN, token),
            Self::Icmp(kind, code, data) => writer.icmp(Icmp { kind: *kind, code: *code, data: *data }),
        }
    }

    /// Decodes with the decoder that belongs to `written`.
    fn read(attribute: u16, value: &[u8], id: &[u8; 12], written: &Self) -> Self {
        match written {
            Self::Opaque(..) => Self::Opaque(attribute, value.to_vec()),
            Self::Number(_) => Self::Number(u32_value(value).unwrap()),
            Self::XorAddress(..) => Self::XorAddress(attribute, xor_address(value, id).unwrap()),
            Self::Address(..) => Self::Address(attribute, address(value).unwrap()),
            Self::ErrorCode(..) => {
                let (code, reason) = error_code(value).unwrap();
                Self::ErrorCode(code, reason.to_owned())
            }
            Self::AddressErrorCode(..) => {
                let (family, code, reason) = address_error_code(value).unwrap();
                Self::AddressErrorCode(family, code, reason.to_owned())
            }
            Self::Unknown(_) => Self::Unknown(unknown_attributes(value).collect()),
            Self::PasswordAlgorithms(_) => {
                Self::PasswordAlgorithms(password_algorithms(value).map(|(algorithm, _)| algorithm).collect())
            }
            Self::Channel(_) => Self::Channel(channel_number(value).unwrap()),
            Self::Family(..) => Self::Family(attribute, address_family(value).unwrap()),
            Self::Transport(_) => Self::Transport(requested_transport(value).unwrap()),
            Self::EvenPort(_) => Self::EvenPort(even_port(value).unwrap()),
            Self::Token(_) => Self::Token(reservation_token(value).unwrap()),
            Self::Icmp(..) => {
                let icmp = icmp(value).unwrap();
                Self::Icmp(icmp.kind, icmp.code, icmp.data)
            }
        }
    }
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![Just(Class::Request), Just(Class::Indication), Just(Class::Success), Just(Class::Error)]
}

fn socket_address() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        any::<([u8; 4], u16)>().prop_map(SocketAddr::from),
        any::<([u8; 16], u16)>().prop_map(SocketAddr::from)
    ]
}

fn family() -> impl Strategy<Value = AddressFamily> {
    prop_oneof![Just(AddressFamily::Ipv4), Just(AddressFamily::Ipv6)]
}

fn attribute() -> impl Strategy<Value = Attribute> {
    // Types that govern others are written by the tests themselves.
    let opaque =
        any::<u16>().prop_filter("governs others", |attribute| ![0x0008, 0x001C, 0x8028].contains(attribute));
    let families =
        prop_oneof![Just(attribute::REQUESTED_ADDRESS_FAMILY), Just(attribute::ADDITIONAL_ADDRESS_FAMILY)];
    let xor = prop_oneof![
        Just(attribute::XOR_MAPPED_ADDRESS),
        Just(attribute::XOR_PEER_ADDRESS),
        Just(attribute::XOR_RELAYED_ADDRESS)
    ];
    prop_oneof![
        (opaque, vec(any::<u8>(), 0..40)).prop_map(|(attribute, value)| Attribute::Opaque(attribute, value)),
        any::<u32>().prop_map(Attribute::Number),
        (xor, socket_address()).prop_map(|(attribute, address)| Attribute::XorAddress(attribute, address)),
        socket_address().prop_map(|address| Attribute::Address(attribute::ALTERNATE_SERVER, address)),
        (300_u16..700, "\\PC{0,20}").prop_map(|(code, reason)| Attribute::ErrorCode(code, reason)),
        (family(), 300_u16..700, "\\PC{0,20}")
            .prop_map(|(family, code, reason)| Attribute::AddressErrorCode(family, code, reason)),
        vec(any::<u16>(), 0..9).prop_map(Attribute::Unknown),
        vec(any::<u16>(), 0..4).prop_map(Attribute::PasswordAlgorithms),
        any::<u16>().prop_map(Attribute::Channel),
        (families, family()).prop_map(|(attribute, family)| Attribute::Family(attribute, family)),
        any::<u8>().prop_map(Attribute::Transport),
        any::<bool>().prop_map(Attribute::EvenPort),
        any::<[u8; 8]>().prop_map(Attribute::Token),
        (0_u8..128, 0_u16..512, any::<u32>())
            .prop_map(|(kind, code, data)| Attribute::Icmp(kind, code, data)),
    ]
}

/// What a Send indication is made of.
fn send_attribute() -> impl Strategy<Value = Attribute> {
    prop_oneof![
        socket_address().prop_map(|peer| Attribute::XorAddress(attribute::XOR_PEER_ADDRESS, peer)),
        vec(any::<u8>(), 0..40).prop_map(|payload| Attribute::Opaque(attribute::DATA, payload)),
        Just(Attribute::Opaque(attribute::DONT_FRAGMENT, vec![])),
        Just(Attribute::Opaque(attribute::SOFTWARE, b"software".to_vec())),
    ]
}

/// A Send indication, with integrity and FINGERPRINT if `sign`.
fn message_of(attributes: &[Attribute], sign: bool) -> Vec<u8> {
    let mut buffer = [0; 4096];
    let mut writer = Writer::new(&mut buffer, Class::Indication, Method::SEND, [5; 12]).unwrap();
    attributes.iter().for_each(|attribute| attribute.write(&mut writer));
    if sign {
        let key = IntegrityKey::new(b"key");
        writer.integrity_sha1(&key).unwrap();
        writer.integrity_sha256(&key).unwrap();
        writer.fingerprint().unwrap();
    }
    let bytes = writer.finish();
    buffer[..bytes].to_vec()
}

/// Calls everything that takes bytes from outside, and checks what must hold whatever they are.
fn exercise(bytes: &[u8]) {
    let key = IntegrityKey::new(b"key");
    if let Ok(message) = Message::parse(bytes) {
        assert_eq!(message.bytes(), bytes);
        assert!(bytes.len() >= HEADER_BYTES && bytes.len().is_multiple_of(4) && bytes[0] < 0x40);
        let attributes =
            message.attributes().map(|(_, value)| 4 + value.len() + padding(value.len())).sum::<usize>();
        assert!(HEADER_BYTES + attributes <= bytes.len());
        let unknown = message.unknown_required(|_| false);
        assert!(unknown.as_slice().iter().all(|&attribute| is_comprehension_required(attribute)));
        let proved = message.check_sha1(&key).is_ok() || message.check_sha256(&key).is_ok();
        assert!(!proved || message.integrity() != Integrity::None);
        message.attributes().for_each(|(_, value)| decode_in_every_way(value));
    }
    if let Ok(indication) = SendIndication::parse(bytes) {
        assert!(bytes.get(indication.payload).is_some());
    }
    if let Ok((number, payload)) = parse_channel_data(bytes) {
        assert!(bytes.get(payload).is_some());
        assert_eq!((kind(bytes[0]), number >> 14), (Kind::ChannelData, 1));
    }
    let frame = next_frame(bytes);
    assert!(!matches!(frame, Frame::Complete { consumed, .. } if consumed > bytes.len()));
    decode_in_every_way(bytes);
}

fn decode_in_every_way(value: &[u8]) {
    let id = [0xFF; 12];
    if let Ok(address) = xor_address(value, &id) {
        assert_eq!(value.len(), if address.is_ipv4() { 8 } else { 20 });
    }
    assert_eq!(address(value).is_ok(), xor_address(value, &id).is_ok());
    assert_eq!(u32_value(value).is_ok(), value.len() == 4);
    assert_eq!(channel_number(value).is_ok(), value.len() == 4);
    assert_eq!(requested_transport(value).is_ok(), value.len() == 4);
    assert!(address_family(value).is_err() || value.len() == 4);
    assert_eq!(even_port(value).is_ok(), value.len() == 1);
    assert_eq!(reservation_token(value).is_ok(), value.len() == 8);
    assert_eq!(icmp(value).is_ok(), value.len() == 8);
    assert!(error_code(value).is_err() || value.len() >= 4);
    assert!(address_error_code(value).is_err() || error_code(value).is_ok());
    assert_eq!(text(value, 763).is_ok(), std::str::from_utf8(value).is_ok());
    let parameters = password_algorithms(value).map(|(_, parameters)| 4 + parameters.len()).sum::<usize>();
    assert!(parameters <= value.len());
    assert_eq!(unknown_attributes(value).count(), value.len() / 2);
}

/// HMAC-SHA256 over a message that ends behind a value of `length` bytes, cut to that length.
fn cut_sha256(message: &[u8], key: &[u8], length: usize) -> Vec<u8> {
    use hmac::{Hmac, KeyInit, Mac};
    let mut message = message.to_vec();
    let total = (message.len() - HEADER_BYTES + 4 + length) as u16;
    message[2..4].copy_from_slice(&total.to_be_bytes());
    let mut hmac = Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
    hmac.update(&message);
    let mut value = hmac.finalize().into_bytes().to_vec();
    value.resize(length, 0);
    value
}
