//! Every metric in one table, and a sheet to fill in at each scrape.

use prometheus::{
    TextEncoder,
    core::{Collector, Desc},
    proto,
};

/// Whether a metric only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, until the process ends.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How often something was how large.
    Histogram,
}

/// How often something was how large: what a histogram shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// Upper ends of the buckets, each larger than the one before, and how often it was at most that, and not at most the
    /// one before.
    pub buckets: Vec<(f64, u64)>,
    /// How often in all.
    pub count: u64,
    /// All of it together.
    pub sum: f64,
}

/// One metric: name, type, labels and meaning.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name, with its unit.
    pub name: &'static str,
    /// See [`Kind`].
    pub kind: Kind,
    /// The names of its labels. Their values come from closed sets, never from clients.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident: $kind:ident $name:literal $labels:expr, $help:literal;)+) => {
        /// The metrics by name.
        pub mod metric {
            use super::{Kind, Metric};

            $(
                #[doc = $help]
                pub const $constant: Metric =
                    Metric { name: $name, kind: Kind::$kind, labels: &$labels, help: $help };
            )+
        }

        /// Every metric there is, in the order of the reference.
        pub const METRICS: &[Metric] = &[$(metric::$constant),+];
    };
}

metrics! {
    BUILD_INFO: Gauge "iceway_build_info" ["version"], "Always 1; the label is the version that runs.";
    DRAINING: Gauge "iceway_draining" [], "1 while the node sends new clients to other nodes, else 0.";
    DRAIN_STARTED: Gauge "iceway_drain_started_timestamp_seconds" [], "When the node began to send its clients elsewhere, in seconds since the Unix epoch; 0 while it serves.";
    DRAIN_DEADLINE: Gauge "iceway_drain_deadline_timestamp_seconds" [], "When that should be over (runtime.drain_timeout), in seconds since the Unix epoch; 0 while it serves.";
    DRAIN_LATE: Counter "iceway_drain_deadlines_missed_total" [], "Drains whose time (runtime.drain_timeout) was over while allocations or signaling sockets were left.";
    DRAIN_REDIRECTED: Counter "iceway_drain_redirected_total" [], "Allocations that were not made because the client was sent to another node (300).";
    SHARDS: Gauge "iceway_shards" [], "Threads that relay.";
    SHARDS_UNRESPONSIVE: Gauge "iceway_shards_unresponsive" [], "Threads that did not answer within a second; their counters are missing from this scrape.";

    ALLOCATIONS: Gauge "iceway_allocations" ["transport"], "Live allocations by the transport of their client.";
    ALLOCATIONS_CREATED: Counter "iceway_allocations_created_total" ["transport"], "Allocations made by the transport of their client.";
    ALLOCATIONS_CLOSED: Counter "iceway_allocations_closed_total" ["reason"], "Allocations ended by the reason.";
    PERMISSIONS: Gauge "iceway_permissions" [], "Permissions held by live allocations.";
    CHANNELS: Gauge "iceway_channels" [], "Channel bindings held by live allocations.";
    PUBLIC_ADDRESS: Gauge "iceway_public_address_confirmed" ["family", "local", "ip", "from"], "What clients are told of each relay address, and where that is known from: own, configured, stun, dns or interface; 1, or 0 if it is only the last known one because nothing is found any more.";
    PUBLIC_ADDRESS_LOOKS: Counter "iceway_public_address_looks_total" ["result"], "Times that a public address was looked for, by family, found or failed; only relay.external with stun:, dns: or interface: has any looked for.";
    PUBLIC_ADDRESS_CHANGES: Counter "iceway_public_address_changes_total" [], "Times that clients were told another public address from then on.";
    RELAY_PORTS: Gauge "iceway_relay_ports" ["family", "state"], "Ports of the relay range by address family, in use or free, over all relay addresses.";
    RELAY_BINDS_FAILED: Counter "iceway_relay_binds_failed_total" ["reason"], "Relay sockets that could not be bound by the reason.";

    RELAYED_DATAGRAMS: Counter "iceway_relayed_datagrams_total" ["direction"], "Datagrams relayed by direction.";
    RELAYED_BYTES: Counter "iceway_relayed_bytes_total" ["direction"], "Payload relayed in bytes by direction, without STUN and ChannelData headers.";
    DATAGRAMS_DROPPED: Counter "iceway_datagrams_dropped_total" ["reason"], "Datagrams and messages dropped by the reason.";
    STUN_RESPONSES: Counter "iceway_stun_responses_total" ["method", "code"], "Requests answered by method and error code, or success.";
    AUTHENTICATION_FAILURES: Counter "iceway_authentication_failures_total" ["reason"], "Requests refused for their credentials by the reason; stale_nonce is part of ordinary use.";
    ALLOCATIONS_REFUSED: Counter "iceway_allocations_refused_total" ["quota"], "Allocations refused because a quota is used up.";
    PEERS_DENIED: Counter "iceway_peers_denied_total" ["rule"], "Peers refused by the built-in list or by peers.deny.";

    CLIENT_BATCHES: Counter "iceway_client_batches_total" [], "Batches of datagrams received from client sockets.";
    RELAY_RECEIVES: Counter "iceway_relay_receives_total" [], "Receives from relay sockets that brought something.";
    SEGMENTED_SENDS: Counter "iceway_segmented_sends_total" [], "Sends that handed the kernel several datagrams as one object.";
    SEGMENTS_SENT: Counter "iceway_segments_sent_total" [], "Datagrams sent within such objects.";
    SEGMENTATION_REFUSED: Counter "iceway_segmented_sends_refused_total" [], "Such sends that the kernel refused, so that the datagrams went one by one.";
    SENDS_FAILED: Counter "iceway_sends_failed_total" ["reason"], "Datagrams that the kernel did not take by the reason.";
    RECEIVES_FAILED: Counter "iceway_receives_failed_total" [], "Receives that failed for another reason than having nothing to receive.";
    ICMP_ERRORS: Counter "iceway_icmp_errors_total" [], "ICMP errors that came back to relay sockets.";

    STREAM_CONNECTIONS: Gauge "iceway_stream_connections" ["state"], "TCP and TLS connections by how far they have come.";
    STREAM_CONNECTIONS_ACCEPTED: Counter "iceway_stream_connections_accepted_total" [], "TCP and TLS connections accepted, those that were then refused included.";
    STREAM_CONNECTIONS_REFUSED: Counter "iceway_stream_connections_refused_total" ["reason"], "Connections closed as soon as they were accepted by the reason.";
    STREAM_CONNECTIONS_CLOSED: Counter "iceway_stream_connections_closed_total" ["reason"], "Connections ended by the reason.";
    STREAM_ACCEPTS_FAILED: Counter "iceway_stream_accepts_failed_total" ["reason"], "Attempts to accept a connection that failed by the reason.";
    STREAM_MESSAGES: Counter "iceway_stream_messages_total" [], "Messages received whole from TCP and TLS clients.";
    STREAM_DATAGRAMS_DROPPED: Counter "iceway_stream_datagrams_dropped_total" [], "Relayed datagrams dropped because their TCP or TLS client reads too slowly.";
    STREAM_BYTES_DROPPED: Counter "iceway_stream_bytes_dropped_total" [], "Bytes of those datagrams, with their headers.";
    STREAM_ANSWERS_DROPPED: Counter "iceway_stream_answers_dropped_total" [], "Answers dropped because their TCP or TLS client does not read them.";
    STREAM_PAUSES: Counter "iceway_stream_pauses_total" [], "Times reading from a client was paused until it read its answers.";
    TLS_HANDSHAKES: Counter "iceway_tls_handshakes_total" [], "TLS handshakes completed.";

    TLS_CERTIFICATE_EXPIRY: Gauge "iceway_tls_certificate_expiry_timestamp_seconds" [], "Until when the certificate in use is valid, in seconds since the Unix epoch; only if there is one.";
    TLS_CERTIFICATE_RELOADS: Counter "iceway_tls_certificate_reloads_total" [], "Times the certificate was replaced; only if there is one.";
    TLS_CERTIFICATE_RELOAD_FAILURES: Counter "iceway_tls_certificate_reload_failures_total" [], "Times the certificate could not be replaced, so that the old one stayed; only if there is one.";

    CREDENTIALS_ISSUED: Counter "iceway_credentials_issued_total" ["dialect"], "Credentials issued by the API by the form they were asked for in.";
    SECRETS: Gauge "iceway_secrets" [], "Secrets whose credentials are accepted.";
    API_KEYS: Gauge "iceway_api_keys" [], "Keys of callers of the API.";
    REVOCATIONS: Gauge "iceway_revocations" [], "Revocations that may still hit a credential.";
    CLUSTER_NODES: Gauge "iceway_cluster_nodes" ["state"], "Nodes by state, this one included.";
    CLUSTER_CONNECTED: Gauge "iceway_cluster_connected" [], "1 while other nodes can be reached through Redis, else 0; only if redis.url is set.";
    CLUSTER_DEGRADED: Counter "iceway_cluster_degraded_seconds_total" [], "Time in seconds during which they could not be reached; only if redis.url is set.";
    CLUSTER_REQUESTS: Counter "iceway_cluster_requests_total" [], "Questions of other nodes answered; only if redis.url is set.";
    CLUSTER_FRAMES_REFUSED: Counter "iceway_cluster_frames_refused_total" [], "Messages between nodes refused as forged, replayed or unreadable; only if redis.url is set.";
    CLUSTER_MESSAGES_UNKNOWN: Counter "iceway_cluster_messages_unknown_total" [], "Messages of nodes of another version that this one does not know; grows during an upgrade only; only if redis.url is set.";
    CLUSTER_ROWS_REFUSED: Counter "iceway_cluster_rows_refused_total" [], "Rows and usage records in Redis refused as forged, damaged or sealed with another key; only if redis.url is set.";
    REDIS_COMMANDS: Counter "iceway_redis_commands_total" [], "Commands sent to Redis; only if redis.url is set.";
    REDIS_COMMANDS_FAILED: Counter "iceway_redis_commands_failed_total" [], "Commands that failed or were not answered in time; only if redis.url is set.";
    REDIS_CONNECTIONS: Counter "iceway_redis_connections_total" [], "Connections made to Redis, the first ones included; only if redis.url is set.";
    USAGE_PENDING: Gauge "iceway_usage_records_pending" [], "Records of ended allocations that nobody has taken yet.";
    USAGE_LOST: Counter "iceway_usage_records_lost_total" [], "Records of ended allocations that could not be kept.";
    USAGE_UNNAMED: Counter "iceway_usage_records_unnamed_total" [], "Ended allocations summed under nobody's name, because a day had too many users or labels.";
    STORE_COMMITS: Counter "iceway_store_commits_total" [], "Commits to the file of store.path.";
    STORE_ERRORS: Counter "iceway_store_errors_total" [], "Times the file of store.path could not be written.";

    CALLS_ACTIVE: Gauge "iceway_calls_active" ["state"], "Calls that ring or were answered, on the node of their caller.";
    CALLS_CREATED: Counter "iceway_calls_created_total" [], "Calls offered.";
    CALLS: Counter "iceway_calls_total" ["outcome"], "Calls that are over by how they came out.";
    CALL_SETUPS: Counter "iceway_calls_setups_total" ["phase"], "Calls that got so far: a device rang, a device answered.";
    CALL_SETUP_SECONDS: Counter "iceway_calls_setup_seconds_total" ["phase"], "Time in seconds from their offer until they got so far, together.";
    CALLS_SECONDS: Counter "iceway_calls_seconds_total" [], "Time in seconds that ended calls lasted from their answer on, together.";
    CALLS_PROGRESS: Histogram "iceway_calls_progress_seconds" ["phase"], "Time in seconds that calls took: from the offer until a device rang (ringing), from there until one answered (answer).";
    CALLS_DURATION: Histogram "iceway_calls_duration_seconds" [], "Time in seconds that ended calls lasted from their answer on.";
    CALLS_PATHS: Counter "iceway_calls_paths_total" ["path"], "Ended calls by whether their media was relayed or went directly, as far as clients said.";
    EVENTS_RECORDED: Counter "iceway_events_recorded_total" [], "Events of calls, rooms, sessions and the node itself.";
    EVENTS_DROPPED: Counter "iceway_events_dropped_total" ["reason"], "Events and calls dropped: more came than could be kept (busy), older ones had to go for newer ones (full), or the file could not be written (store).";
    EVENTS_SPOOLED: Gauge "iceway_events_spooled" [], "Events that wait here until Redis can be reached.";
    WEBHOOK_DELIVERIES: Counter "iceway_webhook_deliveries_total" ["result"], "Attempts to deliver an event to webhooks.url by their result.";
    WEBHOOK_GIVEN_UP: Counter "iceway_webhook_given_up_total" [], "Events not delivered within webhooks.retry_for.";
    WEBHOOK_PENDING: Gauge "iceway_webhook_pending" [], "Events that this node has to deliver.";
    WEBHOOK_OLDEST: Gauge "iceway_webhook_oldest_seconds" [], "Age in seconds of the oldest of them.";
    WEBHOOK_DEAD: Gauge "iceway_webhook_dead_letters" [], "Events that were given up and can be delivered again, of all nodes.";
    WEBHOOK_DISABLED: Gauge "iceway_webhook_disabled" [], "1 while nothing is sent because the receiver answered 410, else 0.";

    API_REQUESTS: Counter "iceway_api_requests_total" ["route", "status"], "HTTP requests answered by what they were about and the class of their status.";
    API_AUTHENTICATION_FAILURES: Counter "iceway_api_authentication_failures_total" ["reason"], "HTTP requests whose caller was not authenticated by the code they were answered with.";
    JWKS_REFRESHES: Counter "iceway_jwks_refreshes_total" ["result"], "Attempts to fetch the keys of the issuer of tokens by their result.";

    SIGNAL_SOCKETS: Gauge "iceway_signal_sockets" ["state"], "Open sockets of the signaling relay, by whether their clients were welcomed.";
    SIGNAL_SESSIONS: Gauge "iceway_signal_sessions" ["state"], "Sessions of this node, by whether they have a socket (attached), wait to be resumed (detached) or have a backend that speaks for them (carried).";
    SIGNAL_SESSIONS_BEGUN: Counter "iceway_signal_sessions_begun_total" [], "Sessions that began.";
    SIGNAL_HELLOS_REFUSED: Counter "iceway_signal_hellos_refused_total" [], "Clients whose hello was refused.";
    SIGNAL_FRAMES: Counter "iceway_signal_frames_total" ["type", "direction"], "Frames by type, from clients (in) and to clients (out).";
    SIGNAL_RESUMES: Counter "iceway_signal_resumes_total" ["result"], "Clients that came back for their session, by what became of it.";
    SIGNAL_REPLAYED_FRAMES: Counter "iceway_signal_replayed_frames_total" [], "Frames that were sent again to clients that came back.";
    SIGNAL_QUEUE_BYTES: Gauge "iceway_signal_queue_bytes" [], "Bytes kept until clients have them.";
    SIGNAL_LIMIT_TRIPS: Counter "iceway_signal_trips_total" ["limit"], "Times somebody reached a limit of the signaling relay.";
    SIGNAL_CONNECTS: Counter "iceway_signal_connects_total" ["result"], "Requests for a socket of the signaling relay, by whether it was opened.";
    SIGNAL_CLOSES: Counter "iceway_signal_closes_total" ["code"], "Sockets that the signaling relay closed, by the code of the close frame.";
    SIGNAL_DECISIONS: Counter "iceway_signal_decisions_total" ["kind", "result"], "Questions to the backend about who may do what, by what was asked and what became of it.";
    SIGNAL_DECISION_SECONDS: Counter "iceway_signal_decisions_waited_seconds_total" ["kind"], "Time in seconds that clients waited for these answers.";
    SIGNAL_BACKEND_LEFT_ALONE: Gauge "iceway_signal_backend_left_alone" [], "1 while the backend is not asked, because it failed too often, else 0.";
    SIGNAL_RTT: Histogram "iceway_signal_rtt_seconds" [], "Time in seconds until clients answered the pings that the server sends on quiet sockets.";
    SIGNAL_EVENTS_LOST: Counter "iceway_signal_events_lost_total" [], "Events of the signaling relay that came faster than they could be kept.";

    CALL_QUALITY_LOSS: Histogram "iceway_call_quality_loss_ratio" ["direction"], "Share of the packets of a measured RTP stream that were lost on the way here, in intervals of 5 s; quality.sample says which are measured.";
    CALL_QUALITY_JITTER: Histogram "iceway_call_quality_jitter_seconds" ["direction"], "Jitter of a measured RTP stream on the way here (RFC 3550), in intervals of 5 s.";
    CALL_QUALITY_PACKETS: Counter "iceway_call_quality_packets_total" ["direction"], "Packets of measured RTP streams that should have come here.";
    CALL_QUALITY_LOST: Counter "iceway_call_quality_lost_packets_total" ["direction"], "Packets of these that did not come.";
    CALL_QUALITY_PASSED_OVER: Counter "iceway_call_quality_passed_over_packets_total" ["direction"], "Packets of streams beyond the eight of an allocation and direction that are measured.";
    EXPLAIN_USERS: Gauge "iceway_explain_users" ["proof"], "Users of whom it is remembered why they failed: who proved a credential, and names that somebody claimed.";
    EXPLAIN_BYTES: Gauge "iceway_explain_bytes" [], "About the memory that this takes in bytes.";
    EXPLAIN_PASSED_OVER: Counter "iceway_explain_passed_over_total" [], "Failures of clients that proved nothing and that are not remembered, because there were too many.";

    CLOCK_JUMPS: Counter "iceway_clock_jumps_total" ["direction"], "Jumps of this machine's clock by more than 2 s that were noticed, forwards and backwards.";
    PROCESS_OPEN_FDS: Gauge "process_open_fds" [], "Open file descriptors.";
    PROCESS_MAX_FDS: Gauge "process_max_fds" [], "The most file descriptors the process may open.";
    PROCESS_RESIDENT_MEMORY: Gauge "process_resident_memory_bytes" [], "Resident memory in bytes.";
    PROCESS_VIRTUAL_MEMORY: Gauge "process_virtual_memory_bytes" [], "Address space in bytes.";
    PROCESS_CPU_SECONDS: Counter "process_cpu_seconds_total" [], "User and system processor time in seconds.";
    PROCESS_THREADS: Gauge "process_threads" [], "Threads of the process.";
    PROCESS_START_TIME: Gauge "process_start_time_seconds" [], "When the process was started, in seconds since the Unix epoch.";
}

