//! The published test vectors: RFC 5769 (all four) and RFC 8489 appendix B.1.
//!
//! RFC 5769 pads with spaces in the first three, we pad with zeros; so those are compared with what we write up to the
//! first padding only, and the last two byte by byte.

#![allow(clippy::unwrap_used)]

use iceway::stun::{
    Class, Integrity, IntegrityError, IntegrityKey, Message, Method, ParseError, TransactionId, Writer,
    attribute, long_term_key_md5, long_term_key_sha256, password_algorithms, u32_value, userhash,
    xor_address,
};

#[test]
fn rfc_5769_sample_request() {
    let message = Message::parse(&SAMPLE_REQUEST).unwrap();

    assert_eq!((message.class(), message.method()), (Class::Request, Method::BINDING));
    assert_eq!(message.transaction_id(), SHORT_TERM_TRANSACTION);
    assert_eq!(message.find(attribute::SOFTWARE), Some(&b"STUN test client"[..]));
    assert_eq!(u32_value(message.find(attribute::PRIORITY).unwrap()), Ok(0x6E00_01FF));
    assert_eq!(message.find(attribute::ICE_CONTROLLED), Some(&0x932F_F9B1_5126_3B36_u64.to_be_bytes()[..]));
    assert_eq!(message.find(attribute::USERNAME), Some(&b"evtj:h6vY"[..]));
    assert_eq!(message.integrity(), Integrity::Sha1);
    assert!(message.has_fingerprint());
    assert_eq!(message.check_sha1(&short_term_key()), Ok(()));
    assert_eq!(
        message.check_sha1(&IntegrityKey::new(b"VOkJxbRl1RmTxUk/WvJxBu")),
        Err(IntegrityError::Mismatch)
    );
    assert_eq!(message.check_sha256(&short_term_key()), Err(IntegrityError::Missing));

    let mut buffer = [0; 108];
    let mut writer =
        Writer::new(&mut buffer, Class::Request, Method::BINDING, SHORT_TERM_TRANSACTION).unwrap();
    writer.attribute(attribute::SOFTWARE, b"STUN test client").unwrap();
    writer.u32(attribute::PRIORITY, 0x6E00_01FF).unwrap();
    writer.attribute(attribute::ICE_CONTROLLED, &0x932F_F9B1_5126_3B36_u64.to_be_bytes()).unwrap();
    writer.attribute(attribute::USERNAME, b"evtj:h6vY").unwrap();
    writer.integrity_sha1(&short_term_key()).unwrap();
    writer.fingerprint().unwrap();
    assert_eq!(writer.finish(), SAMPLE_REQUEST.len());
    assert_eq!(buffer[..73], SAMPLE_REQUEST[..73], "up to the padding of USERNAME");
}

#[test]
fn rfc_5769_sample_ipv4_response() {
    check_response(&SAMPLE_IPV4_RESPONSE, "192.0.2.1:32853");
}

#[test]
fn rfc_5769_sample_ipv6_response() {
    check_response(&SAMPLE_IPV6_RESPONSE, "[2001:db8:1234:5678:11:2233:4455:6677]:32853");
}

#[test]
fn rfc_5769_sample_request_with_long_term_authentication() {
    let message = Message::parse(&LONG_TERM_REQUEST).unwrap();

    assert_eq!((message.class(), message.method()), (Class::Request, Method::BINDING));
    assert_eq!(message.find(attribute::USERNAME), Some(USERNAME.as_bytes()));
    assert_eq!(message.find(attribute::NONCE), Some(&b"f//499k954d6OL34oL9FSTvy64sA"[..]));
    assert_eq!(message.find(attribute::REALM), Some(&b"example.org"[..]));
    assert_eq!(message.integrity(), Integrity::Sha1);
    assert!(!message.has_fingerprint());
    let key = IntegrityKey::new(&long_term_key_md5(USERNAME, "example.org", "TheMatrIX"));
    assert_eq!(message.check_sha1(&key), Ok(()));

    let mut buffer = [0xAA; 128];
    let mut writer =
        Writer::new(&mut buffer, Class::Request, Method::BINDING, LONG_TERM_TRANSACTION).unwrap();
    writer.attribute(attribute::USERNAME, USERNAME.as_bytes()).unwrap();
    writer.attribute(attribute::NONCE, b"f//499k954d6OL34oL9FSTvy64sA").unwrap();
    writer.attribute(attribute::REALM, b"example.org").unwrap();
    writer.integrity_sha1(&key).unwrap();
    let bytes = writer.finish();
    assert_eq!(buffer[..bytes], LONG_TERM_REQUEST);
}

