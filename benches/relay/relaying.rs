//! Scenarios that relay packets.

use anyhow::{Context, Result};

use crate::{
    load::{Direction, Flows, Outcome, Pace, Shape},
    report::{Aim, Better, Comparison, Row},
    scenario::Bench,
    server::{Kind, Server},
    topology::{Moderation, Wire},
};

/// A scenario whose measure is the processor time per relayed packet.
pub(crate) struct Relaying {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) shape: Shape,
    pub(crate) flows: usize,
    pub(crate) wire: Wire,
    pub(crate) moderation: Moderation,
    pub(crate) paces: Vec<Pace>,
    /// How many times coturn's packets per processor second when both work flat out; at a given rate, never fewer.
    pub(crate) aim: Option<f64>,
}

/// What was measured, by server in the order of [`Kind::ALL`], then by pace.
type Outcomes = [Vec<Vec<Outcome>>; 2];

impl Relaying {
    /// Runs both servers in turn, as many rounds as asked. Only one lives at a time: sockets that ask for merged
    /// datagrams make the kernel do more for everybody's.
    pub(crate) fn run(&self, bench: &Bench<'_>) -> Result<Comparison> {
        bench.topology.set_wire(self.wire)?;
        bench.topology.set_moderation(self.moderation)?;
        let mut outcomes = Kind::ALL.map(|_| vec![Vec::new(); self.paces.len()]);
        let mut order = [0, 1];
        for _ in 0..bench.arguments.rounds() {
            for (pace_index, pace) in self.paces.iter().enumerate() {
                for index in order {
                    let kind = Kind::ALL[index];
                    if bench.arguments.servers().contains(&kind) {
                        let outcome = self.measure(bench, kind, *pace);
                        let outcome = outcome.with_context(|| format!("{}: {kind}", self.name))?;
                        outcomes[index][pace_index].push(outcome);
                    }
                }
            }
            // Whoever went first goes last.
            order.reverse();
        }
        Ok(self.compare(&outcomes))
    }

    fn measure(&self, bench: &Bench<'_>, kind: Kind, pace: Pace) -> Result<Outcome> {
        let server = Server::start(kind, &bench.programs, &bench.topology)?;
        let mut flows = Flows::open(&bench.topology, server.address(), self.flows, self.shape)?;
        let mut span = bench.arguments.span();
        if self.aim.is_none() {
            // The tail of the latency takes more packets to see.
            span.measured *= 2;
        }
        flows.run(pace, span, &server.meter())
    }

    fn compare(&self, outcomes: &Outcomes) -> Comparison {
        let mut comparison = Comparison::new(self.name, self.about);
        for (index, pace) in self.paces.iter().enumerate() {
            comparison.section(&self.describe(*pace));
            self.add_rows(&mut comparison, *pace, outcomes.each_ref().map(|of| of[index].as_slice()));
        }
        comparison
    }

    fn describe(&self, pace: Pace) -> String {
        let hops = if self.shape.direction == Direction::Echo { 2 } else { 1 };
        match pace {
            Pace::Rate(rate) => format!("{} packets/s offered", rate * hops),
            Pace::Window(window) => format!("flat out, {window} packets under way"),
        }
    }

    fn add_rows(&self, comparison: &mut Comparison, pace: Pace, outcomes: [&[Outcome]; 2]) {
        let per_packet = |outcome: &Outcome, ns: u64| ns as f64 / outcome.relayed.max(1) as f64;
        let row = |label, better, value: &dyn Fn(&Outcome) -> f64| {
            Row::new(label, better, outcomes.map(|of| of.iter().map(value).collect()))
        };
        let total = row("processor time, ns/packet", Better::Lower, &|outcome| {
            per_packet(outcome, outcome.spent.total_ns())
        });
        let aim = match pace {
            Pace::Rate(_) => self.aim.map(|_| Aim::Ratio(1.0)),
            Pace::Window(_) => self.aim.map(Aim::Ratio),
        };
        comparison.add(total.aim(aim));
        comparison.add(row("– server, ns/packet", Better::Lower, &|o| per_packet(o, o.spent.server_ns)));
        comparison
            .add(row("– receive path, ns/packet", Better::Lower, &|o| per_packet(o, o.spent.receive_ns)));
        comparison.add(row("relayed, packets/s", Better::Higher, &|o| o.relayed as f64 / o.seconds));
        if let Pace::Rate(_) = pace {
            comparison.add(row("offered, packets/s", Better::Neither, &|o| o.sent as f64 / o.seconds));
        }
        comparison.add(row("lost, %", Better::Neither, &|o| {
            100.0 * (1.0 - o.delivered as f64 / o.sent.max(1) as f64)
        }));
        // On their way back to the load generator bursts wait for one another (see README): no latency to speak of.
        if self.shape.burst > 1 {
            return;
        }
        for (label, share) in
            [("latency p50, µs", 0.5), ("latency p99, µs", 0.99), ("latency p99.9, µs", 0.999)]
        {
            let percentile = |outcome: &Outcome| outcome.latency.percentile_us(share);
            let values = outcomes.map(|of| of.iter().filter_map(percentile).collect());
            let judged = self.aim.is_none() && share == 0.99;
            comparison.add(Row::new(label, Better::Lower, values).aim(judged.then_some(Aim::Ratio(1.0))));
        }
    }
}