/// The values of one scrape.
#[derive(Debug, Default)]
pub struct Sheet {
    samples: Vec<Vec<Sample>>,
}

#[derive(Debug)]
struct Sample {
    labels: Vec<String>,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Number(f64),
    Distribution(Distribution),
}

impl Sheet {
    /// Nothing filled in.
    #[must_use]
    pub fn new() -> Self {
        Self { samples: METRICS.iter().map(|_| Vec::new()).collect() }
    }

    /// Notes a value. `labels` are the values of the metric's labels, in their order.
    pub fn set(&mut self, metric: &Metric, labels: &[&str], value: f64) {
        self.put(metric, labels, Value::Number(value));
    }

    /// Notes the values of a histogram.
    pub fn distribute(&mut self, metric: &Metric, labels: &[&str], distribution: Distribution) {
        self.put(metric, labels, Value::Distribution(distribution));
    }

    fn put(&mut self, metric: &Metric, labels: &[&str], value: Value) {
        debug_assert_eq!(metric.labels.len(), labels.len(), "{} takes its labels", metric.name);
        let Some(index) = METRICS.iter().position(|known| known.name == metric.name) else { return };
        if let Some(samples) = self.samples.get_mut(index) {
            samples.push(Sample { labels: labels.iter().map(|text| (*text).to_owned()).collect(), value });
        }
    }

