//! Socket addresses in the form the system takes.
#![allow(unsafe_code)]

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// An IPv4 or IPv6 socket address as the system knows it: 28 bytes instead of the 128 of `sockaddr_storage`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) union RawAddress {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl RawAddress {
    /// How many bytes the system may write into one.
    pub(super) const CAPACITY: libc::socklen_t = size_of::<Self>() as libc::socklen_t;

    /// No address.
    pub(super) const fn empty() -> Self {
        Self {
            v6: libc::sockaddr_in6 {
                sin6_family: libc::AF_UNSPEC as libc::sa_family_t,
                sin6_port: 0,
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
                sin6_scope_id: 0,
            },
        }
    }

    /// `address`, and how many bytes of it count.
    pub(super) fn from_std(address: SocketAddr) -> (Self, libc::socklen_t) {
        match address {
            SocketAddr::V4(v4) => {
                let raw = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                    sin_zero: [0; 8],
                };
                (Self { v4: raw }, super::size_of_option::<libc::sockaddr_in>())
            }
            SocketAddr::V6(v6) => {
                let raw = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                };
                (Self { v6: raw }, super::size_of_option::<libc::sockaddr_in6>())
            }
        }
    }

    /// The address the system wrote, unless it is of another family. IPv6 flow information is left out, so that two
    /// datagrams of one sender compare equal.
    pub(super) fn to_std(self) -> Option<SocketAddr> {
        // SAFETY: every constructor initialises all bytes that a variant reads, or the system does; any bit pattern
        // is valid for these integers.
        unsafe {
            match libc::c_int::from(self.family) {
                libc::AF_INET => {
                    let ip = Ipv4Addr::from(self.v4.sin_addr.s_addr.to_ne_bytes());
                    Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(self.v4.sin_port))))
                }
                libc::AF_INET6 => {
                    let ip = Ipv6Addr::from(self.v6.sin6_addr.s6_addr);
                    let port = u16::from_be(self.v6.sin6_port);
                    Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, self.v6.sin6_scope_id)))
                }
                _ => None,
            }
        }
    }

    /// Reads an address of the system's, whatever its family.
    ///
    /// # Safety
    /// `address` is null or points to a socket address that is whole for its family.
    pub(super) unsafe fn read(address: *const libc::sockaddr) -> Option<SocketAddr> {
        if address.is_null() {
            return None;
        }
        // SAFETY: the caller promises that the address is whole for its family.
        unsafe {
            match libc::c_int::from((*address).sa_family) {
                libc::AF_INET => Self { v4: address.cast::<libc::sockaddr_in>().read_unaligned() }.to_std(),
                libc::AF_INET6 => Self { v6: address.cast::<libc::sockaddr_in6>().read_unaligned() }.to_std(),
                _ => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_round_trip() {
        for text in ["192.0.2.1:3478", "[2001:db8::1]:65535", "0.0.0.0:0", "[fe80::1%3]:9"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(RawAddress::from_std(address).0.to_std(), Some(address));
        }
        assert_eq!(RawAddress::empty().to_std(), None);
    }
}
