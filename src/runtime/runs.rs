//! Datagrams of one batch, grouped into runs that the kernel takes in one piece.
//!
//! A run has one destination; all its datagrams have the same size, except that the last may be shorter. Datagrams
//! with the same destination keep their order: runs are sent in the order they were begun, and only the newest run
//! of a destination grows.

use super::sys::{SEGMENTED_BYTES_MAX, SEGMENTS_MAX};

/// The most runs of a batch.
pub(super) const RUNS_MAX: usize = 256;
/// The most datagrams of a batch.
pub(super) const PIECES_MAX: usize = 1024;
/// The longest header written before a payload: a Data indication's, with an IPv6 peer.
pub(super) const HEADER_BYTES_MAX: usize = 48;

const PLACES: usize = 128;
const NONE: u16 = u16::MAX;
/// What messages are padded with.
pub(super) const ZEROES: [u8; 4] = [0; 4];

/// Datagrams waiting to be sent, grouped by `K`.
#[derive(Debug)]
pub(super) struct Runs<K> {
    runs: Vec<Run<K>>,
    pieces: Vec<Piece>,
    headers: Vec<Header>,
    /// By hash of the key: a guess at its newest run.
    newest: [u16; PLACES],
}

/// One or more datagrams to one destination.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run<K> {
    /// Where to.
    pub(super) key: K,
    /// How many datagrams.
    pub(super) count: usize,
    /// The size of each but the last.
    pub(super) segment_bytes: usize,
    total_bytes: usize,
    first: u16,
    last: u16,
    open: bool,
}

/// One datagram: an optional header, a range of the receive memory, and zero bytes to pad it. Or several that lie one
/// behind the other in the receive memory, headers and all.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: u32,
    bytes: u32,
    header: u16,
    next: u16,
    padding: u8,
}

/// A header that could not be written in front of its payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// The first `length` of these.
    pub(super) bytes: [u8; HEADER_BYTES_MAX],
    /// How many count.
    pub(super) length: u8,
}

/// A datagram about to be added.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Content<'h> {
    /// Where it starts in the receive memory.
    pub(super) start: usize,
    /// How many bytes of the receive memory.
    pub(super) bytes: usize,
    /// What goes before it.
    pub(super) header: Option<&'h Header>,
    /// How many zero bytes go behind it, at most three.
    pub(super) padding: usize,
}

impl<K: Copy + PartialEq> Runs<K> {
    /// An empty batch; all memory is allocated here.
    pub(super) fn new() -> Self {
        Self {
            runs: Vec::with_capacity(RUNS_MAX),
            pieces: Vec::with_capacity(PIECES_MAX),
            headers: Vec::with_capacity(PIECES_MAX),
            newest: [NONE; PLACES],
        }
    }

    /// Whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The runs, in the order to send them.
    pub(super) fn as_slice(&self) -> &[Run<K>] {
        &self.runs
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.runs.clear();
        self.pieces.clear();
        self.headers.clear();
        self.newest = [NONE; PLACES];
    }

    /// Appends a datagram; `hash` is any value derived from `key`. Answers false, and appends nothing, if the batch
    /// is full.
    pub(super) fn add(&mut self, key: K, hash: usize, content: Content<'_>) -> bool {
        if self.runs.len() == RUNS_MAX || self.pieces.len() == PIECES_MAX {
            return false;
        }
        let header = content.header.map_or(NONE, |header| {
            self.headers.push(*header);
            index(self.headers.len() - 1)
        });
        let piece = index(self.pieces.len());
        self.pieces.push(Piece {
            start: u32::try_from(content.start).unwrap_or(u32::MAX),
            bytes: u32::try_from(content.bytes).unwrap_or(u32::MAX),
            header,
            next: NONE,
            padding: u8::try_from(content.padding).unwrap_or(0),
        });
        let wire_bytes =
            content.bytes + content.padding + content.header.map_or(0, |header| usize::from(header.length));
        self.append(key, hash % PLACES, piece, Train::one(wire_bytes));
        true
    }

    /// Appends datagrams of `segment_bytes` each, the last of which may be shorter, that fill the receive memory from
    /// `start` on. Answers how many bytes were appended: all, unless the batch is full.
    pub(super) fn add_train(
        &mut self,
        key: K,
        hash: usize,
        start: usize,
        total_bytes: usize,
        segment_bytes: usize,
    ) -> usize {
        let per_run = (SEGMENTED_BYTES_MAX / segment_bytes.max(1)).clamp(1, SEGMENTS_MAX);
        let mut added = 0;
        while added < total_bytes && self.runs.len() < RUNS_MAX && self.pieces.len() < PIECES_MAX {
            let bytes = (total_bytes - added).min(per_run * segment_bytes.max(1));
            let piece = index(self.pieces.len());
            self.pieces.push(Piece {
                start: u32::try_from(start + added).unwrap_or(u32::MAX),
                bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
                header: NONE,
                next: NONE,
                padding: 0,
            });
            let segment_bytes = segment_bytes.min(bytes);
            self.append(key, hash % PLACES, piece, Train { total_bytes: bytes, segment_bytes });
            added += bytes;
        }
        added
    }

