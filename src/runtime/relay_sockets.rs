//! The relay sockets of one shard.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::sys::{self, Epoll};
use crate::turn::{BindError, RelayId};

/// Relay sockets by id. An entry takes eight bytes.
#[derive(Debug)]
pub(super) struct RelaySockets {
    sockets: Vec<Option<RelaySocket>>,
    buffer_bytes: usize,
}

#[derive(Debug)]
struct RelaySocket {
    socket: OwnedFd,
    ipv6: bool,
    dont_fragment: bool,
}

impl RelaySockets {
    /// None yet; each will get buffers of `buffer_bytes`, or the system's if that is 0.
    pub(super) const fn new(buffer_bytes: usize) -> Self {
        Self { sockets: Vec::new(), buffer_bytes }
    }

    /// Binds the socket `id` and has `epoll` watch it with `token`.
    pub(super) fn bind(
        &mut self,
        epoll: &Epoll,
        id: RelayId,
        token: u64,
        address: SocketAddr,
    ) -> Result<(), BindError> {
        let socket = self.open(epoll, token, address).map_err(|error| {
            tracing::debug!(%address, %error, "A relay socket could not be bound.");
            bind_error(&error)
        })?;
        let index = id.0 as usize;
        if index >= self.sockets.len() {
            self.sockets.resize_with(index + 1, || None);
        }
        if let Some(place) = self.sockets.get_mut(index) {
            debug_assert!(place.is_none(), "relay ids are used again only after they were closed");
            *place = Some(socket);
        }
        Ok(())
    }

    /// Closes the socket `id`, if it is open.
    pub(super) fn close(&mut self, id: RelayId) {
        if let Some(place) = self.sockets.get_mut(id.0 as usize) {
            *place = None;
        }
    }

    /// The socket `id`, if it is open.
    pub(super) fn get(&self, id: RelayId) -> Option<BorrowedFd<'_>> {
        Some(self.sockets.get(id.0 as usize)?.as_ref()?.socket.as_fd())
    }

    /// The socket `id`, ready to send with or without the DF bit.
    pub(super) fn get_to_send(&mut self, id: RelayId, dont_fragment: bool) -> Option<BorrowedFd<'_>> {
        let relay = self.sockets.get_mut(id.0 as usize)?.as_mut()?;
        if relay.dont_fragment != dont_fragment {
            // Failing means that the datagram leaves as the ones before it.
            if sys::set_dont_fragment(relay.socket.as_fd(), relay.ipv6, dont_fragment).is_ok() {
                relay.dont_fragment = dont_fragment;
            }
        }
        Some(relay.socket.as_fd())
    }

    fn open(&self, epoll: &Epoll, token: u64, address: SocketAddr) -> io::Result<RelaySocket> {
        let socket =
            Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        let ipv6 = address.is_ipv6();
        if ipv6 {
            sys::set_only_v6(socket.as_fd())?;
        }
        sys::set_dont_fragment(socket.as_fd(), ipv6, false)?;
        sys::enable_error_queue(socket.as_fd(), ipv6)?;
        // Kernels before 5.0 cannot merge; everything works without.
        let _merged = sys::enable_receive_offload(socket.as_fd());
        sys::set_buffers(socket.as_fd(), self.buffer_bytes)?;
        socket.bind(&address.into())?;
        epoll.add(socket.as_fd(), token)?;
        Ok(RelaySocket { socket: socket.into(), ipv6, dont_fragment: false })
    }
}

fn bind_error(error: &io::Error) -> BindError {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => BindError::PortInUse,
        // ENOSPC: the epoll instance's share of watches is used up.
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::ENOSPC) => {
            BindError::OutOfResources
        }
        _ => BindError::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_an_alien_address_and_a_closed_socket_are_told_apart() {
        let epoll = Epoll::new(1).unwrap();
        let mut relays = RelaySockets::new(0);
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(relays.bind(&epoll, RelayId(3), 0, taken), Ok(()));
        assert_eq!(relays.bind(&epoll, RelayId(4), 0, taken), Err(BindError::PortInUse));
        let alien = "192.0.2.1:0".parse().unwrap();
        assert_eq!(relays.bind(&epoll, RelayId(4), 0, alien), Err(BindError::Refused));

        assert!(relays.get(RelayId(3)).is_some());
        assert!(relays.get(RelayId(4)).is_none());
        relays.close(RelayId(3));
        assert!(relays.get(RelayId(3)).is_none());
        assert_eq!(relays.bind(&epoll, RelayId(4), 0, taken), Ok(()));
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Option<RelaySocket>>(), 8);
    }

    #[test]
    fn exhausted_descriptors_are_a_shortage() {
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
            assert_eq!(bind_error(&io::Error::from_raw_os_error(errno)), BindError::OutOfResources);
        }
    }
}
