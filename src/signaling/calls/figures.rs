//! What is counted of calls, for metrics.

use std::time::Duration;

use super::super::{CallState, Outcome};

/// What a node counted of the calls it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFigures {
    /// Calls that ring at present.
    pub ringing: u64,
    /// Calls that were answered and are not over.
    pub active: u64,
    /// From the offer to the first device that rang.
    pub ringing_after: Histogram,
    /// From then (or the offer, if none said so) to the answer.
    pub answer_after: Histogram,
    /// From the answer to the end, of calls that were answered.
    pub lasted: Histogram,
    outcomes: [u64; OUTCOMES.len()],
}

/// How often something took how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// Upper ends of the buckets, in milliseconds.
    pub bounds_millis: &'static [u64; BUCKETS],
    /// For each of these how often it took at most that, and not at most the one before.
    pub buckets: [u64; BUCKETS],
    /// How often in all.
    pub count: u64,
    /// How many milliseconds in all.
    pub sum_millis: u64,
}

/// Of each histogram.
const BUCKETS: usize = 12;
/// Of what people wait for.
const WAITS: [u64; BUCKETS] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000, 30_000, 60_000];
/// Of calls: from ten seconds to eight hours.
const TALKS: [u64; BUCKETS] = [
    10_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_200_000, 1_800_000, 3_600_000, 7_200_000,
    14_400_000, 28_800_000,
];

/// In the order they are counted.
const OUTCOMES: [Outcome; 6] = [
    Outcome::Completed,
    Outcome::Rejected,
    Outcome::Cancelled,
    Outcome::Missed,
    Outcome::Failed,
    Outcome::Glare,
];

impl Default for CallFigures {
    fn default() -> Self {
        Self {
            ringing: 0,
            active: 0,
            ringing_after: Histogram::new(&WAITS),
            answer_after: Histogram::new(&WAITS),
            lasted: Histogram::new(&TALKS),
            outcomes: [0; OUTCOMES.len()],
        }
    }
}

impl CallFigures {
    /// How many calls came out how.
    pub fn outcomes(&self) -> impl Iterator<Item = (Outcome, u64)> + '_ {
        OUTCOMES.into_iter().zip(self.outcomes)
    }

    /// A call enters a state, or leaves it.
    pub(super) fn count(&mut self, state: CallState, is_entered: bool) {
        let gauge = match state {
            CallState::Ringing => &mut self.ringing,
            CallState::Active => &mut self.active,
            CallState::Ended => return,
        };
        *gauge = if is_entered { gauge.saturating_add(1) } else { gauge.saturating_sub(1) };
    }

    pub(super) fn came_out(&mut self, outcome: Outcome) {
        for (known, count) in OUTCOMES.into_iter().zip(&mut self.outcomes) {
            if known == outcome {
                *count += 1;
            }
        }
    }
}

impl Histogram {
    /// Nothing yet. The upper ends of the buckets are in milliseconds, each larger than the one before.
    #[must_use]
    pub const fn new(bounds_millis: &'static [u64; BUCKETS]) -> Self {
        Self { bounds_millis, buckets: [0; BUCKETS], count: 0, sum_millis: 0 }
    }

    pub(super) fn add(&mut self, took: Duration) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let bucket = self.bounds_millis.iter().zip(&mut self.buckets).find(|(end, _)| millis <= **end);
        if let Some((_, count)) = bucket {
            *count += 1;
        }
        self.count += 1;
        self.sum_millis = self.sum_millis.saturating_add(millis);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_one_bucket_and_the_longest_in_none() {
        let mut histogram = Histogram::new(&WAITS);
        for millis in [0, 5, 6, 60_000, 60_001] {
            histogram.add(Duration::from_millis(millis));
        }
        assert_eq!((histogram.count, histogram.sum_millis), (5, 120_012));
        assert_eq!((histogram.buckets[0], histogram.buckets[1], histogram.buckets[11]), (2, 1, 1));
        assert_eq!(histogram.buckets.iter().sum::<u64>(), 4);
    }

    #[test]
    fn outcomes_are_counted_apart() {
        let mut figures = CallFigures::default();
        figures.came_out(Outcome::Missed);
        figures.came_out(Outcome::Missed);
        let counted: Vec<_> = figures.outcomes().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(Outcome::Missed, 2)]);
    }
}
