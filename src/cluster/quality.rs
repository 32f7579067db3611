//! How good calls are, as other nodes and operators are told.

use serde::{Deserialize, Serialize};

/// How good the RTP streams of an allocation, or of all with one label, came here from where they were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QualityRecord {
    /// Those of clients, on their way to peers.
    pub to_peer: HeardRecord,
    /// Those of peers, on their way to clients.
    pub to_client: HeardRecord,
}

/// What was measured in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeardRecord {
    /// Packets that should have come.
    pub packets: u64,
    /// Packets of these that did not.
    pub lost: u64,
    /// The share of packets that were lost; absent where none was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_ratio: Option<f64>,
    /// The mean jitter in seconds (RFC 3550 §6.4.1); absent where none could be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_seconds: Option<f64>,
    /// Intervals in which jitter was measured.
    pub jitter_intervals: u64,
}

/// The quality of calls under one label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelQuality {
    /// The label of credentials; absent for those without one, and those for whom there was no place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What was measured since the node began, or since it was switched on.
    #[serde(flatten)]
    pub quality: QualityRecord,
}

impl QualityRecord {
    /// Adds what was measured elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.to_peer.merge(&other.to_peer);
        self.to_client.merge(&other.to_client);
    }
}

impl HeardRecord {
    /// What was measured: packets, those lost, and in how many intervals jitter, with its sum in seconds.
    #[must_use]
    pub fn new(packets: u64, lost: u64, jitter_intervals: u64, jitter_sum: f64) -> Self {
        Self {
            packets,
            lost,
            loss_ratio: (packets > 0).then(|| lost as f64 / packets as f64),
            jitter_seconds: (jitter_intervals > 0).then(|| jitter_sum / jitter_intervals as f64),
            jitter_intervals,
        }
    }

    fn merge(&mut self, other: &Self) {
        let sum = |record: &Self| record.jitter_seconds.unwrap_or(0.0) * record.jitter_intervals as f64;
        *self = Self::new(
            self.packets.saturating_add(other.packets),
            self.lost.saturating_add(other.lost),
            self.jitter_intervals.saturating_add(other.jitter_intervals),
            sum(self) + sum(other),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nodes_measured_adds_up() {
        let mut all = HeardRecord::new(100, 10, 1, 0.5);
        all.merge(&HeardRecord::new(300, 10, 3, 0.3));
        all.merge(&HeardRecord::default());

        assert_eq!((all.packets, all.lost, all.loss_ratio), (400, 20, Some(0.05)));
        assert!((all.jitter_seconds.unwrap() - 0.2).abs() < 1e-9, "{all:?}");
        assert_eq!(HeardRecord::new(0, 0, 0, 0.0), HeardRecord::default());
    }
}
