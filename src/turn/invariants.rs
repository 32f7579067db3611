//! What must hold between calls, whatever has come in.

use std::collections::HashSet;

use super::{
    Server,
    allocation::Allocation,
    peers::Family,
    relays::{Relay, RelayState},
};

impl Server {
    /// Checks every structure against every other. For tests and simulations: it looks at everything.
    ///
    /// # Panics
    /// If something does not hold.
    pub fn check_invariants(&self) {
        assert!(self.allocations.is_consistent(), "slots, free list and index of allocations disagree");
        assert!(self.relays.is_consistent(), "the free list of relays is wrong");
        assert!(self.look_ups.is_bounded(), "look-ups are above their bounds or miscounted");
        let (mut live, mut permissions, mut channels) = (0_usize, 0, 0);
        for (slot, allocation) in self.allocations.iter() {
            self.check_allocation(slot, allocation);
            live += usize::from(allocation.is_live());
            permissions += allocation.permissions.len() as u64;
            channels += allocation.channels.len() as u64;
        }
        assert_eq!(self.making, self.allocations.len() - live, "allocations being made are miscounted");
        assert_eq!(self.timers.len(), live, "each live allocation has one deadline, and nothing else has");
        assert_eq!(self.counters.allocations.total(), live as u64, "the gauge of allocations is wrong");
        let keys: usize = self.keys.in_use().map(|(_, count)| count).sum();
        let keyed = self.allocations.iter().filter(|(_, one)| self.keys.get(one.key_ref).is_some()).count();
        assert_eq!(keys, keyed, "allocations are miscounted by secret");
        assert_eq!(self.counters.permissions, permissions, "the gauge of permissions is wrong");
        assert_eq!(self.counters.channels, channels, "the gauge of channels is wrong");
        self.check_relays();
    }

    fn check_allocation(&self, slot: u32, allocation: &Allocation) {
        assert!(allocation.permissions.is_sorted(), "permissions are out of order");
        assert!(allocation.channels.is_consistent(), "channels and their index disagree");
        assert!(
            allocation.permissions.iter().all(|permission| self.has_leg(allocation, permission.ip.to_ip())),
            "a permission is of a family that the allocation has no relay of"
        );
        assert!(
            allocation.channels.iter().all(|channel| self.has_leg(allocation, channel.ip.to_ip())),
            "a channel is of a family that the allocation has no relay of"
        );
        for family in Family::BOTH {
            let Some(leg) = allocation.leg(family) else { continue };
            let relay = self.relays.get(leg.id()).expect("a leg names a relay");
            assert_eq!(relay.owner, slot, "a leg's relay belongs to another allocation");
            assert_eq!(Family::of(relay.address.local), Some(family), "a leg's relay is of the other family");
            assert_ne!(relay.state, RelayState::Abandoned, "a leg's relay is abandoned");
        }
        match &allocation.making {
            None => self.check_live(slot, allocation),
            Some(making) => {
                assert!(making.outstanding > 0, "an allocation is being made, but waits for nothing");
                assert_eq!(self.timers.get(slot), None, "an allocation being made has no deadline");
                assert_eq!(
                    allocation.permissions.len() + allocation.channels.len(),
                    0,
                    "it has no peers yet"
                );
            }
        }
    }

    fn check_live(&self, slot: u32, allocation: &Allocation) {
        assert!(allocation.legs.iter().any(Option::is_some), "a live allocation has a relay");
        assert_eq!(allocation.id.slot(), slot, "an id leads to another allocation");
        let first = allocation.first_expiry();
        let due = first.min(allocation.reserved_until);
        assert_eq!(self.timers.get(slot), Some(due), "the deadline is not that of the next expiry");
        let legs = allocation.legs.iter().flatten().filter_map(|leg| self.relays.get(leg.id()));
        assert!(legs.into_iter().all(|relay| relay.state == RelayState::Bound), "a live relay is not bound");
    }

    fn has_leg(&self, allocation: &Allocation, ip: std::net::IpAddr) -> bool {
        Family::of(ip).is_some_and(|family| allocation.leg(family).is_some())
    }

    fn check_relays(&self) {
        let mut taken = HashSet::new();
        for (id, relay) in self.relays.iter() {
            let Relay { owner, state, .. } = relay;
            assert!(taken.insert(relay.local()), "{} has two relays", relay.local());
            assert!(
                self.shared.ports.is_relay(relay.address.local, relay.port),
                "the port of {} is not taken",
                relay.local()
            );
            let is_owned =
                self.allocations.get(owner).is_some_and(|allocation| allocation.family_of(id).is_some());
            assert!(is_owned || state == RelayState::Abandoned, "{id:?} belongs to nobody");
        }
    }
}
