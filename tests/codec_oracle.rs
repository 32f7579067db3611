//! The codec against two independent ones: `stun`/`turn` (webrtc-rs) and `stun-types`/`turn-types`.
//!
//! All three must write the same bytes, read the same attributes and come to the same verdict on mangled messages.
//! Where an oracle is known to be wrong, the comment at the comparison says how.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use iceway::stun::{
    AddressFamily, Class, Integrity, IntegrityKey, Message, Method, ParseError, Writer, attribute,
    channel_data_header, long_term_key_md5, long_term_key_sha256, padding, parse_channel_data,
};
use proptest::{collection::vec, prelude::*, sample::Index};
use stun::message::Setter;
use stun_types::{
    attribute::{self as st, Attribute as _, RawAttribute},
    message::{
        IntegrityAlgorithm, LongTermKeyCredentials, MessageIntegrityCredentials, MessageType, MessageWrite,
        MessageWriteExt, MessageWriteVec, ShortTermCredentials,
    },
};
use turn_types::attribute as tt;

const PASSWORD: &str = "a password";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn all_three_write_the_same_bytes(
        method in 0_u16..0x1000, class_index in 0_usize..4, id in any::<[u8; 12]>(),
        attributes in vec((plain_type(), vec(any::<u8>(), 0..50)), 0..10), sign: bool, fingerprint: bool,
    ) {
        let class = CLASSES[class_index].0;
        let mut buffer = [0; 2048];
        let mut writer = Writer::new(&mut buffer, class, Method(method), id).unwrap();
        for (attribute, value) in &attributes { writer.attribute(*attribute, value).unwrap(); }
        if sign { writer.integrity_sha1(&IntegrityKey::new(PASSWORD.as_bytes())).unwrap(); }
        if fingerprint { writer.fingerprint().unwrap(); }
        let bytes = writer.finish();
        let ours = &buffer[..bytes];

        let mut theirs = stun::message::Message::new();
        theirs.typ.read_value(u16::from_be_bytes([ours[0], ours[1]]));
        theirs.transaction_id = stun::agent::TransactionId(id);
        theirs.write_header();
        for (attribute, value) in &attributes { theirs.add(stun::attributes::AttrType(*attribute), value); }
        if sign { short_term_sha1().add_to(&mut theirs).unwrap(); }
        if fingerprint { stun::fingerprint::FINGERPRINT.add_to(&mut theirs).unwrap(); }
        prop_assert_eq!(&theirs.raw[..], ours);

        let mut others = typed(CLASSES[class_index].1, method, id);
        for (attribute, value) in &attributes { others.add_attribute(&RawAttribute::new((*attribute).into(), value)).unwrap(); }
        if sign { others.add_message_integrity(&short_term(), IntegrityAlgorithm::Sha1).unwrap(); }
        if fingerprint { others.add_fingerprint().unwrap(); }
        prop_assert_eq!(&others.finish()[..], ours);
    }

    #[test]
    fn typed_attributes_are_the_same_bytes(
        peer in socket_address(), id in any::<[u8; 12]>(), lifetime: u32, number: u16, protocol: u8, reserve: bool, token: u64,
        code in 300_u16..700, reason in "[ -~]{0,30}", unknown in vec(any::<u16>(), 1..8),
    ) {
        let mut buffer = [0; 1024];
        let mut writer = Writer::new(&mut buffer, Class::Success, Method::ALLOCATE, id).unwrap();
        writer.xor_address(attribute::XOR_MAPPED_ADDRESS, peer).unwrap();
        writer.xor_address(attribute::XOR_PEER_ADDRESS, peer).unwrap();
        writer.xor_address(attribute::XOR_RELAYED_ADDRESS, peer).unwrap();
        writer.address(attribute::ALTERNATE_SERVER, peer).unwrap();
        writer.u32(attribute::LIFETIME, lifetime).unwrap();
        writer.channel_number(number).unwrap();
        writer.requested_transport(protocol).unwrap();
        writer.even_port(reserve).unwrap();
        writer.attribute(attribute::RESERVATION_TOKEN, &token.to_be_bytes()).unwrap();
        writer.address_family(attribute::REQUESTED_ADDRESS_FAMILY, AddressFamily::Ipv4).unwrap();
        writer.address_family(attribute::ADDITIONAL_ADDRESS_FAMILY, AddressFamily::Ipv6).unwrap();
        writer.attribute(attribute::DONT_FRAGMENT, b"").unwrap();
        writer.error_code(code, &reason).unwrap();
        writer.address_error_code(AddressFamily::Ipv6, code, &reason).unwrap();
        writer.unknown_attributes(&unknown).unwrap();
        writer.password_algorithms(attribute::PASSWORD_ALGORITHMS, &[1, 2]).unwrap();
        writer.password_algorithms(attribute::PASSWORD_ALGORITHM, &[2]).unwrap();
        let bytes = writer.finish();

        let theirs_id = transaction(id);
        let unknown = unknown.into_iter().map(Into::into).collect::<Vec<_>>();
        let error = || st::ErrorCode::new(code, &reason).unwrap();
        let mut others = typed(stun_types::message::MessageClass::Success, Method::ALLOCATE.0, id);
        others.add_attribute(&st::XorMappedAddress::new(peer, theirs_id)).unwrap();
        others.add_attribute(&tt::XorPeerAddress::new(peer, theirs_id)).unwrap();
        others.add_attribute(&tt::XorRelayedAddress::new(peer, theirs_id)).unwrap();
        others.add_attribute(&st::AlternateServer::new(peer)).unwrap();
        others.add_attribute(&tt::Lifetime::new(lifetime)).unwrap();
        others.add_attribute(&tt::ChannelNumber::new(number)).unwrap();
        others.add_attribute(&tt::RequestedTransport::new(protocol)).unwrap();
        others.add_attribute(&tt::EvenPort::new(reserve)).unwrap();
        others.add_attribute(&tt::ReservationToken::new(token)).unwrap();
        others.add_attribute(&tt::RequestedAddressFamily::new(stun_types::AddressFamily::IPV4)).unwrap();
        others.add_attribute(&tt::AdditionalAddressFamily::new(stun_types::AddressFamily::IPV6)).unwrap();
        others.add_attribute(&tt::DontFragment::new()).unwrap();
        others.add_attribute(&error()).unwrap();
        others.add_attribute(&tt::AddressErrorCode::new(stun_types::AddressFamily::IPV6, error())).unwrap();
        others.add_attribute(&st::UnknownAttributes::new(&unknown)).unwrap();
        others.add_attribute(&st::PasswordAlgorithms::new(&[st::PasswordAlgorithmValue::MD5, st::PasswordAlgorithmValue::SHA256])).unwrap();
        others.add_attribute(&st::PasswordAlgorithm::new(st::PasswordAlgorithmValue::SHA256)).unwrap();
        prop_assert_eq!(&others.finish()[..], &buffer[..bytes]);
    }

    #[test]
    fn long_term_credentials_are_the_same_keys(user in "[ -~]{1,30}", realm in "[ -~]{1,30}", password in "[ -~]{1,30}") {
        let credentials: MessageIntegrityCredentials =
            LongTermKeyCredentials::new(user.clone(), password.clone(), realm.clone()).into();
        for algorithm in [IntegrityAlgorithm::Sha1, IntegrityAlgorithm::Sha256] {
            let mut others = typed(stun_types::message::MessageClass::Request, 3, [1; 12]);
            others.add_message_integrity(&credentials, algorithm).unwrap();
            let bytes = others.finish();
            let message = Message::parse(&bytes).unwrap();
            let checked = match algorithm {
                IntegrityAlgorithm::Sha1 => {
                    let key = long_term_key_md5(&user, &realm, &password);
                    prop_assert_eq!(
                        &stun::integrity::MessageIntegrity::new_long_term_integrity(user.clone(), realm.clone(), password.clone()).0,
                        &key
                    );
                    message.check_sha1(&IntegrityKey::new(&key))
                }
                IntegrityAlgorithm::Sha256 => {
                    message.check_sha256(&IntegrityKey::new(&long_term_key_sha256(&user, &realm, &password)))
                }
            };
            prop_assert_eq!(checked, Ok(()));
        }
    }

    #[test]
    fn verdicts_on_mangled_messages_are_the_same(
        pieces in vec(piece(), 0..7), first_byte in prop_oneof![20 => Just(0_u8), 1 => any::<u8>()],
        flips in vec(any::<(Index, u8)>(), 0..2), cut in prop_oneof![8 => Just(None), 1 => any::<Index>().prop_map(Some)],
    ) {
        let mut bytes = assemble(&pieces, first_byte);
        for (at, bits) in flips { let at = at.index(bytes.len()); bytes[at] ^= bits; }
        if let Some(cut) = cut { bytes.truncate(cut.index(bytes.len())); }
        compare(&bytes)?;
    }

    #[test]
    fn channel_data_is_read_alike(number: u16, claimed in 0_u16..40, bytes in 0_usize..40) {
        let datagram = [&channel_data_header(number, claimed)[..], &vec![7; bytes]].concat();
        let ours = parse_channel_data(&datagram).map(|(number, payload)| (number, datagram[payload].to_vec()));

        let mut theirs = turn::proto::chandata::ChannelData { raw: datagram.clone(), ..Default::default() };
        let theirs = theirs.decode().map(|()| (theirs.number.0, theirs.data.clone()));
        let others = turn_types::channel::ChannelData::parse(&datagram).map(|data| (data.id(), data.data().to_vec()));
        // `turn` refuses the numbers of RFC 5766 above 0x4FFF or so, `turn-types` takes some that nobody ever defined.
        if (0x4000..0x5000).contains(&number) {
            prop_assert_eq!(ours.clone().ok(), theirs.ok());
        }
        if number < 0x8000 {
            prop_assert_eq!(ours.ok(), others.ok());
        }
    }
}