    fn append(&mut self, key: K, place: usize, piece: u16, train: Train) {
        let Some(newest) = self.newest.get_mut(place) else { return };
        if let Some(run) = self.runs.get_mut(usize::from(*newest))
            && run.takes(&key, train)
        {
            if let Some(last) = self.pieces.get_mut(usize::from(run.last)) {
                last.next = piece;
            }
            run.last = piece;
            run.count += train.count();
            run.total_bytes += train.total_bytes;
            run.open = run.total_bytes == run.count * run.segment_bytes;
            return;
        }
        *newest = index(self.runs.len());
        self.runs.push(Run {
            key,
            count: train.count(),
            segment_bytes: train.segment_bytes,
            total_bytes: train.total_bytes,
            first: piece,
            last: piece,
            open: train.total_bytes > 0 && train.total_bytes == train.count() * train.segment_bytes,
        });
    }

    /// The datagrams of `run` in order, each as the parts it is made of.
    pub(super) fn datagrams<'m>(
        &'m self,
        run: &Run<K>,
        memory: &'m [u8],
    ) -> impl Iterator<Item = [&'m [u8]; 3]> + use<'m, K> {
        let segment_bytes = run.segment_bytes.max(1);
        self.pieces_of(run).flat_map(move |piece| {
            let [header, content, padding] = self.parts_of(piece, memory);
            // Only what has neither can be several.
            let several = header.is_empty() && padding.is_empty() && content.len() > segment_bytes;
            let step = if several { segment_bytes } else { content.len().max(1) };
            let one = content.is_empty().then_some([header, content, padding]);
            one.into_iter().chain(content.chunks(step).map(move |content| [header, content, padding]))
        })
    }

    /// The whole of `run`, as parts that are not empty.
    pub(super) fn parts<'m>(
        &'m self,
        run: &Run<K>,
        memory: &'m [u8],
    ) -> impl Iterator<Item = &'m [u8]> + use<'m, K> {
        self.pieces_of(run)
            .flat_map(move |piece| self.parts_of(piece, memory))
            .filter(|part| !part.is_empty())
    }

    fn pieces_of(&self, run: &Run<K>) -> impl Iterator<Item = &Piece> + use<'_, K> {
        let mut next = run.first;
        std::iter::from_fn(move || {
            let piece = self.pieces.get(usize::from(next))?;
            next = piece.next;
            Some(piece)
        })
    }

    /// The only datagram of `run`, if it lies in the receive memory in one piece.
    pub(super) fn contiguous<'m>(&self, run: &Run<K>, memory: &'m [u8]) -> Option<&'m [u8]> {
        let piece = self.pieces.get(usize::from(run.first))?;
        let whole = run.count == 1 && piece.header == NONE && piece.padding == 0;
        if whole { Some(content_of(piece, memory)) } else { None }
    }

    fn parts_of<'m>(&'m self, piece: &Piece, memory: &'m [u8]) -> [&'m [u8]; 3] {
        let header = self
            .headers
            .get(usize::from(piece.header))
            .and_then(|header| header.bytes.get(..usize::from(header.length)))
            .unwrap_or_default();
        let padding = ZEROES.get(..usize::from(piece.padding)).unwrap_or_default();
        [header, content_of(piece, memory), padding]
    }
}

/// One or more datagrams as they are on the wire.
#[derive(Clone, Copy, Debug)]
struct Train {
    total_bytes: usize,
    segment_bytes: usize,
}

impl Train {
    const fn one(wire_bytes: usize) -> Self {
        Self { total_bytes: wire_bytes, segment_bytes: wire_bytes }
    }

    const fn count(self) -> usize {
        if self.segment_bytes == 0 { 1 } else { self.total_bytes.div_ceil(self.segment_bytes) }
    }
}

impl<K: PartialEq> Run<K> {
    fn takes(&self, key: &K, train: Train) -> bool {
        let fits = train.segment_bytes == self.segment_bytes
            || (train.segment_bytes < self.segment_bytes && train.count() == 1);
        self.open
            && fits
            && train.total_bytes > 0
            && self.count + train.count() <= SEGMENTS_MAX
            && self.total_bytes + train.total_bytes <= SEGMENTED_BYTES_MAX
            && self.key == *key
    }
}

fn content_of<'m>(piece: &Piece, memory: &'m [u8]) -> &'m [u8] {
    let start = piece.start as usize;
    memory.get(start..start + piece.bytes as usize).unwrap_or_default()
}