#[test]
fn rfc_8489_sample_request_with_userhash_and_sha256() {
    let message = Message::parse(&SHA256_REQUEST).unwrap();

    assert_eq!((message.class(), message.method()), (Class::Request, Method::BINDING));
    assert_eq!(message.find(attribute::USERHASH), Some(&userhash(USERNAME, "example.org")[..]));
    assert_eq!(message.find(attribute::NONCE), Some(&b"obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA"[..]));
    assert_eq!(message.find(attribute::REALM), Some(&b"example.org"[..]));
    let chosen = password_algorithms(message.find(attribute::PASSWORD_ALGORITHM).unwrap());
    assert_eq!(chosen.collect::<Vec<_>>(), [(2, &[][..])]);
    assert_eq!(message.integrity(), Integrity::Sha256);
    let key = IntegrityKey::new(&long_term_key_sha256(USERNAME, "example.org", "TheMatrIX"));
    assert_eq!(message.check_sha256(&key), Ok(()));
    assert_eq!(message.check_sha1(&key), Err(IntegrityError::Missing));

    let mut buffer = [0xAA; 192];
    let mut writer =
        Writer::new(&mut buffer, Class::Request, Method::BINDING, LONG_TERM_TRANSACTION).unwrap();
    writer.attribute(attribute::USERHASH, &userhash(USERNAME, "example.org")).unwrap();
    writer.attribute(attribute::NONCE, b"obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA").unwrap();
    writer.attribute(attribute::REALM, b"example.org").unwrap();
    writer.password_algorithms(attribute::PASSWORD_ALGORITHM, &[2]).unwrap();
    writer.integrity_sha256(&key).unwrap();
    let bytes = writer.finish();
    assert_eq!(buffer[..bytes], SHA256_REQUEST);
}

#[test]
fn no_flipped_bit_passes_both_fingerprint_and_integrity() {
    for bit in 0..SAMPLE_REQUEST.len() * 8 {
        let mut mangled = SAMPLE_REQUEST;
        mangled[bit / 8] ^= 0x80 >> (bit % 8);
        let Ok(message) = Message::parse(&mangled) else { continue };
        // What is still a message has lost its FINGERPRINT: its type was hit, or a length that now hides it.
        assert!(!message.has_fingerprint(), "bit {bit}");
        let fingerprint_type = bit / 8 == 100 || bit / 8 == 101;
        assert_eq!(message.check_sha1(&short_term_key()).is_ok(), fingerprint_type, "bit {bit}");
    }
}

#[test]
fn every_flipped_bit_in_front_of_the_integrity_value_is_noticed() {
    let key = IntegrityKey::new(&long_term_key_sha256(USERNAME, "example.org", "TheMatrIX"));
    for bit in 0..SHA256_REQUEST.len() * 8 {
        let mut mangled = SHA256_REQUEST;
        mangled[bit / 8] ^= 0x80 >> (bit % 8);
        let proved = Message::parse(&mangled).is_ok_and(|message| message.check_sha256(&key).is_ok());
        assert!(!proved, "bit {bit}");
    }
}

