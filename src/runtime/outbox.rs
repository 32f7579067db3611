//! Sending the runs of a batch, and what to do when the kernel refuses.

use std::{io, net::SocketAddr, os::fd::BorrowedFd, time::Duration};

use super::{
    counters::RuntimeCounters,
    runs::{PIECES_MAX, RUNS_MAX, Run, Runs},
    sys::{self, SEGMENTS_MAX, SendQueue, Sending},
};
use crate::turn::Instant;

/// How long segmentation is left alone after a device has refused it.
const SEGMENTATION_PAUSE: Duration = Duration::from_secs(10);

/// Sends runs, and remembers whether the kernel takes several datagrams in one piece.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: SendQueue,
    singles: SendQueue,
    messages: Vec<Message>,
    segmentation_paused_until: Instant,
}

/// What a message of the queue is made of.
#[derive(Clone, Copy, Debug)]
struct Message {
    run: usize,
    datagrams: u64,
}

/// What sending takes beside the runs.
pub(super) struct Context<'a> {
    /// From where.
    pub(super) socket: BorrowedFd<'a>,
    /// The memory the runs refer to.
    pub(super) memory: &'a [u8],
    /// The time of the batch.
    pub(super) now: Instant,
    /// Where successes and losses are counted.
    pub(super) counters: &'a mut RuntimeCounters,
}

/// A key that says where its run goes.
pub(super) trait Destination: Copy + PartialEq {
    /// The address to send to.
    fn address(&self) -> SocketAddr;
}

impl Outbox {
    /// An outbox; all memory is allocated here.
    pub(super) fn new() -> Self {
        Self {
            queue: SendQueue::new(RUNS_MAX, PIECES_MAX * 3),
            singles: SendQueue::new(SEGMENTS_MAX, SEGMENTS_MAX * 3),
            messages: Vec::with_capacity(RUNS_MAX),
            segmentation_paused_until: Instant::from_millis(0),
        }
    }

    /// Sends the runs at the indices `which` from one socket, in that order, in as few system calls as it takes.
    pub(super) fn send<K: Destination>(
        &mut self,
        runs: &Runs<K>,
        which: impl IntoIterator<Item = usize>,
        context: &mut Context<'_>,
    ) {
        let may_segment = self.segmentation_paused_until <= context.now;
        let (memory, socket) = (context.memory, context.socket);
        let mut sending = self.queue.start(socket);
        self.messages.clear();
        let mut refused = false;
        for index in which {
            let Some(run) = runs.as_slice().get(index) else { continue };
            let destination = run.key.address();
            if run.count == 1 || may_segment {
                let segment_bytes = if run.count > 1 { u16::try_from(run.segment_bytes).ok() } else { None };
                let pushed = sending.push(destination, segment_bytes, runs.parts(run, memory));
                debug_assert!(pushed, "the queue holds every run of a batch");
                self.messages.push(Message { run: index, datagrams: run.count as u64 });
            } else {
                refused |= drain(&mut sending, &self.messages, runs, &mut self.singles, context);
                send_singly(runs, run, &mut self.singles, context);
            }
        }
        refused |= drain(&mut sending, &self.messages, runs, &mut self.singles, context);
        if refused {
            self.segmentation_paused_until = context.now.after(SEGMENTATION_PAUSE);
        }
    }
}

/// Sends one datagram; what the kernel refuses is counted.
pub(super) fn send_datagram(
    socket: BorrowedFd<'_>,
    destination: SocketAddr,
    datagram: &[u8],
    counters: &mut RuntimeCounters,
) {
    send_or_count(|| sys::send_to(socket, destination, datagram), counters);
}

/// As [`send_datagram`], from a socket that is connected to the destination.
pub(super) fn send_connected(socket: BorrowedFd<'_>, datagram: &[u8], counters: &mut RuntimeCounters) {
    send_or_count(|| sys::send_connected(socket, datagram), counters);
}

#[inline]
fn send_or_count(send: impl Fn() -> io::Result<()>, counters: &mut RuntimeCounters) {
    let Err(error) = send() else { return };
    if is_full(&error) {
        counters.send_buffer_full += 1;
        return;
    }
    // An ICMP error that waits at the socket is handed to whoever sends next, whatever it sends.
    if let Err(error) = send() {
        if is_full(&error) {
            counters.send_buffer_full += 1;
        } else {
            counters.send_refused += 1;
        }
    }
}

/// Sends everything that is queued. Answers whether a device turned out to be unable to segment.
fn drain<K: Destination>(
    sending: &mut Sending<'_, '_>,
    messages: &[Message],
    runs: &Runs<K>,
    singles: &mut SendQueue,
    context: &mut Context<'_>,
) -> bool {
    let mut unable = false;
    let mut retried = false;
    while sending.pending() > 0 {
        let position = sending.position();
        let Err(error) = sending.send() else {
            count_segments(messages.get(position..sending.position()), context.counters);
            retried = false;
            continue;
        };
        let Some(message) = messages.get(position) else { break };
        if is_full(&error) {
            let lost = messages.get(position..).unwrap_or_default();
            context.counters.send_buffer_full += lost.iter().map(|message| message.datagrams).sum::<u64>();
            while sending.pending() > 0 {
                sending.skip();
            }
        } else if message.datagrams > 1 && refuses_segments(&error) {
            unable |= error.raw_os_error() == Some(libc::EIO);
            context.counters.segmentation_refused += 1;
            if let Some(run) = runs.as_slice().get(message.run) {
                send_singly(runs, run, singles, context);
            }
            sending.skip();
        } else if retried {
            context.counters.send_refused += message.datagrams;
            sending.skip();
            retried = false;
        } else {
            retried = true;
        }
    }
    unable
}

