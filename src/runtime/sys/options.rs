//! Socket options.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use super::{UDP_GRO, checked, size_of_option};

/// Lets the kernel merge datagrams of one sender on receiving (UDP_GRO).
pub(crate) fn enable_receive_offload(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::SOL_UDP, UDP_GRO, 1)
}

/// Has ICMP errors queued with the address they are about (IP_RECVERR, IPV6_RECVERR).
pub(crate) fn enable_error_queue(socket: BorrowedFd<'_>, ipv6: bool) -> io::Result<()> {
    if ipv6 {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)
    } else {
        set(socket, libc::IPPROTO_IP, libc::IP_RECVERR, 1)
    }
}

/// Keeps an IPv6 socket from taking IPv4.
pub(crate) fn set_only_v6(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)
}

/// Chooses whether datagrams may be fragmented on their way.
///
/// Without: DF is clear and the kernel fragments what exceeds the path's MTU as it knows it. With: DF is set, a
/// path MTU the kernel has learned is not consulted (the client does its own discovery, RFC 8656 §11.4), and what
/// exceeds the interface's MTU is refused with EMSGSIZE.
pub(crate) fn set_dont_fragment(socket: BorrowedFd<'_>, ipv6: bool, dont_fragment: bool) -> io::Result<()> {
    match (ipv6, dont_fragment) {
        (false, false) => set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT),
        (false, true) => set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
        (true, false) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT),
        (true, true) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE),
    }
}

/// Sets both buffers, above the system's limit if this process may. 0 leaves the system's default.
pub(crate) fn set_buffers(socket: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX / 2);
    for (force, plain) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
        if set(socket, libc::SOL_SOCKET, force, bytes).is_err() {
            set(socket, libc::SOL_SOCKET, plain, bytes)?;
        }
    }
    Ok(())
}

fn set(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the value lives across the call and is as long as the system is told.
    checked(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of_option::<libc::c_int>(),
        )
    })?;
    Ok(())
}

/// Sends without UDP checksums (SO_NO_CHECK), which rules out segmentation.
#[cfg(test)]
pub(crate) fn disable_checksums(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1)
}
