//! Relay sockets on their way: from a free port to a bound socket, or to an error response.

use std::{net::IpAddr, time::Duration};

use super::{
    AllocationId, BindError, Cause, Code, Event, Instant, Now, Output, Parity, RelayAddress, RelayId, Server,
    allocation::{Leg, Making, PortWish, is_worth_another_port},
    peers::Family,
    relays::{Relay, RelayState, rank},
    reservations::Reservation,
    response::{Head, Refused},
    server::draw,
};

impl Server {
    /// Takes a port and asks for a socket there: 440 without a relay address of the family, 508 without a free port.
    pub(super) fn open_relay(&mut self, slot: u32, family: Family, ports: PortWish) -> Result<(), Code> {
        let addresses = &self.options.relay_addresses;
        if !addresses.iter().any(|address| Family::of(address.local) == Some(family)) {
            return Err(Code::AddressFamilyNotSupported);
        }
        let Some((address, port)) = self.take_port(slot, family, ports) else {
            self.cause = Some(Cause::NoPort);
            return Err(Code::InsufficientCapacity);
        };
        self.open_at(slot, address, port)
    }

    /// Asks for a socket at a port that has been taken.
    pub(super) fn open_at(&mut self, slot: u32, address: RelayAddress, port: u16) -> Result<(), Code> {
        let (Some(family), Some(id)) = (Family::of(address.local), self.relays.open(slot, address, port))
        else {
            return Err(Code::ServerError);
        };
        let allocation = self.allocations.get_mut(slot).ok_or(Code::ServerError)?;
        allocation.legs[family as usize] = Some(Leg::new(id, allocation.created));
        if let Some(making) = &mut allocation.making {
            making.outstanding += 1;
        }
        self.ask_to_bind(id);
        Ok(())
    }

    fn ask_to_bind(&mut self, socket: RelayId) {
        if let Some(relay) = self.relays.get(socket) {
            self.outputs.push_back(Output::Bind { socket, address: relay.local() });
        }
    }

    /// A free port at the relay address that suits the client best; equal ones take turns.
    fn take_port(&mut self, slot: u32, family: Family, ports: PortWish) -> Option<(RelayAddress, u16)> {
        let listener = usize::from(self.allocations.get(slot)?.five_tuple.listener.0);
        let listening: Option<IpAddr> = self.options.listeners.get(listener).map(|address| address.ip());
        let (parity, pair) = match ports {
            PortWish::Any => (Parity::Any, false),
            PortWish::Even => (Parity::Even, false),
            PortWish::Pair => (Parity::Even, true),
            PortWish::Reserved => return None,
        };
        self.turn = self.turn.wrapping_add(1);
        let addresses = &self.options.relay_addresses;
        for wanted in 0..=2 {
            for step in 0..addresses.len() {
                let Some(address) = addresses.get(self.turn.wrapping_add(step) % addresses.len()) else {
                    continue;
                };
                if Family::of(address.local) == Some(family)
                    && rank(address, listening) == wanted
                    && let Some(port) = self.shared.ports.take(address.local, parity, pair, &mut *self.random)
                {
                    return Some((*address, port));
                }
            }
        }
        None
    }

    /// The result of [`Output::Bind`].
    pub fn relay_bound(&mut self, now: Now, socket: RelayId, result: Result<(), BindError>) {
        if let Err(error) = result {
            self.counters.binds_failed.add(error, 1);
        }
        let Some(relay) = self.relays.get(socket) else { return };
        match (relay.state, result) {
            (RelayState::Abandoned, result) => {
                if result.is_ok() {
                    self.outputs.push_back(Output::Close { socket });
                }
                self.relays.free(socket);
                self.shared.ports.release(relay.address.local, relay.port);
            }
            (RelayState::Binding, Ok(())) => {
                self.relays.set_state(socket, RelayState::Bound);
                self.bind_settled(now, relay.owner);
            }
            (RelayState::Binding, Err(error)) => self.bind_failed(now, socket, relay, error),
            (RelayState::Bound | RelayState::Free, _) => {
                debug_assert!(false, "{socket:?} was not being bound");
            }
        }
    }

