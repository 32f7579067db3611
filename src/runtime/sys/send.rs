//! Sending: one datagram, many to different places, or many to one place in a single piece (UDP_SEGMENT).
#![allow(unsafe_code)]

use std::{
    io,
    marker::PhantomData,
    mem,
    net::SocketAddr,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use super::{UDP_SEGMENT, address::RawAddress, checked, checked_length};

/// The most datagrams one segmented send may carry: the limit of the oldest kernels that have it.
pub(crate) const SEGMENTS_MAX: usize = 64;

/// The most bytes one segmented send may carry.
pub(crate) const SEGMENTED_BYTES_MAX: usize = 65_000;

/// Sends one datagram without waiting.
pub(crate) fn send_to(socket: BorrowedFd<'_>, destination: SocketAddr, datagram: &[u8]) -> io::Result<()> {
    let (address, length) = RawAddress::from_std(destination);
    // SAFETY: the datagram and the address live across the call and are as long as the system is told.
    checked_length(unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            datagram.as_ptr().cast(),
            datagram.len(),
            libc::MSG_DONTWAIT,
            (&raw const address).cast(),
            length,
        )
    })?;
    Ok(())
}

/// Sends one datagram from a connected socket without waiting.
pub(crate) fn send_connected(socket: BorrowedFd<'_>, datagram: &[u8]) -> io::Result<()> {
    // SAFETY: the datagram lives across the call and is as long as the system is told.
    checked_length(unsafe {
        libc::send(socket.as_raw_fd(), datagram.as_ptr().cast(), datagram.len(), libc::MSG_DONTWAIT)
    })?;
    Ok(())
}

/// What the system needs to send many messages; allocated once, used through [`SendQueue::start`].
pub(crate) struct SendQueue {
    messages: Vec<Message>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

struct Message {
    address: RawAddress,
    address_bytes: libc::socklen_t,
    first_vector: usize,
    vectors: usize,
    /// 0: a single datagram.
    segment_bytes: u16,
    control: Control,
}

/// A control message with a 16-bit integer.
#[repr(align(8))]
struct Control([u8; CONTROL_BYTES]);

/// `CMSG_SPACE(size_of::<u16>())`.
const CONTROL_BYTES: usize = 24;

impl SendQueue {
    /// Room for `messages_max` messages made of `parts_max` parts together.
    pub(crate) fn new(messages_max: usize, parts_max: usize) -> Self {
        Self {
            messages: Vec::with_capacity(messages_max),
            vectors: Vec::with_capacity(parts_max),
            headers: Vec::with_capacity(messages_max),
        }
    }

