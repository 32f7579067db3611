//! The tables, as Markdown.

use std::{collections::BTreeMap, fmt};

use crate::{calls, idle::Idle, messages, server::Kind, storm};

/// Messages that a call consists of for a relay that knows no calls: offer, ringing, answer, candidates twice, hang-up.
const FRAMES_OF_A_CALL: f64 = 6.0;

/// Values of each round, by what they are.
#[derive(Default)]
struct Values(BTreeMap<&'static str, Vec<f64>>);

/// Everything measured so far.
#[derive(Default)]
pub(crate) struct Report {
    values: BTreeMap<usize, Values>,
    core: Vec<f64>,
}

impl Report {
    pub(crate) fn add_messages(
        &mut self,
        kind: Kind,
        flat_out: &messages::Measured,
        half: &messages::Measured,
    ) {
        self.add(kind, "messages per core", flat_out.per_core());
        self.add(kind, "messages", flat_out.per_second());
        self.add(kind, "half", half.per_second());
        self.add(kind, "p50", half.latency.percentile_us(0.5).unwrap_or(f64::NAN));
        self.add(kind, "p99", half.latency.percentile_us(0.99).unwrap_or(f64::NAN));
    }

    /// Nanoseconds of a message without sockets.
    pub(crate) fn add_core(&mut self, nanoseconds: f64) {
        self.core.push(nanoseconds);
    }

    pub(crate) fn add_idle(&mut self, kind: Kind, idle: &Idle) {
        self.add(kind, "KiB", idle.bytes / 1024.0);
        self.add(kind, "idle", idle.microseconds);
    }

    pub(crate) fn add_new_sessions(&mut self, kind: Kind, (per_core, per_second): (f64, f64)) {
        self.add(kind, "new per core", per_core);
        self.add(kind, "new", per_second);
    }

    pub(crate) fn add_calls(&mut self, kind: Kind, calls: &calls::Measured) {
        self.add(kind, "calls per core", calls.per_core);
        self.add(kind, "calls", calls.per_second);
        self.add(kind, "set-up p50", calls.set_up.percentile_us(0.5).unwrap_or(f64::NAN));
        self.add(kind, "set-up p99", calls.set_up.percentile_us(0.99).unwrap_or(f64::NAN));
    }

    pub(crate) fn add_storm(&mut self, kind: Kind, storm: &storm::Measured) {
        self.add(kind, "storm", storm.sessions as f64);
        self.add(kind, "storm, new", storm.fresh.as_secs_f64());
        self.add(kind, "storm, resumed", storm.elapsed.as_secs_f64());
        self.add(kind, "storm, spent", storm.spent.as_secs_f64());
        self.add(kind, "storm, frames", storm.frames as f64);
        self.add(kind, "storm, lost", storm.lost as f64);
    }

    fn add(&mut self, kind: Kind, what: &'static str, value: f64) {
        self.values.entry(kind as usize).or_default().0.entry(what).or_default().push(value);
    }

    fn of(&self, kind: Kind, what: &str) -> &[f64] {
        self.values.get(&(kind as usize)).and_then(|values| values.0.get(what)).map_or(&[], Vec::as_slice)
    }

    /// The middle of a value over the rounds.
    fn middle(&self, kind: Kind, what: &str) -> f64 {
        median(self.of(kind, what))
    }

    /// The median over the rounds of how much of the bare relay's a server reaches.
    fn share(&self, kind: Kind, what: &str) -> String {
        let Some(beside) = kind.beside() else { return String::new() };
        ratio(self.of(kind, what).iter().zip(self.of(beside, what)).map(|(own, bare)| own / bare))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.messages(out)?;
        self.sessions(out)?;
        self.calls(out)?;
        self.storms(out)?;
        if !self.core.is_empty() {
            writeln!(out, "A 1-kB message takes {:.0} ns before any socket.", median(&self.core))?;
        }
        Ok(())
    }
}

impl Report {
    fn kinds(&self, what: &str) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |&kind| !self.of(kind, what).is_empty())
    }

    fn messages(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kinds("messages").next().is_none() {
            return Ok(());
        }
        writeln!(
            out,
            "| 1-kB messages | per second of its processor time | of the bare relay's (rounds) | per second, flat out | \
             at half of that: per second | p50, µs | p99, µs |\n|---|---:|---|---:|---:|---:|---:|"
        )?;
        for kind in self.kinds("messages") {
            writeln!(
                out,
                "| {kind} | {:.0} | {} | {:.0} | {:.0} | {:.0} | {:.0} |",
                self.middle(kind, "messages per core"),
                self.share(kind, "messages per core"),
                self.middle(kind, "messages"),
                self.middle(kind, "half"),
                self.middle(kind, "p50"),
                self.middle(kind, "p99"),
            )?;
        }
        writeln!(out)
    }

    fn sessions(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kinds("KiB").chain(self.kinds("new")).next().is_none() {
            return Ok(());
        }
        writeln!(
            out,
            "| sessions | idle: KiB each | of the bare relay's | processor time, µs/s each | new per second of its \
             processor time | of the bare relay's (rounds) | new per second |\n|---|---:|---|---:|---:|---|---:|"
        )?;
        for kind in Kind::ALL {
            if self.of(kind, "KiB").is_empty() && self.of(kind, "new").is_empty() {
                continue;
            }
            writeln!(
                out,
                "| {kind} | {:.1} | {} | {:.2} | {:.0} | {} | {:.0} |",
                self.middle(kind, "KiB"),
                self.share(kind, "KiB"),
                self.middle(kind, "idle"),
                self.middle(kind, "new per core"),
                self.share(kind, "new per core"),
                self.middle(kind, "new"),
            )?;
        }
        writeln!(out)
    }

    fn calls(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kinds("calls").next().is_none() {
            return Ok(());
        }
        writeln!(
            out,
            "| calls set up and ended | per second of its processor time | of what the bare relay passes of their six \
             frames | per second, flat out | offer to answer p50, µs | p99, µs |\n|---|---:|---|---:|---:|---:|"
        )?;
        for kind in self.kinds("calls") {
            let bare = kind.beside().map_or(&[][..], |bare| self.of(bare, "messages per core"));
            let calls = self.of(kind, "calls per core");
            writeln!(
                out,
                "| {kind} | {:.0} | {} | {:.0} | {:.0} | {:.0} |",
                median(calls),
                ratio(calls.iter().zip(bare).map(|(calls, bare)| calls * FRAMES_OF_A_CALL / bare)),
                self.middle(kind, "calls"),
                self.middle(kind, "set-up p50"),
                self.middle(kind, "set-up p99"),
            )?;
        }
        writeln!(out)
    }

    fn storms(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kinds("storm").next().is_none() {
            return Ok(());
        }
        writeln!(
            out,
            "| all sockets lost at once | sessions | all resumed after, s | its processor time, s | frames sent meanwhile | \
             lost | as many new sessions took, s |\n|---|---:|---:|---:|---:|---:|---:|"
        )?;
        for kind in self.kinds("storm") {
            writeln!(
                out,
                "| {kind} | {:.0} | {:.2} | {:.2} | {:.0} | {:.0} | {:.2} |",
                self.middle(kind, "storm"),
                self.middle(kind, "storm, resumed"),
                self.middle(kind, "storm, spent"),
                self.middle(kind, "storm, frames"),
                self.of(kind, "storm, lost").iter().sum::<f64>(),
                self.middle(kind, "storm, new"),
            )?;
        }
        writeln!(out)
    }
}

fn ratio(ratios: impl Iterator<Item = f64>) -> String {
    let mut ratios: Vec<f64> = ratios.collect();
    ratios.sort_by(f64::total_cmp);
    match (median(&ratios), ratios.as_slice()) {
        (_, []) => String::new(),
        (middle, [low, .., high]) => format!("{middle:.2} ({low:.2}–{high:.2})"),
        (middle, _) => format!("{middle:.2}"),
    }
}

/// The middle value, or the mean of the two middle ones.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2).copied();
    let lower = sorted.get(sorted.len().saturating_sub(1) / 2).copied();
    lower.zip(upper).map_or(f64::NAN, |(lower, upper)| lower.midpoint(upper))
}
