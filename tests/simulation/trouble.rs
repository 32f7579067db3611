//! Attackers and operators.

use iceway::turn::FiveTuple;

use crate::{
    people, setup,
    world::{Event, World},
};

impl World {
    /// Somebody sends what they should not.
    pub(crate) fn attack(&mut self) {
        if self.is_over {
            return;
        }
        match self.chance.below(7) {
            0 => self.replay_from_elsewhere(),
            1 => self.replay(),
            2 | 3 => self.mangle(),
            4 => self.send_noise(),
            5 => self.speak_unasked(),
            _ => self.share_a_token(),
        }
        self.after(4_000, Event::Attack);
    }

    fn replay_from_elsewhere(&mut self) {
        let Some((_, bytes)) = self.some_capture() else { return };
        let thief = if self.chance.percent(50) {
            self.five_tuple()
        } else {
            let index = self.chance.index(self.clients.len());
            self.clients[index].five_tuple
        };
        self.after(50, Event::ToServer { from: thief, bytes });
    }

    fn replay(&mut self) {
        let Some((from, bytes)) = self.some_capture() else { return };
        let is_gone = self.clients.iter().all(|client| client.five_tuple != from);
        if !(is_gone && from.is_stream()) {
            self.after(50, Event::ToServer { from, bytes });
        }
    }

    /// Changes bits, cuts or lengthens a message of a client, under its own address.
    fn mangle(&mut self) {
        let Some((from, mut bytes)) = self.some_capture() else { return };
        match self.chance.below(4) {
            0 => bytes.truncate(self.chance.index(bytes.len() + 1)),
            1 => bytes.extend_from_slice(&self.chance.bytes::<7>()),
            _ if bytes.is_empty() => {}
            _ => {
                for _ in 0..=self.chance.below(3) {
                    let index = self.chance.index(bytes.len());
                    bytes[index] ^= 1 << self.chance.below(8);
                }
            }
        }
        self.after(50, Event::ToServer { from, bytes });
    }

    fn send_noise(&mut self) {
        let length = self.chance.index(200);
        let mut bytes: Vec<u8> = (0..length).map(|_| self.chance.next() as u8).collect();
        if let (Some(first), true) = (bytes.first_mut(), self.chance.percent(60)) {
            *first &= 0x43;
        }
        let from = self.five_tuple();
        self.after(50, Event::ToServer { from, bytes });
    }

    /// A peer that may or may not have a permission talks to a relay socket.
    fn speak_unasked(&mut self) {
        let mut sockets: Vec<_> = self.sockets.values().map(|socket| socket.address).collect();
        if sockets.is_empty() {
            return;
        }
        // The order of a hash map must not decide.
        sockets.sort_unstable();
        let to = self.chance.pick(&sockets);
        let mut peers = people::good_peers();
        peers.extend(people::bad_peers());
        peers.extend(sockets);
        peers.retain(|peer| peer.is_ipv4() == to.is_ipv4());
        let from = self.chance.pick(&peers);
        self.speak(to, from);
    }

    fn share_a_token(&mut self) {
        let tokens: Vec<[u8; 8]> = self.clients.iter().flat_map(|client| client.tokens().to_vec()).collect();
        if let Some(token) = tokens.last() {
            let index = self.chance.index(self.clients.len());
            self.clients[index].learns(*token);
        }
    }

    fn some_capture(&mut self) -> Option<(FiveTuple, Vec<u8>)> {
        let length = self.captured.len();
        (length > 0).then(|| self.captured[self.chance.index(length)].clone())
    }

    /// The operator, the clock, the weather.
    pub(crate) fn trouble(&mut self) {
        if self.is_over {
            return;
        }
        match self.chance.below(8) {
            0..=2 => self.jump(),
            3..=5 => self.reload(),
            6 => {
                if self.chance.percent(20) {
                    self.model.drained_at.get_or_insert(self.now);
                    self.servers.iter_mut().for_each(|server| server.start_drain(std::sync::Arc::default()));
                }
            }
            _ => {
                let index = self.chance.index(self.clients.len());
                let from = self.clients[index].five_tuple;
                if from.is_stream() {
                    self.close_stream(from);
                }
            }
        }
        self.after(300_000, Event::Trouble);
    }

    /// Somebody is revoked, or thrown out; a secret changes.
    pub(crate) fn operate(&mut self) {
        if self.is_over {
            return;
        }
        match self.chance.below(10) {
            0..=5 => self.revoke(),
            6..=7 => self.close_one(),
            _ => self.change_secrets(),
        }
        self.after(60_000, Event::Operation);
    }

    /// The wall clock is set, forwards or backwards.
    fn jump(&mut self) {
        let by = self.chance.pick(&[-100_000, -4_000, -90, -1, 1, 90, 4_000, 100_000]);
        self.unix_offset += by;
    }

    fn reload(&mut self) {
        self.is_policy_strict = self.chance.percent(50);
        self.directory.is_reduced = self.chance.percent(30);
        let clocks = self.clocks();
        self.model.reload(self.is_policy_strict.then(setup::denied_after_reload), clocks);
        let options = &mut self.model.options;
        options.external_users = self.chance.percent(70);
        options.bandwidth.per_allocation = self.chance.percent(20).then(|| 100 + self.chance.below(10_000));
        self.replace_options();
    }
}
