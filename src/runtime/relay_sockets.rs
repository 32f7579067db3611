//! The relay sockets of one shard.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{
    descriptors::{self, Purpose},
    sys::{self, Epoll},
};
use crate::turn::{BindError, RelayId};

/// After so many single datagrams that did not leave by a direct socket, the relay gets one.
const BUSY: u16 = 256;
/// The most direct sockets of a shard: descriptors are for allocations first.
const DIRECT_MAX: usize = 1024;

/// Relay sockets by id. An entry takes 16 bytes.
#[derive(Debug)]
pub(super) struct RelaySockets {
    sockets: Vec<Option<RelaySocket>>,
    buffer_bytes: usize,
    direct: usize,
}

#[derive(Debug)]
struct RelaySocket {
    socket: OwnedFd,
    ipv6: bool,
    dont_fragment: bool,
    /// Single datagrams since the last that left by the direct socket.
    indirect: u16,
    direct: Option<Box<Direct>>,
}

/// A second socket at the same port, connected to a busy peer: the kernel looks up the route once instead of for each
/// datagram, a tenth of what sending costs. What that peer sends arrives here; every other peer still reaches the
/// relay socket, which can't be connected itself, as a permission covers all ports of an address.
#[derive(Debug)]
struct Direct {
    socket: OwnedFd,
    peer: SocketAddr,
}

/// A socket that peers' datagrams arrive at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inlet {
    pub(super) relay: RelayId,
    /// The direct socket, not the relay socket.
    pub(super) is_direct: bool,
}

/// By which socket a datagram leaves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way<'a> {
    /// The relay socket, which wants a destination.
    Addressed(BorrowedFd<'a>),
    /// A socket that is connected to the destination.
    Connected(BorrowedFd<'a>),
}

impl RelaySockets {
    /// None yet; each will get buffers of `buffer_bytes`, or the system's if that is 0.
    pub(super) const fn new(buffer_bytes: usize) -> Self {
        Self { sockets: Vec::new(), buffer_bytes, direct: 0 }
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
            descriptors::is_shortage(&error, Purpose::Relay);
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
        if let Some(place) = self.sockets.get_mut(id.0 as usize)
            && let Some(relay) = place.take()
        {
            self.direct -= usize::from(relay.direct.is_some());
        }
    }

    /// The socket to read, if it is open.
    pub(super) fn inlet(&self, inlet: Inlet) -> Option<BorrowedFd<'_>> {
        let relay = self.sockets.get(inlet.relay.0 as usize)?.as_ref()?;
        if inlet.is_direct { Some(relay.direct.as_ref()?.socket.as_fd()) } else { Some(relay.socket.as_fd()) }
    }

    /// The way of a single datagram from the relay `id` to `peer`. Busy relays get a direct socket on the way, which
    /// `epoll` watches with `token`.
    pub(super) fn way_to(
        &mut self,
        epoll: &Epoll,
        id: RelayId,
        token: u64,
        peer: SocketAddr,
        dont_fragment: bool,
    ) -> Option<Way<'_>> {
        if !dont_fragment {
            let relay = self.sockets.get_mut(id.0 as usize)?.as_mut()?;
            if relay.direct.as_ref().is_some_and(|direct| direct.peer == peer) {
                relay.indirect = 0;
                // Borrowed again, because the borrow above would last for the other branch too.
                return self.inlet(Inlet { relay: id, is_direct: true }).map(Way::Connected);
            }
            relay.indirect += 1;
            if relay.indirect == BUSY {
                relay.indirect = 0;
                self.open_direct(epoll, id, token, peer);
            }
        }
        self.get_to_send(id, dont_fragment).map(Way::Addressed)
    }

    /// Turns the direct socket of the relay `id` to `peer`, or opens one. If it can't be had, things stay as they are.
    fn open_direct(&mut self, epoll: &Epoll, id: RelayId, token: u64, peer: SocketAddr) {
        let Some(Some(relay)) = self.sockets.get_mut(id.0 as usize) else { return };
        if let Some(direct) = &mut relay.direct {
            // What has arrived from the peer before stays readable.
            if SockRef::from(&direct.socket).connect(&peer.into()).is_ok() {
                direct.peer = peer;
            }
        } else if self.direct < DIRECT_MAX
            && let Ok(socket) = connected_beside(relay, self.buffer_bytes, peer)
            && epoll.add(socket.as_fd(), token).is_ok()
        {
            relay.direct = Some(Box::new(Direct { socket, peer }));
            self.direct += 1;
        }
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
        let socket = unbound(address.is_ipv6(), self.buffer_bytes)?;
        socket.bind(&address.into())?;
        epoll.add(socket.as_fd(), token)?;
        let (ipv6, dont_fragment) = (address.is_ipv6(), false);
        Ok(RelaySocket { socket: socket.into(), ipv6, dont_fragment, indirect: 0, direct: None })
    }
}

