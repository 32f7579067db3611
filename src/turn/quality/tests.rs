//! RTP made here, with known losses, on paths made here.

use super::{
    seen::{Seen, Taken},
    stream::{Header, Stream},
    *,
};

/// A generator whose numbers look random and are the same each time (SplitMix64).
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Packets of one stream that come every `gap_micros`.
struct Sender {
    ssrc: u32,
    first: u16,
    timestamp: u32,
    rate: u32,
    gap_micros: u64,
}

impl Sender {
    fn audio() -> Self {
        Self { ssrc: 1, first: 65_000, timestamp: u32::MAX - 10_000, rate: 48_000, gap_micros: 20_000 }
    }

    fn packet(&self, number: u64) -> (Header, u64) {
        let at = number * self.gap_micros;
        let ticks = at * u64::from(self.rate) / 1_000_000;
        let header = Header {
            ssrc: self.ssrc,
            sequence: self.first.wrapping_add(number as u16),
            timestamp: self.timestamp.wrapping_add(ticks as u32),
        };
        (header, 1_000_000 + at)
    }
}

/// What a stream says in the end of packets in the order of their arrival.
fn measured(mut arrivals: Vec<(Header, u64)>) -> (u64, u64, Option<u64>) {
    arrivals.sort_by_key(|(_, at)| *at);
    let (first, at) = arrivals[0];
    let mut stream = Stream::new(first, at);
    for (header, at) in arrivals.into_iter().skip(1) {
        stream.take(header, at);
    }
    let (expected, received) = stream.take_counts();
    (expected, expected - received, stream.jitter_micros())
}

#[test]
fn an_even_stream_loses_nothing_and_has_no_jitter_across_both_wraps() {
    let sender = Sender::audio();
    let (expected, lost, jitter) = measured((0..5000).map(|number| sender.packet(number)).collect());

    assert_eq!((expected, lost), (5000, 0));
    assert!(jitter.unwrap() <= 1, "{jitter:?}");
}

#[test]
fn lost_packets_are_counted_exactly() {
    let sender = Sender::audio();
    let mut draws = Draws(7);
    let all = 20_000;
    let is_kept = |number: &u64, draw: u64| *number < 5 || *number == all - 1 || draw >= 3;
    let arrivals: Vec<_> =
        (0..all).filter(|number| is_kept(number, draws.below(100))).map(|n| sender.packet(n)).collect();
    let kept = arrivals.len() as u64;
    let (expected, lost, _) = measured(arrivals);

    assert_eq!((expected, lost), (all, all - kept));
    assert!((500..700).contains(&lost), "{lost} of 20000 are about 3 %");
}

#[test]
fn what_is_overtaken_is_not_lost() {
    let sender = Sender::audio();
    let mut draws = Draws(8);
    let late = |number: u64, draw: u64| {
        let (header, at) = sender.packet(number);
        (header, if number > 5 && draw == 0 { at + 70_000 } else { at })
    };
    let arrivals = (0..5000).map(|number| late(number, draws.below(20))).collect();
    let (expected, lost, _) = measured(arrivals);

    assert_eq!((expected, lost), (5000, 0));
}

#[test]
fn jitter_is_that_of_the_path_whatever_the_clock_rate() {
    for (rate, gap_micros) in [(8000, 20_000), (48_000, 20_000), (90_000, 33_333)] {
        let sender = Sender { rate, gap_micros, ..Sender::audio() };
        let mut draws = Draws(9);
        // Evenly spread over 8 ms: two of them are 8/3 ms apart on average.
        let arrivals = (0..6000)
            .map(|number| sender.packet(number))
            .map(|(header, at)| (header, at + draws.below(8000)))
            .collect();
        let (_, lost, jitter) = measured(arrivals);

        let jitter = jitter.expect("the rate is known") as f64;
        assert_eq!(lost, 0);
        assert!((1500.0..4200.0).contains(&jitter), "{jitter} µs at {rate} Hz, where 2667 are expected");
    }
}

#[test]
fn a_stream_whose_timestamps_follow_no_known_clock_has_no_jitter() {
    let sender = Sender { rate: 60_000, ..Sender::audio() };
    let (_, lost, jitter) = measured((0..2000).map(|number| sender.packet(number)).collect());

    assert_eq!((lost, jitter), (0, None));
}

#[test]
fn packets_of_one_frame_share_a_timestamp() {
    let sender = Sender { rate: 90_000, gap_micros: 40_000, ..Sender::audio() };
    let mut arrivals = Vec::new();
    for frame in 0..500 {
        let (header, at) = sender.packet(frame);
        for part in 0..4_u16 {
            let sequence = (frame as u16).wrapping_mul(4).wrapping_add(part);
            arrivals.push((Header { sequence, ..header }, at + u64::from(part) * 100));
        }
    }
    let (expected, lost, jitter) = measured(arrivals);

    assert_eq!((expected, lost), (2000, 0));
    assert!(jitter.unwrap() < 300, "{jitter:?}");
}

