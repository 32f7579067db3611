//! The table, as Markdown.

use std::{collections::BTreeMap, fmt};

use crate::{load::Measured, server::Kind};

/// Values of each round.
#[derive(Default)]
struct Values {
    per_core: Vec<f64>,
    per_second: Vec<f64>,
    paced: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

/// Everything measured so far.
#[derive(Default)]
pub(crate) struct Table(BTreeMap<usize, Values>);

impl Table {
    /// Takes in one round of one server.
    pub(crate) fn add(&mut self, kind: Kind, flat_out: &Measured, half: &Measured) {
        let values = self.0.entry(kind as usize).or_default();
        values.per_core.push(flat_out.per_core());
        values.per_second.push(flat_out.per_second());
        values.paced.push(half.per_second());
        values.p50.push(half.latency.percentile_us(0.5).unwrap_or(f64::NAN));
        values.p99.push(half.latency.percentile_us(0.99).unwrap_or(f64::NAN));
    }

    /// The median over the rounds of how much of the bare handler's answers per core a server reaches.
    fn share(&self, kind: Kind) -> String {
        let own = self.0.get(&(kind as usize));
        let bare = kind.beside().and_then(|bare| self.0.get(&(bare as usize)));
        let (Some(own), Some(bare)) = (own, bare) else { return String::new() };
        let mut ratios: Vec<f64> =
            own.per_core.iter().zip(&bare.per_core).map(|(own, bare)| own / bare).collect();
        ratios.sort_by(f64::total_cmp);
        match (median(&ratios), ratios.as_slice()) {
            (middle, [low, .., high]) => format!("{middle:.2} ({low:.2}–{high:.2})"),
            (middle, _) => format!("{middle:.2}"),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "| | answers per second of its processor time | of the bare handler's (rounds) | answered per second, \
             flat out | at half of that: per second | p50, µs | p99, µs |\n|---|---:|---|---:|---:|---:|---:|"
        )?;
        for kind in Kind::ALL {
            let Some(values) = self.0.get(&(kind as usize)) else { continue };
            writeln!(
                formatter,
                "| {kind} | {:.0} | {} | {:.0} | {:.0} | {:.0} | {:.0} |",
                median(&values.per_core),
                self.share(kind),
                median(&values.per_second),
                median(&values.paced),
                median(&values.p50),
                median(&values.p99),
            )?;
        }
        Ok(())
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