    /// Starts to collect messages for `socket`, whose parts live as long as `'m`.
    pub(crate) fn start<'q, 'm>(&'q mut self, socket: BorrowedFd<'q>) -> Sending<'q, 'm> {
        self.messages.clear();
        self.vectors.clear();
        Sending { queue: self, socket, next: 0, parts: PhantomData }
    }
}

/// Messages being collected and sent from one socket.
pub(crate) struct Sending<'q, 'm> {
    queue: &'q mut SendQueue,
    socket: BorrowedFd<'q>,
    next: usize,
    parts: PhantomData<&'m [u8]>,
}

impl<'m> Sending<'_, 'm> {
    /// Appends a message made of `parts`; with `segment_bytes` the kernel cuts it into datagrams of that size.
    /// Answers false, and appends nothing, if there is no room.
    pub(crate) fn push(
        &mut self,
        destination: SocketAddr,
        segment_bytes: Option<u16>,
        parts: impl IntoIterator<Item = &'m [u8]>,
    ) -> bool {
        let queue = &mut *self.queue;
        if queue.messages.len() == queue.messages.capacity() {
            return false;
        }
        let first_vector = queue.vectors.len();
        for part in parts {
            if queue.vectors.len() == queue.vectors.capacity() {
                queue.vectors.truncate(first_vector);
                return false;
            }
            queue
                .vectors
                .push(libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() });
        }
        let (address, address_bytes) = RawAddress::from_std(destination);
        queue.messages.push(Message {
            address,
            address_bytes,
            first_vector,
            vectors: queue.vectors.len() - first_vector,
            segment_bytes: segment_bytes.unwrap_or(0),
            control: Control([0; CONTROL_BYTES]),
        });
        true
    }

    /// Which message is next, counted from the first that was pushed.
    pub(crate) fn position(&self) -> usize {
        self.next
    }

    /// How many messages are neither sent nor skipped.
    pub(crate) fn pending(&self) -> usize {
        self.queue.messages.len().saturating_sub(self.next)
    }

    /// Leaves out the next message.
    pub(crate) fn skip(&mut self) {
        self.next += 1;
    }

    /// Sends as many of the pending messages as the system takes at once, without waiting; an error is about the
    /// next one.
    pub(crate) fn send(&mut self) -> io::Result<()> {
        let sent = match self.pending() {
            0 => 0,
            1 => self.send_one()?,
            _ => self.send_many()?,
        };
        self.next += sent;
        Ok(())
    }

    fn send_one(&mut self) -> io::Result<usize> {
        let header = self.header(self.next);
        // SAFETY: the header points into the queue, and to parts that live for `'m`.
        checked_length(unsafe {
            libc::sendmsg(self.socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT)
        })?;
        Ok(1)
    }

    fn send_many(&mut self) -> io::Result<usize> {
        self.queue.headers.clear();
        for index in self.next..self.queue.messages.len() {
            let header = libc::mmsghdr { msg_hdr: self.header(index), msg_len: 0 };
            self.queue.headers.push(header);
        }
        let count = libc::c_uint::try_from(self.queue.headers.len()).unwrap_or(0);
        // SAFETY: there are `count` headers, which point into the queue, and to parts that live for `'m`.
        let sent = checked(unsafe {
            libc::sendmmsg(
                self.socket.as_raw_fd(),
                self.queue.headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT,
            )
        })?;
        Ok(usize::try_from(sent).unwrap_or(0))
    }

    /// The header of the message at `index`, which exists.
    fn header(&mut self, index: usize) -> libc::msghdr {
        // SAFETY: all zeroes is a valid `msghdr`.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        let Some(message) = self.queue.messages.get_mut(index) else { return header };
        header.msg_name = (&raw mut message.address).cast();
        header.msg_namelen = message.address_bytes;
        header.msg_iov = self.queue.vectors.as_mut_ptr().wrapping_add(message.first_vector);
        header.msg_iovlen = message.vectors;
        if message.segment_bytes != 0 {
            header.msg_control = (&raw mut message.control.0).cast();
            header.msg_controllen = CONTROL_BYTES;
            // SAFETY: the control buffer holds one message with a 16-bit integer (CMSG_SPACE(2) = 24).
            unsafe {
                let control = libc::CMSG_FIRSTHDR(&raw const header);
                (*control).cmsg_level = libc::SOL_UDP;
                (*control).cmsg_type = UDP_SEGMENT;
                (*control).cmsg_len = libc::CMSG_LEN(mem::size_of::<u16>() as libc::c_uint) as usize;
                ptr::write_unaligned(libc::CMSG_DATA(control).cast::<u16>(), message.segment_bytes);
            }
        }
        header
    }
}

impl Drop for Sending<'_, '_> {
    /// The parts may go away: forget where they were.
    fn drop(&mut self) {
        self.queue.messages.clear();
        self.queue.vectors.clear();
        self.queue.headers.clear();
    }
}

