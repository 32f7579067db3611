//! What the codec costs, in nanoseconds and memory allocations, beside two other ones in the same run.
//!
//! `cargo bench --bench codec`; about ten seconds. Each number is the best of many short repeats, so that a busy
//! machine disturbs it little. "ratio" is how many times longer the other one takes.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[path = "../tests/counting_allocator/mod.rs"]
mod counting_allocator;

use std::{
    hint::black_box,
    net::SocketAddr,
    time::{Duration, Instant},
};

use counting_allocator::{CountingAllocator, allocations_during};
use iceway::stun::{
    Class, IntegrityKey, Message, Method, SendIndication, Writer, attribute, channel_data_header,
    data_indication_header, long_term_key_md5, parse_channel_data,
};
use stun::message::{Getter, Setter};
use stun_types::{
    attribute::AttributeStaticType as _,
    message::{
        IntegrityAlgorithm, LongTermKeyCredentials, MessageWrite, MessageWriteExt, MessageWriteMutSlice,
    },
};
use turn_types::attribute as tt;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() {
    // Run by `cargo test`, it only shows that it works.
    let bench = Bench { thorough: std::env::args().any(|argument| argument == "--bench") };
    println!(
        "{:<44} {:>13} {:>21} {:>7} {:>21} {:>7}",
        "ns per operation (allocations)",
        "iceway",
        "stun + turn",
        "ratio",
        "stun-types + turn-types",
        "ratio"
    );
    bench.binding();
    bench.indications();
    bench.channel_data();
    bench.integrity();
}

struct Bench {
    thorough: bool,
}

#[derive(Clone, Copy)]
struct Cost {
    nanoseconds: f64,
    allocations: u64,
}

const ID: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
const PAYLOAD: [u8; 1200] = [0x5A; 1200];

impl Bench {
    fn binding(&self) {
        let client: SocketAddr = "198.51.100.7:40000".parse().unwrap();
        let request = written(Class::Request, Method::BINDING, |writer| writer.fingerprint());
        let mut buffer = [0; 256];
        let ours = self.cost(|| {
            let request = Message::parse(black_box(&request)).unwrap();
            let mut writer =
                Writer::new(&mut buffer, Class::Success, request.method(), request.transaction_id()).unwrap();
            writer.xor_address(attribute::XOR_MAPPED_ADDRESS, client).unwrap();
            writer.fingerprint().unwrap();
            writer.finish()
        });
        let theirs = self.cost(|| {
            let request = decoded_by_stun(black_box(&request));
            stun::fingerprint::FINGERPRINT.check(&request).unwrap();
            let mut response = stun::message::Message::new();
            response.typ.read_value(0x0101);
            response.transaction_id = request.transaction_id;
            response.write_header();
            stun::xoraddr::XorMappedAddress { ip: client.ip(), port: client.port() }
                .add_to(&mut response)
                .unwrap();
            stun::fingerprint::FINGERPRINT.add_to(&mut response).unwrap();
            response.raw.len()
        });
        let others = self.cost(|| {
            let request = stun_types::message::Message::from_bytes(black_box(&request)).unwrap();
            let mut response = stun_types::message::Message::builder_success(
                &request,
                MessageWriteMutSlice::new(&mut buffer),
            );
            response
                .add_attribute(&stun_types::attribute::XorMappedAddress::new(
                    client,
                    request.transaction_id(),
                ))
                .unwrap();
            response.add_fingerprint().unwrap();
            response.finish()
        });
        print("Binding: request in, success response out", ours, theirs, others);

        let request = written(Class::Request, Method::BINDING, |writer| {
            writer.attribute(attribute::SOFTWARE, &[b'x'; 68])?;
            writer.fingerprint()
        });
        let ours = self.cost(|| Message::parse(black_box(&request)).unwrap().has_fingerprint());
        let theirs =
            self.cost(|| stun::fingerprint::FINGERPRINT.check(&decoded_by_stun(black_box(&request))).is_ok());
        let others = self.cost(|| stun_types::message::Message::from_bytes(black_box(&request)).is_ok());
        print("FINGERPRINT: 100-byte request in", ours, theirs, others);
    }

    fn indications(&self) {
        let peer: SocketAddr = "203.0.113.9:5000".parse().unwrap();
        let send = written(Class::Indication, Method::SEND, |writer| {
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer)?;
            writer.attribute(attribute::DATA, &PAYLOAD)
        });
        let ours = self.cost(|| SendIndication::parse(black_box(&send)).unwrap());
        let theirs = self.cost(|| {
            let message = decoded_by_stun(black_box(&send));
            let (mut peer, mut data) =
                (turn::proto::peeraddr::PeerAddress::default(), turn::proto::data::Data::default());
            peer.get_from(&message).unwrap();
            data.get_from(&message).unwrap();
            (peer, data)
        });
        let others = self.cost(|| {
            let message = stun_types::message::Message::from_bytes(black_box(&send)).unwrap();
            let peer = message.attribute::<tt::XorPeerAddress>().unwrap().addr(message.transaction_id());
            (peer, message.raw_attribute(tt::Data::TYPE).unwrap().value.len())
        });
        print("Send indication in, 1200 B", ours, theirs, others);

