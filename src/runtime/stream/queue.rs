//! What waits to be written to one connection.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io::IoSlice,
    rc::Rc,
    task::Waker,
};

use super::counters::{StreamClose, StreamCounters};

/// The room answers have beyond what relayed data may fill. An answer is at most a few hundred bytes, and reading
/// pauses as soon as one lies in this room, so it is rarely more than one answer full.
const ANSWER_BYTES: usize = 8 * 1024;

/// What a queue reserves when it is first written to. It holds nothing while it is empty.
const FIRST_BYTES: usize = 1024;

/// What waits to be written to one connection: a byte stream of whole messages, bounded.
///
/// Relayed data that does not fit is dropped whole, the newest first, so that a client that reads slowly costs its
/// own datagrams and never memory or anybody else's time. Answers have some room of their own, see [`Self::push_answer`].
#[derive(Debug)]
pub(crate) struct StreamQueue {
    bytes: RefCell<VecDeque<u8>>,
    waker: RefCell<Option<Waker>>,
    closing: Cell<Option<StreamClose>>,
    limit: usize,
    counters: Rc<RefCell<StreamCounters>>,
}

/// A message did not fit, or the connection is closing: it was dropped whole, and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueFull;

impl StreamQueue {
    /// An empty queue for at most `limit` bytes of relayed data.
    pub(crate) fn new(limit: usize, counters: Rc<RefCell<StreamCounters>>) -> Self {
        Self {
            bytes: RefCell::new(VecDeque::new()),
            waker: RefCell::new(None),
            closing: Cell::new(None),
            limit,
            counters,
        }
    }

    /// Appends one message of relayed data made of `parts`: header, payload and padding.
    ///
    /// # Errors
    /// [`QueueFull`]: nothing was appended.
    pub(crate) fn push(&self, parts: &[&[u8]]) -> Result<(), QueueFull> {
        let result = self.append(parts, self.limit);
        if result.is_err() {
            let mut counters = self.counters.borrow_mut();
            counters.queue_full_datagrams += 1;
            counters.queue_full_bytes += parts.iter().map(|part| part.len() as u64).sum::<u64>();
        }
        result
    }

    /// Appends the answer to a request. Answers may go beyond the limit of relayed data: a client whose downlink is
    /// saturated can still refresh its allocation.
    ///
    /// # Errors
    /// [`QueueFull`]: nothing was appended.
    pub(crate) fn push_answer(&self, message: &[u8]) -> Result<(), QueueFull> {
        let result = self.append(&[message], self.limit + ANSWER_BYTES);
        if result.is_err() {
            self.counters.borrow_mut().answers_dropped += 1;
        }
        result
    }

    /// Ends the connection after what is queued has been written, or after a bounded time.
    pub(crate) fn close(&self) {
        self.close_for(StreamClose::Disconnected);
    }

    /// As [`Self::close`], for another reason. The first reason stays.
    pub(crate) fn close_for(&self, reason: StreamClose) {
        if self.closing.get().is_none() {
            self.closing.set(Some(reason));
            self.wake();
        }
    }

    /// Why the connection is to be closed, if it is.
    pub(crate) fn closing(&self) -> Option<StreamClose> {
        self.closing.get()
    }

    /// Whether answers have begun to pile up: until the client has read them, no more of its requests are read.
    pub(crate) fn holds_back(&self) -> bool {
        self.bytes.borrow().len() > self.limit
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.borrow().is_empty()
    }