/// Sends a run one datagram at a time.
fn send_singly<K: Destination>(
    runs: &Runs<K>,
    run: &Run<K>,
    singles: &mut SendQueue,
    context: &mut Context<'_>,
) {
    let (memory, socket) = (context.memory, context.socket);
    let mut sending = singles.start(socket);
    for parts in runs.datagrams(run, memory) {
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        let pushed = sending.push(run.key.address(), None, parts);
        debug_assert!(pushed, "the queue holds every datagram of a run");
    }
    let mut retried = false;
    while sending.pending() > 0 {
        let Err(error) = sending.send() else {
            retried = false;
            continue;
        };
        if is_full(&error) {
            context.counters.send_buffer_full += sending.pending() as u64;
            return;
        }
        if retried {
            context.counters.send_refused += 1;
            sending.skip();
        }
        retried = !retried;
    }
}

fn count_segments(sent: Option<&[Message]>, counters: &mut RuntimeCounters) {
    for message in sent.unwrap_or_default().iter().filter(|message| message.datagrams > 1) {
        counters.segmented_sends += 1;
        counters.segments_sent += message.datagrams;
    }
}

/// The socket's buffer or the device's queue has no room: waiting would hold up everybody else.
fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}

/// EIO: the device computes no checksums. EINVAL, EMSGSIZE: a segment exceeds the path's MTU.
fn refuses_segments(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE))
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd};

    use super::*;
    use crate::runtime::runs::{Content, HEADER_BYTES_MAX, Header};

    impl Destination for SocketAddr {
        fn address(&self) -> SocketAddr {
            *self
        }
    }

    struct Fixture {
        sender: UdpSocket,
        receivers: [UdpSocket; 2],
        memory: Vec<u8>,
        runs: Runs<SocketAddr>,
        counters: RuntimeCounters,
    }

    impl Fixture {
        fn new() -> Self {
            let socket = || UdpSocket::bind("127.0.0.1:0").unwrap();
            let receivers = [socket(), socket()];
            for receiver in &receivers {
                receiver.set_nonblocking(true).unwrap();
            }
            let memory = (0..=255).collect();
            let (runs, counters) = (Runs::new(), RuntimeCounters::default());
            Self { sender: socket(), receivers, memory, runs, counters }
        }

        fn add(&mut self, receiver: usize, start: usize, bytes: usize) {
            let key = self.receivers[receiver].local_addr().unwrap();
            let header = Header { bytes: [9; HEADER_BYTES_MAX], length: 4 };
            let content = Content { start, bytes, header: Some(&header), padding: 0 };
            assert!(self.runs.add(key, receiver, content));
        }

        fn send(&mut self, outbox: &mut Outbox, socket: BorrowedFd<'_>) {
            let (memory, now) = (&self.memory, Instant::from_millis(1));
            let mut context = Context { socket, memory, now, counters: &mut self.counters };
            outbox.send(&self.runs, 0..self.runs.as_slice().len(), &mut context);
        }

        /// The second byte of the payload of everything that arrived.
        fn arrived(&self, receiver: usize) -> Vec<u8> {
            let mut buffer = [0; 100];
            let mut seen = Vec::new();
            while let Ok(bytes) = self.receivers[receiver].recv(&mut buffer) {
                assert_eq!((bytes, buffer[0]), (14, 9));
                seen.push(buffer[4]);
            }
            seen
        }
    }

    #[test]
    fn runs_arrive_whole_and_in_order_with_or_without_segmentation() {
        for paused in [false, true] {
            let mut fixture = Fixture::new();
            for start in 0..6 {
                fixture.add(start % 2, start, 10);
            }
            let mut outbox = Outbox::new();
            if paused {
                outbox.segmentation_paused_until = Instant::from_millis(2);
            }
            let sender = fixture.sender.try_clone().unwrap();
            fixture.send(&mut outbox, sender.as_fd());
            assert_eq!(fixture.arrived(0), [0, 2, 4]);
            assert_eq!(fixture.arrived(1), [1, 3, 5]);
            let expected = if paused { (0, 0) } else { (2, 6) };
            assert_eq!((fixture.counters.segmented_sends, fixture.counters.segments_sent), expected);
        }
    }

    #[test]
    fn a_train_the_kernel_refuses_to_cut_is_sent_one_by_one() {
        let mut fixture = Fixture::new();
        for start in 0..3 {
            fixture.add(0, start, 10);
        }
        let mut outbox = Outbox::new();
        // Without checksums the kernel segments nothing.
        let sender = socket2::Socket::from(fixture.sender.try_clone().unwrap());
        sys::disable_checksums(sender.as_fd()).unwrap();
        fixture.send(&mut outbox, sender.as_fd());
        assert_eq!(fixture.arrived(0), [0, 1, 2]);
        assert_eq!(fixture.counters.segmentation_refused, 1);
    }

    #[test]
    fn a_refused_destination_costs_nobody_else_anything() {
        let mut fixture = Fixture::new();
        fixture.add(0, 0, 10);
        let content = Content { start: 0, bytes: 10, ..Content::default() };
        assert!(fixture.runs.add("255.255.255.255:9".parse().unwrap(), 5, content));
        fixture.add(1, 1, 10);
        let sender = fixture.sender.try_clone().unwrap();
        fixture.send(&mut Outbox::new(), sender.as_fd());
        assert_eq!(fixture.arrived(0), [0]);
        assert_eq!(fixture.arrived(1), [1]);
        assert_eq!(fixture.counters.send_refused, 1);
    }
}
