//! Framing of streams: every split, pipelining, and what is not STUN.

#![allow(clippy::unwrap_used)]

use iceway::stun::{
    Class, FRAME_BYTES_MAX, Frame, IntegrityKey, Method, SendIndication, Writer, attribute,
    channel_data_header, next_frame, padding, parse_channel_data,
};
use proptest::{collection::vec, prelude::*, sample::Index};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_stream_comes_apart_the_same_however_it_is_split(
        messages in vec(stream_message(), 1..12), splits in vec(any::<Index>(), 0..20),
    ) {
        let stream = messages.concat();
        let mut cuts = splits.iter().map(|split| split.index(stream.len() + 1)).collect::<Vec<_>>();
        cuts.push(stream.len());
        cuts.sort_unstable();
        let mut chunks = vec![];
        let mut start = 0;
        for cut in cuts { chunks.push(&stream[start..cut]); start = cut; }

        prop_assert_eq!(take_apart(&chunks), messages);
    }

    #[test]
    fn a_stream_of_any_bytes_never_panics_and_asks_for_a_bounded_buffer(bytes in vec(any::<u8>(), 0..64)) {
        match next_frame(&bytes) {
            Frame::Complete { bytes: message, consumed } => {
                prop_assert!(message <= consumed && consumed <= bytes.len() && consumed < message + 4 && consumed > 0);
            }
            Frame::Incomplete { needed } => prop_assert!(bytes.len() < needed && needed <= FRAME_BYTES_MAX),
            Frame::Invalid(_) => {}
        }
    }
}

#[test]
fn a_pipelined_batch_comes_apart_at_every_split_and_byte_by_byte() {
    let messages = [
        message_of(b"", false),
        channel_message(0x4000, b""),
        channel_message(0x4FFF, b"12345"),
        message_of(b"1234567", true),
        channel_message(0x7FFF, b"123"),
    ];
    let stream = messages.concat();
    for first in 0..=stream.len() {
        for second in (first..=stream.len()).step_by(3) {
            let chunks = [&stream[..first], &stream[first..second], &stream[second..]];
            assert_eq!(take_apart(&chunks), messages, "split at {first} and {second}");
        }
    }
    assert_eq!(take_apart(&stream.chunks(1).collect::<Vec<_>>()), messages);
}

#[test]
fn what_is_not_stun_is_refused_on_a_stream_as_soon_as_it_shows() {
    let hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xFC, 0x03];
    assert!(matches!(next_frame(&hello), Frame::Invalid(_)), "a TLS record where TURN is expected");
    assert!(matches!(next_frame(b"GET / HTTP/1.1"), Frame::Incomplete { .. }), "reads as channel 0x4745");
    assert!(matches!(next_frame(&[0x80]), Frame::Invalid(_)), "RTP");
    assert!(
        matches!(next_frame(&[0, 1, 0, 3]), Frame::Invalid(_)),
        "a length that is not a multiple of four"
    );
    assert!(
        matches!(next_frame(&[0, 1, 0, 0, 0x20]), Frame::Invalid(_)),
        "a wrong cookie, after its first byte"
    );
    assert_eq!(next_frame(&[0, 1, 0, 8, 0x21]), Frame::Incomplete { needed: 20 });
    assert_eq!(next_frame(&[]), Frame::Incomplete { needed: 4 });
}

#[test]
fn the_largest_messages_are_framed_and_read() {
    let mut largest = vec![0; 65_535 + 20];
    let mut writer = Writer::new(&mut largest, Class::Indication, Method::SEND, [1; 12]).unwrap();
    writer.xor_address(attribute::XOR_PEER_ADDRESS, "192.0.2.1:9".parse().unwrap()).unwrap();
    let payload = vec![7; 65_532 - 12 - 4];
    assert!(writer.attribute(attribute::DATA, &[&payload[..], &[7]].concat()).is_err(), "one more than fits");
    writer.attribute(attribute::DATA, &payload).unwrap();
    let bytes = writer.finish();
    assert_eq!(bytes, FRAME_BYTES_MAX);
    assert_eq!(next_frame(&largest), Frame::Complete { bytes, consumed: bytes });
    assert_eq!(SendIndication::parse(&largest[..bytes]).unwrap().payload, 36..bytes);

    let channel = channel_message(0x4000, &[7; 65_535]);
    assert_eq!(next_frame(&channel), Frame::Complete { bytes: 65_539, consumed: 65_540 });
    assert_eq!(parse_channel_data(&channel).unwrap(), (0x4000, 4..65_539));
}

fn stream_message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (vec(any::<u8>(), 0..40), any::<bool>()).prop_map(|(payload, sign)| message_of(&payload, sign)),
        (0x4000_u16..0x8000, vec(any::<u8>(), 0..40))
            .prop_map(|(number, payload)| channel_message(number, &payload)),
    ]
}

/// A Send indication, with integrity and FINGERPRINT if `sign`.
fn message_of(payload: &[u8], sign: bool) -> Vec<u8> {
    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer, Class::Indication, Method::SEND, [5; 12]).unwrap();
    writer.attribute(attribute::DATA, payload).unwrap();
    if sign {
        writer.integrity_sha1(&IntegrityKey::new(b"key")).unwrap();
        writer.fingerprint().unwrap();
    }
    let bytes = writer.finish();
    buffer[..bytes].to_vec()
}

/// ChannelData as it is on a stream.
fn channel_message(number: u16, payload: &[u8]) -> Vec<u8> {
    let header = channel_data_header(number, payload.len() as u16);
    [&header[..], payload, &[0; 3][..padding(payload.len())]].concat()
}

/// Reads a stream that arrives in chunks: only when as much as was asked for has come is it looked at again.
fn take_apart(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
    let (mut buffered, mut wanted, mut messages) = (vec![], 0, vec![]);
    for chunk in chunks {
        buffered.extend_from_slice(chunk);
        while buffered.len() >= wanted {
            match next_frame(&buffered) {
                Frame::Complete { bytes, consumed } => {
                    assert_eq!(consumed, bytes + padding(bytes));
                    messages.push(buffered.drain(..consumed).collect());
                    wanted = 0;
                }
                Frame::Incomplete { needed } => {
                    assert!(needed > buffered.len() && needed <= FRAME_BYTES_MAX);
                    wanted = needed;
                }
                Frame::Invalid(error) => panic!("{error}"),
            }
        }
    }
    assert!(buffered.is_empty(), "{} bytes are left", buffered.len());
    messages
}
