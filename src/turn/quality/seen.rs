//! The streams of one allocation in one direction.

use super::{
    Interval,
    stream::{Header, Stream},
};

/// The most streams that are told apart: audio, and a video in three sizes with retransmissions.
const STREAMS_MAX: usize = 8;
/// A stream that was silent for so long makes room for another.
const SILENT_MICROS: u64 = 10_000_000;
/// How long an interval is.
const INTERVAL_MICROS: u64 = 5_000_000;
/// Fewer packets than this say nothing in shares.
const PACKETS_MIN: u64 = 20;

/// Streams, and when their intervals began.
#[derive(Debug, Default)]
pub(super) struct Seen {
    streams: Vec<(u64, Stream)>,
}

/// What became of a packet.
#[derive(Debug, PartialEq)]
pub(super) enum Taken {
    /// It counts.
    Counted,
    /// There are too many streams.
    PassedOver,
    /// It counts, and an interval of its stream is over.
    Interval(Interval),
}

impl Seen {
    pub(super) fn take(&mut self, header: Header, at_micros: u64) -> Taken {
        let known = self.streams.iter_mut().find(|(_, stream)| stream.ssrc == header.ssrc);
        let Some((began, stream)) = known else { return self.add(header, at_micros) };
        stream.take(header, at_micros);
        if at_micros.saturating_sub(*began) < INTERVAL_MICROS {
            return Taken::Counted;
        }
        *began = at_micros;
        interval(stream).map_or(Taken::Counted, Taken::Interval)
    }

    fn add(&mut self, header: Header, at_micros: u64) -> Taken {
        let new = (at_micros, Stream::new(header, at_micros));
        if self.streams.len() < STREAMS_MAX {
            self.streams.reserve_exact(1);
            self.streams.push(new);
            return Taken::Counted;
        }
        let is_silent = |stream: &Stream| {
            !stream.is_proved() || at_micros.saturating_sub(stream.last_micros) > SILENT_MICROS
        };
        let Some(place) = self.streams.iter_mut().find(|(_, stream)| is_silent(stream)) else {
            return Taken::PassedOver;
        };
        let mut gone = std::mem::replace(place, new).1;
        interval(&mut gone).map_or(Taken::Counted, Taken::Interval)
    }

    /// The intervals that are not over.
    pub(super) fn finish(&mut self) -> Vec<Interval> {
        self.streams.iter_mut().filter_map(|(_, stream)| interval(stream)).collect()
    }
}

/// What was measured since the last one, if it is enough.
fn interval(stream: &mut Stream) -> Option<Interval> {
    if !stream.is_proved() {
        return None;
    }
    let (expected, received) = stream.take_counts();
    (expected >= PACKETS_MIN).then(|| Interval {
        expected,
        lost: expected - received,
        jitter_seconds: stream.jitter_micros().map(|micros| micros as f64 / 1_000_000.0),
    })
}