        let mut header = [0; 48];
        let mut buffer = [0; 1400];
        let ours = self.cost(|| data_indication_header(&mut header, black_box(peer), &ID, 1200));
        let theirs = self.cost(|| {
            let mut message = stun::message::Message::new();
            message.typ.read_value(0x0017);
            message.transaction_id = stun::agent::TransactionId(ID);
            message.write_header();
            let peer = black_box(peer);
            turn::proto::peeraddr::PeerAddress { ip: peer.ip(), port: peer.port() }
                .add_to(&mut message)
                .unwrap();
            turn::proto::data::Data(PAYLOAD.to_vec()).add_to(&mut message).unwrap();
            message.raw.len()
        });
        let others = self.cost(|| {
            let method = stun_types::message::Method::new(7);
            let mut message = stun_types::message::Message::builder_indication(
                method,
                MessageWriteMutSlice::new(&mut buffer),
            );
            let id = message.transaction_id();
            message.add_attribute(&tt::XorPeerAddress::new(black_box(peer), id)).unwrap();
            message.add_attribute(&tt::Data::new(&PAYLOAD)).unwrap();
            message.finish()
        });
        print("Data indication out (ours: header alone)", ours, theirs, others);
    }

    fn channel_data(&self) {
        let datagram = [&channel_data_header(0x4000, 1200)[..], &PAYLOAD].concat();
        let ours = self.cost(|| parse_channel_data(black_box(&datagram)).unwrap());
        let theirs = self.cost(|| {
            let mut data = turn::proto::chandata::ChannelData {
                raw: black_box(&datagram).clone(),
                ..Default::default()
            };
            data.decode().unwrap();
            data
        });
        let others =
            self.cost(|| turn_types::channel::ChannelData::parse(black_box(&datagram)).unwrap().data().len());
        print("ChannelData in, 1200 B", ours, theirs, others);

        let mut buffer = [0; 1204];
        let ours = self.cost(|| channel_data_header(black_box(0x4000), black_box(1200)));
        let theirs = self.cost(|| {
            let number = turn::proto::channum::ChannelNumber(black_box(0x4000));
            let mut data = turn::proto::chandata::ChannelData { data: PAYLOAD.to_vec(), number, raw: vec![] };
            data.encode();
            data
        });
        let others = self.cost(|| {
            turn_types::channel::ChannelData::new(black_box(0x4000), &PAYLOAD)
                .write_into_unchecked(&mut buffer)
        });
        print("ChannelData out (ours: header alone)", ours, theirs, others);
    }

    fn integrity(&self) {
        let raw_key = long_term_key_md5("1700000000:alice", "example.org", "password");
        let key = IntegrityKey::new(&raw_key);
        let request = written(Class::Request, Method::ALLOCATE, |writer| {
            writer.requested_transport(17)?;
            writer.attribute(attribute::USERNAME, b"1700000000:alice")?;
            writer.attribute(attribute::REALM, b"example.org")?;
            writer.attribute(attribute::NONCE, b"obMatJos2AAAB0123456789abcdef0123456789")?;
            writer.integrity_sha1(&key)?;
            writer.fingerprint()
        });
        let theirs_key = stun::integrity::MessageIntegrity(raw_key.to_vec());
        let theirs = self.cost(|| {
            let mut message = decoded_by_stun(black_box(&request));
            stun::fingerprint::FINGERPRINT.check(&message).unwrap();
            theirs_key.check(&mut message).is_ok()
        });
        let credentials =
            LongTermKeyCredentials::new("1700000000:alice".into(), "password".into(), "example.org".into());
        let others_key = credentials.make_key(IntegrityAlgorithm::Sha1);
        let others = self.cost(|| {
            let message = stun_types::message::Message::from_bytes(black_box(&request)).unwrap();
            message.validate_integrity_with_key(&others_key).unwrap()
        });
        let per_call = self.cost(|| {
            Message::parse(black_box(&request))
                .unwrap()
                .check_sha1(&IntegrityKey::new(black_box(&raw_key)))
                .unwrap()
        });
        print("Allocate in, integrity checked: key per call", per_call, theirs, others);
        let precomputed =
            self.cost(|| Message::parse(black_box(&request)).unwrap().check_sha1(black_box(&key)).unwrap());
        print("Allocate in, integrity checked: precomputed", precomputed, theirs, others);
    }

    /// The best of many repeats, each short enough to fit between two interruptions.
    fn cost<T>(&self, mut operation: impl FnMut() -> T) -> Cost {
        let (allocations, _) = allocations_during(&mut operation);
        let (repeats, length) =
            if self.thorough { (1000, Duration::from_micros(300)) } else { (1, Duration::from_micros(50)) };
        let mut rounds = 1_u32;
        let mut best = f64::INFINITY;
        let mut repeat = 0;
        while repeat < repeats {
            let start = Instant::now();
            (0..rounds).for_each(|_| drop(black_box(operation())));
            let taken = start.elapsed();
            if taken < length / 2 {
                rounds *= 2;
                continue;
            }
            best = best.min(taken.as_secs_f64() * 1e9 / f64::from(rounds));
            repeat += 1;
        }
        Cost { nanoseconds: best, allocations }
    }
}

fn print(operation: &str, ours: Cost, theirs: Cost, others: Cost) {
    let cost = |cost: Cost| format!("{:.1} ({})", cost.nanoseconds, cost.allocations);
    let ratio = |cost: Cost| format!("{:.1}x", cost.nanoseconds / ours.nanoseconds);
    println!(
        "{operation:<44} {:>13} {:>21} {:>7} {:>21} {:>7}",
        cost(ours),
        cost(theirs),
        ratio(theirs),
        cost(others),
        ratio(others)
    );
}

fn written(
    class: Class,
    method: Method,
    attributes: impl FnOnce(&mut Writer<'_>) -> Result<(), iceway::stun::BufferTooSmall>,
) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let mut writer = Writer::new(&mut buffer, class, method, ID).unwrap();
    attributes(&mut writer).unwrap();
    let bytes = writer.finish();
    buffer[..bytes].to_vec()
}

fn decoded_by_stun(bytes: &[u8]) -> stun::message::Message {
    let mut message = stun::message::Message::new();
    message.write(bytes).unwrap();
    message
}
