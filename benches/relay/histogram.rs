//! Latencies in bounded memory.

/// Steps per power of two: values are told apart to about 3 %.
const STEPS: usize = 32;

/// Counts of nanoseconds, log-linear.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; 64 * STEPS], total: 0 }
    }

    pub(crate) fn record(&mut self, nanoseconds: u64) {
        if let Some(count) = self.counts.get_mut(slot(nanoseconds)) {
            *count += 1;
            self.total += 1;
        }
    }

    /// The value in microseconds that `share` (0..=1) of all records do not exceed; `None` when there is none.
    pub(crate) fn percentile_us(&self, share: f64) -> Option<f64> {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Some(floor_ns(index) / 1e3);
            }
        }
        None
    }
}

fn slot(nanoseconds: u64) -> usize {
    let value = nanoseconds.max(STEPS as u64);
    let power = value.ilog2() as usize - STEPS.ilog2() as usize;
    power * STEPS + (value >> power) as usize % STEPS
}

fn floor_ns(slot: usize) -> f64 {
    let power = slot / STEPS;
    ((STEPS + slot % STEPS) as f64) * 2f64.powi(power as i32)
}
