//! The scenarios, by name.

use anyhow::{Result, bail};

use crate::{
    arguments::Arguments,
    load::{Direction, Pace, Shape},
    relaying::Relaying,
    report::Comparison,
    server::Programs,
    set_up,
    topology::{Moderation, Topology, Wire},
};

/// What every scenario runs on.
pub(crate) struct Bench<'a> {
    pub(crate) arguments: &'a Arguments,
    pub(crate) programs: Programs,
    pub(crate) topology: Topology,
}

/// One scenario.
pub(crate) enum Scenario {
    Relaying(Relaying),
    /// Set-up and idle memory, measured together.
    SetUp,
}

impl Scenario {
    pub(crate) fn run(&self, bench: &Bench<'_>) -> Result<Comparison> {
        match self {
            Self::Relaying(relaying) => relaying.run(bench),
            Self::SetUp => set_up::run(bench),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Relaying(relaying) => relaying.name,
            Self::SetUp => set_up::NAME,
        }
    }
}

/// The scenarios the command line asks for.
///
/// # Errors
/// When it asks for one that does not exist; names those that do.
pub(crate) fn chosen(arguments: &Arguments) -> Result<Vec<Scenario>> {
    let names: Vec<_> = all().iter().map(Scenario::name).collect();
    for wanted in &arguments.scenarios {
        if !names.iter().any(|name| name.starts_with(wanted.as_str())) {
            bail!("no scenario `{wanted}`; there are {}", names.join(", "));
        }
    }
    let wanted = |name: &str| {
        arguments.scenarios.is_empty()
            || arguments.scenarios.iter().any(|wanted| name.starts_with(wanted.as_str()))
    };
    Ok(all().into_iter().filter(|scenario| wanted(scenario.name())).collect())
}

fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    let ways = [(Direction::Up, 0), (Direction::Down, 1)];
    for (direction, index) in ways {
        all.push(Relaying {
            name: ["interleaved-up", "interleaved-down"][index],
            about: "64 flows × 160 B, every packet from the next flow",
            shape: Shape { direction, payload_bytes: 160, burst: 1 },
            flows: 64,
            wire: Wire::SinglePackets,
            moderation: Moderation::Everywhere,
            paces: vec![Pace::Rate(80_000), Pace::Window(256)],
            aim: Some(1.15),
        });
    }
    for (direction, index) in ways {
        all.push(Relaying {
            name: ["bursts-up", "bursts-down"][index],
            about: "16 flows, bursts of 16 × 1200 B as single packets back to back, for the server's own GRO to merge",
            shape: Shape { direction, payload_bytes: 1200, burst: 16 },
            flows: 16,
            wire: Wire::SinglePackets,
            moderation: Moderation::LoadOnly,
            paces: vec![Pace::Rate(80_000), Pace::Rate(300_000), Pace::Window(1024)],
            aim: Some(3.0),
        });
    }
    for (direction, index) in ways {
        all.push(Relaying {
            name: ["trains-up", "trains-down"][index],
            about: "16 flows, bursts of 16 × 1200 B that arrive merged",
            shape: Shape { direction, payload_bytes: 1200, burst: 16 },
            flows: 16,
            wire: Wire::Trains,
            moderation: Moderation::Everywhere,
            paces: vec![Pace::Rate(80_000), Pace::Rate(300_000), Pace::Window(1024)],
            aim: Some(10.0),
        });
    }
    all.push(Relaying {
        name: "latency",
        about: "100 flows × 160 B, there and back, 20 000 relayed packets/s, no interrupt moderation",
        shape: Shape { direction: Direction::Echo, payload_bytes: 160, burst: 1 },
        flows: 100,
        wire: Wire::SinglePackets,
        moderation: Moderation::Nowhere,
        paces: vec![Pace::Rate(10_000)],
        aim: None,
    });
    let mut all: Vec<_> = all.into_iter().map(Scenario::Relaying).collect();
    all.push(Scenario::SetUp);
    all
}
