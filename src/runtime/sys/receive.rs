//! Receiving many datagrams at once, or several that the kernel merged (UDP_GRO).
#![allow(unsafe_code)]

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    io, mem,
    net::SocketAddr,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::{self, NonNull},
};

use super::{UDP_GRO, address::RawAddress, checked, checked_length};

/// Free bytes before what is received, for headers that are written in front of it: as many as a long train needs.
pub(crate) const HEADROOM_BYTES: usize = 3072;

/// The most the kernel hands over at once, merged or not, and a little for padding behind it.
const CONTENT_BYTES: usize = 65_536;

/// From one slot to the next. The odd part spreads the first lines of the slots over the sets of the cache.
const STRIDE_BYTES: usize = HEADROOM_BYTES + CONTENT_BYTES + 320;

/// Memory that datagrams are received into, slot by slot, and what the system needs to do it.
///
/// Everything is allocated once. Pages are touched as datagrams need them.
pub(crate) struct ReceiveSlots {
    memory: RawArray<u8>,
    headers: RawArray<libc::mmsghdr>,
    places: RawArray<Place>,
    received: Box<[Option<Received>]>,
}

/// One datagram, or several of one sender that the kernel merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Who sent it.
    pub(crate) source: SocketAddr,
    /// Where it starts in [`ReceiveSlots::memory`].
    pub(crate) start: usize,
    /// All of it.
    pub(crate) total_bytes: usize,
    /// The size of each merged datagram but the last; `total_bytes` if there is only one.
    pub(crate) segment_bytes: usize,
}

/// Where the system writes what goes with one slot.
struct Place {
    vector: libc::iovec,
    address: RawAddress,
    control: Control,
}

/// Room for one control message with an integer.
#[repr(align(8))]
struct Control([u8; 24]);

const CONTROL_BYTES: usize = size_of::<Control>();

impl ReceiveSlots {
    /// `count` slots.
    pub(crate) fn new(count: usize) -> Self {
        let slots = Self {
            memory: RawArray::zeroed(count * STRIDE_BYTES),
            headers: RawArray::zeroed(count),
            places: RawArray::zeroed(count),
            received: vec![None; count].into_boxed_slice(),
        };
        for slot in 0..count {
            // SAFETY: `slot` is within every array, and the memory of a slot is within `memory`; all of it stays
            // where it is until `slots` is dropped.
            unsafe {
                let place = slots.places.at(slot);
                (*place).vector.iov_base = slots.memory.at(slot * STRIDE_BYTES + HEADROOM_BYTES).cast();
                (*place).vector.iov_len = CONTENT_BYTES;
                let header = &raw mut (*slots.headers.at(slot)).msg_hdr;
                (*header).msg_name = (&raw mut (*place).address).cast();
                (*header).msg_namelen = RawAddress::CAPACITY;
                (*header).msg_iov = &raw mut (*place).vector;
                (*header).msg_iovlen = 1;
                (*header).msg_control = (&raw mut (*place).control.0).cast();
                (*header).msg_controllen = CONTROL_BYTES;
            }
        }
        slots
    }

    /// How many slots there are.
    pub(crate) fn count(&self) -> usize {
        self.received.len()
    }