impl std::fmt::Debug for SendQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendQueue").field("messages_max", &self.messages.capacity()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd};

    use super::*;
    use crate::runtime::sys::{ReceiveSlots, enable_receive_offload};

    fn sockets(ip: &str) -> (UdpSocket, UdpSocket) {
        (UdpSocket::bind((ip, 0)).unwrap(), UdpSocket::bind((ip, 0)).unwrap())
    }

    #[test]
    fn a_train_of_parts_arrives_as_datagrams_of_the_segment_size() {
        for ip in ["127.0.0.1", "::1"] {
            let (sender, receiver) = sockets(ip);
            let mut queue = SendQueue::new(2, 8);
            let mut sending = queue.start(sender.as_fd());
            let parts: [&[u8]; 6] = [b"h1", b"aaa", b"h2", b"bbb", b"h3", b"c"];
            assert!(sending.push(receiver.local_addr().unwrap(), Some(5), parts));
            sending.send().unwrap();
            assert_eq!(sending.pending(), 0);

            let mut buffer = [0; 100];
            for expected in [&b"h1aaa"[..], b"h2bbb", b"h3c"] {
                let bytes = receiver.recv(&mut buffer).unwrap();
                assert_eq!(&buffer[..bytes], expected);
            }
        }
    }

    #[test]
    fn a_train_is_received_whole_where_merging_is_on() {
        for ip in ["127.0.0.1", "::1"] {
            let (sender, receiver) = sockets(ip);
            enable_receive_offload(receiver.as_fd()).unwrap();
            let payload: Vec<u8> = (0..=255).cycle().take(1200 * 15 + 7).collect();
            let mut queue = SendQueue::new(1, 1);
            let mut sending = queue.start(sender.as_fd());
            assert!(sending.push(receiver.local_addr().unwrap(), Some(1200), [&payload[..]]));
            sending.send().unwrap();

            let mut slots = ReceiveSlots::new(2);
            let mut collected = Vec::new();
            while collected.len() < payload.len() {
                assert_eq!(slots.receive_many(receiver.as_fd(), 0, 1).unwrap(), 1);
                let received = slots.received(0).unwrap();
                assert_eq!(received.source, sender.local_addr().unwrap());
                assert_eq!(received.segment_bytes, received.total_bytes.min(1200));
                collected.extend_from_slice(
                    &slots.memory()[received.start..received.start + received.total_bytes],
                );
            }
            assert_eq!(collected, payload);
        }
    }

    #[test]
    fn many_messages_go_to_many_places_and_an_error_names_the_next() {
        let (sender, first) = sockets("127.0.0.1");
        let second = UdpSocket::bind("127.0.0.1:0").unwrap();
        let too_big = vec![0; 70_000];
        let mut queue = SendQueue::new(4, 4);
        let mut sending = queue.start(sender.as_fd());
        assert!(sending.push(first.local_addr().unwrap(), None, [&b"one"[..]]));
        assert!(sending.push(first.local_addr().unwrap(), None, [&too_big[..]]));
        assert!(sending.push(second.local_addr().unwrap(), None, [&b"three"[..]]));

        sending.send().unwrap();
        assert_eq!((sending.position(), sending.pending()), (1, 2));
        assert_eq!(sending.send().unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
        sending.skip();
        sending.send().unwrap();
        assert_eq!(sending.pending(), 0);

        let mut buffer = [0; 10];
        assert_eq!(first.recv(&mut buffer).unwrap(), 3);
        assert_eq!(second.recv(&mut buffer).unwrap(), 5);
    }

    #[test]
    fn what_does_not_fit_the_queue_is_refused() {
        let (sender, receiver) = sockets("127.0.0.1");
        let destination = receiver.local_addr().unwrap();
        let mut queue = SendQueue::new(1, 1);
        let mut sending = queue.start(sender.as_fd());
        assert!(!sending.push(destination, None, [&b"a"[..], b"b"]));
        assert!(sending.push(destination, None, [&b"a"[..]]));
        assert!(!sending.push(destination, None, [&b"b"[..]]));
        assert_eq!(sending.pending(), 1);
    }
}
