//! New options, users and rules for a server at work.

use std::{sync::Arc, time::Duration};

use super::{
    Expiry, Now, Options, PeerPolicy, RelayAddress, Server,
    allocation::Buckets,
    peers::{Channel, Permission},
    quality::Quality,
    server::renamed,
};
use crate::credentials::Directory;

/// So many relay addresses of before are known: clients that were told an older one are reached from outside alone.
const FORMER_MAX: usize = 32;

impl Server {
    /// Takes over new users and secrets. Live allocations go on, also those of users and
    /// secrets that are gone.
    pub fn set_directory(&mut self, directory: Arc<Directory>) {
        self.directory = directory;
    }

    /// Takes over new options, users and rules. What clients have is judged again: permissions and channels of peers
    /// that are no longer allowed end at once, bandwidth changes at once, and [`Expiry::Strict`] shortens lifetimes.
    /// Allocations above a lowered limit stay; so do those of users who are gone, until they expire.
    pub fn reload(
        &mut self,
        now: Now,
        options: Arc<Options>,
        directory: Arc<Directory>,
        policy: Arc<PeerPolicy>,
    ) {
        Quality::change(&mut self.quality, options.quality);
        self.directory = directory;
        self.policy = policy;
        self.shared.budget.set_rate(options.bandwidth.total);
        self.set_options(now, options);
    }

    /// Takes over where relay sockets are bound and what clients are told. What is up keeps its sockets and the address
    /// that its client was told, and goes on being reached there by the clients of this server.
    pub fn set_relay_addresses(&mut self, now: Now, relay_addresses: Vec<RelayAddress>) {
        let options = Options { relay_addresses, ..Options::clone(&self.options) };
        self.set_options(now, Arc::new(options));
    }

    fn set_options(&mut self, now: Now, options: Arc<Options>) {
        let before = std::mem::replace(&mut self.options, options);
        self.renamed = renamed(&self.options);
        let is_told = |address: &RelayAddress| self.options.relay_addresses.contains(address);
        self.former.retain(|address| !is_told(address) && !before.relay_addresses.contains(address));
        self.former.extend(before.relay_addresses.iter().filter(|address| !is_told(address)));
        let beyond = self.former.len().saturating_sub(FORMER_MAX);
        self.former.drain(..beyond);
        for slot in 0..self.allocations.slots() {
            self.judge_again(now, slot);
        }
    }

    fn judge_again(&mut self, now: Now, slot: u32) {
        let Some(allocation) = self.allocations.get(slot) else { return };
        let peers: Vec<_> = allocation.permissions.iter().map(|permission| permission.ip).collect();
        let channels: Vec<_> = allocation.channels.iter().map(|channel| channel.ip).collect();
        let mut legal: Vec<_> = peers.into_iter().chain(channels).collect();
        legal.sort_unstable();
        legal.dedup();
        let mut judged =
            legal.into_iter().filter_map(|ip| Some((ip, self.judge(ip.to_ip()).ok()?))).collect::<Vec<_>>();
        judged.sort_unstable_by_key(|&(ip, _)| ip);
        let find =
            |ip| judged.binary_search_by_key(&ip, |&(ip, _)| ip).ok().and_then(|place| judged.get(place));
        let Some(allocation) = self.allocations.get_mut(slot) else { return };
        let claims = allocation.user_part.claims(&allocation.username);
        let (_, rate) = self.options.limits_of(claims.class);
        let strict = claims.expiry.unwrap_or(self.options.expiry) == Expiry::Strict;
        let before = allocation.permissions.len();
        allocation.permissions.retain(|permission: &mut Permission| match find(permission.ip) {
            Some((_, legal)) => {
                permission.relay_ports_only = legal.relay_ports_only;
                true
            }
            None => false,
        });
        self.counters.permissions -= (before - allocation.permissions.len()) as u64;
        match (&mut allocation.buckets, rate) {
            (Some(buckets), Some(_)) => {
                buckets.to_peers.set_rate(rate, now.monotonic);
                buckets.to_client.set_rate(rate, now.monotonic);
            }
            (buckets, rate) => *buckets = Buckets::new(rate, now.monotonic),
        }
        if strict && let Some(expires) = allocation.credential_expires() {
            let last = now.monotonic.after(Duration::from_secs(expires.saturating_sub(now.unix)));
            for leg in allocation.legs.iter_mut().flatten() {
                leg.expires = leg.expires.min(last);
            }
        }
        let is_live = allocation.is_live();
        self.retain_channels(slot, |channel: &mut Channel| match find(channel.ip) {
            Some((_, legal)) => {
                channel.relay_ports_only = legal.relay_ports_only;
                true
            }
            None => false,
        });
        if is_live {
            self.arm(slot);
        }
    }
}
