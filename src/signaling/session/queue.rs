//! What goes to a client: numbered frames, kept until it has them, and answers in between.

use std::collections::VecDeque;

use bytes::Bytes;

use super::super::deliver::{About, Receipt};

/// A client's frames. Numbers have no gap; what is kept are the last ones.
#[derive(Debug, Default)]
pub(in crate::signaling) struct Queue {
    /// The frames up to `seq`, without those the client has.
    ring: VecDeque<Kept>,
    /// The number of the last frame.
    seq: u64,
    /// The number of the last frame that went to the present socket.
    sent: u64,
    /// Bytes in the ring.
    bytes: usize,
    /// Those of them that are not sent.
    unsent_bytes: usize,
    /// Answers, each with the number of the frame it comes after.
    notes: VecDeque<(u64, Note)>,
    note_bytes: usize,
    /// Frames were lost while nobody could be given them: nothing is kept until the client begins anew.
    is_broken: bool,
}

/// A frame as it is kept.
#[derive(Clone, Debug)]
pub(in crate::signaling) struct Kept {
    /// What follows `{"seq":1,`.
    pub(in crate::signaling) tail: Bytes,
    /// What few frames have.
    pub(in crate::signaling) extra: Option<Box<Extra>>,
}

/// What few frames have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::signaling) enum Extra {
    /// Its sender wants to know that it arrived.
    Receipt(Receipt),
    /// Nothing is lost if a later one about the same takes its place.
    About(About),
}

/// Something without a number.
#[derive(Clone, Debug)]
pub(in crate::signaling) enum Note {
    /// An answer.
    Reply(std::sync::Arc<str>, Answer),
    /// A whole frame.
    Text(Bytes),
}

/// What a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::signaling) enum Answer {
    /// `ok`, with these members.
    Ok(Bytes),
    /// `error`, with these members.
    Error(Bytes),
    /// `welcome`, with these members.
    Welcome(Bytes),
}

/// A queue on its way to another node: answers are not, they are asked for again.
#[derive(Clone, Debug)]
pub(in crate::signaling) struct Packed {
    /// The number of the last frame that is not kept.
    pub(in crate::signaling) base: u64,
    /// Whether frames were lost.
    pub(in crate::signaling) is_broken: bool,
    /// Those that are kept.
    pub(in crate::signaling) frames: Vec<Kept>,
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(in crate::signaling) struct Room {
    pub(in crate::signaling) frames: usize,
    pub(in crate::signaling) bytes: usize,
}

impl Queue {
    pub(in crate::signaling) const fn seq(&self) -> u64 {
        self.seq
    }

    pub(in crate::signaling) const fn bytes(&self) -> usize {
        self.bytes + self.note_bytes
    }

    /// The number of the last frame that is not kept.
    fn base(&self) -> u64 {
        self.seq - self.ring.len() as u64
    }

    fn unsent(&self) -> usize {
        usize::try_from(self.seq - self.sent).unwrap_or(usize::MAX)
    }

    /// Adds a frame. Of an attached client, frames that were sent leave when there are too many; of another, all are
    /// lost at twice as many: then it will begin anew.
    pub(in crate::signaling) fn push(&mut self, kept: Kept, is_attached: bool, room: Room) {
        self.seq += 1;
        if self.is_broken {
            return;
        }
        self.bytes += kept.tail.len();
        self.unsent_bytes += kept.tail.len();
        self.ring.push_back(kept);
        if is_attached {
            while self.is_over(room) && self.base() < self.sent {
                self.drop_first();
            }
        } else if self.ring.len() > 2 * room.frames || self.bytes > 2 * room.bytes {
            self.abandon();
        }
    }

    /// Whether more waits to be sent than may.
    pub(in crate::signaling) fn is_slow(&self, room: Room) -> bool {
        self.unsent() > room.frames
            || self.unsent_bytes + self.note_bytes > room.bytes
            || self.notes.len() > 2 * room.frames
    }

    fn is_over(&self, room: Room) -> bool {
        self.ring.len() - self.unsent().min(self.ring.len()) > room.frames
            || self.bytes - self.unsent_bytes > room.bytes
    }

    fn drop_first(&mut self) -> Option<Kept> {
        let kept = self.ring.pop_front()?;
        self.bytes -= kept.tail.len();
        Some(kept)
    }

    /// Gives up what is kept: the client begins anew.
    pub(in crate::signaling) fn abandon(&mut self) {
        self.ring = VecDeque::new();
        (self.bytes, self.unsent_bytes) = (0, 0);
        self.is_broken = true;
    }

    /// The client has all up to `seq`; calls `arrived` for each that it had not said so of.
    pub(in crate::signaling) fn acknowledge(&mut self, seq: u64, mut arrived: impl FnMut(Receipt)) {
        let seq = seq.min(self.sent);
        while self.base() < seq {
            let Some(kept) = self.drop_first() else { break };
            if let Some(Extra::Receipt(receipt)) = kept.extra.map(|extra| *extra) {
                arrived(receipt);
            }
        }
    }

    /// A new socket, whose client has seen all up to `seq`: how many frames come again, or `None` if not all can.
    pub(in crate::signaling) fn resume(&mut self, seq: u64) -> Option<u64> {
        if self.is_broken || seq < self.base() || seq > self.seq {
            return None;
        }
        self.detach();
        self.sent = seq;
        let skipped = usize::try_from(seq - self.base()).unwrap_or(usize::MAX);
        self.unsent_bytes = self.ring.iter().skip(skipped).map(|kept| kept.tail.len()).sum();
        Some(self.seq - seq)
    }

