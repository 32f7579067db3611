//! Allocate: a relayed transport address for a client (RFC 8656 §7).

use std::num::NonZeroU64;

use super::{
    AllocationId, Cause, Code, DropReason, Instant, Now, QuotaKind, Server, Traffic,
    allocation::{Allocation, Answer, Buckets, Making, PortWish},
    authentication::Proved,
    binding::plain,
    identity::SLOTS_MAX,
    peers::{Channels, Family, Permissions},
    refresh::{granted, lifetime_wished},
    response::{Head, Refused, Signature},
};
use crate::stun::{self, AddressFamily, AttributeError, Message, attribute};

/// REQUESTED-TRANSPORT for UDP.
const UDP: u8 = 17;
/// The most allocations whose sockets are being bound at a time: a driver binds at once, so that more means it is
/// stuck.
const MAKING_MAX: usize = 1024;
/// Ports that are tried for one allocation when they turn out to be in use by somebody else.
const TRIES_MAX: u8 = 16;

/// What an Allocate asks for.
struct Wish {
    lifetime: Option<u32>,
    /// By [`Family`].
    families: [bool; 2],
    ports: PortWish,
    token: Option<[u8; 8]>,
}

impl Server {
    /// Makes an allocation; the answer waits until its relay sockets are bound.
    pub(super) fn handle_allocate(
        &mut self,
        now: Now,
        head: &Head,
        message: &Message<'_>,
        proved: &Proved<'_>,
    ) -> Result<usize, Refused> {
        if let Some(slot) = proved.slot {
            return self.answer_again(head, proved, slot);
        }
        let wish = Wish::of(message)?;
        if let Some(alternates) = self.draining.clone() {
            return self.send_elsewhere(head, proved, &alternates, wish.token.is_some());
        }
        if self.allocations.len() >= SLOTS_MAX as usize {
            return Err(Code::InsufficientCapacity.into());
        }
        if self.making >= MAKING_MAX {
            return Err(Refused::Drop(DropReason::TooManyPending));
        }
        let slot = self.admit(now, head, proved, &wish)?;
        match self.open_relays(slot, proved, &wish) {
            Ok(()) => Err(Refused::Pending),
            Err(code) => {
                // Nothing has been told to anybody: it goes as if it had never been.
                self.remove(slot);
                self.making -= 1;
                Err(code.into())
            }
        }
    }

    /// A retransmission is answered as the first time (RFC 8656 §7.2); anything else finds the five-tuple taken.
    fn answer_again(&mut self, head: &Head, proved: &Proved<'_>, slot: u32) -> Result<usize, Refused> {
        let Some(allocation) = self.allocations.get(slot) else {
            return Err(Code::AllocationMismatch.into());
        };
        if allocation.answer.transaction_id != head.transaction_id {
            return Err(Code::AllocationMismatch.into());
        }
        if !allocation.is_live() {
            return Err(Refused::Drop(DropReason::RetransmissionPending));
        }
        self.write_allocated(head, &proved.signature, slot)
    }

    /// Counts the allocation against the quotas and gives it a place.
    fn admit(&mut self, now: Now, head: &Head, proved: &Proved<'_>, wish: &Wish) -> Result<u32, Code> {
        let options = &self.options;
        let claims = proved.claims();
        let (limits, rate) = options.limits_of(claims.class);
        let expiry = claims.expiry.unwrap_or(options.expiry);
        let admitted = self.shared.quotas.admit(claims.user, head.from.client.ip(), &limits);
        let grant = admitted.map_err(|kind| {
            self.counters.quota_refusals.add(kind, 1);
            self.cause = Some(Cause::Quota { kind, limit: limits.of(kind) });
            match kind {
                QuotaKind::User | QuotaKind::Address => Code::AllocationQuotaReached,
                QuotaKind::Total | QuotaKind::Cluster => Code::InsufficientCapacity,
            }
        })?;
        let answer = Answer {
            transaction_id: head.transaction_id,
            lifetime: granted(options, expiry, wish.lifetime, proved.expires, now),
            token: None,
            address_error: None,
        };
        let making = Making {
            fingerprint: head.fingerprint,
            signature: proved.signature.clone(),
            ports: wish.ports,
            outstanding: 0,
            tries: TRIES_MAX,
        };
        self.making += 1;
        Ok(self.allocations.insert(Allocation {
            five_tuple: head.from,
            legs: [None; 2],
            permissions: Permissions::default(),
            channels: Channels::default(),
            to_peers: Traffic::default(),
            to_client: Traffic::default(),
            buckets: Buckets::new(rate, now.monotonic),
            id: AllocationId::default(),
            username: (&*proved.username).into(),
            user_part: proved.user_part,
            is_revoked: false,
            key_ref: self.keys.count(proved.key_id.as_ref()),
            key: proved.key,
            grant,
            // What is valid now does not end at zero.
            credential_expires: proved.expires.map(|at| NonZeroU64::new(at).unwrap_or(NonZeroU64::MIN)),
            created: now.monotonic,
            created_unix: u32::try_from(now.unix).unwrap_or(u32::MAX),
            reserved_until: Instant::NEVER,
            answer,
            drops: None,
            making: Some(Box::new(making)),
        }))
    }

