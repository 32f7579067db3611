//! The error queue of a socket: ICMP errors with the address they are about.
#![allow(unsafe_code)]

use std::{
    io, mem,
    net::SocketAddr,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use super::{address::RawAddress, checked_length};

/// An error that came back for a datagram, or that the kernel foresaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueuedError {
    /// Where the datagram was sent to.
    pub(crate) destination: SocketAddr,
    /// The error as the kernel translated it.
    pub(crate) errno: i32,
    /// Who says so: `libc::SO_EE_ORIGIN_ICMP`, `…_ICMP6` or `…_LOCAL`.
    pub(crate) origin: u8,
    /// ICMP type.
    pub(crate) kind: u8,
    /// ICMP code.
    pub(crate) code: u8,
    /// The MTU, where the error is about one.
    pub(crate) information: u32,
}

/// Room for the extended error, the address of who sent the ICMP message, and their header.
#[repr(align(8))]
struct Control([u8; 128]);

/// Takes one error from the queue of `socket`; `None` if it is empty. One that says nothing of use is passed over as
/// an error of kind `InvalidData`.
pub(crate) fn read_error(socket: BorrowedFd<'_>) -> io::Result<Option<QueuedError>> {
    let mut destination = RawAddress::empty();
    let mut control = Control([0; 128]);
    // The datagram itself comes back too; a truncated copy of nothing will do.
    let mut nothing = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
    // SAFETY: all zeroes is a valid `msghdr`.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = (&raw mut destination).cast();
    header.msg_namelen = RawAddress::CAPACITY;
    header.msg_iov = &raw mut nothing;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len();

    // SAFETY: everything the header points to lives across the call and is as long as it says.
    let received = checked_length(unsafe {
        libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT)
    });
    match received {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        Err(error) => return Err(error),
    }
    // SAFETY: the header is as the system left it, and what it points to is still alive.
    let extended = unsafe { extended_error(&header) };
    let (Some(extended), Some(destination)) = (extended, destination.to_std()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    Ok(Some(QueuedError {
        destination,
        errno: i32::try_from(extended.ee_errno).unwrap_or(0),
        origin: extended.ee_origin,
        kind: extended.ee_type,
        code: extended.ee_code,
        information: extended.ee_info,
    }))
}

/// # Safety
/// `header` is as `recvmsg` left it and its control buffer is alive.
unsafe fn extended_error(header: &libc::msghdr) -> Option<libc::sock_extended_err> {
    // SAFETY: the CMSG macros stay within the control buffer that `header` describes; the length of each message is
    // checked before its content is read.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            let at = ((*message).cmsg_level, (*message).cmsg_type);
            let wanted =
                at == (libc::IPPROTO_IP, libc::IP_RECVERR) || at == (libc::IPPROTO_IPV6, libc::IPV6_RECVERR);
            let whole = libc::CMSG_LEN(mem::size_of::<libc::sock_extended_err>() as libc::c_uint) as usize;
            if wanted && (*message).cmsg_len >= whole {
                return Some(libc::CMSG_DATA(message).cast::<libc::sock_extended_err>().read_unaligned());
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd};

    use super::*;
    use crate::runtime::sys::{Epoll, enable_error_queue, send_to, set_dont_fragment};

    /// The address of a port that nobody has.
    fn nobody(ip: &str) -> SocketAddr {
        UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap()
    }

    fn wait_for_error(epoll: &mut Epoll) {
        for _ in 0..100_000 {
            if epoll.fetch().unwrap() > 0 {
                return;
            }
            std::thread::yield_now();
        }
        panic!("no error came");
    }

    #[test]
    fn port_unreachable_names_the_destination() {
        for (ip, ipv6, kind, code) in [("127.0.0.1", false, 3, 3), ("::1", true, 1, 4)] {
            let socket = UdpSocket::bind((ip, 0)).unwrap();
            socket.set_nonblocking(true).unwrap();
            enable_error_queue(socket.as_fd(), ipv6).unwrap();
            let mut epoll = Epoll::new(1).unwrap();
            epoll.add(socket.as_fd(), 0).unwrap();
            assert_eq!(read_error(socket.as_fd()).unwrap(), None);

            let destination = nobody(ip);
            send_to(socket.as_fd(), destination, b"x").unwrap();
            wait_for_error(&mut epoll);
            let error = read_error(socket.as_fd()).unwrap().unwrap();

            assert_eq!(error.destination, destination);
            assert_eq!((error.kind, error.code, error.errno), (kind, code, libc::ECONNREFUSED));
            assert_eq!(read_error(socket.as_fd()).unwrap(), None);
        }
    }

    #[test]
    fn a_datagram_too_big_to_go_unfragmented_is_reported() {
        let socket = UdpSocket::bind("[::1]:0").unwrap();
        let peer = UdpSocket::bind("[::1]:0").unwrap();
        enable_error_queue(socket.as_fd(), true).unwrap();
        let destination = peer.local_addr().unwrap();
        // With its headers this is 12 bytes more than the MTU of the loopback interface.
        let datagram = [0; 65_500];
        set_dont_fragment(socket.as_fd(), true, false).unwrap();
        assert!(send_to(socket.as_fd(), destination, &datagram).is_ok());
        assert_eq!(read_error(socket.as_fd()).unwrap(), None);

        set_dont_fragment(socket.as_fd(), true, true).unwrap();
        let refused = send_to(socket.as_fd(), destination, &datagram).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EMSGSIZE));
        let error = read_error(socket.as_fd()).unwrap().unwrap();
        assert_eq!((error.destination, error.origin), (destination, libc::SO_EE_ORIGIN_LOCAL));
        assert_eq!((error.errno, error.information), (libc::EMSGSIZE, 65_536));
    }
}
