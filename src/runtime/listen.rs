//! Binding the listeners: one socket per shard and address, shared by SO_REUSEPORT.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::fd::AsFd,
};

use socket2::{Domain, Protocol, Socket, Type};

use super::{
    addresses::Wanted,
    node::{Listening, StartError},
    sys,
};
use crate::turn::{ListenerId, Transport};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// The listening sockets of one shard.
#[derive(Debug, Default)]
pub(super) struct ShardListeners {
    pub(super) udp: Vec<(ListenerId, UdpSocket)>,
    pub(super) streams: Vec<(ListenerId, TcpListener)>,
}

/// Binds every wanted address once for each shard. The listener ids are indices into the first result.
///
/// # Errors
/// Names the address that cannot be bound.
pub(super) fn bind_all(
    wanted: &[Wanted],
    shards: usize,
    buffer_bytes: usize,
) -> Result<(Vec<Listening>, Vec<ShardListeners>), StartError> {
    let mut listening = Vec::new();
    let mut listeners: Vec<ShardListeners> = (0..shards).map(|_| ShardListeners::default()).collect();
    for one in wanted {
        let id = ListenerId(u16::try_from(listening.len()).unwrap_or(u16::MAX));
        match bind_one(*one, id, &mut listeners, buffer_bytes) {
            Ok(address) => listening.push(Listening { transport: one.transport, address }),
            // An interface's address that is not ready yet, or gone meanwhile.
            Err(error) if one.expanded && error.kind() == io::ErrorKind::AddrNotAvailable => {
                tracing::warn!(address = %one.address, "An address of this machine cannot be listened on; it is left out.");
            }
            Err(source) => {
                return Err(StartError::Listen { transport: one.transport, address: one.address, source });
            }
        }
    }
    if listening.is_empty() {
        let source = io::ErrorKind::AddrNotAvailable.into();
        return Err(StartError::System { what: "listen: no listening address fits this machine", source });
    }
    Ok((listening, listeners))
}

fn bind_one(
    wanted: Wanted,
    id: ListenerId,
    listeners: &mut [ShardListeners],
    buffer_bytes: usize,
) -> io::Result<SocketAddr> {
    // SO_REUSEPORT would let a second process of the same user take half of the clients without a word: whoever is
    // there already is noticed only by a socket without it.
    drop(open(wanted.transport, wanted.address, false)?);
    let mut address = wanted.address;
    for shard in listeners {
        let socket = open(wanted.transport, address, true)?;
        // If the system chose the port, the other shards share its choice.
        address = socket.local_addr()?.as_socket().unwrap_or(address);
        if wanted.transport.is_stream() {
            socket.listen(BACKLOG)?;
            shard.streams.push((id, socket.into()));
        } else {
            sys::set_buffers(socket.as_fd(), buffer_bytes)?;
            // Kernels before 5.0 cannot merge; everything works without.
            let _merged = sys::enable_receive_offload(socket.as_fd());
            shard.udp.push((id, socket.into()));
        }
    }
    Ok(address)
}

fn open(transport: Transport, address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let (kind, protocol) = match transport {
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
        Transport::Tcp | Transport::Tls => (Type::STREAM, Protocol::TCP),
    };
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), Some(protocol))?;
    if address.is_ipv6() {
        sys::set_only_v6(socket.as_fd())?;
    }
    if transport.is_stream() {
        // Connections of a process that ended lately do not keep the port.
        socket.set_reuse_address(true)?;
    }
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(transport: Transport, address: SocketAddr) -> Wanted {
        Wanted { transport, address, expanded: false }
    }

    #[test]
    fn every_shard_gets_a_socket_at_the_same_address() {
        let any = "127.0.0.1:0".parse().unwrap();
        let (listening, shards) =
            bind_all(&[wanted(Transport::Udp, any), wanted(Transport::Tcp, any)], 2, 0).unwrap();
        assert_eq!(shards.len(), 2);
        for shard in &shards {
            assert_eq!(shard.udp[0].0, ListenerId(0));
            assert_eq!(shard.udp[0].1.local_addr().unwrap(), listening[0].address);
            assert_eq!(shard.streams[0].0, ListenerId(1));
            assert_eq!(shard.streams[0].1.local_addr().unwrap(), listening[1].address);
        }
    }

    #[test]
    fn listening_nowhere_is_an_error() {
        let alien = Wanted { expanded: true, ..wanted(Transport::Udp, "192.0.2.1:0".parse().unwrap()) };
        for wanted in [&[][..], &[alien]] {
            assert!(matches!(bind_all(wanted, 1, 0), Err(StartError::System { .. })));
        }
    }

    #[test]
    fn an_address_in_use_is_named_even_if_its_owner_would_share_it() {
        let any = "127.0.0.1:0".parse().unwrap();
        for transport in [Transport::Udp, Transport::Tcp] {
            let (listening, _first) = bind_all(&[wanted(transport, any)], 1, 0).unwrap();
            let error = bind_all(&[wanted(transport, listening[0].address)], 1, 0).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&listening[0].address.to_string()), "{text}");
            assert!(text.contains("in use"), "{text}");
        }
    }
}
