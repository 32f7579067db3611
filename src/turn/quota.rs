//! How many allocations there are, for whom.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Limits, QuotaKind};

/// A table is given back to the system when less than an eighth of it is left in use.
const SHRINK_CAPACITY_MIN: usize = 1024;

/// The allocations of the whole process, counted by user, by client address and in all.
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
    /// Which limit is reached: 486 for the user's and the address's, 508 for the total. Nothing is counted then.
    pub fn admit(&self, user: &str, ip: IpAddr, limits: &Limits) -> Result<Grant, QuotaKind> {
        let address = AddressKey::of(ip);
        let mut guard = self.lock();
        let tables = &mut *guard;
        let known = tables.users.get_key_value(user);
        if is_reached(known.map_or(0, |(_, count)| *count), limits.allocations_per_user) {
            return Err(QuotaKind::User);
        }
        let from_address = tables.addresses.get(&address).copied().unwrap_or(0);
        if is_reached(from_address, limits.allocations_per_address) {
            return Err(QuotaKind::Address);
        }
        if is_reached(tables.total, limits.allocations_total) {
            return Err(QuotaKind::Total);
        }
        let user: Arc<str> = known.map_or_else(|| user.into(), |(name, _)| Arc::clone(name));
        *tables.users.entry(Arc::clone(&user)).or_default() += 1;
        *tables.addresses.entry(address).or_default() += 1;
        tables.total += 1;
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

    fn lock(&self) -> MutexGuard<'_, Tables> {
        lock(&self.tables)
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