    /// Notes a count.
    pub fn count(&mut self, metric: &Metric, labels: &[&str], value: u64) {
        // Exact up to 2^53: 9 petabytes of payload.
        self.set(metric, labels, value as f64);
    }

    /// Notes a value if there is one.
    pub fn set_if(&mut self, metric: &Metric, value: Option<f64>) {
        if let Some(value) = value {
            self.set(metric, &[], value);
        }
    }

    /// The sheet in the text format of Prometheus, sorted by name.
    ///
    /// # Errors
    /// A contradiction within the table, which its test rules out.
    pub fn encode(self) -> Result<String, prometheus::Error> {
        let registry = prometheus::Registry::new();
        registry.register(Box::new(self))?;
        TextEncoder::new().encode_to_string(&registry.gather())
    }
}

impl Collector for Sheet {
    fn desc(&self) -> Vec<&Desc> {
        // Names are unique by the table's test; the registry needs no more.
        Vec::new()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        METRICS
            .iter()
            .zip(&self.samples)
            .filter(|(_, samples)| !samples.is_empty())
            .map(|(metric, samples)| family(metric, samples))
            .collect()
    }
}

fn family(metric: &Metric, samples: &[Sample]) -> proto::MetricFamily {
    let mut family = proto::MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(match metric.kind {
        Kind::Counter => proto::MetricType::COUNTER,
        Kind::Gauge => proto::MetricType::GAUGE,
        Kind::Histogram => proto::MetricType::HISTOGRAM,
    });
    family.set_metric(samples.iter().map(|sample| one(metric, sample)).collect());
    family
}

