//! The relay core.

use super::{
    BindError, ClientOutcome, Counters, Datagrams, DropReason, FiveTuple, IcmpError, Instant, LookUpId, Now,
    Output, PeerOutcome, RelayId,
};

/// The relay of one thread.
///
/// Call a `handle_*` method for everything that happens, do what it answers, then drain [`Server::poll_output`] and
/// arm one timer for [`Server::poll_deadline`].
#[derive(Debug)]
pub struct Server {
    counters: Counters,
}

impl Server {
    /// A whole message arrived from a client: a datagram, or one frame of its stream.
    pub fn handle_client_datagram(
        &mut self,
        _now: Now,
        _from: FiveTuple,
        _datagram: &[u8],
    ) -> ClientOutcome<'_> {
        ClientOutcome::Drop(DropReason::NotStun)
    }

    /// Datagrams arrived at a relay socket from one peer.
    pub fn handle_peer_datagrams(
        &mut self,
        _now: Now,
        _socket: RelayId,
        _peer: std::net::SocketAddr,
        _datagrams: Datagrams,
    ) -> PeerOutcome {
        PeerOutcome::Drop(DropReason::RelayClosed)
    }

    /// An ICMP error arrived at a relay socket for something sent to `peer`.
    pub fn handle_icmp_error(
        &mut self,
        _now: Now,
        _socket: RelayId,
        _peer: std::net::SocketAddr,
        _error: IcmpError,
    ) {
    }

    /// A client's stream ended: so does its allocation.
    pub fn handle_client_closed(&mut self, _now: Now, _five_tuple: FiveTuple) {}

    /// The time [`Server::poll_deadline`] named has come. Calling it early does no harm.
    pub fn handle_deadline(&mut self, _now: Now) {}

    /// The result of [`Output::Bind`].
    pub fn relay_bound(&mut self, _now: Now, _socket: RelayId, _result: Result<(), BindError>) {}

    /// The result of [`Output::LookUp`]: the user's key, or `None` if there is no such user.
    pub fn key_found(&mut self, _now: Now, _id: LookUpId, _key: Option<UserKey>) {}

    /// From now on every Allocate is answered 508; live allocations go on.
    pub fn start_drain(&mut self) {}

    /// Ends every allocation.
    pub fn close_all(&mut self, _now: Now) {}

    /// The next piece of work; call until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When [`Server::handle_deadline`] wants to be called next.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Instant> {
        None
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many allocations are live.
    #[must_use]
    pub fn allocations(&self) -> usize {
        0
    }

    /// Whether this five-tuple has an allocation.
    #[must_use]
    pub fn has_allocation(&self, _five_tuple: &FiveTuple) -> bool {
        false
    }
}

/// What a look-up found: what a user's long-term key is made from.
#[derive(Clone)]
pub enum UserKey {
    /// The password itself.
    Password(Box<str>),
    /// MD5(username ":" realm ":" password): good for clients without SHA-256 only.
    Md5([u8; 16]),
}

impl std::fmt::Debug for UserKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Password(_) => "Password(..)",
            Self::Md5(_) => "Md5(..)",
        })
    }
}
