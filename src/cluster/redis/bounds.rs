//! What a Redis may answer at most: the shape of its protocol (RESP) is followed byte by byte, before anything of it is
//! kept, so that neither garbage nor an answer without end takes memory.

use std::fmt;

/// The longest answer: a table is read in pages, and the longest page is far below that.
pub(super) const ANSWER_BYTES_MAX: u64 = 32 << 20;
/// The longest line: numbers, names and errors.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// The most values of an answer: the slots of a Cluster in the worst order are half of it.
const VALUES_MAX: u64 = 1 << 19;
/// How deep values may lie in one another; ours lie three deep.
const DEPTH_MAX: usize = 16;
/// The longest number.
const NUMBER_BYTES_MAX: usize = 20;
/// How much of what is no answer is shown.
const SHOWN_MAX: usize = 24;

/// Why nothing more is read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unbounded {
    /// Something else speaks there.
    #[error("what answers there speaks {0}, not the Redis protocol")]
    Stranger(Stranger),
    /// It breaks the protocol.
    #[error("its answer breaks the Redis protocol: {0}")]
    Garbage(String),
    /// It is too long.
    #[error("its answer is longer than {0}, and nothing here asks for as much")]
    Long(&'static str),
}

/// What else may speak there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stranger {
    Http,
    Tls,
    Other(String),
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http => f.write_str("HTTP"),
            Self::Tls => f.write_str("TLS"),
            Self::Other(start) => write!(f, "something else (\"{start}\")"),
        }
    }
}

/// Follows what one connection answers.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    place: Place,
    /// How many values are left at each depth.
    open: Vec<u64>,
    /// Of the answer that is under way.
    bytes: u64,
    values: u64,
    /// Whether an answer has ever come.
    has_answered: bool,
}

#[derive(Debug, Default, Clone, Copy)]
enum Place {
    /// Before a value.
    #[default]
    Kind,
    /// In a line: the kind of its value, how long it is, and whether a carriage return was last.
    Line { kind: u8, length: u64, number: Number, is_ending: bool },
    /// In text of a known length, its end of line included.
    Text { left: u64 },
}

/// The number of a line, as far as it was read.
#[derive(Debug, Default, Clone, Copy)]
struct Number {
    digits: [u8; NUMBER_BYTES_MAX],
    length: usize,
}

impl Number {
    fn push(&mut self, byte: u8) -> Option<()> {
        *self.digits.get_mut(self.length)? = byte;
        self.length += 1;
        Some(())
    }

    fn get(&self) -> Option<i64> {
        std::str::from_utf8(self.digits.get(..self.length)?).ok()?.trim().parse().ok()
    }
}

impl Bounds {
    /// Takes note of what was just received.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) -> Result<(), Unbounded> {
        while let Some((&first, rest)) = bytes.split_first() {
            match &mut self.place {
                Place::Text { left } => {
                    let taken = (*left).min(bytes.len() as u64);
                    *left -= taken;
                    let is_over = *left == 0;
                    self.count(taken)?;
                    bytes = bytes.get(usize::try_from(taken).unwrap_or(usize::MAX)..).unwrap_or_default();
                    if is_over {
                        self.end_value();
                    }
                }
                Place::Kind => {
                    self.begin(first, bytes)?;
                    self.count(1)?;
                    bytes = rest;
                }
                Place::Line { .. } => {
                    self.count(1)?;
                    self.step(first)?;
                    bytes = rest;
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, kind: u8, bytes: &[u8]) -> Result<(), Unbounded> {
        if !b"+-:_,#($=!*~>%|".contains(&kind) {
            return Err(self.judge(bytes));
        }
        self.place = Place::Line { kind, length: 0, number: Number::default(), is_ending: false };
        Ok(())
    }

    /// The next byte of a line.
    fn step(&mut self, byte: u8) -> Result<(), Unbounded> {
        let Place::Line { kind, length, number, is_ending } = &mut self.place else { return Ok(()) };
        *length += 1;
        if *length > LINE_BYTES_MAX {
            return Err(Unbounded::Long("a line of 64 KiB"));
        }
        if byte == b'\n' && *is_ending {
            let (kind, number) = (*kind, *number);
            return self.end_line(kind, number);
        }
        *is_ending = byte == b'\r';
        if has_number(*kind) && byte != b'\r' && number.push(byte).is_none() {
            return Err(Unbounded::Garbage("a length that is no number".to_owned()));
        }
        Ok(())
    }

    fn end_line(&mut self, kind: u8, number: Number) -> Result<(), Unbounded> {
        if !has_number(kind) {
            self.end_value();
            return Ok(());
        }
        let garbage = || Unbounded::Garbage("a length that is no number".to_owned());
        let number = number.get().ok_or_else(garbage)?;
        let may_be_missing = matches!(kind, b'$' | b'*' | b'~' | b'>');
        let Ok(length) = u64::try_from(number) else {
            if !may_be_missing {
                return Err(Unbounded::Garbage("a negative length".to_owned()));
            }
            self.end_value();
            return Ok(());
        };
        match kind {
            b'$' | b'=' | b'!' => {
                if length.saturating_add(self.bytes) > ANSWER_BYTES_MAX {
                    return Err(Unbounded::Long("32 MiB"));
                }
                self.place = Place::Text { left: length + 2 };
                Ok(())
            }
            b'%' => self.open(length.saturating_mul(2)),
            // What it is about follows.
            b'|' => self.open(length.saturating_mul(2).saturating_add(1)),
            _ => self.open(length),
        }
    }

    fn open(&mut self, values: u64) -> Result<(), Unbounded> {
        self.values = self.values.saturating_add(values);
        if self.values > VALUES_MAX {
            return Err(Unbounded::Long("half a million values"));
        }
        if values == 0 {
            self.end_value();
            return Ok(());
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(Unbounded::Garbage("values too deep in one another".to_owned()));
        }
        self.open.push(values);
        self.place = Place::Kind;
        Ok(())
    }

    /// A value is whole, and with it perhaps those that it is the last one of.
    fn end_value(&mut self) {
        self.place = Place::Kind;
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return;
            }
            self.open.pop();
        }
        (self.bytes, self.values, self.has_answered) = (0, 0, true);
    }