    /// The socket is gone: answers are asked for again, and which frames arrived is not known.
    pub(in crate::signaling) fn detach(&mut self) {
        self.notes = VecDeque::new();
        self.note_bytes = 0;
    }

    /// Begins at 1 again, with nothing.
    pub(in crate::signaling) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Adds an answer, after the frames that are there.
    pub(in crate::signaling) fn note(&mut self, note: Note) {
        self.note_bytes += note.bytes();
        self.notes.push_back((self.seq, note));
    }

    /// Adds an answer before the frames that are to be sent.
    pub(in crate::signaling) fn note_first(&mut self, note: Note) {
        self.note_bytes += note.bytes();
        self.notes.push_front((self.sent, note));
    }

    /// Gives back what nothing is in.
    pub(in crate::signaling) fn shrink(&mut self) {
        self.ring.shrink_to_fit();
        self.notes.shrink_to_fit();
    }

    /// Whether [`next`](Self::next) has something.
    pub(in crate::signaling) fn has_next(&self) -> bool {
        let is_note_next = self.notes.front().is_some_and(|(after, _)| *after <= self.sent);
        is_note_next || (self.base()..self.seq).contains(&self.sent)
    }

    /// Takes the next one to write.
    pub(in crate::signaling) fn next(&mut self) -> Option<String> {
        if self.notes.front().is_some_and(|(after, _)| *after <= self.sent) {
            let (_, note) = self.notes.pop_front()?;
            self.note_bytes -= note.bytes();
            return Some(note.text());
        }
        let index = usize::try_from(self.sent.checked_sub(self.base())?).ok()?;
        let kept = self.ring.get(index)?;
        self.sent += 1;
        self.unsent_bytes -= kept.tail.len();
        Some(frame_text(self.sent, &kept.tail))
    }

    /// Whether a telling about this is not sent yet.
    pub(in crate::signaling) fn has_unsent_about(&self, about: &About) -> bool {
        self.unsent_about(about).is_some()
    }

    fn unsent_about(&self, about: &About) -> Option<usize> {
        let first = self.ring.len() - self.unsent().min(self.ring.len());
        let is_same =
            |kept: &Kept| matches!(kept.extra.as_deref(), Some(Extra::About(known)) if known == about);
        self.ring.iter().skip(first).position(is_same).map(|index| first + index)
    }

    /// Puts a newer telling in the place of one that is not sent; `false` if there is none.
    pub(in crate::signaling) fn replace(&mut self, about: &About, tail: &Bytes) -> bool {
        let Some(kept) = self.unsent_about(about).and_then(|index| self.ring.get_mut(index)) else {
            return false;
        };
        let (old, new) = (kept.tail.len(), tail.len());
        kept.tail = tail.clone();
        self.bytes = self.bytes - old + new;
        self.unsent_bytes = self.unsent_bytes - old + new;
        true
    }

    /// What is kept, to be taken to another node.
    pub(in crate::signaling) fn pack(self) -> Packed {
        Packed { base: self.base(), is_broken: self.is_broken, frames: self.ring.into() }
    }

    /// What another node had kept.
    pub(in crate::signaling) fn unpack(packed: Packed) -> Self {
        let Packed { base, is_broken, frames } = packed;
        let bytes = frames.iter().map(|kept| kept.tail.len()).sum();
        let seq = base.saturating_add(frames.len() as u64);
        Self {
            ring: frames.into(),
            seq,
            sent: base,
            bytes,
            unsent_bytes: bytes,
            is_broken,
            ..Self::default()
        }
    }
}

impl Note {
    fn bytes(&self) -> usize {
        match self {
            Self::Reply(id, Answer::Ok(members) | Answer::Error(members) | Answer::Welcome(members)) => {
                id.len() + members.len() + 32
            }
            Self::Text(text) => text.len(),
        }
    }

    /// As it is written.
    pub(in crate::signaling) fn text(&self) -> String {
        let (id, kind, members) = match self {
            Self::Text(text) => return String::from_utf8_lossy(text).into_owned(),
            Self::Reply(id, Answer::Ok(members)) => (id, "ok", members),
            Self::Reply(id, Answer::Error(members)) => (id, "error", members),
            Self::Reply(id, Answer::Welcome(members)) => (id, "welcome", members),
        };
        let mut out = Vec::with_capacity(id.len() + members.len() + 40);
        out.push(b'{');
        if !id.is_empty() {
            out.extend_from_slice(b"\"re\":");
            super::super::object::push_string(&mut out, id);
            out.push(b',');
        }
        out.extend_from_slice(b"\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.push(b'"');
        if !members.is_empty() {
            out.push(b',');
            out.extend_from_slice(members);
        }
        out.push(b'}');
        String::from_utf8(out).unwrap_or_default()
    }
}

fn frame_text(seq: u64, tail: &[u8]) -> String {
    let mut out = Vec::with_capacity(tail.len() + 28);
    out.extend_from_slice(b"{\"seq\":");
    super::super::object::push_number(&mut out, seq);
    out.push(b',');
    out.extend_from_slice(tail);
    String::from_utf8(out).unwrap_or_default()
}