const CLASSES: [(Class, stun_types::message::MessageClass); 4] = [
    (Class::Request, stun_types::message::MessageClass::Request),
    (Class::Indication, stun_types::message::MessageClass::Indication),
    (Class::Success, stun_types::message::MessageClass::Success),
    (Class::Error, stun_types::message::MessageClass::Error),
];

/// What a message is assembled from; everything can be wrong.
#[derive(Clone, Debug)]
enum Piece {
    Plain(u16, Vec<u8>),
    Claims(u16, Vec<u8>, u16),
    Sha1 { right: bool },
    Sha256 { bytes: usize },
    Fingerprint { right: bool },
}

/// All three look at the same bytes.
fn compare(bytes: &[u8]) -> Result<(), TestCaseError> {
    let ours = Message::parse(bytes);
    let mut theirs = stun::message::Message { raw: bytes.to_vec(), ..Default::default() };
    let decoded = theirs.decode();
    let fingerprint = match theirs.contains(stun::attributes::ATTR_FINGERPRINT) {
        true => stun::fingerprint::FINGERPRINT.check(&theirs),
        false => Ok(()),
    };
    let others = stun_types::message::Message::from_bytes(bytes);
    // `stun-types` stops at the first attribute that is hidden, and says nothing about what is behind it.
    let stops_early = hides_something(bytes);

    let message = match ours {
        Ok(message) => message,
        Err(error) => {
            match error {
                // `stun` takes a first byte of 0xC0 and more.
                ParseError::NotStun { .. } => prop_assert!(others.is_err()),
                ParseError::TooShort { .. } | ParseError::Cookie { .. } => {
                    prop_assert!(decoded.is_err() && others.is_err(), "{}", error);
                }
                // Both take trailing bytes, which a datagram does not have.
                ParseError::Length { claimed, actual } if claimed < actual => {}
                ParseError::Length { .. } | ParseError::Truncated { .. } => {
                    prop_assert!(decoded.is_err(), "{}", error);
                    prop_assert!(others.is_err() || stops_early, "{}", error);
                }
                ParseError::BadFingerprint => {
                    prop_assert!(fingerprint.is_err());
                    prop_assert!(others.is_err() || stops_early);
                }
                // Both take a FINGERPRINT anywhere, and `stun` checks it as if it were last.
                ParseError::FingerprintNotLast => {}
                ParseError::AttributeLength { attribute: attribute::FINGERPRINT, .. } => {
                    prop_assert!(fingerprint.is_err() || decoded.is_err());
                    prop_assert!(others.is_err() || stops_early);
                }
                // Both find out when the integrity is checked; `stun-types` looks at the stronger one only.
                ParseError::AttributeLength { attribute: attribute::MESSAGE_INTEGRITY, .. } => {
                    prop_assert!(short_term_sha1().check(&mut theirs).is_err());
                }
                ParseError::AttributeLength { .. } => {
                    let refused = others.is_err()
                        || others.is_ok_and(|other| other.validate_integrity(&short_term()).is_err());
                    prop_assert!(refused || stops_early);
                }
                _ => prop_assert!(false, "{} has no counterpart here", error),
            }
            return Ok(());
        }
    };
    prop_assert!(decoded.is_ok(), "{:?}", decoded);
    prop_assert!(fingerprint.is_ok(), "{:?}", fingerprint);
    let others = others.unwrap();
    prop_assert_eq!(theirs.transaction_id.0, message.transaction_id());
    prop_assert_eq!(
        u128::from(others.transaction_id()).to_be_bytes()[4..].to_vec(),
        message.transaction_id().to_vec()
    );
    prop_assert_eq!(others.get_type().method().value(), message.method().0);
    prop_assert_eq!(theirs.typ.value(), u16::from_be_bytes([bytes[0], bytes[1]]));
    prop_assert_eq!(theirs.contains(stun::attributes::ATTR_FINGERPRINT), message.has_fingerprint());

    let seen = message.attributes().map(|(attribute, value)| (attribute, value.to_vec())).collect::<Vec<_>>();
    // `stun` shows what is behind the integrity, too.
    let all = theirs.attributes.0.iter().map(|a| (a.typ.0, a.value.clone())).collect::<Vec<_>>();
    prop_assert_eq!(&seen, &visible(&all));
    let shown =
        others.iter_attributes().map(|(_, a)| (a.get_type().value(), a.value.to_vec())).collect::<Vec<_>>();
    if stops_early {
        prop_assert!(seen.starts_with(&shown), "{:?} {:?}", seen, shown);
    } else {
        prop_assert_eq!(&seen, &shown);
    }
    compare_integrity(&message, &mut theirs, &others, stops_early)
}

