//! A snapshot of the node as metrics.

use super::{
    ApiCounts, ClusterFigures, Dialect, Service, SignalCounts, WebhookFigures, call_metrics, cluster_metrics,
    quality_metrics,
};
use crate::{
    cluster::EventFigures,
    runtime::{
        AcceptFailure, PublicAddress, PublicStatus, RuntimeCounters, Snapshot, StreamClose, StreamCounters,
        StreamRefusal, StreamState,
    },
    telemetry::{Process, Sheet, clock_jumps, metric},
    turn::{Code, Counters},
};

/// What is shown at one moment.
#[derive(Clone, Debug, Default)]
pub struct Scrape {
    /// The relay.
    pub snapshot: Snapshot,
    /// Whether it refuses new allocations.
    pub is_draining: bool,
    /// When that began and when it should be over, in seconds since the Unix epoch; zeros while it does not.
    pub drain_times: (u64, u64),
    /// Drains whose time was over before all was gone.
    pub drains_late: u64,
    /// What nodes share and keep.
    pub cluster: ClusterFigures,
    /// Credentials made, by [`Dialect`].
    pub issued: [u64; Dialect::ALL.len()],
    /// The HTTP listener.
    pub api: ApiCounts,
    /// Calls and events.
    pub events: EventFigures,
    /// Deliveries of events.
    pub webhooks: WebhookFigures,
    /// The signaling relay.
    pub signal: SignalCounts,
}

impl Scrape {
    /// What there is now; takes at most a second.
    pub(super) async fn take(service: &Service) -> Self {
        let mut issued = [0; Dialect::ALL.len()];
        for (place, (_, count)) in issued.iter_mut().zip(service.issued()) {
            *place = count;
        }
        service.webhooks.note_dead(service.cluster.dead_events().await.unwrap_or_default());
        Self {
            snapshot: service.node.snapshot().await,
            is_draining: service.node.is_draining(),
            drain_times: service.drain.times(),
            drains_late: service.drain.late(),
            cluster: ClusterFigures::of(&service.cluster),
            issued,
            api: service.access.counters().counts(),
            events: service.cluster.event_figures(),
            webhooks: service.webhooks.figures(),
            signal: service.signal.counts(),
        }
    }
}

/// Everything in the text format of Prometheus. Every value of every label is there, from the start.
///
/// # Errors
/// A contradiction in the table of metrics, which its test rules out.
pub fn exposition(scrape: &Scrape) -> Result<String, prometheus::Error> {
    let Scrape {
        snapshot,
        is_draining,
        drain_times,
        drains_late,
        cluster,
        issued,
        api,
        events,
        webhooks,
        signal,
    } = scrape;
    let mut sheet = Sheet::new();
    let mut core = Counters::default();
    for shard in snapshot.shards.iter().flatten() {
        core.merge(&shard.core);
    }
    node(&mut sheet, snapshot, *is_draining);
    drain(&mut sheet, *drain_times, &core);
    sheet.count(&metric::DRAIN_LATE, &[], *drains_late);
    allocations(&mut sheet, &core);
    traffic(&mut sheet, &core);
    refusals(&mut sheet, &core);
    sockets(&mut sheet, &core, snapshot);
    public(&mut sheet, snapshot);
    ports(&mut sheet, snapshot);
    streams(&mut sheet, snapshot);
    certificate(&mut sheet, snapshot);
    cluster_metrics::fill(&mut sheet, cluster, snapshot);
    for (dialect, count) in Dialect::ALL.into_iter().zip(issued) {
        sheet.count(&metric::CREDENTIALS_ISSUED, &[dialect.as_str()], *count);
    }
    quality_metrics::fill(&mut sheet, snapshot);
    api.fill(&mut sheet);
    call_metrics::fill(&mut sheet, events);
    webhooks.fill(&mut sheet);
    signal.fill(&mut sheet);
    process(&mut sheet, &Process::read());
    sheet.encode()
}

fn node(sheet: &mut Sheet, snapshot: &Snapshot, is_draining: bool) {
    sheet.count(&metric::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1);
    sheet.count(&metric::DRAINING, &[], u64::from(is_draining));
    sheet.count(&metric::SHARDS, &[], snapshot.shards.len() as u64);
    let silent = snapshot.shards.iter().filter(|shard| shard.is_none()).count();
    sheet.count(&metric::SHARDS_UNRESPONSIVE, &[], silent as u64);
}

