//! Who a client is on the wire.

use std::net::SocketAddr;

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
