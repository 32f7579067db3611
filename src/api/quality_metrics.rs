//! How good calls are, and how much is remembered of those that failed, as metrics.

use crate::{
    runtime::Snapshot,
    telemetry::{Distribution, Sheet, metric},
    turn::{Direction, Histogram, QualityCounters},
};

/// Fills in all of it; zero where nothing is measured.
pub(super) fn fill(sheet: &mut Sheet, snapshot: &Snapshot) {
    let mut sums = <[QualityCounters; 2]>::default();
    for report in snapshot.shards.iter().flatten().filter_map(|shard| shard.quality.as_ref()) {
        for (sum, counters) in sums.iter_mut().zip(&report.counters) {
            sum.merge(counters);
        }
    }
    for (direction, QualityCounters { loss, jitter, heard, passed_over }) in
        Direction::ALL.into_iter().zip(&sums)
    {
        let labels = [direction.as_str()];
        sheet.distribute(&metric::CALL_QUALITY_LOSS, &labels, distribution(loss));
        sheet.distribute(&metric::CALL_QUALITY_JITTER, &labels, distribution(jitter));
        sheet.count(&metric::CALL_QUALITY_PACKETS, &labels, heard.expected);
        sheet.count(&metric::CALL_QUALITY_LOST, &labels, heard.lost);
        sheet.count(&metric::CALL_QUALITY_PASSED_OVER, &labels, *passed_over);
    }
    let history = snapshot.history;
    sheet.count(&metric::EXPLAIN_USERS, &["proved"], history.users as u64);
    sheet.count(&metric::EXPLAIN_USERS, &["claimed"], history.strangers as u64);
    sheet.count(&metric::EXPLAIN_BYTES, &[], history.bytes as u64);
    sheet.count(&metric::EXPLAIN_PASSED_OVER, &[], history.not_kept);
}

fn distribution<const N: usize>(histogram: &Histogram<N>) -> Distribution {
    Distribution { buckets: histogram.buckets().collect(), count: histogram.count, sum: histogram.sum }
}
