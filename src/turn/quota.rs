//! How many allocations there are, for whom.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    fmt,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Limits, QuotaKind, elsewhere::Elsewhere};

/// A table is given back to the system when less than an eighth of it is left in use.
const SHRINK_CAPACITY_MIN: usize = 1024;
/// The most users whose changes wait to be taken; changes of further ones are only seen by [`Quotas::all_users`].
pub const CHANGES_MAX: usize = 1_000_000;

/// The allocations of the whole process, counted by user, by client address and in all; and those of other nodes, as
/// far as they have been told.
///
/// Exact across shards: one lock, taken when an allocation is made and when it ends, never for a packet.
#[derive(Clone, Default)]
pub struct Quotas {
    tables: Arc<Mutex<Tables>>,
}

#[derive(Default)]
struct Tables {
    users: HashMap<Arc<str>, u32>,
    addresses: HashMap<AddressKey, u32>,
    total: u32,
    /// `None`: nobody wants to know.
    changed: Option<BTreeSet<Arc<str>>>,
    elsewhere: Elsewhere,
}

/// An IPv4 address, or the /64 of an IPv6 address: what one customer usually has.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum AddressKey {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Quotas {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one more allocation of `user` from `ip` until the [`Grant`] is dropped. An absent limit counts too, so
    /// that one set later finds what is there.
    ///
    /// # Errors
    /// Which limit is reached: 486 for the user's and the address's, 508 for the total and the cluster's. Nothing is
    /// counted then.
    pub fn admit(&self, user: &str, ip: IpAddr, limits: &Limits) -> Result<Grant, QuotaKind> {
        let address = AddressKey::of(ip);
        let mut guard = self.lock();
        let tables = &mut *guard;
        let elsewhere = &tables.elsewhere;
        let known = tables.users.get_key_value(user);
        let of_user = known.map_or(0, |(_, count)| *count);
        if elsewhere.is_reached(of_user, limits.allocations_per_user, |all| all.of_user(user)) {
            return Err(QuotaKind::User);
        }
        let from_address = tables.addresses.get(&address).copied().unwrap_or(0);
        if is_reached(from_address, limits.allocations_per_address) {
            return Err(QuotaKind::Address);
        }
        if is_reached(tables.total, limits.allocations_total) {
            return Err(QuotaKind::Total);
        }
        if elsewhere.is_reached(tables.total, limits.allocations_cluster, Elsewhere::total) {
            return Err(QuotaKind::Cluster);
        }
        let user: Arc<str> = known.map_or_else(|| user.into(), |(name, _)| Arc::clone(name));
        *tables.users.entry(Arc::clone(&user)).or_default() += 1;
        *tables.addresses.entry(address).or_default() += 1;
        tables.total += 1;
        tables.note_change(&user);
        drop(guard);
        Ok(Grant { tables: Arc::clone(&self.tables), user, address })
    }

    /// Allocations in all.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.lock().total
    }

    /// Allocations of `user`.
    #[must_use]
    pub fn of_user(&self, user: &str) -> u32 {
        self.lock().users.get(user).copied().unwrap_or(0)
    }

    /// Allocations from the address of `ip` (IPv6: its /64).
    #[must_use]
    pub fn of_address(&self, ip: IpAddr) -> u32 {
        self.lock().addresses.get(&AddressKey::of(ip)).copied().unwrap_or(0)
    }

    /// Begins to remember whose count changes, for [`Quotas::take_changes`], or stops it. Off by default.
    pub fn track(&self, wanted: bool) {
        let mut tables = self.lock();
        if wanted != tables.changed.is_some() {
            tables.changed = wanted.then(BTreeSet::new);
        }
    }

    /// The users whose number of allocations changed since the last call, with the number now; at most
    /// [`CHANGES_MAX`]. Empty unless [tracked](Quotas::track).
    #[must_use]
    pub fn take_changes(&self) -> Vec<(Arc<str>, u32)> {
        let mut tables = self.lock();
        let Some(changed) = tables.changed.as_mut().map(std::mem::take) else { return Vec::new() };
        let now = |user: Arc<str>| {
            let count = tables.users.get(&user).copied().unwrap_or(0);
            (user, count)
        };
        changed.into_iter().map(now).collect()
    }

    /// Every user with allocations here, and how many.
    #[must_use]
    pub fn all_users(&self) -> Vec<(Arc<str>, u32)> {
        let tables = self.lock();
        let mut all: Vec<_> = tables.users.iter().map(|(user, count)| (Arc::clone(user), *count)).collect();
        drop(tables);
        all.sort_unstable();
        all
    }

    /// Takes over how many allocations `user` has on another node.
    pub fn set_elsewhere(&self, node: &str, user: &str, count: u32) {
        self.lock().elsewhere.set(node, user, count);
    }

    /// Takes over how many allocations another node has in all.
    pub fn set_elsewhere_total(&self, node: &str, count: u32) {
        self.lock().elsewhere.set_total(node, count);
    }

    /// Forgets all that is known of a node: it is gone.
    pub fn forget_node(&self, node: &str) {
        self.lock().elsewhere.forget(node);
    }

    /// Divides the limits of users and of the cluster, while other nodes can't be counted: with more than 1, only what
    /// is here counts, against the limit divided by that, but at least 1. Default 1.
    pub fn set_share(&self, divisor: u32) {
        self.lock().elsewhere.set_share(divisor);
    }

    /// Allocations of `user` on other nodes.
    #[must_use]
    pub fn of_user_elsewhere(&self, user: &str) -> u32 {
        self.lock().elsewhere.of_user(user)
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        lock(&self.tables)
    }
}

