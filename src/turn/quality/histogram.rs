//! Counts by size.

/// Intervals counted by a measure, with their sum, as Prometheus has them.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram<const N: usize> {
    bounds: [f64; N],
    counts: [u64; N],
    /// All of them, those above the highest bound too.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}

impl<const N: usize> Histogram<N> {
    pub(super) const fn new(bounds: [f64; N]) -> Self {
        Self { bounds, counts: [0; N], count: 0, sum: 0.0 }
    }

    pub(super) fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        if let Some(place) = self.bounds.iter().position(|bound| value <= *bound)
            && let Some(count) = self.counts.get_mut(place)
        {
            *count += 1;
        }
    }

    /// Adds another with the same bounds.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
    }

    /// Each bound, and how many were at or below it and not at or below the one before.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        self.bounds.iter().copied().zip(self.counts)
    }
}
