//! Nothing in the codec allocates memory.

#![allow(clippy::unwrap_used)]

mod counting_allocator;

use counting_allocator::{CountingAllocator, allocations_during};
use iceway::stun::{
    AddressFamily, Class, Icmp, IntegrityKey, Message, Method, SendIndication, Writer, attribute,
    channel_data_header, data_indication_header, error_code, kind, long_term_key_md5, long_term_key_sha256,
    next_frame, parse_channel_data, password_algorithms, text, userhash, xor_address,
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn the_allocator_counts() {
    assert_eq!(allocations_during(|| vec![1_u8]).0, 1);
    assert_eq!(allocations_during(|| ()).0, 0);
}

#[test]
fn keys_are_derived_without_allocating() {
    let (allocations, _keys) = allocations_during(|| {
        let sha256 = long_term_key_sha256("user", "realm", "password");
        (
            IntegrityKey::new(&long_term_key_md5("user", "realm", "password")),
            IntegrityKey::new(&sha256).clone(),
        )
    });
    assert_eq!(allocations, 0);
    assert_eq!(allocations_during(|| userhash("user", "realm")).0, 0);
}

#[test]
fn writing_reading_and_checking_allocate_nothing() {
    let key = IntegrityKey::new(b"key");
    let mut buffer = [0; 1024];
    let (allocations, bytes) = allocations_during(|| write_everything(&mut buffer, &key));
    assert_eq!(allocations, 0, "writing");

    let (allocations, ()) = allocations_during(|| read_everything(&buffer[..bytes], &key));
    assert_eq!(allocations, 0, "reading");
}

#[test]
fn what_is_relayed_is_handled_without_allocating() {
    let peer = "192.0.2.1:4000".parse().unwrap();
    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer, Class::Indication, Method::SEND, [1; 12]).unwrap();
    writer.xor_address(attribute::XOR_PEER_ADDRESS, peer).unwrap();
    writer.attribute(attribute::DATA, b"payload").unwrap();
    let bytes = writer.finish();

    let (allocations, ()) = allocations_during(|| {
        let indication = SendIndication::parse(&buffer[..bytes]).unwrap();
        assert_eq!(&buffer[indication.payload], b"payload");
        let header = channel_data_header(0x4000, 4);
        let channel_data = [header[0], header[1], header[2], header[3], 1, 2, 3, 4];
        assert_eq!(parse_channel_data(&channel_data), Ok((0x4000, 4..8)));
        assert_eq!(data_indication_header(&mut [0; 48], peer, &[2; 12], 7), 36);
    });
    assert_eq!(allocations, 0);
}

#[test]
fn refusing_allocates_nothing() {
    let mut datagram = [0x5A; 200];
    let (allocations, ()) = allocations_during(|| {
        for first_byte in 0..=255 {
            datagram[0] = first_byte;
            assert!(Message::parse(&datagram).is_err());
            assert!(SendIndication::parse(&datagram).is_err());
            assert!(parse_channel_data(&datagram).is_err());
        }
    });
    assert_eq!(allocations, 0);
}

fn write_everything(buffer: &mut [u8], key: &IntegrityKey) -> usize {
    let address = "[2001:db8::1]:4000".parse().unwrap();
    let mut writer = Writer::new(buffer, Class::Error, Method::ALLOCATE, [1; 12]).unwrap();
    writer.attribute(attribute::USERNAME, b"1700000000:alice").unwrap();
    writer.xor_address(attribute::XOR_RELAYED_ADDRESS, address).unwrap();
    writer.address(attribute::ALTERNATE_SERVER, address).unwrap();
    writer.u32(attribute::LIFETIME, 600).unwrap();
    writer.channel_number(0x4000).unwrap();
    writer.requested_transport(17).unwrap();
    writer.even_port(true).unwrap();
    writer.address_family(attribute::REQUESTED_ADDRESS_FAMILY, AddressFamily::Ipv4).unwrap();
    writer.error_code(420, "Unknown Attribute").unwrap();
    writer.address_error_code(AddressFamily::Ipv6, 440, "").unwrap();
    writer.unknown_attributes(&[1, 2, 3]).unwrap();
    writer.password_algorithms(attribute::PASSWORD_ALGORITHMS, &[1, 2]).unwrap();
    writer.icmp(Icmp { kind: 3, code: 4, data: 1280 }).unwrap();
    writer.integrity_sha1(key).unwrap();
    writer.integrity_sha256(key).unwrap();
    writer.fingerprint().unwrap();
    writer.finish()
}

fn read_everything(bytes: &[u8], key: &IntegrityKey) {
    assert_eq!(kind(bytes[0]), iceway::stun::Kind::Stun);
    assert!(matches!(next_frame(bytes), iceway::stun::Frame::Complete { .. }));
    let message = Message::parse(bytes).unwrap();
    assert_eq!(message.check_sha1(key), Ok(()));
    assert_eq!(message.check_sha256(key), Ok(()));
    assert_eq!(message.attributes().count(), 16);
    assert_eq!(text(message.find(attribute::USERNAME).unwrap(), 508), Ok("1700000000:alice"));
    assert!(
        xor_address(message.find(attribute::XOR_RELAYED_ADDRESS).unwrap(), &message.transaction_id()).is_ok()
    );
    assert_eq!(error_code(message.find(attribute::ERROR_CODE).unwrap()), Ok((420, "Unknown Attribute")));
    assert_eq!(password_algorithms(message.find(attribute::PASSWORD_ALGORITHMS).unwrap()).count(), 2);
    assert!(!message.unknown_required(|_| false).is_empty());
}
