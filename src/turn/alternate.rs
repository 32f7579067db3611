//! Sending clients elsewhere while the node drains (RFC 8489 §10, RFC 8656 §7.2).

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    Cause, Code, FiveTuple, Server, Transport,
    authentication::Proved,
    binding::plain,
    response::{Head, Refused},
};
use crate::stun::attribute;

/// Another server that does the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternate {
    /// How it is reached there.
    pub transport: Transport,
    /// Where clients reach it.
    pub address: SocketAddr,
    /// The name in its certificate, for TLS.
    pub domain: Option<Box<str>>,
}

impl Alternate {
    /// A client may only be sent where it can get to: by the same transport and family (RFC 8489 §10), and never from
    /// the internet to an address of some network, or from a network to somebody's loopback.
    fn suits(&self, from: &FiveTuple) -> bool {
        let client = plain(from.client);
        self.transport == from.transport
            && self.address.is_ipv4() == client.is_ipv4()
            && remoteness(self.address.ip()) <= remoteness(client.ip())
    }
}

/// 0 for addresses of the internet, more for those that fewer can reach.
fn remoteness(ip: IpAddr) -> u8 {
    let (is_private, is_link_local) = match ip {
        IpAddr::V4(ip) => (ip.is_private(), ip.is_link_local()),
        IpAddr::V6(ip) => (ip.is_unique_local(), ip.is_unicast_link_local()),
    };
    match (ip.is_loopback(), is_link_local, is_private) {
        (true, _, _) => 3,
        (_, true, _) => 2,
        (_, _, true) => 1,
        (false, false, false) => 0,
    }
}

impl Server {
    /// From now on every Allocate is answered 300 with one of these in turn, or 508 where none suits the client; live
    /// allocations go on. May be called again with others.
    pub fn start_drain(&mut self, alternates: Arc<[Alternate]>) {
        self.draining = Some(alternates);
    }

    /// Allocations are made again.
    pub fn stop_drain(&mut self) {
        self.draining = None;
    }

    /// Answers an Allocate that is not served here. A port that was reserved here is reserved nowhere else.
    pub(super) fn send_elsewhere(
        &mut self,
        head: &Head,
        proved: &Proved<'_>,
        alternates: &[Alternate],
        is_reserved: bool,
    ) -> Result<usize, Refused> {
        let suiting = || alternates.iter().filter(|alternate| !is_reserved && alternate.suits(&head.from));
        let place = self.redirected.checked_rem(suiting().count());
        let Some(alternate) = place.and_then(|place| suiting().nth(place)) else {
            self.cause = Some(Cause::Draining);
            return Err(Code::InsufficientCapacity.into());
        };
        self.redirected = self.redirected.wrapping_add(1);
        self.write_error(head, Some(&proved.signature), Code::TryAlternate, |writer| {
            writer.address(attribute::ALTERNATE_SERVER, alternate.address)?;
            match alternate.domain.as_deref().filter(|_| head.from.transport == Transport::Tls) {
                Some(domain) => writer.attribute(attribute::ALTERNATE_DOMAIN, domain.as_bytes()),
                None => Ok(()),
            }
        })
    }
}