impl Tables {
    fn note_change(&mut self, user: &Arc<str>) {
        if let Some(changed) = &mut self.changed
            && (changed.len() < CHANGES_MAX || changed.contains(user))
        {
            changed.insert(Arc::clone(user));
        }
    }
}

impl fmt::Debug for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quotas").field("total", &self.total()).finish_non_exhaustive()
    }
}

/// One counted allocation. Dropping it gives it back.
#[must_use = "the allocation is no longer counted once this is dropped"]
pub struct Grant {
    tables: Arc<Mutex<Tables>>,
    user: Arc<str>,
    address: AddressKey,
}

impl Grant {
    /// Whose allocation it is: the user's name, shared by all of that user's grants.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    pub(super) fn shared_user(&self) -> &Arc<str> {
        &self.user
    }

    /// Gives the allocation back, as dropping does.
    pub fn release(self) {}
}

impl Drop for Grant {
    fn drop(&mut self) {
        let mut tables = lock(&self.tables);
        decrease(&mut tables.users, Arc::clone(&self.user));
        decrease(&mut tables.addresses, self.address);
        debug_assert!(tables.total > 0, "more grants are dropped than were given");
        tables.total = tables.total.saturating_sub(1);
        tables.note_change(&self.user);
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Grant")
    }
}

impl AddressKey {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

fn is_reached(count: u32, limit: Option<u32>) -> bool {
    count >= limit.unwrap_or(u32::MAX)
}

fn decrease<K: Hash + Eq>(counts: &mut HashMap<K, u32>, key: K) {
    let Entry::Occupied(mut entry) = counts.entry(key) else {
        debug_assert!(false, "a grant that was never counted is dropped");
        return;
    };
    *entry.get_mut() -= 1;
    if *entry.get() == 0 {
        entry.remove();
    }
    if counts.capacity() > SHRINK_CAPACITY_MIN && counts.len() < counts.capacity() / 8 {
        counts.shrink_to(counts.len() * 2);
    }
}

/// A panic elsewhere while the lock was held leaves counts that are still whole numbers: go on with them.
fn lock(tables: &Mutex<Tables>) -> MutexGuard<'_, Tables> {
    tables.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn limits(user: Option<u32>, address: Option<u32>, total: Option<u32>) -> Limits {
        Limits {
            allocations_per_user: user,
            allocations_per_address: address,
            allocations_total: total,
            ..Limits::default()
        }
    }

    #[test]
    fn each_limit_is_exact_and_named_when_reached() {
        let quotas = Quotas::new();
        let limits = limits(Some(2), Some(3), Some(4));
        let a = quotas.admit("a", ip("192.0.2.1"), &limits).unwrap();
        let _b = quotas.admit("a", ip("192.0.2.1"), &limits).unwrap();
        assert_eq!(quotas.admit("a", ip("192.0.2.2"), &limits).unwrap_err(), QuotaKind::User);
        let _c = quotas.admit("b", ip("192.0.2.1"), &limits).unwrap();
        assert_eq!(quotas.admit("c", ip("192.0.2.1"), &limits).unwrap_err(), QuotaKind::Address);
        let _d = quotas.admit("c", ip("192.0.2.2"), &limits).unwrap();
        assert_eq!(quotas.admit("d", ip("192.0.2.3"), &limits).unwrap_err(), QuotaKind::Total);

        a.release();
        assert!(quotas.admit("a", ip("192.0.2.1"), &limits).is_ok());
    }