fn check_response(response: &[u8], mapped: &str) {
    let message = Message::parse(response).unwrap();

    assert_eq!((message.class(), message.method()), (Class::Success, Method::BINDING));
    assert_eq!(message.transaction_id(), SHORT_TERM_TRANSACTION);
    assert_eq!(message.find(attribute::SOFTWARE), Some(&b"test vector"[..]));
    let value = message.find(attribute::XOR_MAPPED_ADDRESS).unwrap();
    assert_eq!(xor_address(value, &message.transaction_id()), Ok(mapped.parse().unwrap()));
    assert!(message.has_fingerprint());
    assert_eq!(message.check_sha1(&short_term_key()), Ok(()));

    let mut damaged = response.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(Message::parse(&damaged).unwrap_err(), ParseError::BadFingerprint);

    // Written with the vector's own padding, everything is the same, integrity and fingerprint included.
    let mut buffer = [0; 128];
    let mut writer =
        Writer::new(&mut buffer, Class::Success, Method::BINDING, SHORT_TERM_TRANSACTION).unwrap();
    writer.attribute(attribute::SOFTWARE, b"test vector").unwrap();
    writer.xor_address(attribute::XOR_MAPPED_ADDRESS, mapped.parse().unwrap()).unwrap();
    writer.integrity_sha1(&short_term_key()).unwrap();
    writer.fingerprint().unwrap();
    let bytes = writer.finish();
    let address_end = bytes - 24 - 8;
    assert_eq!(buffer[..35], response[..35]);
    assert_eq!(buffer[35], 0, "padding of SOFTWARE");
    assert_eq!(buffer[36..address_end], response[36..address_end]);
}

fn short_term_key() -> IntegrityKey {
    IntegrityKey::new(b"VOkJxbRl1RmTxUk/WvJxBt")
}

const USERNAME: &str = "マトリックス";

const SHORT_TERM_TRANSACTION: TransactionId =
    [0xB7, 0xE7, 0xA7, 0x01, 0xBC, 0x34, 0xD6, 0x86, 0xFA, 0x87, 0xDF, 0xAE];

const LONG_TERM_TRANSACTION: TransactionId =
    [0x78, 0xAD, 0x34, 0x33, 0xC6, 0xAD, 0x72, 0xC0, 0x29, 0xDA, 0x41, 0x2E];

/// RFC 5769 §2.1. Password "VOkJxbRl1RmTxUk/WvJxBt".
#[rustfmt::skip]
const SAMPLE_REQUEST: [u8; 108] = [
    0x00, 0x01, 0x00, 0x58, // Binding request, 88 bytes follow the header
    0x21, 0x12, 0xA4, 0x42, // magic cookie
    0xB7, 0xE7, 0xA7, 0x01, 0xBC, 0x34, 0xD6, 0x86, 0xFA, 0x87, 0xDF, 0xAE, // transaction id
    0x80, 0x22, 0x00, 0x10, // SOFTWARE, 16 bytes
    0x53, 0x54, 0x55, 0x4E, 0x20, 0x74, 0x65, 0x73, 0x74, 0x20, 0x63, 0x6C, 0x69, 0x65, 0x6E, 0x74, // text
    0x00, 0x24, 0x00, 0x04, // PRIORITY, 4 bytes
    0x6E, 0x00, 0x01, 0xFF, // of ICE
    0x80, 0x29, 0x00, 0x08, // ICE-CONTROLLED, 8 bytes
    0x93, 0x2F, 0xF9, 0xB1, 0x51, 0x26, 0x3B, 0x36, // tie breaker
    0x00, 0x06, 0x00, 0x09, // USERNAME, 9 bytes
    0x65, 0x76, 0x74, 0x6A, 0x3A, 0x68, 0x36, 0x76, 0x59, // "evtj:h6vY"
    0x20, 0x20, 0x20, // padding: spaces
    0x00, 0x08, 0x00, 0x14, // MESSAGE-INTEGRITY, 20 bytes
    0x9A, 0xEA, 0xA7, 0x0C, 0xBF, 0xD8, 0xCB, 0x56, 0x78, 0x1E, // HMAC-SHA1
    0xF2, 0xB5, 0xB2, 0xD3, 0xF2, 0x49, 0xC1, 0xB5, 0x71, 0xA2,
    0x80, 0x28, 0x00, 0x04, // FINGERPRINT, 4 bytes
    0xE5, 0x7A, 0x3B, 0xCF, // CRC-32
];