fn drain(sheet: &mut Sheet, (started, deadline): (u64, u64), core: &Counters) {
    sheet.count(&metric::DRAIN_STARTED, &[], started);
    sheet.count(&metric::DRAIN_DEADLINE, &[], deadline);
    let redirected = core.responses.iter().filter(|(_, code, _)| *code == Code::TryAlternate);
    sheet.count(&metric::DRAIN_REDIRECTED, &[], redirected.map(|(_, _, count)| count).sum());
}

fn allocations(sheet: &mut Sheet, core: &Counters) {
    for (transport, count) in core.allocations.iter() {
        sheet.count(&metric::ALLOCATIONS, &[transport.as_str()], count);
    }
    for (transport, count) in core.created.iter() {
        sheet.count(&metric::ALLOCATIONS_CREATED, &[transport.as_str()], count);
    }
    for (reason, count) in core.closed.iter() {
        sheet.count(&metric::ALLOCATIONS_CLOSED, &[reason.as_str()], count);
    }
    sheet.count(&metric::PERMISSIONS, &[], core.permissions);
    sheet.count(&metric::CHANNELS, &[], core.channels);
}

fn traffic(sheet: &mut Sheet, core: &Counters) {
    for (direction, traffic) in [("to_peer", &core.to_peers), ("to_client", &core.to_clients)] {
        sheet.count(&metric::RELAYED_DATAGRAMS, &[direction], traffic.datagrams);
        sheet.count(&metric::RELAYED_BYTES, &[direction], traffic.bytes);
    }
    for (reason, count) in core.drops.iter() {
        sheet.count(&metric::DATAGRAMS_DROPPED, &[reason.as_str()], count);
    }
}

fn refusals(sheet: &mut Sheet, core: &Counters) {
    for (method, code, count) in core.responses.iter() {
        sheet.count(&metric::STUN_RESPONSES, &[method.as_str(), code.as_str()], count);
    }
    for (reason, count) in core.refusals.iter() {
        sheet.count(&metric::AUTHENTICATION_FAILURES, &[reason.as_str()], count);
    }
    for (quota, count) in core.quota_refusals.iter() {
        sheet.count(&metric::ALLOCATIONS_REFUSED, &[quota.as_str()], count);
    }
    for (rule, count) in core.peers_denied.iter() {
        sheet.count(&metric::PEERS_DENIED, &[rule.as_str()], count);
    }
}

fn public(sheet: &mut Sheet, snapshot: &Snapshot) {
    let PublicStatus { addresses, counts, .. } = &*snapshot.public;
    for PublicAddress { local, told, from, is_confirmed } in addresses {
        let family = if told.is_ipv4() { "ipv4" } else { "ipv6" };
        let labels = [family, &local.to_string(), &told.to_string(), from.as_str()];
        sheet.count(&metric::PUBLIC_ADDRESS, &labels, u64::from(*is_confirmed));
    }
    sheet.count(&metric::PUBLIC_ADDRESS_LOOKS, &["found"], counts.found);
    sheet.count(&metric::PUBLIC_ADDRESS_LOOKS, &["failed"], counts.failed);
    sheet.count(&metric::PUBLIC_ADDRESS_CHANGES, &[], counts.changes);
}

fn ports(sheet: &mut Sheet, snapshot: &Snapshot) {
    for (family, is_ipv4) in [("ipv4", true), ("ipv6", false)] {
        let of_family = || snapshot.relay_ports.iter().filter(|ports| ports.ip.is_ipv4() == is_ipv4);
        let in_use: usize = of_family().map(|ports| ports.in_use).sum();
        let free: usize = of_family().map(|ports| ports.free).sum();
        sheet.count(&metric::RELAY_PORTS, &[family, "in_use"], in_use as u64);
        sheet.count(&metric::RELAY_PORTS, &[family, "free"], free as u64);
    }
}

fn certificate(sheet: &mut Sheet, snapshot: &Snapshot) {
    let Some(status) = snapshot.certificate else { return };
    sheet.count(&metric::TLS_CERTIFICATE_EXPIRY, &[], status.not_after);
    sheet.count(&metric::TLS_CERTIFICATE_RELOADS, &[], status.reloads);
    sheet.count(&metric::TLS_CERTIFICATE_RELOAD_FAILURES, &[], status.reload_failures);
}

