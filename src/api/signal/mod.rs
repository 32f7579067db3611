//! The signaling relay over WebSockets: `GET /v1/signal`, and who may do what there.
//!
//! The core decides everything about sessions, rooms and calls; here are its sockets (`connection`), its clock and its
//! ways to the rest of the node (`hub`), and the answers to what it asks: whose token that is (`identity`), who may call
//! or join (`decide`, `backend`, `call_grant`), and ICE servers (`ice`).

mod backend;
mod breaker;
mod call_grant;
mod connection;
mod corked;
mod counters;
mod decide;
mod drain;
mod hub;
mod ice;
mod identity;
mod limits;
mod origin;
mod revoked;
mod ticket;
mod upgrade;
mod watch;

use std::{
    fmt, io,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use arc_swap::ArcSwapOption;

pub use self::counters::SignalCounts;
pub(crate) use self::ticket::{Grant, TicketError};
pub(crate) use self::upgrade::{__path_connect, CONNECT_PROBLEMS, connect};
use self::{backend::Backend, counters::Counters, hub::Hub, revoked::Revoked, ticket::Tickets};
use super::caller::AccessError;
use crate::{
    cluster::Cluster,
    config::{self, Config},
    signaling::Role,
};

/// The signaling relay of this node.
pub(crate) struct Signal {
    pub(crate) hub: Arc<Hub>,
    backend: ArcSwapOption<Backend>,
    revoked: Revoked,
    tickets: Tickets,
    counters: Counters,
    cluster: Cluster,
}

/// Who is at the other end of a socket, before it said who it is.
#[derive(Clone, Debug)]
struct Guest {
    address: IpAddr,
    /// The names in its certificate.
    certificate: Option<Arc<[Box<str>]>>,
    /// As what a service wants to take part.
    role: Option<Role>,
    /// The trace that its request belongs to.
    traceparent: Option<Box<str>>,
}

impl Signal {
    /// # Errors
    /// The backend cannot be asked as configured, or the system gives no random bytes.
    pub(super) fn new(config: &Config, cluster: &Cluster) -> Result<Self, AccessError> {
        let random = |error: getrandom::Error| AccessError::Signal(io::Error::other(error).to_string());
        let counters = Counters::default();
        Ok(Self {
            hub: Hub::new(cluster, config.signal.options.clone()).map_err(random)?,
            backend: ArcSwapOption::new(backend(&config.signal, None)?),
            revoked: Revoked::default(),
            tickets: Tickets::new(cluster),
            counters,
            cluster: cluster.clone(),
        })
    }

    /// Says what [`reload`](Self::reload) would, and changes nothing.
    pub(super) fn check(&self, config: &Config) -> Result<(), AccessError> {
        backend(&config.signal, self.backend.load_full().as_ref()).map(drop)
    }

    /// Takes over what can change while the node runs.
    ///
    /// # Errors
    /// The backend cannot be asked as configured; then it is asked as before.
    pub(super) fn reload(&self, config: &Config) -> Result<(), AccessError> {
        let options = config.signal.options.clone();
        self.hub.with(|server, _| server.set_options(options));
        let before = self.backend.load_full();
        self.backend.store(backend(&config.signal, before.as_ref())?);
        Ok(())
    }
}

/// Whom to ask. One that is asked as before keeps what it remembers.
fn backend(
    config: &config::Signal,
    before: Option<&Arc<Backend>>,
) -> Result<Option<Arc<Backend>>, AccessError> {
    let authorize = &config.authorize;
    if authorize.url.is_none() {
        return Ok(None);
    }
    if let Some(before) = before.filter(|before| before.is_of(authorize)) {
        return Ok(Some(Arc::clone(before)));
    }
    let made = Backend::new(authorize).map_err(|error| AccessError::Signal(error.to_string()))?;
    Ok(made.map(Arc::new))
}

impl Guest {
    /// The address limits count by: IPv6 by its /64.
    fn network(&self) -> IpAddr {
        match self.address.to_canonical() {
            IpAddr::V4(ip) => IpAddr::V4(ip),
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) >> 64 << 64)),
        }
    }

    /// What the backend is told of the address: IPv4 by its /24, IPv6 by its /48.
    fn prefix(&self) -> String {
        match self.address.to_canonical() {
            IpAddr::V4(ip) => format!("{}/24", std::net::Ipv4Addr::from(u32::from(ip) >> 8 << 8)),
            IpAddr::V6(ip) => format!("{}/48", Ipv6Addr::from(u128::from(ip) >> 80 << 80)),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal").field("cluster", &self.cluster.id()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_cut_to_their_networks() {
        let guest = |address: &str| Guest {
            address: address.parse().unwrap(),
            certificate: None,
            role: None,
            traceparent: None,
        };
        assert_eq!(guest("203.0.113.7").prefix(), "203.0.113.0/24");
        assert_eq!(guest("2001:db8:1:2::7").prefix(), "2001:db8:1::/48");
        assert_eq!(guest("2001:db8:1:2::7").network(), guest("2001:db8:1:2:3::").network());
        assert_eq!(guest("::ffff:203.0.113.7").network(), guest("203.0.113.7").network());
    }
}