fn compare_integrity(
    message: &Message<'_>,
    theirs: &mut stun::message::Message,
    others: &stun_types::message::Message<'_>,
    stops_early: bool,
) -> Result<(), TestCaseError> {
    let key = IntegrityKey::new(PASSWORD.as_bytes());
    if matches!(message.integrity(), Integrity::Sha1 | Integrity::Both) {
        prop_assert_eq!(message.check_sha1(&key).is_ok(), short_term_sha1().check(theirs).is_ok());
    }
    if stops_early {
        return Ok(());
    }
    let ours = match message.integrity() {
        Integrity::None => None,
        Integrity::Sha1 => message.check_sha1(&key).ok().map(|()| IntegrityAlgorithm::Sha1),
        Integrity::Sha256 | Integrity::Both => {
            message.check_sha256(&key).ok().map(|()| IntegrityAlgorithm::Sha256)
        }
    };
    prop_assert_eq!(ours, others.validate_integrity(&short_term()).ok());
    Ok(())
}

/// What RFC 8489 §14.5 and §14.6 leave of a list of attributes.
fn visible(all: &[(u16, Vec<u8>)]) -> Vec<(u16, Vec<u8>)> {
    let (mut sha1, mut sha256) = (false, false);
    let mut left = vec![];
    for (attribute, value) in all {
        let shown = match *attribute {
            attribute::FINGERPRINT => true,
            attribute::MESSAGE_INTEGRITY_SHA256 => !std::mem::replace(&mut sha256, true),
            attribute::MESSAGE_INTEGRITY => !sha256 && !std::mem::replace(&mut sha1, true),
            _ => !sha1 && !sha256,
        };
        if shown {
            left.push((*attribute, value.clone()));
        }
    }
    left
}