    /// Wakes `waker` at the next message, or when the connection is to be closed.
    pub(crate) fn wake_on_push(&self, waker: &Waker) {
        let mut slot = self.waker.borrow_mut();
        if !slot.as_ref().is_some_and(|old| old.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    /// Shows what is queued to `write`, as at most two slices, and forgets as many bytes as it says it has taken.
    /// An emptied queue gives its memory back.
    pub(crate) fn drain<E>(
        &self,
        write: impl FnOnce(&[IoSlice<'_>]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let mut bytes = self.bytes.borrow_mut();
        let (front, back) = bytes.as_slices();
        let slices = [IoSlice::new(front), IoSlice::new(back)];
        let taken = write(if back.is_empty() { &slices[..1] } else { &slices })?;
        if taken >= bytes.len() {
            *bytes = VecDeque::new();
        } else {
            bytes.drain(..taken);
        }
        Ok(taken)
    }

    fn append(&self, parts: &[&[u8]], limit: usize) -> Result<(), QueueFull> {
        if self.closing.get().is_some() {
            return Err(QueueFull);
        }
        let mut bytes = self.bytes.borrow_mut();
        let total = bytes.len() + parts.iter().map(|part| part.len()).sum::<usize>();
        if total > limit {
            return Err(QueueFull);
        }
        if total > bytes.capacity() {
            let target = total.max(bytes.capacity() * 2).max(FIRST_BYTES).min(self.limit + ANSWER_BYTES);
            let additional = target.max(total) - bytes.len();
            bytes.reserve_exact(additional);
        }
        for part in parts {
            bytes.extend(*part);
        }
        drop(bytes);
        self.wake();
        Ok(())
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(limit: usize) -> (StreamQueue, Rc<RefCell<StreamCounters>>) {
        let counters = Rc::new(RefCell::new(StreamCounters::default()));
        (StreamQueue::new(limit, Rc::clone(&counters)), counters)
    }

    fn take(queue: &StreamQueue, most: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        queue
            .drain(|slices| {
                taken = slices.iter().flat_map(|slice| slice.iter().copied()).take(most).collect();
                Ok::<_, ()>(taken.len())
            })
            .unwrap();
        taken
    }

    #[test]
    fn what_fits_exactly_is_kept_and_one_byte_more_is_dropped_whole() {
        let (queue, counters) = queue(16);
        queue.push(&[&[1; 4], &[2; 12]]).unwrap();
        assert_eq!(queue.push(&[&[3; 1]]), Err(QueueFull));
        assert_eq!(take(&queue, 100), [vec![1; 4], vec![2; 12]].concat());
        assert_eq!(counters.borrow().queue_full_datagrams, 1);
        assert_eq!(counters.borrow().queue_full_bytes, 1);
    }

    #[test]
    fn the_newest_is_dropped_and_the_order_stays() {
        let (queue, _) = queue(8);
        queue.push(&[b"aaaa"]).unwrap();
        queue.push(&[b"bbbb"]).unwrap();
        assert_eq!(queue.push(&[b"cccc"]), Err(QueueFull));
        assert_eq!(take(&queue, 5), b"aaaab");
        queue.push(&[b"dddd"]).unwrap();
        assert_eq!(take(&queue, 100), b"bbbdddd");
    }

    #[test]
    fn answers_fit_beyond_the_limit_and_hold_reading_back() {
        let (queue, counters) = queue(8);
        queue.push(&[&[0; 8]]).unwrap();
        assert!(!queue.holds_back());
        queue.push_answer(&[1; 100]).unwrap();
        assert!(queue.holds_back());
        assert_eq!(queue.push_answer(&vec![1; ANSWER_BYTES]), Err(QueueFull));
        assert_eq!(counters.borrow().answers_dropped, 1);
        take(&queue, 100);
        assert!(!queue.holds_back());
    }

    #[test]
    fn memory_stays_within_the_limit_and_is_given_back() {
        let (queue, _) = queue(100_000);
        while queue.push(&[&[7; 1000]]).is_ok() {}
        assert!(queue.bytes.borrow().capacity() <= 100_000 + ANSWER_BYTES);
        take(&queue, usize::MAX);
        assert_eq!(queue.bytes.borrow().capacity(), 0);
    }

    #[test]
    fn a_closing_queue_takes_nothing_and_keeps_its_first_reason() {
        let (queue, _) = queue(100);
        queue.push(&[b"last"]).unwrap();
        queue.close();
        queue.close_for(StreamClose::Shutdown);
        assert_eq!(queue.push(&[b"late"]), Err(QueueFull));
        assert_eq!(queue.closing(), Some(StreamClose::Disconnected));
        assert_eq!(take(&queue, 100), b"last");
    }
}
