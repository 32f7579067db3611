//! Answers that are remembered, so that a request sent twice has one effect.

use std::{
    hash::{BuildHasher as _, Hasher as _},
    sync::Arc,
};

use super::queue::Answer;

/// The last requests of a session.
#[derive(Debug, Default)]
pub(in crate::signaling) struct Replies {
    /// Of each id: looked through first, since it is all in a few cache lines.
    hashes: Vec<u32>,
    entries: Vec<(Arc<str>, Option<Answer>)>,
    /// The oldest, once there are as many as may be.
    oldest: usize,
}

/// What is known of a request.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::signaling) enum Known {
    /// It is new, and from now on known.
    New,
    /// It is being answered.
    Pending,
    /// It was answered this.
    Answered(Answer),
}

impl Replies {
    /// Looks for a request, and adds it if it is new, in the place of the oldest if there are `max`.
    pub(in crate::signaling) fn begin(&mut self, id: &Arc<str>, max: usize) -> Known {
        if let Some(index) = self.find(id) {
            return match self.entries.get(index) {
                Some((_, Some(answer))) => Known::Answered(answer.clone()),
                Some((_, None)) | None => Known::Pending,
            };
        }
        let entry = (Arc::clone(id), None);
        if self.entries.len() < max {
            self.hashes.push(hash(id));
            self.entries.push(entry);
        } else if let (Some(old_hash), Some(old)) =
            (self.hashes.get_mut(self.oldest), self.entries.get_mut(self.oldest))
        {
            (*old_hash, *old) = (hash(id), entry);
            self.oldest = (self.oldest + 1) % self.entries.len();
        }
        Known::New
    }

    /// It was answered; `false` if it is not, or no longer, known.
    pub(in crate::signaling) fn end(&mut self, id: &str, answer: &Answer) -> bool {
        let Some((_, known)) = self.find(id).and_then(|index| self.entries.get_mut(index)) else {
            return false;
        };
        *known = Some(answer.clone());
        true
    }

    /// Whether it was answered, as far as is known.
    pub(in crate::signaling) fn is_answered(&self, id: &str) -> bool {
        self.find(id).and_then(|index| self.entries.get(index)).is_some_and(|(_, answer)| answer.is_some())
    }

    /// It came to nothing, and may be asked again.
    pub(in crate::signaling) fn forget(&mut self, id: &str) {
        let oldest = std::mem::take(&mut self.oldest).min(self.entries.len());
        self.hashes.rotate_left(oldest);
        self.entries.rotate_left(oldest);
        if let Some(index) = self.find(id) {
            self.hashes.remove(index);
            self.entries.remove(index);
        }
    }

    /// All of them, to be taken to another node, oldest first.
    pub(in crate::signaling) fn pack(mut self) -> Vec<(Arc<str>, Option<Answer>)> {
        let oldest = self.oldest.min(self.entries.len());
        self.entries.rotate_left(oldest);
        self.entries
    }

    /// Those another node had.
    pub(in crate::signaling) fn unpack(entries: Vec<(Arc<str>, Option<Answer>)>) -> Self {
        Self { hashes: entries.iter().map(|(id, _)| hash(id)).collect(), entries, oldest: 0 }
    }

    fn find(&self, id: &str) -> Option<usize> {
        let wanted = hash(id);
        // Nearly all are new, and this looks at many at once.
        if !self.hashes.contains(&wanted) {
            return None;
        }
        let is_it = |(index, hash): &(usize, &u32)| {
            **hash == wanted && self.entries.get(*index).is_some_and(|(known, _)| &**known == id)
        };
        self.hashes.iter().enumerate().find(is_it).map(|(index, _)| index)
    }
}

/// Need not be secret: who makes ids collide costs itself a comparison of each.
fn hash(id: &str) -> u32 {
    let mut hasher = ahash::RandomState::with_seeds(1, 2, 3, 4).build_hasher();
    hasher.write(id.as_bytes());
    hasher.finish() as u32
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn id(number: usize) -> Arc<str> {
        number.to_string().into()
    }

    #[test]
    fn the_last_are_remembered_and_the_oldest_forgotten() {
        let mut replies = Replies::default();
        let answer = Answer::Ok(Bytes::from_static(b"1"));
        for number in 0..10 {
            assert_eq!(replies.begin(&id(number), 4), Known::New);
            assert!(replies.end(&id(number), &answer));
        }
        for number in 6..10 {
            assert_eq!(replies.begin(&id(number), 4), Known::Answered(answer.clone()));
        }
        assert_eq!(replies.begin(&id(5), 4), Known::New);
        assert_eq!(replies.begin(&id(5), 4), Known::Pending);
        assert!(!replies.end(&id(6), &answer));
    }

    #[test]
    fn one_is_forgotten_wherever_it_stands() {
        for forgotten in 2..6 {
            let mut replies = Replies::default();
            for number in 0..6 {
                replies.begin(&id(number), 4);
            }
            replies.forget(&id(forgotten));
            let left: Vec<_> = (2..6).filter(|number| *number != forgotten).map(id).collect();
            let packed: Vec<_> = replies.pack().into_iter().map(|(id, _)| id).collect();
            assert_eq!(packed, left, "without {forgotten}");
        }
    }
}
