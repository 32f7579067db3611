//! Single rules of the RFCs, one test each.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use iceway::stun::{
    Class, IntegrityKey, Message, Method, ParseError, Writer, address, address_family, attribute,
    channel_number, data_indication_header, error_code, even_port, password_algorithms, text, xor_address,
};

#[test]
fn a_data_indication_that_no_length_field_can_describe_is_not_written() {
    let mut header = [0; 48];
    let (v4, v6) = ("192.0.2.1:9".parse().unwrap(), "[2001:db8::1]:9".parse().unwrap());
    assert_eq!(data_indication_header(&mut header, v4, &[0; 12], 65_516), 36);
    assert_eq!(data_indication_header(&mut header, v4, &[0; 12], 65_517), 0);
    assert_eq!(data_indication_header(&mut header, v6, &[0; 12], 65_504), 48);
    assert_eq!(data_indication_header(&mut header, v6, &[0; 12], 65_505), 0);
}

#[test]
fn attributes_behind_the_integrity_are_invisible() {
    let key = IntegrityKey::new(b"key");
    let mut buffer = [0; 512];
    let mut writer = Writer::new(&mut buffer, Class::Request, Method::REFRESH, [3; 12]).unwrap();
    writer.attribute(attribute::USERNAME, b"user").unwrap();
    writer.integrity_sha1(&key).unwrap();
    writer.u32(attribute::LIFETIME, 0).unwrap(); // not protected
    writer.integrity_sha256(&key).unwrap();
    writer.integrity_sha1(&key).unwrap(); // behind SHA-256: not seen
    writer.attribute(attribute::DONT_FRAGMENT, b"").unwrap();
    writer.fingerprint().unwrap();
    let bytes = writer.finish();

    let message = Message::parse(&buffer[..bytes]).unwrap();
    let seen = message.attributes().map(|(attribute, _)| attribute).collect::<Vec<_>>();
    assert_eq!(
        seen,
        [
            attribute::USERNAME,
            attribute::MESSAGE_INTEGRITY,
            attribute::MESSAGE_INTEGRITY_SHA256,
            attribute::FINGERPRINT
        ]
    );
    assert_eq!(message.find(attribute::LIFETIME), None);
    assert!(
        message
            .unknown_required(|known| known == attribute::USERNAME || known == 8 || known == 0x1C)
            .is_empty()
    );
    assert_eq!(message.check_sha1(&key), Ok(()));
    assert_eq!(message.check_sha256(&key), Ok(()));
}

#[test]
fn a_fingerprint_that_is_not_last_is_refused() {
    let mut buffer = [0; 128];
    let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, [3; 12]).unwrap();
    writer.fingerprint().unwrap();
    writer.attribute(attribute::SOFTWARE, b"x").unwrap();
    let bytes = writer.finish();
    assert_eq!(Message::parse(&buffer[..bytes]).unwrap_err(), ParseError::FingerprintNotLast);
}

#[test]
fn the_first_of_equal_attributes_counts_and_all_can_be_listed() {
    let mut buffer = [0; 128];
    let mut writer = Writer::new(&mut buffer, Class::Request, Method::CREATE_PERMISSION, [3; 12]).unwrap();
    let peers =
        ["192.0.2.1:1", "192.0.2.2:2", "[2001:db8::3]:3"].map(|peer| peer.parse::<SocketAddr>().unwrap());
    for peer in peers {
        writer.xor_address(attribute::XOR_PEER_ADDRESS, peer).unwrap();
    }
    let bytes = writer.finish();

    let message = Message::parse(&buffer[..bytes]).unwrap();
    assert_eq!(xor_address(message.find(attribute::XOR_PEER_ADDRESS).unwrap(), &[3; 12]), Ok(peers[0]));
    let listed =
        message.attributes().map(|(_, value)| xor_address(value, &[3; 12]).unwrap()).collect::<Vec<_>>();
    assert_eq!(listed, peers);
}

#[test]
fn unknown_attributes_are_listed_once_and_sixteen_at_most() {
    let mut buffer = [0; 512];
    let mut writer = Writer::new(&mut buffer, Class::Request, Method::ALLOCATE, [3; 12]).unwrap();
    for attribute in [0x7000, 0x7001, 0x7000, 0xC000, attribute::LIFETIME] {
        writer.attribute(attribute, b"").unwrap();
    }
    let few = writer.finish();
    let unknown =
        Message::parse(&buffer[..few]).unwrap().unknown_required(|known| known == attribute::LIFETIME);
    assert_eq!(unknown.as_slice(), [0x7000, 0x7001]);

    let mut writer = Writer::new(&mut buffer, Class::Request, Method::ALLOCATE, [3; 12]).unwrap();
    for attribute in 0x7000..0x7050 {
        writer.attribute(attribute, b"").unwrap();
    }
    let many = writer.finish();
    let unknown = Message::parse(&buffer[..many]).unwrap().unknown_required(|_| false);
    assert_eq!(unknown.as_slice(), (0x7000..0x7010).collect::<Vec<u16>>());
}

#[test]
fn keys_and_messages_show_nothing_secret_in_debug() {
    let key = IntegrityKey::new(b"swordfish");
    assert_eq!(format!("{key:?}"), "IntegrityKey(..)");
    let mut buffer = [0; 64];
    let mut writer = Writer::new(&mut buffer, Class::Request, Method::ALLOCATE, [3; 12]).unwrap();
    writer.attribute(attribute::USERNAME, b"alice").unwrap();
    let bytes = writer.finish();
    let message = Message::parse(&buffer[..bytes]).unwrap();
    let shown = format!("{message:?} {:?}", message.attributes());
    assert!(!shown.contains("alice") && !shown.contains("97, 108"), "{shown}");
}

#[test]
fn wrong_values_are_errors_of_their_own() {
    let id = [0; 12];
    assert!(xor_address(&[0, 1, 0, 0, 1, 2, 3], &id).is_err(), "an IPv4 address of three bytes");
    assert!(xor_address(&[0, 2, 0, 0, 1, 2, 3, 4], &id).is_err(), "an IPv6 address of four bytes");
    assert!(address(&[0, 3, 0, 0, 1, 2, 3, 4]).is_err(), "family 3");
    assert!(error_code(&[0, 0, 2, 0]).is_err(), "200");
    assert!(error_code(&[0, 0, 4, 100]).is_err(), "4 and 100");
    assert!(error_code(&[0, 0, 4, 0, 0xFF]).is_err(), "a reason that is not UTF-8");
    assert_eq!(error_code(&[0xFF, 0xFF, 0xFC, 38]), Ok((438, "")), "reserved bits are ignored");
    assert!(text(&[b'a'; 509], 508).is_err());
    assert!(address_family(&[3, 0, 0, 0]).is_err());
    assert_eq!(even_port(&[0x7F]), Ok(false));
    assert!(even_port(&[]).is_err());
    assert_eq!(channel_number(&[0x40, 0, 0xFF, 0xFF]), Ok(0x4000), "reserved bits are ignored");
    assert_eq!(
        password_algorithms(&[0, 2, 0, 3, 1, 2, 3, 0, 0, 1, 0, 9]).collect::<Vec<_>>(),
        [(2, &[1, 2, 3][..])]
    );
}
