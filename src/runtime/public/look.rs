//! Looking once for the public addresses of a family.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::lookup_host,
    time::{Instant, sleep, timeout_at},
};

use super::{
    AddressOrigin, Mapping,
    gather::{gather, has_first},
    interface, remoteness,
    stun::{self, AskError},
};
use crate::config::{External, PublicSource, Relay, StunServer};

/// How long one look may take.
pub(super) const LOOK_MAX: Duration = Duration::from_secs(10);
/// How soon a name or an interface's address that is not found is tried again within that.
const AGAIN: Duration = Duration::from_secs(1);
/// Of the addresses of a STUN server's name, so many are asked.
const SERVERS_MAX: usize = 4;

/// What is looked for: of one family.
pub(super) struct Search<'a> {
    pub(super) relay: &'a Relay,
    /// The local addresses that it is looked for.
    pub(super) locals: &'a [IpAddr],
    /// What is known already.
    pub(super) before: &'a [Mapping],
    pub(super) is_ipv4: bool,
    pub(super) until: Instant,
}

impl Search<'_> {
    /// Asks everybody at once: what the first of those who know says, or why nobody does, a line for each.
    pub(super) async fn look(&self) -> Result<Vec<Mapping>, String> {
        let sources = self.relay.external.iter().filter(|source| source.is_found());
        let asks = sources.map(|source| self.ask(source));
        let mut why = Vec::new();
        for answer in gather(asks, has_first).await {
            match answer {
                Some(Ok(mappings)) => return Ok(mappings),
                Some(Err(fault)) => why.push(fault),
                None => {}
            }
        }
        Err(why.join("; "))
    }

    async fn ask(&self, source: &PublicSource) -> Result<Vec<Mapping>, String> {
        let fault = |why: String| format!("{source} {why}");
        let (external, from) = match source {
            PublicSource::Configured(external) => (vec![*external], AddressOrigin::Configured),
            PublicSource::Stun(server) => (self.ask_stun(server).await.map_err(fault)?, AddressOrigin::Stun),
            PublicSource::Name(name) => (self.ask_name(name).await.map_err(fault)?, AddressOrigin::Name),
            PublicSource::Interface(name) => {
                (self.ask_interface(name).await.map_err(fault)?, AddressOrigin::Interface)
            }
        };
        Ok(external.into_iter().map(|external| Mapping { external, from, is_confirmed: true }).collect())
    }

    /// Asks from each local address. Of several that are seen as one, only one can be what a NAT maps it to: the one
    /// that this machine uses by itself.
    async fn ask_stun(&self, server: &StunServer) -> Result<Vec<External>, String> {
        let servers = self.resolve(&server.host, server.port).await?;
        let servers = servers.get(..SERVERS_MAX).unwrap_or(&servers);
        let asks = self.locals.iter().map(|local| async {
            Ok::<_, AskError>((*local, stun::ask(*local, servers, self.until).await?))
        });
        let usual = servers.first().and_then(|server| stun::usual_source(*server));
        let (mut seen, mut why) = (Vec::new(), Vec::new());
        for answer in gather(asks, |_| false).await.into_iter().flatten() {
            match answer {
                Ok(pair) => seen.push(pair),
                Err(error) => why.push(error.to_string()),
            }
        }
        seen.sort_by_key(|(local, _)| Some(*local) != usual);
        let mut pairs: Vec<External> = Vec::new();
        for (local, public) in seen {
            if pairs.iter().all(|pair| pair.public != public) {
                pairs.push(External { public, private: Some(local) });
            }
        }
        if pairs.is_empty() { Err(why.join(", ")) } else { Ok(pairs) }
    }

    async fn ask_name(&self, name: &str) -> Result<Vec<External>, String> {
        let addresses = self.resolve(name, 0).await?;
        let mut ips: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
        // Servers answer in any order.
        ips.sort_unstable_by_key(|ip| (!self.is_known(*ip), *ip));
        Ok(ips.first().map(|public| External { public: *public, private: None }).into_iter().collect())
    }

    /// An interface that has no address now may be given one in a moment.
    async fn ask_interface(&self, name: &str) -> Result<Vec<External>, String> {
        let before = self.before.iter().map(|mapping| mapping.external.public).next();
        loop {
            let found =
                interface::address_of(name, self.is_ipv4, before).map_err(|error| error.to_string())?;
            if let Some(public) = found {
                return Ok(vec![External { public, private: Some(public) }]);
            }
            if Instant::now() + AGAIN >= self.until {
                return Err(format!("has no {} address", self.family()));
            }
            sleep(AGAIN).await;
        }
    }

    /// The addresses of this family. A name that is not found now may be in a moment, when the machine starts.
    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        loop {
            let why = match timeout_at(self.until, lookup_host((host, port))).await {
                Ok(Ok(found)) => {
                    let found: Vec<_> = found.filter(|address| address.is_ipv4() == self.is_ipv4).collect();
                    if !found.is_empty() {
                        return Ok(found);
                    }
                    return Err(format!("has no {} address", self.family()));
                }
                Ok(Err(error)) => format!("is not found: {error}"),
                Err(_) => "is not found: the name servers do not answer".to_owned(),
            };
            if Instant::now() + AGAIN >= self.until {
                return Err(why);
            }
            sleep(AGAIN).await;
        }
    }

    fn is_known(&self, public: IpAddr) -> bool {
        self.before.iter().any(|mapping| mapping.external.public == public)
    }

    const fn family(&self) -> &'static str {
        family(self.is_ipv4)
    }
}

/// As people write it.
pub(super) const fn family(is_ipv4: bool) -> &'static str {
    if is_ipv4 { "IPv4" } else { "IPv6" }
}

/// The addresses of a family that public ones are looked for: loopback only if there is no other.
pub(super) fn candidates(locals: &[IpAddr], is_ipv4: bool) -> Vec<IpAddr> {
    let of_family: Vec<IpAddr> =
        locals.iter().copied().filter(|ip| ip.is_ipv4() == is_ipv4 && remoteness(*ip) != 2).collect();
    let others: Vec<IpAddr> = of_family.iter().copied().filter(|ip| !ip.is_loopback()).collect();
    if others.is_empty() { of_family } else { others }
}
