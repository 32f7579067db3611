//! How busy this node is, for its heartbeats.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{cluster::NodeLoad, config::Config, runtime::Snapshot, telemetry::Process};

/// Descriptors that allocations cannot have: listeners, log, store, HTTP, connections to Redis.
const DESCRIPTORS_RESERVED: u64 = 256;
/// Differences over a shorter time say little; until then the last figures stand.
const WINDOW_MIN: Duration = Duration::from_millis(200);

/// Turns counters into rates.
#[derive(Debug)]
pub(super) struct LoadMeter {
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    at: Instant,
    relayed_bytes: u64,
    processor_seconds: f64,
    bytes_per_second: u64,
    processor: f64,
}

/// What a node may hold and relay, by its configuration.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Capacity {
    allocations: Option<u32>,
    bytes_per_second: Option<u64>,
}

impl Capacity {
    pub(super) const fn of(config: &Config) -> Self {
        Self { allocations: config.limits.allocations_total, bytes_per_second: config.bandwidth.total }
    }
}

impl LoadMeter {
    /// Rates count from now on.
    pub(super) fn new() -> Self {
        let last = Last {
            at: Instant::now(),
            relayed_bytes: 0,
            processor_seconds: Process::read().cpu_seconds.unwrap_or_default(),
            bytes_per_second: 0,
            processor: 0.0,
        };
        Self { last: Mutex::new(last) }
    }

    /// The load since the last time this was asked.
    pub(super) fn measure(&self, snapshot: &Snapshot, process: &Process, capacity: Capacity) -> NodeLoad {
        let (bytes_per_second, processor) = self.rates(relayed_bytes(snapshot), process, Instant::now());
        NodeLoad {
            allocations: snapshot.shards.iter().flatten().map(|shard| shard.allocations as u64).sum(),
            allocations_max: allocations_max(snapshot, process, capacity),
            bytes_per_second,
            bytes_per_second_max: capacity.bytes_per_second.unwrap_or(0),
            processor,
        }
    }

    fn rates(&self, relayed_bytes: u64, process: &Process, now: Instant) -> (u64, f64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = now.saturating_duration_since(last.at);
        if elapsed < WINDOW_MIN {
            return (last.bytes_per_second, last.processor);
        }
        let seconds = elapsed.as_secs_f64();
        // A shard that did not answer in time is missing from the sum: no rate is better than a negative one.
        let bytes = relayed_bytes.saturating_sub(last.relayed_bytes);
        let processor_seconds = process.cpu_seconds.unwrap_or(last.processor_seconds);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let share = (processor_seconds - last.processor_seconds) / seconds / cores as f64;
        *last = Last {
            at: now,
            relayed_bytes: relayed_bytes.max(last.relayed_bytes),
            processor_seconds,
            bytes_per_second: (bytes as f64 / seconds) as u64,
            processor: share.clamp(0.0, 1.0),
        };
        (last.bytes_per_second, last.processor)
    }
}

fn relayed_bytes(snapshot: &Snapshot) -> u64 {
    let shards = snapshot.shards.iter().flatten();
    shards.map(|shard| shard.core.to_peers.bytes + shard.core.to_clients.bytes).sum()
}

/// The smallest of the limit, the relay ports and the descriptors.
fn allocations_max(snapshot: &Snapshot, process: &Process, capacity: Capacity) -> u64 {
    let ports = |is_ipv4: bool| -> u64 {
        let of_family = snapshot.relay_ports.iter().filter(|ports| ports.ip.is_ipv4() == is_ipv4);
        of_family.map(|ports| (ports.in_use + ports.free) as u64).sum()
    };
    let descriptors = process.max_fds.map(|max| max.saturating_sub(DESCRIPTORS_RESERVED));
    let most = [capacity.allocations.map(u64::from), Some(ports(true).max(ports(false))), descriptors];
    most.into_iter().flatten().min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{RelayPorts, ShardSnapshot};

    fn snapshot(allocations: usize, relayed: u64) -> Snapshot {
        let mut shard = ShardSnapshot { allocations, ..ShardSnapshot::default() };
        shard.core.to_peers.bytes = relayed;
        let ip = [127, 0, 0, 1].into();
        Snapshot {
            shards: vec![Some(shard), None],
            relay_ports: vec![RelayPorts { ip, in_use: 1, free: 999 }],
            ..Snapshot::default()
        }
    }

    #[test]
    fn the_smallest_bound_is_the_capacity() {
        let max_fds = |max_fds| Process { max_fds: Some(max_fds), ..Process::default() };
        let limit = |allocations| Capacity { allocations, bytes_per_second: None };
        let snapshot = snapshot(0, 0);
        assert_eq!(allocations_max(&snapshot, &max_fds(1 << 20), limit(None)), 1000);
        assert_eq!(allocations_max(&snapshot, &max_fds(1 << 20), limit(Some(7))), 7);
        assert_eq!(allocations_max(&snapshot, &max_fds(356), limit(None)), 100);
    }

    #[test]
    fn rates_are_differences_over_the_time_between() {
        let meter = LoadMeter::new();
        let start = meter.last.lock().unwrap().at;
        let busy = |seconds| Process { cpu_seconds: Some(seconds), ..Process::default() };
        meter.last.lock().unwrap().processor_seconds = 0.0;
        let cores = std::thread::available_parallelism().unwrap().get() as f64;

        let (bytes, processor) = meter.rates(4000, &busy(cores), start + Duration::from_secs(2));
        assert_eq!((bytes, processor), (2000, 0.5));
        let (bytes, _) = meter.rates(9000, &busy(cores), start + Duration::from_millis(2001));
        assert_eq!(bytes, 2000, "a moment later the last figures stand");
        let (bytes, _) = meter.rates(1000, &busy(cores), start + Duration::from_secs(4));
        assert_eq!(bytes, 0, "a shard that is missing makes no rate");
        let (bytes, _) = meter.rates(5000, &busy(cores), start + Duration::from_secs(5));
        assert_eq!(bytes, 1000);
    }

    #[test]
    fn allocations_are_those_of_all_shards_that_answer() {
        let load = LoadMeter::new().measure(&snapshot(3, 0), &Process::default(), Capacity::default());
        assert_eq!((load.allocations, load.allocations_max), (3, 1000));
    }
}
