//! How many connections there may be, in all and from one address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use super::counters::StreamRefusal;
use crate::config;

/// Counts the connections of all shards. Touched only when a connection begins and ends.
#[derive(Debug)]
pub(crate) struct StreamAdmission {
    total_max: u32,
    per_address_max: u32,
    total: AtomicU32,
    /// One entry per address that has a connection: bounded by the connections themselves.
    addresses: Mutex<HashMap<IpAddr, u32>>,
}

/// The right to one connection; given back when dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    admission: Arc<StreamAdmission>,
    address: IpAddr,
}

impl StreamAdmission {
    /// No connections yet. A limit of 0 is unlimited.
    pub(crate) fn new(limits: &config::Streams) -> Self {
        let unlimited = |limit: u32| if limit == 0 { u32::MAX } else { limit };
        Self {
            total_max: unlimited(limits.connections_total),
            per_address_max: unlimited(limits.connections_per_address),
            total: AtomicU32::new(0),
            addresses: Mutex::new(HashMap::new()),
        }
    }

    /// Admits a connection from `address`, unless there are too many.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Admission, StreamRefusal> {
        let address = subscriber(address);
        let below = |count: u32| (count < self.total_max).then(|| count.saturating_add(1));
        if self.total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below).is_err() {
            return Err(StreamRefusal::Total);
        }
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.get(&address).copied().unwrap_or(0);
        if count >= self.per_address_max {
            drop(addresses);
            self.total.fetch_sub(1, Ordering::Relaxed);
            return Err(StreamRefusal::Address);
        }
        addresses.insert(address, count.saturating_add(1));
        drop(addresses);
        Ok(Admission { admission: Arc::clone(self), address })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut addresses = self.admission.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        match addresses.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => {
                addresses.remove(&self.address);
            }
        }
        drop(addresses);
        self.admission.total.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What connections are counted by: an IPv4 address, or the /64 a subscriber is usually given.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(total: u32, per_address: u32) -> Arc<StreamAdmission> {
        Arc::new(StreamAdmission::new(&config::Streams {
            connections_total: total,
            connections_per_address: per_address,
            ..config::Streams::default()
        }))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_limit_per_address_counts_a_whole_ipv6_64() {
        let admission = admission(100, 2);
        let first = admission.admit(ip("2001:db8::1")).unwrap();
        let _second = admission.admit(ip("2001:db8::2")).unwrap();
        assert_eq!(admission.admit(ip("2001:db8::3")).unwrap_err(), StreamRefusal::Address);
        assert!(admission.admit(ip("2001:db8:0:1::3")).is_ok());
        drop(first);
        assert!(admission.admit(ip("2001:db8::4")).is_ok());
    }

    #[test]
    fn the_limit_in_all_counts_every_address_and_frees_with_each() {
        let admission = admission(2, 10);
        let first = admission.admit(ip("192.0.2.1")).unwrap();
        let _second = admission.admit(ip("192.0.2.2")).unwrap();
        assert_eq!(admission.admit(ip("192.0.2.3")).unwrap_err(), StreamRefusal::Total);
        drop(first);
        assert!(admission.admit(ip("192.0.2.3")).is_ok());
    }

    #[test]
    fn a_mapped_address_counts_as_the_ipv4_inside() {
        let admission = admission(100, 1);
        let _first = admission.admit(ip("192.0.2.1")).unwrap();
        assert_eq!(admission.admit(ip("::ffff:192.0.2.1")).unwrap_err(), StreamRefusal::Address);
    }

    #[test]
    fn refused_connections_leave_nothing_behind() {
        let admission = admission(3, 1);
        let held = admission.admit(ip("192.0.2.1")).unwrap();
        for _ in 0..10 {
            assert!(admission.admit(ip("192.0.2.1")).is_err());
        }
        drop(held);
        assert_eq!(admission.total.load(Ordering::Relaxed), 0);
        assert!(admission.addresses.lock().unwrap().is_empty());
    }

    #[test]
    fn zero_is_unlimited() {
        let admission = admission(0, 0);
        let held: Vec<_> = (0..2000).map(|_| admission.admit(ip("192.0.2.1")).unwrap()).collect();
        assert_eq!(held.len(), 2000);
    }
}