fn unbound(ipv6: bool, buffer_bytes: usize) -> io::Result<Socket> {
    let domain = if ipv6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if descriptors::must_stay_free(socket.as_fd(), Purpose::Relay) {
        return Err(io::Error::from_raw_os_error(libc::EMFILE));
    }
    if ipv6 {
        sys::set_only_v6(socket.as_fd())?;
    }
    sys::set_dont_fragment(socket.as_fd(), ipv6, false)?;
    sys::enable_error_queue(socket.as_fd(), ipv6)?;
    // Kernels before 5.0 cannot merge; everything works without.
    let _merged = sys::enable_receive_offload(socket.as_fd());
    sys::set_buffers(socket.as_fd(), buffer_bytes)?;
    Ok(socket)
}

/// A socket at the port of `relay`, connected to `peer`. The port can be shared only while this takes.
fn connected_beside(relay: &RelaySocket, buffer_bytes: usize, peer: SocketAddr) -> io::Result<OwnedFd> {
    let first = SockRef::from(&relay.socket);
    let second = unbound(relay.ipv6, buffer_bytes)?;
    second.set_reuse_address(true)?;
    first.set_reuse_address(true)?;
    let bound = first.local_addr().and_then(|address| second.bind(&address));
    first.set_reuse_address(false)?;
    second.set_reuse_address(false)?;
    bound?;
    second.connect(&peer.into())?;
    Ok(second.into())
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
    use std::{mem::MaybeUninit, net::UdpSocket};

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

        let is_open = |relays: &RelaySockets, id| {
            relays.inlet(Inlet { relay: RelayId(id), is_direct: false }).is_some()
        };
        assert!(is_open(&relays, 3));
        assert!(!is_open(&relays, 4));
        relays.close(RelayId(3));
        assert!(!is_open(&relays, 3));
        assert_eq!(relays.bind(&epoll, RelayId(4), 0, taken), Ok(()));
    }

    #[test]
    fn a_busy_peer_gets_a_direct_socket_and_others_still_reach_the_relay() {
        let (mut epoll, mut relays, id) = (Epoll::new(4).unwrap(), RelaySockets::new(0), RelayId(0));
        relays.bind(&epoll, id, 1, "127.0.0.1:0".parse().unwrap()).unwrap();
        let main = Inlet { relay: id, is_direct: false };
        let relayed = SockRef::from(&relays.inlet(main).unwrap()).local_addr().unwrap().as_socket().unwrap();
        let [busy, other] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let peer = busy.local_addr().unwrap();

        for _ in 1..BUSY {
            assert!(matches!(relays.way_to(&epoll, id, 2, peer, false), Some(Way::Addressed(_))));
        }
        assert!(relays.way_to(&epoll, id, 2, peer, false).is_some());
        let Some(Way::Connected(socket)) = relays.way_to(&epoll, id, 2, peer, false) else {
            panic!("no direct socket after {BUSY} datagrams")
        };
        sys::send_connected(socket, b"out").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(busy.recv_from(&mut buffer).unwrap(), (3, relayed));

        assert!(matches!(
            relays.way_to(&epoll, id, 2, other.local_addr().unwrap(), false),
            Some(Way::Addressed(_))
        ));
        assert!(matches!(relays.way_to(&epoll, id, 2, peer, true), Some(Way::Addressed(_))));
        for (from, token) in [(&busy, 2), (&other, 1)] {
            from.send_to(b"in", relayed).unwrap();
            assert_eq!(epoll.fetch().unwrap(), 1);
            assert_eq!(epoll.event(0).map(|event| event.token), Some(token));
            let inlet = Inlet { relay: id, is_direct: token == 2 };
            SockRef::from(&relays.inlet(inlet).unwrap()).recv(&mut [MaybeUninit::uninit(); 8]).unwrap();
        }
        let stranger = unbound(false, 0).unwrap();
        stranger.set_reuse_address(true).unwrap();
        assert!(stranger.bind(&relayed.into()).is_err(), "the port is shared no longer than needed");

        relays.close(id);
        assert_eq!(relays.direct, 0);
        assert!(stranger.bind(&relayed.into()).is_ok());
    }

    #[test]
    fn a_direct_socket_turns_to_the_peer_that_is_busy_now() {
        let (epoll, mut relays, id) = (Epoll::new(4).unwrap(), RelaySockets::new(0), RelayId(0));
        relays.bind(&epoll, id, 1, "127.0.0.1:0".parse().unwrap()).unwrap();
        let peers = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        for peer in &peers {
            let address = peer.local_addr().unwrap();
            for _ in 0..BUSY {
                assert!(relays.way_to(&epoll, id, 2, address, false).is_some());
            }
            let Some(Way::Connected(socket)) = relays.way_to(&epoll, id, 2, address, false) else {
                panic!("no direct socket for {address}")
            };
            sys::send_connected(socket, b"x").unwrap();
            assert_eq!(peer.recv(&mut [0; 8]).unwrap(), 1);
        }
        assert_eq!(relays.direct, 1);
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Option<RelaySocket>>(), 16);
    }

    #[test]
    fn exhausted_descriptors_are_a_shortage() {
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
            assert_eq!(bind_error(&io::Error::from_raw_os_error(errno)), BindError::OutOfResources);
        }
    }
}
