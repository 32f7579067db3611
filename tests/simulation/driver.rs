//! Does what the servers say: binds, closes, sends, looks up.

use std::net::SocketAddr;

use iceway::turn::{BindError, Event as ServerEvent, FiveTuple, LookUpId, Output, RelayId, UserKey};

use crate::{
    people,
    world::{Event, Socket, World},
};

impl World {
    /// Does what a server says.
    pub(crate) fn drain(&mut self, server: usize) {
        while let Some(output) = self.servers[server].poll_output() {
            match output {
                Output::Bind { socket, address } => self.bind(server, socket, address),
                Output::Close { socket } => {
                    let closed = self.sockets.remove(&(server, socket));
                    assert!(closed.is_some(), "{socket:?} is closed, but not there");
                    let is_of = |event: &Event| matches!(event, Event::Bound { server: s, socket: o, .. } if (*s, *o) == (server, socket));
                    self.queue.retain(|_, event| !is_of(event));
                }
                Output::Send { to, message } => {
                    self.model.late(to, &message, self.clocks());
                    self.tally.late_answers += u64::from(message.first() != Some(&0));
                    self.answer_client(to, message.into());
                }
                Output::LookUp { id, username } => {
                    let request = self.put_off.take().expect("a look-up is for the request that was put off");
                    self.look_ups.insert((server, id.0), request);
                    let slowness = self.chance.pick(&[0, 50, 5_000, 20_000]);
                    self.after(slowness, Event::LookedUp { server, id, username });
                }
                Output::Disconnect { client } => {
                    assert!(client.is_stream(), "{client:?} has no stream to close")
                }
                Output::Event(event) => self.told(server, &event),
            }
        }
    }

    fn bind(&mut self, server: usize, socket: RelayId, address: SocketAddr) {
        let relays = &self.model.options.relay_addresses;
        assert!(relays.iter().any(|relay| relay.local == address.ip()), "{address} is no relay address");
        let is_taken = self.sockets.values().any(|other| other.address == address);
        assert!(!is_taken, "{address} is bound twice");
        let earlier = self.sockets.insert((server, socket), Socket { address, is_bound: false });
        assert!(earlier.is_none(), "{socket:?} is used twice");
        let failure =
            self.chance.percent(self.bind_failure_percent).then(|| self.chance.pick(&BindError::ALL));
        let result = failure.map_or(Ok(()), Err);
        let slowness = self.chance.pick(&[0, 0, 20, 2_000]);
        self.after(slowness, Event::Bound { server, socket, address, result });
    }

    pub(crate) fn bound(
        &mut self,
        server: usize,
        socket: RelayId,
        address: SocketAddr,
        result: Result<(), BindError>,
    ) {
        match result {
            Ok(()) => {
                let known = self.sockets.get_mut(&(server, socket)).expect("a socket being bound is known");
                assert_eq!(known.address, address);
                known.is_bound = true;
            }
            Err(_) => {
                self.sockets.remove(&(server, socket));
            }
        }
        let now = self.time();
        self.servers[server].relay_bound(now, socket, result);
        self.drain(server);
    }

    fn told(&mut self, server: usize, event: &ServerEvent) {
        if let ServerEvent::Created { id, identity, username, .. } = event {
            assert!(self.ids.insert((server, *id)), "{id} is given twice");
            self.assert_identity(identity, username);
        }
        if let ServerEvent::Closed { id, five_tuple, reason, summary, username, identity, .. } = event {
            assert!(self.ids.contains(&(server, *id)), "{id} was never made");
            self.closed_ids.insert((server, *id));
            self.assert_identity(identity, username);
            self.assert_close(*five_tuple, *reason, summary, username);
        }
    }

    /// A look-up is answered: the request goes on to an answer, to a bind, or into a drop. Too late, it does nothing.
    pub(crate) fn looked_up(&mut self, server: usize, id: LookUpId, username: &str) {
        let password = people::external_password(username);
        let now = self.time();
        let before = self.servers[server].counters().clone();
        let key = password.map(|password| UserKey::Password(password.into()));
        self.servers[server].key_found(now, id, key);
        let Some(request) = self.look_ups.remove(&(server, id.0)) else {
            assert!(self.servers[server].poll_output().is_none(), "a look-up that was given up is answered");
            return assert_eq!(*self.servers[server].counters(), before);
        };
        if self.servers[server].counters().drops.total() > before.drops.total() {
            self.drop_late(request);
        }
        self.drain(server);
    }

    pub(crate) fn give_up_oldest_look_up(&mut self, server: usize) {
        let first = self.look_ups.range((server, 0)..(server, u64::MAX)).next().map(|(key, _)| *key);
        let request =
            first.and_then(|key| self.look_ups.remove(&key)).expect("there is a look-up to give up");
        self.drop_late(request);
    }

    fn drop_late(&mut self, (from, id): (FiveTuple, [u8; 12])) {
        self.tally.dropped_late += 1;
        assert!(self.model.forget(from, id), "what is dropped late was pending");
    }
}
