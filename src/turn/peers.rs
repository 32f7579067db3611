//! Whom an allocation may talk to: permissions (RFC 8656 §9) and channel bindings (RFC 8656 §12).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Instant;

/// Up to this many entries, looking at each beats a binary search.
const SCANNED: usize = 8;

/// An IP address in two words, cheap to compare; IPv4 in its mapped form.
///
/// Mapped addresses themselves are never peers (see [`family`]), so that the form is unambiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PeerIp {
    high: u64,
    low: u64,
}

const MAPPED: u64 = 0xffff_0000_0000;

impl PeerIp {
    pub(super) fn to_ip(self) -> IpAddr {
        if self.high == 0 && self.low >> 32 == MAPPED >> 32 {
            return IpAddr::V4(Ipv4Addr::from_bits(self.low as u32));
        }
        IpAddr::V6(Ipv6Addr::from_bits(u128::from(self.high) << 64 | u128::from(self.low)))
    }
}

impl From<IpAddr> for PeerIp {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self { high: 0, low: MAPPED | u64::from(ip.to_bits()) },
            IpAddr::V6(ip) => {
                let bits = ip.to_bits();
                Self { high: (bits >> 64) as u64, low: bits as u64 }
            }
        }
    }
}

/// An address family of relayed transport addresses; the index of its relay in an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family of `ip`, which for an IPv4-mapped address is neither: it names a host that no relay socket of
    /// either family could reach under this name.
    pub(super) fn of(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V4(_) => Some(Self::V4),
            IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => None,
            IpAddr::V6(_) => Some(Self::V6),
        }
    }
}

/// The right of one peer address, at any port, to exchange data with the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permission {
    pub(super) ip: PeerIp,
    pub(super) expires: Instant,
    /// The address is one of our relay addresses: only ports of relay sockets are legal.
    pub(super) relay_ports_only: bool,
}

/// The permissions of an allocation, sorted by address.
#[derive(Debug, Default)]
pub(super) struct Permissions(Vec<Permission>);

impl Permissions {
    /// The permission of `ip`, if it has not expired.
    #[inline]
    pub(super) fn get(&self, ip: PeerIp, now: Instant) -> Option<&Permission> {
        let place = self.find(ip).ok()?;
        self.0.get(place).filter(|permission| now < permission.expires)
    }

    /// Installs or refreshes one; the caller has made sure that there is room.
    pub(super) fn set(&mut self, permission: Permission) {
        match self.find(permission.ip) {
            Ok(place) => self.0[place] = permission,
            Err(place) => {
                reserve_one(&mut self.0);
                self.0.insert(place, permission);
            }
        }
    }

    pub(super) fn contains(&self, ip: PeerIp) -> bool {
        self.find(ip).is_ok()
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&mut Permission) -> bool) {
        self.0.retain_mut(keep);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Permission> {
        self.0.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_sorted(&self) -> bool {
        self.0.is_sorted_by(|one, other| one.ip < other.ip)
    }

    #[inline]
    fn find(&self, ip: PeerIp) -> Result<usize, usize> {
        if self.0.len() <= SCANNED
            && let Some(place) = self.0.iter().position(|permission| permission.ip == ip)
        {
            return Ok(place);
        }
        self.0.binary_search_by(|permission| permission.ip.cmp(&ip))
    }
}

/// A channel number bound to a peer's transport address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channel {
    pub(super) ip: PeerIp,
    pub(super) expires: Instant,
    pub(super) port: u16,
    pub(super) number: u16,
    /// As in [`Permission`].
    pub(super) relay_ports_only: bool,
}

impl Channel {
    pub(super) fn peer(&self) -> SocketAddr {
        SocketAddr::new(self.ip.to_ip(), self.port)
    }
}

/// Why a channel cannot be bound: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChannelConflict;

/// The channel bindings of an allocation: sorted by peer; if there are many, with an index sorted by number.
#[derive(Debug, Default)]
pub(super) struct Channels {
    by_peer: Vec<Channel>,
    /// (number, place in `by_peer`). Empty as long as there are few.
    by_number: Vec<(u16, u16)>,
}

impl Channels {
    /// The binding of `number`, if it has not expired.
    #[inline]
    pub(super) fn by_number(&self, number: u16, now: Instant) -> Option<&Channel> {
        self.numbered(number).filter(|channel| now < channel.expires)
    }

    /// The binding of the peer, if it has not expired.
    #[inline]
    pub(super) fn by_peer(&self, ip: PeerIp, port: u16, now: Instant) -> Option<&Channel> {
        let place = self.find(ip, port).ok()?;
        self.by_peer.get(place).filter(|channel| now < channel.expires)
    }

    /// Whether `number` and the peer are bound to one another, lately or not (`Some(true)`), both free (`Some(false)`).
    ///
    /// # Errors
    /// One of them is bound, or lingers, with another: [`ChannelConflict`].
    pub(super) fn is_bound(&self, number: u16, ip: PeerIp, port: u16) -> Result<bool, ChannelConflict> {
        match (self.numbered(number), self.find(ip, port)) {
            (None, Err(_)) => Ok(false),
            (Some(channel), Ok(_)) if channel.ip == ip && channel.port == port => Ok(true),
            (Some(_), Ok(_) | Err(_)) | (None, Ok(_)) => Err(ChannelConflict),
        }
    }

    /// Binds or refreshes; the caller has asked [`Channels::is_bound`] and made sure that there is room.
    pub(super) fn set(&mut self, channel: Channel) {
        match self.find(channel.ip, channel.port) {
            Ok(place) => self.by_peer[place] = channel,
            Err(place) => {
                reserve_one(&mut self.by_peer);
                self.by_peer.insert(place, channel);
                self.index();
            }
        }
    }

