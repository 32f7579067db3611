//! Frames of the bus: sealed, bound to who sent them, to whom, and to their number, so that none can be read, forged,
//! redirected or played again.

use serde::{Deserialize, Serialize};

use super::seal::{Sealer, place};
use crate::cluster::{Answer, Ask, NodeInfo, Row};

const FORMAT: u8 = 1;
/// Of frames between signaling relays.
const FORMAT_SIGNAL: u8 = 2;
/// A frame is refused when the clocks of its two nodes differ by more, or when it is older.
pub(super) const AGE_MAX_MILLIS: u64 = 60_000;
/// The largest frame: a page of a thousand allocations is a quarter of it.
pub(super) const FRAME_BYTES_MAX: usize = 4 << 20;
/// The destination of what all nodes shall hear.
const ALL: &[u8] = b"*";

/// What nodes tell one another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// To all: how the sender does, and that it is there.
    Heartbeat(Box<NodeInfo>),
    /// To all: the sender ends.
    Leave,
    /// To all: rows that were written, and how many writes there have been with them.
    Rows {
        /// The rows; none when there were many.
        rows: Vec<Row>,
        /// How many were written: they count up to `sequence`.
        written: u64,
        /// The number of writes with them; see [`WRITE_ROWS`](super::scripts::WRITE_ROWS).
        sequence: u64,
    },
    /// How many allocations users hold at the sender.
    Quotas {
        /// Whether what was told before is void.
        is_first: bool,
        /// Users with their number now.
        counts: Vec<(String, u32)>,
    },
    /// To one: tell me all your quotas.
    TellQuotas,
    /// To all: there are new events in these partitions, a bit for each.
    Events(u16),
    /// To one: a question.
    Request {
        /// Names it among those of the sender.
        id: u64,
        /// What is asked.
        ask: Ask,
    },
    /// To one: the answer to a question of its own.
    Reply {
        /// The question's.
        id: u64,
        /// What is answered.
        answer: Answer,
    },
    /// To one: there is no such question in the version of the sender.
    NotUnderstood {
        /// The question's.
        id: u64,
    },
    /// What a node of another version says, and this one has no word for.
    #[serde(skip)]
    Unknown(Unknown),
}

/// What can be told of a message that this version does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// A question, of this number.
    Request(u64),
    /// The answer to this question.
    Reply(u64),
    /// Anything else.
    Other,
}

/// The outside of a message, whatever is inside.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Envelope {
    Request { id: u64 },
    Reply { id: u64 },
}

/// What stands before the sealed message, and is sealed with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Who sent it.
    pub(super) source: String,
    /// Which run of that node.
    pub(super) incarnation: u64,
    /// Counts all frames of that run, from 1.
    pub(super) sequence: u64,
    /// Counts its frames to all, from 1; 0 for a frame to one node.
    pub(super) broadcast: u64,
    /// Milliseconds since the Unix epoch.
    pub(super) sent: u64,
}

/// To whom a frame goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// All nodes.
    All,
    /// One run of one node.
    One(String, u64),
}

impl Destination {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::All => ALL.to_vec(),
            Self::One(node, incarnation) => place(&[node.as_bytes(), &incarnation.to_be_bytes()]),
        }
    }
}

impl Header {
    fn write(&self, format: u8) -> Option<Vec<u8>> {
        let mut bytes = vec![format, u8::try_from(self.source.len()).ok()?];
        bytes.extend_from_slice(self.source.as_bytes());
        for number in [self.incarnation, self.sequence, self.broadcast, self.sent] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        Some(bytes)
    }

    /// The header of a frame, its bytes, and what is sealed.
    pub(super) fn read(frame: &[u8]) -> Option<(Self, &[u8], &[u8])> {
        Self::read_as(FORMAT, frame)
    }

    /// The same of a frame between signaling relays.
    pub(super) fn read_signal(frame: &[u8]) -> Option<(Self, &[u8], &[u8])> {
        Self::read_as(FORMAT_SIGNAL, frame)
    }

