//! Who a client is on the wire.

use std::{
    fmt,
    hash::{Hash, Hasher},
    net::SocketAddr,
};

use super::label::labels;

/// The transport between a client and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
}

labels!(Transport {
    Udp => "udp",
    Tcp => "tcp",
    Tls => "tls",
});

impl Transport {
    /// Whether messages arrive in a byte stream, so that ChannelData is padded to four bytes (RFC 8656 §12.5).
    #[must_use]
    pub const fn is_stream(self) -> bool {
        !matches!(self, Self::Udp)
    }
}

/// Names one of the server's listening addresses: an index into [`Options::listeners`](super::Options).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u16);

/// The five-tuple of RFC 8656 §2: the server's side of it is named by the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FiveTuple {
    /// How the client reached the server.
    pub transport: Transport,
    /// Which listening address it reached.
    pub listener: ListenerId,
    /// The client's address as the server sees it.
    pub client: SocketAddr,
}

/// For logs: `udp 192.0.2.1:50000`.
impl fmt::Display for FiveTuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.transport.as_str(), self.client)
    }
}

/// A five-tuple in 28 bytes that compare and hash quickly. The flow label of IPv6 is no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientKey {
    address: [u8; 16],
    scope: u32,
    port: u16,
    listener: u16,
    /// Transport and family.
    kind: u8,
}

impl From<&FiveTuple> for ClientKey {
    fn from(five_tuple: &FiveTuple) -> Self {
        let (address, scope, family) = match five_tuple.client {
            SocketAddr::V4(client) => (client.ip().to_ipv6_mapped().octets(), 0, 0),
            SocketAddr::V6(client) => (client.ip().octets(), client.scope_id(), 1),
        };
        Self {
            address,
            scope,
            port: five_tuple.client.port(),
            listener: five_tuple.listener.0,
            kind: (five_tuple.transport as u8) << 1 | family,
        }
    }
}

impl Hash for ClientKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_ne_bytes(self.address));
        let rest = u64::from(self.scope) << 40
            ^ u64::from(self.kind) << 32
            ^ u64::from(self.listener) << 16
            ^ u64::from(self.port);
        state.write_u64(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_where_five_tuples_do_and_nowhere_else() {
        let one = FiveTuple::udp(ListenerId(0), "[fe80::1%3]:5".parse().unwrap());
        let mut flow = one;
        if let SocketAddr::V6(client) = &mut flow.client {
            client.set_flowinfo(7);
        }
        assert_eq!(ClientKey::from(&one), ClientKey::from(&flow));
        let others = [
            FiveTuple { transport: Transport::Tcp, ..one },
            FiveTuple { listener: ListenerId(1), ..one },
            FiveTuple { client: "[fe80::1%4]:5".parse().unwrap(), ..one },
            FiveTuple { client: "[fe80::1%3]:6".parse().unwrap(), ..one },
        ];
        for other in others {
            assert_ne!(ClientKey::from(&one), ClientKey::from(&other));
        }
        let mapped = FiveTuple { client: "[::ffff:192.0.2.1]:5".parse().unwrap(), ..one };
        let plain = FiveTuple { client: "192.0.2.1:5".parse().unwrap(), ..one };
        assert_ne!(ClientKey::from(&mapped), ClientKey::from(&plain));
        assert_eq!(size_of::<(ClientKey, u32)>(), 32);
    }
}