fn one(metric: &Metric, sample: &Sample) -> proto::Metric {
    let labels = metric.labels.iter().zip(&sample.labels).map(|(name, value)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value(value.clone());
        pair
    });
    let mut one = proto::Metric::default();
    one.set_label(labels.collect());
    match &sample.value {
        Value::Number(value) if metric.kind == Kind::Counter => {
            let mut counter = proto::Counter::default();
            counter.set_value(*value);
            one.set_counter(counter);
        }
        Value::Number(value) => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(*value);
            one.set_gauge(gauge);
        }
        Value::Distribution(distribution) => one.set_histogram(histogram(distribution)),
    }
    one
}

fn histogram(distribution: &Distribution) -> proto::Histogram {
    let mut total = 0;
    let buckets = distribution.buckets.iter().map(|(end, count)| {
        total += count;
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(*end);
        bucket.set_cumulative_count(total);
        bucket
    });
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(distribution.count);
    histogram.set_sample_sum(distribution.sum);
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_prometheus() {
        let mut seen = std::collections::HashSet::new();
        for metric in METRICS {
            assert!(seen.insert(metric.name), "{} is there twice", metric.name);
            let allowed = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(metric.name.chars().all(allowed), "{}", metric.name);
            assert!(
                metric.name.starts_with("iceway_") || metric.name.starts_with("process_"),
                "{}",
                metric.name
            );
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(metric.help.ends_with('.') && metric.help.len() > 10, "{}", metric.name);
            for label in metric.labels {
                assert!(!metric.name.contains(&format!("_{label}_")), "{} repeats its label", metric.name);
            }
        }
    }

    #[test]
    fn a_histogram_is_written_with_buckets_that_add_up() {
        let mut sheet = Sheet::new();
        let buckets = vec![(0.5, 2), (1.0, 1)];
        sheet.distribute(&metric::CALLS_DURATION, &[], Distribution { buckets, count: 4, sum: 70.25 });
        let text = sheet.encode().unwrap();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                "iceway_calls_duration_seconds_bucket{le=\"0.5\"} 2",
                "iceway_calls_duration_seconds_bucket{le=\"1\"} 3",
                "iceway_calls_duration_seconds_bucket{le=\"+Inf\"} 4",
                "iceway_calls_duration_seconds_sum 70.25",
                "iceway_calls_duration_seconds_count 4",
            ]
        );
    }

    #[test]
    fn a_sheet_is_written_with_help_type_and_labels() {
        let mut sheet = Sheet::new();
        sheet.count(&metric::RELAYED_BYTES, &["to_peer"], 12);
        sheet.count(&metric::CHANNELS, &[], 3);

        assert_eq!(
            sheet.encode().unwrap(),
            "# HELP iceway_channels Channel bindings held by live allocations.\n\
             # TYPE iceway_channels gauge\n\
             iceway_channels 3\n\
             # HELP iceway_relayed_bytes_total Payload relayed in bytes by direction, without STUN and ChannelData headers.\n\
             # TYPE iceway_relayed_bytes_total counter\n\
             iceway_relayed_bytes_total{direction=\"to_peer\"} 12\n"
        );
    }
}