    fn read_as(wanted: u8, frame: &[u8]) -> Option<(Self, &[u8], &[u8])> {
        let (&[format, length], rest) = frame.split_first_chunk::<2>()?;
        if format != wanted || frame.len() > FRAME_BYTES_MAX {
            return None;
        }
        let (source, rest) = rest.split_at_checked(usize::from(length))?;
        let source = std::str::from_utf8(source).ok()?.to_owned();
        let (incarnation, rest) = rest.split_first_chunk::<8>()?;
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let (broadcast, rest) = rest.split_first_chunk::<8>()?;
        let (sent, sealed) = rest.split_first_chunk::<8>()?;
        let bytes = frame.get(..frame.len() - sealed.len())?;
        let number = |bytes: &[u8; 8]| u64::from_be_bytes(*bytes);
        let header = Self {
            source,
            incarnation: number(incarnation),
            sequence: number(sequence),
            broadcast: number(broadcast),
            sent: number(sent),
        };
        Some((header, bytes, sealed))
    }
}

/// The purpose of the key of one run of a node: each has its own, so that random nonces never come near their limit.
pub(super) fn purpose(source: &str, incarnation: u64) -> String {
    format!("bus {incarnation:016x} {source}")
}

/// Makes a frame. `None` if it would be too large, or the system gives no random bytes.
pub(super) fn write(
    sealer: &Sealer,
    header: &Header,
    to: &Destination,
    message: &Message,
) -> Option<Vec<u8>> {
    let plain = zeroize::Zeroizing::new(serde_json::to_vec(message).ok()?);
    let mut frame = header.write(FORMAT)?;
    let sealed = sealer.seal(&place(&[&to.bytes(), &frame]), &plain)?;
    frame.extend_from_slice(&sealed);
    (frame.len() <= FRAME_BYTES_MAX).then_some(frame)
}

/// Opens a frame whose header was read. What opens is from who it says, and if it cannot be read, its sender is of another
/// version.
pub(super) fn open(sealer: &Sealer, header: &[u8], sealed: &[u8], to: &Destination) -> Option<Message> {
    let plain = sealer.open(&place(&[&to.bytes(), header]), sealed).ok()?;
    let unknown = || match serde_json::from_slice(&plain) {
        Ok(Envelope::Request { id }) => Unknown::Request(id),
        Ok(Envelope::Reply { id }) => Unknown::Reply(id),
        Err(_) => Unknown::Other,
    };
    Some(serde_json::from_slice(&plain).unwrap_or_else(|_| Message::Unknown(unknown())))
}

/// Makes a frame between signaling relays: its body is theirs alone to understand.
pub(super) fn write_signal(
    sealer: &Sealer,
    header: &Header,
    to: &Destination,
    body: &[u8],
) -> Option<Vec<u8>> {
    let mut frame = header.write(FORMAT_SIGNAL)?;
    let sealed = sealer.seal_numbered(&place(&[&to.bytes(), &frame]), header.sequence, body)?;
    frame.extend_from_slice(&sealed);
    (frame.len() <= FRAME_BYTES_MAX).then_some(frame)
}

/// Opens such a frame.
pub(super) fn open_signal(
    sealer: &Sealer,
    header: &[u8],
    sealed: &[u8],
    to: &Destination,
) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    sealer.open(&place(&[&to.bytes(), header]), sealed).ok()
}

/// Which sequence numbers were seen: each is taken once, and none that is far behind.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    top: u64,
    seen: [u64; Self::WORDS],
}

impl Window {
    const WORDS: usize = 16;
    /// How far behind the newest a number may be.
    const BEHIND_MAX: u64 = 64 * Self::WORDS as u64;

    /// Whether `number` comes for the first time; then it is remembered.
    pub(super) fn take(&mut self, number: u64) -> bool {
        if number == 0 || number.saturating_add(Self::BEHIND_MAX) <= self.top {
            return false;
        }
        if number > self.top {
            if number - self.top >= Self::BEHIND_MAX {
                self.seen = [0; Self::WORDS];
            } else {
                (self.top + 1..=number).for_each(|passed| self.set(passed, false));
            }
            self.top = number;
        } else if self.get(number) {
            return false;
        }
        self.set(number, true);
        true
    }

