//! What Prometheus is told: every metric of the table, every value of every label, from the start.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, sync::Arc};

use iceway::{
    api::{Dialect, Scrape, exposition},
    cluster::Health,
    runtime::{
        AcceptFailure, AddressOrigin, PublicAddress, PublicStatus, ShardSnapshot, Snapshot, StreamClose,
        StreamRefusal, StreamState,
    },
    telemetry::{Kind, METRICS},
    turn::{BindError, CloseReason, Code, DropReason, Label, QuotaKind, Refusal, Request, Transport},
};

fn fresh() -> String {
    exposition(&Scrape {
        snapshot: Snapshot {
            shards: vec![Some(ShardSnapshot::default())],
            public: Arc::new(PublicStatus {
                addresses: vec![PublicAddress {
                    local: "10.0.0.5".parse().unwrap(),
                    told: "203.0.113.5".parse().unwrap(),
                    from: AddressOrigin::Stun,
                    is_confirmed: false,
                }],
                ..PublicStatus::default()
            }),
            ..Snapshot::default()
        },
        ..Scrape::default()
    })
    .unwrap()
}

/// Whether there is a sample of this name and labels with the value 0.
fn is_zero(text: &str, series: &str) -> bool {
    text.lines().any(|line| line == format!("{series} 0"))
}

fn every_value<L: Label>(text: &str, name: &str, label: &str) {
    for member in L::MEMBERS {
        let series = format!("{name}{{{label}=\"{}\"}}", member.label());
        assert!(is_zero(text, &series), "{series} is not there at 0");
    }
}

#[test]
fn every_value_of_every_label_is_there_from_the_start() {
    let text = fresh();
    every_value::<Transport>(&text, "iceway_allocations", "transport");
    every_value::<Transport>(&text, "iceway_allocations_created_total", "transport");
    every_value::<CloseReason>(&text, "iceway_allocations_closed_total", "reason");
    every_value::<QuotaKind>(&text, "iceway_allocations_refused_total", "quota");
    every_value::<DropReason>(&text, "iceway_datagrams_dropped_total", "reason");
    every_value::<Refusal>(&text, "iceway_authentication_failures_total", "reason");
    every_value::<BindError>(&text, "iceway_relay_binds_failed_total", "reason");
    every_value::<StreamState>(&text, "iceway_stream_connections", "state");
    every_value::<StreamRefusal>(&text, "iceway_stream_connections_refused_total", "reason");
    every_value::<StreamClose>(&text, "iceway_stream_connections_closed_total", "reason");
    every_value::<AcceptFailure>(&text, "iceway_stream_accepts_failed_total", "reason");
    for request in Request::ALL {
        for code in Code::ALL {
            let labels = format!("code=\"{}\",method=\"{}\"", code.as_str(), request.as_str());
            let swapped = format!("method=\"{}\",code=\"{}\"", request.as_str(), code.as_str());
            let name = "iceway_stun_responses_total";
            assert!(
                is_zero(&text, &format!("{name}{{{labels}}}"))
                    || is_zero(&text, &format!("{name}{{{swapped}}}")),
                "{labels}"
            );
        }
    }
    for family in ["ipv4", "ipv6"] {
        assert!(is_zero(&text, &format!("iceway_relay_ports{{family=\"{family}\",state=\"in_use\"}}")));
    }
    for result in ["found", "failed"] {
        assert!(is_zero(&text, &format!("iceway_public_address_looks_total{{result=\"{result}\"}}")));
    }
    assert!(is_zero(
        &text,
        r#"iceway_public_address_confirmed{family="ipv4",local="10.0.0.5",ip="203.0.113.5",from="stun"}"#
    ));
    for dialect in Dialect::ALL {
        assert!(is_zero(
            &text,
            &format!("iceway_credentials_issued_total{{dialect=\"{}\"}}", dialect.as_str())
        ));
    }
    for state in ["serving", "draining"] {
        assert!(is_zero(&text, &format!("iceway_cluster_nodes{{state=\"{state}\"}}")));
    }
    for direction in ["to_peer", "to_client"] {
        assert!(is_zero(&text, &format!("iceway_relayed_bytes_total{{direction=\"{direction}\"}}")));
        assert!(is_zero(&text, &format!("iceway_relayed_datagrams_total{{direction=\"{direction}\"}}")));
    }
}

#[test]
fn every_metric_of_the_table_is_exported_with_its_type_and_help() {
    /// There only if a certificate is configured, or Redis.
    const CONDITIONAL: [&str; 12] = [
        "iceway_tls_certificate_expiry_timestamp_seconds",
        "iceway_tls_certificate_reloads_total",
        "iceway_tls_certificate_reload_failures_total",
        "iceway_cluster_connected",
        "iceway_cluster_degraded_seconds_total",
        "iceway_cluster_requests_total",
        "iceway_cluster_frames_refused_total",
        "iceway_cluster_messages_unknown_total",
        "iceway_cluster_rows_refused_total",
        "iceway_redis_commands_total",
        "iceway_redis_commands_failed_total",
        "iceway_redis_connections_total",
    ];
    let text = fresh();
    for name in CONDITIONAL {
        assert!(!text.contains(name), "{name} says nothing here");
    }
    for metric in METRICS.iter().filter(|metric| !CONDITIONAL.contains(&metric.name)) {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        assert!(
            text.contains(&format!("# TYPE {} {kind}\n", metric.name)),
            "{} is not exported",
            metric.name
        );
        assert!(text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)), "{}", metric.name);
    }
}

#[test]
fn nothing_is_exported_that_is_not_in_the_table() {
    let text = fresh();
    let known: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        assert!(known.contains(name) || of_histogram.is_some_and(|name| known.contains(name)), "{name}");
    }
}

#[test]
fn shards_are_added_up_and_the_silent_ones_are_counted() {
    let mut one = ShardSnapshot::default();
    one.runtime.client_batches = 3;
    one.core.to_peers.bytes = 100;
    let snapshot = Snapshot { shards: vec![Some(one.clone()), None, Some(one)], ..Snapshot::default() };
    let text = exposition(&Scrape { snapshot, is_draining: true, ..Scrape::default() }).unwrap();
    for line in [
        "iceway_shards 3",
        "iceway_shards_unresponsive 1",
        "iceway_draining 1",
        "iceway_client_batches_total 6",
        "iceway_relayed_bytes_total{direction=\"to_peer\"} 200",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn other_nodes_that_cannot_be_reached_are_an_alarm() {
    let mut scrape = Scrape::default();
    scrape.cluster.health = Health::Connected;
    assert!(exposition(&scrape).unwrap().contains("iceway_cluster_connected 1\n"));

    scrape.cluster.health = Health::Degraded { since: 0, reason: "gone".to_owned() };
    scrape.cluster.counters.peers.degraded_millis = 1500;
    let text = exposition(&scrape).unwrap();
    assert!(text.contains("iceway_cluster_connected 0\n"), "{text}");
    assert!(text.contains("iceway_cluster_degraded_seconds_total 1.5\n"), "{text}");
}

#[test]
fn the_process_is_described() {
    let text = fresh();
    for name in
        ["process_open_fds", "process_max_fds", "process_resident_memory_bytes", "process_start_time_seconds"]
    {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")))
            .unwrap_or_else(|| panic!("{name}"));
        let value: f64 = line.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(value > 0.0, "{line}");
    }
    assert!(text.contains(&format!("iceway_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"))));
}
