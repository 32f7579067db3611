//! One RTP stream: what of it arrived, and how evenly (RFC 3550 §6.4.1, A.1, A.3, A.8).

/// A gap in sequence numbers that is taken for loss; a larger one for a sender that began anew (RFC 3550 A.1).
const DROPOUT_MAX: u16 = 3000;
/// How far back a packet may lie that was only overtaken (RFC 3550 A.1).
const MISORDER_MAX: u16 = 100;
/// How many packets must follow one another before a stream is believed to be one.
const PROBATION: u8 = 3;
/// How long timestamps are compared with the clock before a rate is concluded from them.
const RATE_WINDOW_MICROS: u64 = 2_000_000;
/// The clock rates of audio and video that are in use.
const RATES: [u32; 7] = [8000, 16_000, 24_000, 32_000, 44_100, 48_000, 90_000];
/// How far an estimate may be off the rate it is taken for, in hundredths.
const RATE_ERROR_PERCENT: u64 = 6;
/// A pause after which neither the rate nor the jitter can be told from the timestamps.
const PAUSE_MICROS: u64 = 1_000_000;

/// What the header of a packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) ssrc: u32,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
}

impl Header {
    /// The header of what looks like RTP: first byte of RFC 7983 §7, version 2, no RTCP (RFC 5761 §4), and as long as
    /// it says it is. Of SRTP nothing else is readable, nor looked at.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        let [first, second, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3, rest @ ..] = packet else { return None };
        if !(128..=191).contains(first) || (192..=223).contains(second) {
            return None;
        }
        let sources = usize::from(first & 0x0f) * 4;
        let extension = if first & 0x10 == 0 {
            0
        } else {
            let [_, _, high, low] = rest.get(sources..sources + 4)? else { return None };
            4 + 4 * usize::from(u16::from_be_bytes([*high, *low]))
        };
        // Something must be carried.
        (rest.len() > sources + extension).then_some(Self {
            ssrc: u32::from_be_bytes([*i0, *i1, *i2, *i3]),
            sequence: u16::from_be_bytes([*s0, *s1]),
            timestamp: u32::from_be_bytes([*t0, *t1, *t2, *t3]),
        })
    }
}

/// What is known of one stream.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) ssrc: u32,
    /// When the last packet came.
    pub(super) last_micros: u64,
    /// Packets that still have to follow one another.
    probation: u8,
    /// The highest sequence number so far.
    highest: u16,
    /// Which sequence number would follow one that made no sense.
    jumped: Option<u16>,
    expected: u64,
    received: u64,
    clock: Clock,
}

impl Stream {
    pub(super) fn new(header: Header, at_micros: u64) -> Self {
        Self {
            ssrc: header.ssrc,
            last_micros: at_micros,
            probation: PROBATION - 1,
            highest: header.sequence,
            jumped: None,
            expected: 1,
            received: 1,
            clock: Clock::new(header.timestamp, at_micros),
        }
    }

    /// Whether enough packets followed one another.
    pub(super) const fn is_proved(&self) -> bool {
        self.probation == 0
    }

    /// Takes another packet.
    pub(super) fn take(&mut self, header: Header, at_micros: u64) {
        self.last_micros = at_micros;
        let ahead = header.sequence.wrapping_sub(self.highest);
        if self.probation > 0 {
            if ahead != 1 {
                *self = Self::new(header, at_micros);
                return;
            }
            self.probation -= 1;
        }
        if ahead != 0 && ahead < DROPOUT_MAX {
            self.highest = header.sequence;
            self.expected += u64::from(ahead);
            self.received += 1;
            self.jumped = None;
            self.clock.take(header.timestamp, at_micros);
        } else if ahead == 0 || ahead > u16::MAX - MISORDER_MAX {
            // One that was overtaken, or comes twice. What comes twice makes up for one that is lost: sequence numbers
            // alone do not tell, and RFC 3550 counts so too.
            self.received += 1;
        } else if self.jumped == Some(header.sequence) {
            // Two in a row from elsewhere: the sender began anew.
            let (expected, received) = (self.expected, self.received);
            *self = Self::new(header, at_micros);
            (self.expected, self.received, self.probation) = (expected + 2, received + 2, 0);
        } else {
            self.jumped = Some(header.sequence.wrapping_add(1));
        }
    }

    /// Packets that should have come and packets that came since the last call; what came twice is not told apart.
    pub(super) fn take_counts(&mut self) -> (u64, u64) {
        let counts = (self.expected, self.received.min(self.expected));
        // What came twice, or late, of the last interval does not improve the next.
        (self.expected, self.received) = (0, 0);
        counts
    }

    /// The jitter in microseconds, once the clock rate is known.
    pub(super) fn jitter_micros(&self) -> Option<u64> {
        self.clock.jitter_micros()
    }
}

/// Timestamps against the clock.
///
/// RTP does not say at which rate its timestamps run; that is agreed upon out of sight of a relay. But they follow real
/// time, so the rate shows in how far they advance in two seconds, and is one of a few. A stream for which none of
/// them fits has no jitter here, rather than a wrong one.
#[derive(Clone, Debug)]
struct Clock {
    /// Where the comparison began.
    base: (u32, u64),
    last: (u32, u64),
    /// Ticks a second.
    rate: Option<u32>,
    /// In sixteenths of a microsecond (RFC 3550 A.8).
    jitter: u64,
    measured: bool,
}

impl Clock {
    const fn new(timestamp: u32, at_micros: u64) -> Self {
        let now = (timestamp, at_micros);
        Self { base: now, last: now, rate: None, jitter: 0, measured: false }
    }

    fn take(&mut self, timestamp: u32, at_micros: u64) {
        let (last_timestamp, last_micros) = std::mem::replace(&mut self.last, (timestamp, at_micros));
        let (ticks, passed) = (timestamp.wrapping_sub(last_timestamp), at_micros.saturating_sub(last_micros));
        if ticks > u32::MAX / 2 {
            // An older frame overtaken, or a retransmission: it says nothing about the path.
            self.last = (last_timestamp, last_micros);
            return;
        }
        if passed > PAUSE_MICROS {
            self.base = self.last;
            return;
        }
        if let Some(rate) = self.rate {
            let sent_apart = u64::from(ticks) * 1_000_000 / u64::from(rate);
            let difference = passed.abs_diff(sent_apart);
            if difference > PAUSE_MICROS {
                self.base = self.last;
                return;
            }
            self.jitter = self.jitter + difference - ((self.jitter + 8) >> 4);
            self.measured = true;
        }
        self.judge_rate();
    }

    fn judge_rate(&mut self) {
        let passed = self.last.1.saturating_sub(self.base.1);
        if passed < RATE_WINDOW_MICROS {
            return;
        }
        let ticks = u64::from(self.last.0.wrapping_sub(self.base.0));
        self.base = self.last;
        let rate = nearest(ticks * 1_000_000 / passed);
        if rate != self.rate {
            (self.rate, self.jitter, self.measured) = (rate, 0, false);
        }
    }

    fn jitter_micros(&self) -> Option<u64> {
        (self.rate.is_some() && self.measured).then_some(self.jitter >> 4)
    }
}

fn nearest(estimate: u64) -> Option<u32> {
    let off = |rate: &u32| u64::from(*rate).abs_diff(estimate);
    let rate = RATES.into_iter().min_by_key(off)?;
    (off(&rate) * 100 <= u64::from(rate) * RATE_ERROR_PERCENT).then_some(rate)
}
