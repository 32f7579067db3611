//! The system calls that the standard library lacks, behind safe functions. The only home of `unsafe`.

mod address;
mod clock;
mod epoll;
mod error_queue;
mod interfaces;
mod limits;
mod options;
mod receive;
mod send;
mod timer;

pub(crate) use clock::monotonic_microseconds;
pub(crate) use epoll::Epoll;
pub(crate) use error_queue::{QueuedError, read_error};
pub(crate) use interfaces::{addresses_of_interface, interface_addresses};
pub(crate) use limits::raise_descriptor_limit;
#[cfg(test)]
pub(crate) use options::disable_checksums;
pub(crate) use options::{
    enable_error_queue, enable_receive_offload, set_buffers, set_dont_fragment, set_only_v6,
};
pub(crate) use receive::{HEADROOM_BYTES, ReceiveSlots, Received};
pub(crate) use send::{SEGMENTED_BYTES_MAX, SEGMENTS_MAX, SendQueue, Sending, send_connected, send_to};

pub(crate) use timer::Timer;

use std::io;

/// Socket option and control message: merge datagrams on receiving (linux/udp.h).
const UDP_GRO: libc::c_int = 104;
/// Control message: cut into datagrams on sending (linux/udp.h).
const UDP_SEGMENT: libc::c_int = 103;

/// Turns the result of a system call that answers -1 on failure into a `Result`.
fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// As [`checked`], for calls that answer a length.
fn checked_length(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// The size of `T` as the system wants it.
fn size_of_option<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0)
}
