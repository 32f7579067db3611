//! Where an allocation may be, and how many there may be.

use std::net::SocketAddr;

use iceway::{
    stun::{attribute, even_port},
    turn::FiveTuple,
};

use crate::{
    model::{Asked, Model, Reservation},
    people::{self, Said},
    promise::{Allocation, Window},
};

impl Model {
    /// The relayed addresses are where they were asked to be, and nobody else's.
    pub(crate) fn assert_places(&mut self, asked: &Asked<'_>, relayed: &[SocketAddr]) {
        let Asked { to, request, reply, since, clocks, .. } = asked;
        let wants_two = request.find(attribute::ADDITIONAL_ADDRESS_FAMILY).is_some();
        assert!(relayed.len() == 1 || wants_two && relayed.len() == 2, "{relayed:?}");
        for address in relayed {
            let advertised =
                self.options.relay_addresses.iter().any(|relay| relay.advertised == address.ip());
            assert!(advertised, "{address} is not ours");
            let sure = |other: &&Allocation| {
                other.legs.iter().any(|leg| leg.address == *address && leg.valid.is_sure(clocks.now))
            };
            assert!(!self.allocations.values().any(|other| sure(&other)), "{address} is given twice");
        }
        let token = request.find(attribute::RESERVATION_TOKEN).and_then(|token| token.try_into().ok());
        if let Some(Reservation { address, valid, .. }) =
            token.and_then(|token: [u8; 8]| self.reserved.remove(&token))
        {
            assert!(!valid.is_over(*since), "a reservation outlives its time");
            assert_eq!(relayed, [address], "a token leads to the port reserved with it");
        } else {
            let is_free = |address: &SocketAddr| {
                !self.reserved.values().any(|held| held.address == *address && held.valid.is_sure(clocks.now))
            };
            assert!(relayed.iter().all(is_free), "{relayed:?} is reserved for another");
        }
        if let Some(reserve_next) = request.find(attribute::EVEN_PORT).map(|value| even_port(value).unwrap())
        {
            assert_eq!(relayed[0].port() % 2, 0, "EVEN-PORT");
            let token = reply.find(attribute::RESERVATION_TOKEN).map(|token| token.try_into().unwrap());
            assert_eq!(token.is_some(), reserve_next);
            if let Some(token) = token {
                let next = SocketAddr::new(relayed[0].ip(), relayed[0].port() + 1);
                let lifetime = self.options.lifetimes.reservation.as_millis() as u64;
                let valid = Window::new(*since, clocks.now, lifetime);
                self.reserved.insert(token, Reservation { by: *to, address: next, valid });
            }
        }
    }

    /// The quotas are kept, this allocation included.
    pub(crate) fn assert_quotas(&self, to: FiveTuple, said: &Said, now: u64) {
        let Said { user, class, .. } = said;
        let sure = || self.allocations.iter().filter(|(_, live)| live.is_sure(now));
        // Those of another class may have come while this one was being made, by limits of their own.
        let is_alike = |other: Said| other.user == *user && other.class == *class;
        let of_user = sure().filter(|(_, live)| is_alike(people::said(&live.username))).count();
        let of_address = sure().filter(|(five_tuple, _)| five_tuple.client.ip() == to.client.ip()).count();
        let limits = &self.options.limits;
        let known =
            class.as_ref().and_then(|name| self.options.classes.iter().find(|class| *class.name == **name));
        let is_kept = |count: usize, limit: Option<u32>| limit.is_none_or(|limit| count <= limit as usize);
        // After a reload to lower limits, what was there before stays: those seeds set no limits (see `World`).
        assert!(
            is_kept(of_user, known.map_or(limits.allocations_per_user, |class| class.allocations_per_user)),
            "{of_user} allocations of {user}"
        );
        assert!(
            is_kept(of_address, limits.allocations_per_address),
            "{of_address} allocations of one address"
        );
        assert!(is_kept(sure().count(), limits.allocations_total), "{} allocations", sure().count());
    }
}