    /// Asks for a relay socket of each family that is wished for. With two families one of them is enough
    /// (RFC 8656 §7.2).
    fn open_relays(&mut self, slot: u32, proved: &Proved<'_>, wish: &Wish) -> Result<(), Code> {
        if let Some(token) = wish.token {
            let reservation = self.shared.reservations.redeem(token, &proved.username);
            let reservation = reservation.ok_or(Code::InsufficientCapacity)?;
            return self.open_at(slot, reservation.address, reservation.port);
        }
        let is_dual = wish.families == [true; 2];
        let mut refused = None;
        let mut opened = 0;
        for family in Family::BOTH.into_iter().filter(|&family| wish.families[family as usize]) {
            match self.open_relay(slot, family, wish.ports) {
                Ok(()) => opened += 1,
                Err(code) => {
                    refused = refused.max(Some(code));
                    if is_dual && let Some(allocation) = self.allocations.get_mut(slot) {
                        allocation.answer.address_error = Some((family, code));
                    }
                }
            }
        }
        if opened > 0 { Ok(()) } else { Err(refused.unwrap_or(Code::InsufficientCapacity)) }
    }

    /// Writes the success response of an Allocate.
    pub(super) fn write_allocated(
        &mut self,
        head: &Head,
        signature: &Signature,
        slot: u32,
    ) -> Result<usize, Refused> {
        let Some(allocation) = self.allocations.get(slot) else {
            return Err(Code::AllocationMismatch.into());
        };
        let answer = allocation.answer;
        let relayed = allocation.legs.map(|leg| Some(self.relays.get(leg?.id())?.relayed()));
        let client = plain(allocation.five_tuple.client);
        self.write_success(head, Some(signature), |writer| {
            for relayed in relayed.into_iter().flatten() {
                writer.xor_address(attribute::XOR_RELAYED_ADDRESS, relayed)?;
            }
            writer.xor_address(attribute::XOR_MAPPED_ADDRESS, client)?;
            if let Some(token) = answer.token {
                writer.attribute(attribute::RESERVATION_TOKEN, &token)?;
            }
            writer.u32(attribute::LIFETIME, answer.lifetime)?;
            if let Some((family, code)) = answer.address_error {
                writer.address_error_code(family.into(), code.number(), "")?;
            }
            Ok(())
        })
    }
}

impl Wish {
    /// Reads and checks the attributes in the order of RFC 8656 §7.2.
    fn of(message: &Message<'_>) -> Result<Self, Code> {
        let transport = message.find(attribute::REQUESTED_TRANSPORT).ok_or(Code::BadRequest)?;
        if stun::requested_transport(transport).map_err(|_| Code::BadRequest)? != UDP {
            return Err(Code::UnsupportedTransport);
        }
        let token = message.find(attribute::RESERVATION_TOKEN).map(stun::reservation_token);
        let token = token.transpose().map_err(|_| Code::BadRequest)?;
        let even = message.find(attribute::EVEN_PORT).map(stun::even_port);
        let even = even.transpose().map_err(|_| Code::BadRequest)?;
        let requested = message.find(attribute::REQUESTED_ADDRESS_FAMILY);
        let additional = message.find(attribute::ADDITIONAL_ADDRESS_FAMILY);
        if token.is_some() && (even.is_some() || requested.is_some() || additional.is_some())
            || requested.is_some() && additional.is_some()
        {
            return Err(Code::BadRequest);
        }
        let mut families = [true, false];
        if let Some(family) = requested {
            families = [false; 2];
            families[requested_family(family)? as usize] = true;
        }
        if let Some(family) = additional {
            // An IPv4 address comes unasked, so that IPv6 is all there is to add.
            if even == Some(true) || requested_family(family)? != Family::V6 {
                return Err(Code::BadRequest);
            }
            families = [true; 2];
        }
        let ports = match (token, even) {
            (Some(_), _) => PortWish::Reserved,
            (None, Some(true)) => PortWish::Pair,
            (None, Some(false)) => PortWish::Even,
            (None, None) => PortWish::Any,
        };
        Ok(Self { lifetime: lifetime_wished(message)?, families, ports, token })
    }
}

fn requested_family(value: &[u8]) -> Result<Family, Code> {
    match stun::address_family(value) {
        Ok(family) => Ok(family.into()),
        Err(AttributeError::Family { .. }) => Err(Code::AddressFamilyNotSupported),
        Err(_) => Err(Code::BadRequest),
    }
}

impl From<AddressFamily> for Family {
    fn from(family: AddressFamily) -> Self {
        match family {
            AddressFamily::Ipv4 => Self::V4,
            AddressFamily::Ipv6 => Self::V6,
        }
    }
}

impl From<Family> for AddressFamily {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => Self::Ipv4,
            Family::V6 => Self::Ipv6,
        }
    }
}