    /// Receives into the slots from `first` on, at most `count`, without waiting. Answers how many were filled.
    pub(crate) fn receive_many(
        &mut self,
        socket: BorrowedFd<'_>,
        first: usize,
        count: usize,
    ) -> io::Result<usize> {
        let count = count.min(self.count().saturating_sub(first));
        let limit = libc::c_uint::try_from(count).unwrap_or(0);
        // SAFETY: `first + count` is within the array of headers; each points to memory that is ours alone.
        let filled = checked(unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.at(first),
                limit,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        })?;
        let filled = usize::try_from(filled).unwrap_or(0).min(count);
        for slot in first..first + filled {
            // SAFETY: `slot` is within the array.
            let bytes = unsafe { (*self.headers.at(slot)).msg_len };
            self.note(slot, bytes as usize);
        }
        Ok(filled)
    }

    /// Receives into one slot without waiting. As [`receive_many`](Self::receive_many) with a count of 1, but
    /// cheaper.
    pub(crate) fn receive_one(&mut self, socket: BorrowedFd<'_>, slot: usize) -> io::Result<()> {
        if slot >= self.count() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: `slot` is within the array of headers; it points to memory that is ours alone.
        let bytes = checked_length(unsafe {
            libc::recvmsg(socket.as_raw_fd(), &raw mut (*self.headers.at(slot)).msg_hdr, libc::MSG_DONTWAIT)
        })?;
        self.note(slot, bytes);
        Ok(())
    }

    /// What was last received into `slot`; `None` if it was of no use.
    pub(crate) fn received(&self, slot: usize) -> Option<Received> {
        self.received.get(slot).copied().flatten()
    }

    /// The memory of all slots.
    pub(crate) fn memory(&self) -> &[u8] {
        // SAFETY: the array is initialised (zeroed) and this long; whoever writes to it needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.memory.at(0), self.memory.count) }
    }

    /// The memory of all slots, to write headers and padding around what was received.
    pub(crate) fn memory_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `memory`, and nobody else has it, since `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.memory.at(0), self.memory.count) }
    }

    /// Reads what the system said about `slot`, and makes its header ready for the next receive.
    fn note(&mut self, slot: usize, bytes: usize) {
        // SAFETY: `slot` is within both arrays, and nothing else refers to its elements.
        let (header, place) = unsafe { (&mut (*self.headers.at(slot)).msg_hdr, &mut *self.places.at(slot)) };
        let segment_bytes = match header.msg_controllen {
            0 => bytes,
            // SAFETY: the header is as the system left it.
            _ => unsafe { merged_segment_bytes(header) }.unwrap_or(bytes),
        };
        let whole = header.msg_flags & libc::MSG_TRUNC == 0;
        let source = place.address.to_std().filter(|_| whole);
        if let Some(received) = self.received.get_mut(slot) {
            *received = source.map(|source| Received {
                source,
                start: slot * STRIDE_BYTES + HEADROOM_BYTES,
                total_bytes: bytes,
                segment_bytes: segment_bytes.min(bytes),
            });
        }
        header.msg_namelen = RawAddress::CAPACITY;
        header.msg_controllen = CONTROL_BYTES;
        header.msg_flags = 0;
    }
}

/// # Safety
/// `header` is as `recvmsg` left it and its control buffer is alive.
unsafe fn merged_segment_bytes(header: &libc::msghdr) -> Option<usize> {
    // SAFETY: the CMSG macros stay within the control buffer that `header` describes; the length of each message is
    // checked before its content is read.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            let whole = libc::CMSG_LEN(mem::size_of::<libc::c_int>() as libc::c_uint) as usize;
            let wanted = (*message).cmsg_level == libc::SOL_UDP && (*message).cmsg_type == UDP_GRO;
            if wanted && (*message).cmsg_len >= whole {
                let bytes = libc::CMSG_DATA(message).cast::<libc::c_int>().read_unaligned();
                return usize::try_from(bytes).ok().filter(|&bytes| bytes > 0);
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
        None
    }
}

/// A zeroed array on the heap that is only reached by pointer, so that the system may keep pointers into it while
/// nobody holds a reference.
struct RawArray<T> {
    first: NonNull<T>,
    count: usize,
    layout: Layout,
}

impl<T> RawArray<T> {
    /// `T` must be valid with all bytes zero and need no drop; the types of this file are.
    fn zeroed(count: usize) -> Self {
        let Ok(layout) = Layout::array::<T>(count.max(1)) else {
            handle_alloc_error(Layout::new::<T>());
        };
        // SAFETY: the layout is not empty: there is at least one element and no `T` of this file is empty.
        let first = unsafe { alloc_zeroed(layout) };
        let Some(first) = NonNull::new(first.cast::<T>()) else {
            handle_alloc_error(layout);
        };
        Self { first, count, layout }
    }

    /// A pointer to the element at `index`, which is within the array.
    fn at(&self, index: usize) -> *mut T {
        debug_assert!(index < self.count.max(1));
        self.first.as_ptr().wrapping_add(index)
    }
}

impl<T> Drop for RawArray<T> {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this layout.
        unsafe { dealloc(self.first.as_ptr().cast(), self.layout) };
    }
}

impl std::fmt::Debug for ReceiveSlots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiveSlots").field("count", &self.count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd};

    use super::*;

    fn pair(ip: &str) -> (UdpSocket, UdpSocket) {
        let (receiver, sender) = (UdpSocket::bind((ip, 0)).unwrap(), UdpSocket::bind((ip, 0)).unwrap());
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        (receiver, sender)
    }

    #[test]
    fn a_batch_keeps_order_sources_and_sizes() {
        for ip in ["127.0.0.1", "::1"] {
            let (receiver, sender) = pair(ip);
            let mut slots = ReceiveSlots::new(4);
            for bytes in [3, 0, 2000] {
                sender.send(&vec![7; bytes]).unwrap();
            }
            assert_eq!(slots.receive_many(receiver.as_fd(), 1, 4).unwrap(), 3);
            for (slot, bytes) in [(1, 3), (2, 0), (3, 2000)] {
                let received = slots.received(slot).unwrap();
                assert_eq!(received.source, sender.local_addr().unwrap());
                assert_eq!((received.total_bytes, received.segment_bytes), (bytes, bytes));
                let content = &slots.memory()[received.start..received.start + bytes];
                assert!(content.iter().all(|&byte| byte == 7));
            }
        }
    }

    #[test]
    fn nothing_to_receive_is_would_block() {
        let (receiver, _sender) = pair("127.0.0.1");
        let mut slots = ReceiveSlots::new(2);
        let error = slots.receive_many(receiver.as_fd(), 0, 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let error = slots.receive_one(receiver.as_fd(), 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(slots.receive_one(receiver.as_fd(), 2).is_err());
    }
}
