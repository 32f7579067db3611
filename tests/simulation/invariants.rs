//! What holds after every step, and when all is over.

use iceway::turn::Server;

use crate::world::World;

/// Nothing lives longer than this after the last request: the longest lifetimes, one after another.
const SILENCE_MILLISECONDS: u64 = 3 * 3_600_000;

impl World {
    pub(crate) fn assert_invariants(&self) {
        for server in &self.servers {
            server.check_invariants();
        }
        let sure = self.model.allocations.iter().filter(|(_, live)| live.is_sure(self.now));
        for (five_tuple, live) in sure {
            assert!(
                self.servers[self.shard(five_tuple)].has_allocation(five_tuple),
                "{five_tuple:?} lost {live:?}"
            );
        }
        let Self { tally, model, .. } = self;
        assert_eq!(tally.inputs, tally.replies + tally.relayed + tally.pending + tally.dropped);
        let settled = tally.late_answers + tally.dropped_late + model.abandoned;
        // Requests that a shut-down finds pending are not answered any more.
        let open = model.waiting() as u64;
        assert!(tally.pending == settled + open, "{tally:?}, {open} are waiting");
        let total = |count: fn(&Server) -> u64| self.servers.iter().map(count).sum::<u64>();
        let responses = total(|server| server.counters().responses.iter().map(|(_, _, count)| count).sum());
        assert_eq!(responses, tally.replies + tally.late_answers, "each answer is counted once");
        assert_eq!(total(|server| server.counters().to_peers.datagrams), tally.relayed);
        assert_eq!(total(|server| server.counters().to_clients.datagrams), tally.to_clients);
    }

    /// Everybody falls silent; what is on its way arrives, and everything runs out.
    pub(crate) fn finish(&mut self) {
        self.is_over = true;
        if self.chance.percent(30) {
            self.shut_down();
        }
        let end = self.now + SILENCE_MILLISECONDS;
        while self.step() {
            assert!(self.now < end, "something does not end: {:?}", self.servers[0].poll_deadline());
        }
        assert!(self.model.waiting() == 0 || self.is_shut_down, "every request has been answered");
        assert_eq!(self.sockets.len(), 0, "every relay socket is closed");
        for server in &self.servers {
            let counters = server.counters();
            assert_eq!((server.allocations(), server.poll_deadline()), (0, None));
            assert_eq!((counters.allocations.total(), counters.permissions, counters.channels), (0, 0, 0));
            assert_eq!(counters.created.total(), counters.closed.total());
        }
        let ports = &self.shared.ports;
        let in_use: usize = ports.addresses().map(|ip| ports.in_use(ip)).sum();
        assert_eq!((in_use, self.shared.quotas.total()), (0, 0), "ports and quotas are given back");
        assert!(self.model.allocations.values().all(|live| !live.is_sure(self.now)));
    }

    fn shut_down(&mut self) {
        self.is_shut_down = true;
        for index in 0..self.servers.len() {
            let now = self.time();
            self.servers[index].start_drain(std::sync::Arc::default());
            self.servers[index].close_all(now);
            self.drain(index);
            assert_eq!(self.servers[index].allocations(), 0);
        }
        self.model.drained_at.get_or_insert(self.now);
        assert!(self.model.allocations.is_empty());
    }
}