/// RFC 5769 §2.2. Password as above.
#[rustfmt::skip]
const SAMPLE_IPV4_RESPONSE: [u8; 80] = [
    0x01, 0x01, 0x00, 0x3C, // Binding success response, 60 bytes follow the header
    0x21, 0x12, 0xA4, 0x42, // magic cookie
    0xB7, 0xE7, 0xA7, 0x01, 0xBC, 0x34, 0xD6, 0x86, 0xFA, 0x87, 0xDF, 0xAE, // transaction id
    0x80, 0x22, 0x00, 0x0B, // SOFTWARE, 11 bytes
    0x74, 0x65, 0x73, 0x74, 0x20, 0x76, 0x65, 0x63, 0x74, 0x6F, 0x72, // "test vector"
    0x20, // padding: a space
    0x00, 0x20, 0x00, 0x08, // XOR-MAPPED-ADDRESS, 8 bytes
    0x00, 0x01, 0xA1, 0x47, // IPv4; port 32853, with the cookie
    0xE1, 0x12, 0xA6, 0x43, // 192.0.2.1, with the cookie
    0x00, 0x08, 0x00, 0x14, // MESSAGE-INTEGRITY, 20 bytes
    0x2B, 0x91, 0xF5, 0x99, 0xFD, 0x9E, 0x90, 0xC3, 0x8C, 0x74, // HMAC-SHA1
    0x89, 0xF9, 0x2A, 0xF9, 0xBA, 0x53, 0xF0, 0x6B, 0xE7, 0xD7,
    0x80, 0x28, 0x00, 0x04, // FINGERPRINT, 4 bytes
    0xC0, 0x7D, 0x4C, 0x96, // CRC-32
];

/// RFC 5769 §2.3. Password as above.
#[rustfmt::skip]
const SAMPLE_IPV6_RESPONSE: [u8; 92] = [
    0x01, 0x01, 0x00, 0x48, // Binding success response, 72 bytes follow the header
    0x21, 0x12, 0xA4, 0x42, // magic cookie
    0xB7, 0xE7, 0xA7, 0x01, 0xBC, 0x34, 0xD6, 0x86, 0xFA, 0x87, 0xDF, 0xAE, // transaction id
    0x80, 0x22, 0x00, 0x0B, // SOFTWARE, 11 bytes
    0x74, 0x65, 0x73, 0x74, 0x20, 0x76, 0x65, 0x63, 0x74, 0x6F, 0x72, // "test vector"
    0x20, // padding: a space
    0x00, 0x20, 0x00, 0x14, // XOR-MAPPED-ADDRESS, 20 bytes
    0x00, 0x02, 0xA1, 0x47, // IPv6; port 32853, with the cookie
    0x01, 0x13, 0xA9, 0xFA, // 2001:db8:1234:5678:11:2233:4455:6677, with cookie ...
    0xA5, 0xD3, 0xF1, 0x79, 0xBC, 0x25, 0xF4, 0xB5, 0xBE, 0xD2, 0xB9, 0xD9, // ... and transaction id
    0x00, 0x08, 0x00, 0x14, // MESSAGE-INTEGRITY, 20 bytes
    0xA3, 0x82, 0x95, 0x4E, 0x4B, 0xE6, 0x7B, 0xF1, 0x17, 0x84, // HMAC-SHA1
    0xC9, 0x7C, 0x82, 0x92, 0xC2, 0x75, 0xBF, 0xE3, 0xED, 0x41,
    0x80, 0x28, 0x00, 0x04, // FINGERPRINT, 4 bytes
    0xC8, 0xFB, 0x0B, 0x4C, // CRC-32
];