    /// Keeps what `keep` says, and calls `removed` for the rest.
    pub(super) fn retain(
        &mut self,
        mut keep: impl FnMut(&mut Channel) -> bool,
        mut removed: impl FnMut(&Channel),
    ) {
        let before = self.by_peer.len();
        self.by_peer.retain_mut(|channel| {
            let kept = keep(channel);
            if !kept {
                removed(channel);
            }
            kept
        });
        if self.by_peer.len() != before {
            self.index();
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.by_peer.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.by_peer.len()
    }

    pub(super) fn is_consistent(&self) -> bool {
        self.by_peer.is_sorted_by(|one, other| (one.ip, one.port) < (other.ip, other.port))
            && self.by_number.is_sorted_by(|one, other| one.0 < other.0)
            && self.by_number.len() == if self.by_peer.len() <= SCANNED { 0 } else { self.by_peer.len() }
            && self.by_number.iter().all(|&(number, place)| {
                self.by_peer.get(usize::from(place)).is_some_and(|channel| channel.number == number)
            })
    }

    #[inline]
    fn numbered(&self, number: u16) -> Option<&Channel> {
        if self.by_number.is_empty() {
            return self.by_peer.iter().find(|channel| channel.number == number);
        }
        let found = self.by_number.binary_search_by_key(&number, |&(bound, _)| bound).ok()?;
        self.by_peer.get(usize::from(self.by_number.get(found)?.1))
    }

    #[inline]
    fn find(&self, ip: PeerIp, port: u16) -> Result<usize, usize> {
        if self.by_peer.len() <= SCANNED
            && let Some(place) =
                self.by_peer.iter().position(|channel| channel.port == port && channel.ip == ip)
        {
            return Ok(place);
        }
        self.by_peer.binary_search_by(|channel| (channel.ip, channel.port).cmp(&(ip, port)))
    }

    /// Makes the index anew after a change of places: rare, and the vectors are short.
    fn index(&mut self) {
        self.by_number.clear();
        if self.by_peer.len() <= SCANNED {
            return;
        }
        self.by_number.reserve_exact(self.by_peer.len());
        let numbers = self.by_peer.iter().zip(0_u16..).map(|(channel, place)| (channel.number, place));
        self.by_number.extend(numbers);
        self.by_number.sort_unstable();
    }
}

/// Most allocations have one peer: the first entry gets room for itself alone.
fn reserve_one<T>(entries: &mut Vec<T>) {
    if entries.is_empty() {
        entries.reserve_exact(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> PeerIp {
        PeerIp::from(IpAddr::from([192, 0, 2, last]))
    }

    fn channel(number: u16, last: u8, port: u16) -> Channel {
        Channel { ip: ip(last), expires: Instant::from_millis(10), port, number, relay_ports_only: false }
    }

    #[test]
    fn addresses_survive_the_compact_form() {
        for text in ["0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "::1", "2001:db8::ffff:c000:201"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(PeerIp::from(address).to_ip(), address);
        }
    }

    #[test]
    fn many_channels_are_found_both_ways() {
        let mut channels = Channels::default();
        for step in 0..200_u16 {
            let last = (step * 37 % 251) as u8;
            assert_eq!(channels.is_bound(0x4000 + step, ip(last), step), Ok(false));
            channels.set(channel(0x4000 + step, last, step));
            assert!(channels.is_consistent());
        }
        let now = Instant::from_millis(9);
        for step in 0..200_u16 {
            let last = (step * 37 % 251) as u8;
            assert_eq!(channels.by_number(0x4000 + step, now).unwrap().peer().port(), step);
            assert_eq!(channels.by_peer(ip(last), step, now).unwrap().number, 0x4000 + step);
        }
        assert!(channels.by_number(0x4000, Instant::from_millis(10)).is_none());
        channels.retain(|channel| channel.number % 2 == 0, |gone| assert_eq!(gone.number % 2, 1));
        assert!(channels.is_consistent());
        assert_eq!(channels.len(), 100);
    }

    #[test]
    fn a_number_and_a_peer_are_bound_to_one_another_only() {
        let mut channels = Channels::default();
        channels.set(channel(0x4000, 1, 10));
        assert_eq!(channels.is_bound(0x4000, ip(1), 10), Ok(true));
        assert_eq!(channels.is_bound(0x4000, ip(1), 11), Err(ChannelConflict));
        assert_eq!(channels.is_bound(0x4001, ip(1), 10), Err(ChannelConflict));
        assert_eq!(channels.is_bound(0x4001, ip(1), 11), Ok(false));
        channels.set(channel(0x4001, 1, 11));
        assert_eq!(channels.is_bound(0x4001, ip(1), 10), Err(ChannelConflict));
    }

    #[test]
    fn many_permissions_are_found() {
        let mut permissions = Permissions::default();
        for step in 0..100_u8 {
            let last = step.wrapping_mul(37);
            permissions.set(Permission {
                ip: ip(last),
                expires: Instant::from_millis(u64::from(last)),
                relay_ports_only: false,
            });
            assert!(permissions.is_sorted());
        }
        assert_eq!(permissions.len(), 100);
        assert!(permissions.get(ip(37), Instant::from_millis(36)).is_some());
        assert!(permissions.get(ip(37), Instant::from_millis(37)).is_none());
        assert!(!permissions.contains(ip(1)));
    }
}