/// The bounds above keep every index below `NONE`.
fn index(value: usize) -> u16 {
    u16::try_from(value).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(start: usize, bytes: usize) -> Content<'static> {
        Content { start, bytes, ..Content::default() }
    }

    fn shape(runs: &Runs<u8>) -> Vec<(u8, usize, usize)> {
        runs.as_slice().iter().map(|run| (run.key, run.count, run.segment_bytes)).collect()
    }

    #[test]
    fn equal_sizes_to_one_destination_are_one_run_and_a_shorter_one_ends_it() {
        let mut runs = Runs::new();
        for bytes in [100, 100, 40, 100, 120] {
            assert!(runs.add(1, 1, content(0, bytes)));
        }
        assert_eq!(shape(&runs), [(1, 3, 100), (1, 1, 100), (1, 1, 120)]);
    }

    #[test]
    fn interleaved_destinations_are_gathered_even_when_their_hashes_collide() {
        let mut runs = Runs::new();
        for key in [1, 2, 1, 2] {
            assert!(runs.add(key, usize::from(key), content(0, 10)));
        }
        assert_eq!(shape(&runs), [(1, 2, 10), (2, 2, 10)]);
        runs.clear();
        for key in [1, 2, 1] {
            assert!(runs.add(key, 0, content(0, 10)));
        }
        assert_eq!(shape(&runs), [(1, 1, 10), (2, 1, 10), (1, 1, 10)]);
    }

    #[test]
    fn empty_datagrams_stand_alone() {
        let mut runs = Runs::new();
        for bytes in [0, 0, 5, 0] {
            assert!(runs.add(1, 1, content(0, bytes)));
        }
        assert_eq!(shape(&runs), [(1, 1, 0), (1, 1, 0), (1, 1, 5), (1, 1, 0)]);
    }

    #[test]
    fn a_run_stays_within_what_the_kernel_takes() {
        let mut runs = Runs::new();
        for _ in 0..SEGMENTS_MAX + 1 {
            assert!(runs.add(1, 1, content(0, 1000)));
        }
        assert_eq!(shape(&runs), [(1, 64, 1000), (1, 1, 1000)]);
        runs.clear();
        for _ in 0..50 {
            assert!(runs.add(1, 1, content(0, 1400)));
        }
        assert_eq!(shape(&runs), [(1, 46, 1400), (1, 4, 1400)]);
    }

    #[test]
    fn parts_come_in_order_with_headers_and_padding() {
        let memory = b"abcdefgh";
        let mut runs = Runs::new();
        let mut header = Header { bytes: [0; HEADER_BYTES_MAX], length: 2 };
        for (number, start) in [(b'1', 0), (b'2', 3)] {
            header.bytes[0] = b'h';
            header.bytes[1] = number;
            assert!(runs.add(1, 1, Content { start, bytes: 3, header: Some(&header), padding: 1 }));
        }
        let run = runs.as_slice()[0];
        assert_eq!((run.count, run.segment_bytes), (2, 6));
        let all: Vec<u8> = runs.parts(&run, memory).flatten().copied().collect();
        assert_eq!(all, b"h1abc\0h2def\0");
        assert_eq!(runs.contiguous(&run, memory), None);
    }

    #[test]
    fn trains_join_runs_and_are_cut_where_the_kernel_wants_it() {
        let memory: Vec<u8> = (0..=255).collect();
        let mut runs = Runs::new();
        assert_eq!(runs.add_train(1, 1, 0, 30, 10), 30);
        assert_eq!(runs.add_train(1, 1, 100, 25, 10), 25);
        assert_eq!(runs.add_train(1, 1, 200, 20, 10), 20);
        assert_eq!(shape(&runs), [(1, 6, 10), (1, 2, 10)]);
        let run = runs.as_slice()[0];
        assert_eq!(runs.parts(&run, &memory).map(<[u8]>::len).collect::<Vec<_>>(), [30, 25]);
        let firsts: Vec<u8> = runs.datagrams(&run, &memory).map(|[_, content, _]| content[0]).collect();
        assert_eq!(firsts, [0, 10, 20, 100, 110, 120]);

        runs.clear();
        assert_eq!(runs.add_train(1, 1, 0, 100 * 1000, 1000), 100 * 1000);
        assert_eq!(shape(&runs), [(1, 64, 1000), (1, 36, 1000)]);
        runs.clear();
        assert!(runs.add(1, 1, content(0, 10)));
        assert_eq!(runs.add_train(1, 1, 0, 12, 6), 12);
        assert_eq!(shape(&runs), [(1, 1, 10), (1, 2, 6)]);
    }

    #[test]
    fn a_full_batch_says_so() {
        let mut runs = Runs::new();
        for key in 0..RUNS_MAX {
            assert!(runs.add(key, key, content(0, 1)));
        }
        assert!(!runs.add(0, 0, content(0, 1)));
        runs.clear();
        for _ in 0..PIECES_MAX {
            assert!(runs.add(0, 0, content(0, 1)));
        }
        assert!(!runs.add(0, 0, content(0, 1)));
    }
}
