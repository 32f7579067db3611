//! Refresh: keep an allocation, or end it (RFC 8656 §8).

use std::time::Duration;

use super::{
    CloseReason, Code, Event, Expiry, Now, Options, Output, Server,
    authentication::Proved,
    peers::Family,
    response::{Head, Refused},
};
use crate::stun::{self, AttributeError, Message, attribute};

impl Server {
    /// Renews or ends the whole allocation, or the relay of the family that is named.
    pub(super) fn handle_refresh(
        &mut self,
        now: Now,
        head: &Head,
        message: &Message<'_>,
        proved: &Proved<'_>,
        slot: u32,
    ) -> Result<usize, Refused> {
        let wished = lifetime_wished(message)?;
        let family = match message.find(attribute::REQUESTED_ADDRESS_FAMILY).map(stun::address_family) {
            None => None,
            Some(Ok(family)) => Some(Family::from(family)),
            Some(Err(AttributeError::Family { .. })) => return Err(Code::PeerAddressFamilyMismatch.into()),
            Some(Err(_)) => return Err(Code::BadRequest.into()),
        };
        let Some(allocation) = self.allocations.get_mut(slot) else {
            return Err(Code::AllocationMismatch.into());
        };
        if family.is_some_and(|family| allocation.leg(family).is_none()) {
            return Err(Code::PeerAddressFamilyMismatch.into());
        }
        let (expires, expiry) = (allocation.credential_expires(), allocation.expiry(self.options.expiry));
        let lifetime =
            if wished == Some(0) { 0 } else { granted(&self.options, expiry, wished, expires, now) };
        if lifetime == 0 {
            match family {
                Some(family) => self.close_family(now, slot, family, CloseReason::Refreshed),
                None => self.close(now, slot, CloseReason::Refreshed),
            }
        } else {
            let until = now.monotonic.after(Duration::from_secs(lifetime.into()));
            for leg in Family::BOTH.into_iter().filter(|&leg| family.is_none_or(|family| family == leg)) {
                if let Some(leg) = &mut allocation.legs[leg as usize] {
                    leg.expires = until;
                }
            }
            let five_tuple = allocation.five_tuple;
            self.arm(slot);
            self.outputs.push_back(Output::Event(Event::Refreshed { five_tuple, lifetime }));
        }
        self.write_success(head, Some(&proved.signature), |writer| writer.u32(attribute::LIFETIME, lifetime))
    }
}

/// The LIFETIME of a request, in seconds.
pub(super) fn lifetime_wished(message: &Message<'_>) -> Result<Option<u32>, Code> {
    message.find(attribute::LIFETIME).map(stun::u32_value).transpose().map_err(|_| Code::BadRequest)
}

/// The lifetime that is given, in seconds: at least the default, at most the maximum (RFC 8656 §7.2), and with
/// [`Expiry::Strict`] no longer than the credential.
pub(super) fn granted(
    options: &Options,
    expiry: Expiry,
    wished: Option<u32>,
    credential_expires: Option<u64>,
    now: Now,
) -> u32 {
    let seconds = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    let least = seconds(options.lifetimes.allocation_default);
    let most = seconds(options.lifetimes.allocation_max).max(1);
    let lifetime = wished.unwrap_or(least).max(least).min(most);
    match (expiry, credential_expires) {
        (Expiry::Strict, Some(expires)) => {
            lifetime.min(u32::try_from(expires.saturating_sub(now.unix)).unwrap_or(u32::MAX).max(1))
        }
        (Expiry::Strict | Expiry::Refresh | Expiry::Allocate, _) => lifetime,
    }
}