    #[test]
    fn a_refused_allocation_is_counted_nowhere() {
        let quotas = Quotas::new();
        let none = limits(None, None, Some(0));

        assert_eq!(quotas.admit("a", ip("192.0.2.1"), &none).unwrap_err(), QuotaKind::Total);

        assert_eq!((quotas.total(), quotas.of_user("a"), quotas.of_address(ip("192.0.2.1"))), (0, 0, 0));
        assert!(quotas.lock().users.is_empty() && quotas.lock().addresses.is_empty());
    }

    #[test]
    fn dropped_grants_leave_nothing_behind() {
        let quotas = Quotas::new();
        let all: Vec<Grant> = (0..10_000_u32)
            .map(|n| quotas.admit(&n.to_string(), IpAddr::V4(n.into()), &Limits::default()).unwrap())
            .collect();
        assert_eq!(quotas.total(), 10_000);
        drop(all);

        let tables = quotas.lock();
        assert_eq!((tables.users.len(), tables.addresses.len(), tables.total), (0, 0, 0));
        assert!(tables.users.capacity() <= SHRINK_CAPACITY_MIN);
    }

    #[test]
    fn an_ipv6_customer_is_a_64_and_a_mapped_address_is_ipv4() {
        let quotas = Quotas::new();
        let limits = limits(None, Some(1), None);
        let _a = quotas.admit("a", ip("2001:db8:0:1::1"), &limits).unwrap();

        assert_eq!(quotas.admit("b", ip("2001:db8:0:1:ffff::2"), &limits).unwrap_err(), QuotaKind::Address);
        let _b = quotas.admit("b", ip("2001:db8:0:2::1"), &limits).unwrap();
        let _c = quotas.admit("c", ip("192.0.2.1"), &limits).unwrap();
        assert_eq!(quotas.admit("d", ip("::ffff:192.0.2.1"), &limits).unwrap_err(), QuotaKind::Address);
    }

    #[test]
    fn a_limit_set_later_finds_what_is_there() {
        let quotas = Quotas::new();
        let _a = quotas.admit("a", ip("192.0.2.1"), &Limits::default()).unwrap();

        assert_eq!(
            quotas.admit("a", ip("192.0.2.1"), &limits(Some(1), None, None)).unwrap_err(),
            QuotaKind::User
        );
    }

    #[test]
    fn changes_are_told_once_and_only_if_somebody_asks() {
        let quotas = Quotas::new();
        let admit = |user: &str| quotas.admit(user, ip("192.0.2.1"), &Limits::default()).unwrap();
        let seen = |list: Vec<(Arc<str>, u32)>| -> Vec<(String, u32)> {
            list.into_iter().map(|(user, count)| (user.to_string(), count)).collect()
        };
        let before = admit("z");
        assert_eq!(quotas.take_changes(), []);

        quotas.track(true);
        quotas.track(true);
        let (_a, b, _c) = (admit("b"), admit("a"), admit("b"));
        assert_eq!(seen(quotas.take_changes()), [("a".into(), 1), ("b".into(), 2)]);
        assert_eq!(quotas.take_changes(), []);

        drop((before, b));
        assert_eq!(seen(quotas.take_changes()), [("a".into(), 0), ("z".into(), 0)]);
        assert_eq!(seen(quotas.all_users()), [("b".into(), 2)]);
        quotas.track(false);
        drop(admit("a"));
        assert_eq!(quotas.take_changes(), []);
    }

    #[test]
    fn a_grant_is_small_and_knows_its_user() {
        let grant = Quotas::new().admit("bob", ip("192.0.2.1"), &Limits::default()).unwrap();

        assert_eq!(grant.user(), "bob");
        assert!(size_of::<Grant>() <= 40, "{}", size_of::<Grant>());
    }

    #[test]
    fn the_total_is_exact_across_threads() {
        let quotas = Quotas::new();
        let limits = limits(None, None, Some(50));
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let quotas = &quotas;
                scope.spawn(move || {
                    for round in 0..2_000_u32 {
                        let grants: Vec<_> = (0..round % 20)
                            .map(|n| {
                                quotas.admit(
                                    &format!("{thread}-{n}"),
                                    IpAddr::from([10, 0, 0, thread]),
                                    &limits,
                                )
                            })
                            .collect();
                        assert!(quotas.total() <= 50);
                        drop(grants);
                    }
                });
            }
        });
        assert_eq!(quotas.total(), 0);
    }
}