/// Whether an attribute is behind an integrity attribute or FINGERPRINT that should not be there.
fn hides_something(bytes: &[u8]) -> bool {
    let governing =
        [attribute::MESSAGE_INTEGRITY, attribute::MESSAGE_INTEGRITY_SHA256, attribute::FINGERPRINT];
    let mut rest = bytes.get(20..).unwrap_or_default();
    let mut last = 0;
    while let Some((head, tail)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let rank = governing
            .iter()
            .position(|&g| g == u16::from_be_bytes([head[0], head[1]]))
            .map_or(0, |at| at + 1);
        if rank <= last && last > 0 {
            return true;
        }
        last = rank;
        rest = tail.get(length + padding(length)..).unwrap_or_default();
    }
    false
}

fn assemble(pieces: &[Piece], first_byte: u8) -> Vec<u8> {
    let mut bytes = vec![first_byte, 3, 0, 0, 0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    for piece in pieces {
        let (attribute, value, claimed) = match piece {
            Piece::Plain(attribute, value) => (*attribute, value.clone(), value.len()),
            Piece::Claims(attribute, value, claimed) => (*attribute, value.clone(), usize::from(*claimed)),
            Piece::Sha1 { right } => {
                let mut value = hmac_of::<sha1::Sha1>(&bytes, 20);
                value[0] ^= u8::from(!right);
                (attribute::MESSAGE_INTEGRITY, value, 20)
            }
            Piece::Sha256 { bytes: length } => {
                (attribute::MESSAGE_INTEGRITY_SHA256, hmac_of::<sha2::Sha256>(&bytes, *length), *length)
            }
            Piece::Fingerprint { right } => {
                set_length(&mut bytes, 8);
                let crc = crc32fast::hash(&bytes) ^ 0x5354_554E ^ u32::from(!right);
                (attribute::FINGERPRINT, crc.to_be_bytes().to_vec(), 4)
            }
        };
        bytes.extend(attribute.to_be_bytes());
        bytes.extend((claimed as u16).to_be_bytes());
        bytes.extend(&value);
        bytes.resize(bytes.len() + padding(value.len()), 0);
    }
    set_length(&mut bytes, 0);
    bytes
}

/// The integrity value of `length` bytes that follows `bytes`.
fn hmac_of<D: hmac::EagerHash>(bytes: &[u8], length: usize) -> Vec<u8> {
    use hmac::{KeyInit, Mac};
    let mut bytes = bytes.to_vec();
    set_length(&mut bytes, 4 + length);
    let mut hmac = hmac::Hmac::<D>::new_from_slice(PASSWORD.as_bytes()).unwrap();
    hmac.update(&bytes);
    let mut value = hmac.finalize().into_bytes().to_vec();
    value.resize(length, 0);
    value
}

fn set_length(bytes: &mut [u8], more: usize) {
    let length = (bytes.len() - 20 + more) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        6 => (plain_type(), vec(any::<u8>(), 0..30)).prop_map(|(attribute, value)| Piece::Plain(attribute, value)),
        1 => (any::<u16>(), vec(any::<u8>(), 0..30), 0_u16..40).prop_map(|(a, value, claimed)| Piece::Claims(a, value, claimed)),
        1 => (governing_type(), vec(any::<u8>(), 0..40)).prop_map(|(attribute, value)| Piece::Plain(attribute, value)),
        2 => prop_oneof![4 => Just(true), 1 => Just(false)].prop_map(|right| Piece::Sha1 { right }),
        2 => prop_oneof![4 => Just(32_usize), 1 => (0_usize..10).prop_map(|words| words * 4)].prop_map(|bytes| Piece::Sha256 { bytes }),
        2 => prop_oneof![6 => Just(true), 1 => Just(false)].prop_map(|right| Piece::Fingerprint { right }),
    ]
}

