//! Sockets as the core sees them.

use std::net::IpAddr;

use super::Ask;

/// Who is at the other end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The address limits count by: IPv6 by its /64.
    pub address: IpAddr,
}

/// What the driver does after it handed in a frame of a connection.
#[derive(Debug)]
pub enum Next {
    /// Hand in the next frame.
    More,
    /// Find the answer and hand it to [`Server::handle_decision`](super::Server::handle_decision); until then no further
    /// frame of this connection: that keeps them in order.
    Ask(Box<Ask>),
    /// Hand in no frame until the connection is woken and [`is_waiting`](super::Server::is_waiting) is false: another
    /// node is asked for the session.
    Wait,
}

/// Why a socket is closed (RFC 6455 §7.4.2, private range). Up to 4199 clients resume, up to 4399 they begin anew, from
/// 4400 on they stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// A client that said `bye`, or a service that ends: 1000.
    Normal = 1000,
    /// The process ends without a drain: 1001.
    GoingAway = 1001,
    /// Our fault.
    Internal = 4000,
    /// The node ends; another takes over.
    Draining = 4001,
    /// Nothing was heard within the heartbeat.
    NoPong = 4002,
    /// More waits to be read than is kept.
    Slow = 4009,
    /// The socket could not be written.
    WriteError = 4010,
    /// The session was resumed elsewhere.
    Moved = 4011,
    /// The session is over.
    SessionExpired = 4200,
    /// What was missed cannot be replayed.
    EpochReset = 4201,
    /// The token ran out and none followed.
    TokenExpired = 4203,
    /// What the session was allowed has changed.
    StateInvalidated = 4204,
    /// Against the protocol.
    BadProtocol = 4400,
    /// The token is not taken.
    Unauthorized = 4401,
    /// A binary frame.
    UnsupportedData = 4402,
    /// Known, and not allowed in.
    Forbidden = 4403,
    /// No `hello` in time.
    HelloTimeout = 4408,
    /// The same device has a newer session.
    Replaced = 4409,
    /// A frame beyond the limit.
    TooLarge = 4413,
    /// Limits broken again and again.
    Abusive = 4429,
    /// Too many connections or sessions.
    ConnectionLimit = 4490,
}

impl CloseCode {
    /// Every code.
    pub const ALL: [Self; 21] = [
        Self::Normal,
        Self::Internal,
        Self::Draining,
        Self::NoPong,
        Self::Slow,
        Self::WriteError,
        Self::Moved,
        Self::SessionExpired,
        Self::EpochReset,
        Self::TokenExpired,
        Self::StateInvalidated,
        Self::BadProtocol,
        Self::Unauthorized,
        Self::UnsupportedData,
        Self::Forbidden,
        Self::HelloTimeout,
        Self::Replaced,
        Self::TooLarge,
        Self::Abusive,
        Self::ConnectionLimit,
        Self::GoingAway,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }
}
