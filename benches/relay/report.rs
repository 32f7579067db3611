//! Tables of what was measured, as Markdown.

use std::fmt;

/// Which way a number gets better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Lower,
    Higher,
    /// Shown without a ratio.
    Neither,
}

/// What iceway is to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Aim {
    /// So many times better than coturn.
    Ratio(f64),
    /// A value no higher than this.
    AtMost(f64),
}

/// One measured quantity: for each server, in the order of `Kind::ALL`, a value per round.
pub(crate) struct Row {
    label: &'static str,
    better: Better,
    values: [Vec<f64>; 2],
    aim: Option<Aim>,
}

impl Row {
    pub(crate) fn new(label: &'static str, better: Better, values: [Vec<f64>; 2]) -> Self {
        Self { label, better, values, aim: None }
    }

    pub(crate) fn aim(self, aim: Option<Aim>) -> Self {
        Self { aim, ..self }
    }

    /// How many times better iceway was, per round.
    fn ratios(&self) -> Vec<f64> {
        let [iceway, coturn] = &self.values;
        let pairs = iceway.iter().zip(coturn);
        match self.better {
            Better::Lower => pairs.map(|(iceway, coturn)| coturn / iceway).collect(),
            Better::Higher => pairs.map(|(iceway, coturn)| iceway / coturn).collect(),
            Better::Neither => Vec::new(),
        }
    }

    fn verdict(&self) -> String {
        let [iceway, _] = &self.values;
        let (wanted, met) = match self.aim {
            None => return String::new(),
            Some(Aim::Ratio(wanted)) => {
                (format!("≥ {wanted}"), median(&self.ratios()).map(|is| is >= wanted))
            }
            Some(Aim::AtMost(wanted)) => (format!("≤ {wanted}"), median(iceway).map(|is| is <= wanted)),
        };
        match met {
            None => wanted,
            Some(true) => format!("{wanted}: met"),
            Some(false) => format!("{wanted}: **missed**"),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [iceway, coturn] = self.values.each_ref().map(|values| show(median(values)));
        let mut ratios = self.ratios();
        ratios.sort_by(f64::total_cmp);
        let ratio = match (median(&ratios), ratios.as_slice()) {
            (None, _) => String::new(),
            (Some(middle), [low, .., high]) => format!("{middle:.2} ({low:.2}–{high:.2})"),
            (Some(middle), _) => format!("{middle:.2}"),
        };
        writeln!(formatter, "| {} | {iceway} | {coturn} | {ratio} | {} |", self.label, self.verdict())
    }
}

/// The table of one scenario.
pub(crate) struct Comparison {
    text: String,
}

impl Comparison {
    pub(crate) fn new(name: &str, about: &str) -> Self {
        let head = "| | iceway | coturn | times better (rounds) | aim |\n|---|---:|---:|---:|---|\n";
        Self { text: format!("### {name}\n{about}\n\n{head}") }
    }

    /// Begins the rows of one pace.
    pub(crate) fn section(&mut self, title: &str) {
        self.text.push_str(&format!("| **{title}** | | | | |\n"));
    }

    pub(crate) fn add(&mut self, row: Row) {
        self.text.push_str(&row.to_string());
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// The middle value, or the mean of the two middle ones; `None` of nothing.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
    Some(lower.midpoint(upper))
}

fn show(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value.abs() < 10.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.0}"),
    }
}