/// Anything but what governs other attributes; and not 0x8020, which `stun` reads as XOR-MAPPED-ADDRESS.
fn plain_type() -> impl Strategy<Value = u16> {
    prop_oneof![0_u16..0x30, 0x8000_u16..0x8030, any::<u16>()]
        .prop_filter("governs others", |attribute| ![0x0008, 0x001C, 0x8028, 0x8020].contains(attribute))
}

fn governing_type() -> impl Strategy<Value = u16> {
    prop_oneof![
        Just(attribute::MESSAGE_INTEGRITY),
        Just(attribute::MESSAGE_INTEGRITY_SHA256),
        Just(attribute::FINGERPRINT)
    ]
}

fn socket_address() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        any::<([u8; 4], u16)>().prop_map(SocketAddr::from),
        any::<([u8; 16], u16)>().prop_map(SocketAddr::from)
    ]
}

fn typed(class: stun_types::message::MessageClass, method: u16, id: [u8; 12]) -> MessageWriteVec {
    let method = stun_types::message::Method::new(method);
    let message_type = MessageType::from_class_method(class, method);
    stun_types::message::Message::builder(message_type, transaction(id), MessageWriteVec::new())
}

fn transaction(id: [u8; 12]) -> stun_types::message::TransactionId {
    let mut wide = [0; 16];
    wide[4..].copy_from_slice(&id);
    u128::from_be_bytes(wide).into()
}

fn short_term() -> MessageIntegrityCredentials {
    ShortTermCredentials::new(PASSWORD.to_owned()).into()
}

fn short_term_sha1() -> stun::integrity::MessageIntegrity {
    stun::integrity::MessageIntegrity::new_short_term_integrity(PASSWORD.to_owned())
}