    fn get(&self, number: u64) -> bool {
        let (word, bit) = Self::place(number);
        self.seen.get(word).is_some_and(|word| word & bit != 0)
    }

    fn set(&mut self, number: u64, is_seen: bool) {
        let (word, bit) = Self::place(number);
        let Some(word) = self.seen.get_mut(word) else { return };
        if is_seen { *word |= bit } else { *word &= !bit }
    }

    fn place(number: u64) -> (usize, u64) {
        let within = number % Self::BEHIND_MAX;
        ((within / 64) as usize, 1 << (within % 64))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{cluster::redis::seal::Keys, config::SecretBytes};

    fn sealer(incarnation: u64) -> Sealer {
        Keys::new(&[SecretBytes::new(&[7; 32])]).sealer(&purpose("a", incarnation))
    }

    fn header() -> Header {
        Header { source: "a".to_owned(), incarnation: 5, sequence: 9, broadcast: 0, sent: 1000 }
    }

    #[test]
    fn a_frame_opens_for_its_destination_alone() {
        let to = Destination::One("b".to_owned(), 6);
        let frame = write(&sealer(5), &header(), &to, &Message::TellQuotas).unwrap();
        let (read, bytes, sealed) = Header::read(&frame).unwrap();
        assert_eq!(read, header());
        assert_eq!(open(&sealer(5), bytes, sealed, &to), Some(Message::TellQuotas));
        let others =
            [Destination::One("b".to_owned(), 7), Destination::One("c".to_owned(), 6), Destination::All];
        for other in others {
            assert_eq!(open(&sealer(5), bytes, sealed, &other), None, "{other:?}");
        }
        assert_eq!(open(&sealer(6), bytes, sealed, &to), None);
    }

    #[test]
    fn what_another_version_says_is_told_apart_from_what_nobody_said() {
        let said = [
            (r#"{"request":{"id":7,"ask":{"weigh":{"by":["stone"]}}}}"#, Unknown::Request(7)),
            (r#"{"request":{"id":7,"ask":{"explain":{"users":["a"]}},"urgent":true}}"#, Unknown::Request(7)),
            (r#"{"reply":{"id":8,"answer":{"weight":1.5}}}"#, Unknown::Reply(8)),
            (r#"{"greeting":"hello"}"#, Unknown::Other),
            ("\u{1}", Unknown::Other),
        ];
        for (plain, expected) in said {
            let bytes = header().write(FORMAT).unwrap();
            let sealed = sealer(5).seal(&place(&[ALL, &bytes]), plain.as_bytes()).unwrap();
            let opened = open(&sealer(5), &bytes, &sealed, &Destination::All);
            assert_eq!(opened, Some(Message::Unknown(expected)), "{plain}");
            assert_eq!(open(&sealer(6), &bytes, &sealed, &Destination::All), None);
        }
    }

    #[test]
    fn no_byte_of_a_frame_can_be_changed() {
        let frame = write(&sealer(5), &header(), &Destination::All, &Message::Leave).unwrap();
        for index in 0..frame.len() {
            let mut changed = frame.clone();
            changed[index] ^= 1;
            let message = Header::read(&changed)
                .and_then(|(_, bytes, sealed)| open(&sealer(5), bytes, sealed, &Destination::All));
            assert_eq!(message, None, "byte {index}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_no_frame_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some((_, header, sealed)) = Header::read(&bytes) {
                prop_assert_eq!(open(&sealer(5), header, sealed, &Destination::All), None);
            }
        }

        #[test]
        fn a_window_takes_each_number_once(numbers in proptest::collection::vec(1_u64..5000, 1..400)) {
            let mut window = Window::default();
            let mut taken = std::collections::HashSet::new();
            let mut top = 0;
            for number in numbers {
                let is_behind = number + Window::BEHIND_MAX <= top;
                let expected = !is_behind && taken.insert(number);
                prop_assert_eq!(window.take(number), expected, "{} after {}", number, top);
                top = top.max(number);
            }
        }
    }
}
