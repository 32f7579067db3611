//! How allocations and their relays end.

use super::{
    AllocationSummary, CloseReason, Event, Expiry, Instant, Now, Output, RelayId, Server,
    allocation::Allocation, peers::Family, relays::RelayState,
};

/// The most allocations that end in one call: the rest is due at once again.
const DUE_MAX: usize = 256;

impl Server {
    /// The time [`Server::poll_deadline`] named has come. Calling it early does no harm.
    pub fn handle_deadline(&mut self, now: Now) {
        for _ in 0..DUE_MAX {
            let Some(slot) = self.timers.pop_due(now.monotonic) else { break };
            self.handle_due(now, slot);
        }
        self.expire_look_ups(now);
    }

    /// Ends every allocation.
    pub fn close_all(&mut self, now: Now) {
        for slot in 0..self.allocations.slots() {
            self.close(now, slot, CloseReason::Shutdown);
        }
    }

    /// Sets the deadline of a live allocation to the first thing that happens to it by itself.
    pub(super) fn arm(&mut self, slot: u32) {
        let Some(allocation) = self.allocations.get(slot) else { return };
        let first = allocation.first_expiry();
        self.timers.set(slot, first.min(allocation.reserved_until));
    }

    /// Lets happen what is due, so that a request finds the allocation as it is at this instant.
    pub(super) fn settle(&mut self, now: Now, slot: u32) {
        if self.timers.get(slot).is_some_and(|at| at <= now.monotonic) {
            self.handle_due(now, slot);
        }
    }

    fn handle_due(&mut self, now: Now, slot: u32) {
        let Some(allocation) = self.allocations.get_mut(slot) else { return };
        if allocation.reserved_until <= now.monotonic {
            allocation.reserved_until = Instant::NEVER;
            let token = allocation.answer.token;
            self.give_back(token);
        }
        let Some(allocation) = self.allocations.get(slot) else { return };
        let is_over = |expires: Instant| expires <= now.monotonic;
        if is_over(allocation.last_expiry()) {
            let is_strict = allocation.expiry(self.options.expiry) == Expiry::Strict;
            let credential_is_over =
                allocation.credential_expires().is_some_and(|expires| expires <= now.unix);
            let reason = if is_strict && credential_is_over {
                CloseReason::CredentialExpired
            } else {
                CloseReason::Expired
            };
            self.close(now, slot, reason);
            return;
        }
        let ended = Family::BOTH.map(|family| allocation.leg(family).is_some_and(|leg| is_over(leg.expires)));
        for (family, ended) in Family::BOTH.into_iter().zip(ended) {
            if ended {
                self.close_family(now, slot, family, CloseReason::Expired);
            }
        }
        self.arm(slot);
    }

    /// Ends one relay of an allocation, with the permissions and channels of its family, and the allocation with the
    /// last of them (RFC 8656 §8.1).
    pub(super) fn close_family(&mut self, now: Now, slot: u32, family: Family, reason: CloseReason) {
        let Some(allocation) = self.allocations.get_mut(slot) else { return };
        let Some(leg) = allocation.legs[family as usize].take() else { return };
        if allocation.legs.iter().all(Option::is_none) {
            allocation.legs[family as usize] = Some(leg);
            self.close(now, slot, reason);
            return;
        }
        let before = allocation.permissions.len();
        let is_other = |ip: std::net::IpAddr| Family::of(ip) != Some(family);
        allocation.permissions.retain(|permission| is_other(permission.ip.to_ip()));
        self.counters.permissions -= (before - allocation.permissions.len()) as u64;
        self.retain_channels(slot, |channel| is_other(channel.ip.to_ip()));
        self.close_relay(leg.id());
        self.arm(slot);
    }

    /// Ends an allocation, live or being made, and gives back all it held.
    pub(super) fn close(&mut self, now: Now, slot: u32, reason: CloseReason) {
        let Some(allocation) = self.remove(slot) else { return };
        self.timers.cancel(slot);
        if let Some(making) = &allocation.making {
            self.making -= 1;
            for leg in allocation.legs.iter().flatten() {
                self.give_back_second(leg.id(), making.ports);
            }
        }
        for leg in allocation.legs.iter().flatten() {
            self.close_relay(leg.id());
        }
        if allocation.reserved_until != Instant::NEVER {
            self.give_back(allocation.answer.token);
        }
        if allocation.is_live() {
            self.tell_closed(now, *allocation, reason);
        }
    }

    /// Takes an allocation out.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Box<Allocation>> {
        let allocation = self.allocations.remove(slot)?;
        self.keys.uncount(allocation.key_ref);
        if let Some(quality) = &mut self.quality {
            quality.ended(slot);
        }
        Some(allocation)
    }

    fn tell_closed(&mut self, now: Now, allocation: Allocation, reason: CloseReason) {
        self.note_ended(now, &allocation, reason);
        let identity = self.identity(&allocation);
        let Allocation { id, five_tuple, username, to_peers, to_client, created, .. } = allocation;
        self.counters.allocations.subtract(five_tuple.transport, 1);
        self.counters.closed.add(reason, 1);
        self.counters.permissions -= allocation.permissions.len() as u64;
        self.counters.channels -= allocation.channels.len() as u64;
        let summary = AllocationSummary {
            to_peer_bytes: to_peers.bytes,
            to_client_bytes: to_client.bytes,
            to_peer_datagrams: to_peers.datagrams,
            to_client_datagrams: to_client.datagrams,
            seconds: now.monotonic.since(created).as_secs(),
        };
        let started_unix = allocation.created_unix.into();
        let event = Event::Closed { id, five_tuple, username, identity, started_unix, reason, summary };
        self.outputs.push_back(Output::Event(event));
        let by_force = match reason {
            CloseReason::CredentialExpired
            | CloseReason::Revoked
            | CloseReason::Closed
            | CloseReason::Shutdown => true,
            CloseReason::Expired | CloseReason::Refreshed | CloseReason::ClientClosed => false,
        };
        if by_force && five_tuple.is_stream() {
            self.outputs.push_back(Output::Disconnect { client: five_tuple });
        }
    }

    /// Closes a relay socket, or sees to it that it is closed once its bind has been answered.
    pub(super) fn close_relay(&mut self, id: RelayId) {
        let Some(relay) = self.relays.get(id) else { return };
        match relay.state {
            RelayState::Binding => self.relays.set_state(id, RelayState::Abandoned),
            RelayState::Bound => {
                let local = relay.local();
                self.outputs.push_back(Output::Close { socket: id });
                self.relays.free(id);
                self.shared.ports.release(local.ip(), local.port());
            }
            RelayState::Abandoned | RelayState::Free => {}
        }
    }

    /// Gives a reserved port back, unless somebody has come for it.
    fn give_back(&mut self, token: Option<[u8; 8]>) {
        if let Some(reservation) = token.and_then(|token| self.shared.reservations.expire(token)) {
            self.shared.ports.release(reservation.address.local, reservation.port);
        }
    }
}