    /// Tries another port, or goes without this relay.
    fn bind_failed(&mut self, now: Now, socket: RelayId, relay: Relay, error: BindError) {
        let slot = relay.owner;
        let Some(allocation) = self.allocations.get_mut(slot) else { return };
        let (Some(family), Some(making)) = (allocation.family_of(socket), &mut allocation.making) else {
            return;
        };
        let ports = making.ports;
        let again = is_worth_another_port(error) && ports != PortWish::Reserved && making.tries > 0;
        making.tries = making.tries.saturating_sub(1);
        self.give_back_second(socket, ports);
        self.shared.ports.release(relay.address.local, relay.port);
        if again && let Some((address, port)) = self.take_port(slot, family, ports) {
            self.relays.move_to(socket, address, port);
            self.ask_to_bind(socket);
            return;
        }
        self.cause = Some(if again { Cause::NoPort } else { Cause::Bind(error) });
        self.relays.free(socket);
        if let Some(allocation) = self.allocations.get_mut(slot) {
            allocation.legs[family as usize] = None;
            allocation.answer.address_error = Some((family, Code::InsufficientCapacity));
        }
        self.bind_settled(now, slot);
    }

    /// Gives back the port above, if the relay's port was taken together with it.
    pub(super) fn give_back_second(&mut self, socket: RelayId, ports: PortWish) {
        if ports == PortWish::Pair
            && let Some(relay) = self.relays.get(socket)
        {
            self.shared.ports.release(relay.address.local, relay.port + 1);
        }
    }

    /// One bind less to wait for; after the last one the Allocate is answered.
    fn bind_settled(&mut self, now: Now, slot: u32) {
        let Some(allocation) = self.allocations.get_mut(slot) else { return };
        if let Some(making) = &mut allocation.making
            && making.outstanding > 1
        {
            making.outstanding -= 1;
            return;
        }
        let Some(making) = allocation.making.take() else { return };
        let head = Head {
            from: allocation.five_tuple,
            request: super::Request::Allocate,
            transaction_id: allocation.answer.transaction_id,
            fingerprint: making.fingerprint,
        };
        let is_live = allocation.legs.iter().any(Option::is_some);
        self.making -= 1;
        let answer = if is_live {
            self.go_live(now, slot, &making);
            self.write_allocated(&head, &making.signature, slot)
        } else {
            self.note_unmade(now, slot);
            self.remove(slot);
            Err(Refused::Code(Code::InsufficientCapacity))
        };
        let answer = self.answer_refusal(&head, answer, Some(&making.signature));
        if let Some(message) = answer.ok().and_then(|bytes| self.reply.get(..bytes)) {
            self.outputs.push_back(Output::Send { to: head.from, message: message.into() });
        }
        if is_live {
            self.tell_created(slot);
        }
    }

    fn go_live(&mut self, now: Now, slot: u32, making: &Making) {
        let token = if making.ports == PortWish::Pair { self.reserve_second(slot) } else { None };
        let Some(allocation) = self.allocations.get_mut(slot) else { return };
        allocation.answer.token = token;
        allocation.reserved_until = match token {
            Some(_) => now.monotonic.after(self.options.lifetimes.reservation),
            None => Instant::NEVER,
        };
        let until = now.monotonic.after(Duration::from_secs(allocation.answer.lifetime.into()));
        for leg in allocation.legs.iter_mut().flatten() {
            leg.expires = until;
        }
        self.made += 1;
        allocation.id = AllocationId::new(slot, self.made);
        self.counters.allocations.add(allocation.five_tuple.transport, 1);
        self.counters.created.add(allocation.five_tuple.transport, 1);
        self.arm(slot);
    }

    /// Sets the port above the relay's aside for whoever brings the token.
    fn reserve_second(&mut self, slot: u32) -> Option<[u8; 8]> {
        let allocation = self.allocations.get(slot)?;
        let relay = self.relays.get(allocation.legs.iter().flatten().next()?.id())?;
        let port = relay.port + 1;
        let token = draw(&mut *self.random);
        let reservation = Reservation { address: relay.address, port, username: allocation.username.clone() };
        if !self.shared.reservations.insert(token, reservation) {
            // One in 2⁶⁴: the client gets no token, and asks again or goes without.
            self.shared.ports.release(relay.address.local, port);
            return None;
        }
        Some(token)
    }

    fn tell_created(&mut self, slot: u32) {
        let Some(allocation) = self.allocations.get(slot) else { return };
        let relays = allocation.legs.iter().flatten().filter_map(|leg| self.relays.get(leg.id()));
        self.outputs.push_back(Output::Event(Event::Created {
            id: allocation.id,
            five_tuple: allocation.five_tuple,
            username: allocation.username.clone(),
            identity: self.identity(allocation),
            relayed: relays.map(|relay| relay.relayed()).collect(),
            lifetime: allocation.answer.lifetime,
        }));
    }
}