    fn count(&mut self, bytes: u64) -> Result<(), Unbounded> {
        self.bytes += bytes;
        if self.bytes > ANSWER_BYTES_MAX { Err(Unbounded::Long("32 MiB")) } else { Ok(()) }
    }

    fn judge(&self, bytes: &[u8]) -> Unbounded {
        let shown = bytes.get(..SHOWN_MAX).unwrap_or(bytes).escape_ascii().to_string();
        if self.has_answered || !self.open.is_empty() {
            return Unbounded::Garbage(format!("\"{shown}\" in the place of a value"));
        }
        Unbounded::Stranger(if bytes.starts_with(b"HTTP/") || bytes.starts_with(b"<") {
            Stranger::Http
        } else if matches!(bytes, [0x15 | 0x16, 3, ..]) {
            Stranger::Tls
        } else {
            Stranger::Other(shown)
        })
    }
}

/// Whether the line of such a value is a length.
fn has_number(kind: u8) -> bool {
    b"$=!*~>%|".contains(&kind)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn follow(bytes: &[u8]) -> Result<Bounds, Unbounded> {
        let mut bounds = Bounds::default();
        bounds.follow(bytes).map(|()| bounds)
    }

    #[test]
    fn answers_of_every_kind_are_followed_to_their_end() {
        let answers: [&[u8]; 12] = [
            b"+OK\r\n",
            b"-ERR no\r\n",
            b":-7\r\n",
            b"$3\r\na\r\n\r\n",
            b"$-1\r\n",
            b"*2\r\n$1\r\na\r\n*1\r\n*0\r\n",
            b"%1\r\n+a\r\n~2\r\n:1\r\n:2\r\n",
            b"|1\r\n+ttl\r\n:5\r\n$2\r\nok\r\n",
            b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$0\r\n\r\n",
            b"=7\r\ntxt:abc\r\n",
            b"!5\r\nERR x\r\n",
            b"_\r\n#t\r\n,1.5\r\n(123\r\n*-1\r\n",
        ];
        for answer in answers {
            let bounds = follow(answer).unwrap();
            assert!(
                matches!(bounds.place, Place::Kind) && bounds.open.is_empty(),
                "{}",
                answer.escape_ascii()
            );
            assert_eq!((bounds.bytes, bounds.values), (0, 0));
        }
    }

    #[test]
    fn what_has_no_end_is_ended() {
        let long = |bytes: &[u8]| matches!(follow(bytes), Err(Unbounded::Long(_)));
        assert!(long(&[b"+".to_vec(), vec![b'a'; 70_000]].concat()));
        assert!(long(b"$9223372036854775807\r\n"));
        assert!(long(b"*4611686018427387904\r\n"));
        assert!(long(b"%9223372036854775807\r\n"));
        let text = [b"$20000000\r\n".to_vec(), vec![0; 20_000_000], b"\r\n".to_vec()].concat();
        assert!(follow(&text).is_ok());
        assert!(long(&[b"*2\r\n".to_vec(), text.clone(), text].concat()));
        assert!(long(&[b"*500000\r\n".to_vec(), b"*2\r\n+a\r\n+b\r\n".repeat(30_000)].concat()));
    }

    #[test]
    fn who_else_speaks_is_named() {
        let stranger = |bytes: &[u8]| follow(bytes).unwrap_err();
        assert_eq!(stranger(b"HTTP/1.1 400 Bad Request\r\n"), Unbounded::Stranger(Stranger::Http));
        assert_eq!(stranger(&[0x15, 3, 1, 0, 2]), Unbounded::Stranger(Stranger::Tls));
        let ssh = stranger(b"SSH-2.0-OpenSSH_9.2\r\n").to_string();
        assert!(ssh.contains("(\"SSH-2.0-OpenSSH_9.2"), "{ssh}");
        for garbage in [&b"*x\r\n"[..], b"!-1\r\n", b"+OK\r\nwhat", b"$111111111111111111111111\r\n"] {
            assert!(matches!(follow(garbage), Err(Unbounded::Garbage(_))), "{}", garbage.escape_ascii());
        }
        let deep = b"*1\r\n".repeat(20);
        assert!(matches!(follow(&deep), Err(Unbounded::Garbage(_))));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_in_which_pieces_it_comes(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"*$%+-:12\r\n".to_vec())], 0..200),
            at in 0_usize..200,
        ) {
            let whole = follow(&bytes).map(|bounds| format!("{bounds:?}"));
            let (one, other) = bytes.split_at(at.min(bytes.len()));
            let mut bounds = Bounds::default();
            let parts = bounds.follow(one).and_then(|()| bounds.follow(other)).map(|()| format!("{bounds:?}"));
            // What is shown of garbage may end where a piece does.
            prop_assert_eq!(whole.is_ok(), parts.is_ok());
            if whole.is_ok() {
                prop_assert_eq!(whole, parts);
            }
        }
    }
}