#[test]
fn a_sender_that_begins_anew_has_not_lost_thousands() {
    let (old, new) = (Sender::audio(), Sender { first: 20_000, timestamp: 5, ..Sender::audio() });
    let before = (0..500).map(|number| old.packet(number));
    let after = (500..1000).map(|number| new.packet(number));
    let (expected, lost, _) = measured(before.chain(after).collect());

    assert!(expected >= 999 && lost <= 2, "{lost} of {expected}");
}

#[test]
fn only_rtp_is_looked_at() {
    let packet = |first: u8, second: u8| {
        let mut bytes = vec![first, second, 0, 7, 0, 0, 0, 9, 0, 0, 0, 5];
        bytes.extend([0; 20]);
        bytes
    };
    let header = Some(Header { ssrc: 5, sequence: 7, timestamp: 9 });
    assert_eq!(Header::parse(&packet(0x80, 111)), header);
    assert_eq!(Header::parse(&packet(0x80, 0x80 | 96)), header, "with the marker");
    // STUN, ChannelData, TLS and DTLS, TURN; RTCP.
    for (first, second) in [(0, 1), (0x40, 0), (22, 3), (0x7f, 0), (0xc0, 0), (0x80, 200), (0x81, 206)] {
        assert_eq!(Header::parse(&packet(first, second)), None, "{first:#x} {second}");
    }
    assert_eq!(Header::parse(&packet(0x80, 111)[..12]), None, "nothing is carried");
    let mut extended = packet(0x92, 111);
    assert_eq!(Header::parse(&extended[..20]), None, "two sources, and an extension that is not there");
    extended[20..24].copy_from_slice(&[0xbe, 0xde, 0, 1]);
    assert_eq!(Header::parse(&extended), header);
    extended[23] = 200;
    assert_eq!(Header::parse(&extended), None, "an extension that is longer than the packet");
}

#[test]
fn whatever_comes_does_no_harm() {
    let mut draws = Draws(3);
    let mut seen = Seen::default();
    for step in 0..200_000_u64 {
        let (a, b) = (draws.next(), draws.next());
        let header = Header { ssrc: (a % 30) as u32, sequence: b as u16, timestamp: (b >> 16) as u32 };
        let at = if a % 100 == 0 { draws.next() } else { step * 1000 };
        if let Taken::Interval(interval) = seen.take(header, at) {
            assert!(interval.lost <= interval.expected, "{interval:?}");
        }
    }
}

#[test]
fn streams_are_bounded_and_silent_ones_make_room() {
    let mut seen = Seen::default();
    let stream = |ssrc| Sender { ssrc, ..Sender::audio() };
    for number in 0..100 {
        for ssrc in 1..=8 {
            let (header, at) = stream(ssrc).packet(number);
            assert_ne!(seen.take(header, at), Taken::PassedOver);
        }
    }
    let (ninth, at) = stream(9).packet(100);
    assert_eq!(seen.take(ninth, at), Taken::PassedOver);
    let last = Interval { expected: 100, lost: 0, jitter_seconds: None };
    assert_eq!(seen.take(ninth, at + 11_000_000), Taken::Interval(last), "what the silent one had counts");
    assert_eq!(seen.take(ninth, at + 11_000_001), Taken::Counted);
}

#[test]
fn an_interval_is_told_every_five_seconds() {
    let mut seen = Seen::default();
    let sender = Sender::audio();
    let mut intervals = Vec::new();
    for number in (0..1000).filter(|number| number % 10 != 9) {
        let (header, at) = sender.packet(number);
        if let Taken::Interval(interval) = seen.take(header, at) {
            intervals.push(interval);
        }
    }

    assert_eq!(intervals.len(), 3, "{intervals:?}");
    for interval in &intervals[1..] {
        assert_eq!((interval.expected, interval.lost), (250, 25));
        assert!(interval.jitter_seconds.unwrap() < 0.000_1, "{interval:?}");
    }
}

#[test]
fn a_histogram_counts_what_is_at_or_below_each_bound() {
    let mut histogram = Histogram::new([0.0, 0.125, 0.5]);
    for value in [0.0, 0.125, 0.25, 1.0] {
        histogram.add(value);
    }
    let mut twice = histogram.clone();
    twice.merge(&histogram);

    assert_eq!(histogram.buckets().collect::<Vec<_>>(), [(0.0, 1), (0.125, 1), (0.5, 1)]);
    assert_eq!((twice.count, twice.sum), (8, 2.75));
}

#[test]
fn labels_are_bounded() {
    let mut labels = HashMap::default();
    let interval = Interval { expected: 10, lost: 1, jitter_seconds: Some(0.5) };
    for step in 0..100 {
        add_to_label(&mut labels, 3, format!("label {step}").into(), Direction::ToPeer, &interval);
    }

    assert_eq!(labels.len(), 4);
    let others = labels[OTHERS][Direction::ToPeer as usize];
    assert_eq!((others.expected, others.lost, others.jitter()), (970, 97, Some(0.5)));
    assert_eq!(others.loss_ratio(), Some(0.1));
}