/// RFC 5769 §2.4. Password "TheMatrIX" once prepared.
#[rustfmt::skip]
const LONG_TERM_REQUEST: [u8; 116] = [
    0x00, 0x01, 0x00, 0x60, // Binding request, 96 bytes follow the header
    0x21, 0x12, 0xA4, 0x42, // magic cookie
    0x78, 0xAD, 0x34, 0x33, 0xC6, 0xAD, 0x72, 0xC0, 0x29, 0xDA, 0x41, 0x2E, // transaction id
    0x00, 0x06, 0x00, 0x12, // USERNAME, 18 bytes
    0xE3, 0x83, 0x9E, 0xE3, 0x83, 0x88, 0xE3, 0x83, 0xAA, // six Katakana of three bytes each
    0xE3, 0x83, 0x83, 0xE3, 0x82, 0xAF, 0xE3, 0x82, 0xB9,
    0x00, 0x00, // padding
    0x00, 0x15, 0x00, 0x1C, // NONCE, 28 bytes
    0x66, 0x2F, 0x2F, 0x34, 0x39, 0x39, 0x6B, 0x39, 0x35, 0x34, 0x64, 0x36, 0x4F, 0x4C, // text
    0x33, 0x34, 0x6F, 0x4C, 0x39, 0x46, 0x53, 0x54, 0x76, 0x79, 0x36, 0x34, 0x73, 0x41,
    0x00, 0x14, 0x00, 0x0B, // REALM, 11 bytes
    0x65, 0x78, 0x61, 0x6D, 0x70, 0x6C, 0x65, 0x2E, 0x6F, 0x72, 0x67, // "example.org"
    0x00, // padding
    0x00, 0x08, 0x00, 0x14, // MESSAGE-INTEGRITY, 20 bytes
    0xF6, 0x70, 0x24, 0x65, 0x6D, 0xD6, 0x4A, 0x3E, 0x02, 0xB8, // HMAC-SHA1
    0xE0, 0x71, 0x2E, 0x85, 0xC9, 0xA2, 0x8C, 0xA8, 0x96, 0x66,
];

/// RFC 8489 appendix B.1, length and integrity value as corrected by erratum 6268. Password "TheMatrIX" once prepared.
#[rustfmt::skip]
const SHA256_REQUEST: [u8; 164] = [
    0x00, 0x01, 0x00, 0x90, // Binding request, 144 bytes follow the header
    0x21, 0x12, 0xA4, 0x42, // magic cookie
    0x78, 0xAD, 0x34, 0x33, 0xC6, 0xAD, 0x72, 0xC0, 0x29, 0xDA, 0x41, 0x2E, // transaction id
    0x00, 0x1E, 0x00, 0x20, // USERHASH, 32 bytes
    0x4A, 0x3C, 0xF3, 0x8F, 0xEF, 0x69, 0x92, 0xBD, 0xA9, 0x52, 0xC6, 0x78, 0x04, 0x17, 0xDA, 0x0F, // SHA-256
    0x24, 0x81, 0x94, 0x15, 0x56, 0x9E, 0x60, 0xB2, 0x05, 0xC4, 0x6E, 0x41, 0x40, 0x7F, 0x17, 0x04,
    0x00, 0x15, 0x00, 0x29, // NONCE, 41 bytes
    0x6F, 0x62, 0x4D, 0x61, 0x74, 0x4A, 0x6F, 0x73, 0x32, 0x41, 0x41, 0x41, 0x43, // cookie and feature bits
    0x66, 0x2F, 0x2F, 0x34, 0x39, 0x39, 0x6B, 0x39, 0x35, 0x34, 0x64, 0x36, 0x4F, 0x4C, // text
    0x33, 0x34, 0x6F, 0x4C, 0x39, 0x46, 0x53, 0x54, 0x76, 0x79, 0x36, 0x34, 0x73, 0x41,
    0x00, 0x00, 0x00, // padding
    0x00, 0x14, 0x00, 0x0B, // REALM, 11 bytes
    0x65, 0x78, 0x61, 0x6D, 0x70, 0x6C, 0x65, 0x2E, 0x6F, 0x72, 0x67, // "example.org"
    0x00, // padding
    0x00, 0x1D, 0x00, 0x04, // PASSWORD-ALGORITHM, 4 bytes
    0x00, 0x02, 0x00, 0x00, // SHA-256, no parameters
    0x00, 0x1C, 0x00, 0x20, // MESSAGE-INTEGRITY-SHA256, 32 bytes
    0xB5, 0xC7, 0xBF, 0x00, 0x5B, 0x6C, 0x52, 0xA2, 0x1C, 0x51, 0xC5, 0xE8, 0x92, 0xF8, 0x19, 0x24, // HMAC-SHA256
    0x13, 0x62, 0x96, 0xCB, 0x92, 0x7C, 0x43, 0x14, 0x93, 0x09, 0x27, 0x8C, 0xC6, 0x51, 0x8E, 0x65,
];
