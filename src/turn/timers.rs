//! Deadlines, at most one for each token.

use super::Instant;

const ABSENT: u32 = u32::MAX;

/// A binary heap of deadlines that knows where each token stands, so that a deadline can be moved or cancelled without
/// leaving anything behind: it never holds more entries than there are tokens with a deadline.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: Vec<(Instant, u32)>,
    /// For each token its place in the heap, or [`ABSENT`].
    places: Vec<u32>,
}

impl Timers {
    /// Sets or moves the deadline of `token`. Tokens are indices of a dense table.
    pub(super) fn set(&mut self, token: u32, at: Instant) {
        let index = token as usize;
        if self.places.len() <= index {
            self.places.resize(index + 1, ABSENT);
        }
        let place = match self.place(token) {
            Some(place) => {
                self.heap[place].0 = at;
                place
            }
            None => {
                self.heap.push((at, token));
                self.heap.len() - 1
            }
        };
        self.places[index] = place as u32;
        let place = self.sift_up(place);
        self.sift_down(place);
    }

    /// Removes the deadline of `token`, if it has one.
    pub(super) fn cancel(&mut self, token: u32) {
        let Some(place) = self.place(token) else { return };
        self.places[token as usize] = ABSENT;
        self.heap.swap_remove(place);
        if let Some(&(_, moved)) = self.heap.get(place) {
            self.places[moved as usize] = place as u32;
            let place = self.sift_up(place);
            self.sift_down(place);
        }
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|&(at, _)| at)
    }

    /// Takes out one token whose deadline has come.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let &(at, token) = self.heap.first()?;
        if at > now {
            return None;
        }
        self.cancel(token);
        Some(token)
    }

    /// When `token` is due.
    pub(super) fn get(&self, token: u32) -> Option<Instant> {
        self.place(token).map(|place| self.heap[place].0)
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    fn place(&self, token: u32) -> Option<usize> {
        self.places.get(token as usize).filter(|&&place| place != ABSENT).map(|&place| place as usize)
    }

    fn sift_up(&mut self, mut place: usize) -> usize {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent] <= self.heap[place] {
                break;
            }
            self.swap(parent, place);
            place = parent;
        }
        place
    }

    fn sift_down(&mut self, mut place: usize) {
        loop {
            let mut least = place;
            for child in [2 * place + 1, 2 * place + 2] {
                if child < self.heap.len() && self.heap[child] < self.heap[least] {
                    least = child;
                }
            }
            if least == place {
                return;
            }
            self.swap(least, place);
            place = least;
        }
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        for place in [one, other] {
            self.places[self.heap[place].1 as usize] = place as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Instant {
        Instant::from_millis(milliseconds)
    }

    #[test]
    fn tokens_come_out_in_the_order_of_their_deadlines() {
        let mut timers = Timers::default();
        for (token, when) in [(0, 50), (1, 10), (2, 30), (3, 20), (4, 40)] {
            timers.set(token, at(when));
        }
        let mut order = Vec::new();
        while let Some(token) = timers.pop_due(at(45)) {
            order.push(token);
        }
        assert_eq!(order, [1, 3, 2, 4]);
        assert_eq!(timers.next(), Some(at(50)));
    }

    #[test]
    fn a_deadline_moved_or_cancelled_leaves_nothing_behind() {
        let mut timers = Timers::default();
        for step in 0..1000_u64 {
            timers.set((step % 10) as u32, at(step * 7919 % 1000));
            assert!(timers.len() <= 10);
        }
        timers.set(3, at(5000));
        assert_eq!(timers.get(3), Some(at(5000)));
        for token in 0..10 {
            timers.cancel(token);
            timers.cancel(token);
        }
        assert_eq!((timers.len(), timers.next()), (0, None));
    }

    #[test]
    fn a_deadline_is_due_at_its_very_instant() {
        let mut timers = Timers::default();
        timers.set(7, at(100));
        assert_eq!(timers.pop_due(at(99)), None);
        assert_eq!(timers.pop_due(at(100)), Some(7));
        assert_eq!(timers.pop_due(at(100)), None);
    }
}