fn sockets(sheet: &mut Sheet, core: &Counters, snapshot: &Snapshot) {
    for (reason, count) in core.binds_failed.iter() {
        sheet.count(&metric::RELAY_BINDS_FAILED, &[reason.as_str()], count);
    }
    let sum = |field: fn(&RuntimeCounters) -> u64| -> u64 {
        snapshot.shards.iter().flatten().map(|shard| field(&shard.runtime)).sum()
    };
    sheet.count(&metric::CLIENT_BATCHES, &[], sum(|runtime| runtime.client_batches));
    sheet.count(&metric::RELAY_RECEIVES, &[], sum(|runtime| runtime.relay_receives));
    sheet.count(&metric::SEGMENTED_SENDS, &[], sum(|runtime| runtime.segmented_sends));
    sheet.count(&metric::SEGMENTS_SENT, &[], sum(|runtime| runtime.segments_sent));
    sheet.count(&metric::SEGMENTATION_REFUSED, &[], sum(|runtime| runtime.segmentation_refused));
    sheet.count(&metric::SENDS_FAILED, &["buffer_full"], sum(|runtime| runtime.send_buffer_full));
    sheet.count(&metric::SENDS_FAILED, &["refused"], sum(|runtime| runtime.send_refused));
    sheet.count(&metric::RECEIVES_FAILED, &[], sum(|runtime| runtime.receive_failed));
    sheet.count(&metric::ICMP_ERRORS, &[], sum(|runtime| runtime.icmp_errors));
}

fn streams(sheet: &mut Sheet, snapshot: &Snapshot) {
    let sum = |field: &dyn Fn(&StreamCounters) -> u64| -> u64 {
        snapshot.shards.iter().flatten().map(|shard| field(&shard.runtime.streams)).sum()
    };
    for state in StreamState::ALL {
        let open = sum(&|streams| streams.open.get(state));
        sheet.count(&metric::STREAM_CONNECTIONS, &[state.as_str()], open);
    }
    for reason in StreamRefusal::ALL {
        let refused = sum(&|streams| streams.refused.get(reason));
        sheet.count(&metric::STREAM_CONNECTIONS_REFUSED, &[reason.as_str()], refused);
    }
    for reason in StreamClose::ALL {
        let closed = sum(&|streams| streams.closed.get(reason));
        sheet.count(&metric::STREAM_CONNECTIONS_CLOSED, &[reason.as_str()], closed);
    }
    for reason in AcceptFailure::ALL {
        let failed = sum(&|streams| streams.accept_failures.get(reason));
        sheet.count(&metric::STREAM_ACCEPTS_FAILED, &[reason.as_str()], failed);
    }
    sheet.count(&metric::STREAM_CONNECTIONS_ACCEPTED, &[], sum(&|streams| streams.accepted));
    sheet.count(&metric::STREAM_MESSAGES, &[], sum(&|streams| streams.messages));
    sheet.count(&metric::STREAM_DATAGRAMS_DROPPED, &[], sum(&|streams| streams.queue_full_datagrams));
    sheet.count(&metric::STREAM_BYTES_DROPPED, &[], sum(&|streams| streams.queue_full_bytes));
    sheet.count(&metric::STREAM_ANSWERS_DROPPED, &[], sum(&|streams| streams.answers_dropped));
    sheet.count(&metric::STREAM_PAUSES, &[], sum(&|streams| streams.pauses));
    sheet.count(&metric::TLS_HANDSHAKES, &[], sum(&|streams| streams.handshakes));
}

fn process(sheet: &mut Sheet, process: &Process) {
    let count = |value: Option<u64>| value.map(|value| value as f64);
    for (direction, jumps) in clock_jumps() {
        sheet.count(&metric::CLOCK_JUMPS, &[direction], jumps);
    }
    sheet.set_if(&metric::PROCESS_OPEN_FDS, count(process.open_fds));
    sheet.set_if(&metric::PROCESS_MAX_FDS, count(process.max_fds));
    sheet.set_if(&metric::PROCESS_RESIDENT_MEMORY, count(process.resident_bytes));
    sheet.set_if(&metric::PROCESS_VIRTUAL_MEMORY, count(process.virtual_bytes));
    sheet.set_if(&metric::PROCESS_CPU_SECONDS, process.cpu_seconds);
    sheet.set_if(&metric::PROCESS_THREADS, count(process.threads));
    sheet.set_if(&metric::PROCESS_START_TIME, process.started);
}
